//! What a tool's answer means.

use model::Code;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::client::RESULT_BYTES_MAX;
use super::process::plain;
use crate::CallFailure;

/// How much of what a plugin says of a failure is passed on, in characters.
const COMPLAINT_CHARS_MAX: usize = 4_000;
/// Pieces of one result.
const PIECES_MAX: usize = 1_000;

/// The result of `tools/call`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Called {
    #[serde(default)]
    content: Option<Vec<Value>>,
    #[serde(default)]
    structured_content: Option<Value>,
    #[serde(default)]
    is_error: bool,
}

/// The value for the agent.
pub(super) fn value_of(raw: &RawValue) -> Result<Value, CallFailure> {
    if raw.get().len() > RESULT_BYTES_MAX {
        return Err(wrong("its result is larger than 1 MiB"));
    }
    let called: Called = serde_json::from_str(raw.get()).map_err(|_| wrong("its result has not the form of one"))?;
    if called.content.is_none() && called.structured_content.is_none() {
        return Err(wrong("its result has no content"));
    }
    let pieces = called.content.unwrap_or_default();
    if pieces.len() > PIECES_MAX {
        return Err(wrong("its result has too many pieces"));
    }
    let pieces: Vec<Value> = pieces.iter().map(piece).collect::<Option<_>>().ok_or_else(|| wrong("a piece of its result is none"))?;
    let texts: Option<Vec<&str>> = pieces.iter().map(Value::as_str).collect();
    if called.is_error {
        let said = texts.filter(|t| !t.is_empty()).map_or_else(|| "the tool failed".to_owned(), |texts| complaint(&texts.join("\n")));
        return Err(CallFailure::new(Code::HandlerError, said));
    }
    Ok(match (called.structured_content, texts) {
        (Some(structured), _) if structured.is_object() => structured,
        (Some(_), _) => return Err(wrong("its structured result is no object")),
        (None, Some(texts)) => Value::String(texts.join("\n")),
        (None, None) => {
            Value::Array(pieces.into_iter().map(|p| if p.is_string() { json!({ "type": "text", "text": p }) } else { p }).collect())
        }
    })
}

/// One piece: a text as a string, anything else as an object of the fields that are known.
fn piece(piece: &Value) -> Option<Value> {
    let field = |object: &Value, name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
    let some = |object: &Value, names: &[&str]| {
        let fields = names.iter().filter_map(|name| field(object, name).map(|value| ((*name).to_owned(), Value::String(value))));
        fields.collect::<serde_json::Map<_, _>>()
    };
    match piece.get("type")?.as_str()? {
        "text" => field(piece, "text").map(Value::String),
        kind @ ("image" | "audio") => Some(json!({ "type": kind, "mimeType": field(piece, "mimeType")?, "data": field(piece, "data")? })),
        "resource" => {
            let resource = piece.get("resource")?;
            field(resource, "uri")?;
            let mut object = some(resource, &["uri", "mimeType", "text", "blob"]);
            object.insert("type".to_owned(), "resource".into());
            Some(Value::Object(object))
        }
        "resource_link" => {
            field(piece, "uri")?;
            let mut object = some(piece, &["uri", "name", "description", "mimeType"]);
            object.insert("type".to_owned(), "resource_link".into());
            Some(Value::Object(object))
        }
        _ => None,
    }
}

/// What a plugin says of a failure, fit to be passed on.
pub(super) fn complaint(said: &str) -> String {
    let said = plain(said);
    if said.is_empty() {
        return "the tool failed".to_owned();
    }
    said.chars().take(COMPLAINT_CHARS_MAX).collect()
}

/// The plugin's answer is none.
pub(super) fn wrong(why: &str) -> CallFailure {
    CallFailure::new(Code::PluginError, format!("the plugin gave no proper answer: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<Value, Code> {
        value_of(&RawValue::from_string(text.to_owned()).unwrap()).map_err(|f| f.code)
    }

    #[test]
    fn content_becomes_a_value() {
        let check = |text: &str, expect: Value| assert_eq!(value(text), Ok(expect), "{text}");
        check(r#"{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}"#, json!("a\nb"));
        check(r#"{"content":[{"type":"text","text":"{\"a\":1}"}]}"#, json!("{\"a\":1}"));
        check(r#"{"content":[{"type":"text","text":"x"}],"structuredContent":{"n":7}}"#, json!({"n": 7}));
        check(r#"{"content":[]}"#, json!(""));
        check(
            r#"{"content":[{"type":"text","text":"x"},{"type":"image","mimeType":"image/png","data":"AA","extra":1}]}"#,
            json!([{"type":"text","text":"x"},{"type":"image","mimeType":"image/png","data":"AA"}]),
        );
    }

    #[test]
    fn nothing_else_is_a_result() {
        let big = format!(r#"{{"content":[{{"type":"text","text":"{}"}}]}}"#, "x".repeat(RESULT_BYTES_MAX));
        for (text, code) in [
            (r#"{"content":[{"type":"text","text":"no such city"}],"isError":true}"#, Code::HandlerError),
            (r#"{"content":[],"isError":true}"#, Code::HandlerError),
            ("{}", Code::PluginError),
            ("null", Code::PluginError),
            (r#"{"content":"x"}"#, Code::PluginError),
            (r#"{"content":[{"type":"text"}]}"#, Code::PluginError),
            (r#"{"content":[{"type":"program","text":"x"}]}"#, Code::PluginError),
            (r#"{"content":[],"structuredContent":[1]}"#, Code::PluginError),
            (big.as_str(), Code::PluginError),
        ] {
            assert_eq!(value(text), Err(code), "{}", &text[..text.len().min(80)]);
        }
        let said =
            value_of(&RawValue::from_string(r#"{"content":[{"type":"text","text":"a\u001b[2Jb\u202ec"}],"isError":true}"#.into()).unwrap());
        assert_eq!(said.map_err(|f| f.message), Err("a[2Jbc".to_owned()));
    }
}
