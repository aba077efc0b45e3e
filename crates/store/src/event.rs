//! The log of a session: numbered without gaps, written under a fence.

use crate::db::{Connection, Row};
use model::{Event, EventKind, Outcome, QuestionId, SandboxId, SessionId, Timestamp, TreeId, TurnEvent, TurnId, TurnState};

use crate::audit_head::Head;
use crate::checkpoint::keep_checkpoint;
use crate::env::note_change;
use crate::error::Doing;
use crate::question::{ask, withdraw};
use crate::row::{int, json, parsed, to_json};
use crate::session::{check_limit, missing};
use crate::turn::{Fence, TurnRow, next_fence, read_turn, set_state};
use crate::writer::Kind;
use crate::{Store, StoreError, approval};

/// Bytes that one event may have as JSON. The engines' parsers cut tool output far below it.
pub const EVENT_BYTES_MAX: usize = 8 << 20;
/// Events that one page may have.
pub const EVENTS_PAGE_MAX: usize = 1000;
/// Bytes of events after which a page ends early, so that a reader's memory is bounded.
const PAGE_BYTES_MAX: usize = 16 << 20;
/// Events that one record may carry.
const RECORD_EVENTS_MAX: usize = 10_000;

/// The frames of a guest's spool that a record comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spool {
    /// The number of the first frame; one more than the last that was recorded under this lease.
    pub first: u64,
    /// The number of the last frame.
    pub last: u64,
}

/// What happened in a turn, written as a whole or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The turn.
    pub turn: TurnId,
    /// The lease under which the caller works; the turn's own `fence`, as read, for one that nobody works on.
    pub fence: Fence,
    /// What to log, in order. The last one is a `result` if and only if `change` ends the turn.
    pub events: Vec<EventKind>,
    /// What happens to the turn. Leases are taken with [`Store::lease_turn`].
    pub change: Option<TurnEvent>,
    /// The guest's frames that this comes from.
    pub spool: Option<Spool>,
    /// What the engine calls the conversation, once known.
    pub engine_session: Option<String>,
    /// The sandbox that works on the turn, once known.
    pub sandbox: Option<SandboxId>,
    /// A frozen tree with the files as the turn leaves them. Only together with the end of a turn that was worked on.
    pub checkpoint: Option<TreeId>,
    /// Whether the files stay as the turn leaves them, in the session's own tree, so that the checkpoint is taken when
    /// somebody needs it. Only together with the end of a turn that was worked on, and without a checkpoint.
    pub is_left: bool,
    /// What a person is asked, with the answers that are offered. Only together with the change [`TurnEvent::Ask`] and
    /// the event that shows it.
    pub question: Option<(QuestionId, String, Vec<String>)>,
    /// Now.
    pub now: Timestamp,
}

impl Record {
    /// A record that logs `events` and changes nothing else.
    #[must_use]
    pub fn new(turn: TurnId, fence: Fence, events: Vec<EventKind>, now: Timestamp) -> Self {
        Self {
            turn,
            fence,
            events,
            change: None,
            spool: None,
            engine_session: None,
            sandbox: None,
            checkpoint: None,
            is_left: false,
            question: None,
            now,
        }
    }

    /// The same with a change of the turn's state.
    #[must_use]
    pub fn change(mut self, event: TurnEvent) -> Self {
        self.change = Some(event);
        self
    }
}

impl Store {
    /// Logs what happened in a turn and changes its state, at once. Returns the events with their numbers.
    ///
    /// The end of a turn that was worked on, however it ends, makes it the head of its session, and its questions that
    /// nobody answered are gone.
    ///
    /// # Errors
    /// [`StoreError::StaleFence`] when the turn was leased again since, [`StoreError::Transition`] when the change makes
    /// no sense, [`StoreError::Conflict`] when the turn is over, frames are missing or were recorded before, or a
    /// `result` and the end of the turn do not come together, or a checkpoint or question comes without what it belongs
    /// to; [`StoreError::Invalid`] for an event that cannot be kept.
    pub async fn record(&self, record: Record) -> Result<Vec<Event>, StoreError> {
        if record.events.len() > RECORD_EVENTS_MAX {
            return Err(StoreError::Limit { what: "events in one record", max: RECORD_EVENTS_MAX as u64 });
        }
        let bodies = record.events.iter().map(body).collect::<Result<Vec<_>, _>>()?;
        let bytes = bodies.iter().map(String::len).sum();
        let floor = self.audit_floor();
        let (events, head) = self.write(Kind::Record, bytes, move |conn| write_record(conn, record, &bodies, floor)).await?;
        if let Some(head) = head {
            self.audit_head().advance(head);
        }
        Ok(events)
    }

