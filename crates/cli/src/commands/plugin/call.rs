//! `lazaret plugin call`.

use std::io::{IsTerminal, Read, Write};

use app::PluginView;
use model::{Code, Failure, Risk};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::begin::accepted_once;
use super::super::{Context, lists};
use crate::client::{Client, internal};
use crate::exit::{Done, clean};
use crate::out;

/// The longest arguments.
const ARGUMENTS_BYTES_MAX: u64 = 1 << 20;

#[derive(Deserialize)]
struct Called {
    result: Value,
    error: Option<wire::ErrorBody>,
}

/// Calls a tool as the owner. The owner's yes to a call of high risk comes from the terminal or with the command, and from
/// nowhere else.
pub(in super::super) async fn run(context: &Context, client: &Client, tool: &str, arguments: &str, yes: bool) -> Done {
    let arguments = read(arguments)?;
    let plugins: Vec<PluginView> = lists::all(client, "/v1/plugins").await?;
    let risk = plugins.iter().flat_map(|plugin| &plugin.tools).find(|one| one.name == tool).map(|one| one.risk);
    let yes = yes || (risk == Some(Risk::High) && confirmed(tool, &arguments)?);
    let body = json!({ "tool": tool, "arguments": arguments, "yes": yes });
    let called = once(client, &body).await?;
    match called.error {
        Some(error) => {
            let code = Code::ALL.iter().copied().find(|code| code.as_str() == error.code).unwrap_or(Code::Internal);
            let failure = Failure::new(code, error.message);
            Err(match error.field {
                Some(field) => failure.field(field),
                None => failure,
            })
        }
        None if context.json => out::json(&called.result).map(|()| 0),
        None => {
            let text = match &called.result {
                Value::String(text) => text.clone(),
                value => serde_json::to_string_pretty(value).map_err(|e| Failure::new(Code::Internal, e.to_string()))?,
            };
            out::line(&clean(&text));
            Ok(0)
        }
    }
}

/// Asks for the call under a key of this command's own: a daemon that goes away over it is asked again, and makes no call of
/// high risk twice.
async fn once(client: &Client, body: &Value) -> Result<Called, Failure> {
    let key = crate::home::random_hex::<16>()?;
    let body = serde_json::to_vec(body).map_err(|e| internal(&e.to_string()))?;
    let answer = accepted_once(client, "/v1/plugin-calls", &key, body).await?;
    serde_json::from_slice(&answer).map_err(|e| internal(&e.to_string()))
}

fn read(arguments: &str) -> Result<Value, Failure> {
    let wrong = |why: String| Failure::new(Code::Usage, format!("the arguments are not a JSON object: {why}")).field("arguments");
    let mut text = arguments.to_owned();
    if arguments == "-" {
        text.clear();
        std::io::stdin().lock().take(ARGUMENTS_BYTES_MAX).read_to_string(&mut text).map_err(|e| wrong(e.to_string()))?;
    }
    let value: Value = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    if value.is_object() { Ok(value) } else { Err(wrong("it is something else".to_owned())) }
}

/// Asks on the terminal.
fn confirmed(tool: &str, arguments: &Value) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(Code::Forbidden, format!("{tool} is of high risk, and there is no terminal to ask on")).hint("add --yes"));
    }
    let shown = serde_json::to_string_pretty(arguments).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
    out::note(&format!("{tool} is of high risk. It would be called with"));
    out::note(&clean(&shown));
    let mut err = std::io::stderr().lock();
    let _ = write!(err, "call it? [y/N] ").and_then(|()| err.flush());
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|e| Failure::new(Code::Usage, format!("the answer cannot be read: {e}")))?;
    if matches!(answer.trim(), "y" | "yes") {
        return Ok(true);
    }
    Err(Failure::new(Code::ConfirmationDenied, format!("{tool} was not called")))
}
