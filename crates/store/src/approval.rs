//! What people are asked before a call is made: one row a call, answered once and used once.

use crate::db::{Connection, OptionalExtension, Row};
use model::{
    ApprovalEvent, ApprovalId, ApprovalState, AuditEntry, AuditKind, Code, Event, EventKind, Risk, SessionId, Timestamp, TurnId, TurnState,
};
use serde_json::{Value, json};

use crate::audit::{Chain, Prepared};
use crate::audit_head::Head;
use crate::error::Doing;
use crate::event::add_event;
use crate::row::{int, json, maybe_parsed, parsed, to_json, unreadable};
use crate::session::{LIST_MAX, check_limit};
use crate::turn::{TurnRow, read_turn};
use crate::writer::Kind;
use crate::{Page, Store, StoreError};

/// Confirmations of one session that may wait at once.
pub const APPROVALS_PENDING_MAX: u64 = 20;
/// Confirmations that one session may newly ask for in a minute.
pub const APPROVALS_MINUTE_MAX: u64 = 5;
/// The minute, in milliseconds.
const MINUTE_MS: u64 = 60_000;
/// Confirmations that are kept; beyond it those go that were over first.
pub const APPROVALS_KEPT_MAX: u64 = 20_000;
/// None goes before it has been over for a day, in milliseconds: its call may still be asked about.
const KEPT_MS_MIN: u64 = 86_400_000;
/// Who ends what nobody answers, in the audit.
const HOST: &str = "lazaret";
/// Characters that may come with an answer.
pub const APPROVAL_NOTE_CHARS_MAX: usize = 1000;

/// What a person is to be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct NewApproval {
    /// Its identity.
    pub id: ApprovalId,
    /// The session that asks; `None` for a call of the owner's own.
    pub session: Option<SessionId>,
    /// The tenant whose people may answer.
    pub tenant: String,
    /// The agent.
    pub agent: String,
    /// What would be called.
    pub tool: String,
    /// Whose tool it is.
    pub plugin: String,
    /// The call's own name.
    pub correlation: String,
    /// With what.
    pub arguments: Value,
    /// What a person is shown.
    pub text: String,
    /// What an answer is bound to.
    pub hash: String,
    /// How much harm it can do.
    pub risk: Risk,
    /// Who asks, for the audit.
    pub actor: String,
    /// Until when it can be answered.
    pub expires: Timestamp,
    /// Now.
    pub now: Timestamp,
}

/// A stored confirmation.
#[derive(Debug, Clone, PartialEq)]
pub struct ApprovalRow {
    /// Its identity.
    pub id: ApprovalId,
    /// The session that asks; `None` for a call of the owner's own.
    pub session: Option<SessionId>,
    /// The turn that asks.
    pub turn: Option<TurnId>,
    /// The tenant whose people may answer.
    pub tenant: String,
    /// The agent.
    pub agent: String,
    /// What would be called.
    pub tool: String,
    /// Whose tool it is.
    pub plugin: String,
    /// The call's own name.
    pub correlation: String,
    /// With what.
    pub arguments: Value,
    /// What a person is shown.
    pub text: String,
    /// What an answer is bound to.
    pub hash: String,
    /// How much harm it can do.
    pub risk: Risk,
    /// Where it stands.
    pub state: ApprovalState,
    /// What came of the call, as whoever made it wrote it down.
    pub outcome: Option<Value>,
    /// When it was asked.
    pub asked: Timestamp,
    /// Until when it can be answered, or used.
    pub expires: Timestamp,
    /// When it was answered.
    pub answered: Option<Timestamp>,
    /// Who answered.
    pub answered_by: Option<String>,
    /// What was said with the answer.
    pub note: Option<String>,
    /// When the call began.
    pub used: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
}

/// A row after a change, and what the session's log says of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ApprovalChange {
    /// The row as it is now.
    pub row: ApprovalRow,
    /// Events of its session, to be told to followers.
    pub events: Vec<Event>,
    /// Whether this call changed it.
    pub changed: bool,
}

/// A person's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalAnswer {
    /// Yes or no.
    pub approve: bool,
    /// The hash that the person saw.
    pub hash: String,
    /// Who answers: `owner` or `token:ID`.
    pub by: String,
    /// A word for the agent.
    pub note: Option<String>,
    /// Until when a yes can be used.
    pub usable_until: Timestamp,
    /// Now.
    pub now: Timestamp,
}

