//! One turn, told in the events of the seed.

use model::{Event, EventKind, Outcome, ResultEvent, TurnId};
use serde_json::{Value, json};

/// Calls that the last event lists.
const TOOL_CALLS_MAX: usize = 200;
/// The longest answer so far that comes with each new piece of it; of a longer one only the pieces come, since all of it
/// with each piece would grow without bounds.
const CONTENT_BYTES_MAX: usize = 64 << 10;

/// Tells one turn. Events of other turns of the chat are not its business.
pub(super) struct Telling {
    turn: TurnId,
    /// Turns of the chat before this one.
    turns_before: u64,
    model: String,
    /// The answer so far.
    text: String,
    calls: Vec<Value>,
    has_told_why: bool,
}

impl Telling {
    pub(super) fn new(turn: TurnId, turns_before: u64) -> Self {
        Self { turn, turns_before, model: String::new(), text: String::new(), calls: Vec::new(), has_told_why: false }
    }

    /// What to say of an event, and whether that was the end.
    pub(super) fn tell(&mut self, event: &Event) -> (Vec<Value>, bool) {
        if event.turn != self.turn {
            return (Vec::new(), false);
        }
        let said = match &event.kind {
            EventKind::Start { model, engine, provider, .. } => self.start(engine, model, provider),
            EventKind::Text { text } => {
                self.text.push_str(text);
                let mut said = json!({ "type": "text", "delta": text });
                if self.text.len() <= CONTENT_BYTES_MAX {
                    said["content"] = json!(self.text);
                }
                vec![said]
            }
            EventKind::Thinking { text } => vec![json!({ "type": "thinking", "content": text })],
            EventKind::ToolCall { id, name, input } => {
                let call = json!({ "id": id, "name": name, "input": input });
                if self.calls.len() < TOOL_CALLS_MAX {
                    self.calls.push(call.clone());
                }
                vec![json!({ "type": "tool_use", "tool": call })]
            }
            EventKind::ToolResult { id, output, is_error } => {
                vec![json!({ "type": "tool_result", "toolUseId": id, "content": output, "isError": is_error })]
            }
            EventKind::Question { id, text, options } => {
                vec![json!({ "type": "user_question", "requestId": id, "questions": [question(text, options)] })]
            }
            EventKind::Approval { id, status, .. } if status == "pending" => {
                vec![json!({ "type": "permission_request", "requestId": id })]
            }
            EventKind::Approval { id, status, .. } => vec![json!({ "type": "permission_denied", "requestId": id, "status": status })]
                .into_iter()
                .filter(|_| status == "denied")
                .collect(),
            EventKind::Notice { text } => vec![warning(text)],
            EventKind::Error { message, retriable: true, code } => {
                vec![json!({ "type": "warning", "title": code, "message": message })]
            }
            EventKind::Error { code, message, retriable: false } => {
                self.has_told_why = true;
                vec![json!({ "type": "typed_error", "code": code, "title": code, "message": message, "actions": [],
                    "canRetry": code.is_retriable(), "retryDelayMs": null })]
            }
            EventKind::Usage { .. } => Vec::new(),
            EventKind::Result(result) => return (self.end(result), true),
        };
        (said, false)
    }

    fn start(&mut self, engine: &str, model: &str, provider: &str) -> Vec<Value> {
        self.model = if model.is_empty() { provider.to_owned() } else { model.to_owned() };
        vec![
            json!({ "type": "model", "model": self.model }),
            json!({ "type": "init", "tools": [], "permissionMode": "bypassPermissions", "engine": engine }),
        ]
    }

    fn end(&mut self, result: &ResultEvent) -> Vec<Value> {
        match result.status {
            Outcome::Completed => vec![json!({
                "type": "done",
                "response": result.text,
                "messageCount": (self.turns_before + 1) * 2,
                "model": self.model,
                "durationMs": result.duration_ms,
                "toolCalls": self.calls,
                "sessionResume": resume(self.turns_before),
            })],
            Outcome::Cancelled => vec![json!({ "type": "aborted", "message": "the turn was cancelled", "partialResponse": self.text })],
            Outcome::Failed | Outcome::Timeout if self.has_told_why => Vec::new(),
            Outcome::Failed | Outcome::Timeout => {
                let code = result.code.map_or_else(|| result.status.as_str().to_owned(), |code| code.to_string());
                vec![json!({ "type": "error", "error": code, "message": result.code.map_or("the turn failed", model::Code::meaning) })]
            }
        }
    }
}

