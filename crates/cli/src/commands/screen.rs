//! Events on the screen: as they are, or as a person reads them.

use model::{Event, EventKind, Failure, ResultEvent};

use crate::exit::clean;
use crate::out;

/// How much of a tool's input and output is shown to a person.
const SHOWN_CHARS: usize = 200;

/// How events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One JSON object a line.
    Json,
    /// For a person, one run.
    Run,
    /// For a person, turn after turn: what stays the same is said once.
    Chat,
    /// Not at all.
    Silent,
}

impl Form {
    /// The form of a command that runs one turn.
    pub(super) fn of(json: bool) -> Self {
        if json { Form::Json } else { Form::Run }
    }
}

/// Shows events. Everything in them may come from an agent, so nothing of it steers the terminal.
#[derive(Debug)]
pub(super) struct Screen {
    form: Form,
    started: Option<String>,
    text_shown: bool,
    mid_line: bool,
    /// A note has ended a line of text that goes on: the line end of the text itself must not make an empty one.
    was_ended: bool,
}

impl Screen {
    pub(super) fn new(form: Form) -> Self {
        Self { form, started: None, text_shown: false, mid_line: false, was_ended: false }
    }

    /// Whether anything is shown.
    pub(super) fn is_shown(&self) -> bool {
        self.form != Form::Silent
    }

    /// Whether a person looks.
    pub(super) fn is_for_people(&self) -> bool {
        matches!(self.form, Form::Run | Form::Chat)
    }

    pub(super) fn show(&mut self, event: &Event) -> Result<(), Failure> {
        match self.form {
            Form::Json => return out::json(event),
            Form::Silent => return Ok(()),
            Form::Run | Form::Chat => {}
        }
        match &event.kind {
            EventKind::Text { text } => {
                self.text_shown = true;
                let ended = std::mem::take(&mut self.was_ended);
                let text = text.strip_prefix('\n').filter(|_| ended).unwrap_or(text);
                self.mid_line = !text.is_empty() && !text.ends_with('\n');
                out::piece(&clean(text));
            }
            EventKind::Start { engine, model, provider, level } => {
                let model = if model.is_empty() { provider.clone() } else { format!("{provider}/{model}") };
                self.start(format!("{engine} with {model} in a sandbox ({})", level.summary()));
            }
            EventKind::ToolCall { name, input, .. } => self.note(&format!("> {name} {}", short(&input.to_string()))),
            EventKind::ToolResult { output, is_error, .. } => {
                let mark = if *is_error { "<!" } else { "<" };
                self.note(&format!("{mark} {}", short(output)));
            }
            EventKind::Question { text, options, .. } => {
                self.note(&format!("? {text}"));
                for (n, option) in options.iter().enumerate() {
                    self.note(&format!("  {}. {option}", n + 1));
                }
            }
            EventKind::Notice { text } => self.note(text),
            EventKind::Error { code, message, retriable } => {
                let again = if *retriable { " (it is tried again)" } else { "" };
                self.note(&format!("error[{code}]: {message}{again}"));
            }
            EventKind::Result(result) => self.result(event, result),
            EventKind::Thinking { .. } | EventKind::Approval { .. } | EventKind::Usage { .. } => {}
        }
        Ok(())
    }

    /// What a conversation begins with is said again only when it has changed.
    fn start(&mut self, text: String) {
        if self.form == Form::Run || self.started.as_ref() != Some(&text) {
            self.note(&text);
        }
        self.started = Some(text);
    }

    fn result(&mut self, event: &Event, result: &ResultEvent) {
        if !self.text_shown && !result.text.is_empty() {
            out::piece(&clean(&result.text));
            self.mid_line = !result.text.ends_with('\n');
        }
        self.end_line();
        let session = if self.form == Form::Run { format!(", session {}", event.session) } else { String::new() };
        self.note(&format!("{}{session}", summary(result)));
        self.text_shown = false;
        self.was_ended = false;
    }

    fn note(&mut self, text: &str) {
        self.end_line();
        out::note(&clean(text));
    }

    /// Ends a line that text has begun.
    fn end_line(&mut self) {
        if self.mid_line {
            out::piece("\n");
            self.mid_line = false;
            self.was_ended = true;
        }
    }
}

/// How a turn ended, in some words.
fn summary(result: &ResultEvent) -> String {
    let usage = &result.usage;
    let tokens = usage.input_tokens + usage.output_tokens + usage.cache_read_tokens + usage.cache_write_tokens;
    format!("{} in {:.1} s, {tokens} tokens, ${:.4}", result.status.as_str(), seconds(result.duration_ms), result.cost_usd)
}

/// Milliseconds as seconds, for people.
#[expect(clippy::cast_precision_loss, reason = "a time for people")]
pub(super) fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// One line of at most [`SHOWN_CHARS`].
fn short(text: &str) -> String {
    out::cut(&text.trim().replace('\n', " ⏎ "), SHOWN_CHARS)
}