/// Which confirmations are asked for; what is `None` matches all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ApprovalFilter {
    /// The tenant.
    pub tenant: Option<String>,
    /// The status as users see it.
    pub status: Option<String>,
    /// The session.
    pub session: Option<SessionId>,
}

impl Store {
    /// Asks, or finds what was asked before: the same session, correlation and hash are the same call.
    ///
    /// # Errors
    /// [`StoreError::Limit`] when too many wait or were asked lately, [`StoreError::Conflict`] when no turn of its
    /// session is at work.
    pub async fn ask_approval(&self, new: NewApproval) -> Result<ApprovalChange, StoreError> {
        let arguments = to_json("arguments", &new.arguments)?;
        let bytes = arguments.len() + new.text.len();
        let floor = self.audit_floor();
        self.audited(bytes, move |conn| ask(conn, &new, &arguments, floor)).await
    }

    /// Keeps a person's answer. An answer that comes too late expires the confirmation instead, and changes nothing else:
    /// see the state of the row.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] when it was answered before or the hash is another one,
    /// [`StoreError::Invalid`] for a note that is too long.
    pub async fn answer_approval(&self, id: &ApprovalId, answer: ApprovalAnswer) -> Result<ApprovalChange, StoreError> {
        if answer.note.as_ref().is_some_and(|note| note.chars().count() > APPROVAL_NOTE_CHARS_MAX) {
            return Err(StoreError::invalid("note", format!("has more than {APPROVAL_NOTE_CHARS_MAX} characters")));
        }
        let (id, floor) = (id.clone(), self.audit_floor());
        self.audited(0, move |conn| answer_in(conn, &id, &answer, floor)).await
    }

