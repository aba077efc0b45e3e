//! A job as it is kept.

use std::collections::BTreeMap;

use model::{Code, JobEvent, JobState, Money, SessionId, Timestamp, TurnId, Usage};
use serde::Serialize;
use serde_json::Value;

use super::{JobBlob, queue};
use crate::db::{Connection, OptionalExtension, Row, ToSql};
use crate::error::Doing;
use crate::row::{int, json, maybe_parsed, unreadable};
use crate::{Fence, Store, StoreError};

/// A stored job, without what it was asked and what it left.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobRow {
    /// Its identity.
    pub id: String,
    /// Its number; a younger job has a higher one.
    pub n: u64,
    /// Whose it is.
    pub tenant: String,
    /// Who asked, in the caller's own words.
    pub agent_id: String,
    /// The agent whose policy it has.
    pub agent: String,
    /// Where it stands.
    pub state: JobState,
    /// Among jobs that wait, a higher one goes first.
    pub priority: u8,
    /// The profile.
    pub profile: String,
    /// The engine.
    pub engine: String,
    /// The model; empty for the engine's own choice.
    pub model: String,
    /// The user's own words.
    pub labels: BTreeMap<String, String>,
    /// The session of the try that is under way, or of the last one.
    pub session: Option<SessionId>,
    /// Its turn.
    pub turn: Option<TurnId>,
    /// The number of its last claim; every write for the job must carry it.
    pub fence: Fence,
    /// Who works on it.
    pub replica: Option<String>,
    /// Until when that one need not say so again.
    pub lease: Option<Timestamp>,
    /// Before which time it does not begin.
    pub not_before: Timestamp,
    /// How often it was begun.
    pub tries: u32,
    /// How often it may be begun again.
    pub retries_max: u32,
    /// How often its daemon ended without any progress of the job.
    pub deaths: u32,
    /// 0 when it ended well, 1 when it failed, 130 when it was stopped.
    pub exit_code: Option<i32>,
    /// Why it failed.
    pub code: Option<Code>,
    /// Why it failed, in words.
    pub error: Option<String>,
    /// The tokens.
    pub usage: Usage,
    /// What it cost.
    pub cost: Money,
    /// Where its end is told.
    pub webhook_url: Option<String>,
    /// When it was accepted.
    pub created: Timestamp,
    /// When its engine first started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
}

/// What a job was asked and what it left.
#[derive(Debug, Clone, PartialEq)]
pub struct JobDetail {
    /// The job.
    pub row: JobRow,
    /// The caller's own form of it, without the prompt and what comes as bytes.
    pub form: Value,
    /// What it runs with, without the prompt.
    pub resolved: Value,
    /// What it left and what came with it, without the bytes of what is long.
    pub blobs: Vec<JobBlob>,
}

impl Store {
    /// Reads a job.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn job(&self, id: &str) -> Result<JobRow, StoreError> {
        let id = id.to_owned();
        self.read(move |conn| read_job(conn, &id)).await
    }

    /// Reads a job with all but its prompt.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn job_detail(&self, id: &str) -> Result<JobDetail, StoreError> {
        let id = id.to_owned();
        self.read(move |conn| {
            let row = read_job(conn, &id)?;
            let mut statement = conn.prepare_cached("SELECT form, resolved FROM job_forms WHERE job = ?1").doing("read a job")?;
            let (form, resolved) = statement.query_row([&id], |r| Ok((json(r, "form")?, json(r, "resolved")?))).doing("read a job")?;
            Ok(JobDetail { row, form, resolved, blobs: super::blob::of_job(conn, &id, None)? })
        })
        .await
    }

    /// The job that a key of a tenant made, and what its request hashes to.
    ///
    /// # Errors
    /// What the database said.
    pub async fn job_of_key(&self, tenant: &str, key: &str) -> Result<Option<(JobRow, String)>, StoreError> {
        let (tenant, key) = (tenant.to_owned(), key.to_owned());
        self.read(move |conn| {
            let mut statement = conn.prepare_cached("SELECT * FROM jobs WHERE tenant = ?1 AND idem = ?2").doing("read a job")?;
            statement.query_row((&tenant, &key), |r| Ok((from_row(r)?, r.get("request")?))).optional().doing("read a job")
        })
        .await
    }

    /// What the webhook of a job is signed with, sealed; `None` for the tenant's own secret.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn job_webhook_key(&self, id: &str) -> Result<Option<String>, StoreError> {
        let id = id.to_owned();
        self.read(move |conn| {
            let mut statement = conn.prepare_cached("SELECT webhook_key FROM jobs WHERE id = ?1").doing("read a job")?;
            statement.query_row([&id], |r| r.get(0)).optional().doing("read a job")?.ok_or_else(|| no_job(&id))
        })
        .await
    }

    /// Reads what a job asks, as it is given to the engine.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn job_prompt(&self, id: &str) -> Result<String, StoreError> {
        let id = id.to_owned();
        self.read(move |conn| {
            let sql = "SELECT prompt FROM job_forms WHERE job = ?1";
            let found: Option<Vec<u8>> = conn.query_row(sql, [&id], |r| r.get(0)).optional().doing("read the prompt of a job")?;
            let bytes = found.ok_or_else(|| no_job(&id))?;
            String::from_utf8(bytes).map_err(|_| StoreError::invalid("prompt", "is not UTF-8"))
        })
        .await
    }
}

