//! The broker's door: messages in a stream, the strict reading of a request, and schemas that strangers wrote.

use broker::{ARGUMENT_BYTES_MAX, CORRELATION_BYTES_MAX, Caller, Envelope, SchemaError, check_schema, close_schema};
use model::Timestamp;
use serde_json::Value;
use wire::{CALL_BYTES_MAX, CallDecoder, CallError, frame_call};

use super::{Target, hash};

pub(crate) const CALLS: Target = Target {
    name: "wire_calls",
    corpus: "wire_calls",
    recorded: None,
    words: &[b"\0\0\0\x01", b"\0\0\0\0", b"\0\x10\0\0", b"\0\x10\0\x01", b"\xff\xff\xff\xff", b"\0\0\0\x02{}"],
    run: calls,
};
pub(crate) const REQUEST: Target = Target {
    name: "broker_request",
    corpus: "broker_request",
    recorded: None,
    words: &[
        b"{", b"}", b"[", b"]", b"\"", b"\\\"", b",", b":", b"\"topic\":", b"\"correlation\":", b"\"arguments\":", b"tool.invoke.",
        b"null", b"__proto__", b"constructor", b"prototype", b"\\u005f", b"\\ud800", b"\\u0000", b"1e999", b"-0", b"18446744073709551616",
        b"NaN", b"\xff", b"\xed\xa0\x80", b"[[[[[[[[[[[[[[[[", b"]]]]]]]]]]]]]]]]", b"{\"a\":",
    ],
    run: request,
};
pub(crate) const SCHEMA: Target = Target {
    name: "broker_schema",
    corpus: "broker_schema",
    recorded: None,
    words: &[
        b"{}", b"true", b"false", b"\"type\":", b"\"object\"", b"\"array\"", b"\"string\"", b"\"properties\":{", b"\"items\":",
        b"\"$ref\":", b"\"#/$defs/d\"", b"\"#\"", b"\"$defs\":{\"d\":{}}", b"\"anyOf\":[", b"\"allOf\":[", b"\"oneOf\":[",
        b"\"additionalProperties\":", b"\"unevaluatedProperties\":false", b"\"prefixItems\":[", b"\"pattern\":\"(a+)+\"", b"\"enum\":[",
        b"\"const\":", b"\"not\":{", b",", b"\"if\":{", b"\"then\":{", b"\"else\":{", b"}", b"]", b"\"dependentSchemas\":{",
        b"\"patternProperties\":{",
    ],
    run: schema,
};

/// Whole messages come out of a stream, the same ones however it was cut.
fn calls(input: &[u8]) -> u64 {
    // The first byte says where to cut.
    let Some((&step, stream)) = input.split_first() else { return 0 };
    let whole = decode(stream, stream.len().max(1));
    assert_eq!(decode(stream, usize::from(step).max(1)), whole, "the cut changes what is read");
    let (messages, end) = whole;
    let bytes: Vec<u8> = messages.iter().flat_map(|message| frame_call(message).expect("what was read can be written")).collect();
    assert!(stream.starts_with(&bytes), "what was read is not what was sent");
    hash(&(messages.iter().map(Vec::len).take(4).collect::<Vec<_>>(), end))
}

fn decode(stream: &[u8], step: usize) -> (Vec<Vec<u8>>, Option<String>) {
    let (mut decoder, mut messages) = (CallDecoder::default(), Vec::new());
    for piece in stream.chunks(step) {
        decoder.push(piece);
        loop {
            match decoder.next_message() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error @ (CallError::Empty | CallError::TooLong(_))) => return (messages, Some(error.to_string())),
            }
        }
    }
    (messages, None)
}

/// What stage 1 lets pass has three fields in their form, is within its limits, and means the same to a plain reader.
fn request(input: &[u8]) -> u64 {
    match Envelope::read(&Caller::owner(), input, "id".to_owned(), Timestamp(0)) {
        Ok(envelope) => {
            assert!(input.len() <= CALL_BYTES_MAX && (1..=CORRELATION_BYTES_MAX).contains(&envelope.correlation.len()));
            let plain: Value = serde_json::from_slice(input).expect("what is read strictly is JSON");
            assert_eq!(plain.as_object().map(serde_json::Map::len), Some(3));
            assert_eq!((&plain["topic"], &plain["correlation"]), (&envelope.topic.as_str().into(), &envelope.correlation.as_str().into()));
            assert_eq!(plain["arguments"], envelope.payload.arguments, "a plain reader understands something else");
            let arguments = envelope.payload.arguments.as_object().expect("arguments are an object");
            for value in arguments.values() {
                assert!(depth(value) < 64 && value.to_string().len() <= ARGUMENT_BYTES_MAX + 16);
            }
            assert!(!has_refused_key(&envelope.payload.arguments));
            hash(&(arguments.len().min(8), arguments.values().map(depth).max()))
        }
        Err(answer) => {
            let error = answer.error.expect("a refusal says why");
            assert_eq!((error.code.as_str(), error.stage), ("VALIDATION_FAILED", Some(1)));
            assert!(!error.message.chars().any(char::is_control), "a message holds a control character");
            hash(&(error.message.chars().filter(|c| !c.is_ascii_digit()).take(40).collect::<String>(), answer.correlation.is_empty()))
        }
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn has_refused_key(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_refused_key),
        Value::Object(fields) => {
            fields.iter().any(|(key, value)| ["__proto__", "constructor", "prototype"].contains(&key.as_str()) || has_refused_key(value))
        }
        _ => false,
    }
}

/// A stranger's schema that was closed is closed, or is refused for another reason.
fn schema(input: &[u8]) -> u64 {
    let Ok(mut schema) = serde_json::from_slice::<Value>(input) else { return 0 };
    close_schema(&mut schema);
    match check_schema(&schema) {
        Ok(()) => {
            let once = schema.clone();
            close_schema(&mut schema);
            assert_eq!(schema, once, "closing twice changes it");
            1
        }
        Err(SchemaError::Open { place, why }) => panic!("still open at {place}: {why}: {schema}"),
        Err(error) => hash(&error.to_string().chars().take(30).collect::<String>()),
    }
}
