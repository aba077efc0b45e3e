//! `lazaret secret`.

use std::io::{IsTerminal, Read};

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
        args::Secret::Set { name, value } => {
            if value != "-" {
                return Err(Failure::new(Code::Usage, "a secret is not taken from the command line, where others can see it")
                    .hint(format!("run: lazaret secret set {name} -   and type or pipe the value")));
            }
            let value = read(&name)?;
            store(&client, &name, &value).await?;
            if !context.json {
                out::note(&format!("{name} is stored"));
            }
        }
        args::Secret::List => {
            let answer: Value = client.json(Method::GET, "/v1/secrets", None).await?;
            let empty = Vec::new();
            for item in answer["items"].as_array().unwrap_or(&empty) {
                if context.json {
                    out::json(item)?;
                } else {
                    out::line(item["name"].as_str().unwrap_or(""));
                }
            }
        }
        args::Secret::Remove { name } => {
            let _: Value = client.json(Method::DELETE, &path(&name)?, None).await?;
        }
        args::Secret::ImportEnv => {
            let found = Env::provider_keys();
            if found.is_empty() {
                let names: Vec<&str> = crate::env::PROVIDER_VARIABLES.iter().map(|(name, _)| *name).collect();
                return Err(Failure::new(Code::NotFound, format!("this environment holds none of {}", names.join(", "))));
            }
            for (variable, name, value) in found {
                store(&client, name, &Zeroizing::new(value)).await?;
                if !context.json {
                    out::note(&format!("{variable} is stored as {name}"));
                }
            }
        }
    }
    Ok(0)
}

async fn store(client: &Client, name: &str, value: &Zeroizing<String>) -> Result<(), Failure> {
    let _: Value = client.json(Method::PUT, &path(name)?, Some(&json!({ "value": value.as_str() }))).await?;
    Ok(())
}

/// A name that can stand in a path.
fn path(name: &str) -> Result<String, Failure> {
    let plain = !name.is_empty() && name.len() <= 128 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if plain {
        Ok(format!("/v1/secrets/{name}"))
    } else {
        Err(Failure::new(Code::Usage, "a name has letters, digits, `-`, `_` and `.`").field("name"))
    }
}

/// Reads a value: a line without echo from a terminal, everything from a pipe.
fn read(name: &str) -> Result<Zeroizing<String>, Failure> {
    let stdin = std::io::stdin();
    let fail = |e: std::io::Error| Failure::new(Code::Usage, format!("the value cannot be read: {e}"));
    let mut value = Zeroizing::new(String::new());
    if stdin.is_terminal() {
        out::note(&format!("value of {name} (it is not shown):"));
        let before = tcgetattr(&stdin).map_err(|e| fail(e.into()))?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &silent).map_err(|e| fail(e.into()))?;
        let read = stdin.read_line(&mut value);
        let _ = tcsetattr(&stdin, OptionalActions::Flush, &before);
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
