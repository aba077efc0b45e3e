//! Sessions that come from another store, with all that happened in them.

use crate::db::Connection;
use model::{Code, EventKind, Outcome, SessionId, Timestamp, TurnId, TurnState};

use crate::error::Doing;
use crate::event::{body, end_as};
use crate::row::int;
use crate::session::{NewSession, Texts, insert_session};
use crate::turn::check_prompt;
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Turns that an imported session may have.
pub const IMPORT_TURNS_MAX: usize = 10_000;
/// Events that an imported session may have.
pub const IMPORT_EVENTS_MAX: usize = 200_000;
/// Bytes of prompts and events, as JSON, that an imported session may have. They are one write.
pub const IMPORT_BYTES_MAX: usize = 128 << 20;
/// The longest name that an engine may give a conversation, in bytes. It becomes an argument of the engine.
const ENGINE_SESSION_BYTES_MAX: usize = 256;

/// A turn that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedTurn {
    /// Its identity here.
    pub id: TurnId,
    /// The turn that it went on from; 0 is the beginning.
    pub parent: u64,
    /// Where it ended.
    pub state: TurnState,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Why, where it failed.
    pub code: Option<Code>,
    /// What was asked.
    pub prompt: String,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// When it was begun, if it was.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// Something that happened in a turn.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedEvent {
    /// The turn's place, from 1.
    pub turn: u64,
    /// When it was logged.
    pub time: Timestamp,
    /// What it was.
    pub kind: EventKind,
}

/// A session that comes from another store.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// What it is made of. It has a tree of its own.
    pub session: NewSession,
    /// What the engine calls the conversation.
    pub engine_session: Option<String>,
    /// The turn whose end is its state.
    pub head: u64,
    /// Its turns by place, from 1.
    pub turns: Vec<ImportedTurn>,
    /// Its log, in order.
    pub events: Vec<ImportedEvent>,
}

impl Store {
    /// Makes a session with its turns and its log, all of it or nothing. It is held to what is true of every session: its
    /// turns are over, go on from earlier ones, and have exactly one result each, the last of their events.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when something breaks these rules or a limit; those of [`Store::create_session`].
    pub async fn import_session(&self, new: Imported) -> Result<(), StoreError> {
        let texts = Texts::of(&new.session)?;
        let bodies = check(&new)?;
        let bytes = bodies.iter().map(String::len).sum::<usize>() + new.turns.iter().map(|t| t.prompt.len()).sum::<usize>();
        if bytes > IMPORT_BYTES_MAX {
            return Err(StoreError::Limit { what: "bytes of an imported session", max: IMPORT_BYTES_MAX as u64 });
        }
        self.write(Kind::SessionImport, texts.bytes() + bytes, move |conn| insert(conn, &new, &texts, &bodies)).await
    }
}

/// Holds the rules, and gives the events as they are stored.
fn check(new: &Imported) -> Result<Vec<String>, StoreError> {
    let invalid = |field, why: String| Err(StoreError::invalid(field, why));
    if new.session.tree.is_none() {
        return invalid("tree", "is missing: an imported session has one of its own".to_owned());
    }
    if new.turns.len() > IMPORT_TURNS_MAX {
        return Err(StoreError::Limit { what: "turns of an imported session", max: IMPORT_TURNS_MAX as u64 });
    }
    if new.events.len() > IMPORT_EVENTS_MAX {
        return Err(StoreError::Limit { what: "events of an imported session", max: IMPORT_EVENTS_MAX as u64 });
    }
    if new.head > new.turns.len() as u64 {
        return invalid("head", format!("is turn {}, which there is not", new.head));
    }
    if let Some(name) = &new.engine_session {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if name.is_empty() || name.len() > ENGINE_SESSION_BYTES_MAX || name.starts_with('-') || !name.chars().all(plain) {
            return invalid("engine_session", "is no name that an engine gives".to_owned());
        }
    }
    for (n, turn) in (1..).zip(&new.turns) {
        check_prompt(&turn.prompt)?;
        if turn.parent >= n {
            return invalid("parent", format!("of turn {n} is not an earlier turn"));
        }
        if !turn.state.is_final() {
            return invalid("state", format!("of turn {n} is not an end"));
        }
    }
    check_results(new)?;
    new.events.iter().map(|event| body(&event.kind)).collect()
}

