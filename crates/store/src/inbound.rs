//! What is heard on chat networks: noted once, routed and turned into work in one transaction.

use model::{AdmissionId, ChatId, InboundId, SessionId, Timestamp, TurnId, WiringId};
use serde_json::Value;

use crate::channel::ChannelRow;
use crate::chat::{ChatRow, PLATFORM_ID_BYTES_MAX, SessionKey, WiringRow, make, named, session_of, wirings_of};
use crate::db::{Connection, OptionalExtension, Row, params};
use crate::error::Doing;
use crate::outbox::{NewOut, owe, tell_dead};
use crate::people::{AdmissionRow, FIRST_POLICY, Redeemer, ask_in, guessed, guesses, is_pairing, pairing, person, redeem};
use crate::route::{
    AskedHere, AskerRow, HeardOut, Hearing, InboundRow, KeptMessage, Reply, Route, RouteView, RoutedRow, Router, Verdict, WiringView,
    asker_row, from_row, routed_row,
};
use crate::row::{int, json, parsed, to_json};
use crate::session::NAME_CHARS_MAX;
use crate::turn::{NewTurn, accept};
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Bytes of what is kept of a message, as JSON.
pub const INBOUND_BYTES_MAX: usize = 1 << 20;
/// Messages that are told as context to one turn.
pub const CONTEXT_MAX: usize = 50;
/// Turns of one session that may wait when they come from chats.
pub const CHAT_QUEUE_MAX: u64 = 50;
/// Over which time the turns of a chat are counted, in milliseconds.
pub const RATE_WINDOW_MS: u64 = 60_000;

impl Store {
    /// Hears a report: notes it, routes it and makes its turns, in one transaction; a report that came before changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the account, [`StoreError::Invalid`] for what is out of bounds.
    pub async fn hear<R: Router>(&self, hearing: Hearing, router: std::sync::Arc<R>) -> Result<HeardOut, StoreError> {
        for (field, text) in [("chat", &hearing.chat), ("message", &hearing.message), ("sender", &hearing.sender)] {
            if text.is_empty() || text.len() > PLATFORM_ID_BYTES_MAX || text.contains('\0') {
                return Err(StoreError::invalid(field, format!("has not 1 to {PLATFORM_ID_BYTES_MAX} bytes")));
            }
        }
        let body = to_json("body", &hearing.body)?;
        if body.len() > INBOUND_BYTES_MAX {
            return Err(StoreError::invalid("body", format!("has more than {INBOUND_BYTES_MAX} bytes")));
        }
        let bytes = body.len();
        self.write(Kind::InboundHear, bytes, move |conn| hear(conn, &hearing, &body, &*router, None)).await
    }

    /// What would become of a report, without noting anything: whether it is new, and the route.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the account.
    pub async fn foresee<R: Router>(&self, hearing: Hearing, router: std::sync::Arc<R>) -> Result<Option<Route>, StoreError> {
        self.read(move |conn| {
            if known(conn, &hearing)?.is_some() {
                return Ok(None);
            }
            let view = view(conn, &hearing)?;
            Ok(Some(router.route(&view)))
        })
        .await
    }

    /// Routes a message again that was held and may pass now. Once: afterwards it is held no more.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] when it is not held.
    pub async fn hear_again<R: Router>(&self, hearing: Hearing, router: std::sync::Arc<R>) -> Result<HeardOut, StoreError> {
        let body = to_json("body", &hearing.body)?;
        self.write(Kind::InboundHear, body.len(), move |conn| {
            let row = read(conn, &hearing.id)?.ok_or_else(|| missing(hearing.id.as_str()))?;
            if row.outcome != "held" {
                return Err(StoreError::Conflict(format!("message `{}` is not held", row.id)));
            }
            hear(conn, &hearing, &body, &*router, Some(&row))
        })
        .await
    }

