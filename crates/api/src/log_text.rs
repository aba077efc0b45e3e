//! Events as text, for people who look at a log without a program.

use model::{Event, EventKind};

/// How much of a tool's input and output is shown.
const SHOWN_CHARS: usize = 500;

/// Writes events one after the other. Everything in them may come from an agent, so nothing of it steers a terminal.
#[derive(Debug, Default)]
pub(crate) struct LogText {
    mid_line: bool,
}

impl LogText {
    /// What some events read like.
    pub(crate) fn write(&mut self, events: &[Event]) -> String {
        let mut out = String::new();
        for event in events {
            self.one(&mut out, &event.kind);
        }
        out
    }

    fn one(&mut self, out: &mut String, kind: &EventKind) {
        match kind {
            EventKind::Text { text } => {
                out.push_str(&harmless(text));
                self.mid_line = if text.is_empty() { self.mid_line } else { !text.ends_with('\n') };
            }
            EventKind::Start { engine, model, provider, .. } => self.note(out, &format!("{engine} starts with {provider} {model}")),
            EventKind::ToolCall { name, input, .. } => self.note(out, &format!("> {name} {}", short(&input.to_string()))),
            EventKind::ToolResult { output, is_error, .. } => {
                self.note(out, &format!("{} {}", if *is_error { "<!" } else { "<" }, short(output)));
            }
            EventKind::Question { text, .. } => self.note(out, &format!("? {text}")),
            EventKind::Approval { status, tool, .. } => self.note(out, &format!("? {tool} wants a person's yes: {status}")),
            EventKind::Notice { text } => self.note(out, text),
            EventKind::Error { code, message, .. } => self.note(out, &format!("error[{code}]: {message}")),
            EventKind::Result(result) => {
                self.note(out, &format!("{} in {} ms for ${:.4}", result.status.as_str(), result.duration_ms, result.cost_usd));
            }
            EventKind::Thinking { .. } | EventKind::Usage { .. } => {}
        }
    }

    fn note(&mut self, out: &mut String, text: &str) {
        if std::mem::take(&mut self.mid_line) {
            out.push('\n');
        }
        out.push_str(harmless(text).trim_end());
        out.push('\n');
    }
}

/// One line of at most [`SHOWN_CHARS`].
fn short(text: &str) -> String {
    let text = text.trim().replace('\n', " ⏎ ");
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// A text whose control characters are made visible.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                out.extend(c.escape_unicode());
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use model::{SessionId, Timestamp, TurnId};
    use serde_json::json;

    use super::*;

    fn event(kind: EventKind) -> Event {
        Event { seq: 1, time: Timestamp(0), session: SessionId::from_bits(1), turn: TurnId::from_bits(1), kind }
    }

    #[test]
    fn a_log_reads_in_lines_and_steers_no_terminal() {
        let text = |text: &str| event(EventKind::Text { text: text.to_owned() });
        let mut log = LogText::default();
        let call = EventKind::ToolCall { id: "1".to_owned(), name: "bash".to_owned(), input: json!({ "command": "ls" }) };
        let out =
            log.write(&[text("Hel"), text("lo"), event(call), text("\u{1b}[2J"), event(EventKind::Notice { text: "done\r".to_owned() })]);
        assert_eq!(out, "Hello\n> bash {\"command\":\"ls\"}\n\\u{1b}[2J\ndone\\u{d}\n");
    }
}