    /// Expires a confirmation whose time is up. One that is not pending or approved stays as it is, also one whose time is
    /// not up.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn expire_approval(&self, id: &ApprovalId, now: Timestamp) -> Result<ApprovalChange, StoreError> {
        let (id, floor) = (id.clone(), self.audit_floor());
        self.audited(0, move |conn| {
            let row = read(conn, &id)?;
            let is_open = matches!(row.state, ApprovalState::Pending | ApprovalState::Approved);
            if !is_open || now < row.expires {
                return Ok((ApprovalChange { row, events: Vec::new(), changed: false }, None));
            }
            let mut chain = Chain::at_end(conn, floor)?;
            let change = end(conn, &mut chain, row, ApprovalEvent::Expire, now)?;
            Ok((change, Some(chain.head)))
        })
        .await
    }

    /// Uses a grant up: when this returns, no other call can use it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is no grant any more, was used, expired, or is for another call.
    pub async fn begin_approval(&self, id: &ApprovalId, hash: &str, now: Timestamp) -> Result<ApprovalRow, StoreError> {
        let (id, hash) = (id.clone(), hash.to_owned());
        self.write(Kind::ApprovalBegin, 0, move |conn| {
            let row = read(conn, &id)?;
            // The rule is the state's; that no two can begin is the statement's.
            let refused = |why: &str| StoreError::Conflict(format!("the confirmation `{id}` {why}"));
            row.state.on(ApprovalEvent::Begin).map_err(|_| refused("cannot be used: it was used, or is not approved"))?;
            if now >= row.expires {
                return Err(refused("has expired"));
            }
            let sql = "UPDATE approvals SET state = 'begun', used_ms = ?3
                       WHERE id = ?1 AND state = 'approved' AND used_ms IS NULL AND hash = ?2 RETURNING *";
            let mut statement = conn.prepare_cached(sql).doing("use a confirmation")?;
            let found = statement.query_row((id.as_str(), &hash, int("now", now.0)?), from_row).optional();
            found.doing("use a confirmation")?.ok_or_else(|| refused("is for another call"))
        })
        .await
    }

    /// Keeps what came of a call that was begun.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it was not begun, or its outcome is kept already.
    pub async fn finish_approval(&self, id: &ApprovalId, outcome: &Value, now: Timestamp) -> Result<ApprovalRow, StoreError> {
        let (id, outcome) = (id.clone(), to_json("outcome", outcome)?);
        self.write(Kind::ApprovalFinish, outcome.len(), move |conn| {
            let sql =
                "UPDATE approvals SET state = 'finished', outcome = ?2, finished_ms = ?3 WHERE id = ?1 AND state = 'begun' RETURNING *";
            let mut statement = conn.prepare_cached(sql).doing("keep the outcome of a call")?;
            let row = statement.query_row((id.as_str(), &outcome, int("now", now.0)?), from_row).optional();
            match row.doing("keep the outcome of a call")? {
                Some(row) => Ok(row),
                None => {
                    let state = read(conn, &id)?.state;
                    Err(StoreError::Conflict(format!("the call of `{id}` was not begun, or is over: it is {}", state.as_str())))
                }
            }
        })
        .await
    }

    /// Reads a confirmation.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn approval(&self, id: &ApprovalId) -> Result<ApprovalRow, StoreError> {
        let id = id.clone();
        self.read(move |conn| read(conn, &id)).await
    }

    /// Lists confirmations, the youngest first, from before `after` on.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when `limit` is 0 or above [`LIST_MAX`].
    pub async fn approvals(
        &self,
        filter: &ApprovalFilter,
        after: Option<ApprovalId>,
        limit: usize,
    ) -> Result<Page<ApprovalRow>, StoreError> {
        check_limit(limit, LIST_MAX)?;
        let filter = filter.clone();
        self.read(move |conn| list(conn, &filter, after.as_ref(), limit)).await
    }

    /// The confirmations of a turn that are pending or approved and not used.
    ///
    /// # Errors
    /// What the database said.
    pub async fn open_approvals(&self, session: &SessionId, turn: &TurnId) -> Result<Vec<ApprovalRow>, StoreError> {
        let (session, turn) = (session.clone(), turn.clone());
        self.read(move |conn| open_of(conn, &session, &turn)).await
    }

    /// Confirmations whose time was up at `now` and that nobody has ended: at most [`LIST_MAX`].
    ///
    /// # Errors
    /// What the database said.
    pub async fn overdue_approvals(&self, now: Timestamp) -> Result<Vec<ApprovalId>, StoreError> {
        self.read(move |conn| {
            let doing = "look for confirmations that are overdue";
            let sql = "SELECT id FROM approvals WHERE state IN ('pending', 'approved') AND expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2";
            let mut statement = conn.prepare_cached(sql).doing(doing)?;
            let rows = statement.query_map((int("now", now.0)?, LIST_MAX), |r| parsed(r, "id")).doing(doing)?;
            rows.collect::<crate::db::Result<_>>().doing(doing)
        })
        .await
    }

    /// A write that may add to the audit.
    async fn audited<F>(&self, bytes: usize, job: F) -> Result<ApprovalChange, StoreError>
    where
        F: FnOnce(&Connection) -> Result<(ApprovalChange, Option<Head>), StoreError> + Send + 'static,
    {
        let (change, head) = self.write(Kind::Approval, bytes, job).await?;
        if let Some(head) = head {
            self.audit_head().advance(head);
        }
        Ok(change)
    }
}

type Changed = Result<(ApprovalChange, Option<Head>), StoreError>;

