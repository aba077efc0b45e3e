//! Conversations out of pairs of mailboxes: what came in, and what went out.

use app::{CarryEvent, CarryLine};
use model::{EventKind, Failure, Level, Outcome, ResultEvent, Timestamp, TurnState, Usage};
use serde_json::Value;

use super::sheet::Sheet;
use super::words::{Fields, number, short, text, time};

/// Turns of one conversation that are taken over: the last ones.
const TURNS_MAX: usize = 10_000;
/// The longest text of a turn that is taken over, in bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// Files that one message names, and characters of each name.
const FILES_NAMED_MAX: usize = 20;
const FILE_NAME_CHARS: usize = 120;
/// What layers held there is not known.
const LEVEL: &str = "imported";

/// One thing that was said.
pub(super) struct Said {
    pub(super) at: Timestamp,
    /// Whether somebody wanted an answer to it; `None` for what the agent said.
    pub(super) wakes: Option<bool>,
    pub(super) who: String,
    pub(super) text: String,
    pub(super) has_failed: bool,
}

/// Whose conversation it is, and where.
pub(super) struct Place {
    pub(super) id: String,
    pub(super) agent: String,
    pub(super) title: String,
    pub(super) chat: Option<String>,
    pub(super) thread: Option<String>,
}

/// What the two mailboxes hold, in order.
pub(super) fn said(inbound: &[Fields], outbound: &[Fields]) -> Vec<Said> {
    let mut all: Vec<(i64, Said)> = Vec::new();
    for row in inbound {
        let content = content(row);
        let words = words(&content);
        // What the host told the agent is no talk.
        if text(row, "kind") == "system" || words.is_empty() {
            continue;
        }
        let said = Said {
            at: time(row, "timestamp").unwrap_or(Timestamp(0)),
            wakes: Some(row.get("trigger").is_none_or(Value::is_null) || number(row, "trigger") != 0),
            who: who(&content),
            text: words,
            has_failed: text(row, "status") == "failed",
        };
        all.push((number(row, "seq"), said));
    }
    for row in outbound {
        let content = content(row);
        let words = words(&content);
        if text(row, "kind") == "system" || words.is_empty() || content.get("operation").is_some() {
            continue;
        }
        let at = time(row, "timestamp").unwrap_or(Timestamp(0));
        all.push((number(row, "seq"), Said { at, wakes: None, who: String::new(), text: words, has_failed: false }));
    }
    // One count goes over both.
    all.sort_by_key(|(seq, _)| *seq);
    all.into_iter().map(|(_, said)| said).collect()
}

/// Writes a conversation; says how many turns it has.
pub(super) fn write(sheet: &mut Sheet, place: &Place, all: Vec<Said>) -> Result<usize, Failure> {
    let mut turns = turns(all);
    if turns.is_empty() {
        return Ok(0);
    }
    if turns.len() > TURNS_MAX {
        let more = turns.len() - TURNS_MAX;
        sheet.leave("turns", &place.title, format!("{more} turns: {TURNS_MAX} of a conversation are kept, the last ones"));
        turns.drain(..more);
    }
    let count = turns.len();
    sheet.line(&CarryLine::Session {
        id: place.id.clone(),
        agent: place.agent.clone(),
        title: short(&place.title, 120),
        labels: [("imported".to_owned(), "nanoclaw".to_owned())].into(),
        head: count as u64,
        turns: count as u64,
        chat: place.chat.clone(),
        thread: place.thread.clone(),
        created: turns[0].began,
    })?;
    for (n, turn) in (1u64..).zip(turns) {
        sheet.line(&turn.line(&place.id, n))?;
    }
    Ok(count)
}

struct Turn {
    began: Timestamp,
    ended: Timestamp,
    prompt: String,
    answers: Vec<(Timestamp, String)>,
    has_failed: bool,
}

impl Turn {
    fn new(at: Timestamp) -> Self {
        Self { began: at, ended: at, prompt: String::new(), answers: Vec::new(), has_failed: false }
    }

    fn add(&mut self, who: &str, text: &str) {
        let text = cut(text);
        let line = if who.is_empty() { text.to_owned() } else { format!("{}: {text}", short(who, 80)) };
        if self.prompt.len() + line.len() < TEXT_BYTES_MAX {
            if !self.prompt.is_empty() {
                self.prompt.push('\n');
            }
            self.prompt.push_str(&line);
        }
    }

