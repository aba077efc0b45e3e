//! `lazaret import` and `lazaret profile import`: what another install has in files.

use std::path::Path;

use app::{ConfigForm, ConfigView};
use http::Method;
use model::{Code, Failure, parse_bytes};
use serde::Serialize;
use serde_json::json;

use super::configs::{self, Kind, TEXT_BYTES_MAX};
use super::{Context, config};
use crate::args;
use crate::client::Client;
use crate::exit::{Done, clean};
use crate::home::Home;
use crate::out;

/// Files of one kind that are taken over.
const FILES_MAX: usize = 1000;
/// What a profile of the other server begins with here: there an undefined name came to nothing.
const EMPTY: &str = "undefined = \"empty\"\n";
/// The longest `.env`, in bytes.
const ENV_BYTES_MAX: u64 = 256 << 10;

/// What became, or would become, of one file or variable. Never holds a key.
#[derive(Debug, Serialize)]
struct Taken {
    what: &'static str,
    name: String,
    /// `new`, `changed`, `same`, `set`, `left out` or `wrong`.
    outcome: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
}

impl Taken {
    fn new(what: &'static str, name: &str, outcome: &'static str, note: impl Into<String>) -> Self {
        Self { what, name: name.chars().take(200).collect(), outcome, note: note.into() }
    }
}

pub(super) async fn run(context: &Context, verb: args::Import) -> Done {
    match verb {
        args::Import::Parpaing { dir, dry_run, keys } => directory(context, &dir, dry_run, true, keys).await,
        args::Import::Nanoclaw { dir, dry_run, zone } => super::nanoclaw::run(context, &dir, dry_run, zone.as_deref()).await,
        args::Import::Lazaret { file, dry_run } => super::carry::import(context, &file, dry_run).await,
    }
}

/// Takes over a directory; `is_other` when it is the other server's own, with its `.env` and its way with undefined names.
pub(super) async fn directory(context: &Context, dir: &Path, dry_run: bool, is_other: bool, keys: bool) -> Done {
    if !dir.is_dir() {
        return Err(Failure::new(Code::PathUnusable, format!("`{}` is no directory", dir.display())).field("dir"));
    }
    let client = context.client()?;
    let mut taken = Vec::new();
    // What others name comes first.
    let folders = [
        (Kind::Template, "templates/prompts", "prompts/", ""),
        (Kind::Template, "templates/claude-md", "claude-md/", ""),
        (Kind::Hook, "hooks", "", ""),
        (Kind::Engine, "engines", "", ".toml"),
        (Kind::Profile, "profiles", "", ".toml"),
    ];
    for (kind, folder, before, ending) in folders {
        for (name, text) in files(&dir.join(folder), ending, kind, &mut taken)? {
            let text = if is_other && kind == Kind::Profile { format!("{EMPTY}{text}") } else { text };
            let one = take(&client, kind, &format!("{before}{name}"), text, dry_run).await;
            taken.push(one?);
        }
    }
    if is_other {
        variables(context, &client, &dir.join(".env"), dry_run, keys, &mut taken).await?;
    }
    report(context, &taken, dry_run)
}

fn report(context: &Context, taken: &[Taken], dry_run: bool) -> Done {
    if context.json {
        taken.iter().try_for_each(out::json)?;
    } else {
        let row = |t: &Taken| vec![t.what.to_owned(), clean(&t.name), t.outcome.to_owned(), clean(&t.note)];
        out::table(&["what", "name", "outcome", ""], &taken.iter().map(row).collect::<Vec<_>>());
        if dry_run {
            out::note("nothing was changed");
        }
    }
    Ok(u8::from(taken.iter().any(|t| t.outcome == "wrong")))
}

/// The texts of a folder by name, in order. A folder that is not there is empty; what is no plain file is left out.
fn files(folder: &Path, ending: &str, kind: Kind, taken: &mut Vec<Taken>) -> Result<Vec<(String, String)>, Failure> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
    let fail = |why: String| Failure::new(Code::PathUnusable, format!("`{}` cannot be read: {why}", folder.display()));
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| fail(e.to_string()))?;
        let file_name = entry.file_name().to_string_lossy().into_owned();
        let meta = std::fs::symlink_metadata(entry.path()).map_err(|e| fail(e.to_string()))?;
        if file_name.starts_with('.') || meta.is_dir() {
            continue;
        }
        let Some(name) = file_name.strip_suffix(ending) else { continue };
        if !meta.is_file() || meta.len() > TEXT_BYTES_MAX {
            taken.push(Taken::new(kind.word(), &file_name, "left out", "it is no plain file, or too long"));
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).map_err(|e| fail(e.to_string()))?;
        found.push((name.to_owned(), text));
        if found.len() > FILES_MAX {
            return Err(fail(format!("it has more than {FILES_MAX} files")));
        }
    }
    found.sort();
    Ok(found)
}

