//! What is written to standard output: one JSON object in a line, named by its field `type`.
//!
//! `session {id, model}` · `text {text}` · `thinking {text}` · `tool_call {id, name, input}` ·
//! `tool_result {id, output, is_error}` · `question {id, text, options}` · `notice {text}` · `retry {status, message, attempt, wait_ms}` ·
//! `error {status, message}` · `result {text, turns, usage {input_tokens, output_tokens, cache_read_tokens,
//! cache_write_tokens}}`. Pieces of text follow one another. The last line of a turn is `result` or `error`.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::chat::{Call, Usage};
use super::tools::Question;

/// Where the lines go.
pub(super) struct Events {
    out: Box<dyn Write>,
    /// Whether a person reads it on a terminal.
    is_read: bool,
}

impl Events {
    pub(super) fn to_stdout() -> Self {
        Self { out: Box::new(std::io::stdout()), is_read: false }
    }

    /// Text for a person, in place of lines for a program.
    pub(super) fn to_terminal() -> Self {
        Self { is_read: true, ..Self::to_stdout() }
    }

    #[cfg(test)]
    pub(super) fn to(out: impl Write + 'static) -> Self {
        Self { out: Box::new(out), is_read: false }
    }

    pub(super) fn session(&mut self, id: &str, model: &str) {
        self.line(&json!({ "type": "session", "id": id, "model": model }));
    }

    pub(super) fn text(&mut self, text: &str) {
        self.line(&json!({ "type": "text", "text": text }));
    }

    pub(super) fn thinking(&mut self, text: &str) {
        self.line(&json!({ "type": "thinking", "text": text }));
    }

    pub(super) fn tool_call(&mut self, call: &Call) {
        self.line(&json!({ "type": "tool_call", "id": call.id, "name": call.name, "input": call.input }));
    }

    pub(super) fn tool_result(&mut self, id: &str, output: &str, is_error: bool) {
        self.line(&json!({ "type": "tool_result", "id": id, "output": output, "is_error": is_error }));
    }

    pub(super) fn question(&mut self, id: &str, question: &Question) {
        self.line(&json!({ "type": "question", "id": id, "text": question.text, "options": question.options }));
    }

    pub(super) fn notice(&mut self, text: &str) {
        self.line(&json!({ "type": "notice", "text": text }));
    }

    pub(super) fn retry(&mut self, status: Option<u16>, message: &str, attempt: u32, wait: Duration) {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.line(&json!({ "type": "retry", "status": status, "message": message, "attempt": attempt, "wait_ms": wait_ms }));
    }

    pub(super) fn error(&mut self, status: Option<u16>, message: &str) {
        self.line(&json!({ "type": "error", "status": status, "message": message }));
    }

    pub(super) fn result(&mut self, text: &str, turns: u32, usage: Usage) {
        let usage = json!({
            "input_tokens": usage.input,
            "output_tokens": usage.output,
            "cache_read_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write,
        });
        self.line(&json!({ "type": "result", "text": text, "turns": turns, "usage": usage }));
    }

    /// One line in one write. A reader that is gone is no reason to stop: the transcript is kept all the same.
    fn line(&mut self, value: &Value) {
        let text = if self.is_read { for_person(value) } else { format!("{value}\n") };
        self.write(&text);
    }

    /// A person may type now.
    pub(super) fn ready(&mut self) {
        if self.is_read {
            self.write("\n> ");
        }
    }

    /// Shows what was said without being typed.
    pub(super) fn echo(&mut self, text: &str) {
        if self.is_read {
            self.write(&format!("> {text}\n"));
        }
    }

    fn write(&mut self, text: &str) {
        drop(self.out.write_all(text.as_bytes()));
        drop(self.out.flush());
    }
}

/// How much of a tool's input and output a person is shown.
const SHOWN_CHARS_MAX: usize = 400;

/// An object as a person reads it.
fn for_person(value: &Value) -> String {
    let text = |key: &str| value[key].as_str().unwrap_or_default();
    let short = |text: &str| text.chars().take(SHOWN_CHARS_MAX).collect::<String>();
    match text("type") {
        "text" => text("text").to_owned(),
        "tool_call" => format!("\n\x1b[2m[{}] {}\x1b[0m\n", text("name"), short(&value["input"].to_string())),
        "tool_result" => format!("\x1b[2m{}\x1b[0m\n", short(text("output")).trim_end()),
        "question" => format!("\n{}\n? ", text("text")),
        "notice" => format!("\x1b[2m{}\x1b[0m\n", text("text")),
        "retry" => format!("\x1b[2mtrying again: {}\x1b[0m\n", text("message")),
        "error" => format!("\n\x1b[31m{}\x1b[0m\n", text("message")),
        "result" => "\n".to_owned(),
        _ => String::new(),
    }
}
