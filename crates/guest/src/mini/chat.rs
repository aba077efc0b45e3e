//! The conversation, in a form of its own that no provider's form decides.

use serde_json::{Value, json};

/// One entry of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Message {
    /// What the user says.
    User(String),
    /// What the model says and asks for.
    Assistant(Answer),
    /// What a tool gave back.
    Tool {
        /// The call that it answers.
        id: String,
        /// What it gave.
        output: String,
        /// Whether it failed.
        is_error: bool,
    },
}

/// One answer of the model.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Answer {
    /// Its parts, in order.
    pub(super) parts: Vec<Part>,
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    /// Text for the user.
    Text(String),
    /// Reasoning as the provider gave it, to be given back unchanged to the same provider.
    Opaque(Value),
    /// A tool to run.
    Call(Call),
}

/// A tool to run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    /// The arguments; a string when they were no JSON object.
    pub(super) input: Value,
}

/// Tokens as the provider counted them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) cache_read: u64,
    pub(super) cache_write: u64,
}

/// Why the model stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// It came to its end, or asks for tools.
    Done,
    /// Its answer reached the limit of tokens.
    Length,
    /// It paused and wants to be asked again.
    Pause,
    /// It will not answer.
    Refusal,
}

/// A complete answer to one request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    pub(super) answer: Answer,
    pub(super) usage: Usage,
    pub(super) stop: Stop,
}

impl Usage {
    pub(super) fn plus(self, other: Usage) -> Usage {
        Usage {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            cache_write: self.cache_write.saturating_add(other.cache_write),
        }
    }
}

impl Answer {
    /// The text for the user, whole.
    pub(super) fn text(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    /// The tools to run, in order.
    pub(super) fn calls(&self) -> impl Iterator<Item = &Call> {
        self.parts.iter().filter_map(|part| match part {
            Part::Call(call) => Some(call),
            _ => None,
        })
    }
}

impl Message {
    /// The line of a transcript.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Message::User(text) => json!({ "role": "user", "text": text }),
            Message::Tool { id, output, is_error } => {
                json!({ "role": "tool", "id": id, "output": output, "is_error": is_error })
            }
            Message::Assistant(answer) => {
                let part = |part: &Part| match part {
                    Part::Text(text) => json!({ "text": text }),
                    Part::Opaque(value) => json!({ "opaque": value }),
                    Part::Call(call) => json!({ "call": call.id, "name": call.name, "input": call.input }),
                };
                json!({ "role": "assistant", "parts": answer.parts.iter().map(part).collect::<Vec<_>>() })
            }
        }
    }

    /// Reads a line of a transcript back.
    pub(super) fn from_json(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        match value.get("role")?.as_str()? {
            "user" => text("text").map(Message::User),
            "tool" => {
                Some(Message::Tool { id: text("id")?, output: text("output")?, is_error: value.get("is_error").and_then(Value::as_bool)? })
            }
            "assistant" => {
                let parts = value.get("parts")?.as_array()?;
                let parts = parts.iter().map(part_from_json).collect::<Option<Vec<_>>>()?;
                Some(Message::Assistant(Answer { parts }))
            }
            _ => None,
        }
    }
}

fn part_from_json(value: &Value) -> Option<Part> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    if let Some(value) = value.get("opaque") {
        return Some(Part::Opaque(value.clone()));
    }
    match text("call") {
        Some(id) => Some(Part::Call(Call { id, name: text("name")?, input: value.get("input")?.clone() })),
        None => text("text").map(Part::Text),
    }
}

/// Gives every call an answer: one that was never given (the process ended while the tool ran) is said to be missing.
/// Answers without a call are left out. Providers refuse conversations in which the two do not match.
pub(super) fn mend(messages: Vec<Message>) -> Vec<Message> {
    let mut mended: Vec<Message> = Vec::with_capacity(messages.len());
    let mut open: Vec<String> = Vec::new();
    for message in messages {
        match &message {
            Message::Tool { id, .. } => {
                let Some(at) = open.iter().position(|o| o == id) else { continue };
                open.remove(at);
            }
            Message::User(_) | Message::Assistant(_) => close(&mut open, &mut mended),
        }
        if let Message::Assistant(answer) = &message {
            open = answer.calls().map(|call| call.id.clone()).collect();
        }
        mended.push(message);
    }
    close(&mut open, &mut mended);
    mended
}

fn close(open: &mut Vec<String>, mended: &mut Vec<Message>) {
    for id in open.drain(..) {
        let output = "The program ended before this tool did; whether it had an effect is not known.".to_owned();
        mended.push(Message::Tool { id, output, is_error: true });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str) -> Part {
        Part::Call(Call { id: id.into(), name: "bash".into(), input: json!({ "command": "true" }) })
    }

    #[test]
    fn messages_are_read_back() {
        let parts = vec![Part::Text("a".into()), Part::Opaque(json!({ "type": "thinking" })), call("1")];
        let tool = Message::Tool { id: "1".into(), output: "x".into(), is_error: true };
        for message in [Message::User("é\n".into()), Message::Assistant(Answer { parts }), tool] {
            assert_eq!(Message::from_json(&message.to_json()), Some(message));
        }
        for bad in [json!(1), json!({}), json!({ "role": "tool", "id": "1" }), json!({ "role": "assistant", "parts": [{}] })] {
            assert_eq!(Message::from_json(&bad), None);
        }
    }

    #[test]
    fn every_call_has_one_answer() {
        let tool = |id: &str| Message::Tool { id: id.into(), output: String::new(), is_error: false };
        let said = |parts| Message::Assistant(Answer { parts });
        let mended = mend(vec![tool("0"), said(vec![call("1"), call("2")]), tool("1"), Message::User("on".into()), said(vec![call("3")])]);
        let shape: Vec<String> = mended
            .iter()
            .map(|message| match message {
                Message::User(_) => "user".to_owned(),
                Message::Assistant(_) => "assistant".to_owned(),
                Message::Tool { id, is_error, .. } => format!("{id} {is_error}"),
            })
            .collect();
        assert_eq!(shape, ["assistant", "1 false", "2 true", "user", "assistant", "3 true"]);
    }
}
