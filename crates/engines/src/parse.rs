//! What every parser of an engine's output shares: its interface, its limits, and the tally of a turn.

use model::{Code, EventKind, Outcome, Usage};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::classify;

/// The longest text of one event and of a result, in bytes. A model's longest answer is far below it.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// The longest tool output in one event, in bytes; the log is for people, the model has seen the whole.
pub const TOOL_OUTPUT_BYTES_MAX: usize = 64 << 10;
/// The largest tool input in one event, in bytes of JSON; a larger one is shown as its beginning, a string.
pub const TOOL_INPUT_BYTES_MAX: usize = 256 << 10;
/// The longest message of an error, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 2 << 10;
/// The longest question to a person, and the longest answer that is offered, in bytes.
pub const QUESTION_BYTES_MAX: usize = 16 << 10;
/// The most answers that are offered to a question.
pub const OPTIONS_MAX: usize = 16;
/// The longest identity of a question, in bytes. It may hold what the engine wants to hear again with the answer.
pub const QUESTION_ID_BYTES_MAX: usize = 64 << 10;
/// The longest identity or name that an engine can give to something, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 256;

/// What a line of output means.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed {
    /// An event of the turn. Never `start`, `usage`, `result` or the error that ends it: those are the host's to make.
    Event(EventKind),
    /// The engine's own identity of the session, for [`crate::Plan::resume`] later. Plain and bounded.
    SessionId(String),
    /// The engine asks a person and waits for [`crate::Engine::answer`] on its standard input.
    Question {
        /// The engine's own identity of the question, at most [`QUESTION_ID_BYTES_MAX`]; opaque.
        id: String,
        /// The question, at most [`QUESTION_BYTES_MAX`].
        text: String,
        /// Answers that are offered, at most [`OPTIONS_MAX`]; empty for any text.
        options: Vec<String>,
    },
    /// The engine wants a word from its host, not from a person: these bytes are to be written to its standard input.
    Reply(Vec<u8>),
}

/// How the engine's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit status, when it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

/// What one turn's parser leaves for the parser of the session's next turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Carried {
    /// The engine's running total of cost so far, in US dollars, for engines that count over a whole session.
    pub cost_usd: f64,
}

/// How a turn ended, as far as the engine's output and exit tell.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// `Completed` or `Failed`; a time limit or a cancellation is known to the caller only.
    pub outcome: Outcome,
    /// The final text.
    pub text: String,
    /// The tokens that the engine counted.
    pub usage: Usage,
    /// What the engine thinks this turn cost, in US dollars; `None` when it does not say. The gateway's ledger is the truth.
    pub cost_usd: Option<f64>,
    /// For the parser of the next turn.
    pub carried: Carried,
    /// The engine's own identity of the session.
    pub engine_session: Option<String>,
    /// Why it failed, where it did.
    pub code: Option<Code>,
    /// The same for a person.
    pub message: Option<String>,
    /// The engine does not know the session that it was told to go on with, and nothing was done: it can be started again
    /// without [`crate::Plan::resume`]. An engine that was killed early may have kept nothing of its session.
    pub is_unknown_session: bool,
}

/// Reads one turn's output, line by line. Never fails and never panics, whatever it is given.
pub trait Parser: Send {
    /// What this line means; empty for lines that mean nothing to us.
    fn line(&mut self, line: &str) -> Vec<Parsed>;
    /// Whether the engine goes round in circles and will not end by itself; the caller should end it.
    fn is_stuck(&self) -> bool {
        false
    }
    /// Whether the engine said that the turn is over although its process may live on. What it prints after that belongs
    /// to no turn. Only a process that was started with [`crate::Plan::live`] goes on after it.
    fn is_over(&self) -> bool {
        false
    }
    /// What to write to the standard input of a live process to ask that its turn ends early. Empty where there is no such
    /// word: the process is ended instead.
    fn interrupt(&self) -> Vec<u8> {
        Vec::new()
    }
    /// The end of the turn. `stderr_tail` is the last of what the engine wrote to standard error.
    fn finish(&mut self, exit: Exit, stderr_tail: &str) -> End;
}

