//! JSON-RPC messages, as a program may write them and as the host writes them.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// There is no such method.
pub(super) const METHOD_NOT_FOUND: i64 = -32601;
/// Arguments that the program does not take.
pub(super) const INVALID_PARAMS: i64 = -32602;
/// Messages in one line.
const BATCH_MAX: usize = 256;

/// What a program says.
#[derive(Debug)]
pub(super) enum Message {
    /// The answer to a request of the host. An identity that is no number of ours is `None`.
    Answer { id: Option<u64>, outcome: Result<Box<RawValue>, RpcError> },
    /// A request to the host.
    Request { id: Value, method: String },
    /// Something that nobody answers.
    Notification { method: String },
}

/// The error of an answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct RpcError {
    #[serde(default)]
    pub(super) code: i64,
    #[serde(default)]
    pub(super) message: String,
}

#[derive(Deserialize)]
struct Raw {
    jsonrpc: Option<String>,
    id: Option<Value>,
    method: Option<String>,
    result: Option<Box<RawValue>>,
    error: Option<RpcError>,
}

/// Reads a line: one message or a batch of them. `None` when it is none.
pub(super) fn read(line: &[u8]) -> Option<Vec<Message>> {
    let raw: Vec<Raw> = match line.trim_ascii_start().first() {
        Some(b'[') => serde_json::from_slice(line).ok()?,
        _ => vec![serde_json::from_slice(line).ok()?],
    };
    if raw.is_empty() || raw.len() > BATCH_MAX {
        return None;
    }
    raw.into_iter().map(message).collect()
}

fn message(raw: Raw) -> Option<Message> {
    if raw.jsonrpc.as_deref() != Some("2.0") {
        return None;
    }
    match (raw.method, raw.id, raw.result, raw.error) {
        (Some(method), Some(id), None, None) if id.is_string() || id.is_number() => Some(Message::Request { id, method }),
        (Some(method), None, None, None) => Some(Message::Notification { method }),
        (None, id, Some(result), None) => Some(Message::Answer { id: number(id), outcome: Ok(result) }),
        (None, id, None, Some(error)) => Some(Message::Answer { id: number(id), outcome: Err(error) }),
        _ => None,
    }
}

fn number(id: Option<Value>) -> Option<u64> {
    id?.as_u64()
}

/// A line that asks.
pub(super) fn request(id: u64, method: &str, params: &Value) -> Vec<u8> {
    line(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
}

/// A line that says something.
pub(super) fn notification(method: &str, params: &Value) -> Vec<u8> {
    line(&json!({ "jsonrpc": "2.0", "method": method, "params": params }))
}

/// The answer to a request of a program: the host does nothing for it but answer a ping.
pub(super) fn reply(id: &Value, method: &str) -> Vec<u8> {
    if method == "ping" {
        return line(&json!({ "jsonrpc": "2.0", "id": id, "result": {} }));
    }
    let error = json!({ "code": METHOD_NOT_FOUND, "message": "the host does not offer this" });
    line(&json!({ "jsonrpc": "2.0", "id": id, "error": error }))
}

fn line(message: &Value) -> Vec<u8> {
    let mut line = message.to_string().into_bytes();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_are_messages() {
        for good in [
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"no"}}"#,
            r#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"x":1}}"#,
            r#"[{"jsonrpc":"2.0","id":1,"result":{}},{"jsonrpc":"2.0","method":"x"}]"#,
        ] {
            assert!(read(good.as_bytes()).is_some(), "{good}");
        }
        for bad in [
            "",
            "Server started",
            "null",
            "[]",
            "7",
            "{}",
            r#"{"jsonrpc":"1.0","id":1,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":{},"method":"x"}"#,
            "{\"jsonrpc\":\"2.0\",\"method\":\"\u{fffd}",
        ] {
            assert!(read(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_identity_that_is_no_number_of_ours_is_nobodys() {
        for id in ["\"1\"", "-1", "1.5", "null", "{}"] {
            let line = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
            let read = read(line.as_bytes()).unwrap();
            assert!(matches!(read[..], [Message::Answer { id: None, .. }]), "{id}");
        }
    }
}