    /// One message.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn inbound(&self, id: &InboundId) -> Result<InboundRow, StoreError> {
        let id = id.clone();
        self.read(move |conn| read(conn, &id)?.ok_or_else(|| missing(id.as_str()))).await
    }

    /// The last message of a platform's id, in a tenant or any.
    ///
    /// # Errors
    /// What the database said.
    pub async fn inbound_named(&self, tenant: Option<String>, message: &str) -> Result<Option<InboundRow>, StoreError> {
        let message = message.to_owned();
        self.read(move |conn| {
            let sql = "SELECT i.* FROM inbound i JOIN channels n ON n.name = i.channel
                       WHERE i.message = ?2 AND (?1 IS NULL OR n.tenant = ?1) ORDER BY i.id DESC LIMIT 1";
            conn.query_row(sql, params![tenant, message], from_row).optional().doing("read a message")
        })
        .await
    }

    /// The last messages of a chat, the youngest first.
    ///
    /// # Errors
    /// What the database said.
    pub async fn last_heard(&self, channel: &str, chat: &str, limit: usize) -> Result<Vec<InboundRow>, StoreError> {
        let (channel, chat) = (channel.to_owned(), chat.to_owned());
        self.read(move |conn| {
            let sql = "SELECT * FROM inbound WHERE channel = ?1 AND chat = ?2 ORDER BY heard_ms DESC, id DESC LIMIT ?3";
            let mut statement = conn.prepare_cached(sql).doing("read messages")?;
            let with = params![channel, chat, int("limit", limit as u64)?];
            let rows = statement.query_map(with, from_row).doing("read messages")?;
            rows.collect::<crate::db::Result<_>>().doing("read messages")
        })
        .await
    }

    /// What the wirings made of a message.
    ///
    /// # Errors
    /// What the database said.
    pub async fn routed(&self, id: &InboundId) -> Result<Vec<RoutedRow>, StoreError> {
        let id = id.clone();
        self.read(move |conn| {
            let mut statement = conn.prepare_cached("SELECT * FROM routed WHERE inbound = ?1 ORDER BY agent").doing("read a route")?;
            let rows = statement.query_map([id.as_str()], routed_row).doing("read a route")?;
            rows.collect::<crate::db::Result<_>>().doing("read a route")
        })
        .await
    }

    /// Who asked a turn; `None` for one that no chat asked.
    ///
    /// # Errors
    /// What the database said.
    pub async fn asker(&self, turn: &TurnId) -> Result<Option<AskerRow>, StoreError> {
        let turn = turn.clone();
        self.read(move |conn| {
            let mut statement = conn.prepare_cached("SELECT * FROM askers WHERE turn = ?1").doing("read who asked")?;
            statement.query_row([turn.as_str()], asker_row).optional().doing("read who asked")
        })
        .await
    }

    /// Messages for which the host still has something to do, the oldest first.
    ///
    /// # Errors
    /// What the database said.
    pub async fn open_inbound(&self, channel: &str) -> Result<Vec<InboundRow>, StoreError> {
        let channel = channel.to_owned();
        self.read(move |conn| {
            let sql = "SELECT * FROM inbound WHERE is_open = 1 AND channel = ?1 ORDER BY id LIMIT 1000";
            let mut statement = conn.prepare_cached(sql).doing("read open messages")?;
            let rows = statement.query_map([channel], from_row).doing("read open messages")?;
            rows.collect::<crate::db::Result<_>>().doing("read open messages")
        })
        .await
    }

    /// Notes that the host did its part for a message, and owes what it says about it, together.
    ///
    /// # Errors
    /// What [`Store::send`] says.
    pub async fn close_inbound(&self, id: &InboundId, outs: Vec<NewOut>, now: Timestamp) -> Result<(), StoreError> {
        let id = id.clone();
        self.write(Kind::InboundClose, 0, move |conn| {
            let sql = "UPDATE inbound SET is_open = 0 WHERE id = ?1 AND is_open = 1";
            if conn.execute(sql, [id.as_str()]).doing("close a message")? > 0 {
                for out in &outs {
                    owe(conn, out, now)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Notes what the host must know to do its part once.
    ///
    /// # Errors
    /// What the database said.
    pub async fn note_inbound(&self, id: &InboundId, note: Value) -> Result<(), StoreError> {
        let id = id.clone();
        self.write(Kind::InboundClose, 0, move |conn| {
            let sql = "UPDATE inbound SET note = ?2 WHERE id = ?1 AND is_open = 1";
            conn.execute(sql, params![id.as_str(), to_json("note", &note)?]).doing("note what is to be done").map(drop)
        })
        .await
    }

    /// Opens what a chat said last while nobody heard it, so that it is routed once: its last message within `since`.
    ///
    /// # Errors
    /// What the database said.
    pub async fn open_held(&self, chat: &ChatId, since: Timestamp) -> Result<Option<InboundId>, StoreError> {
        let chat = chat.clone();
        self.write(Kind::InboundClose, 0, move |conn| {
            let doing = "open what is held";
            let sql = "SELECT i.id AS id FROM inbound i JOIN chats c ON c.channel = i.channel AND c.chat = i.chat
                       WHERE c.id = ?1 AND i.outcome = 'held' AND i.gate = 'wiring' AND i.heard_ms >= ?2 ORDER BY i.id DESC LIMIT 1";
            let with = params![chat.as_str(), int("since", since.0)?];
            let id: Option<InboundId> = conn.query_row(sql, with, |r| parsed(r, "id")).optional().doing(doing)?;
            if let Some(id) = &id {
                conn.execute("UPDATE inbound SET is_open = 1 WHERE id = ?1", [id.as_str()]).doing(doing)?;
            }
            Ok(id)
        })
        .await
    }
}

fn known(conn: &Connection, hearing: &Hearing) -> Result<Option<InboundId>, StoreError> {
    let sql = "SELECT id FROM inbound WHERE channel = ?1 AND chat = ?2 AND message = ?3 AND kind = ?4";
    let mut statement = conn.prepare_cached(sql).doing("look for a message")?;
    let with = params![hearing.channel, hearing.chat, hearing.message, hearing.kind];
    statement.query_row(with, |r| parsed(r, "id")).optional().doing("look for a message")
}

fn view(conn: &Connection, hearing: &Hearing) -> Result<RouteView, StoreError> {
    let doing = "look at a chat";
    let channel = crate::channel::read(conn, &hearing.channel)?.ok_or_else(|| crate::channel::missing(&hearing.channel))?;
    let chat = named(conn, &hearing.channel, &hearing.chat)?;
    let rows = chat.as_ref().map(|chat| wirings_of(conn, &chat.id)).transpose()?.unwrap_or_default();
    let threads = channel.abilities.as_ref().is_some_and(|a| a["threads"].as_bool().unwrap_or(false)) && hearing.is_group;
    let mut wirings = Vec::with_capacity(rows.len());
    for row in rows {
        let key = key_of(&channel, &row, hearing.thread.as_deref(), threads);
        let session = session_of(conn, &key)?;
        let sql = "SELECT body FROM agents WHERE name = ?1";
        let mut statement = conn.prepare_cached(sql).doing(doing)?;
        let body: Option<Value> = statement.query_row([&row.agent], |r| json(r, "body")).optional().doing(doing)?;
        let trigger = body.and_then(|b| b["trigger"].as_str().map(str::to_owned)).filter(|word| !word.is_empty());
        wirings.push(WiringView { row, trigger, key, session });
    }
    let person = person(conn, &channel.tenant, &hearing.channel, &hearing.sender)?;
    let sql = "SELECT count(*) FROM inbound WHERE channel = ?1 AND chat = ?2 AND heard_ms > ?3 AND outcome = 'turn'";
    let since = int("since", hearing.now.0.saturating_sub(RATE_WINDOW_MS))?;
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let recent = statement.query_row(params![hearing.channel, hearing.chat, since], |r| r.get(0)).doing(doing)?;
    let code = match &hearing.code {
        Some(hash) => pairing(conn, &channel, hash, hearing.now)?,
        None => None,
    };
    let looks = hearing.code.is_some();
    Ok(RouteView {
        is_pairing: looks && is_pairing(conn, &channel, hearing.now)?,
        guesses: if looks { guesses(conn, &hearing.channel, &hearing.sender, hearing.now)? } else { 0 },
        question: question_here(conn, hearing)?,
        channel,
        chat,
        wirings,
        person,
        recent,
        pairing: code,
    })
}

/// The conversation that a message belongs to. Direct chats are one; groups of a network with threads are one for each thread.
fn key_of(channel: &ChannelRow, row: &WiringRow, thread: Option<&str>, threads: bool) -> SessionKey {
    let (chat, thread) = match row.mode {
        model::SessionMode::Agent => ("", ""),
        model::SessionMode::Shared if !threads => (row.chat.as_str(), ""),
        model::SessionMode::Thread if !threads => (row.chat.as_str(), ""),
        model::SessionMode::Shared | model::SessionMode::Thread => (row.chat.as_str(), thread.unwrap_or("")),
    };
    SessionKey { tenant: channel.tenant.clone(), agent: row.agent.clone(), chat: chat.to_owned(), thread: thread.to_owned() }
}

fn question_here(conn: &Connection, hearing: &Hearing) -> Result<Option<AskedHere>, StoreError> {
    let sql = "SELECT q.id AS id, q.options AS options, a.handle AS handle FROM questions q JOIN askers a ON a.turn = q.turn
               WHERE q.status = 'open' AND a.channel = ?1 AND a.chat = ?2 AND a.thread IS ?3 AND a.handle = ?4
               ORDER BY q.asked_ms, q.id LIMIT 1";
    let mut statement = conn.prepare_cached(sql).doing("look for a question")?;
    let with = params![hearing.channel, hearing.chat, hearing.thread, hearing.sender];
    let read = |r: &Row<'_>| Ok(AskedHere { id: parsed(r, "id")?, options: json(r, "options")?, handle: r.get("handle")? });
    statement.query_row(with, read).optional().doing("look for a question")
}

fn hear<R: Router>(
    conn: &Connection,
    hearing: &Hearing,
    body: &str,
    router: &R,
    held: Option<&InboundRow>,
) -> Result<HeardOut, StoreError> {
    if held.is_none()
        && let Some(id) = known(conn, hearing)?
    {
        return Ok(HeardOut { id: Some(id), ..HeardOut::default() });
    }
    let mut view = view(conn, hearing)?;
    let route = router.route(&view);
    if let Route::Wired(verdicts) = &route {
        let engaged = view.wirings.iter().zip(verdicts).filter(|(_, verdict)| **verdict == Verdict::Engage);
        let needs: Vec<SessionKey> = engaged.filter(|(wiring, _)| wiring.session.is_none()).map(|(wiring, _)| wiring.key.clone()).collect();
        if !needs.is_empty() {
            return Ok(HeardOut { needs, ..HeardOut::default() });
        }
    }
    let notes = !matches!(route, Route::Drop { notes: false, .. }) && !matches!(route, Route::WrongCode);
    if notes || view.chat.is_some() {
        let chat = ChatRow {
            id: hearing.fresh_chat.clone(),
            channel: hearing.channel.clone(),
            chat: hearing.chat.clone(),
            name: hearing.chat_name.clone(),
            is_group: hearing.is_group,
            policy: FIRST_POLICY,
            denied: None,
            created: hearing.now,
            heard: hearing.now,
        };
        view.chat = Some(make(conn, &chat)?);
    }
    note(conn, hearing, body, &route, held)?;
    let mut out = HeardOut { id: Some(hearing.id.clone()), fresh: true, ..HeardOut::default() };
    let mut writing = Writing { conn, hearing, router, view: &view, out: &mut out };
    match route {
        Route::Drop { .. } => {}
        Route::WrongCode => guessed(conn, &hearing.channel, &hearing.sender, hearing.now)?,
        Route::Pair => writing.pair()?,
        Route::Host { .. } => writing.out.is_open = true,
        Route::Edit { of } => writing.edit(&of)?,
        Route::Wired(verdicts) => writing.wire(&verdicts)?,
    }
    Ok(out)
}

/// Notes a message with what became of it. What several wirings made of it is told by the farthest that it came.
fn note(conn: &Connection, hearing: &Hearing, body: &str, route: &Route, held: Option<&InboundRow>) -> Result<(), StoreError> {
    let doing = "note a message";
    let mut open = 0;
    let mut host = None;
    let (outcome, gate, reason): (&str, Option<&str>, Option<String>) = match route {
        Route::Drop { gate: "wiring", reason, notes: true } => ("held", Some("wiring"), Some(reason.clone())),
        Route::Drop { gate, reason, .. } => ("dropped", Some(gate), Some(reason.clone())),
        Route::WrongCode => ("dropped", Some("pairing"), Some("this is no code that can be used".to_owned())),
        Route::Pair => ("paired", None, None),
        Route::Host { outcome, note } => {
            open = 1;
            host = Some(to_json("note", note)?);
            (outcome, None, None)
        }
        Route::Edit { .. } => ("dropped", Some("edit"), Some("the message is already being worked on, or was not heard".to_owned())),
        Route::Wired(verdicts) => {
            let dropped = verdicts.iter().find_map(|v| match v {
                Verdict::Drop { gate, reason } => Some((*gate, reason.clone())),
                _ => None,
            });
            let hold = verdicts.iter().find_map(|v| if let Verdict::Hold { reason } = v { Some(reason.clone()) } else { None });
            if verdicts.contains(&Verdict::Engage) {
                ("turn", None, None)
            } else if let Some(reason) = hold {
                ("held", Some("access"), Some(reason))
            } else if verdicts.contains(&Verdict::Keep) {
                ("kept", Some("engage"), Some("told together with the next message that engages".to_owned()))
            } else {
                let (gate, reason) = dropped.unwrap_or_else(|| ("engage", "no wiring engages".to_owned()));
                ("dropped", Some(gate), Some(reason))
            }
        }
    };
    if held.is_some() {
        let sql = "UPDATE inbound SET outcome = ?2, gate = ?3, reason = ?4, note = ?5, is_open = ?6 WHERE id = ?1";
        conn.execute(sql, params![hearing.id.as_str(), outcome, gate, reason, host, open]).doing(doing)?;
        return conn.execute("DELETE FROM routed WHERE inbound = ?1", [hearing.id.as_str()]).doing(doing).map(drop);
    }
    let sql =
        "INSERT INTO inbound (id, channel, chat, message, kind, thread, sender, sender_name, body, outcome, gate, reason, note, is_open,
                 heard_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
    let name: String = hearing.sender_name.chars().take(NAME_CHARS_MAX).collect();
    let with = params![
        hearing.id.as_str(),
        hearing.channel,
        hearing.chat,
        hearing.message,
        hearing.kind,
        hearing.thread,
        hearing.sender,
        name,
        body,
        outcome,
        gate,
        reason,
        host,
        open,
        int("now", hearing.now.0)?
    ];
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    statement.execute(with).doing(doing).map(drop)
}

/// Carries a route out.
struct Writing<'a, R> {
    conn: &'a Connection,
    hearing: &'a Hearing,
    router: &'a R,
    view: &'a RouteView,
    out: &'a mut HeardOut,
}

impl<R: Router> Writing<'_, R> {
    fn wire(&mut self, verdicts: &[Verdict]) -> Result<(), StoreError> {
        for (wiring, verdict) in self.view.wirings.iter().zip(verdicts) {
            let kept = format!("{}/{}", wiring.row.id, wiring.key.thread);
            match verdict {
                Verdict::Engage => self.engage(wiring, &kept)?,
                Verdict::Keep => self.routed(wiring, "kept", Some("engage"), None, Some(&kept), None)?,
                Verdict::Hold { reason } => self.hold(wiring, reason)?,
                Verdict::Drop { gate, reason } => self.routed(wiring, "dropped", Some(gate), Some(reason), None, None)?,
            }
        }
        Ok(())
    }

    fn engage(&mut self, wiring: &WiringView, kept: &str) -> Result<(), StoreError> {
        let Some(session) = wiring.session.clone() else { return Ok(()) };
        let (conn, hearing) = (self.conn, self.hearing);
        let doing = "ask a turn";
        let sql = "SELECT count(*) FROM turns WHERE session = ?1 AND state IN ('queued', 'leased', 'running', 'waiting')";
        let open: u64 = conn.prepare_cached(sql).and_then(|mut s| s.query_row([session.as_str()], |r| r.get(0))).doing(doing)?;
        if open >= CHAT_QUEUE_MAX {
            self.say(Reply::Busy, "busy")?;
            return self.fail(wiring, "busy", &format!("{open} messages wait in this conversation"));
        }
        if let Err(error) = crate::quota::hold(conn, &self.view.channel.tenant, crate::Claim::Turn, hearing.now) {
            if error.is_grave() {
                return Err(error);
            }
            self.say(Reply::Quota, "quota")?;
            return self.fail(wiring, "quota", &error.to_string());
        }
        let turn = TurnId::from_bits(self.router.fresh_bits());
        let before = self.before(kept, &turn)?;
        let dead = tell_dead(conn, &session)?;
        let prompt = self.router.prompt(self.view, &hearing.id, &before, &dead);
        let asker = AskerRow {
            turn: turn.clone(),
            user: self.view.person.as_ref().map(|person| person.user.clone()),
            channel: hearing.channel.clone(),
            chat: hearing.chat.clone(),
            thread: hearing.thread.clone(),
            handle: hearing.sender.clone(),
            message: Some(hearing.message.clone()),
            inbound: Some(hearing.id.clone()),
            via: Vec::new(),
        };
        let new = NewTurn { asker: Some(Box::new(asker)), ..NewTurn::new(turn, session.clone(), prompt, hearing.now) };
        let accepted = accept(conn, &new, "{}")?;
        self.routed(wiring, "turn", None, None, None, Some((&session, &accepted.turn)))?;
        self.out.turns.push((accepted.turn, session));
        Ok(())
    }

    /// What was said before and is told with this turn; it is told once.
    fn before(&self, kept: &str, turn: &TurnId) -> Result<Vec<KeptMessage>, StoreError> {
        let doing = "gather what was said";
        let sql = "SELECT i.id AS id, i.body AS body FROM routed r JOIN inbound i ON i.id = r.inbound
                   WHERE r.kept = ?1 ORDER BY r.inbound DESC LIMIT ?2";
        let mut statement = self.conn.prepare_cached(sql).doing(doing)?;
        let read = |r: &Row<'_>| Ok(KeptMessage { id: parsed(r, "id")?, body: json(r, "body")? });
        let rows = statement.query_map(params![kept, int("limit", CONTEXT_MAX as u64)?], read).doing(doing)?;
        let mut found = rows.collect::<crate::db::Result<Vec<_>>>().doing(doing)?;
        found.reverse();
        let sql = "UPDATE routed SET kept = NULL, turn = ?2 WHERE kept = ?1";
        self.conn.prepare_cached(sql).and_then(|mut s| s.execute(params![kept, turn.as_str()])).doing(doing)?;
        Ok(found)
    }

    fn fail(&mut self, wiring: &WiringView, gate: &'static str, reason: &str) -> Result<(), StoreError> {
        self.routed(wiring, "dropped", Some(gate), Some(reason), None, None)?;
        if self.out.turns.is_empty() {
            let sql = "UPDATE inbound SET outcome = 'dropped', gate = ?2, reason = ?3 WHERE id = ?1";
            self.conn.execute(sql, params![self.hearing.id.as_str(), gate, reason]).doing("note a message")?;
        }
        Ok(())
    }

    fn hold(&mut self, wiring: &WiringView, reason: &str) -> Result<(), StoreError> {
        let hearing = self.hearing;
        self.routed(wiring, "held", Some("access"), Some(reason), None, None)?;
        let id = AdmissionId::from_bits(self.router.fresh_bits());
        let row = AdmissionRow {
            id: id.clone(),
            tenant: self.view.channel.tenant.clone(),
            channel: hearing.channel.clone(),
            chat: wiring.row.chat.clone(),
            chat_name: hearing.chat_name.clone(),
            agent: wiring.row.agent.clone(),
            handle: hearing.sender.clone(),
            name: hearing.sender_name.chars().take(NAME_CHARS_MAX).collect(),
            inbound: hearing.id.clone(),
            state: "pending".to_owned(),
            created: hearing.now,
        };
        if ask_in(self.conn, &row)? {
            self.out.admission = Some(id);
            self.say(Reply::Held, "held")?;
        }
        Ok(())
    }

    fn pair(&mut self) -> Result<(), StoreError> {
        let (Some(code), Some(chat)) = (&self.view.pairing, &self.view.chat) else { return Ok(()) };
        let hearing = self.hearing;
        let who = Redeemer {
            channel: &self.view.channel,
            chat,
            handle: &hearing.sender,
            name: &hearing.sender_name,
            wiring: WiringId::from_bits(self.router.fresh_bits()),
            now: hearing.now,
        };
        redeem(self.conn, code, &who)?;
        self.say(Reply::Paired(code.agent.as_deref()), "paired")
    }

    /// Another text: of a message that is kept, or that waits for its turn to begin. Nobody edits what somebody else said.
    fn edit(&mut self, of: &str) -> Result<(), StoreError> {
        let (conn, hearing) = (self.conn, self.hearing);
        let doing = "edit a message";
        let sql = "SELECT * FROM inbound WHERE channel = ?1 AND chat = ?2 AND message = ?3 AND kind = 'message' AND sender = ?4";
        let old = conn.query_row(sql, params![hearing.channel, hearing.chat, of, hearing.sender], from_row).optional().doing(doing)?;
        let Some(old) = old.filter(|old| matches!(old.outcome.as_str(), "turn" | "kept" | "held")) else { return Ok(()) };
        let mut body = old.body.clone();
        body["text"] = hearing.body["text"].clone();
        let (before, after) = (self.router.element(&old.id, &old.body), self.router.element(&old.id, &body));
        let sql = "SELECT p.turn AS turn, CAST(p.body AS TEXT) AS body FROM askers a JOIN turns t ON t.id = a.turn JOIN prompts p ON p.turn = t.id
                   WHERE a.inbound = ?1 AND t.state = 'queued'";
        let sql =
            if conn.postgres().is_some() { sql.replace("CAST(p.body AS TEXT)", "convert_from(p.body, 'UTF8')") } else { sql.to_owned() };
        let mut statement = conn.prepare_cached(&sql).doing(doing)?;
        let rows = statement.query_map([old.id.as_str()], |r| Ok((r.get("turn")?, r.get("body")?))).doing(doing)?;
        let queued = rows.collect::<crate::db::Result<Vec<(String, String)>>>().doing(doing)?;
        let mut is_taken = old.outcome != "turn";
        for (turn, prompt) in queued {
            let changed = prompt.replacen(&before, &after, 1);
            conn.execute("UPDATE prompts SET body = CAST(?2 AS BLOB) WHERE turn = ?1", params![turn, changed]).doing(doing)?;
            is_taken = true;
        }
        if is_taken {
            conn.execute("UPDATE inbound SET body = ?2 WHERE id = ?1", params![old.id.as_str(), to_json("body", &body)?]).doing(doing)?;
            let sql =
                "UPDATE inbound SET outcome = 'kept', gate = NULL, reason = 'the text of the message before is this now' WHERE id = ?1";
            conn.execute(sql, [hearing.id.as_str()]).doing(doing)?;
        }
        Ok(())
    }

    /// Owes a word to where the message came from.
    fn say(&mut self, about: Reply<'_>, what: &str) -> Result<(), StoreError> {
        let Some(text) = self.router.reply(self.view, about) else { return Ok(()) };
        let hearing = self.hearing;
        let out = NewOut {
            channel: hearing.channel.clone(),
            chat: hearing.chat.clone(),
            thread: hearing.thread.clone(),
            act: serde_json::json!({ "do": "send", "text": text }),
            cause: format!("{what}:{}", hearing.id),
            agent: None,
            session: None,
            turn: None,
        };
        owe(self.conn, &out, hearing.now)?;
        self.out.owes = true;
        Ok(())
    }

    fn routed(
        &self,
        wiring: &WiringView,
        outcome: &str,
        gate: Option<&str>,
        reason: Option<&str>,
        kept: Option<&str>,
        made: Option<(&SessionId, &TurnId)>,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO routed (inbound, agent, outcome, gate, reason, kept, session, turn) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let (session, turn) = (made.map(|(session, _)| session.as_str()), made.map(|(_, turn)| turn.as_str()));
        let with = params![self.hearing.id.as_str(), wiring.row.agent, outcome, gate, reason, kept, session, turn];
        self.conn.prepare_cached(sql).and_then(|mut s| s.execute(with)).doing("note a route").map(drop)
    }
}

fn read(conn: &Connection, id: &InboundId) -> Result<Option<InboundRow>, StoreError> {
    conn.query_row("SELECT * FROM inbound WHERE id = ?1", [id.as_str()], from_row).optional().doing("read a message")
}

fn missing(id: &str) -> StoreError {
    StoreError::NotFound { what: "message", id: id.to_owned() }
}