fn ask(conn: &Connection, new: &NewApproval, arguments: &str, floor: Head) -> Changed {
    let doing = "ask for a confirmation";
    let session = new.session.as_ref().map(SessionId::as_str);
    let sql = "SELECT * FROM approvals WHERE coalesce(session, '') = coalesce(?1, '') AND correlation = ?2 AND hash = ?3";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let known = statement.query_row((session, &new.correlation, &new.hash), from_row).optional().doing(doing)?;
    if let Some(row) = known {
        return Ok((ApprovalChange { row, events: Vec::new(), changed: false }, None));
    }
    if session.is_none() {
        // The owner's own name for a call: it stands for one call and no other.
        let sql = "SELECT id FROM approvals WHERE session IS NULL AND correlation = ?1 LIMIT 1";
        let mut statement = conn.prepare_cached(sql).doing(doing)?;
        if statement.query_row((&new.correlation,), |r| r.get::<_, String>(0)).optional().doing(doing)?.is_some() {
            return Err(StoreError::Conflict("the key stands for another call".to_owned()));
        }
    }
    let sql = "SELECT count(*) FILTER (WHERE state = 'pending' AND expires_ms > ?2), count(*) FILTER (WHERE asked_ms > ?3) FROM approvals
               WHERE session IS ?1 AND (state = 'pending' OR asked_ms > ?3)";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let now = int("now", new.now.0)?;
    let with = (session, now, int("now", new.now.0.saturating_sub(MINUTE_MS))?);
    let (pending, lately): (u64, u64) = statement.query_row(with, |r| Ok((r.get(0)?, r.get(1)?))).doing(doing)?;
    if pending >= APPROVALS_PENDING_MAX {
        return Err(StoreError::Limit { what: "confirmations that wait in one session", max: APPROVALS_PENDING_MAX });
    }
    if session.is_some() && lately >= APPROVALS_MINUTE_MAX {
        return Err(StoreError::Limit { what: "confirmations asked for in a minute in one session", max: APPROVALS_MINUTE_MAX });
    }
    let turn = at_work(conn, new)?;
    prune(conn, new.now)?;
    let sql = "INSERT INTO approvals (id, session, turn, tenant, agent, tool, plugin, correlation, arguments, text, hash, risk, state,
                 asked_ms, expires_ms)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) RETURNING *";
    let risk = new.risk.as_str();
    let (id, state, expires) = (new.id.as_str(), ApprovalState::Pending.as_str(), int("expires", new.expires.0)?);
    let in_turn = turn.as_ref().map(|turn| turn.id.as_str());
    let with = crate::db::params![
        id, session, in_turn, new.tenant, new.agent, new.tool, new.plugin, new.correlation, arguments, new.text, new.hash, risk, state,
        now, expires
    ];
    let row = conn.prepare_cached(sql).and_then(|mut s| s.query_row(with, from_row)).doing(doing)?;
    let events = log(conn, turn.as_ref(), &row, new.now)?;
    let mut chain = Chain::at_end(conn, floor)?;
    chain.add(conn, &entry(&row, &new.actor, "asked", None, new.now)?)?;
    Ok((ApprovalChange { row, events, changed: true }, Some(chain.head)))
}

/// The turn that asks: the one of the session that somebody works on. A session has one at most.
fn at_work(conn: &Connection, new: &NewApproval) -> Result<Option<TurnRow>, StoreError> {
    let Some(session) = &new.session else { return Ok(None) };
    let doing = "look for the turn that asks";
    let sql = "SELECT id FROM turns WHERE session = ?1 AND state IN ('queued', 'leased', 'running', 'waiting')
                 AND state IN ('running', 'waiting') ORDER BY n LIMIT 1";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let id: Option<TurnId> = statement.query_row([session.as_str()], |r| parsed(r, "id")).optional().doing(doing)?;
    match id {
        Some(id) => read_turn(conn, &id).map(Some),
        None => Err(StoreError::Conflict(format!("no turn of session `{session}` runs, so nobody is asked for it"))),
    }
}

/// Forgets confirmations that were over long ago, when there are too many.
fn prune(conn: &Connection, now: Timestamp) -> Result<(), StoreError> {
    let doing = "forget old confirmations";
    let sql = "DELETE FROM approvals WHERE id IN (SELECT id FROM approvals WHERE state NOT IN ('pending', 'approved') AND asked_ms < ?1
                 ORDER BY id LIMIT max(0, (SELECT count(*) FROM approvals) - ?2))";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let before = int("now", now.0.saturating_sub(KEPT_MS_MIN))?;
    statement.execute((before, int("max", APPROVALS_KEPT_MAX)?)).doing(doing).map(drop)
}

