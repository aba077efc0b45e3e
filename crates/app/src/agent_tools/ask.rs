//! Asking the person who asked, and waiting for the answer: the turn waits and goes on with it.

use std::time::Duration;

use broker::{Answered, Ask, CallFailure};
use futures_util::FutureExt as _;
use model::{ApprovalId, Code, EventKind, Failure, QuestionId, Risk, SessionId};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{NewToolQuestion, QuestionStatus, StoreError};

use super::within::is_plain;
use super::{OwnTool, Set, read, told, wrong};
use crate::approvals::{after, ended, goes, until};
use crate::clock::steady;
use crate::{App, approvals};

/// Characters of a question.
const TEXT_CHARS_MAX: usize = 4_000;
/// Answers that are offered, and characters of each.
const OPTIONS_MAX: usize = 8;
const OPTION_CHARS_MAX: usize = 200;
/// How long a question stands when nothing is said, and at least, in seconds.
const STANDS_S: u64 = 300;
const STANDS_S_MIN: u64 = 5;

pub(super) const ASK: OwnTool = OwnTool {
    name: "ask_user",
    about: "Asks whoever asked you, where they asked, and waits for the answer: one of the options, or any text when there are none. Use it \
            only when you cannot find out or decide by yourself.",
    risk: Risk::Low,
    set: Set::Chat,
    asks: true,
    schema: || {
        let question = json!({ "type": "string", "minLength": 1, "maxLength": TEXT_CHARS_MAX });
        let option = json!({ "type": "string", "minLength": 1, "maxLength": OPTION_CHARS_MAX });
        let options = json!({ "type": "array", "maxItems": OPTIONS_MAX, "items": option });
        let most = approvals::APPROVAL_TTL_MAX.as_secs();
        let timeout =
            json!({ "type": "integer", "minimum": STANDS_S_MIN, "maximum": most, "description": "Seconds until it is given up." });
        (&["question"], json!({ "question": question, "options": options, "timeout_s": timeout }))
    },
    // Never called: whoever asks people gives what it gives.
    call: |_| async { Err(wrong("this is asked, not called")) }.boxed(),
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    question: String,
    #[serde(default)]
    options: Vec<String>,
    timeout_s: Option<u64>,
}

/// By what the calls of a session that wait know a question.
pub(crate) fn wait_of(id: &QuestionId) -> ApprovalId {
    let hex = id.as_str().trim_start_matches(QuestionId::PREFIX);
    ApprovalId::from_bits(u128::from_str_radix(hex, 16).unwrap_or_default())
}

impl App {
    /// Puts the question of a call to whoever asked for its turn, and waits. The same call finds its question again.
    pub(crate) async fn ask_for_tool(&self, ask: &Ask<'_>, waiting: &(dyn Fn(&ApprovalId) + Send + Sync)) -> Result<Answered, Failure> {
        let new = match self.question_of(ask) {
            Ok(new) => new,
            Err(failure) => return Ok(Answered::Made(Err(told(&failure)))),
        };
        let session = new.session.clone();
        let asked = match self.store().ask_for_tool(new).await {
            Ok(asked) => asked,
            Err(error @ (StoreError::Conflict(_) | StoreError::Limit { .. })) => {
                return Ok(Answered::Made(Err(CallFailure::new(Code::HandlerError, error.to_string()))));
            }
            Err(error) => return Err(error.failure()),
        };
        model::crash::point("tool:asked");
        self.publish(&session, &asked.events);
        self.wait_for_answer(&asked.question.id, asked.expires, &session, waiting).await
    }

    fn question_of(&self, ask: &Ask<'_>) -> Result<NewToolQuestion, Failure> {
        let args: Args = read(ask.arguments)?;
        let caller = ask.caller;
        let within = || wrong("this is asked within a turn only");
        let (session, turn) = (caller.session.clone().ok_or_else(within)?, caller.turn.clone().ok_or_else(within)?);
        if args.question.trim().is_empty() || args.options.iter().any(|option| !is_plain(option, OPTION_CHARS_MAX)) {
            return Err(wrong("the question is empty, or an option is not one line"));
        }
        let mut seen = std::collections::HashSet::new();
        if !args.options.iter().all(|option| seen.insert(option.trim().to_lowercase())) {
            return Err(wrong("two options are the same"));
        }
        let sanitizer = self.broker().sanitizer();
        let cleaned = |text: &String| sanitizer.text(text).unwrap_or_else(|| text.clone());
        let id = QuestionId::from_bits(crate::clock::fresh_bits());
        let options = args.options.iter().map(cleaned).collect();
        let mut event = [EventKind::Question { id: id.clone(), text: cleaned(&args.question), options }];
        self.clean_events(&caller.agent, &mut event);
        let [event] = event;
        let EventKind::Question { text, options, .. } = event else { return Err(wrong("the question holds an exposed secret")) };
        let most = self.settings().approvals.ttl.as_secs().max(STANDS_S);
        let stands = Duration::from_secs(args.timeout_s.unwrap_or(STANDS_S).min(most));
        let at = steady();
        let (correlation, hash) = (ask.correlation.to_owned(), ask.hash.to_owned());
        Ok(NewToolQuestion { id, session, turn, correlation, hash, text, options, expires: after(at, stands), now: at })
    }

    async fn wait_for_answer(
        &self,
        id: &QuestionId,
        expires: model::Timestamp,
        session: &SessionId,
        waiting: &(dyn Fn(&ApprovalId) + Send + Sync),
    ) -> Result<Answered, Failure> {
        let wait = wait_of(id);
        let live = self.live(session);
        // One of an earlier daemon may have been asked by a clock that was ahead.
        let expires = expires.min(after(steady(), approvals::APPROVAL_TTL_MAX));
        let mut asking = None;
        let row = loop {
            let Some(live) = &live else { return Ok(gone()) };
            let told = live.answered.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            let row = self.store().question(id).await.map_err(|e| e.failure())?;
            if row.status != QuestionStatus::Open {
                break row;
            }
            if steady() >= expires {
                let row = self.store().give_up_question(id, crate::now()).await.map_err(|e| e.failure())?;
                // What its chat shows of it changes.
                self.wake_channels();
                break row;
            }
            if asking.is_none() {
                asking = Some(live.waits.ask(&wait));
                waiting(&wait);
            }
            tokio::select! {
                () = told => {}
                () = until(expires) => {}
                () = self.cancel().cancelled() => return ended(Some(session)).await,
            }
        };
        let _wanting = live.as_ref().map(|live| live.waits.want());
        drop(asking);
        if let Some(live) = live.as_ref().filter(|live| live.waits.stands()) {
            tokio::select! {
                () = goes(live) => {}
                () = self.cancel().cancelled() => return ended(Some(session)).await,
            }
        }
        Ok(match (row.status, row.answer) {
            (QuestionStatus::Answered, Some(answer)) => Answered::Made(Ok(json!({ "answered": true, "answer": answer }))),
            _ => gone(),
        })
    }
}

/// Nobody answered.
fn gone() -> Answered {
    let said: Value = json!({ "answered": false, "note": "nobody answered in time: decide what is reasonable, and say what you decided" });
    Answered::Made(Ok(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_waited_for_under_a_name_of_its_own() {
        let (one, other) = (QuestionId::from_bits(7), QuestionId::from_bits(8));
        assert_ne!(wait_of(&one), wait_of(&other));
        assert_eq!(wait_of(&one), ApprovalId::from_bits(7));
    }
}
