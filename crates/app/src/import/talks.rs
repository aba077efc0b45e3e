//! Conversations: a session with its turns, made whole or not at all.

use std::collections::BTreeMap;

use model::{Failure, SessionId, Timestamp, TurnId};
use store::{IMPORT_BYTES_MAX, IMPORT_EVENTS_MAX, IMPORT_TURNS_MAX, Imported, ImportedEvent, ImportedTurn, SessionKey, StoreError};

use super::lines::CarryLine;
use super::of::{Came, Going, is_its_own_fault};
use super::things::wrong;
use crate::SessionForm;
use crate::sessions::make_dir;

/// A conversation whose turns come.
pub(super) struct Talk {
    /// What it is called there.
    id: String,
    hash: String,
    agent: String,
    title: String,
    labels: BTreeMap<String, String>,
    head: u64,
    expected: u64,
    chat: Option<String>,
    thread: Option<String>,
    created: Timestamp,
    turns: Vec<ImportedTurn>,
    events: Vec<ImportedEvent>,
    bytes: usize,
    /// Why it cannot be taken over.
    fault: Option<String>,
}

impl Going<'_> {
    /// Begins a conversation.
    pub(super) fn begin_talk(&mut self, line: CarryLine, hash: String) -> Result<(), Failure> {
        let CarryLine::Session { id, agent, title, labels, head, turns, chat, thread, created } = line else {
            return Err(wrong("it is no session"));
        };
        let fault = (turns > IMPORT_TURNS_MAX as u64).then(|| format!("it has more than {IMPORT_TURNS_MAX} turns"));
        self.talk = Some(Talk {
            id,
            hash,
            agent,
            title,
            labels,
            head,
            expected: turns,
            chat,
            thread,
            created,
            turns: Vec::new(),
            events: Vec::new(),
            bytes: 0,
            fault,
        });
        Ok(())
    }

    /// A turn of the conversation that began last.
    pub(super) fn turn(&mut self, line: CarryLine, bytes: usize) -> Result<(), Failure> {
        let CarryLine::Turn { session, n, parent, state, outcome, code, prompt, accepted, started, ended, events } = line else {
            return Err(wrong("it is no turn"));
        };
        // Of one that was taken over before, or cannot be, the turns are passed over.
        let Some(talk) = self.talk.as_mut().filter(|talk| talk.id == session && talk.fault.is_none()) else { return Ok(()) };
        talk.bytes += bytes;
        let place = talk.turns.len() as u64 + 1;
        talk.fault = if n != place || n > talk.expected {
            Some(format!("turn {n} stands where turn {place} belongs"))
        } else if talk.bytes > IMPORT_BYTES_MAX {
            Some(format!("it has more than {IMPORT_BYTES_MAX} bytes"))
        } else if talk.events.len() + events.len() > IMPORT_EVENTS_MAX {
            Some(format!("it has more than {IMPORT_EVENTS_MAX} events"))
        } else {
            None
        };
        if talk.fault.is_some() {
            (talk.turns, talk.events) = (Vec::new(), Vec::new());
            return Ok(());
        }
        talk.events.extend(events.into_iter().map(|event| ImportedEvent { turn: n, time: event.time, kind: event.event }));
        // Their identities come when the conversation is whole.
        talk.turns.push(ImportedTurn { id: TurnId::from_bits(0), parent, state, outcome, code, prompt, accepted, started, ended });
        Ok(())
    }

    /// Makes the conversation whose turns came, if one did.
    pub(super) async fn end_talk(&mut self) -> Result<(), Failure> {
        let Some(mut talk) = self.talk.take() else { return Ok(()) };
        if talk.fault.is_none() && talk.turns.len() as u64 != talk.expected {
            talk.fault = Some(format!("it says {} turns and has {}", talk.expected, talk.turns.len()));
        }
        let (id, title, hash) = (talk.id.clone(), talk.title.clone(), talk.hash.clone());
        let name = if title.is_empty() { id.clone() } else { title };
        if let Some(fault) = talk.fault {
            self.report.add("session", &name, "wrong", fault);
            return Ok(());
        }
        let chat = talk.chat.clone();
        let thread = talk.thread.clone();
        match self.make(talk).await {
            Ok((came, agent)) => {
                // Before it is noted: what a crash cuts off here comes again.
                self.speak_on(&came, &agent, chat, thread).await?;
                self.came("session", &id, &name, hash, came).await
            }
            Err(failure) if is_its_own_fault(&failure) => {
                self.report.add("session", &name, "wrong", failure.message);
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    async fn make(&mut self, mut talk: Talk) -> Result<(Came, String), Failure> {
        let agent = self.named("agent", &talk.agent).await?;
        let id: SessionId = self.own(&talk.id, talk.created);
        if self.dry_run {
            return Ok((Came::New(id.to_string(), String::new()), agent));
        }
        if self.app.store().session(&id).await.is_ok() {
            return Ok((Came::There(id.to_string(), String::new()), agent));
        }
        for (n, turn) in (1u64..).zip(&mut talk.turns) {
            turn.id = TurnId::from_bits(self.bits("turn", &format!("{}/{n}", talk.id), turn.accepted));
        }
        let tree = self.app.grow_tree();
        let mut form = SessionForm { agent: Some(agent.clone()), labels: talk.labels, ..SessionForm::default() };
        form.title = Some(talk.title);
        let sessions = self.app.sessions_of(&self.caller);
        let (mut session, is_fallback) = sessions.branch_session(form, &id, tree.id().clone()).await?;
        session.now = talk.created;
        self.app.sandboxes().make_tree(tree.id(), self.app.settings().limits.disk_bytes).await.map_err(|e| e.failure())?;
        make_dir(&self.app.session_dir(&id))?;
        let new = Imported { session, engine_session: None, head: talk.head, turns: talk.turns, events: talk.events };
        if let Err(error) = self.app.store().import_session(new).await {
            self.app.drop_tree(tree.id()).await;
            return Err(match error {
                StoreError::Invalid { .. } | StoreError::Limit { .. } => wrong(&error.to_string()),
                error => error.failure(),
            });
        }
        let note = if is_fallback { "no key is stored: it goes on with the rehearsal, which answers from a script" } else { "" };
        Ok((Came::New(id.to_string(), note.to_owned()), agent))
    }

    /// What is said in its chat from now on goes on in it.
    async fn speak_on(&self, came: &Came, agent: &str, chat: Option<String>, thread: Option<String>) -> Result<(), Failure> {
        let (false, Some(chat)) = (self.dry_run, chat) else { return Ok(()) };
        let (Came::New(made, _) | Came::There(made, _)) = came else { return Ok(()) };
        // A chat that was not taken over is no fault of the conversation.
        let Ok(Some(chat)) = self.chat_named(Some(&chat)).await else { return Ok(()) };
        let session: SessionId = made.parse().map_err(|_| wrong("the session is none"))?;
        let key = SessionKey {
            tenant: self.tenant().to_owned(),
            agent: agent.to_owned(),
            chat: chat.to_string(),
            thread: thread.unwrap_or_default(),
        };
        self.app.store().name_session(key, &session).await.map_err(|e| e.failure()).map(drop)
    }
}
