//! Taking jobs.

use std::collections::BTreeMap;

use model::{JobState, PROMPT_BYTES_MAX, Timestamp, Usage};
use serde_json::Value;

use super::blob::{self, JobBlob};
use super::queue;
use super::row::{JobRow, from_row};
use crate::db::{Connection, OptionalExtension, params};
use crate::error::Doing;
use crate::row::{int, to_json};
use crate::session::{check_name, check_text};
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Bytes that a job's form, and what it runs with, may have as JSON, each.
pub const JOB_FORM_BYTES_MAX: usize = 16 << 20;
/// Bytes of an idempotency key.
const KEY_BYTES_MAX: usize = 256;
/// Jobs that may be accepted in one millisecond before their numbers run ahead of the clock.
const NUMBERS_IN_MS: u64 = 4096;

/// A job to be accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Its identity.
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// Who asked, in the caller's own words.
    pub agent_id: String,
    /// The agent whose policy it has.
    pub agent: String,
    /// From 0 to 9.
    pub priority: u8,
    /// The profile.
    pub profile: String,
    /// The engine.
    pub engine: String,
    /// The model; empty for the engine's own choice.
    pub model: String,
    /// The user's own words.
    pub labels: BTreeMap<String, String>,
    /// The caller's own form of it, without the prompt and what comes as bytes. Not looked at here.
    pub form: Value,
    /// What it runs with, without the prompt. Not looked at here.
    pub resolved: Value,
    /// What the engine is asked.
    pub prompt: String,
    /// Files that come with it.
    pub blobs: Vec<JobBlob>,
    /// A caller's own name for the request: the same key of the same tenant is the same job.
    pub key: Option<String>,
    /// What the same request hashes to.
    pub request: String,
    /// How often it may be begun again.
    pub retries_max: u32,
    /// Before which time it does not begin.
    pub not_before: Timestamp,
    /// Where its end is told.
    pub webhook: Option<Webhook>,
    /// Jobs of this tenant that may wait.
    pub queued_max: u64,
    /// Now.
    pub now: Timestamp,
}

/// Where a job's end is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The address.
    pub url: String,
    /// What it is signed with, sealed; the tenant's own secret when left out.
    pub secret: Option<String>,
    /// The trace that it belongs to.
    pub traceparent: Option<String>,
}

/// What became of a request to accept a job.
#[derive(Debug, Clone, PartialEq)]
pub struct AcceptedJob {
    /// The job: the one asked for, or the one that the same key made earlier.
    pub row: JobRow,
    /// Whether this call made it.
    pub fresh: bool,
}

/// The parts of a new job that are stored as JSON.
struct Texts {
    labels: String,
    form: String,
    resolved: String,
    usage: String,
}

impl Store {
    /// Accepts a job: when this returns, it survives a power failure.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the key was used for another request or the identity is taken,
    /// [`StoreError::Limit`] when too many jobs of the tenant wait, [`StoreError::Invalid`] for a field out of bounds.
    pub async fn accept_job(&self, new: NewJob) -> Result<AcceptedJob, StoreError> {
        check(&new)?;
        let long = |field: &'static str, text: String| {
            if text.len() > JOB_FORM_BYTES_MAX {
                return Err(StoreError::invalid(field, format!("has {} bytes, more than {JOB_FORM_BYTES_MAX}", text.len())));
            }
            Ok(text)
        };
        let texts = Texts {
            labels: long("labels", to_json("labels", &new.labels)?)?,
            form: long("form", to_json("form", &new.form)?)?,
            resolved: long("form", to_json("form", &new.resolved)?)?,
            usage: to_json("usage", &Usage::default())?,
        };
        let bytes = new.prompt.len() + texts.form.len() + texts.resolved.len() + blob::inline_bytes(&new.blobs);
        self.write(Kind::JobAccept, bytes, move |conn| accept(conn, &new, &texts)).await
    }
}

fn check(new: &NewJob) -> Result<(), StoreError> {
    check_name("agent_id", &new.agent_id)?;
    check_name("tenant", &new.tenant)?;
    check_name("profile", &new.profile)?;
    check_text("id", &new.id, 128)?;
    if new.prompt.len() > PROMPT_BYTES_MAX {
        return Err(StoreError::invalid("prompt", format!("has {} bytes, more than {PROMPT_BYTES_MAX}", new.prompt.len())));
    }
    if new.key.as_ref().is_some_and(|k| k.is_empty() || k.len() > KEY_BYTES_MAX) {
        return Err(StoreError::invalid("key", format!("has not 1 to {KEY_BYTES_MAX} bytes")));
    }
    Ok(())
}