/// What changes of a job together with its state: more of the statement's `SET`, and the values of it, from `?3` on.
pub(super) struct Along<'a>(pub(super) &'static str, pub(super) &'a [&'a dyn ToSql]);

impl Along<'_> {
    /// Nothing but the state.
    pub(super) const NOTHING: Self = Along("", &[]);
}

/// The only writer of `jobs.state` after a job was accepted. Keeps the queue and the counts true, and gives the job as it is
/// then.
pub(super) fn set_state(conn: &Connection, job: &JobRow, is_ready: bool, event: JobEvent, along: &Along<'_>) -> Result<JobRow, StoreError> {
    if is_ready {
        queue::leave(conn, job)?;
    }
    let row = write_state(conn, job, event, along)?;
    queue::moved(conn, &job.tenant, (job.state, row.state), 1)?;
    Ok(row)
}

/// The same where the caller keeps the queue and the counts true.
pub(super) fn write_state(conn: &Connection, job: &JobRow, event: JobEvent, along: &Along<'_>) -> Result<JobRow, StoreError> {
    let doing = "change the state of a job";
    let next = job.state.on(event).map_err(|refused| StoreError::Conflict(format!("job `{}`: {refused}", job.id)))?.as_str();
    let Along(more, values) = along;
    let sql = format!("UPDATE jobs SET state = ?2, ready = 0{more} WHERE id = ?1 RETURNING *");
    let mut with: Vec<&dyn ToSql> = vec![&job.id, &next];
    with.extend(values.iter());
    conn.prepare_cached(&sql).and_then(|mut s| s.query_row(with.as_slice(), from_row)).doing(doing)
}

pub(super) fn read_job(conn: &Connection, id: &str) -> Result<JobRow, StoreError> {
    let mut statement = conn.prepare_cached("SELECT * FROM jobs WHERE id = ?1").doing("read a job")?;
    statement.query_row([id], from_row).optional().doing("read a job")?.ok_or_else(|| no_job(id))
}

/// The same, refused when the caller's claim was given to somebody else, or the job is over.
pub(super) fn held_job(conn: &Connection, id: &str, fence: Fence) -> Result<JobRow, StoreError> {
    let job = read_job(conn, id)?;
    if job.fence != fence || job.state.is_final() {
        return Err(StoreError::Conflict(format!(
            "job `{id}` is {} and held under claim {}, not {}",
            job.state.as_str(),
            job.fence.0,
            fence.0
        )));
    }
    Ok(job)
}

pub(super) fn no_job(id: &str) -> StoreError {
    StoreError::NotFound { what: "job", id: id.chars().take(128).collect() }
}

pub(super) fn is_ready(conn: &Connection, id: &str) -> Result<bool, StoreError> {
    let mut statement = conn.prepare_cached("SELECT ready FROM jobs WHERE id = ?1").doing("read a job")?;
    let ready: i64 = statement.query_row([id], |r| r.get(0)).doing("read a job")?;
    Ok(ready == 1)
}

pub(super) fn column(field: &'static str, time: Timestamp) -> Result<i64, StoreError> {
    int(field, time.0)
}

pub(super) fn from_row(row: &Row<'_>) -> crate::db::Result<JobRow> {
    let state: String = row.get("state")?;
    let state = JobState::from_word(&state).ok_or_else(|| unreadable("no state has this name".into()))?;
    let code: Option<String> = row.get("code")?;
    let code = code.map(|c| serde_json::from_value(Value::String(c))).transpose().map_err(|e| unreadable(e.into()))?;
    let time = |column| row.get::<_, Option<u64>>(column).map(|t| t.map(Timestamp));
    let exit_code: Option<i64> = row.get("exit_code")?;
    Ok(JobRow {
        id: row.get("id")?,
        n: row.get("n")?,
        tenant: row.get("tenant")?,
        agent_id: row.get("agent_id")?,
        agent: row.get("agent")?,
        state,
        priority: row.get("priority")?,
        profile: row.get("profile")?,
        engine: row.get("engine")?,
        model: row.get("model")?,
        labels: json(row, "labels")?,
        session: maybe_parsed(row, "session")?,
        turn: maybe_parsed(row, "turn")?,
        fence: Fence(row.get("fence")?),
        replica: row.get("replica")?,
        lease: time("lease_ms")?,
        not_before: Timestamp(row.get("not_before_ms")?),
        tries: row.get("tries")?,
        retries_max: row.get("retries_max")?,
        deaths: row.get("deaths")?,
        exit_code: exit_code.and_then(|c| i32::try_from(c).ok()),
        code,
        error: row.get("error")?,
        usage: json(row, "usage")?,
        cost: Money(row.get("cost")?),
        webhook_url: row.get("webhook_url")?,
        created: Timestamp(row.get("created_ms")?),
        started: time("started_ms")?,
        finished: time("finished_ms")?,
    })
}
