//! What an agent of the Agent Client Protocol says in pieces: its texts, and its calls of tools.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use crate::parse::{NAME_BYTES_MAX, clip, flatten, str_at, text_event, thinking_event, tool_call, tool_result};
use crate::{Parsed, TEXT_BYTES_MAX, TOOL_INPUT_BYTES_MAX, TOOL_OUTPUT_BYTES_MAX};

/// Text that is held back until its line is whole is at most this long, in bytes.
const HELD_BYTES_MAX: usize = 2 << 10;
/// Calls that have begun and not ended. Further ones are told at once, with what is known of them then.
const CALLS_MAX: usize = 64;

/// Who a piece of text belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Message,
    Thought,
}

/// Texts come in pieces of a few letters; whole lines become events.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    held: String,
    speaks: Option<(Speaks, String)>,
    /// The agent's present message, from its beginning.
    pub(crate) message: String,
}

impl Chunks {
    pub(crate) fn add(&mut self, speaks: Speaks, update: &Value, out: &mut Vec<Parsed>) {
        let piece = update.get("content").map(content_text).unwrap_or_default();
        let of = (speaks, clip(str_at(update, "/messageId"), NAME_BYTES_MAX));
        if self.speaks.as_ref() != Some(&of) {
            self.flush(out);
            // Without names, a message ends where a tool is called.
            if speaks == Speaks::Message && !of.1.is_empty() {
                self.message.clear();
            }
            self.speaks = Some(of);
        }
        if speaks == Speaks::Message {
            let room = TEXT_BYTES_MAX.saturating_sub(self.message.len());
            self.message.push_str(&clip(&piece, room));
        }
        self.held.push_str(&piece);
        if self.held.len() > HELD_BYTES_MAX {
            self.tell(self.held.len(), out);
        } else if let Some(end) = self.held.rfind('\n') {
            self.tell(end + 1, out);
        }
    }

    /// Tells what is held back.
    pub(crate) fn flush(&mut self, out: &mut Vec<Parsed>) {
        self.tell(self.held.len(), out);
    }

    fn tell(&mut self, upto: usize, out: &mut Vec<Parsed>) {
        let rest = self.held.split_off(upto);
        let text = std::mem::replace(&mut self.held, rest);
        match self.speaks.as_ref().map(|(speaks, _)| *speaks) {
            Some(Speaks::Thought) => thinking_event(&text, out),
            _ => text_event(&text, out),
        }
    }
}

/// A call of a tool, as far as it is known.
#[derive(Debug, Default)]
struct Call {
    kind: String,
    title: String,
    /// As JSON; empty when it is not known yet.
    input: String,
    output: String,
    is_told: bool,
}

/// Calls that have begun and not ended.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    open: BTreeMap<String, Call>,
    /// Those that ended last: what is told of them again means nothing.
    ended: VecDeque<String>,
}

impl Calls {
    /// Takes note of what is told of a call. Answers whether it is one.
    pub(crate) fn update(&mut self, update: &Value, out: &mut Vec<Parsed>) -> bool {
        let id = clip(str_at(update, "/toolCallId"), NAME_BYTES_MAX);
        if id.is_empty() {
            return false;
        }
        let status = str_at(update, "/status");
        if self.ended.contains(&id) {
            return false;
        }
        let is_full = self.open.len() >= CALLS_MAX && !self.open.contains_key(&id);
        let mut call = self.open.remove(&id).unwrap_or_default();
        call.learn(update);
        if !matches!(status, "pending" | "") || is_full || call.input.len() > TOOL_INPUT_BYTES_MAX {
            call.tell(&id, out);
        }
        match status {
            "completed" | "failed" => {
                let exit = update.pointer("/rawOutput/metadata/exit").and_then(Value::as_i64).unwrap_or(0);
                tool_result(&id, &call.output, status == "failed" || exit != 0, out);
                self.ended.push_back(id);
                self.ended.drain(..self.ended.len().saturating_sub(CALLS_MAX));
            }
            _ if is_full => {}
            _ => drop(self.open.insert(id, call)),
        }
        true
    }

    /// Tells of calls that were announced and came to nothing.
    pub(crate) fn flush(&mut self, out: &mut Vec<Parsed>) {
        for (id, mut call) in std::mem::take(&mut self.open) {
            call.tell(&id, out);
        }
    }
}

impl Call {
    fn learn(&mut self, update: &Value) {
        for (field, pointer) in [(&mut self.kind, "/kind"), (&mut self.title, "/title")] {
            let said = str_at(update, pointer);
            if !said.is_empty() {
                *field = clip(said, NAME_BYTES_MAX);
            }
        }
        if let Some(input) = update.get("rawInput").filter(|input| !input.is_null() && !self.is_told) {
            self.input = input.to_string();
        }
        let content = update.get("content").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut texts: Vec<String> = content.iter().map(block_text).filter(|text| !text.is_empty()).collect();
        if let Some(raw) = update.get("rawOutput").filter(|raw| !raw.is_null() && texts.is_empty()) {
            texts.push(raw.get("output").map_or_else(|| flatten(raw), flatten));
        }
        if !texts.is_empty() {
            // One byte more than is shown, so that the event tells of the cut.
            self.output = clip(&texts.join("\n"), TOOL_OUTPUT_BYTES_MAX + 4);
        }
    }

    fn tell(&mut self, id: &str, out: &mut Vec<Parsed>) {
        if std::mem::replace(&mut self.is_told, true) {
            return;
        }
        let input = std::mem::take(&mut self.input);
        let input = serde_json::from_str(&input).unwrap_or_else(|_| json!({ "title": self.title }));
        let name = if matches!(self.kind.as_str(), "" | "other") && !self.title.is_empty() { &self.title } else { &self.kind };
        tool_call(id, if name.is_empty() { "tool" } else { name }, &input, out);
    }
}

/// What a block of a tool's content says.
fn block_text(block: &Value) -> String {
    match str_at(block, "/type") {
        "content" => block.get("content").map(content_text).unwrap_or_default(),
        "diff" => format!("changed {}", str_at(block, "/path")),
        _ => String::new(),
    }
}

/// The text of a content block; other kinds are named.
fn content_text(content: &Value) -> String {
    match str_at(content, "/type") {
        "text" => str_at(content, "/text").to_owned(),
        "resource_link" => str_at(content, "/uri").to_owned(),
        "resource" => str_at(content, "/resource/text").to_owned(),
        "" => String::new(),
        kind => format!("[{}]", clip(kind, NAME_BYTES_MAX)),
    }
}
