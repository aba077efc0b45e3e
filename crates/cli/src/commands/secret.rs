//! `lazaret secret`.

use std::io::{IsTerminal, Read};

use app::BoundView;
use http::Method;
use model::{Code, Failure};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Context;
use crate::args;
use crate::client::Client;
use crate::env::Env;
use crate::exit::Done;
use crate::out;

/// The longest value that is read.
const VALUE_BYTES_MAX: u64 = 64 << 10;

pub(super) async fn run(context: &Context, verb: args::Secret) -> Done {
    let client = context.client()?;
    match verb {
        args::Secret::Set { name, value, expose: holder, agent, restart } => {
            if value != "-" {
                return Err(Failure::new(Code::Usage, "a secret is not taken from the command line, where others can see it")
                    .hint(format!("run: lazaret secret set {name} -   and type or pipe the value")));
            }
            let value = read(&name)?;
            let kept = store(&client, &name, &value, agent.as_deref(), restart).await?;
            told(context, &kept);
            if let Some(agent) = holder {
                expose(context, &client, name, agent).await?;
            }
        }
        args::Secret::List => {
            let all: Vec<app::SecretView> = super::lists::all(&client, "/v1/secrets").await?;
            if context.json { all.iter().try_for_each(out::json)? } else { all.iter().for_each(line) }
        }
        args::Secret::Remove { name, agent } => {
            let query = agent.map(|agent| format!("?agent={}", super::sandbox::escaped(&agent))).unwrap_or_default();
            let _: Value = client.json(Method::DELETE, &format!("{}{query}", path(&name)?), None).await?;
        }
        args::Secret::Bind { name, host, path, method, header } => {
            let form = app::BindForm { name, host, path, method, header };
            let body = serde_json::to_value(&form).map_err(|e| crate::client::internal(&e.to_string()))?;
            let made: BoundView = client.json(Method::POST, "/v1/bound", Some(&body)).await?;
            show(context, &made)?;
        }
        args::Secret::Expose { name, agent } => expose(context, &client, name, agent).await?,
        args::Secret::Hide { name } => {
            let name = path(&name)?.replacen("/v1/secrets/", "/v1/exposed/", 1);
            let _: Value = client.json(Method::DELETE, &name, None).await?;
        }
        args::Secret::Bound => {
            let answer: Value = client.json(Method::GET, "/v1/bound", None).await?;
            let all: Vec<BoundView> =
                serde_json::from_value(answer["items"].clone()).map_err(|e| crate::client::internal(&e.to_string()))?;
            all.iter().try_for_each(|bound| show(context, bound))?;
        }
        args::Secret::Unbind { name, host } => {
            let name = path(&name)?.replacen("/v1/secrets/", "/v1/bound/", 1);
            let query = host.map(|host| format!("?host={}", super::sandbox::escaped(&host))).unwrap_or_default();
            let _: Value = client.json(Method::DELETE, &format!("{name}{query}"), None).await?;
        }
        args::Secret::ImportEnv => {
            let found = Env::provider_keys();
            if found.is_empty() {
                let names: Vec<&str> = crate::env::PROVIDER_VARIABLES.iter().map(|(name, _)| *name).collect();
                return Err(Failure::new(Code::NotFound, format!("this environment holds none of {}", names.join(", "))));
            }
            for (variable, name, value) in found {
                store(&client, name, &Zeroizing::new(value), None, false).await?;
                if !context.json {
                    out::note(&format!("{variable} is stored as {name}"));
                }
            }
        }
    }
    Ok(0)
}

/// Lets one agent hold a secret, and says loudly what that means.
async fn expose(context: &Context, client: &Client, name: String, agent: String) -> Result<(), Failure> {
    let form = app::ExposeForm { name, agent };
    let body = serde_json::to_value(&form).map_err(|e| crate::client::internal(&e.to_string()))?;
    let made: app::ExposedView = client.json(Method::POST, "/v1/exposed", Some(&body)).await?;
    if context.json {
        return out::json(&made);
    }
    out::note(&format!(
        "EXPOSED: the agent {} holds {} from its next turn on, and so does whoever it tells. A secret that is bound to a host \
         (`lazaret secret bind`) is held by nobody.",
        made.agent, made.name
    ));
    Ok(())
}

