//! `ipc`: the way to the tools that the owner allows, for those who run inside.
//!
//! `ipc <topic> '<json object>'` makes one call: the result is printed as JSON and the exit status is 0, or the error is
//! printed as JSON on standard error and the status is 1. With `-` in place of the object it is read from standard input,
//! which has room for more than an argument. `ipc mcp` is an MCP server on standard input and output that offers the same
//! tools, see [`mcp`].
//!
//! Who asks is known to the host from the socket; nothing that is written here changes it. A call that ends without an
//! answer because the host went away is made again under the same name, so that the host knows it for the same call.
//!
//! Two codes are its own: `CLI_ERROR` for a wrong command line, `IPC_ERROR` when no host answers as it should.

mod door;
mod mcp;
mod tools;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::Path;

use serde_json::json;
use serde_json::value::RawValue;

#[cfg(test)]
pub(crate) use door::tests as fake;
pub(crate) use door::{Call, DoorError, Gate, Host, Outcome, Waits};
pub(crate) use tools::{Tool, list, marked, origin, spoken};

/// Where the host's socket is inside every sandbox.
const SOCKET: &str = "/run/lazaret/host.sock";

/// How the program is called.
const USAGE: &str = "usage: ipc <topic> <json-object>
       ipc <topic> -        the object comes on standard input
       ipc mcp              an MCP server on standard input and output

A topic is tool.invoke.NAME; `ipc tool.invoke.list_tools '{}'` lists what can be called.
The result goes to standard output (exit status 0), an error to standard error (exit status 1), both as JSON.";

/// Does what the arguments say; they begin after the program's name. Returns the exit status.
pub(crate) fn main(args: &[OsString]) -> i32 {
    let host = Host::new(Path::new(SOCKET), Waits::default());
    match args {
        [one] if one == "mcp" => mcp::main(&host),
        [one] if one == "--help" || one == "-h" => show(std::io::stdout(), USAGE, 0),
        [topic, arguments] => match text_of(topic, arguments).and_then(|(topic, text)| one(&host, &topic, &text)) {
            Ok(outcome) => say(&outcome),
            Err(trouble) => say(&Outcome::Error(trouble.body(), None)),
        },
        _ => say(&Outcome::Error(Trouble::usage("a topic and a JSON object are needed; see ipc --help").body(), None)),
    }
}

/// Why a call was not made, in the words of the program's own two codes.
#[derive(Debug)]
struct Trouble {
    code: &'static str,
    message: String,
    retriable: bool,
}

impl Trouble {
    fn usage(message: impl Into<String>) -> Self {
        Self { code: "CLI_ERROR", message: message.into(), retriable: false }
    }

    /// The error as the host would write one.
    fn body(&self) -> Box<RawValue> {
        raw(&json!({ "code": self.code, "message": self.message, "retriable": self.retriable }))
    }
}

impl From<DoorError> for Trouble {
    fn from(error: DoorError) -> Self {
        match error {
            DoorError::Arguments(message) => Self::usage(message),
            error => Self { code: "IPC_ERROR", message: error.to_string(), retriable: error.is_retriable() },
        }
    }
}

/// A value as its text.
fn raw(value: &serde_json::Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap_or_default()
}

fn text_of(topic: &OsString, arguments: &OsString) -> Result<(String, String), Trouble> {
    let utf8 = |what: &str| Trouble::usage(format!("the {what} is not UTF-8"));
    let topic = topic.to_str().ok_or_else(|| utf8("topic"))?.to_owned();
    if arguments != "-" {
        return Ok((topic, arguments.to_str().ok_or_else(|| utf8("object"))?.to_owned()));
    }
    let mut bytes = Vec::new();
    let most = wire::CALL_BYTES_MAX as u64 + 1;
    std::io::stdin()
        .lock()
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(|e| Trouble::usage(format!("failed to read standard input: {e}")))?;
    Ok((topic, String::from_utf8(bytes).map_err(|_| utf8("object"))?))
}

fn one(host: &Host, topic: &str, arguments: &str) -> Result<Outcome, Trouble> {
    let call = Call::new(topic, arguments)?;
    Ok(host.call(&call, &Gate::default(), &mut |_| ())?)
}

/// Prints what came of a call and gives the exit status.
fn say(outcome: &Outcome) -> i32 {
    match outcome {
        Outcome::Result(text, _) => show(std::io::stdout(), text.get(), 0),
        Outcome::Error(text, _) => show(std::io::stderr(), text.get(), 1),
    }
}

/// One line in one write. A result that could not be written was not given.
fn show(mut to: impl Write, text: &str, status: i32) -> i32 {
    match to.write_all(format!("{text}\n").as_bytes()).and_then(|()| to.flush()) {
        Ok(()) => status,
        Err(_) => 1,
    }
}
