//! What becomes of jobs that were claimed, and how they end.

use model::{Code, JobEvent, JobState, Money, Timestamp, Usage};

use super::blob::{self, JobBlob};
use super::row::{Along, JobRow, column, from_row, held_job, is_ready, read_job, set_state};
use crate::db::{Connection, params};
use crate::error::Doing;
use crate::row::{int, to_json};
use crate::webhook::{Owed, cut, owe};
use crate::writer::Kind;
use crate::{Fence, Store, StoreError};

/// Bytes that are kept of why a job failed; at most 500 characters are shown.
const ERROR_BYTES_MAX: usize = 2000;

/// The right to work on a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobWork {
    /// The job.
    pub id: String,
    /// The claim.
    pub fence: Fence,
}

/// How a job ends.
#[derive(Debug, Clone, PartialEq)]
pub struct JobEnd {
    /// The job, and the claim under which it was worked on.
    pub work: JobWork,
    /// Whether it ended well.
    pub is_good: bool,
    /// 0 when it ended well.
    pub exit_code: i32,
    /// Why it failed.
    pub code: Option<Code>,
    /// Why it failed, in words.
    pub error: Option<String>,
    /// The tokens.
    pub usage: Usage,
    /// What it cost.
    pub cost: Money,
    /// What it leaves.
    pub blobs: Vec<JobBlob>,
    /// Whether there is a session of it.
    pub has_session: bool,
    /// Now.
    pub now: Timestamp,
}

impl JobEnd {
    /// A failure that leaves nothing.
    #[must_use]
    pub fn failed(job: &JobRow, code: Code, error: String, now: Timestamp) -> Self {
        Self {
            work: JobWork { id: job.id.clone(), fence: job.fence },
            is_good: false,
            exit_code: 1,
            code: Some(code),
            error: Some(error),
            usage: job.usage,
            cost: job.cost,
            blobs: Vec::new(),
            has_session: true,
            now,
        }
    }
}

/// A job that was stopped.
#[derive(Debug, Clone, PartialEq)]
pub struct EndedJob {
    /// The job as it is now.
    pub row: JobRow,
    /// Where it stood before.
    pub was: JobState,
}

impl Store {
    /// Notes that the engine of a job has started.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the claim is not in force any more.
    pub async fn start_job(&self, work: JobWork, now: Timestamp) -> Result<JobRow, StoreError> {
        self.write(Kind::JobStart, 0, move |conn| {
            held_job(conn, &work.id, work.fence)?;
            let sql = "UPDATE jobs SET started_ms = coalesce(started_ms, ?2) WHERE id = ?1 RETURNING *";
            let with = (&work.id, column("now", now)?);
            conn.prepare_cached(sql).and_then(|mut s| s.query_row(with, from_row)).doing("start a job")
        })
        .await
    }

    /// Notes that the turn of a job waits for a person, or does so no more. One that stands so already stays.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the claim is not in force any more.
    pub async fn mark_job_waiting(&self, work: JobWork, is_waiting: bool) -> Result<JobRow, StoreError> {
        self.write(Kind::JobMark, 0, move |conn| {
            let job = held_job(conn, &work.id, work.fence)?;
            if (job.state == JobState::Waiting) == is_waiting {
                return Ok(job);
            }
            set_state(conn, &job, false, if is_waiting { JobEvent::Ask } else { JobEvent::Answer }, &Along::NOTHING)
        })
        .await
    }

    /// Lets a job wait for another try, that begins at `not_before`. `used` is what all its tries have used.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the claim is not in force any more.
    pub async fn retry_job(
        &self,
        work: JobWork,
        not_before: Timestamp,
        code: Code,
        why: String,
        used: (Usage, Money),
    ) -> Result<JobRow, StoreError> {
        self.write(Kind::JobRetry, 0, move |conn| {
            let mut job = held_job(conn, &work.id, work.fence)?;
            (job.usage, job.cost) = used;
            retry(conn, &job, not_before, code, &why)
        })
        .await
    }

    /// Ends a job, with all that it leaves and the webhook that is owed for it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the claim is not in force any more: it was stopped, or given to somebody else.
    pub async fn finish_job(&self, end: JobEnd) -> Result<JobRow, StoreError> {
        let bytes = blob::inline_bytes(&end.blobs);
        self.write(Kind::JobFinish, bytes, move |conn| self::end(conn, &end)).await
    }

