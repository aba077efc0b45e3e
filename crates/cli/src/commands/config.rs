//! `lazaret config`: one file, read and changed where it is.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use model::{Code, Failure};
use toml_edit::{DocumentMut, Item, Table, Value};

use super::Context;
use crate::args;
use crate::client::{Client, internal};
use crate::config::Config;
use crate::exit::Done;
use crate::home::Home;
use crate::out;

pub(crate) fn run(context: &Context, verb: args::Config) -> Done {
    let home = Home::open(&context.env.home)?;
    let path = Config::path(home.path());
    match verb {
        args::Config::Path if context.json => out::json(&path)?,
        args::Config::Path => out::line(&path.display().to_string()),
        args::Config::Show => show(context, &Config::load(home.path())?)?,
        args::Config::Get { key } => get(context, &Config::load(home.path())?, &key)?,
        args::Config::Set { key, value } => {
            set(&path, &[(key, Some(value))])?;
            tell_daemon(context, &home)?;
        }
    }
    Ok(0)
}

fn show(context: &Context, config: &Config) -> Result<(), Failure> {
    let config = config.in_force()?;
    if context.json {
        return out::json(&config);
    }
    let text = toml::to_string(&config).map_err(|e| internal(&e.to_string()))?;
    out::line(text.trim_end());
    Ok(())
}

fn get(context: &Context, config: &Config, key: &str) -> Result<(), Failure> {
    let all = serde_json::to_value(config.in_force()?).map_err(|e| internal(&e.to_string()))?;
    let found = key.split('.').try_fold(&all, |at, part| at.get(part));
    let value = found.filter(|v| !v.is_null()).ok_or_else(|| {
        Failure::new(Code::NotFound, format!("`{}` is not set", key.escape_debug())).hint("`lazaret config show` lists what is")
    })?;
    match value {
        serde_json::Value::String(text) if !context.json => out::line(text),
        value => out::json(value)?,
    }
    Ok(())
}

/// Changes keys in the text, keeping everything else of it, and replaces the file at once if the result is right. A key without a value
/// is taken out, with all that is below it; what is not there is no error. Of two who change it at once, a verb and the daemon, one waits.
pub(crate) fn set(path: &std::path::Path, keys: &[(String, Option<String>)]) -> Result<(), Failure> {
    let named = keys.iter().map(|(key, _)| format!("`{}`", key.escape_debug())).collect::<Vec<_>>().join(", ");
    let fail = |why: String| Failure::new(Code::ConfigInvalid, format!("{named} cannot be set: {why}"));
    let _alone = alone(path).map_err(|e| fail(e.to_string()))?;
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(fail(e.to_string())),
    };
    let mut document: DocumentMut = text.parse().map_err(|e: toml_edit::TomlError| fail(e.to_string()))?;
    for (key, value) in keys {
        match value {
            // A value that is TOML is taken as such; everything else is text, so that URLs and sizes need no quotes.
            Some(value) => insert(&mut document, key, value.parse().unwrap_or_else(|_| Value::from(value))).map_err(fail)?,
            None => remove(&mut document, key),
        }
    }
    let written = document.to_string();
    let written = match Config::parse(&written) {
        Ok(_) => written,
        Err(why) => {
            // `42` may be meant as text.
            for (key, value) in keys.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
                insert(&mut document, key, Value::from(value)).map_err(fail)?;
            }
            let as_text = document.to_string();
            Config::parse(&as_text).map_err(|_| fail(why))?;
            as_text
        }
    };
    replace(path, &written).map_err(|e| fail(e.to_string()))
}

/// The right to change the file, as long as the answer is open: a lock on its directory, as the file itself is replaced.
fn alone(path: &std::path::Path) -> std::io::Result<std::fs::File> {
    let directory = std::fs::File::open(path.parent().unwrap_or(path))?;
    rustix::fs::flock(&directory, rustix::fs::FlockOperation::LockExclusive)?;
    Ok(directory)
}

/// Takes a key out.
fn remove(document: &mut DocumentMut, key: &str) {
    let (tables, last) = key.rsplit_once('.').map_or((None, key), |(tables, last)| (Some(tables), last));
    let mut at = Some(document.as_table_mut() as &mut dyn toml_edit::TableLike);
    for part in tables.into_iter().flat_map(|tables| tables.split('.')) {
        at = at.and_then(|table| table.get_mut(part)).and_then(Item::as_table_like_mut);
    }
    at.and_then(|table| table.remove(last));
}

/// Puts a value at a key; tables that lead there are made.
fn insert(document: &mut DocumentMut, key: &str, value: Value) -> Result<(), String> {
    let parts: Vec<&str> = key.split('.').collect();
    let (last, tables) = parts.split_last().ok_or("the key is empty")?;
    let mut table = document.as_table_mut();
    for part in tables {
        let item = table.entry(part).or_insert_with(|| {
            let mut fresh = Table::new();
            fresh.set_implicit(true);
            Item::Table(fresh)
        });
        table = item.as_table_mut().ok_or_else(|| format!("`{part}` is not a table"))?;
    }
    table.insert(last, Item::Value(value));
    Ok(())
}

/// Replaces the file at once.
fn replace(path: &std::path::Path, written: &str) -> std::io::Result<()> {
    let fresh = path.with_extension("toml.fresh");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(written.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)
}

/// Changes one key, from a verb that runs already.
pub(super) async fn put(context: &Context, home: &Home, key: &str, value: &str) -> Result<(), Failure> {
    set(&Config::path(home.path()), &[(key.to_owned(), Some(value.to_owned()))])?;
    tell(context, home).await
}

/// Takes a key, or a table with all that is in it, out of the text. What is not there is no error.
pub(super) async fn forget(context: &Context, home: &Home, key: &str) -> Result<(), Failure> {
    set(&Config::path(home.path()), &[(key.to_owned(), None)])?;
    tell(context, home).await
}

/// A daemon that is up takes the change over at once.
fn tell_daemon(context: &Context, home: &Home) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| internal(&e.to_string()))?;
    runtime.block_on(tell(context, home))
}

async fn tell(context: &Context, home: &Home) -> Result<(), Failure> {
    let client = Client::new(home, false);
    if client.is_up().await {
        let _: serde_json::Value = client.json(http::Method::POST, "/v1/reload", None).await?;
    } else if !context.json {
        out::note("written; it holds from the next start");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_those_who_change_it_at_once_each_keeps_its_change() {
        let home = tempfile::tempdir().expect("a directory");
        let path = Config::path(home.path());
        std::thread::scope(|scope| {
            for n in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    let key = |what: &str| format!("providers.near{n}.{what}");
                    set(path, &[(key("base_url"), Some(format!("http://127.0.0.1:{}/v1", 9000 + n)))]).expect("written");
                    set(path, &[(key("keyless"), Some("true".to_owned()))]).expect("written");
                });
            }
        });
        let config = Config::load(home.path()).expect("whole");
        assert_eq!(config.providers.len(), 8, "{:?}", config.providers.keys());
        assert!(config.providers.values().all(|provider| provider.keyless));
    }
}
