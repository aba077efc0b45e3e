//! A scripted model that speaks all four APIs, for machines without a key and for tests.
//!
//! [`Asked`] is what a request says, in one form for all APIs; a script answers it with a [`Reply`]; [`render`] turns
//! that into what the API would have sent, as one body or as a stream. Everything is a function of the request: the same
//! request is answered with the same bytes.

mod asked;
mod chat;
mod generate;
mod messages;
mod responses;
mod script;
mod shell;

pub use asked::{Asked, AskedError, Output, Tool};
pub use script::{REHEARSAL_COMMIT, rehearse};
pub use shell::shell_call;

use bytes::Bytes;
use model::Usage;
use serde_json::{Value, json};

use crate::{Kind, Wire};

/// What a scripted model says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reply {
    /// Text, before the calls.
    pub text: String,
    /// Calls of tools.
    pub calls: Vec<ToolCall>,
    /// What it claims to have used.
    pub usage: Usage,
}

/// One call of a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// The tool, as the engine named it.
    pub name: String,
    /// The name space of the tool, where the engine uses them (Codex).
    pub namespace: Option<String>,
    /// Its arguments.
    pub input: Value,
}

/// What an API sends for a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The `Content-Type`.
    pub content_type: &'static str,
    /// The body, in the pieces of a stream.
    pub pieces: Vec<Bytes>,
}

/// Content types of a body and of a stream.
pub(crate) const JSON: &str = "application/json";
pub(crate) const EVENTS: &str = "text/event-stream";

/// Characters of text in one piece of a stream.
const PIECE_CHARS: usize = 24;

/// Renders a reply in the form of an API.
#[must_use]
pub fn render(wire: Wire, asked: &Asked, reply: &Reply) -> Rendered {
    let pieces = match (wire, asked.stream) {
        (Wire::Messages, true) => messages::stream(asked, reply),
        (Wire::Messages, false) => vec![messages::body(asked, reply)],
        (Wire::Chat, true) => chat::stream(asked, reply),
        (Wire::Chat, false) => vec![chat::body(asked, reply)],
        (Wire::Responses, true) => responses::stream(asked, reply),
        (Wire::Responses, false) => vec![responses::body(asked, reply)],
        (Wire::Generate, true) if asked.events => generate::stream(asked, reply),
        (Wire::Generate, _) => vec![generate::body(asked, reply)],
    };
    let content_type = if asked.stream && (wire != Wire::Generate || asked.events) { EVENTS } else { JSON };
    Rendered { content_type, pieces }
}

/// The list of models of a scripted provider, or one of it.
#[must_use]
pub fn models(kind: Kind, one: Option<&str>) -> Value {
    let name = one.unwrap_or("rehearsal");
    let entry = match kind {
        Kind::Anthropic => json!({"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}),
        Kind::OpenAi => json!({"object": "model", "id": name, "created": 0, "owned_by": "lazaret"}),
        Kind::Gemini => {
            json!({"name": format!("models/{name}"), "displayName": name, "supportedGenerationMethods": ["generateContent", "countTokens"]})
        }
    };
    match (kind, one) {
        (_, Some(_)) => entry,
        (Kind::Anthropic, None) => json!({"data": [entry], "has_more": false, "first_id": name, "last_id": name}),
        (Kind::OpenAi, None) => json!({"object": "list", "data": [entry]}),
        (Kind::Gemini, None) => json!({"models": [entry]}),
    }
}

/// The answer to a question for the number of tokens.
#[must_use]
pub fn token_count(kind: Kind, body: &[u8]) -> Value {
    let tokens = tokens_of(body.len());
    if kind == Kind::Gemini { json!({"totalTokens": tokens}) } else { json!({"input_tokens": tokens}) }
}

/// About four bytes make a token.
pub(crate) fn tokens_of(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(4)
}

/// A text in the pieces of a stream.
fn pieces_of(text: &str) -> impl Iterator<Item = String> + '_ {
    let mut chars = text.chars().peekable();
    std::iter::from_fn(move || chars.peek().is_some().then(|| chars.by_ref().take(PIECE_CHARS).collect()))
}

/// One server-sent event.
fn event(name: Option<&str>, data: &Value) -> Bytes {
    Bytes::from(match name {
        Some(name) => format!("event: {name}\ndata: {data}\n\n"),
        None => format!("data: {data}\n\n"),
    })
}

#[cfg(test)]
mod tests;
