//! Replies in the form of Anthropic Messages.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Asked, Reply, ToolCall, event, pieces_of};

fn stop_reason(reply: &Reply) -> &'static str {
    if reply.calls.is_empty() { "end_turn" } else { "tool_use" }
}

fn tool_use(asked: &Asked, at: usize, call: &ToolCall, input: &Value) -> Value {
    json!({"type": "tool_use", "id": format!("toolu_{}{at:02}", asked.seed), "name": call.name, "input": input})
}

fn message(asked: &Asked, reply: &Reply, content: Vec<Value>, stop: Option<&str>, output: u64) -> Value {
    json!({
        "id": format!("msg_{}", asked.seed), "type": "message", "role": "assistant", "model": asked.model, "content": content,
        "stop_reason": stop, "stop_sequence": null,
        "usage": {
            "input_tokens": reply.usage.input_tokens, "cache_creation_input_tokens": reply.usage.cache_write_tokens,
            "cache_read_input_tokens": reply.usage.cache_read_tokens, "output_tokens": output,
        },
    })
}

pub(super) fn body(asked: &Asked, reply: &Reply) -> Bytes {
    let mut content = Vec::new();
    if !reply.text.is_empty() {
        content.push(json!({"type": "text", "text": reply.text}));
    }
    content.extend(reply.calls.iter().enumerate().map(|(at, call)| tool_use(asked, at, call, &call.input)));
    Bytes::from(message(asked, reply, content, Some(stop_reason(reply)), reply.usage.output_tokens).to_string())
}

pub(super) fn stream(asked: &Asked, reply: &Reply) -> Vec<Bytes> {
    let mut out = Vec::new();
    let mut put = |data: Value| {
        let name = data["type"].as_str().map(str::to_owned);
        out.push(event(name.as_deref(), &data));
    };
    put(json!({"type": "message_start", "message": message(asked, reply, Vec::new(), None, 1)}));
    let mut index = 0;
    if !reply.text.is_empty() {
        put(json!({"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}));
        for piece in pieces_of(&reply.text) {
            put(json!({"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": piece}}));
        }
        put(json!({"type": "content_block_stop", "index": index}));
        index += 1;
    }
    for (at, call) in reply.calls.iter().enumerate() {
        put(json!({"type": "content_block_start", "index": index, "content_block": tool_use(asked, at, call, &json!({}))}));
        for piece in pieces_of(&call.input.to_string()) {
            put(json!({"type": "content_block_delta", "index": index, "delta": {"type": "input_json_delta", "partial_json": piece}}));
        }
        put(json!({"type": "content_block_stop", "index": index}));
        index += 1;
    }
    put(
        json!({"type": "message_delta", "delta": {"stop_reason": stop_reason(reply), "stop_sequence": null}, "usage": {"output_tokens": reply.usage.output_tokens}}),
    );
    put(json!({"type": "message_stop"}));
    out
}
