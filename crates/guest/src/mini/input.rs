//! What comes on standard input of a process that takes several turns: one JSON object in a line.
//!
//! `{"type": "user", "text": ...}` asks for a turn; `{"type": "answer", "id": ..., "text": ...}` answers the question of
//! that identity. Other lines are passed over. The end of the input is the end of the process.

use std::collections::VecDeque;
use std::io::{BufRead, Read};

use serde_json::Value;

use super::Trouble;

/// The longest line, in bytes: the longest prompt with every byte of it escaped.
const LINE_BYTES_MAX: u64 = (6 * (32 << 20)) + 1024;
/// How many prompts may wait while a question is open; what comes after them is lost, and said to be.
const WAITING_MAX: usize = 64;

/// The lines, and what was read of them too early.
pub(super) struct Input {
    lines: Box<dyn BufRead>,
    waiting: VecDeque<String>,
    /// Prompts for which there was no room.
    pub(super) lost: usize,
    /// Whether a person types: each line is what they say, and nothing else.
    is_typed: bool,
}

/// One line that means something.
enum Line {
    User(String),
    Answer { id: String, text: String },
}

impl Input {
    pub(super) fn of(lines: impl BufRead + 'static) -> Self {
        Self { lines: Box::new(lines), waiting: VecDeque::new(), lost: 0, is_typed: false }
    }

    /// What a person types.
    pub(super) fn typed(lines: impl BufRead + 'static) -> Self {
        Self { is_typed: true, ..Self::of(lines) }
    }

    /// The next prompt, waited for; `None` at the end of the input.
    pub(super) fn prompt(&mut self) -> Result<Option<String>, Trouble> {
        if let Some(text) = self.waiting.pop_front() {
            return Ok(Some(text));
        }
        loop {
            match self.next()? {
                None => return Ok(None),
                Some(Line::User(text)) => return Ok(Some(text)),
                // An answer to a question that is no longer open.
                Some(Line::Answer { .. }) => (),
            }
        }
    }

    /// The answer to a question, waited for; `None` when the input ends before it comes.
    pub(super) fn answer(&mut self, question: &str) -> Result<Option<String>, Trouble> {
        loop {
            match self.next()? {
                None => return Ok(None),
                Some(Line::Answer { id, text }) if id == question => return Ok(Some(text)),
                Some(Line::Answer { .. }) => (),
                Some(Line::User(text)) if self.is_typed => return Ok(Some(text)),
                Some(Line::User(text)) if self.waiting.len() < WAITING_MAX => self.waiting.push_back(text),
                Some(Line::User(_)) => self.lost += 1,
            }
        }
    }

    fn next(&mut self) -> Result<Option<Line>, Trouble> {
        loop {
            let mut line = Vec::new();
            let read = (&mut self.lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            read.map_err(|error| Trouble::io("read standard input", &error))?;
            if line.is_empty() {
                return Ok(None);
            }
            if line.len() as u64 == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
                return Err(Trouble::new(format!("a line of the input has more than {LINE_BYTES_MAX} bytes")));
            }
            if self.is_typed {
                return Ok(Some(Line::User(String::from_utf8_lossy(&line).trim().to_owned())));
            }
            if let Some(line) = meaning(&line) {
                return Ok(Some(line));
            }
        }
    }
}

fn meaning(line: &[u8]) -> Option<Line> {
    let value: Value = serde_json::from_slice(line).ok()?;
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    match value.get("type")?.as_str()? {
        "user" => text("text").map(Line::User),
        "answer" => Some(Line::Answer { id: text("id")?, text: text("text")? }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(lines: &[&str]) -> Input {
        Input::of(std::io::Cursor::new(lines.join("\n").into_bytes()))
    }

    #[test]
    fn prompts_that_come_while_a_question_is_open_wait() {
        let user = r#"{"type":"user","text":"later"}"#;
        let mut input =
            input(&["", "no json", user, r#"{"type":"answer","id":"q0","text":"old"}"#, r#"{"type":"answer","id":"q1","text":"yes"}"#]);
        assert_eq!(input.answer("q1").expect("read"), Some("yes".to_owned()));
        assert_eq!(input.prompt().expect("read"), Some("later".to_owned()));
        assert_eq!(input.prompt().expect("read"), None);
        assert_eq!((input.answer("q2").expect("read"), input.lost), (None, 0));
    }

    #[test]
    fn no_more_prompts_wait_than_there_is_room_for() {
        let user = r#"{"type":"user","text":"x"}"#;
        let mut input = input(&[user; WAITING_MAX + 3]);
        assert_eq!(input.answer("q").expect("read"), None);
        assert_eq!((input.waiting.len(), input.lost), (WAITING_MAX, 3));
    }
}
