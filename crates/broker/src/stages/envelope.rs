//! Stage 1: a message becomes an envelope. What it says of itself is three fields; the rest the host knows.

use model::{Code, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::Caller;
use crate::json::{self, JsonError};
use crate::refusal::{Refusal, shown};

/// The stage's number.
pub(crate) const STAGE: u8 = 1;
/// The longest correlation, in bytes.
pub const CORRELATION_BYTES_MAX: usize = 128;
/// The longest topic, in bytes.
pub(crate) const TOPIC_BYTES_MAX: usize = 256;
/// The longest of all arguments together, as JSON without blanks, in bytes.
pub(crate) const ARGUMENTS_BYTES_MAX: usize = 1 << 20;
/// The longest single argument, as JSON without blanks, in bytes.
pub const ARGUMENT_BYTES_MAX: usize = 100 * 1024;
/// The version of the envelope's form.
const VERSION: u32 = 1;

/// What an envelope is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EnvelopeKind {
    /// A call.
    Request,
}

/// A request as the host wrote it down: nothing in it but topic, correlation and arguments came from the sandbox.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Envelope {
    /// The request's own identity (a UUID), fresh for each.
    pub id: String,
    /// The version of this form.
    pub version: u32,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: EnvelopeKind,
    /// `tool.invoke.NAME`.
    pub topic: String,
    /// The sandbox, or `owner`.
    pub source: String,
    /// The client's name for the call.
    pub correlation: String,
    /// When it was read, by the host's clock.
    pub timestamp: Timestamp,
    /// The group of the agent that asks.
    pub group: String,
    /// The arguments.
    pub payload: Payload,
}

/// The payload of a request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Payload {
    /// An object; its form is the tool's business.
    pub arguments: Value,
}

impl Envelope {
    /// Reads a message as stage 1 does.
    ///
    /// # Errors
    /// The answer that refuses it.
    pub fn read(caller: &Caller, raw: &[u8], id: String, now: Timestamp) -> Result<Self, Box<wire::Answer>> {
        let refused = |refusal: Refusal| Box::new(refusal.answer(correlation_of(raw), |_| None));
        build(caller, raw, id, now).map(|sealed| sealed.envelope).map_err(refused)
    }
}

/// An envelope, and its arguments as bytes that are the same whenever they are the same.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) envelope: Envelope,
    pub(crate) canonical: Vec<u8>,
}

impl Sealed {
    /// SHA-256 of the arguments, in hexadecimal.
    pub(crate) fn arguments_hash(&self) -> String {
        hex(&Sha256::digest(&self.canonical))
    }
}

/// Who the call belongs to, as far as a message that cannot be read says it: its correlation, if that is one.
pub(crate) fn correlation_of(raw: &[u8]) -> String {
    if raw.len() > wire::CALL_BYTES_MAX {
        return String::new();
    }
    json::glance(raw).correlation.filter(|text| is_correlation(text)).unwrap_or_default().to_owned()
}

/// Builds the envelope of a message.
pub(crate) fn build(caller: &Caller, raw: &[u8], id: String, now: Timestamp) -> Result<Sealed, Refusal> {
    if raw.len() > wire::CALL_BYTES_MAX {
        return Err(refuse(format!("the message is longer than {} bytes", wire::CALL_BYTES_MAX)));
    }
    if let Some(fault) = json::glance(raw).fault {
        return Err(of_json(&fault));
    }
    let Value::Object(mut fields) = json::read(raw).map_err(|error| of_json(&error))? else {
        return Err(refuse("the message must be an object with the fields topic, correlation and arguments"));
    };
    let correlation = text(&mut fields, "correlation")?;
    if !is_correlation(&correlation) {
        let message = format!("the correlation must be 1 to {CORRELATION_BYTES_MAX} characters of A-Z a-z 0-9 . _ : -");
        return Err(refuse(message).field("correlation"));
    }
    let topic = text(&mut fields, "topic")?;
    if topic.len() > TOPIC_BYTES_MAX {
        return Err(refuse(format!("the topic is longer than {TOPIC_BYTES_MAX} bytes")).field("topic"));
    }
    let arguments = match fields.remove("arguments") {
        Some(arguments @ Value::Object(_)) => arguments,
        Some(_) => return Err(refuse("the arguments must be an object").field("arguments")),
        None => return Err(missing("arguments")),
    };
    if let Some(other) = fields.keys().next() {
        let other = shown(other, 64);
        return Err(refuse(format!("the field `{other}` is unknown; there are topic, correlation and arguments")).field(other));
    }
    let canonical = measured(&arguments)?;
    let source = caller.sandbox.as_ref().map_or_else(|| caller.actor(), ToString::to_string);
    let (group, payload) = (caller.group.clone(), Payload { arguments });
    let kind = EnvelopeKind::Request;
    let envelope = Envelope { id, version: VERSION, kind, topic, source, correlation, timestamp: now, group, payload };
    Ok(Sealed { envelope, canonical })
}

/// The arguments as canonical bytes, when neither they nor any one of them is too long.
fn measured(arguments: &Value) -> Result<Vec<u8>, Refusal> {
    let mut one = Vec::new();
    for (name, value) in arguments.as_object().into_iter().flatten() {
        one.clear();
        json::canonical(value, &mut one);
        if one.len() > ARGUMENT_BYTES_MAX {
            let name = shown(name, 64);
            return Err(refuse(format!("the argument `{name}` is longer than {ARGUMENT_BYTES_MAX} bytes")).field(name));
        }
    }
    let mut all = Vec::new();
    json::canonical(arguments, &mut all);
    if all.len() > ARGUMENTS_BYTES_MAX {
        return Err(refuse(format!("the arguments are longer than {ARGUMENTS_BYTES_MAX} bytes")).field("arguments"));
    }
    Ok(all)
}

