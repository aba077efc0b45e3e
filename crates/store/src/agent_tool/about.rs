//! What is known of a turn beside its prompt: for whom it acts, where its answer goes, and what decides whether it is worth an engine.

use model::{Outcome, ResultEvent, SessionId, Timestamp, TurnId, UserId, escaped};

use crate::asker::put_asker;
use crate::chat::{SessionKey, session_of};
use crate::db::{Connection, OptionalExtension, Row, params};
use crate::error::Doing;
use crate::route::{AskerRow, asker_row};
use crate::row::{int, maybe_parsed, parsed};
use crate::turn::{Accepted, NewTurn, TurnRow, accept, check_new};
use crate::webhook::cut;
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Places that the answer of one turn goes to.
pub const ABOUT_PLACES_MAX: usize = 8;
/// Bytes of a script that decides whether a turn needs its engine.
pub const GATE_BYTES_MAX: usize = 64 << 10;
/// Bytes of an answer that one agent gives another.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Bytes of what is kept of what a gate said.
const SAID_BYTES_MAX: usize = 500;

/// For whom a turn acts, and where that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Who, when they are known.
    pub user: Option<UserId>,
    /// The account.
    pub channel: String,
    /// The platform's id of the chat.
    pub chat: String,
    /// The platform's id of the thread.
    pub thread: Option<String>,
    /// Their handle.
    pub handle: String,
    /// The agents that passed it on, the first first.
    pub via: Vec<String>,
}

impl Origin {
    /// The origin of a turn that such a row is of.
    #[must_use]
    pub fn of(row: AskerRow) -> Self {
        let AskerRow { user, channel, chat, thread, handle, via, .. } = row;
        Self { user, channel, chat, thread, handle, via }
    }

    fn row(&self, turn: &TurnId) -> AskerRow {
        let Self { user, channel, chat, thread, handle, via } = self.clone();
        AskerRow { turn: turn.clone(), user, channel, chat, thread, handle, message: None, inbound: None, via }
    }
}

/// A place on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutPlace {
    /// The account.
    pub channel: String,
    /// The platform's id of the chat.
    pub chat: String,
    /// The platform's id of the thread.
    pub thread: Option<String>,
}

/// That a turn was asked by another agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// How often it was passed on since somebody who is no agent spoke.
    pub hops: u32,
    /// Which agent asked, in which session and turn. The answer goes back there.
    pub from: Option<(String, SessionId, TurnId)>,
}

/// What decides whether a turn needs its engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// The script.
    pub script: String,
    /// What it said, when it was asked.
    pub verdict: Option<GateVerdict>,
}

/// What a gate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateVerdict {
    /// The engine is not needed, and why.
    Shut(String),
    /// It is, and is told this with the prompt.
    Open(String),
}

/// What is kept with a turn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TurnAbout {
    /// For whom it acts.
    pub origin: Option<Origin>,
    /// Where its answer goes; where it was asked when there are none.
    pub places: Vec<OutPlace>,
    /// What decides whether it needs its engine.
    pub gate: Option<String>,
    /// Which agent asked.
    pub mail: Option<Mail>,
}

impl Store {
    /// Accepts a turn together with what is known of it; one that the same key made before stays as it is.
    ///
    /// # Errors
    /// Those of [`Store::accept_turn`]; [`StoreError::Invalid`] for a gate or places out of bounds.
    pub async fn accept_turn_of(&self, new: NewTurn, about: TurnAbout) -> Result<Accepted, StoreError> {
        let spec = check_new(&new)?;
        if about.gate.as_ref().is_some_and(|gate| gate.len() > GATE_BYTES_MAX) {
            return Err(StoreError::invalid("gate", format!("has more than {GATE_BYTES_MAX} bytes")));
        }
        if about.places.len() > ABOUT_PLACES_MAX {
            return Err(StoreError::invalid("to", format!("has more than {ABOUT_PLACES_MAX} places")));
        }
        let bytes = new.prompt.len() + spec.len();
        self.write(Kind::TurnAcceptOf, bytes, move |conn| {
            let accepted = accept(conn, &new, &spec)?;
            if accepted.fresh {
                keep(conn, &accepted.turn, &about)?;
            }
            Ok(accepted)
        })
        .await
    }

    /// The session of a conversation that takes turns, if it has one.
    ///
    /// # Errors
    /// What the database said.
    pub async fn named_session(&self, key: SessionKey) -> Result<Option<SessionId>, StoreError> {
        self.read(move |conn| session_of(conn, &key)).await
    }