    /// Logs events of a turn under a lease. A shorthand for [`Store::record`].
    ///
    /// # Errors
    /// Those of [`Store::record`].
    pub async fn append_events(
        &self,
        turn: &TurnId,
        fence: Fence,
        events: Vec<EventKind>,
        now: Timestamp,
    ) -> Result<Vec<Event>, StoreError> {
        self.record(Record::new(turn.clone(), fence, events, now)).await
    }

    /// Reads the log of a session, the events after number `after`. Fewer than `limit` does not mean the end: large
    /// events end a page early; an empty page means the end.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or [`StoreError::Invalid`] when `limit` is 0 or above [`EVENTS_PAGE_MAX`].
    pub async fn events(&self, session: &SessionId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        check_limit(limit, EVENTS_PAGE_MAX)?;
        let session = session.clone();
        self.read(move |conn| read_events(conn, &session, after, limit)).await
    }
}

fn write_record(conn: &Connection, record: Record, bodies: &[String], floor: Head) -> Result<(Vec<Event>, Option<Head>), StoreError> {
    let doing = "log events";
    let turn = read_turn(conn, &record.turn)?;
    if turn.fence != record.fence {
        return Err(StoreError::StaleFence { turn: turn.id.to_string(), given: record.fence.0, held: turn.fence.0 });
    }
    check_change(&turn, &record)?;
    let now = int("now", record.now.0)?;
    let count = int("events", bodies.len() as u64)?;
    let ends = record.change.is_some_and(|c| end_of(c).is_some());
    let leaves = ends || record.change == Some(TurnEvent::Release);
    // Before its own events: the last one is the `result`.
    let (withdrawn, audited) = if leaves { approval::withdraw(conn, &turn, floor, record.now)? } else { (Vec::new(), None) };
    // A turn that nobody ever worked on has changed nothing, so none goes on from it.
    let head = if ends && turn.tries > 0 { Some(int("n", turn.n)?) } else { None };
    let sql = "UPDATE sessions SET last_seq = last_seq + ?2, updated_ms = max(updated_ms, ?3),
                 engine_session = coalesce(?4, engine_session), head = coalesce(?5, head),
                 left_turn = CASE WHEN ?5 IS NULL THEN left_turn WHEN env IS NULL AND tree IS NOT NULL THEN ?6 END
               WHERE id = ?1 RETURNING last_seq";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let left = head.filter(|_| record.is_left);
    let with = (turn.session.as_str(), count, now, &record.engine_session, head, left);
    let last: i64 = statement.query_row(with, |r| r.get(0)).doing(doing)?;
    let mut seq = last - count;
    let mut insert =
        conn.prepare_cached("INSERT INTO events (session, seq, turn, time_ms, body) VALUES (?1, ?2, ?3, ?4, ?5)").doing(doing)?;
    let mut events = withdrawn;
    events.reserve(bodies.len());
    for (kind, body) in record.events.into_iter().zip(bodies) {
        seq += 1;
        insert.execute((turn.session.as_str(), seq, turn.id.as_str(), now, body)).doing(doing)?;
        let (session, turn) = (turn.session.clone(), turn.id.clone());
        events.push(Event { seq: seq.unsigned_abs(), time: record.now, session, turn, kind });
    }
    if head.is_some() {
        note_change(conn, &turn.session)?;
    }
    if let Some(tree) = &record.checkpoint {
        keep_checkpoint(conn, &turn.session, turn.n, tree, record.now)?;
    }
    if let Some(question) = &record.question {
        ask(conn, &turn, question, record.now)?;
        crate::outbox::question_asked(conn, &turn, question, record.now)?;
    }
    if let Some(change) = record.change {
        set_state(conn, &turn, change, record.now)?;
        if leaves {
            withdraw(conn, &turn, record.now)?;
        }
        if change == TurnEvent::Release {
            // Whoever gave the turn back must not be able to end it.
            let fence = next_fence(conn, &turn.session)?;
            let mut statement = conn.prepare_cached("UPDATE turns SET fence = ?2 WHERE id = ?1").doing(doing)?;
            statement.execute((turn.id.as_str(), int("fence", fence.0)?)).doing(doing)?;
        }
    }
    let result = events.last().and_then(|e| if let EventKind::Result(r) = &e.kind { Some(r) } else { None });
    let spool = record.spool.map(|s| int("spool", s.last)).transpose()?;
    let sql = "UPDATE turns SET spool = coalesce(?2, spool), sandbox = coalesce(?3, sandbox), outcome = ?4, code = ?5 WHERE id = ?1";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let outcome = result.map(|r| r.status.as_str());
    let code = result.and_then(|r| r.code).map(model::Code::as_str);
    statement.execute((turn.id.as_str(), spool, record.sandbox.as_ref().map(SandboxId::as_str), outcome, code)).doing(doing)?;
    if let Some(result) = result {
        let end = crate::task::End { is_well: result.status == model::Outcome::Completed, note: code, now: record.now };
        crate::task::turn_ended(conn, &turn.id, end)?;
        crate::outbox::turn_ended(conn, &turn, result, record.now)?;
    }
    conn.note_session(&turn.session);
    Ok((events, audited))
}

