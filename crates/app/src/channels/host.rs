//! What the host itself does for a message: commands, and answers to what was asked. Once each: a daemon that dies over it is followed by one
//! that finds it open.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{AdmissionId, ApprovalId, Code, Failure, InboundId, QuestionId, TurnId};
use serde_json::{Value, json};
use store::{AskerRow, InboundRow, Person};

use super::commands;
use crate::delivery::{Target, abilities_of, by_code, parts};
use crate::live::lock;
use crate::router::{is_admin, permits};
use crate::{AnswerForm, App, Caller, Decision, DecisionForm, now};

/// What the host understands, and what each is for.
pub(crate) const COMMANDS: &[(&str, &str)] = &[
    ("help", "what the host understands"),
    ("status", "what runs here"),
    ("stop", "stop what runs here"),
    ("clear", "begin a new conversation"),
    ("compact", "let the agent sum up the conversation"),
    ("cost", "what the conversation has cost"),
    ("undo", "take the last turn back, files too"),
    ("fork", "go on from here in a second session"),
    ("agent", "who answers here"),
    ("tasks", "scheduled tasks; /tasks pause|resume|run NAME"),
    ("why", "what became of the last message, or of one: /why ID"),
    ("approve", "say yes to a call: /approve CODE"),
    ("deny", "say no to a call: /deny CODE"),
    ("admit", "let somebody in: /admit ID yes|no"),
];

/// Commands that answer what was asked beside any conversation: whoever answers for something gives them wherever they are asked.
pub(crate) const ANSWERS: &[&str] = &["approve", "deny", "admit"];

/// The command that a text is, and what stands behind it.
pub(crate) fn command_of(text: &str) -> Option<(&'static str, &str)> {
    let text = unaddressed(text);
    let (word, rest) = text.strip_prefix('/')?.split_once(char::is_whitespace).unwrap_or((text.strip_prefix('/')?, ""));
    // Some networks write the account behind it: /stop@andy_bot.
    let word = word.split_once('@').map_or(word, |(word, _)| word);
    let known = COMMANDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word))?;
    Some((known.0, rest.trim()))
}

/// A text without those who are named before it: the account, the agent.
pub(crate) fn unaddressed(text: &str) -> &str {
    let mut text = text.trim();
    while let Some(rest) = text.strip_prefix('@') {
        text = rest.split_once(char::is_whitespace).map_or("", |(_, after)| after.trim_start());
    }
    text
}

/// What a pressed button of ours says.
pub(crate) fn pressed(value: &str) -> Option<Value> {
    let mut words = value.split(':');
    let note = match (words.next()?, words.next()?, words.next()?, words.next()) {
        ("q", id, n, None) => json!({ "question": id.parse::<QuestionId>().ok()?, "option": n.parse::<usize>().ok()? }),
        ("a", id, word, Some(code)) => json!({ "approval": id.parse::<ApprovalId>().ok()?, "yes": yes(word)?, "code": code }),
        ("m", id, word, None) => json!({ "admission": id.parse::<AdmissionId>().ok()?, "yes": yes(word)? }),
        _ => return None,
    };
    words.next().is_none().then_some(note)
}

fn yes(word: &str) -> Option<bool> {
    match word {
        "y" | "yes" => Some(true),
        "n" | "no" => Some(false),
        _ => None,
    }
}

/// What is being done for messages now. Held for single operations.
#[derive(Default)]
pub(crate) struct Hosting(Mutex<AtOnce>);

#[derive(Default)]
struct AtOnce {
    messages: HashSet<InboundId>,
    /// One was left out, of whichever channel.
    is_full: bool,
}

/// Messages that the host works on at once; the others wait until one of them is done.
const AT_ONCE_MAX: usize = 64;
/// How long one rests that could not be worked on.
const AGAIN: Duration = Duration::from_secs(5);

