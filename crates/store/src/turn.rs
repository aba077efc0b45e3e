//! The inbox of a session: turns, their leases and their states.

use crate::db::{Connection, OptionalExtension, Row};
use model::{Outcome, PROMPT_BYTES_MAX, SandboxId, SessionId, Timestamp, TurnEvent, TurnId, TurnState};
use serde::Serialize;
use serde_json::Value;

use crate::asker::put_asker;
use crate::env::check_env;
use crate::error::Doing;
use crate::route::AskerRow;
use crate::row::{int, json, maybe_parsed, parsed, to_json, unreadable};
use crate::session::{LIST_MAX, PRIORITY_DEFAULT, bounded, check_limit, missing};
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Turns of one session that may be accepted and not yet over.
pub const INBOX_MAX: u64 = 1000;
/// Bytes of an idempotency key.
const KEY_BYTES_MAX: usize = 256;

/// The number of a lease. It grows with every lease in a session, so whoever holds an older one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Fence(pub u64);

/// A turn to be accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTurn {
    /// Its identity.
    pub id: TurnId,
    /// The session that it is asked of.
    pub session: SessionId,
    /// What is asked: 1 to [`PROMPT_BYTES_MAX`] bytes without a NUL.
    pub prompt: String,
    /// Limits and whatever else the caller must have to run it after a restart. Not looked at here.
    pub spec: Value,
    /// A caller's own name for the request: the same key in the same session is the same turn.
    pub key: Option<String>,
    /// Among turns that wait for a place, a higher one goes first.
    pub priority: u8,
    /// For whom it is done, where that is somebody on a chat network: its answer goes to them, and no call does more than they may.
    pub asker: Option<Box<AskerRow>>,
    /// Now.
    pub now: Timestamp,
}

impl NewTurn {
    /// A turn of the usual priority, with no key and an empty specification.
    #[must_use]
    pub fn new(id: TurnId, session: SessionId, prompt: impl Into<String>, now: Timestamp) -> Self {
        let spec = Value::Object(serde_json::Map::new());
        Self { id, session, prompt: prompt.into(), spec, key: None, priority: PRIORITY_DEFAULT, asker: None, now }
    }
}

/// An engine that lives on from an earlier turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineBase {
    /// The number of the lease under which it was started.
    pub lease: u64,
    /// Its last frame that is recorded.
    pub spool: u64,
}

/// What became of a request to accept a turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Accepted {
    /// The turn: the one asked for, or the one that the same key made earlier.
    pub turn: TurnId,
    /// Its place in the session, from 1.
    pub n: u64,
    /// Whether this call made it.
    pub fresh: bool,
}

/// The right to work on a turn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lease {
    /// The turn.
    pub turn: TurnId,
    /// Its session.
    pub session: SessionId,
    /// What every write for this turn must carry.
    pub fence: Fence,
    /// How often the turn has been leased, this time included.
    pub tries: u64,
    /// What the engine calls the conversation, when it is to be resumed.
    pub engine_session: Option<String>,
    /// The number of the engine's last frame before this lease; 0 for an engine that is yet to be started.
    pub spool: u64,
    /// The number of the lease under which the engine was started: this one, or an earlier one of the session.
    pub engine_lease: u64,
    /// The turn before this one: the session's head; 0 before the first.
    pub parent: u64,
    /// Whatever the caller stored with the turn.
    pub spec: Value,
}

/// A stored turn, without its prompt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TurnRow {
    /// Its identity.
    pub id: TurnId,
    /// Its session.
    pub session: SessionId,
    /// Its place in the session, from 1.
    pub n: u64,
    /// Where it stands.
    pub state: TurnState,
    /// The number of its last lease, or a higher one since that was given up; 0 before the first.
    pub fence: Fence,
    /// How often it has been leased.
    pub tries: u64,
    /// The number of the last frame from the guest whose events are in the log.
    pub spool: u64,
    /// The number of the lease under which its engine was started; 0 before the first lease.
    pub engine_lease: u64,
    /// The turn before it when it was last leased: the head of the session then.
    pub parent: u64,
    /// The number of its engine's last frame before the turn.
    pub spool_base: u64,
    /// Among turns that wait for a place, a higher one goes first.
    pub priority: u8,
    /// Whatever the caller stored.
    pub spec: Value,
    /// The sandbox that works on it.
    pub sandbox: Option<SandboxId>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Why it failed.
    pub code: Option<model::Code>,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// When it was last leased.
    pub leased: Option<Timestamp>,
    /// When its engine last started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// For how many milliseconds it waited for people, without the time since `waiting`.
    pub waited_ms: u64,
    /// Since when it waits for a person.
    pub waiting: Option<Timestamp>,
}

