//! What traces consist of.

use model::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The identity of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpanId([u8; 8]);

impl SpanId {
    /// The one that follows from these words.
    pub(crate) fn of(words: &[&str]) -> Self {
        let hash = hashed("span", words);
        Self(std::array::from_fn(|at| hash.get(at).copied().unwrap_or_default()))
    }

    pub(super) fn hex(self) -> String {
        hex(&self.0)
    }
}

/// A place in a trace, as the field `traceparent` of W3C names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent {
    pub(super) trace: [u8; 16],
    pub(crate) span: SpanId,
    pub(super) flags: u8,
}

impl TraceParent {
    /// Reads the value of the field; anything but its one form is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        // Later versions may have more parts; ff is none.
        let is_known =
            version.len() == 2 && version != "ff" && unhex::<1>(version).is_some() && (version != "00" || parts.next().is_none());
        let (trace, span, [flags]) = (unhex::<16>(trace)?, unhex::<8>(span)?, unhex::<1>(flags)?);
        (is_known && trace != [0; 16] && span != [0; 8]).then_some(Self { trace, span: SpanId(span), flags })
    }

    /// The trace that follows from these words.
    pub(crate) fn of(words: &[&str], span: SpanId) -> Self {
        let hash = hashed("trace", words);
        Self { trace: std::array::from_fn(|at| hash.get(at).copied().unwrap_or_default()), span, flags: 1 }
    }
}

impl std::fmt::Display for TraceParent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "00-{}-{}-{:02x}", hex(&self.trace), self.span.hex(), self.flags)
    }
}

/// Something that took time.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    context: TraceParent,
    parent: Option<SpanId>,
    name: &'static str,
    began: Timestamp,
    ended: Timestamp,
    pub(crate) is_well: bool,
    pub(crate) attributes: Vec<(&'static str, Value)>,
}

impl Span {
    pub(crate) fn new(context: &TraceParent, parent: Option<SpanId>, name: &'static str, began: Timestamp, ended: Timestamp) -> Self {
        Self { context: context.clone(), parent, name, began, ended: ended.max(began), is_well: true, attributes: Vec::new() }
    }

    /// The form that collectors read.
    pub(crate) fn json(&self) -> Value {
        let nanos = |at: Timestamp| (u128::from(at.0) * 1_000_000).to_string();
        let mut span = json!({
            "traceId": hex(&self.context.trace),
            "spanId": self.context.span.hex(),
            "name": self.name,
            "kind": 1,
            "startTimeUnixNano": nanos(self.began),
            "endTimeUnixNano": nanos(self.ended),
            "attributes": self.attributes.iter().map(|(key, value)| json!({ "key": key, "value": any(value) })).collect::<Vec<_>>(),
            "status": { "code": if self.is_well { 1 } else { 2 } },
        });
        if let Some(parent) = self.parent {
            span["parentSpanId"] = json!(parent.hex());
        }
        span
    }
}

/// A value in the form that collectors read: numbers without a fraction are texts there.
pub(super) fn any(value: &Value) -> Value {
    match value {
        Value::Bool(yes) => json!({ "boolValue": yes }),
        Value::Number(n) if n.is_f64() => json!({ "doubleValue": n }),
        Value::Number(n) => json!({ "intValue": n.to_string() }),
        Value::String(text) => json!({ "stringValue": text }),
        other => json!({ "stringValue": other.to_string() }),
    }
}

fn hashed(kind: &str, words: &[&str]) -> Vec<u8> {
    let feed = |hash: Sha256, word: &str| hash.chain_update((word.len() as u64).to_be_bytes()).chain_update(word);
    words.iter().fold(feed(Sha256::new(), kind), |hash, word| feed(hash, word)).finalize().to_vec()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_plain = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != N * 2 || !text.bytes().all(is_plain) {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_has_one_form() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(TraceParent::parse(text).map(|p| p.to_string()).as_deref(), Some(text));
        assert!(TraceParent::parse("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more").is_some());
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333\u{e9}-01",
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_span_is_what_collectors_read() {
        let context = TraceParent::of(&["job", "a-1"], SpanId::of(&["job", "a-1"]));
        let mut span = Span::new(&context, Some(SpanId::of(&["x"])), "job", Timestamp(1_800_000_000_123), Timestamp(1_800_000_000_456));
        span.attributes = vec![("n", json!(3)), ("f", json!(0.5)), ("t", json!("x")), ("b", json!(true))];
        let json = span.json();
        assert_eq!(json["startTimeUnixNano"], "1800000000123000000");
        assert_eq!((json["traceId"].as_str().map(str::len), json["spanId"].as_str().map(str::len)), (Some(32), Some(16)));
        assert_eq!(json["attributes"][0]["value"], json!({ "intValue": "3" }));
        assert_eq!(json["attributes"][1]["value"], json!({ "doubleValue": 0.5 }));
        assert_eq!(context, TraceParent::of(&["job", "a-1"], SpanId::of(&["job", "a-1"])), "another daemon goes on with it");
        assert_ne!(SpanId::of(&["a", "bc"]), SpanId::of(&["ab", "c"]));
    }
}