/// What a parser gathers while it reads.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// The final text so far.
    pub(crate) text: String,
    /// Tokens so far.
    pub(crate) usage: Usage,
    /// Cost of this turn, where the engine says it.
    pub(crate) cost_usd: Option<f64>,
    /// For the next turn.
    pub(crate) carried: Carried,
    /// The engine said that the turn is over.
    pub(crate) done: bool,
    /// The error that ended the turn, or the last one seen while it is not known to be over.
    pub(crate) error: Option<(Code, String)>,
    /// The engine does not know the session that it shall go on with.
    pub(crate) is_unknown_session: bool,
    session: Option<String>,
}

impl Tally {
    pub(crate) fn new(carried: Carried) -> Self {
        Self { carried, ..Self::default() }
    }

    /// Takes note of the engine's session, if it is a plain name and new.
    pub(crate) fn session(&mut self, id: Option<&str>, out: &mut Vec<Parsed>) {
        let Some(id) = id else { return };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
        let fits = !id.is_empty() && id.len() <= NAME_BYTES_MAX && !id.starts_with('-') && !id.contains("..") && id.bytes().all(plain);
        if fits && self.session.as_deref() != Some(id) {
            self.session = Some(id.to_owned());
            out.push(Parsed::SessionId(id.to_owned()));
        }
    }

    /// Notes the error that ends the turn. It has no event of its own: the end tells it, once.
    pub(crate) fn error(&mut self, status: Option<u16>, message: &str) {
        self.error = Some((classify::code_of(status, message), clip(message, MESSAGE_BYTES_MAX)));
    }

    /// The final text, cut to its limit.
    pub(crate) fn set_text(&mut self, text: &str) {
        self.text = clip(text, TEXT_BYTES_MAX);
    }

    /// Adds to the final text, up to its limit.
    pub(crate) fn add_text(&mut self, text: &str) {
        let room = TEXT_BYTES_MAX - self.text.len().min(TEXT_BYTES_MAX);
        self.text.push_str(&clip(text, room));
    }

    /// A total that the engine counts over the whole session: this turn's part is what it grew by.
    pub(crate) fn set_cost_total(&mut self, before: f64, total: f64) {
        if total.is_finite() && total >= 0.0 {
            // A total below the one before means that the engine began to count anew.
            let part = if total >= before { total - before } else { total };
            self.cost_usd = Some(part);
            self.carried.cost_usd = total;
        }
    }

    /// What this turn alone cost.
    pub(crate) fn set_cost(&mut self, cost: f64) {
        if cost.is_finite() && cost >= 0.0 {
            self.cost_usd = Some(cost);
        }
    }

    /// The end, from what was gathered and how the process ended.
    pub(crate) fn end(&mut self, exit: Exit, stderr_tail: &str) -> End {
        let failure = match (&self.error, exit) {
            (Some((code, message)), _) => Some((*code, message.clone())),
            (None, Exit { code: Some(0), signal: None }) if self.done => None,
            (None, Exit { code: Some(0), signal: None }) => Some((Code::EngineFailed, "the engine ended without a result".to_owned())),
            (None, exit) => Some(died(exit, stderr_tail)),
        };
        let (code, message) = failure.unzip();
        End {
            outcome: code.map_or(Outcome::Completed, Outcome::of_failure),
            text: std::mem::take(&mut self.text),
            usage: self.usage,
            cost_usd: self.cost_usd,
            carried: self.carried,
            engine_session: self.session.clone(),
            is_unknown_session: self.is_unknown_session && code.is_some(),
            code,
            message,
        }
    }
}

/// The failure of a process that ended badly and said nothing on standard output.
fn died(exit: Exit, stderr_tail: &str) -> (Code, String) {
    let how = match exit {
        Exit { signal: Some(signal), .. } => format!("the engine was ended by signal {signal}"),
        Exit { code: Some(code), .. } => format!("the engine ended with status {code}"),
        Exit { .. } => "the engine ended in an unknown way".to_owned(),
    };
    let tail = plain(clip_front(stderr_tail, MESSAGE_BYTES_MAX - how.len()));
    if tail.is_empty() {
        return (Code::EngineFailed, how);
    }
    (classify::code_of(None, &tail), format!("{how}: {tail}"))
}