impl Store {
    /// Accepts a turn: when this returns, it survives a power failure.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the session, [`StoreError::Limit`] when the inbox holds [`INBOX_MAX`] turns,
    /// [`StoreError::Conflict`] when the key was used for another prompt, the session is archived or its env is deleted,
    /// [`StoreError::Invalid`] for a prompt out of bounds.
    pub async fn accept_turn(&self, new: NewTurn) -> Result<Accepted, StoreError> {
        let spec = check_new(&new)?;
        self.write(Kind::TurnAccept, new.prompt.len() + spec.len(), move |conn| accept(conn, &new, &spec)).await
    }

    /// Gives a turn to a runner. From then on only writes with the fence of this lease are taken for it. With `base` the
    /// engine of an earlier turn goes on: its frames count on from there. Without, a new engine counts from 1.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when an earlier turn of the session comes first, another one is being worked on, the env of
    /// the session is deleted, or no engine of the session stands where `base` says; [`StoreError::Transition`] when the
    /// turn is not queued; [`StoreError::NotFound`].
    pub async fn lease_turn(&self, id: &TurnId, base: Option<EngineBase>, now: Timestamp) -> Result<Lease, StoreError> {
        let id = id.clone();
        self.write(Kind::TurnLease, 0, move |conn| lease(conn, &id, base, now)).await
    }

    /// Reads a turn.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn turn(&self, id: &TurnId) -> Result<TurnRow, StoreError> {
        let id = id.clone();
        self.read(move |conn| read_turn(conn, &id)).await
    }

    /// Reads what a turn asks.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn prompt(&self, id: &TurnId) -> Result<String, StoreError> {
        let id = id.clone();
        self.read(move |conn| {
            let read = "SELECT body FROM prompts WHERE turn = ?1";
            let found = conn.query_row(read, [id.as_str()], |r| String::from_utf8(r.get(0)?).map_err(|e| unreadable(Box::new(e))));
            found.optional().doing("read a prompt")?.ok_or_else(|| no_turn(&id))
        })
        .await
    }

    /// Lists the turns of a session in order, those after place `after`.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when `limit` is 0 or above [`LIST_MAX`].
    pub async fn turns(&self, session: &SessionId, after: u64, limit: usize) -> Result<Vec<TurnRow>, StoreError> {
        check_limit(limit, LIST_MAX)?;
        let session = session.clone();
        self.read(move |conn| {
            let sql = "SELECT * FROM turns WHERE session = ?1 AND n > ?2 ORDER BY n LIMIT ?3";
            collect(conn, sql, (session.as_str(), int("after", after)?, limit))
        })
        .await
    }

    /// The turns of a session that are not over, in order: at most [`INBOX_MAX`]. Costs what they are, whatever else
    /// the store holds.
    ///
    /// # Errors
    /// What the database said.
    pub async fn open_turns(&self, session: &SessionId) -> Result<Vec<TurnRow>, StoreError> {
        let session = session.clone();
        self.read(move |conn| {
            let sql = "SELECT * FROM turns WHERE session = ?1 AND state IN ('queued', 'leased', 'running', 'waiting') ORDER BY n";
            collect(conn, sql, [session.as_str()])
        })
        .await
    }

    /// Every turn that is not over, the oldest first: what a daemon that starts has to take up. Where several daemons share
    /// the database, those whose files are with this one.
    ///
    /// # Errors
    /// What the database said.
    pub async fn unfinished_turns(&self) -> Result<Vec<TurnRow>, StoreError> {
        self.read(|conn| {
            if let Some(replica) = conn.replica() {
                let sql = "SELECT t.* FROM turns t JOIN sessions s ON s.id = t.session
                           WHERE t.state IN ('queued', 'leased', 'running', 'waiting') AND (s.host = ?1 OR s.host IS NULL)
                           ORDER BY t.accepted_ms, t.n, t.id";
                return collect(conn, sql, [replica]);
            }
            let sql = "SELECT * FROM turns WHERE state IN ('queued', 'leased', 'running', 'waiting') ORDER BY accepted_ms, n, id";
            collect(conn, sql, ())
        })
        .await
    }

    /// The turns with an agent that are worked on, by whichever daemon, the oldest first.
    ///
    /// # Errors
    /// What the database said.
    pub async fn turns_at_work(&self, agent: &str) -> Result<Vec<TurnRow>, StoreError> {
        let agent = agent.to_owned();
        self.read(move |conn| {
            let sql = "SELECT t.* FROM turns t JOIN sessions s ON s.id = t.session
                       WHERE t.state IN ('leased', 'running', 'waiting') AND s.agent = ?1 ORDER BY t.accepted_ms, t.n, t.id";
            collect(conn, sql, [agent])
        })
        .await
    }
}

