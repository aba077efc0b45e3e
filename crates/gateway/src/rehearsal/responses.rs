//! Replies in the form of OpenAI Responses.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Asked, Reply, ToolCall, event, pieces_of};

fn text_item(asked: &Asked, text: &str) -> Value {
    let content = if text.is_empty() { json!([]) } else { json!([{"type": "output_text", "text": text, "annotations": []}]) };
    let status = if text.is_empty() { "in_progress" } else { "completed" };
    json!({"type": "message", "id": format!("msg_{}", asked.seed), "status": status, "role": "assistant", "content": content})
}

fn call_item(asked: &Asked, at: usize, call: &ToolCall, is_done: bool) -> Value {
    let arguments = if is_done { call.input.to_string() } else { String::new() };
    let mut item = json!({
        "type": "function_call", "id": format!("fc_{}{at:02}", asked.seed), "call_id": format!("call_{}{at:02}", asked.seed), "name": call.name,
        "arguments": arguments, "status": if is_done { "completed" } else { "in_progress" },
    });
    if let Some(namespace) = &call.namespace {
        item["namespace"] = json!(namespace);
    }
    item
}

fn response(asked: &Asked, reply: &Reply, is_done: bool) -> Value {
    let mut output = Vec::new();
    if is_done && !reply.text.is_empty() {
        output.push(text_item(asked, &reply.text));
    }
    if is_done {
        output.extend(reply.calls.iter().enumerate().map(|(at, call)| call_item(asked, at, call, true)));
    }
    let sent = reply.usage.input_tokens + reply.usage.cache_read_tokens;
    let usage = json!({
        "input_tokens": sent, "input_tokens_details": {"cached_tokens": reply.usage.cache_read_tokens}, "output_tokens": reply.usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": sent + reply.usage.output_tokens,
    });
    json!({
        "id": format!("resp_{}", asked.seed), "object": "response", "created_at": 0, "status": if is_done { "completed" } else { "in_progress" },
        "model": asked.model, "output": output, "error": null, "incomplete_details": null, "parallel_tool_calls": true, "tool_choice": "auto", "tools": [],
        "usage": if is_done { usage } else { Value::Null },
    })
}

pub(super) fn body(asked: &Asked, reply: &Reply) -> Bytes {
    Bytes::from(response(asked, reply, true).to_string())
}

pub(super) fn stream(asked: &Asked, reply: &Reply) -> Vec<Bytes> {
    let mut out = Vec::new();
    let mut number = 0u64;
    let mut put = |mut data: Value| {
        data["sequence_number"] = json!(number);
        number += 1;
        let name = data["type"].as_str().map(str::to_owned);
        out.push(event(name.as_deref(), &data));
    };
    put(json!({"type": "response.created", "response": response(asked, reply, false)}));
    put(json!({"type": "response.in_progress", "response": response(asked, reply, false)}));
    let mut index = 0;
    if !reply.text.is_empty() {
        let id = format!("msg_{}", asked.seed);
        let whole = json!({"type": "output_text", "text": reply.text, "annotations": []});
        put(json!({"type": "response.output_item.added", "output_index": index, "item": text_item(asked, "")}));
        put(
            json!({"type": "response.content_part.added", "item_id": id, "output_index": index, "content_index": 0, "part": {"type": "output_text", "text": "", "annotations": []}}),
        );
        for piece in pieces_of(&reply.text) {
            put(json!({"type": "response.output_text.delta", "item_id": id, "output_index": index, "content_index": 0, "delta": piece}));
        }
        put(json!({"type": "response.output_text.done", "item_id": id, "output_index": index, "content_index": 0, "text": reply.text}));
        put(json!({"type": "response.content_part.done", "item_id": id, "output_index": index, "content_index": 0, "part": whole}));
        put(json!({"type": "response.output_item.done", "output_index": index, "item": text_item(asked, &reply.text)}));
        index += 1;
    }
    for (at, call) in reply.calls.iter().enumerate() {
        let id = format!("fc_{}{at:02}", asked.seed);
        put(json!({"type": "response.output_item.added", "output_index": index, "item": call_item(asked, at, call, false)}));
        for piece in pieces_of(&call.input.to_string()) {
            put(json!({"type": "response.function_call_arguments.delta", "item_id": id, "output_index": index, "delta": piece}));
        }
        put(
            json!({"type": "response.function_call_arguments.done", "item_id": id, "output_index": index, "arguments": call.input.to_string()}),
        );
        put(json!({"type": "response.output_item.done", "output_index": index, "item": call_item(asked, at, call, true)}));
        index += 1;
    }
    put(json!({"type": "response.completed", "response": response(asked, reply, true)}));
    out
}