fn answer_in(conn: &Connection, id: &ApprovalId, answer: &ApprovalAnswer, floor: Head) -> Changed {
    let row = read(conn, id)?;
    if row.hash != answer.hash {
        return Err(StoreError::Conflict(format!("the hash is not that of confirmation `{id}`: look at it again")));
    }
    let event = if answer.approve { ApprovalEvent::Approve } else { ApprovalEvent::Deny };
    let state = row
        .state
        .on(event)
        .map_err(|_| StoreError::Conflict(format!("confirmation `{id}` wants no answer any more: it is {}", row.state.status())))?;
    let mut chain = Chain::at_end(conn, floor)?;
    if answer.now >= row.expires {
        let change = end(conn, &mut chain, row, ApprovalEvent::Expire, answer.now)?;
        return Ok((change, Some(chain.head)));
    }
    let doing = "answer a confirmation";
    let expires = if answer.approve { answer.usable_until } else { row.expires };
    let sql = "UPDATE approvals SET state = ?2, answered_ms = ?3, answered_by = ?4, note = ?5, expires_ms = ?6
               WHERE id = ?1 AND state = 'pending' RETURNING *";
    let with = (id.as_str(), state.as_str(), int("now", answer.now.0)?, &answer.by, &answer.note, int("expires", expires.0)?);
    let row = conn.prepare_cached(sql).and_then(|mut s| s.query_row(with, from_row)).doing(doing)?;
    settle(conn, &row, &answer.by, answer.now)?;
    let turn = open_turn(conn, &row)?;
    let events = log(conn, turn.as_ref(), &row, answer.now)?;
    let code = (!answer.approve).then_some(Code::ConfirmationDenied);
    chain.add(conn, &entry(&row, &answer.by, row.state.status(), code, answer.now)?)?;
    Ok((ApprovalChange { row, events, changed: true }, Some(chain.head)))
}

/// Ends a confirmation that nobody answered or used.
fn end(conn: &Connection, chain: &mut Chain, row: ApprovalRow, event: ApprovalEvent, now: Timestamp) -> Result<ApprovalChange, StoreError> {
    let row = set_ended(conn, &row, event)?;
    settle(conn, &row, "", now)?;
    let turn = open_turn(conn, &row)?;
    let events = log(conn, turn.as_ref(), &row, now)?;
    chain.add(conn, &entry(&row, HOST, row.state.status(), Some(Code::ConfirmationTimeout), now)?)?;
    Ok(ApprovalChange { row, events, changed: true })
}

/// Changes the cards that asked for it to what came of it. `by` is empty where nobody answered.
fn settle(conn: &Connection, row: &ApprovalRow, by: &str, now: Timestamp) -> Result<(), StoreError> {
    let who = if by.is_empty() { String::new() } else { format!(" by {}", crate::card::called(conn, by)?) };
    crate::card::settle(conn, &format!("approval:{}", row.id), &format!("{}: {}{who}.", row.tool, row.state.status()), now)
}

fn set_ended(conn: &Connection, row: &ApprovalRow, event: ApprovalEvent) -> Result<ApprovalRow, StoreError> {
    let state = row.state.on(event).map_err(|refused| StoreError::Conflict(refused.to_string()))?;
    let sql = "UPDATE approvals SET state = ?2 WHERE id = ?1 RETURNING *";
    let with = (row.id.as_str(), state.as_str());
    conn.prepare_cached(sql).and_then(|mut s| s.query_row(with, from_row)).doing("end a confirmation")
}

/// Gives up what a turn asked for and did not use, in the transaction that ends the turn or gives it back.
pub(crate) fn withdraw(conn: &Connection, turn: &TurnRow, floor: Head, now: Timestamp) -> Result<(Vec<Event>, Option<Head>), StoreError> {
    let open = open_of(conn, &turn.session, &turn.id)?;
    if open.is_empty() {
        return Ok((Vec::new(), None));
    }
    let mut chain = Chain::at_end(conn, floor)?;
    let mut events = Vec::with_capacity(open.len());
    for row in &open {
        let row = set_ended(conn, row, ApprovalEvent::Cancel)?;
        settle(conn, &row, "", now)?;
        events.extend(log(conn, Some(turn), &row, now)?);
        chain.add(conn, &entry(&row, HOST, row.state.status(), Some(Code::Cancelled), now)?)?;
    }
    Ok((events, Some(chain.head)))
}

fn open_of(conn: &Connection, session: &SessionId, turn: &TurnId) -> Result<Vec<ApprovalRow>, StoreError> {
    let doing = "list confirmations of a turn";
    let sql = "SELECT * FROM approvals WHERE session = ?1 AND turn = ?2 AND state IN ('pending', 'approved') ORDER BY id";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let rows = statement.query_map((session.as_str(), turn.as_str()), from_row).doing(doing)?;
    rows.collect::<crate::db::Result<_>>().doing(doing)
}

/// The turn of a confirmation, while it is not over.
fn open_turn(conn: &Connection, row: &ApprovalRow) -> Result<Option<TurnRow>, StoreError> {
    match &row.turn {
        Some(turn) => Ok(Some(read_turn(conn, turn)?).filter(|t| matches!(t.state, TurnState::Running | TurnState::Waiting))),
        None => Ok(None),
    }
}