/// What can be wrong with a turn before the database is asked. Gives its specification as JSON.
pub(crate) fn check_new(new: &NewTurn) -> Result<String, StoreError> {
    check_prompt(&new.prompt)?;
    if new.key.as_ref().is_some_and(|k| k.is_empty() || k.len() > KEY_BYTES_MAX) {
        return Err(StoreError::invalid("key", format!("has not 1 to {KEY_BYTES_MAX} bytes")));
    }
    bounded("spec", to_json("spec", &new.spec)?)
}

pub(crate) fn accept(conn: &Connection, new: &NewTurn, spec: &str) -> Result<Accepted, StoreError> {
    let doing = "accept a turn";
    if let Some(key) = &new.key {
        let sql = "SELECT t.id, t.n, p.body = CAST(?3 AS BLOB) AS same FROM turns t JOIN prompts p ON p.turn = t.id
                   WHERE t.session = ?1 AND t.idem = ?2";
        let mut statement = conn.prepare_cached(sql).doing(doing)?;
        let found = statement.query_row((new.session.as_str(), key, &new.prompt), |r| {
            Ok((parsed::<TurnId>(r, "id")?, r.get::<_, u64>("n")?, r.get::<_, bool>("same")?))
        });
        match found.optional().doing(doing)? {
            Some((turn, n, true)) => return Ok(Accepted { turn, n, fresh: false }),
            Some((turn, ..)) => return Err(StoreError::Conflict(format!("the key was used for another request, turn `{turn}`"))),
            None => (),
        }
    }
    let now = int("now", new.now.0)?;
    let take = "UPDATE sessions SET last_turn = last_turn + 1, updated_ms = max(updated_ms, ?2) WHERE id = ?1
                RETURNING last_turn, archived_ms IS NOT NULL, env";
    let mut statement = conn.prepare_cached(take).doing(doing)?;
    let found = statement.query_row((new.session.as_str(), now), |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)));
    let (n, archived, env): (u64, bool, Option<String>) = found.optional().doing(doing)?.ok_or_else(|| missing(&new.session))?;
    if archived {
        return Err(StoreError::Conflict(format!("session `{}` is archived", new.session)));
    }
    check_env(conn, env.as_deref())?;
    let sql = "SELECT count(*) FROM turns WHERE session = ?1 AND state IN ('queued', 'leased', 'running', 'waiting')";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let open: u64 = statement.query_row([new.session.as_str()], |r| r.get(0)).doing(doing)?;
    if open >= INBOX_MAX {
        return Err(StoreError::Limit { what: "turns of one session that are not over", max: INBOX_MAX });
    }
    let insert = "INSERT INTO turns (id, session, n, state, idem, spec, priority, accepted_ms)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING";
    let mut statement = conn.prepare_cached(insert).doing(doing)?;
    let (id, queued, n_column) = (new.id.as_str(), TurnState::Queued.as_str(), int("n", n)?);
    let made = statement.execute((id, new.session.as_str(), n_column, queued, &new.key, spec, new.priority, now)).doing(doing)?;
    if made == 0 {
        return Err(StoreError::Conflict(format!("turn `{}` exists", new.id)));
    }
    let mut statement = conn.prepare_cached("INSERT INTO prompts (turn, body) VALUES (?1, CAST(?2 AS BLOB))").doing(doing)?;
    statement.execute((new.id.as_str(), &new.prompt)).doing(doing)?;
    if let Some(asker) = &new.asker {
        put_asker(conn, &new.id, asker)?;
    }
    conn.note_inbox(&new.session);
    Ok(Accepted { turn: new.id.clone(), n, fresh: true })
}