/// One bound secret on a line.
fn show(context: &Context, bound: &BoundView) -> Result<(), Failure> {
    if context.json {
        return out::json(bound);
    }
    let BoundView { name, binding } = bound;
    let method = binding.method.as_deref().map(|m| format!(",{m}")).unwrap_or_default();
    let path = binding.path.as_deref().unwrap_or("");
    out::line(&format!("{name}  {}:{}{path}{method}  {}", binding.host, binding.port, binding.header));
    Ok(())
}

/// What was kept, and who still has what was there before.
fn told(context: &Context, kept: &app::SecretKept) {
    if !context.json {
        out::note(&format!("{} is stored", kept.name));
    }
    for one in &kept.sessions {
        let word = if kept.restarted { "was ended" } else { "still runs with the value before; end it with --restart" };
        out::note(&format!("the turn of {} (agent {}) {word}", one.session, one.agent));
    }
}

/// One secret on a line: its name first.
fn line(secret: &app::SecretView) {
    let uses = if secret.uses.is_empty() { String::new() } else { format!("  {}", secret.uses.join(", ")) };
    let used = secret.used.map_or_else(|| "never used".to_owned(), |at| format!("used {}", out::ago(at)));
    let holder = secret.exposed_to.as_ref().map(|agent| format!("  EXPOSED to the agent {agent}")).unwrap_or_default();
    let text = format!("{}{holder}  {}  set {}  {used}{uses}", secret.name, secret.scope, out::ago(secret.updated));
    out::line(&crate::exit::clean(&text));
}

async fn store(
    client: &Client,
    name: &str,
    value: &Zeroizing<String>,
    agent: Option<&str>,
    restart: bool,
) -> Result<app::SecretKept, Failure> {
    let agent = agent.map(|agent| format!("&agent={}", super::sandbox::escaped(agent))).unwrap_or_default();
    client.json(Method::PUT, &format!("{}?restart={restart}{agent}", path(name)?), Some(&json!({ "value": value.as_str() }))).await
}

/// A name that can stand in a path.
fn path(name: &str) -> Result<String, Failure> {
    let plain = !name.is_empty() && name.len() <= 128 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.@".contains(&b));
    if plain {
        Ok(format!("/v1/secrets/{name}"))
    } else {
        Err(Failure::new(Code::Usage, "a name has letters, digits, `-`, `_`, `.` and `@`").field("name"))
    }
}

/// Reads a value: a line without echo from a terminal, everything from a pipe.
pub(super) fn read(name: &str) -> Result<Zeroizing<String>, Failure> {
    let stdin = std::io::stdin();
    let fail = |e: std::io::Error| Failure::new(Code::Usage, format!("the value cannot be read: {e}"));
    let mut value = Zeroizing::new(String::new());
    if stdin.is_terminal() {
        let before = tcgetattr(&stdin).map_err(|e| fail(e.into()))?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &silent).map_err(|e| fail(e.into()))?;
        // Only now: what is typed before would be seen, and is forgotten.
        out::note(&format!("value of {name} (it is not shown):"));
        let read = stdin.read_line(&mut value);
        let _ = tcsetattr(&stdin, OptionalActions::Drain, &before);
        read.map_err(fail)?;
    } else {
        stdin.lock().take(VALUE_BYTES_MAX + 1).read_to_string(&mut value).map_err(fail)?;
        if value.len() as u64 > VALUE_BYTES_MAX {
            return Err(Failure::new(Code::Usage, format!("the value is longer than {VALUE_BYTES_MAX} bytes")));
        }
    }
    let trimmed = Zeroizing::new(value.trim().to_owned());
    if trimmed.is_empty() {
        return Err(Failure::new(Code::Usage, "the value is empty"));
    }
    Ok(trimmed)
}