    /// What decides whether a turn needs its engine, and what that said.
    ///
    /// # Errors
    /// What the database said.
    pub async fn gate_of(&self, turn: &TurnId) -> Result<Option<Gate>, StoreError> {
        let turn = turn.clone();
        self.read(move |conn| {
            let mut statement = conn.prepare_cached("SELECT * FROM turn_gates WHERE turn = ?1").doing("read a gate")?;
            let read = |r: &Row<'_>| {
                let (said, told): (Option<String>, Option<String>) = (r.get("said")?, r.get("told")?);
                let verdict = said.map(GateVerdict::Shut).or_else(|| told.map(GateVerdict::Open));
                Ok(Gate { script: r.get("script")?, verdict })
            };
            statement.query_row([turn.as_str()], read).optional().doing("read a gate")
        })
        .await
    }

    /// Keeps what a gate said: it is asked once.
    ///
    /// # Errors
    /// What the database said.
    pub async fn gate_said(&self, turn: &TurnId, verdict: GateVerdict) -> Result<(), StoreError> {
        let turn = turn.clone();
        self.write(Kind::TurnGate, 0, move |conn| {
            let (said, told) = match verdict {
                GateVerdict::Shut(said) => (Some(cut(said, SAID_BYTES_MAX)), None),
                GateVerdict::Open(told) => (None, Some(told)),
            };
            let sql = "UPDATE turn_gates SET said = ?2, told = ?3 WHERE turn = ?1";
            conn.execute(sql, params![turn.as_str(), said, told]).doing("note what a gate said").map(drop)
        })
        .await
    }

    /// That a turn was asked by another agent, if it was.
    ///
    /// # Errors
    /// What the database said.
    pub async fn mail_of(&self, turn: &TurnId) -> Result<Option<Mail>, StoreError> {
        let turn = turn.clone();
        self.read(move |conn| mail(conn, &turn)).await
    }

    /// The turn that the answer of a turn became, when another agent asked it.
    ///
    /// # Errors
    /// What the database said.
    pub async fn reply_of(&self, turn: &TurnId) -> Result<Option<(TurnId, SessionId)>, StoreError> {
        let turn = turn.clone();
        self.read(move |conn| {
            let sql = "SELECT m.reply AS reply, m.session AS session FROM agent_mail m WHERE m.turn = ?1 AND m.reply IS NOT NULL";
            let mut statement = conn.prepare_cached(sql).doing("look for a reply")?;
            let read = |r: &Row<'_>| Ok((parsed(r, "reply")?, parsed(r, "session")?));
            statement.query_row([turn.as_str()], read).optional().doing("look for a reply")
        })
        .await
    }

    /// How many messages the tools of a turn have owed so far.
    ///
    /// # Errors
    /// What the database said.
    pub async fn said_in_turn(&self, turn: &TurnId) -> Result<u64, StoreError> {
        let turn = turn.clone();
        self.read(move |conn| {
            let sql = "SELECT (SELECT count(*) FROM outbox WHERE turn = ?1 AND cause LIKE 'tool:%')
                            + (SELECT count(*) FROM agent_mail WHERE asked = ?1)";
            let mut statement = conn.prepare_cached(sql).doing("count what was said")?;
            statement.query_row([turn.as_str()], |r| r.get(0)).doing("count what was said")
        })
        .await
    }
}

/// Keeps what is known of a turn that was just accepted.
fn keep(conn: &Connection, turn: &TurnId, about: &TurnAbout) -> Result<(), StoreError> {
    let doing = "keep what is known of a turn";
    if let Some(origin) = &about.origin {
        put_asker(conn, turn, &origin.row(turn))?;
    }
    for (n, place) in about.places.iter().enumerate() {
        let sql = "INSERT INTO turn_places (turn, n, channel, chat, thread) VALUES (?1, ?2, ?3, ?4, ?5)";
        let with = params![turn.as_str(), int("n", n as u64)?, place.channel, place.chat, place.thread];
        conn.prepare_cached(sql).and_then(|mut s| s.execute(with)).doing(doing)?;
    }
    if let Some(gate) = &about.gate {
        let sql = "INSERT INTO turn_gates (turn, script) VALUES (?1, ?2)";
        conn.prepare_cached(sql).and_then(|mut s| s.execute(params![turn.as_str(), gate])).doing(doing)?;
    }
    if let Some(mail) = &about.mail {
        let sql = "INSERT INTO agent_mail (turn, hops, agent, session, asked) VALUES (?1, ?2, ?3, ?4, ?5)";
        let (agent, session, asked) = match &mail.from {
            Some((agent, session, asked)) => (Some(agent.as_str()), Some(session.as_str()), Some(asked.as_str())),
            None => (None, None, None),
        };
        let with = params![turn.as_str(), i64::from(mail.hops), agent, session, asked];
        conn.prepare_cached(sql).and_then(|mut s| s.execute(with)).doing(doing)?;
    }
    Ok(())
}