/// Says in the session's log where the confirmation stands.
fn log(conn: &Connection, turn: Option<&TurnRow>, row: &ApprovalRow, now: Timestamp) -> Result<Vec<Event>, StoreError> {
    let Some(turn) = turn else { return Ok(Vec::new()) };
    let kind = EventKind::Approval { id: row.id.to_string(), status: row.state.status().to_owned(), tool: row.tool.clone() };
    Ok(vec![add_event(conn, turn, kind, now)?])
}

/// The row of the audit for a change.
fn entry(row: &ApprovalRow, actor: &str, outcome: &str, code: Option<Code>, now: Timestamp) -> Result<Prepared, StoreError> {
    Prepared::new(AuditEntry {
        time: now,
        kind: AuditKind::Confirmation,
        session: row.session.clone(),
        turn: row.turn.clone(),
        actor: actor.to_owned(),
        topic: format!("tool.invoke.{}", row.tool),
        correlation: Some(row.correlation.clone()),
        stage: Some(5),
        outcome: outcome.to_owned(),
        code,
        detail: json!({ "approval": row.id, "hash": row.hash }),
    })
}

fn read(conn: &Connection, id: &ApprovalId) -> Result<ApprovalRow, StoreError> {
    let mut statement = conn.prepare_cached("SELECT * FROM approvals WHERE id = ?1").doing("read a confirmation")?;
    let row = statement.query_row([id.as_str()], from_row).optional().doing("read a confirmation")?;
    row.ok_or_else(|| StoreError::NotFound { what: "confirmation", id: id.to_string() })
}

fn list(conn: &Connection, filter: &ApprovalFilter, after: Option<&ApprovalId>, limit: usize) -> Result<Page<ApprovalRow>, StoreError> {
    let doing = "list confirmations";
    let sql = "SELECT * FROM approvals WHERE (?1 IS NULL OR tenant = ?1) AND (?2 IS NULL OR session = ?2) AND (?3 IS NULL OR id < ?3)
                 AND (?4 IS NULL OR CASE WHEN state IN ('begun', 'finished') THEN 'approved' ELSE state END = ?4)
               ORDER BY id DESC LIMIT ?5";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let (session, after) = (filter.session.as_ref().map(SessionId::as_str), after.map(ApprovalId::as_str));
    let rows = statement.query_map((&filter.tenant, session, after, &filter.status, limit + 1), from_row).doing(doing)?;
    let mut items: Vec<ApprovalRow> = rows.collect::<crate::db::Result<_>>().doing(doing)?;
    let next = if items.len() > limit {
        items.truncate(limit);
        items.last().map(|row| row.id.to_string())
    } else {
        None
    };
    Ok(Page { items, next })
}

fn from_row(row: &Row<'_>) -> crate::db::Result<ApprovalRow> {
    let state: String = row.get("state")?;
    let risk: String = row.get("risk")?;
    let outcome: Option<String> = row.get("outcome")?;
    let time = |column| row.get::<_, Option<u64>>(column).map(|t| t.map(Timestamp));
    Ok(ApprovalRow {
        id: parsed(row, "id")?,
        session: maybe_parsed(row, "session")?,
        turn: maybe_parsed(row, "turn")?,
        tenant: row.get("tenant")?,
        agent: row.get("agent")?,
        tool: row.get("tool")?,
        plugin: row.get("plugin")?,
        correlation: row.get("correlation")?,
        arguments: json(row, "arguments")?,
        text: row.get("text")?,
        hash: row.get("hash")?,
        risk: serde_json::from_value(Value::String(risk)).map_err(|e| unreadable(e.into()))?,
        state: ApprovalState::from_word(&state).ok_or_else(|| unreadable("no confirmation has this state".into()))?,
        outcome: outcome.map(|o| serde_json::from_str(&o)).transpose().map_err(|e| unreadable(e.into()))?,
        asked: Timestamp(row.get("asked_ms")?),
        expires: Timestamp(row.get("expires_ms")?),
        answered: time("answered_ms")?,
        answered_by: row.get("answered_by")?,
        note: row.get("note")?,
        used: time("used_ms")?,
        finished: time("finished_ms")?,
    })
}
