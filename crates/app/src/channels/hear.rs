//! What becomes of a report: noted, routed, and made to work.

use std::sync::Arc;

use model::{ChatId, Code, Failure, InboundId, SessionId};
use serde_json::Value;
use store::{HeardOut, Hearing, InboundRow, Route, SessionFilter, SessionKey, StoreError, Verdict};
use wire::chat::{CHAT_TEXT_BYTES_MAX, Heard};

use super::{code_hash, code_of};
use crate::router::ChatRouter;
use crate::{App, Caller, SessionForm, now};

/// How often it is tried to give a message the sessions that it needs.
const TRIES_MAX: usize = 4;
/// The label of sessions that a chat made.
const LABEL: &str = "chat";
/// Sessions of a chat that are looked at for one that nothing names: the youngest.
const NAMELESS_MAX: usize = 5;

impl App {
    /// Hears what a channel reports; when this returns, it is durable.
    ///
    /// # Errors
    /// The store cannot be written: it must be reported again. What is malformed is dropped, and that is durable enough.
    pub(super) async fn hear_report(&self, channel: &str, id: InboundId, heard: Heard) -> Result<(), Failure> {
        if let Err(why) = check(&heard) {
            tracing::warn!(channel, why, "a channel reported what cannot be");
            return Ok(());
        }
        let mut body = serde_json::to_value(&heard).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        if !heard.files.is_empty() {
            // Nothing is brought for who is not heard.
            let router = Arc::new(self.router(&heard, &body, false));
            let foreseen = self.store().foresee(hearing(channel, &id, &heard, body.clone()), router).await.map_err(|e| e.failure())?;
            if matches!(foreseen, Some(Route::Wired(verdicts)) if verdicts.contains(&Verdict::Engage)) {
                body["got"] = self.bring_files(channel, &id, &heard.files).await;
            }
        }
        match self.hear_body(channel, &id, &heard, body, false).await {
            Ok(out) => {
                if !out.fresh {
                    self.forget_inbox_files(&id);
                }
                self.act_on(channel, out).await;
                Ok(())
            }
            Err(failure) if failure.code == Code::Usage => {
                tracing::warn!(channel, %failure, "a channel reported what cannot be kept");
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    /// Routes a message again that was held.
    pub(super) async fn hear_held(&self, row: &InboundRow) -> Result<(), Failure> {
        let heard: Heard = serde_json::from_value(without_got(&row.body))
            .map_err(|e| Failure::new(Code::StoreUnusable, format!("message {} cannot be read: {e}", row.id)))?;
        let mut body = row.body.clone();
        if !heard.files.is_empty() && body.get("got").is_none() {
            body["got"] = self.bring_files(&row.channel, &row.id, &heard.files).await;
        }
        let out = self.hear_body(&row.channel, &row.id, &heard, body, true).await?;
        model::crash::point("channel:replayed");
        self.act_on(&row.channel, out).await;
        Ok(())
    }

    async fn hear_body(&self, channel: &str, id: &InboundId, heard: &Heard, body: Value, is_again: bool) -> Result<HeardOut, Failure> {
        for _ in 0..TRIES_MAX {
            let router = Arc::new(self.router(heard, &body, is_again));
            let hearing = hearing(channel, id, heard, body.clone());
            let out = match is_again {
                false => self.store().hear(hearing, router).await,
                true => self.store().hear_again(hearing, router).await,
            };
            let out = out.map_err(|error| match error {
                StoreError::Invalid { .. } => Failure::new(Code::Usage, error.to_string()),
                other => other.failure(),
            })?;
            if out.needs.is_empty() {
                model::crash::point("channel:noted");
                return Ok(out);
            }
            for key in out.needs {
                self.session_for_chat(&key, heard).await?;
            }
        }
        Err(Failure::new(Code::Conflict, "the sessions of a chat came and went"))
    }

    fn router(&self, heard: &Heard, body: &Value, is_again: bool) -> ChatRouter {
        let zone = self.settings().channels.zone.clone();
        ChatRouter { heard: heard.clone(), zone, patterns: Arc::clone(&self.board().patterns), is_again, body: body.clone() }
    }

    /// Makes the session of a conversation in a chat.
    async fn session_for_chat(&self, key: &SessionKey, heard: &Heard) -> Result<SessionId, Failure> {
        let called = if heard.chat.name.is_empty() { &heard.sender.name } else { &heard.chat.name };
        self.session_named(key, called).await
    }

    /// Makes the session of a conversation, unless it has one.
    pub(crate) async fn session_named(&self, key: &SessionKey, called: &str) -> Result<SessionId, Failure> {
        if let Some(there) = self.store().named_session(key.clone()).await.map_err(|e| e.failure())? {
            return Ok(there);
        }
        let caller = Caller { tenant: Some(key.tenant.clone()) };
        let sessions = self.sessions_of(&caller);
        let title: String = called.chars().filter(|c| !c.is_control()).take(store::NAME_CHARS_MAX).collect();
        let labels = std::collections::BTreeMap::from([(LABEL.to_owned(), key.chat.clone())]);
        let form = SessionForm { agent: Some(key.agent.clone()), title: Some(title), labels, ..SessionForm::default() };
        let made = match self.nameless_session(key).await? {
            Some(there) => there,
            None => sessions.create(form, Vec::new()).await?.id,
        };
        model::crash::point("channel:session-made");
        let named = self.store().name_session(key.clone(), &made).await.map_err(|e| e.failure())?;
        if named != made {
            sessions.remove(made.as_str()).await?;
        }
        Ok(named)
    }

    /// The session that an earlier daemon made for a conversation and did not come to name.
    async fn nameless_session(&self, key: &SessionKey) -> Result<Option<SessionId>, Failure> {
        let filter = SessionFilter {
            tenant: Some(key.tenant.clone()),
            agent: Some(key.agent.clone()),
            label: Some((LABEL.to_owned(), key.chat.clone())),
            archived: Some(false),
            ..SessionFilter::default()
        };
        let store = self.store();
        let page = store.list_sessions(&filter, None, NAMELESS_MAX).await.map_err(|e| e.failure())?;
        for row in page.items {
            // One that was forked from a conversation has its past, and is for somebody else to go on with.
            if row.parent.is_some() {
                continue;
            }
            let is_named = !store.keys_of(&row.id).await.map_err(|e| e.failure())?.is_empty();
            if !is_named && store.turns(&row.id, 0, 1).await.map_err(|e| e.failure())?.is_empty() {
                return Ok(Some(row.id));
            }
        }
        Ok(None)
    }

    /// Makes work of what was noted. Everything here is found again by the next daemon when this one dies.
    async fn act_on(&self, channel: &str, out: HeardOut) {
        for (turn, session) in &out.turns {
            match self.bring(session, None, None).await {
                Ok(live) => live.wake.notify_one(),
                Err(failure) => tracing::warn!(%session, %failure, "a session of a chat cannot be worked on"),
            }
            self.show_typing(turn, session);
        }
        if let Some(admission) = out.admission {
            // By itself: a network may take its time to find a direct chat, and what others said meanwhile is to be acknowledged.
            let app = self.clone();
            self.spawn(async move { app.tell_of_admission(&admission).await });
        }
        if out.is_open {
            self.go_on_hosting(channel);
        }
        if out.owes {
            self.wake_channel(channel);
        }
    }
}

fn hearing(channel: &str, id: &InboundId, heard: &Heard, body: Value) -> Hearing {
    Hearing {
        id: id.clone(),
        channel: channel.to_owned(),
        fresh_chat: ChatId::from_bits(crate::clock::fresh_bits()),
        chat: heard.chat.id.clone(),
        chat_name: heard.chat.name.clone(),
        is_group: heard.chat.group,
        thread: heard.thread.clone(),
        message: heard.id.clone(),
        kind: serde_json::to_value(heard.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default(),
        sender: heard.sender.id.clone(),
        sender_name: heard.sender.name.clone(),
        code: code_of(&heard.text).map(|code| code_hash(&code)),
        body,
        now: now(),
    }
}

/// The body as it was reported.
fn without_got(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("got");
    }
    body
}

/// What no message can be.
fn check(heard: &Heard) -> Result<(), &'static str> {
    let texts = [Some(&heard.text), heard.quoted.as_ref().map(|quoted| &quoted.text), heard.thread.as_ref(), heard.about.as_ref()];
    if texts.into_iter().flatten().any(|text| text.len() > CHAT_TEXT_BYTES_MAX || text.contains('\0')) {
        return Err("a text is too long or holds a NUL");
    }
    if [&heard.chat.name, &heard.sender.name].into_iter().any(|name| name.len() > NAME_BYTES_MAX || name.contains('\0')) {
        return Err("a name is too long or holds a NUL");
    }
    if heard.files.len() > FILES_MAX {
        return Err("it has too many files");
    }
    Ok(())
}

/// Bytes of a name.
const NAME_BYTES_MAX: usize = 4096;
/// Files of one message.
const FILES_MAX: usize = 32;
