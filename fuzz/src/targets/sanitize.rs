//! What takes credentials out: of texts, of streams however they are cut, and of JSON.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use sanitize::{Sanitizer, Stream, WINDOW};
use serde_json::Value;

use super::{Target, hash};

const VALUES: [&str; 3] = ["canary-0123456789-abcdef/+=", "short-one", "https://user:pa55word-of-db@db.example.com/x"];

static SANITIZER: LazyLock<Sanitizer> = LazyLock::new(|| Sanitizer::new(VALUES));

const WORDS: &[&[u8]] = &[
    b"canary-0123456789-abcdef/+=", b"canary-0123456789", b"56789-abcdef/+=", b"short-one", b"fedcba-9876543210-yranac", b"63616e617279",
    b"Y2FuYXJ5LTAxMjM0NTY3ODktYWJjZGVm", b"canary%2D0123456789", b"pa55word-of-db@db", b"Bearer ", b"sk-", b"ghp_", b"eyJ", b".", b"://",
    b":AA", b"api_key=", b"x-api-key: ", b"-----BEGIN PRIVATE KEY-----", b"-----END", b"-----", b"AKIA", b"abcdefgh12345678", b"\\n",
    b"%3D", b"\xc3\xa9", b"\"", b"@", b"1234567890", b"postgres://", b"xoxb-", b"[REDACTED]",
];

pub(crate) const TEXT: Target = Target { name: "sanitize_text", corpus: "sanitize_text", recorded: None, words: WORDS, run: text };
pub(crate) const JSON: Target = Target { name: "sanitize_json", corpus: "sanitize_json", recorded: None, words: WORDS, run: json };

/// No known value is left, wherever a stream breaks, and what was cleaned is clean.
fn text(input: &[u8]) -> u64 {
    // The first byte says where to cut.
    let Some((&step, body)) = input.split_first() else { return 0 };
    let mut masked = body.to_vec();
    let places = SANITIZER.known().mask(&mut masked);
    assert_eq!(masked.len(), body.len());
    assert!(!holds(&masked), "a piece of a value is left");
    let mut stream = Stream::new(Arc::clone(SANITIZER.known()));
    let mut out = Vec::new();
    for piece in body.chunks(usize::from(step).max(1)) {
        out.extend_from_slice(&stream.feed(Bytes::copy_from_slice(piece)));
        assert!(stream.held() < WINDOW as u64, "too much is held back");
    }
    out.extend_from_slice(&stream.finish());
    assert_eq!(out, masked, "a stream gives something else than a whole text");
    let mut bytes = body.to_vec();
    let redacted = SANITIZER.bytes(&mut bytes);
    assert!(!holds(&bytes));
    if let Ok(text) = std::str::from_utf8(body) {
        let cleaned = SANITIZER.text(text);
        assert_eq!(cleaned.is_some(), redacted > 0);
        assert!(cleaned.is_none_or(|text| !holds(text.as_bytes())));
    }
    hash(&(places.min(4), redacted.min(4)))
}

/// Keys and values are clean, and no field is lost.
fn json(input: &[u8]) -> u64 {
    let Ok(mut value) = serde_json::from_slice::<Value>(input) else { return 0 };
    let before = count(&value);
    let paths = SANITIZER.value(&mut value);
    assert_eq!(count(&value), before, "a field was lost");
    assert!(clean(&value), "a value is left");
    hash(&(paths.len().min(8), before.min(16)))
}

fn holds(text: &[u8]) -> bool {
    VALUES[..2].iter().any(|value| {
        let bytes = value.as_bytes();
        bytes.windows(WINDOW.min(bytes.len())).any(|piece| text.windows(piece.len()).any(|window| window == piece))
    })
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

fn clean(value: &Value) -> bool {
    match value {
        Value::String(text) => !holds(text.as_bytes()),
        Value::Array(items) => items.iter().all(clean),
        Value::Object(fields) => fields.iter().all(|(key, value)| !holds(key.as_bytes()) && clean(value)),
        _ => true,
    }
}