    fn line(self, session: &str, n: u64) -> CarryLine {
        let outcome = if self.has_failed { Outcome::Failed } else { Outcome::Completed };
        let whole: Vec<&str> = self.answers.iter().map(|(_, text)| text.as_str()).collect();
        let result = ResultEvent {
            status: outcome,
            text: cut(&whole.join("\n\n")).to_owned(),
            usage: Usage::default(),
            cost_usd: 0.0,
            duration_ms: self.ended.0.saturating_sub(self.began.0),
            level: Level { mode: LEVEL.to_owned(), lines: Vec::new() },
            code: None,
        };
        let mut events: Vec<CarryEvent> =
            self.answers.iter().map(|(time, text)| CarryEvent { time: *time, event: EventKind::Text { text: text.clone() } }).collect();
        events.push(CarryEvent { time: self.ended, event: EventKind::Result(result) });
        CarryLine::Turn {
            session: session.to_owned(),
            n,
            parent: n - 1,
            state: if self.has_failed { TurnState::Failed } else { TurnState::Done },
            outcome: Some(outcome),
            code: None,
            prompt: self.prompt,
            accepted: self.began,
            started: Some(self.began),
            ended: Some(self.ended),
            events,
        }
    }
}

/// A turn is what was said until it was answered, and the answers.
fn turns(all: Vec<Said>) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    let mut now: Option<Turn> = None;
    for said in all {
        let Some(_) = said.wakes else {
            let turn = now.get_or_insert_with(|| Turn::new(said.at));
            if turn.prompt.is_empty() {
                turn.prompt = "(it began by itself)".to_owned();
            }
            turn.ended = said.at.max(turn.began);
            turn.answers.push((said.at, cut(&said.text).to_owned()));
            continue;
        };
        if now.as_ref().is_some_and(|turn| !turn.answers.is_empty() || turn.has_failed) {
            turns.extend(now.take());
        }
        let turn = now.get_or_insert_with(|| Turn::new(said.at));
        turn.add(&said.who, &said.text);
        turn.has_failed |= said.has_failed;
        turn.ended = said.at.max(turn.began);
    }
    turns.extend(now);
    turns
}

/// The content of a row: JSON, or a text.
fn content(row: &Fields) -> Value {
    let raw = text(row, "content");
    serde_json::from_str(&raw).unwrap_or(Value::String(raw))
}

/// What is said in it, and what comes along.
fn words(content: &Value) -> String {
    let mut whole = text_of(content);
    let named = |file: &Value| file.as_str().or_else(|| file["name"].as_str()).map(|name| short(name, FILE_NAME_CHARS));
    for file in ["attachments", "files"].iter().filter_map(|key| content.get(*key)?.as_array()).flatten().take(FILES_NAMED_MAX) {
        if let Some(name) = named(file) {
            let gap = if whole.is_empty() { "" } else { "\n" };
            whole.push_str(&format!("{gap}(file: {name})"));
        }
    }
    whole
}

fn text_of(content: &Value) -> String {
    let found = match content {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let named = ["text", "markdown", "prompt", "message", "body"].iter().find_map(|key| fields.get(*key)?.as_str());
            named.unwrap_or_default().to_owned()
        }
        _ => String::new(),
    };
    found.replace('\0', "")
}

/// Who says it.
fn who(content: &Value) -> String {
    let named = ["senderName", "sender_name", "sender"].iter().find_map(|key| content.get(*key)?.as_str());
    let author = || content.get("author").and_then(|author| ["fullName", "userName"].iter().find_map(|key| author.get(*key)?.as_str()));
    named.or_else(author).unwrap_or_default().to_owned()
}

/// A text of at most [`TEXT_BYTES_MAX`] bytes.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(fields: Value) -> Fields {
        fields.as_object().cloned().expect("an object")
    }

    #[test]
    fn a_turn_is_what_was_said_until_it_was_answered() {
        let message = |seq: i64, trigger: i64, text: &str| {
            row(serde_json::json!({ "seq": seq, "kind": "chat", "trigger": trigger, "timestamp": "2026-01-01T00:00:00Z",
                "content": serde_json::json!({ "text": text, "senderName": "Ann" }).to_string() }))
        };
        let answer = |seq: i64, content: Value| {
            row(serde_json::json!({ "seq": seq, "kind": "chat", "timestamp": "2026-01-01T00:00:09Z", "content": content.to_string() }))
        };
        let inbound = [message(2, 0, "hm"), message(4, 1, "when?"), message(8, 1, "and where?")];
        let outbound = [
            answer(5, serde_json::json!({ "text": "at nine", "files": ["plan.pdf"] })),
            answer(7, serde_json::json!({ "operation": "reaction", "text": "ok" })),
        ];
        let turns = turns(said(&inbound, &outbound));
        assert_eq!(turns.len(), 2);
        assert_eq!(turns[0].prompt, "Ann: hm\nAnn: when?");
        assert_eq!(turns[0].answers.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["at nine\n(file: plan.pdf)"]);
        assert_eq!((turns[1].prompt.as_str(), turns[1].answers.len()), ("Ann: and where?", 0));
    }
}
