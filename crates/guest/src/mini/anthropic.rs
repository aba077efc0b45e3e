//! The conversation as Anthropic Messages, and its stream back.

use serde_json::{Value, json};

use super::chat::{Answer, Call, Message, Part, Reply, Stop, Usage};
use super::events::Events;
use super::http::{Body, HttpError};
use super::tools::{self, Offer};

/// The version of the interface, sent with each request.
const VERSION: &str = "2023-06-01";
/// The most blocks in one answer.
const BLOCKS_MAX: usize = 1024;

pub(super) const PATH: &str = "/v1/messages";

pub(super) fn headers(key: &str) -> Vec<(&'static str, String)> {
    vec![("x-api-key", key.to_owned()), ("anthropic-version", VERSION.to_owned())]
}

/// The request.
pub(super) fn request(model: &str, system: &str, messages: &[Message], offers: &[Offer], answer_tokens_max: u32) -> Value {
    let tool = |offer: &Offer| json!({ "name": offer.name, "description": offer.description, "input_schema": offer.schema });
    let tools: Vec<Value> = offers.iter().map(tool).collect();
    json!({
        "model": model,
        "max_tokens": answer_tokens_max,
        "stream": true,
        // The provider may keep what does not change from call to call.
        "system": [{ "type": "text", "text": system, "cache_control": { "type": "ephemeral" } }],
        "tools": tools,
        "messages": turns(messages),
    })
}

/// Neighbours of one side are one message here.
fn turns(messages: &[Message]) -> Vec<Value> {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in messages {
        let (role, blocks) = match message {
            Message::User(text) => ("user", vec![json!({ "type": "text", "text": text })]),
            Message::Tool { id, output, is_error } => {
                // An empty text block is refused by the provider.
                let output = if output.is_empty() { "(no output)" } else { output };
                ("user", vec![json!({ "type": "tool_result", "tool_use_id": id, "content": output, "is_error": is_error })])
            }
            Message::Assistant(answer) => ("assistant", answer.parts.iter().filter_map(block).collect()),
        };
        match turns.last_mut() {
            Some((last, all)) if *last == role => all.extend(blocks),
            _ if blocks.is_empty() => (),
            _ => turns.push((role, blocks)),
        }
    }
    if let Some(block) = turns.last_mut().and_then(|(_, blocks)| blocks.last_mut()) {
        block["cache_control"] = json!({ "type": "ephemeral" });
    }
    turns.into_iter().map(|(role, content)| json!({ "role": role, "content": content })).collect()
}