fn lease(conn: &Connection, id: &TurnId, base: Option<EngineBase>, now: Timestamp) -> Result<Lease, StoreError> {
    let doing = "lease a turn";
    let turn = read_turn(conn, id)?;
    let next = set_state(conn, &turn, TurnEvent::Lease, now)?;
    debug_assert_eq!(next, TurnState::Leased);
    // The list of states is the one of the partial index, so that only open turns are looked at.
    let sql = "SELECT id FROM turns WHERE session = ?1 AND state IN ('queued', 'leased', 'running', 'waiting')
                 AND id <> ?2 AND (state <> 'queued' OR n < ?3) ORDER BY n LIMIT 1";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let other: Option<String> =
        statement.query_row((turn.session.as_str(), id.as_str(), int("n", turn.n)?), |r| r.get(0)).optional().doing(doing)?;
    if let Some(other) = other {
        return Err(StoreError::Conflict(format!("turn `{other}` of the same session comes first")));
    }
    if let Some(base) = base {
        check_base(conn, &turn, base)?;
    }
    let fence = next_fence(conn, &turn.session)?;
    let sql = "UPDATE sessions SET updated_ms = max(updated_ms, ?2) WHERE id = ?1 RETURNING engine_session, head, env";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let found = statement.query_row((turn.session.as_str(), int("now", now.0)?), |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)));
    let (engine_session, parent, env): (Option<String>, u64, Option<String>) = found.doing(doing)?;
    check_env(conn, env.as_deref())?;
    // A new engine means a new guest, whose frames count from 1 again.
    let EngineBase { lease: engine_lease, spool } = base.unwrap_or(EngineBase { lease: fence.0, spool: 0 });
    let sql = "UPDATE turns SET fence = ?2, tries = tries + 1, engine_lease = ?3, spool = ?4, spool_base = ?4, parent = ?5,
                 sandbox = NULL WHERE id = ?1";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let (fence_column, engine_column) = (int("fence", fence.0)?, int("lease", engine_lease)?);
    statement.execute((id.as_str(), fence_column, engine_column, int("spool", spool)?, int("head", parent)?)).doing(doing)?;
    let tries = turn.tries + 1;
    Ok(Lease { turn: turn.id, session: turn.session, fence, tries, engine_session, spool, engine_lease, parent, spec: turn.spec })
}

/// Holds that an engine which goes on was there, and that none of its frames is recorded twice.
fn check_base(conn: &Connection, turn: &TurnRow, base: EngineBase) -> Result<(), StoreError> {
    let sql = "SELECT spool FROM turns WHERE session = ?1 AND engine_lease = ?2 AND engine_lease > 0 ORDER BY n DESC LIMIT 1";
    let mut statement = conn.prepare_cached(sql).doing("lease a turn")?;
    let with = (turn.session.as_str(), int("lease", base.lease)?);
    let last: Option<u64> = statement.query_row(with, |r| r.get(0)).optional().doing("lease a turn")?;
    match last {
        None => Err(StoreError::Conflict(format!("no engine of session `{}` was started under lease {}", turn.session, base.lease))),
        Some(last) if base.spool < last => {
            Err(StoreError::Conflict(format!("frame {last} of the engine is recorded, so it cannot go on after {}", base.spool)))
        }
        Some(_) => Ok(()),
    }
}

/// A number above all that were given out in the session.
pub(crate) fn next_fence(conn: &Connection, session: &SessionId) -> Result<Fence, StoreError> {
    let sql = "UPDATE sessions SET last_fence = last_fence + 1 WHERE id = ?1 RETURNING last_fence";
    let mut statement = conn.prepare_cached(sql).doing("fence a turn")?;
    statement.query_row([session.as_str()], |r| r.get(0)).map(Fence).doing("fence a turn")
}