/// Logs one event of a turn that the host itself has to say, whoever works on the turn.
pub(crate) fn add_event(conn: &Connection, turn: &TurnRow, kind: EventKind, now: Timestamp) -> Result<Event, StoreError> {
    let doing = "log an event";
    let body = body(&kind)?;
    let time = int("now", now.0)?;
    let sql = "UPDATE sessions SET last_seq = last_seq + 1, updated_ms = max(updated_ms, ?2) WHERE id = ?1 RETURNING last_seq";
    let seq: u64 = conn.prepare_cached(sql).and_then(|mut s| s.query_row((turn.session.as_str(), time), |r| r.get(0))).doing(doing)?;
    let sql = "INSERT INTO events (session, seq, turn, time_ms, body) VALUES (?1, ?2, ?3, ?4, ?5)";
    let with = (turn.session.as_str(), int("seq", seq)?, turn.id.as_str(), time, &body);
    conn.prepare_cached(sql).and_then(|mut s| s.execute(with)).doing(doing)?;
    conn.note_session(&turn.session);
    Ok(Event { seq, time: now, session: turn.session.clone(), turn: turn.id.clone(), kind })
}

/// Holds what is true of every turn: nothing after its end, exactly one `result`, and frames in order.
fn check_change(turn: &TurnRow, record: &Record) -> Result<(), StoreError> {
    let conflict = |why: &str| Err(StoreError::Conflict(format!("turn `{}` {why}", turn.id)));
    if turn.state.is_final() {
        return conflict("is over");
    }
    if record.change == Some(TurnEvent::Lease) {
        return conflict("is leased in another way");
    }
    if turn.state == TurnState::Queued && record.change.is_none() {
        return conflict("has nobody who works on it");
    }
    let ends = record.change.and_then(end_of);
    let (is_kept, is_over) = (record.checkpoint.is_some(), ends.is_some() && turn.tries > 0);
    if (is_kept || record.is_left) && !is_over || is_kept && record.is_left {
        return conflict("has a checkpoint, or leaves its files as they are, when it ends and was worked on, and at no other time");
    }
    check_question(turn, record)?;
    let results: Vec<&EventKind> = record.events.iter().filter(|e| matches!(e, EventKind::Result(_))).collect();
    let says = match (results.as_slice(), record.events.last()) {
        ([], _) => None,
        ([_], Some(EventKind::Result(result))) => Some(end_as(result.status)),
        _ => return conflict("can have one `result`, as its last event"),
    };
    if ends != says {
        return conflict("ends with a `result` that says the same, and with nothing else");
    }
    match record.spool {
        Some(spool) if spool.first != turn.spool + 1 || spool.last < spool.first => {
            conflict(&format!("has recorded frame {}, so frames {} to {} do not follow", turn.spool, spool.first, spool.last))
        }
        _ => Ok(()),
    }
}