fn text(fields: &mut Map<String, Value>, name: &str) -> Result<String, Refusal> {
    match fields.remove(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(refuse(format!("the field {name} must be text")).field(name)),
        None => Err(missing(name)),
    }
}

fn is_correlation(text: &str) -> bool {
    (1..=CORRELATION_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
}

fn missing(name: &str) -> Refusal {
    refuse(format!("the field {name} is missing")).field(name)
}

fn of_json(error: &JsonError) -> Refusal {
    let refusal = refuse(match error {
        JsonError::Twice(key) => JsonError::Twice(shown(key, 64)).to_string(),
        other => other.to_string(),
    });
    match error {
        JsonError::Twice(key) | JsonError::Key(key) => refusal.field(shown(key, 64)),
        _ => refusal,
    }
}

fn refuse(message: impl Into<String>) -> Refusal {
    Refusal::new(STAGE, Code::ValidationFailed, message)
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]);
    digits.map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(raw: &[u8]) -> Result<Sealed, Refusal> {
        super::build(&Caller::owner(), raw, "id".to_owned(), Timestamp(7))
    }

    #[test]
    fn the_host_writes_the_envelope() {
        let sealed = build(br#"{"arguments":{"b":1,"a":"x"},"correlation":"c:1","topic":"tool.invoke.t"}"#).unwrap();
        let written = serde_json::to_value(&sealed.envelope).unwrap();
        let expect = serde_json::json!({
            "id": "id", "version": 1, "type": "request", "topic": "tool.invoke.t", "source": "owner", "correlation": "c:1",
            "timestamp": 7, "group": "owner", "payload": {"arguments": {"a": "x", "b": 1}},
        });
        assert_eq!(written, expect);
        assert_eq!(sealed.canonical, br#"{"a":"x","b":1}"#);
        assert_eq!(sealed.arguments_hash().len(), 64);
    }

    #[test]
    fn only_the_three_fields_in_their_form_pass() {
        let nested = |n: usize| format!(r#"{{"topic":"t","correlation":"c","arguments":{}1{}}}"#, r#"{"a":"#.repeat(n), "}".repeat(n));
        for (raw, field) in [
            ("[]".to_owned(), None),
            ("null".to_owned(), None),
            (r#"{"topic":"t","correlation":"c"}"#.to_owned(), Some("arguments")),
            (r#"{"topic":"t","arguments":{}}"#.to_owned(), Some("correlation")),
            (r#"{"correlation":"c","arguments":{}}"#.to_owned(), Some("topic")),
            (r#"{"topic":7,"correlation":"c","arguments":{}}"#.to_owned(), Some("topic")),
            (r#"{"topic":"t","correlation":"","arguments":{}}"#.to_owned(), Some("correlation")),
            (r#"{"topic":"t","correlation":"a b","arguments":{}}"#.to_owned(), Some("correlation")),
            (format!(r#"{{"topic":"t","correlation":"{}","arguments":{{}}}}"#, "c".repeat(129)), Some("correlation")),
            (format!(r#"{{"topic":"{}","correlation":"c","arguments":{{}}}}"#, "t".repeat(257)), Some("topic")),
            (r#"{"topic":"t","correlation":"c","arguments":[]}"#.to_owned(), Some("arguments")),
            (r#"{"topic":"t","correlation":"c","arguments":"{}"}"#.to_owned(), Some("arguments")),
            (r#"{"topic":"t","correlation":"c","arguments":{},"session":"ses_1"}"#.to_owned(), Some("session")),
            (r#"{"topic":"t","correlation":"c","arguments":{},"approved":true}"#.to_owned(), Some("approved")),
            (r#"{"topic":"t","correlation":"c","arguments":{},"Topic":"t"}"#.to_owned(), Some("Topic")),
            (r#"{"topic":"t","correlation":"c","Arguments":{}}"#.to_owned(), Some("arguments")),
            (r#"{"topic":"t","correlation":"c","arguments":{"a":[{"__proto__":1}]}}"#.to_owned(), Some("__proto__")),
            (r#"{"topic":"t","topic":"u","correlation":"c","arguments":{}}"#.to_owned(), Some("topic")),
            (nested(64), None),
        ] {
            let refusal = build(raw.as_bytes()).unwrap_err();
            assert_eq!((refusal.code, refusal.stage), (Code::ValidationFailed, Some(1)), "{raw}");
            assert_eq!(refusal.field.as_deref(), field, "{raw}");
        }
        assert!(build(nested(63).as_bytes()).is_ok());
    }

    #[test]
    fn sizes_are_held() {
        let with = |name: &str, n: usize| format!(r#"{{"topic":"t","correlation":"c","arguments":{{"{name}":"{}"}}}}"#, "x".repeat(n));
        assert!(build(with("a", ARGUMENT_BYTES_MAX - 2).as_bytes()).is_ok());
        assert_eq!(build(with("a", ARGUMENT_BYTES_MAX - 1).as_bytes()).unwrap_err().field.as_deref(), Some("a"));
        let many: Vec<String> = (0..12).map(|n| format!(r#""a{n}":"{}""#, "x".repeat(100_000))).collect();
        let message = format!(r#"{{"topic":"t","correlation":"c","arguments":{{{}}}}}"#, many.join(","));
        assert!(build(message.as_bytes()).unwrap_err().message.contains("longer than 1048576"));
        assert_eq!(correlation_of(message.as_bytes()), "");
        assert_eq!(correlation_of(br#"{"correlation":"c","arguments":"#), "c");
        assert_eq!(correlation_of(br#"{"correlation":"c c","arguments":"#), "");
    }
}
