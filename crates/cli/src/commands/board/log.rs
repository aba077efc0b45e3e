//! The tail of an agent's log, as lines.

use std::collections::VecDeque;

use model::{Event, EventKind, SessionId};

use super::safe;

/// Lines that are kept; older ones are in `lazaret agents logs`.
pub(super) const LINES_MAX: usize = 2000;
/// Characters of one entry that are shown.
const ENTRY_CHARS_MAX: usize = 4000;
/// Characters of a tool's arguments or answer that are shown.
const TOOL_CHARS_MAX: usize = 300;

/// What a line of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Tool,
    Note,
    Trouble,
    Ask,
}

/// The log of one agent.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Whose it is.
    pub(super) session: Option<SessionId>,
    /// What was said, as it came: pieces of a text are one entry.
    entries: VecDeque<(Kind, String)>,
    /// Whether the last entry may go on.
    is_open: bool,
    /// The last event.
    pub(super) seq: u64,
    /// Lines that were left behind below, from the end.
    pub(super) back: usize,
}

impl Log {
    /// The log of another agent, with nothing in it yet.
    pub(super) fn of(session: Option<SessionId>) -> Self {
        Self { session, ..Self::default() }
    }

    /// Takes events over; those that are known already are left out. Says whether somebody is asked something now.
    pub(super) fn take(&mut self, events: &[Event]) -> bool {
        let mut is_asked = false;
        for event in events {
            if event.seq <= self.seq {
                continue;
            }
            self.seq = event.seq;
            is_asked |= matches!(event.kind, EventKind::Approval { .. } | EventKind::Question { .. });
            self.one(&event.kind);
        }
        while self.entries.len() > LINES_MAX {
            self.entries.pop_front();
        }
        is_asked
    }

    fn one(&mut self, kind: &EventKind) {
        if let EventKind::Text { text } = kind {
            return self.text(text);
        }
        self.is_open = false;
        let (kind, text) = match kind {
            EventKind::Text { .. } | EventKind::Thinking { .. } | EventKind::Usage { .. } => return,
            EventKind::Start { engine, model, provider, level } => {
                (Kind::Note, format!("{engine} with {provider}/{model} ({})", level.summary()))
            }
            EventKind::ToolCall { name, input, .. } => (Kind::Tool, format!("> {name} {}", cut(&input.to_string(), TOOL_CHARS_MAX))),
            EventKind::ToolResult { output, is_error, .. } => {
                let (kind, mark) = if *is_error { (Kind::Trouble, "<!") } else { (Kind::Tool, "<") };
                (kind, format!("{mark} {}", cut(output.trim(), TOOL_CHARS_MAX).replace('\n', " ⏎ ")))
            }
            EventKind::Question { text, .. } => (Kind::Ask, format!("? {text}")),
            EventKind::Approval { status, tool, .. } => (Kind::Ask, format!("? {tool}: {status}")),
            EventKind::Notice { text } => (Kind::Note, text.clone()),
            EventKind::Error { code, message, .. } => (Kind::Trouble, format!("error[{code}]: {message}")),
            EventKind::Result(result) => {
                let kind = if result.code.is_some() { Kind::Trouble } else { Kind::Note };
                (kind, format!("-- {} in {} s, ${:.4}", result.status.as_str(), result.duration_ms / 1000, result.cost_usd))
            }
        };
        self.entries.push_back((kind, cut(&text, ENTRY_CHARS_MAX)));
    }

    /// A piece of text goes on where the last one ended.
    fn text(&mut self, piece: &str) {
        if !self.is_open {
            self.entries.push_back((Kind::Text, String::new()));
            self.is_open = true;
        }
        for (n, part) in piece.split('\n').enumerate() {
            if n > 0 {
                self.entries.push_back((Kind::Text, String::new()));
            }
            if let Some((_, last)) = self.entries.back_mut()
                && last.len() < ENTRY_CHARS_MAX
            {
                last.push_str(&cut(part, ENTRY_CHARS_MAX));
            }
            while self.entries.len() > LINES_MAX {
                self.entries.pop_front();
            }
        }
    }

    /// The `rows` lines to be seen at this width; holds how far one went back to what there is.
    pub(super) fn seen(&mut self, width: usize, rows: usize) -> Vec<(Kind, String)> {
        // From the end on: what is above is never laid out.
        let (mut lines, wanted) = (VecDeque::new(), self.back.saturating_add(rows));
        for (kind, text) in self.entries.iter().rev() {
            if lines.len() >= wanted {
                break;
            }
            for line in safe::wrap(text, width).into_iter().rev() {
                lines.push_front((*kind, line));
            }
        }
        self.back = self.back.min(lines.len().saturating_sub(rows));
        let end = lines.len() - self.back;
        lines.into_iter().take(end).skip(end.saturating_sub(rows)).collect()
    }
}

fn cut(text: &str, max: usize) -> String {
    crate::out::cut(text, max)
}

#[cfg(test)]
mod tests {
    use model::{Timestamp, TurnId};

    use super::*;

    fn event(seq: u64, kind: EventKind) -> Event {
        let bits = uuid_bits(seq);
        Event { seq, time: Timestamp(seq), session: SessionId::from_bits(bits), turn: TurnId::from_bits(bits), kind }
    }

    fn uuid_bits(n: u64) -> u128 {
        u128::from(n)
    }

    fn text(seq: u64, text: &str) -> Event {
        event(seq, EventKind::Text { text: text.to_owned() })
    }

    #[test]
    fn pieces_of_a_text_are_one_and_nothing_comes_twice() {
        let mut log = Log::default();
        assert!(!log.take(&[text(1, "one "), text(2, "line\nan"), text(3, "other")]));
        log.take(&[text(3, "other"), event(4, EventKind::Notice { text: "note".to_owned() }), text(5, "more")]);
        let lines = log.seen(40, 10);
        let lines: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!(lines, ["one line", "another", "note", "more"]);
    }

    #[test]
    fn the_end_is_seen_and_one_can_go_back() {
        let mut log = Log::default();
        let long: String = (0..100).map(|n| format!("line {n}\n")).collect();
        log.take(&[text(1, long.trim_end())]);
        let first = |log: &mut Log| log.seen(40, 3)[0].1.clone();
        assert_eq!(first(&mut log), "line 97");
        log.back = 10;
        assert_eq!(first(&mut log), "line 87");
        log.back = usize::MAX;
        assert_eq!((first(&mut log), log.back), ("line 0".to_owned(), 97));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut log = Log::default();
        log.take(&[text(1, &"x\n".repeat(3 * LINES_MAX))]);
        assert!(log.entries.len() <= LINES_MAX);
        let wide = "y".repeat(10 * ENTRY_CHARS_MAX);
        for seq in 2..50 {
            log.take(&[text(seq, &wide)]);
        }
        assert!(log.entries.iter().all(|(_, text)| text.len() <= 3 * ENTRY_CHARS_MAX));
        assert!(log.take(&[event(99, EventKind::Question { id: model::QuestionId::from_bits(1), text: "?".to_owned(), options: vec![] })]));
    }
}