fn accept(conn: &Connection, new: &NewJob, texts: &Texts) -> Result<AcceptedJob, StoreError> {
    let doing = "accept a job";
    if let Some(key) = &new.key {
        let mut statement = conn.prepare_cached("SELECT * FROM jobs WHERE tenant = ?1 AND idem = ?2").doing(doing)?;
        let found = statement.query_row((&new.tenant, key), |r| Ok((from_row(r)?, r.get::<_, String>("request")?)));
        match found.optional().doing(doing)? {
            Some((row, request)) if request == new.request => return Ok(AcceptedJob { row, fresh: false }),
            Some((row, _)) => return Err(StoreError::Conflict(format!("the key was used for another request, job `{}`", row.id))),
            None => {}
        }
    }
    crate::quota::hold(conn, &new.tenant, crate::Claim::Job, new.now)?;
    if !new.blobs.is_empty() {
        let brought = new.blobs.iter().map(|blob| blob.bytes).sum();
        crate::quota::hold(conn, &new.tenant, crate::Claim::Bytes(brought), new.now)?;
    }
    if queue::counted(conn, &new.tenant, JobState::Queued)? >= new.queued_max {
        return Err(StoreError::Limit { what: "jobs of one tenant that wait", max: new.queued_max });
    }
    let n = number(conn, new.now)?;
    let ready = new.not_before <= new.now;
    let sql = "INSERT INTO jobs (id, n, tenant, agent_id, agent, state, priority, profile, engine, model, labels, idem, request, ready,
                 not_before_ms, retries_max, usage, webhook_url, webhook_key, traceparent, created_ms)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)
               ON CONFLICT (id) DO NOTHING RETURNING *";
    let hook = new.webhook.as_ref();
    let with = params![
        new.id,
        int("n", n)?,
        new.tenant,
        new.agent_id,
        new.agent,
        JobState::Queued.as_str(),
        new.priority,
        new.profile,
        new.engine,
        new.model,
        texts.labels,
        new.key,
        new.request,
        i64::from(ready),
        int("not_before", new.not_before.0)?,
        new.retries_max,
        texts.usage,
        hook.map(|h| &h.url),
        hook.and_then(|h| h.secret.as_ref()),
        hook.and_then(|h| h.traceparent.as_ref()),
        int("now", n / NUMBERS_IN_MS)?,
    ];
    let made = conn.prepare_cached(sql).and_then(|mut s| s.query_row(with, from_row)).optional().doing(doing)?;
    let row = made.ok_or_else(|| StoreError::Conflict(format!("job `{}` exists", new.id)))?;
    let sql = "INSERT INTO job_forms (job, form, resolved, prompt) VALUES (?1, ?2, ?3, ?4)";
    let with = params![new.id, texts.form, texts.resolved, new.prompt.as_bytes()];
    conn.prepare_cached(sql).and_then(|mut s| s.execute(with)).doing(doing)?;
    let sql = "INSERT INTO job_labels (name, value, n) VALUES (?1, ?2, ?3)";
    for (name, value) in &new.labels {
        let with = params![name, value, int("n", n)?];
        conn.prepare_cached(sql).and_then(|mut s| s.execute(with)).doing(doing)?;
    }
    blob::keep(conn, &new.id, &new.blobs)?;
    queue::count(conn, &new.tenant, JobState::Queued, 1)?;
    if ready {
        queue::enter(conn, &new.tenant, new.priority, &new.agent_id)?;
    }
    Ok(AcceptedJob { row, fresh: true })
}

/// The number of a new job: of its time, and above that of every other.
fn number(conn: &Connection, now: Timestamp) -> Result<u64, StoreError> {
    let mut statement = conn.prepare_cached("SELECT max(n) FROM jobs").doing("number a job")?;
    let last: Option<u64> = statement.query_row([], |r| r.get(0)).doing("number a job")?;
    let of_time = now.0.saturating_mul(NUMBERS_IN_MS);
    Ok(last.map_or(of_time, |last| of_time.max(last + 1)))
}

/// The first number of a time.
pub(super) fn number_at(time: Timestamp) -> u64 {
    time.0.saturating_mul(NUMBERS_IN_MS).min(i64::MAX.unsigned_abs())
}
