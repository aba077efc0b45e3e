//! The conversation as OpenAI Chat Completions, which many providers understand, and its stream back.

use serde_json::{Value, json};

use super::chat::{Answer, Call, Message, Part, Reply, Stop, Usage};
use super::events::Events;
use super::http::{Body, HttpError};
use super::tools::{self, Offer};

/// The most tool calls in one answer.
const CALLS_MAX: usize = 1024;

pub(super) const PATH: &str = "/v1/chat/completions";

pub(super) fn headers(key: &str) -> Vec<(&'static str, String)> {
    vec![("authorization", format!("Bearer {key}"))]
}

/// The request. No limit of tokens is sent: providers do not agree on its name.
pub(super) fn request(model: &str, system: &str, messages: &[Message], offers: &[Offer]) -> Value {
    let tool = |offer: &Offer| {
        let function = json!({ "name": offer.name, "description": offer.description, "parameters": offer.schema });
        json!({ "type": "function", "function": function })
    };
    let tools: Vec<Value> = offers.iter().map(tool).collect();
    let mut all = vec![json!({ "role": "system", "content": system })];
    all.extend(messages.iter().map(message));
    json!({ "model": model, "stream": true, "stream_options": { "include_usage": true }, "tools": tools, "messages": all })
}

fn message(message: &Message) -> Value {
    match message {
        Message::User(text) => json!({ "role": "user", "content": text }),
        Message::Tool { id, output, .. } => json!({ "role": "tool", "tool_call_id": id, "content": output }),
        Message::Assistant(answer) => {
            let calls: Vec<Value> = answer
                .calls()
                .map(|call| {
                    let arguments = call.input.as_str().map_or_else(|| call.input.to_string(), str::to_owned);
                    json!({ "id": call.id, "type": "function", "function": { "name": call.name, "arguments": arguments } })
                })
                .collect();
            let mut value = json!({ "role": "assistant", "content": answer.text() });
            if !calls.is_empty() {
                value["tool_calls"] = Value::Array(calls);
            }
            value
        }
    }
}

/// What a stream has told so far.
#[derive(Default)]
struct Stream {
    text: String,
    calls: Vec<(u64, Call, String)>,
    usage: Usage,
    stop: Option<String>,
}

/// Reads the stream of one answer and tells of text as it comes.
pub(super) fn read(body: &mut Body, events: &mut Events) -> Result<Reply, HttpError> {
    let mut stream = Stream::default();
    while let Some(line) = body.next_line()? {
        let Some(data) = line.strip_prefix("data:").map(str::trim) else { continue };
        if data == "[DONE]" {
            break;
        }
        let Ok(value) = serde_json::from_str::<Value>(data) else { continue };
        stream.take(&value, events)?;
    }
    stream.end()
}

impl Stream {
    fn take(&mut self, value: &Value, events: &mut Events) -> Result<(), HttpError> {
        if let Some(error) = value.get("error").filter(|e| !e.is_null()) {
            let status = error["code"].as_u64().and_then(|code| u16::try_from(code).ok());
            let message = format!("the model answered with an error: {error}");
            return Err(HttpError { status, message, retriable: matches!(status, Some(429 | 500..=599)), wait: None, away: false });
        }
        let cached = value["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap_or(0);
        if let Some(input) = value["usage"]["prompt_tokens"].as_u64() {
            let output = value["usage"]["completion_tokens"].as_u64().unwrap_or(0);
            self.usage = Usage { input: input.saturating_sub(cached), output, cache_read: cached, cache_write: 0 };
        }
        let choice = &value["choices"][0];
        if let Some(reason) = choice["finish_reason"].as_str() {
            self.stop = Some(reason.to_owned());
        }
        let delta = &choice["delta"];
        for key in ["reasoning_content", "reasoning"] {
            if let Some(piece) = delta[key].as_str().filter(|piece| !piece.is_empty()) {
                events.thinking(piece);
            }
        }
        if let Some(piece) = delta["content"].as_str().filter(|piece| !piece.is_empty()) {
            self.text.push_str(piece);
            events.text(piece);
        }
        for (at, piece) in delta["tool_calls"].as_array().into_iter().flatten().enumerate() {
            self.call(piece, at as u64)?;
        }
        Ok(())
    }

    fn call(&mut self, piece: &Value, at: u64) -> Result<(), HttpError> {
        let index = piece["index"].as_u64().unwrap_or(at);
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        if !self.calls.iter().any(|(known, ..)| *known == index) {
            if self.calls.len() >= CALLS_MAX {
                return Err(HttpError::broken(format!("the answer has more than {CALLS_MAX} tool calls")));
            }
            self.calls.push((index, Call { id: String::new(), name: String::new(), input: Value::Null }, String::new()));
        }
        let Some((_, call, input)) = self.calls.iter_mut().find(|(known, ..)| *known == index) else { return Ok(()) };
        // The identity and the name come once, whole; some providers repeat them.
        for (field, value) in [(&mut call.id, &piece["id"]), (&mut call.name, &piece["function"]["name"])] {
            if field.is_empty() {
                *field = text(value);
            }
        }
        input.push_str(piece["function"]["arguments"].as_str().unwrap_or(""));
        Ok(())
    }

    fn end(self) -> Result<Reply, HttpError> {
        let Some(stop) = self.stop else {
            return Err(HttpError::broken("the answer of the model was cut: the stream ended before the message did"));
        };
        let mut parts = Vec::new();
        if !self.text.is_empty() {
            parts.push(Part::Text(self.text));
        }
        for (index, mut call, input) in self.calls {
            if call.id.is_empty() {
                call.id = format!("call_{index}");
            }
            call.input = tools::arguments(&input, &Value::Null);
            parts.push(Part::Call(call));
        }
        let stop = match stop.as_str() {
            "length" => Stop::Length,
            "content_filter" => Stop::Refusal,
            _ => Stop::Done,
        };
        Ok(Reply { answer: Answer { parts }, usage: self.usage, stop })
    }
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
        let delta = |delta: Value| json!({ "choices": [{ "delta": delta }] });
        let reply = play(&[
            delta(json!({ "role": "assistant", "content": "Hi" })),
            delta(json!({ "tool_calls": [{ "index": 0, "id": "a", "function": { "name": "bash", "arguments": "" } }] })),
            delta(json!({ "tool_calls": [{ "index": 1, "id": "b", "function": { "name": "read", "arguments": "{" } }] })),
            delta(json!({ "tool_calls": [{ "index": 0, "function": { "arguments": "{\"command\":\"ls\"}" } }] })),
            json!({ "choices": [{ "delta": {}, "finish_reason": "tool_calls" }] }),
            json!({ "choices": [], "usage": { "prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": { "cached_tokens": 2 } } }),
        ]);
        let reply = reply.expect("whole");
        assert_eq!(reply.usage, Usage { input: 5, output: 3, cache_read: 2, cache_write: 0 });
        let calls: Vec<(&str, &Value)> = reply.answer.calls().map(|c| (c.id.as_str(), &c.input)).collect();
        assert_eq!(calls, [("a", &json!({ "command": "ls" })), ("b", &json!("{"))]);
        let back = message(&Message::Assistant(reply.answer));
        assert_eq!(back["tool_calls"][1]["function"]["arguments"], "{");
        assert!(play(&[delta(json!({ "content": "x" }))]).is_err());
    }
}