    /// Stops a job wherever it stands.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] when it is over.
    pub async fn cancel_job(&self, id: &str, now: Timestamp) -> Result<EndedJob, StoreError> {
        let id = id.to_owned();
        self.write(Kind::JobCancel, 0, move |conn| {
            let job = read_job(conn, &id)?;
            if job.state.is_final() {
                return Err(StoreError::Conflict(format!("job `{id}` is {} already", job.state.as_str())));
            }
            let ready = is_ready(conn, &id)?;
            let at = column("now", now)?;
            // Whoever works on it finds its claim gone.
            let along = Along(
                ", fence = fence + 1, exit_code = 130, code = ?3, error = ?4, finished_ms = ?5, lease_ms = NULL",
                &[&Code::Cancelled.as_str(), &"somebody stopped it", &at],
            );
            let row = set_state(conn, &job, ready, JobEvent::Cancel, &along)?;
            tell(conn, &row, now)?;
            Ok(EndedJob { row, was: job.state })
        })
        .await
    }

    /// Notes what a job had used when it was stopped: that is known a moment later.
    ///
    /// # Errors
    /// What the database said.
    pub async fn settle_job(&self, id: &str, usage: Usage, cost: Money) -> Result<(), StoreError> {
        let id = id.to_owned();
        let usage = to_json("usage", &usage)?;
        self.write(Kind::JobSettle, 0, move |conn| {
            let sql = "UPDATE jobs SET usage = ?2, cost = ?3 WHERE id = ?1 AND state = 'cancelled'";
            let with = params![id, usage, int("cost", cost.0)?];
            conn.prepare_cached(sql).and_then(|mut s| s.execute(with)).doing("settle a job").map(drop)
        })
        .await
    }
}

/// Lets a job wait for another try.
pub(super) fn retry(conn: &Connection, job: &JobRow, not_before: Timestamp, code: Code, why: &str) -> Result<JobRow, StoreError> {
    let (begins, why) = (column("not_before", not_before)?, cut(why.to_owned(), ERROR_BYTES_MAX));
    let (usage, cost) = (to_json("usage", &job.usage)?, int("cost", job.cost.0)?);
    let along = Along(
        ", fence = fence + 1, replica = NULL, lease_ms = NULL, session = NULL, turn = NULL, not_before_ms = ?3, code = ?4, error = ?5, \
         usage = ?6, cost = ?7",
        &[&begins, &code.as_str(), &why, &usage, &cost],
    );
    set_state(conn, job, false, JobEvent::Retry, &along)
}

/// What is kept with the end of a job.
const ENDED: &str = ", exit_code = ?3, code = ?4, error = ?5, usage = ?6, cost = ?7, finished_ms = ?8, lease_ms = NULL";
/// The same where no session was made.
const ENDED_WITHOUT_SESSION: &str =
    ", exit_code = ?3, code = ?4, error = ?5, usage = ?6, cost = ?7, finished_ms = ?8, lease_ms = NULL, session = NULL, turn = NULL";

/// Ends a job.
pub(super) fn end(conn: &Connection, end: &JobEnd) -> Result<JobRow, StoreError> {
    let job = held_job(conn, &end.work.id, end.work.fence)?;
    if job.state == JobState::Queued {
        return Err(StoreError::Conflict(format!("job `{}` has nobody who works on it", job.id)));
    }
    blob::keep(conn, &job.id, &end.blobs)?;
    let (exit_code, code) = (i64::from(end.exit_code), end.code.map(Code::as_str));
    let error = end.error.clone().map(|text| cut(text, ERROR_BYTES_MAX));
    let (usage, cost, at) = (to_json("usage", &end.usage)?, int("cost", end.cost.0)?, column("now", end.now)?);
    let more = if end.has_session { ENDED } else { ENDED_WITHOUT_SESSION };
    let along = Along(more, &[&exit_code, &code, &error, &usage, &cost, &at]);
    let row = set_state(conn, &job, false, if end.is_good { JobEvent::Finish } else { JobEvent::Fail }, &along)?;
    tell(conn, &row, end.now)?;
    Ok(row)
}

/// Ends the task run that a job that is over was, and owes its webhook.
fn tell(conn: &Connection, job: &JobRow, now: Timestamp) -> Result<(), StoreError> {
    let end = crate::task::End { is_well: job.state.as_str() == "completed", note: job.error.as_deref(), now };
    crate::task::job_ended(conn, &job.id, end)?;
    let Some(url) = &job.webhook_url else { return Ok(()) };
    let mut statement = conn.prepare_cached("SELECT webhook_key, traceparent FROM jobs WHERE id = ?1").doing("owe a webhook")?;
    let (secret, traceparent): (Option<String>, Option<String>) =
        statement.query_row([&job.id], |r| Ok((r.get(0)?, r.get(1)?))).doing("owe a webhook")?;
    let owed = Owed {
        job: &job.id,
        tenant: &job.tenant,
        event: &format!("job.{}", job.state.as_str()),
        url,
        secret: secret.as_deref(),
        traceparent: traceparent.as_deref(),
        body: None,
        now,
    };
    owe(conn, &owed).map(drop)
}