/// Takes over one text.
async fn take(client: &Client, kind: Kind, name: &str, content: String, dry_run: bool) -> Result<Taken, Failure> {
    if kind == Kind::Engine && engines::by_name(name).is_some() {
        return Ok(Taken::new(kind.word(), name, "left out", "this engine is built in"));
    }
    let before = match client.json::<ConfigView>(Method::GET, &configs::path(kind, name), None).await {
        Ok(view) => Some(view),
        Err(failure) if failure.code == Code::NotFound => None,
        // A name that cannot be one here is this file's trouble only.
        Err(failure) if failure.code == Code::Usage => return Ok(Taken::new(kind.word(), name, "wrong", failure.message)),
        Err(failure) => return Err(failure),
    };
    let outcome = match &before {
        None => "new",
        Some(view) if view.content.as_deref() == Some(content.as_str()) => return Ok(Taken::new(kind.word(), name, "same", "")),
        Some(_) => "changed",
    };
    let done = if dry_run && kind != Kind::Engine {
        let form = json!({ "name": name, "content": content });
        client.json::<app::Checked>(Method::POST, &format!("{}/check", kind.path()), Some(&form)).await.map(|checked| checked.warnings)
    } else if dry_run {
        engines::Custom::parse(&content).map(|_| Vec::new()).map_err(|e| Failure::new(Code::Usage, format!("failed to {e}")))
    } else {
        let form = ConfigForm { content, ..ConfigForm::default() };
        configs::keep(client, kind, name, form).await.map(|view| view.warnings)
    };
    match done {
        Ok(warnings) => Ok(Taken::new(kind.word(), name, outcome, warnings.join("; "))),
        Err(failure) if matches!(failure.code, Code::Usage | Code::TooLarge) => Ok(Taken::new(kind.word(), name, "wrong", failure.message)),
        Err(failure) => Err(failure),
    }
}

/// What a variable of the other server's `.env` comes to here.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    /// A key of the configuration, its value, and a remark.
    Key(&'static str, String, String),
    /// The key of a provider, as a secret of this name.
    Secret(&'static str),
    /// Nothing, and why.
    Nothing(&'static str),
}

/// Takes over the variables.
async fn variables(
    context: &Context,
    client: &Client,
    path: &Path,
    dry_run: bool,
    keys: bool,
    taken: &mut Vec<Taken>,
) -> Result<(), Failure> {
    let Ok(meta) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !meta.is_file() || meta.len() > ENV_BYTES_MAX {
        taken.push(Taken::new("variable", ".env", "left out", "it is no plain file, or too long"));
        return Ok(());
    }
    let text = std::fs::read_to_string(path).map_err(|e| Failure::new(Code::PathUnusable, format!("`{}`: {e}", path.display())))?;
    let home = Home::open(&context.env.home)?;
    for (name, value) in lines(&text) {
        let one = match meaning(&name, &value) {
            Err(why) => Taken::new("variable", &name, "wrong", why),
            Ok(Meaning::Nothing(why)) => Taken::new("variable", &name, "left out", why),
            Ok(Meaning::Key(key, value, remark)) => {
                let note = if remark.is_empty() { format!("{key} = {value}") } else { format!("{key} = {value} ({remark})") };
                let put = if dry_run { Ok(()) } else { config::put(context, &home, key, &value).await };
                match put {
                    Ok(()) => Taken::new("variable", &name, "set", note),
                    Err(failure) => Taken::new("variable", &name, "wrong", failure.message),
                }
            }
            Ok(Meaning::Secret(secret)) if !keys => {
                Taken::new("variable", &name, "left out", format!("with --keys it becomes the secret {secret}"))
            }
            Ok(Meaning::Secret(secret)) => {
                if !dry_run {
                    let body = json!({ "value": value });
                    client.json::<serde_json::Value>(Method::PUT, &format!("/v1/secrets/{secret}"), Some(&body)).await?;
                }
                Taken::new("variable", &name, "set", format!("the secret {secret}"))
            }
        };
        taken.push(one);
    }
    Ok(())
}

/// `NAME=VALUE` lines, without remarks and quotes. A variable without a value was not set.
pub(super) fn lines(text: &str) -> Vec<(String, String)> {
    let pairs = text.lines().filter_map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        if line.starts_with('#') {
            return None;
        }
        let (name, value) = line.split_once('=')?;
        let value = value.trim();
        let quoted = ['"', '\''].iter().find_map(|q| value.strip_prefix(*q)?.split(*q).next());
        let value = quoted.unwrap_or_else(|| value.split(" #").next().unwrap_or(value).trim());
        Some((name.trim().to_owned(), value.to_owned()))
    });
    pairs.filter(|(name, value)| !name.is_empty() && !value.is_empty()).collect()
}

