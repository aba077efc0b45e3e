//! Replies in the form of OpenAI Chat Completions.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Asked, Reply, event, pieces_of};

fn finish_reason(reply: &Reply) -> &'static str {
    if reply.calls.is_empty() { "stop" } else { "tool_calls" }
}

fn usage(reply: &Reply) -> Value {
    let prompt = reply.usage.input_tokens + reply.usage.cache_read_tokens;
    json!({
        "prompt_tokens": prompt, "completion_tokens": reply.usage.output_tokens, "total_tokens": prompt + reply.usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": reply.usage.cache_read_tokens},
    })
}

fn calls(asked: &Asked, reply: &Reply, with_index: bool) -> Vec<Value> {
    let call = |(at, call): (usize, &super::ToolCall)| {
        let mut value = json!({
            "id": format!("call_{}{at:02}", asked.seed), "type": "function",
            "function": {"name": call.name, "arguments": call.input.to_string()},
        });
        if with_index {
            value["index"] = json!(at);
        }
        value
    };
    reply.calls.iter().enumerate().map(call).collect()
}

pub(super) fn body(asked: &Asked, reply: &Reply) -> Bytes {
    let mut message = json!({"role": "assistant", "content": if reply.text.is_empty() { Value::Null } else { json!(reply.text) }});
    if !reply.calls.is_empty() {
        message["tool_calls"] = json!(calls(asked, reply, false));
    }
    let value = json!({
        "id": format!("chatcmpl-{}", asked.seed), "object": "chat.completion", "created": 0, "model": asked.model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason(reply)}], "usage": usage(reply),
    });
    Bytes::from(value.to_string())
}

pub(super) fn stream(asked: &Asked, reply: &Reply) -> Vec<Bytes> {
    let mut out = Vec::new();
    let chunk = |choices: Value| json!({"id": format!("chatcmpl-{}", asked.seed), "object": "chat.completion.chunk", "created": 0, "model": asked.model, "choices": choices});
    let mut put =
        |delta: Value, finish: Value| out.push(event(None, &chunk(json!([{"index": 0, "delta": delta, "finish_reason": finish}]))));
    put(json!({"role": "assistant", "content": ""}), Value::Null);
    for piece in pieces_of(&reply.text) {
        put(json!({"content": piece}), Value::Null);
    }
    if !reply.calls.is_empty() {
        put(json!({"tool_calls": calls(asked, reply, true)}), Value::Null);
    }
    put(json!({}), json!(finish_reason(reply)));
    if asked.usage {
        let mut last = chunk(json!([]));
        last["usage"] = usage(reply);
        out.push(event(None, &last));
    }
    out.push(Bytes::from_static(b"data: [DONE]\n\n"));
    out
}