/// Text without the colours and other commands that programs write for a terminal.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\u{1b}' => skip_command(&mut chars),
            '\n' | '\t' => out.push(char),
            char if !char.is_control() => out.push(char),
            _ => (),
        }
    }
    out.trim().to_owned()
}

/// Skips what follows an ESC: `[`, parameters and a letter, or else one character.
fn skip_command(chars: &mut std::str::Chars<'_>) {
    if chars.next() == Some('[') {
        chars.find(|c| ('@'..='~').contains(c));
    }
}

/// At most `max` bytes from the beginning of `text`, cut between characters.
pub(crate) fn clip(text: &str, max: usize) -> String {
    text[..text.floor_char_boundary(max)].to_owned()
}

/// At most `max` bytes from the end of `text`, cut between characters.
fn clip_front(text: &str, max: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(max))..]
}

/// `text` within `max`, and a notice when something was left out.
fn cut(what: &str, text: &str, max: usize, out: &mut Vec<Parsed>) -> String {
    if text.len() > max {
        let text = format!("{what} of {} bytes was cut to {max} bytes", text.len());
        out.push(Parsed::Event(EventKind::Notice { text }));
    }
    clip(text, max)
}

/// An event of text, unless it is empty.
pub(crate) fn text_event(text: &str, out: &mut Vec<Parsed>) {
    if !text.is_empty() {
        let text = cut("a text", text, TEXT_BYTES_MAX, out);
        out.push(Parsed::Event(EventKind::Text { text }));
    }
}

/// An event of reasoning, unless it is empty.
pub(crate) fn thinking_event(text: &str, out: &mut Vec<Parsed>) {
    if !text.is_empty() {
        let text = cut("a text", text, TEXT_BYTES_MAX, out);
        out.push(Parsed::Event(EventKind::Thinking { text }));
    }
}

/// An event of a tool call.
pub(crate) fn tool_call(id: &str, name: &str, input: &Value, out: &mut Vec<Parsed>) {
    let written = input.to_string();
    let input = if written.len() > TOOL_INPUT_BYTES_MAX {
        Value::String(cut("a tool input", &written, TOOL_INPUT_BYTES_MAX, out))
    } else {
        input.clone()
    };
    let (id, name) = (clip(id, NAME_BYTES_MAX), clip(name, NAME_BYTES_MAX));
    out.push(Parsed::Event(EventKind::ToolCall { id, name, input }));
}

/// An event of a tool's answer.
pub(crate) fn tool_result(id: &str, output: &str, is_error: bool, out: &mut Vec<Parsed>) {
    let output = cut("a tool output", output, TOOL_OUTPUT_BYTES_MAX, out);
    out.push(Parsed::Event(EventKind::ToolResult { id: clip(id, NAME_BYTES_MAX), output, is_error }));
}

/// A question to a person, within its limits. One without an identity or a text cannot be asked.
pub(crate) fn question<'a>(id: &str, text: &str, options: impl Iterator<Item = &'a str>, out: &mut Vec<Parsed>) {
    if id.is_empty() || id.len() > QUESTION_ID_BYTES_MAX || text.trim().is_empty() {
        return;
    }
    let options = options.filter(|o| !o.is_empty()).take(OPTIONS_MAX).map(|o| clip(o, QUESTION_BYTES_MAX)).collect();
    out.push(Parsed::Question { id: id.to_owned(), text: clip(text, QUESTION_BYTES_MAX), options });
}

/// A notice, within the limit of a message.
pub(crate) fn notice(text: &str, out: &mut Vec<Parsed>) {
    out.push(Parsed::Event(EventKind::Notice { text: clip(text, MESSAGE_BYTES_MAX) }));
}

/// The text at a JSON pointer, or nothing.
pub(crate) fn str_at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// The whole number at a JSON pointer, or 0.
pub(crate) fn u64_at(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

/// What a tool gave back: text, or text blocks, or any other value as JSON.
pub(crate) fn flatten(content: &Value) -> String {
    match content {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(blocks) if blocks.iter().all(|b| b.get("text").is_some_and(Value::is_string)) => {
            let texts: Vec<&str> = blocks.iter().map(|b| str_at(b, "/text")).collect();
            texts.join("\n")
        }
        other => other.to_string(),
    }
}