/// What a variable comes to. Numbers out of range are the nearest that are in it, as they were there.
fn meaning(name: &str, value: &str) -> Result<Meaning, String> {
    let number = |key: &'static str, unit: &'static str, range: (u64, u64)| {
        let asked: u64 = value.parse().map_err(|_| format!("`{}` is no number", value.escape_debug()))?;
        let used = asked.clamp(range.0, range.1);
        let remark = if used == asked { String::new() } else { format!("{asked} is out of range") };
        Ok(Meaning::Key(key, if unit.is_empty() { used.to_string() } else { format!("{used}{unit}") }, remark))
    };
    match name {
        "TOWER_PORT" => match value.parse::<u16>() {
            Ok(port) if port > 0 => Ok(Meaning::Key("listen", format!("127.0.0.1:{port}"), String::new())),
            _ => Err("it is no port".to_owned()),
        },
        "MAX_CONCURRENT_JOBS" => number("jobs.running_max", "", (1, 100)),
        "JOB_TTL_HOURS" => number("jobs.ttl", "h", (1, 720)),
        "MAX_RETAINED_JOBS" => number("jobs.keep", "", (10, 100_000)),
        "CLEANUP_INTERVAL" => number("jobs.cleanup", "s", (60, 86_400)),
        "MAX_RESULT_SIZE" => number("jobs.result_max", "", (1 << 10, 100 << 20)),
        "WEBHOOK_TIMEOUT" => number("webhooks.timeout", "s", (1, 60)),
        "WORKER_TIMEOUT_SECONDS" => number("limits.timeout", "s", (10, 86_400)),
        "POOL_SIZE" => number("pool.size", "", (0, 50)),
        "POOL_CHECK_INTERVAL" => number("pool.check", "s", (5, 3600)),
        "POOL_MAX_IDLE" => number("pool.idle", "s", (60, 86_400)),
        "WORKER_MEM_LIMIT" => match parse_bytes(value.trim_end_matches(['b', 'B'])) {
            Some(bytes) if bytes >= 16 << 20 => Ok(Meaning::Key("limits.memory", format!("{}m", bytes >> 20), String::new())),
            _ => Err("it is no size of at least 16m".to_owned()),
        },
        "WORKER_CPU_LIMIT" => {
            let asked: f64 = value.parse().ok().filter(|n: &f64| n.is_finite()).ok_or_else(|| "it is no number".to_owned())?;
            let used = asked.clamp(0.1, 16.0);
            let remark = if (used - asked).abs() < f64::EPSILON { String::new() } else { format!("{asked} is out of range") };
            Ok(Meaning::Key("limits.cpus", format!("{used:?}"), remark))
        }
        "ANTHROPIC_API_KEY" | "CLAUDE_CODE_OAUTH_TOKEN" => Ok(Meaning::Secret("anthropic")),
        "OPENAI_API_KEY" => Ok(Meaning::Secret("openai")),
        "TOWER_API_KEY" => Ok(Meaning::Nothing("make a token instead: lazaret token create")),
        "TOWER_REPLICAS" => Ok(Meaning::Nothing("start as many daemons as you want on one PostgreSQL")),
        "POSTGRES_PASSWORD" | "DATABASE_URL" => Ok(Meaning::Nothing("the store is SQLite until store.url names another")),
        "WORKER_IMAGE" | "WORKER_RUNTIME" | "WORKER_NET" => Ok(Meaning::Nothing("sandboxes are made without containers")),
        _ if name.starts_with("GATEWAY_") => Ok(Meaning::Nothing("the gateway is part of the program")),
        _ => Ok(Meaning::Nothing("it means nothing here")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_their_keys_and_ranges() {
        let check = |name: &str, value: &str, key: &str, expect: &str, is_clamped: bool| match meaning(name, value) {
            Ok(Meaning::Key(k, v, remark)) => assert_eq!((k, v.as_str(), !remark.is_empty()), (key, expect, is_clamped), "{name}"),
            other => panic!("{name}: {other:?}"),
        };
        check("MAX_CONCURRENT_JOBS", "10", "jobs.running_max", "10", false);
        check("MAX_CONCURRENT_JOBS", "5000", "jobs.running_max", "100", true);
        check("JOB_TTL_HOURS", "0", "jobs.ttl", "1h", true);
        check("WORKER_TIMEOUT_SECONDS", "5", "limits.timeout", "10s", true);
        check("WORKER_MEM_LIMIT", "2g", "limits.memory", "2048m", false);
        check("WORKER_CPU_LIMIT", "99", "limits.cpus", "16.0", true);
        check("TOWER_PORT", "9000", "listen", "127.0.0.1:9000", false);
        assert!(meaning("MAX_RETAINED_JOBS", "many").is_err() && meaning("TOWER_PORT", "0").is_err());
        assert_eq!(meaning("OPENAI_API_KEY", "x"), Ok(Meaning::Secret("openai")));
        assert!(matches!(meaning("WORKER_RUNTIME", "runsc"), Ok(Meaning::Nothing(_))));
    }

    #[test]
    fn lines_of_variables() {
        let text = "# a remark\nA=1\nexport B=\"two # three\"\nC=\nD=4 # a remark\n E = 'five' \nnonsense\n";
        let got = lines(text);
        let expect = [("A", "1"), ("B", "two # three"), ("D", "4"), ("E", "five")];
        assert_eq!(got, expect.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }
}