/// The only writer of `turns.state` after a turn was accepted.
pub(crate) fn set_state(conn: &Connection, turn: &TurnRow, event: TurnEvent, now: Timestamp) -> Result<TurnState, StoreError> {
    let refused = |source| StoreError::Transition { turn: turn.id.to_string(), source: std::sync::Arc::new(source) };
    let next = turn.state.on(event).map_err(refused)?;
    let sql = "UPDATE turns SET state = ?2,
                 leased_ms = CASE ?2 WHEN 'leased' THEN ?3 ELSE leased_ms END,
                 started_ms = CASE WHEN ?2 = 'running' AND ?4 = 'leased' THEN ?3 ELSE started_ms END,
                 ended_ms = CASE WHEN ?2 IN ('done', 'failed', 'cancelled') THEN ?3 ELSE ended_ms END,
                 waited_ms = CASE WHEN ?2 = 'leased' THEN 0 ELSE waited_ms + coalesce(max(?3 - waiting_ms, 0), 0) END,
                 waiting_ms = CASE ?2 WHEN 'waiting' THEN CAST(?3 AS INTEGER) END
               WHERE id = ?1";
    let mut statement = conn.prepare_cached(sql).doing("change the state of a turn")?;
    statement.execute((turn.id.as_str(), next.as_str(), int("now", now.0)?, turn.state.as_str())).doing("change the state of a turn")?;
    Ok(next)
}

pub(crate) fn read_turn(conn: &Connection, id: &TurnId) -> Result<TurnRow, StoreError> {
    let mut statement = conn.prepare_cached("SELECT * FROM turns WHERE id = ?1").doing("read a turn")?;
    statement.query_row([id.as_str()], from_row).optional().doing("read a turn")?.ok_or_else(|| no_turn(id))
}

fn no_turn(id: &TurnId) -> StoreError {
    StoreError::NotFound { what: "turn", id: id.to_string() }
}

pub(crate) fn collect(conn: &Connection, sql: &str, with: impl crate::db::Params) -> Result<Vec<TurnRow>, StoreError> {
    let mut statement = conn.prepare_cached(sql).doing("list turns")?;
    let rows = statement.query_map(with, from_row).doing("list turns")?;
    rows.collect::<crate::db::Result<_>>().doing("list turns")
}

pub(crate) fn check_prompt(prompt: &str) -> Result<(), StoreError> {
    if prompt.is_empty() {
        return Err(StoreError::invalid("prompt", "is empty"));
    }
    if prompt.len() > PROMPT_BYTES_MAX {
        return Err(StoreError::invalid("prompt", format!("has {} bytes, more than {PROMPT_BYTES_MAX}", prompt.len())));
    }
    if prompt.bytes().any(|b| b == 0) {
        return Err(StoreError::invalid("prompt", "holds a NUL"));
    }
    Ok(())
}

fn from_row(row: &Row<'_>) -> crate::db::Result<TurnRow> {
    let state: String = row.get("state")?;
    let state = TurnState::from_word(&state).ok_or_else(|| unreadable("no state has this name".into()))?;
    let word = |text: String| serde_json::Value::String(text);
    let outcome: Option<String> = row.get("outcome")?;
    let code: Option<String> = row.get("code")?;
    let time = |column| row.get::<_, Option<u64>>(column).map(|t| t.map(Timestamp));
    Ok(TurnRow {
        id: parsed(row, "id")?,
        session: parsed(row, "session")?,
        n: row.get("n")?,
        state,
        fence: Fence(row.get("fence")?),
        tries: row.get("tries")?,
        spool: row.get("spool")?,
        engine_lease: row.get("engine_lease")?,
        parent: row.get("parent")?,
        spool_base: row.get("spool_base")?,
        priority: row.get("priority")?,
        spec: json(row, "spec")?,
        sandbox: maybe_parsed(row, "sandbox")?,
        outcome: outcome.map(|o| serde_json::from_value(word(o))).transpose().map_err(|e| unreadable(e.into()))?,
        code: code.map(|c| serde_json::from_value(word(c))).transpose().map_err(|e| unreadable(e.into()))?,
        accepted: Timestamp(row.get("accepted_ms")?),
        leased: time("leased_ms")?,
        started: time("started_ms")?,
        ended: time("ended_ms")?,
        waited_ms: row.get("waited_ms")?,
        waiting: time("waiting_ms")?,
    })
}