/// Each turn has exactly one result, which says how the turn ended, and nothing after it.
fn check_results(new: &Imported) -> Result<(), StoreError> {
    let mut over = vec![false; new.turns.len()];
    for event in &new.events {
        let at = usize::try_from(event.turn).ok().and_then(|n| n.checked_sub(1)).and_then(|n| over.get_mut(n));
        let Some(over) = at else { return Err(StoreError::invalid("events", format!("name turn {}, which there is not", event.turn))) };
        if *over {
            return Err(StoreError::invalid("events", format!("go on after the result of turn {}", event.turn)));
        }
        if let EventKind::Result(result) = &event.kind {
            *over = true;
            let turn = usize::try_from(event.turn).ok().and_then(|n| new.turns.get(n.checked_sub(1)?));
            if !turn.is_some_and(|t| t.outcome == Some(result.status) && t.state == end_as(result.status)) {
                return Err(StoreError::invalid("outcome", format!("of turn {} is not what its result says", event.turn)));
            }
        }
    }
    match over.iter().position(|over| !over) {
        Some(at) => Err(StoreError::invalid("events", format!("hold no result of turn {}", at + 1))),
        None => Ok(()),
    }
}

fn insert(conn: &Connection, new: &Imported, texts: &Texts, bodies: &[String]) -> Result<(), StoreError> {
    let doing = "import a session";
    insert_session(conn, &new.session, texts)?;
    insert_turns(conn, &new.session.id, &new.turns)?;
    let mut statement =
        conn.prepare_cached("INSERT INTO events (session, seq, turn, time_ms, body) VALUES (?1, ?2, ?3, ?4, ?5)").doing(doing)?;
    let session = new.session.id.as_str();
    for (seq, (event, body)) in (1i64..).zip(new.events.iter().zip(bodies)) {
        let turn = usize::try_from(event.turn).ok().and_then(|n| new.turns.get(n.checked_sub(1)?));
        let turn = turn.ok_or_else(|| StoreError::invalid("events", "name a turn that there is not"))?;
        statement.execute((session, seq, turn.id.as_str(), int("time", event.time.0)?, body)).doing(doing)?;
    }
    let sql = "UPDATE sessions SET engine_session = ?2, head = ?3, last_turn = ?4, last_seq = ?5 WHERE id = ?1";
    let (turns, events) = (int("turns", new.turns.len() as u64)?, int("events", new.events.len() as u64)?);
    conn.execute(sql, (session, &new.engine_session, int("head", new.head)?, turns, events)).doing(doing)?;
    Ok(())
}

fn insert_turns(conn: &Connection, session: &SessionId, turns: &[ImportedTurn]) -> Result<(), StoreError> {
    let doing = "import a session";
    let sql = "INSERT INTO turns (id, session, n, state, spec, outcome, code, parent, tries, accepted_ms, started_ms, ended_ms)
               VALUES (?1, ?2, ?3, ?4, 'null', ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (id) DO NOTHING";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let mut prompt = conn.prepare_cached("INSERT INTO prompts (turn, body) VALUES (?1, ?2)").doing(doing)?;
    let time = |at: Option<Timestamp>| at.map(|t| int("time", t.0)).transpose();
    for (n, turn) in (1i64..).zip(turns) {
        let tries = i64::from(turn.started.is_some());
        let with = crate::db::params![
            turn.id.as_str(),
            session.as_str(),
            n,
            turn.state.as_str(),
            turn.outcome.map(Outcome::as_str),
            turn.code.map(Code::as_str),
            int("parent", turn.parent)?,
            tries,
            int("time", turn.accepted.0)?,
            time(turn.started)?,
            time(turn.ended)?,
        ];
        if statement.execute(with).doing(doing)? == 0 {
            return Err(StoreError::Conflict(format!("turn `{}` exists", turn.id)));
        }
        prompt.execute((turn.id.as_str(), turn.prompt.as_bytes())).doing(doing)?;
    }
    Ok(())
}