impl App {
    /// Does what is open for the messages of a channel, and tells again what may not have been told.
    pub(super) fn go_on_hosting(&self, channel: &str) {
        let (app, channel) = (self.clone(), channel.to_owned());
        self.spawn(async move {
            if let Err(failure) = app.host_open(&channel).await {
                tracing::warn!(channel, %failure, "what the host is to do for messages waits");
            }
        });
    }

    async fn host_open(&self, channel: &str) -> Result<(), Failure> {
        let open = self.store().open_inbound(channel).await.map_err(|e| e.failure())?;
        for row in open {
            {
                let mut hosting = lock(&self.board().hosting.0);
                if hosting.messages.len() >= AT_ONCE_MAX {
                    hosting.is_full = true;
                    break;
                }
                if !hosting.messages.insert(row.id.clone()) {
                    continue;
                }
            }
            let app = self.clone();
            self.spawn(async move {
                let cancel = app.cancel().clone();
                let id = row.id.clone();
                let channel = row.channel.clone();
                let done = tokio::select! {
                    () = cancel.cancelled() => return,
                    done = app.host_one(row) => done,
                };
                if let Err(failure) = &done {
                    tracing::warn!(message = %id, %failure, "what the host is to do for a message is left for later");
                    tokio::select! {
                        () = cancel.cancelled() => return,
                        () = tokio::time::sleep(AGAIN) => {}
                    }
                }
                let was_full = {
                    let mut hosting = lock(&app.board().hosting.0);
                    hosting.messages.remove(&id);
                    std::mem::take(&mut hosting.is_full)
                };
                if was_full {
                    app.board().all().iter().for_each(|desk| app.go_on_hosting(&desk.name));
                } else if done.is_err() {
                    app.go_on_hosting(&channel);
                }
            });
        }
        Ok(())
    }

    async fn host_one(&self, row: InboundRow) -> Result<(), Failure> {
        if row.outcome == "held" {
            return match self.hear_held(&row).await {
                // It was routed by another hand.
                Err(failure) if failure.code == Code::Conflict => Ok(()),
                other => other,
            };
        }
        let channel = self.store().channel(&row.channel).await.map_err(|e| e.failure())?;
        let person = self.store().person(&channel.tenant, &row.channel, &row.sender).await.map_err(|e| e.failure())?;
        let asking =
            Asking { app: self, row: &row, tenant: &channel.tenant, person: person.as_ref(), note: row.note.clone().unwrap_or_default() };
        let said = match asking.done().await {
            Ok(said) => said,
            // What a later try may mend stays open.
            Err(failure) if matches!(failure.code, Code::StoreUnusable | Code::Internal) => return Err(failure),
            Err(failure) => Some(match &failure.hint {
                Some(hint) => format!("{}. {hint}", failure.message),
                None => failure.message.clone(),
            }),
        };
        model::crash::point("host:done");
        let target = Target {
            channel: row.channel.clone(),
            chat: row.chat.clone(),
            thread: row.thread.clone(),
            cause: format!("host:{}", row.id),
            agent: None,
            session: None,
            turn: None,
        };
        let abilities = abilities_of(channel.abilities.as_ref());
        let said = said.map(|text| self.secrets().clean(text));
        let outs = said.map(|text| parts(&target, &abilities, &text, None, &[], &[])).unwrap_or_default();
        self.store().close_inbound(&row.id, outs, now()).await.map_err(|e| e.failure())?;
        self.wake_channel(&row.channel);
        Ok(())
    }
}

/// Somebody who asks the host for something.
pub(super) struct Asking<'a> {
    pub(super) app: &'a App,
    pub(super) row: &'a InboundRow,
    pub(super) tenant: &'a str,
    pub(super) person: Option<&'a Person>,
    pub(super) note: Value,
}

