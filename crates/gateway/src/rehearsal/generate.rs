//! Replies in the form of Gemini generateContent.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Asked, Reply, event, pieces_of};

fn chunk(asked: &Asked, reply: &Reply, parts: Vec<Value>, is_last: bool) -> Value {
    let mut candidate = json!({"index": 0, "content": {"role": "model", "parts": parts}});
    let mut usage = json!({"promptTokenCount": reply.usage.input_tokens + reply.usage.cache_read_tokens});
    if is_last {
        candidate["finishReason"] = json!("STOP");
        usage["candidatesTokenCount"] = json!(reply.usage.output_tokens);
        usage["cachedContentTokenCount"] = json!(reply.usage.cache_read_tokens);
        usage["totalTokenCount"] = json!(reply.usage.input_tokens + reply.usage.cache_read_tokens + reply.usage.output_tokens);
    }
    json!({"candidates": [candidate], "usageMetadata": usage, "modelVersion": asked.model, "responseId": asked.seed})
}

fn calls(reply: &Reply) -> impl Iterator<Item = Value> + '_ {
    reply.calls.iter().map(|call| json!({"functionCall": {"name": call.name, "args": call.input}}))
}

/// One reply; a stream that is not one of events is an array of replies.
pub(super) fn body(asked: &Asked, reply: &Reply) -> Bytes {
    let mut parts = Vec::new();
    if !reply.text.is_empty() {
        parts.push(json!({"text": reply.text}));
    }
    parts.extend(calls(reply));
    let whole = chunk(asked, reply, parts, true);
    Bytes::from(if asked.stream { json!([whole]).to_string() } else { whole.to_string() })
}

pub(super) fn stream(asked: &Asked, reply: &Reply) -> Vec<Bytes> {
    let mut parts: Vec<Value> = pieces_of(&reply.text).map(|piece| json!({"text": piece})).collect();
    parts.extend(calls(reply));
    let last = parts.pop().unwrap_or_else(|| json!({"text": ""}));
    let mut out: Vec<Bytes> = parts.into_iter().map(|part| event(None, &chunk(asked, reply, vec![part], false))).collect();
    out.push(event(None, &chunk(asked, reply, vec![last], true)));
    out
}