/// How a chat came to its state.
pub(super) fn resume(turns_before: u64) -> Value {
    let method = if turns_before == 0 { "new" } else { "resume" };
    json!({ "method": method, "isNewSession": turns_before == 0, "messagesBefore": turns_before * 2 })
}

/// Something that was not done as asked.
pub(super) fn warning(text: &str) -> Value {
    json!({ "type": "warning", "title": "notice", "message": text })
}

/// A question as the seed's clients show it.
pub(super) fn question(text: &str, options: &[String]) -> Value {
    let options: Vec<Value> = options.iter().map(|label| json!({ "label": label, "description": "" })).collect();
    json!({ "question": text, "header": "", "options": options, "multiSelect": false })
}

#[cfg(test)]
mod tests {
    use model::{Code, Level, QuestionId, SessionId, Timestamp, Usage};

    use super::*;

    fn event(turn: &TurnId, kind: EventKind) -> Event {
        Event { seq: 1, time: Timestamp(0), session: SessionId::from_bits(1), turn: turn.clone(), kind }
    }

    fn result(status: Outcome, code: Option<Code>) -> EventKind {
        let usage = Usage::default();
        EventKind::Result(ResultEvent { status, text: "all".into(), usage, cost_usd: 0.0, duration_ms: 7, level: Level::default(), code })
    }

    fn told(kinds: Vec<EventKind>) -> Vec<Value> {
        let turn = TurnId::from_bits(1);
        let mut telling = Telling::new(turn.clone(), 1);
        let mut all = Vec::new();
        for kind in kinds {
            let (said, is_end) = telling.tell(&event(&turn, kind));
            all.extend(said);
            if is_end {
                all.push(json!("end"));
            }
        }
        all
    }

    #[test]
    fn a_good_turn() {
        let start = EventKind::Start { engine: "mini".into(), model: "m".into(), provider: "p".into(), level: Level::default() };
        let text = |text: &str| EventKind::Text { text: text.into() };
        let call = EventKind::ToolCall { id: "1".into(), name: "bash".into(), input: json!({ "a": 1 }) };
        let back = EventKind::ToolResult { id: "1".into(), output: "ok".into(), is_error: false };
        let ask = EventKind::Question { id: QuestionId::from_bits(2), text: "which?".into(), options: vec!["a".into()] };
        let said = told(vec![start, text("al"), call, back, ask, text("l"), result(Outcome::Completed, None)]);
        let kinds: Vec<&str> = said.iter().map(|event| event["type"].as_str().unwrap_or("-")).collect();
        assert_eq!(kinds, ["model", "init", "text", "tool_use", "tool_result", "user_question", "text", "done", "-"]);
        assert_eq!((&said[6]["content"], &said[6]["delta"]), (&json!("all"), &json!("l")));
        assert_eq!(said[5]["questions"][0]["options"][0]["label"], "a");
        let done = &said[7];
        assert_eq!((&done["response"], &done["messageCount"], &done["durationMs"]), (&json!("all"), &json!(4), &json!(7)));
        assert_eq!(done["toolCalls"][0]["name"], "bash");
        assert_eq!(done["sessionResume"]["method"], "resume");
    }

    #[test]
    fn bad_ends_are_told_once() {
        let error = EventKind::Error { code: Code::KeyMissing, message: "no".into(), retriable: false };
        let said = told(vec![error, result(Outcome::Failed, Some(Code::KeyMissing))]);
        assert_eq!((said.len(), &said[0]["type"], &said[0]["canRetry"]), (2, &json!("typed_error"), &json!(false)));
        let said = told(vec![result(Outcome::Timeout, Some(Code::Timeout))]);
        assert_eq!((&said[0]["type"], &said[0]["error"]), (&json!("error"), &json!("TIMEOUT")));
        let said = told(vec![EventKind::Text { text: "par".into() }, result(Outcome::Cancelled, Some(Code::Cancelled))]);
        assert_eq!((&said[1]["type"], &said[1]["partialResponse"]), (&json!("aborted"), &json!("par")));
    }

    #[test]
    fn other_turns_are_not_told() {
        let mut telling = Telling::new(TurnId::from_bits(1), 0);
        let (said, is_end) = telling.tell(&event(&TurnId::from_bits(2), result(Outcome::Completed, None)));
        assert!(said.is_empty() && !is_end);
    }
}