impl Asking<'_> {
    /// Does it. Gives what is said about it.
    async fn done(&self) -> Result<Option<String>, Failure> {
        if let Some(command) = self.note["command"].as_str() {
            return Box::pin(commands::run(self, command)).await.map(Some);
        }
        if !self.note["question"].is_null() {
            return self.answer_question().await;
        }
        if let Some(id) = self.note["approval"].as_str() {
            let id: ApprovalId = id.parse().map_err(|_| gone())?;
            let code = self.note["code"].as_str().unwrap_or_default();
            return self.answer_approval(&id, code, self.note["yes"].as_bool() == Some(true)).await;
        }
        if let Some(id) = self.note["admission"].as_str() {
            return self.answer_admission(id, self.note["yes"].as_bool() == Some(true)).await.map(Some);
        }
        Err(gone())
    }

    /// What this person may see and do.
    pub(super) fn caller(&self) -> Caller {
        Caller { tenant: Some(self.tenant.to_owned()) }
    }

    /// Whoever says it, as who asks a turn that the host makes for it.
    pub(super) fn asker(&self, turn: &TurnId) -> AskerRow {
        AskerRow {
            turn: turn.clone(),
            user: self.person.map(|person| person.user.clone()),
            channel: self.row.channel.clone(),
            chat: self.row.chat.clone(),
            thread: self.row.thread.clone(),
            handle: self.row.sender.clone(),
            message: Some(self.row.message.clone()),
            inbound: Some(self.row.id.clone()),
            via: Vec::new(),
        }
    }

    /// Whether they asked for a turn themselves, by whichever of their handles.
    pub(super) fn is_who_asked(&self, asker: &AskerRow) -> bool {
        match (&asker.user, self.person) {
            (Some(user), Some(person)) => *user == person.user,
            _ => asker.channel == self.row.channel && asker.handle == self.row.sender,
        }
    }

    /// How the audit names them.
    pub(super) fn actor(&self) -> String {
        match self.person {
            Some(person) => format!("user:{}", person.user),
            None => format!("handle:{}:{}", self.row.channel, self.row.sender),
        }
    }

    /// Refuses who does not answer for an agent.
    pub(super) fn must_be_admin(&self, agent: &str) -> Result<(), Failure> {
        match self.person {
            Some(person) if is_admin(person, agent) => Ok(()),
            _ => Err(Failure::new(Code::Forbidden, format!("only who answers for {agent} may do this"))),
        }
    }

    /// Refuses who may not talk to an agent.
    pub(super) fn must_be_known(&self, agent: &str) -> Result<(), Failure> {
        match self.person {
            Some(person) if permits(person, agent) => Ok(()),
            _ => Err(Failure::new(Code::Forbidden, format!("only members of {agent} may do this"))),
        }
    }

    /// The answer to a question: of whoever asked for the turn, where they asked for it.
    async fn answer_question(&self) -> Result<Option<String>, Failure> {
        let id = self.note["question"].as_str().and_then(|id| id.parse::<QuestionId>().ok()).ok_or_else(gone)?;
        let question = self.app.store().question(&id).await.map_err(|_| gone())?;
        let asker = self.app.store().asker(&question.turn).await.map_err(|e| e.failure())?.ok_or_else(gone)?;
        if asker.channel != self.row.channel || asker.chat != self.row.chat {
            return Err(gone());
        }
        if asker.handle != self.row.sender {
            return Err(Failure::new(Code::Forbidden, "this is asked of somebody else"));
        }
        let text = match (self.note["option"].as_u64(), self.note["answer"].as_str()) {
            (Some(n), _) => question.options.get(usize::try_from(n).unwrap_or(usize::MAX)).cloned().ok_or_else(gone)?,
            (None, Some(text)) => text.to_owned(),
            (None, None) => return Err(gone()),
        };
        let form = AnswerForm { question: Some(id.clone()), text: text.clone() };
        let answered = self.app.sessions_of(&self.caller()).answer(question.session.as_str(), form).await;
        if let Err(failure) = answered {
            // Said again over a crash, or a second press.
            let is_same = question.answer.as_deref() == Some(&text);
            return if is_same { Ok(None) } else { Err(failure) };
        }
        Ok(None)
    }

    /// The answer to a confirmation: of who answers for the agent, bound to the call that was shown.
    async fn answer_approval(&self, id: &ApprovalId, code: &str, yes: bool) -> Result<Option<String>, Failure> {
        let row = self.app.store().approval(id).await.map_err(|_| gone())?;
        if row.tenant != self.tenant || !row.hash.to_ascii_lowercase().starts_with(&code.to_ascii_lowercase()) || code.len() < 8 {
            return Err(gone());
        }
        self.must_be_admin(&row.agent)?;
        let decision = if yes { Decision::Approve } else { Decision::Deny };
        let form = DecisionForm { decision, hash: row.hash.clone(), note: None };
        match self.app.approvals_of(&self.caller()).answer(id.as_str(), form, &self.actor()).await {
            Ok(view) => Ok(Some(format!("{}: {}.", view.tool, view.status))),
            // Said again over a crash.
            Err(_) if row.answered_by.as_deref() == Some(self.actor().as_str()) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The confirmation of a code that was typed.
    pub(super) async fn answer_code(&self, code: &str, yes: bool) -> Result<String, Failure> {
        let filter = store::ApprovalFilter { tenant: Some(self.tenant.to_owned()), status: Some("pending".to_owned()), session: None };
        let page = self.app.store().approvals(&filter, None, store::LIST_MAX).await.map_err(|e| e.failure())?;
        let id = by_code(&page.items, code.trim()).cloned().ok_or_else(|| {
            Failure::new(Code::NotFound, "no call that waits has this code, or more than one")
                .hint("The command line shows them all: lazaret approvals")
        })?;
        Ok(self.answer_approval(&id, code.trim(), yes).await?.unwrap_or_else(|| "Answered.".to_owned()))
    }

    pub(super) async fn answer_admission(&self, id: &str, yes: bool) -> Result<String, Failure> {
        let id: AdmissionId = id.parse().map_err(|_| gone())?;
        let row = self.app.store().admission(&id).await.map_err(|_| gone())?;
        if row.tenant != self.tenant {
            return Err(gone());
        }
        self.must_be_admin(&row.agent)?;
        let answered = self.app.let_in(&id, yes, &self.actor()).await?;
        Ok(format!("{}: {}.", answered.name, answered.state))
    }
}

fn gone() -> Failure {
    Failure::new(Code::NotFound, "this is not asked any more")
}

impl super::Board {
    pub(crate) fn wake_all(&self) {
        self.all().iter().for_each(|desk: &Arc<super::Desk>| desk.wake());
    }
}

impl super::Desk {
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_one_of_those_that_are_known() {
        for (text, expect) in [
            ("/stop", Some(("stop", ""))),
            (" /Why  msg_1 ", Some(("why", "msg_1"))),
            ("/help@andy_bot now", Some(("help", "now"))),
            ("@andy /tasks pause brief", Some(("tasks", "pause brief"))),
            ("@account @Andy /stop", Some(("stop", ""))),
            ("/stopping", None),
            ("please /stop", None),
            ("/", None),
            ("@andy", None),
            ("/etc/passwd", None),
        ] {
            assert_eq!(command_of(text), expect, "{text}");
        }
    }

    #[test]
    fn only_buttons_of_ours_say_something() {
        let (question, approval) = (QuestionId::from_bits(1), ApprovalId::from_bits(2));
        assert_eq!(pressed(&format!("q:{question}:2")), Some(json!({ "question": question, "option": 2 })));
        assert_eq!(pressed(&format!("a:{approval}:y:01234567")), Some(json!({ "approval": approval, "yes": true, "code": "01234567" })));
        for bad in [
            "",
            "q",
            "q:x:1",
            "a:apr_1:y:0",
            &format!("a:{approval}:y"),
            &format!("a:{approval}:maybe:01234567"),
            &format!("q:{question}:1:2"),
        ] {
            assert_eq!(pressed(bad), None, "{bad}");
        }
        // The longest fits where platforms allow 60 bytes.
        assert!(format!("a:{approval}:y:01234567").len() <= 60);
    }
}
