//! `lazaret env`.

use std::path::Path;

use app::{CORE_MEMORY_CHARS_MAX, EnvForm, EnvPatch, EnvView, MountForm};
use http::Method;
use model::{Code, Failure};
use serde_json::{Value, json};

use super::lists::{self, named};
use super::{Context, chat, env_files, text};
use crate::args;
use crate::client::Client;
use crate::exit::{Done, clean};
use crate::{out, places};

/// Envs that are listed.
const ENVS_MAX: usize = 10_000;
/// The most bytes of a core memory: each character may take four.
const MEMORY_BYTES_MAX: usize = CORE_MEMORY_CHARS_MAX * 4;

pub(super) async fn run(context: &Context, verb: args::Env) -> Done {
    let client = context.client()?;
    match verb {
        args::Env::List => list(context, &client).await?,
        args::Env::Show { slug } => show(context, &view(&client, &slug).await?)?,
        args::Env::Create { name, slug, mounts } => {
            let mounts = mounts.iter().map(|text| mount(text)).collect::<Result<_, _>>()?;
            make(context, &client, "/v1/envs", &EnvForm { name, slug, session_id: None, mounts }).await?;
        }
        args::Env::Save { session, slug, name } => {
            make(context, &client, "/v1/envs", &EnvForm { name, slug, session_id: Some(session), mounts: Vec::new() }).await?;
        }
        args::Env::Join { slug, mut begin } => {
            if let (Some(other), _) = places::split_env(&begin.places.env)? {
                return Err(Failure::new(Code::Usage, format!("--env: a session works in one env, not in `{slug}` and `{other}`")));
            }
            begin.places.env.push(named("env", &slug)?.to_owned());
            return chat::run(context, args::Chat { session: None, channel: false, chat: None, begin: *begin }).await;
        }
        args::Env::Clone { slug, name } => {
            let path = format!("{}/clone", path(&slug)?);
            make(context, &client, &path, &EnvForm { name, ..EnvForm::default() }).await?;
        }
        args::Env::Rename { slug, name } => {
            let patch = EnvPatch { name: Some(name), ..EnvPatch::default() };
            let changed: EnvView = client.json(Method::PATCH, &path(&slug)?, Some(&json!(patch))).await?;
            if context.json {
                out::json(&changed)?;
            }
        }
        args::Env::Memory { slug, text: None } => {
            let view = view(&client, &slug).await?;
            if context.json { out::json(&json!({ "core_memory": view.core_memory }))? } else { out::line(&clean(&view.core_memory)) }
        }
        args::Env::Memory { slug, text: Some(text) } => memory(context, &client, &slug, &text).await?,
        args::Env::Delete { slug, force } => {
            let _: Value = client.json(Method::DELETE, &format!("{}?force={force}", path(&slug)?), None).await?;
        }
        args::Env::Files { slug, verb } => env_files::run(context, &client, &path(&slug)?, verb).await?,
    }
    Ok(0)
}

fn path(slug: &str) -> Result<String, Failure> {
    Ok(format!("/v1/envs/{}", named("env", slug)?))
}

async fn view(client: &Client, slug: &str) -> Result<EnvView, Failure> {
    client.json(Method::GET, &path(slug)?, None).await
}

async fn list(context: &Context, client: &Client) -> Result<(), Failure> {
    let envs: Vec<EnvView> = lists::list(client, "/v1/envs", ENVS_MAX).await?;
    if context.json {
        return envs.iter().try_for_each(out::json);
    }
    let row = |env: &EnvView| {
        let size = env.bytes.map_or_else(String::new, out::bytes);
        vec![env.slug.clone(), env.sessions.to_string(), size, out::ago(env.updated), env.name.clone()]
    };
    out::table(&["env", "sessions", "size", "changed", "name"], &envs.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

fn show(context: &Context, env: &EnvView) -> Result<(), Failure> {
    if context.json {
        return out::json(env);
    }
    let mut lines = vec![
        ("env", env.slug.clone()),
        ("name", env.name.clone()),
        ("sessions", env.sessions.to_string()),
        ("size", env.bytes.map_or_else(String::new, out::bytes)),
        ("made", out::ago(env.created)),
        ("changed", out::ago(env.updated)),
        ("memory", env.core_memory.clone()),
    ];
    lines.extend(env.mounts.iter().map(|m| {
        let how = if m.read_only { "read-only" } else { "writable" };
        ("mount", format!("{} at /home/sandbox/{}, {how}", m.host.display(), m.name))
    }));
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        out::line(&format!("{name:<12} {}", clean(value)));
    }
    Ok(())
}

/// Makes an env and prints its short name.
pub(super) async fn make(context: &Context, client: &Client, path: &str, form: &EnvForm) -> Result<EnvView, Failure> {
    let made: EnvView = client.json(Method::POST, path, Some(&json!(form))).await?;
    if context.json {
        out::json(&made)?
    } else {
        out::line(&made.slug)
    }
    Ok(made)
}

async fn memory(context: &Context, client: &Client, slug: &str, text: &str) -> Result<(), Failure> {
    let text = text::given("memory", text, MEMORY_BYTES_MAX)?;
    let chars = text.chars().count();
    if chars > CORE_MEMORY_CHARS_MAX {
        return Err(Failure::new(Code::Usage, format!("the core memory has {chars} characters, and {CORE_MEMORY_CHARS_MAX} at most")));
    }
    let patch = EnvPatch { core_memory: Some(text), ..EnvPatch::default() };
    let changed: EnvView = client.json(Method::PATCH, &path(slug)?, Some(&json!(patch))).await?;
    if context.json { out::json(&changed) } else { Ok(()) }
}

/// `HOST[:NAME][:rw]`.
fn mount(text: &str) -> Result<MountForm, Failure> {
    let wrong = |why: &str| Failure::new(Code::Usage, format!("--mount: `{}` {why}", text.escape_debug())).field("--mount");
    let (rest, read_only) = match text.strip_suffix(":rw") {
        Some(rest) => (rest, false),
        None => (text.strip_suffix(":ro").unwrap_or(text), true),
    };
    let (host, name) = match rest.rsplit_once(':') {
        Some((host, name)) => (host, Some(name)),
        None => (rest, None),
    };
    let host = std::fs::canonicalize(Path::new(host)).map_err(|e| wrong(&format!("cannot be mounted: {e}")))?;
    let own = host.file_name().and_then(|name| name.to_str());
    let name = name.or(own).filter(|name| places::is_plain_name(name)).ok_or_else(|| wrong("is not HOST[:NAME][:rw]"))?;
    Ok(MountForm { name: name.to_owned(), host, read_only, by_owner: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_an_env() {
        let dir = tempfile::tempdir().expect("a directory");
        let real = std::fs::canonicalize(dir.path()).expect("there");
        let at = real.to_str().expect("utf-8");
        let own = real.file_name().and_then(|n| n.to_str()).expect("a name");
        for (text, name, read_only) in [
            (at.to_owned(), own, true),
            (format!("{at}:rw"), own, false),
            (format!("{at}:books:ro"), "books", true),
            (format!("{at}:x:rw"), "x", false),
        ] {
            let expect = MountForm { host: real.clone(), name: name.to_owned(), read_only, by_owner: true };
            assert_eq!(mount(&text).expect("a mount"), expect, "{text}");
        }
        for text in ["/nowhere-at-all", "/", &format!("{at}:a/b"), &format!("{at}:.."), &format!("{at}:")] {
            assert!(mount(text).is_err(), "{text}");
        }
    }
}