fn mail(conn: &Connection, turn: &TurnId) -> Result<Option<Mail>, StoreError> {
    let doing = "read who asked";
    let mut statement = conn.prepare_cached("SELECT * FROM agent_mail WHERE turn = ?1").doing(doing)?;
    let read = |r: &Row<'_>| {
        let agent: Option<String> = r.get("agent")?;
        let (session, asked) = (maybe_parsed(r, "session")?, maybe_parsed(r, "asked")?);
        let from = agent.zip(session.zip(asked)).map(|(agent, (session, asked))| (agent, session, asked));
        Ok(Mail { hops: r.get("hops")?, from })
    };
    statement.query_row([turn.as_str()], read).optional().doing(doing)
}

fn origin(conn: &Connection, turn: &TurnId) -> Result<Option<Origin>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT * FROM askers WHERE turn = ?1").doing("read who asked")?;
    let row = statement.query_row([turn.as_str()], asker_row).optional().doing("read who asked")?;
    Ok(row.map(Origin::of))
}

/// What the gate of a turn said, when it said no.
pub(crate) fn said(conn: &Connection, turn: &TurnId) -> Result<Option<String>, StoreError> {
    let doing = "read what a gate said";
    let mut statement = conn.prepare_cached("SELECT said FROM turn_gates WHERE turn = ?1").doing(doing)?;
    let said: Option<Option<String>> = statement.query_row([turn.as_str()], |r| r.get(0)).optional().doing(doing)?;
    Ok(said.flatten())
}

/// Where the answer of a turn goes, when not to where it was asked.
pub(crate) fn places_of(conn: &Connection, turn: &TurnId) -> Result<Vec<OutPlace>, StoreError> {
    let doing = "find where an answer goes";
    let mut statement = conn.prepare_cached("SELECT channel, chat, thread FROM turn_places WHERE turn = ?1 ORDER BY n").doing(doing)?;
    let read = |r: &Row<'_>| Ok(OutPlace { channel: r.get("channel")?, chat: r.get("chat")?, thread: r.get("thread")? });
    let rows = statement.query_map([turn.as_str()], read).doing(doing)?;
    rows.collect::<crate::db::Result<_>>().doing(doing)
}

/// The end of a turn that another agent asked becomes a turn of that agent's. Says whether it was one.
pub(crate) fn reply(conn: &Connection, turn: &TurnRow, result: &ResultEvent, now: Timestamp) -> Result<bool, StoreError> {
    let Some(Mail { hops, from: Some((_, session, asked)) }) = mail(conn, &turn.id)? else { return Ok(false) };
    let doing = "reply to an agent";
    let agent: String = conn.query_row("SELECT agent FROM sessions WHERE id = ?1", [turn.session.as_str()], |r| r.get(0)).doing(doing)?;
    let (how, text) = match result.status {
        Outcome::Completed => ("", result.text.clone()),
        Outcome::Cancelled => (" failed=\"CANCELLED\"", String::new()),
        Outcome::Failed | Outcome::Timeout => (" failed=\"FAILED\"", result.text.clone()),
    };
    let said = escaped(&cut(text, ANSWER_BYTES_MAX));
    let prompt = format!("<reply agent=\"{}\"{how}>\n{said}\n</reply>\n", escaped(&agent));
    let id = TurnId::from_bits(crate::outbox::bits_of(&format!("reply:{}", turn.id), now));
    let new = NewTurn { key: Some(format!("reply:{}", turn.id)), ..NewTurn::new(id, session, prompt, now) };
    let spec = check_new(&new)?;
    let accepted = match accept(conn, &new, &spec) {
        Ok(accepted) => accepted,
        Err(error) if error.is_grave() => return Err(error),
        // The session is gone, archived or full: nobody hears the answer, which stands in the log of this one.
        Err(_) => return Ok(true),
    };
    if accepted.fresh {
        // It goes on for the same person, and its own answer goes where that of the asking turn would have gone.
        let before = mail(conn, &asked)?;
        let about = TurnAbout {
            origin: origin(conn, &asked)?,
            places: places_of(conn, &asked)?,
            gate: None,
            mail: Some(Mail { hops: hops.saturating_add(1), from: before.and_then(|mail| mail.from) }),
        };
        keep(conn, &accepted.turn, &about)?;
    }
    let sql = "UPDATE agent_mail SET reply = ?2 WHERE turn = ?1";
    conn.prepare_cached(sql).and_then(|mut s| s.execute(params![turn.id.as_str(), accepted.turn.as_str()])).doing(doing)?;
    Ok(true)
}