/// A question, its event and the change of the state come together.
fn check_question(turn: &TurnRow, record: &Record) -> Result<(), StoreError> {
    let Some((id, ..)) = &record.question else { return Ok(()) };
    let shown = record.events.iter().any(|e| matches!(e, EventKind::Question { id: shown, .. } if shown == id));
    if shown && record.change == Some(TurnEvent::Ask) {
        return Ok(());
    }
    Err(StoreError::Conflict(format!("turn `{}` asks `{id}` with an event that shows it and by waiting, or not at all", turn.id)))
}

/// How a turn stands after a change that ends it.
fn end_of(change: TurnEvent) -> Option<TurnState> {
    match change {
        TurnEvent::Finish => Some(TurnState::Done),
        TurnEvent::Fail => Some(TurnState::Failed),
        TurnEvent::Cancel => Some(TurnState::Cancelled),
        TurnEvent::Lease | TurnEvent::Start | TurnEvent::Ask | TurnEvent::Answer | TurnEvent::Release => None,
    }
}

/// How a turn stands that ended like this.
pub(crate) fn end_as(outcome: Outcome) -> TurnState {
    match outcome {
        Outcome::Completed => TurnState::Done,
        Outcome::Failed | Outcome::Timeout => TurnState::Failed,
        Outcome::Cancelled => TurnState::Cancelled,
    }
}

/// The JSON of an event, checked to be readable again.
pub(crate) fn body(kind: &EventKind) -> Result<String, StoreError> {
    let cost = match kind {
        EventKind::Usage { cost_usd, .. } => *cost_usd,
        EventKind::Result(result) => result.cost_usd,
        _ => 0.0,
    };
    if !cost.is_finite() {
        return Err(StoreError::invalid("cost_usd", "is not a number"));
    }
    let text = to_json("event", kind)?;
    if text.len() > EVENT_BYTES_MAX {
        return Err(StoreError::invalid("event", format!("has {} bytes, more than {EVENT_BYTES_MAX}", text.len())));
    }
    // Only the arguments of a tool are of a form that somebody else chose, such as one that is nested too deeply.
    if matches!(kind, EventKind::ToolCall { .. }) && serde_json::from_str::<EventKind>(&text).is_err() {
        return Err(StoreError::invalid("event", "is nested too deeply"));
    }
    Ok(text)
}

fn read_events(conn: &Connection, session: &SessionId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
    let doing = "read events";
    let sql =
        "SELECT session, seq, turn, time_ms, body, length(body) AS bytes FROM events WHERE session = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    // No log is that long, so a number beyond the column's is beyond the end.
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut rows = statement.query((session.as_str(), after, limit)).doing(doing)?;
    let mut events = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next().doing(doing)? {
        bytes += row.get::<_, usize>("bytes").doing(doing)?;
        if bytes > PAGE_BYTES_MAX && !events.is_empty() {
            return Ok(events);
        }
        events.push(from_row(&row).doing(doing)?);
    }
    if events.is_empty() {
        let known: bool =
            conn.query_row("SELECT EXISTS (SELECT 1 FROM sessions WHERE id = ?1)", [session.as_str()], |r| r.get(0)).doing(doing)?;
        if !known {
            return Err(missing(session));
        }
    }
    Ok(events)
}

fn from_row(row: &Row<'_>) -> crate::db::Result<Event> {
    Ok(Event {
        seq: row.get("seq")?,
        time: Timestamp(row.get("time_ms")?),
        session: parsed(row, "session")?,
        turn: parsed(row, "turn")?,
        kind: json(row, "body")?,
    })
}