fn block(part: &Part) -> Option<Value> {
    match part {
        Part::Text(text) if text.trim().is_empty() => None,
        Part::Text(text) => Some(json!({ "type": "text", "text": text })),
        Part::Opaque(value) => value.get("type").is_some().then(|| value.clone()),
        Part::Call(call) => {
            let input = if call.input.is_object() { call.input.clone() } else { json!({}) };
            Some(json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": input }))
        }
    }
}

/// What a stream has told so far.
#[derive(Default)]
struct Stream {
    blocks: Vec<Value>,
    /// The JSON of each block's input, which comes in pieces.
    inputs: Vec<String>,
    usage: Usage,
    stop: Option<String>,
    is_whole: bool,
}

/// Reads the stream of one answer and tells of text as it comes.
pub(super) fn read(body: &mut Body, events: &mut Events) -> Result<Reply, HttpError> {
    let mut stream = Stream::default();
    while let Some(line) = body.next_line()? {
        let Some(data) = line.strip_prefix("data:") else { continue };
        let Ok(value) = serde_json::from_str::<Value>(data.trim()) else { continue };
        stream.take(&value, events)?;
        if stream.is_whole {
            break;
        }
    }
    stream.end()
}

impl Stream {
    fn take(&mut self, value: &Value, events: &mut Events) -> Result<(), HttpError> {
        match value["type"].as_str().unwrap_or("") {
            "message_start" => self.count(&value["message"]["usage"]),
            "content_block_start" => {
                if self.blocks.len() >= BLOCKS_MAX {
                    return Err(HttpError::broken(format!("the answer has more than {BLOCKS_MAX} blocks")));
                }
                self.blocks.push(value["content_block"].clone());
                self.inputs.push(String::new());
                let first = value["content_block"]["text"].as_str().unwrap_or("");
                if !first.is_empty() {
                    events.text(first);
                }
            }
            "content_block_delta" => self.delta(&value["delta"], events),
            "message_delta" => {
                self.count(&value["usage"]);
                self.stop = value["delta"]["stop_reason"].as_str().map(str::to_owned).or_else(|| self.stop.take());
            }
            "message_stop" => self.is_whole = true,
            "error" => return Err(refused(&value["error"])),
            _ => (),
        }
        Ok(())
    }

    /// Pieces always belong to the block that began last.
    fn delta(&mut self, delta: &Value, events: &mut Events) {
        let (Some(block), Some(input)) = (self.blocks.last_mut(), self.inputs.last_mut()) else { return };
        let piece = |key: &str| delta[key].as_str().unwrap_or("");
        match delta["type"].as_str().unwrap_or("") {
            "text_delta" => {
                append(block, "text", piece("text"));
                events.text(piece("text"));
            }
            "thinking_delta" => {
                append(block, "thinking", piece("thinking"));
                events.thinking(piece("thinking"));
            }
            "signature_delta" => append(block, "signature", piece("signature")),
            "input_json_delta" => input.push_str(piece("partial_json")),
            _ => (),
        }
    }

    /// Later counts are totals of the answer so far.
    fn count(&mut self, usage: &Value) {
        let set = |field: &mut u64, key: &str| *field = usage[key].as_u64().unwrap_or(*field);
        set(&mut self.usage.input, "input_tokens");
        set(&mut self.usage.output, "output_tokens");
        set(&mut self.usage.cache_read, "cache_read_input_tokens");
        set(&mut self.usage.cache_write, "cache_creation_input_tokens");
    }

    fn end(self) -> Result<Reply, HttpError> {
        if !self.is_whole && self.stop.is_none() {
            return Err(HttpError::broken("the answer of the model was cut: the stream ended before the message did"));
        }
        let parts = self.blocks.into_iter().zip(self.inputs).filter_map(|(block, input)| part(block, &input)).collect();
        let stop = match self.stop.as_deref() {
            Some("max_tokens" | "model_context_window_exceeded") => Stop::Length,
            Some("pause_turn") => Stop::Pause,
            Some("refusal") => Stop::Refusal,
            _ => Stop::Done,
        };
        Ok(Reply { answer: Answer { parts }, usage: self.usage, stop })
    }
}

fn append(block: &mut Value, key: &str, piece: &str) {
    match block.get_mut(key) {
        Some(Value::String(text)) => text.push_str(piece),
        _ => block[key] = Value::String(piece.to_owned()),
    }
}

fn part(block: Value, input: &str) -> Option<Part> {
    let text = |key: &str| block[key].as_str().unwrap_or("").to_owned();
    match block["type"].as_str()? {
        "text" => Some(Part::Text(text("text"))),
        "tool_use" => Some(Part::Call(Call { id: text("id"), name: text("name"), input: tools::arguments(input, &block["input"]) })),
        "thinking" | "redacted_thinking" => Some(Part::Opaque(block)),
        _ => None,
    }
}

/// An error in the middle of a stream; the provider's word for it stands in for a status.
fn refused(error: &Value) -> HttpError {
    let kind = error["type"].as_str().unwrap_or("");
    let status = match kind {
        "overloaded_error" => Some(529),
        "rate_limit_error" => Some(429),
        "api_error" => Some(500),
        "authentication_error" => Some(401),
        _ => None,
    };
    let message = format!("the model answered with an error: {error}");
    HttpError { status, message, retriable: matches!(status, Some(529 | 429 | 500)), wait: None, away: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(lines: &[Value]) -> Result<Reply, HttpError> {
        let mut events = Events::to(std::io::sink());
        let mut stream = Stream::default();
        for line in lines {
            stream.take(line, &mut events)?;
        }
        stream.end()
    }

    #[test]
    fn a_stream_becomes_an_answer() {
        let reply = play(&[
            json!({ "type": "message_start", "message": { "usage": { "input_tokens": 5, "output_tokens": 1, "cache_read_input_tokens": 2 } } }),
            json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "thinking", "thinking": "" } }),
            json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "thinking_delta", "thinking": "hm" } }),
            json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "signature_delta", "signature": "s" } }),
            json!({ "type": "content_block_start", "index": 1, "content_block": { "type": "text", "text": "" } }),
            json!({ "type": "content_block_delta", "index": 1, "delta": { "type": "text_delta", "text": "Hel" } }),
            json!({ "type": "content_block_delta", "index": 1, "delta": { "type": "text_delta", "text": "lo" } }),
            json!({ "type": "content_block_start", "index": 2, "content_block": { "type": "tool_use", "id": "t", "name": "bash", "input": {} } }),
            json!({ "type": "content_block_delta", "index": 2, "delta": { "type": "input_json_delta", "partial_json": "{\"command\":" } }),
            json!({ "type": "content_block_delta", "index": 2, "delta": { "type": "input_json_delta", "partial_json": "\"ls\"}" } }),
            json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" }, "usage": { "output_tokens": 9 } }),
            json!({ "type": "message_stop" }),
        ]);
        let reply = reply.expect("whole");
        assert_eq!(reply.answer.text(), "Hello");
        assert_eq!(reply.usage, Usage { input: 5, output: 9, cache_read: 2, cache_write: 0 });
        let calls: Vec<&Call> = reply.answer.calls().collect();
        assert_eq!(calls, [&Call { id: "t".into(), name: "bash".into(), input: json!({ "command": "ls" }) }]);
        assert_eq!(reply.answer.parts[0], Part::Opaque(json!({ "type": "thinking", "thinking": "hm", "signature": "s" })));
    }

    #[test]
    fn a_cut_stream_and_an_error_in_it_are_told() {
        let start = json!({ "type": "message_start", "message": {} });
        assert!(play(std::slice::from_ref(&start)).expect_err("cut").retriable);
        let error = play(&[start, json!({ "type": "error", "error": { "type": "overloaded_error" } })]).expect_err("refused");
        assert_eq!((error.status, error.retriable), (Some(529), true));
    }

    #[test]
    fn results_of_several_tools_are_one_message() {
        let call = |id: &str| Part::Call(Call { id: id.into(), name: "bash".into(), input: json!("broken") });
        let tool = |id: &str| Message::Tool { id: id.into(), output: String::new(), is_error: false };
        let answer = Message::Assistant(Answer { parts: vec![Part::Text(" ".into()), call("1"), call("2")] });
        let body = request("m", "s", &[Message::User("go".into()), answer, tool("1"), tool("2"), Message::User("on".into())], &[], 10);
        let roles: Vec<&str> = body["messages"].as_array().expect("a list").iter().filter_map(|m| m["role"].as_str()).collect();
        assert_eq!(roles, ["user", "assistant", "user"]);
        assert_eq!(body["messages"][1]["content"].as_array().map(Vec::len), Some(2));
        assert_eq!(body["messages"][1]["content"][0]["input"], json!({}));
        assert_eq!(body["messages"][2]["content"][0]["content"], "(no output)");
        assert_eq!(body["messages"][2]["content"].as_array().map(Vec::len), Some(3));
    }
}
