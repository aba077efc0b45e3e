//! Forgetting jobs.

use model::{SessionId, Timestamp};

use super::queue;
use super::row::{column, read_job};
use crate::db::{Connection, OptionalExtension};
use crate::error::Doing;
use crate::row::{int, parsed};
use crate::webhook::is_owed;
use crate::writer::Kind;
use crate::{Store, StoreError};

/// A job that can be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweptJob {
    /// The job.
    pub id: String,
    /// The sessions of its tries, which go first.
    pub sessions: Vec<SessionId>,
}

impl Store {
    /// Jobs that ended before `before`, and of each tenant those beyond the `keep` youngest that are over; none whose
    /// webhook is still to be sent. At most `limit`.
    ///
    /// # Errors
    /// What the database said.
    pub async fn old_jobs(&self, before: Timestamp, keep: u64, limit: usize) -> Result<Vec<SweptJob>, StoreError> {
        self.read(move |conn| {
            let mut ids = ended_before(conn, before, limit)?;
            for tenant in tenants(conn)? {
                if ids.len() < limit {
                    ids.extend(beyond(conn, &tenant, keep, limit - ids.len())?);
                }
            }
            ids.sort();
            ids.dedup();
            let mut old = Vec::new();
            for id in ids {
                if !is_owed(conn, &id)? {
                    let sessions = sessions_of(conn, &id)?;
                    old.push(SweptJob { id, sessions });
                }
            }
            Ok(old)
        })
        .await
    }

    /// The sessions of a job's tries, the first one first.
    ///
    /// # Errors
    /// What the database said.
    pub async fn job_sessions(&self, id: &str) -> Result<Vec<SessionId>, StoreError> {
        let id = id.to_owned();
        self.read(move |conn| sessions_of(conn, &id)).await
    }

    /// Forgets a job. Its sessions are not touched.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] while it is not over or its webhook is still to be sent.
    pub async fn delete_job(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.write(Kind::JobDelete, 0, move |conn| {
            let job = read_job(conn, &id)?;
            if !job.state.is_final() {
                return Err(StoreError::Conflict(format!("job `{id}` is {}", job.state.as_str())));
            }
            if is_owed(conn, &id)? {
                return Err(StoreError::Conflict(format!("the webhook of job `{id}` is still to be sent")));
            }
            queue::count(conn, &job.tenant, job.state, -1)?;
            queue::forget_lanes(conn)?;
            conn.prepare_cached("DELETE FROM jobs WHERE id = ?1").and_then(|mut s| s.execute([&id])).doing("forget a job").map(drop)
        })
        .await
    }
}

fn ended_before(conn: &Connection, before: Timestamp, limit: usize) -> Result<Vec<String>, StoreError> {
    let doing = "look for old jobs";
    let sql = "SELECT id FROM jobs WHERE finished_ms < ?1 ORDER BY finished_ms LIMIT ?2";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let rows = statement.query_map((column("before", before)?, limit), |r| r.get(0)).doing(doing)?;
    rows.collect::<crate::db::Result<_>>().doing(doing)
}

fn tenants(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let doing = "look for old jobs";
    let mut statement = conn.prepare_cached("SELECT DISTINCT tenant FROM job_counts").doing(doing)?;
    let rows = statement.query_map([], |r| r.get(0)).doing(doing)?;
    rows.collect::<crate::db::Result<_>>().doing(doing)
}

/// Jobs of a tenant that are over, older than its `keep` youngest.
fn beyond(conn: &Connection, tenant: &str, keep: u64, limit: usize) -> Result<Vec<String>, StoreError> {
    let doing = "look for old jobs";
    let sql = "SELECT n FROM jobs WHERE tenant = ?1 AND finished_ms IS NOT NULL ORDER BY n DESC LIMIT 1 OFFSET ?2";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let youngest: Option<i64> = statement.query_row((tenant, int("keep", keep)?), |r| r.get(0)).optional().doing(doing)?;
    let Some(youngest) = youngest else { return Ok(Vec::new()) };
    let sql = "SELECT id FROM jobs WHERE tenant = ?1 AND n <= ?2 AND finished_ms IS NOT NULL ORDER BY n LIMIT ?3";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let rows = statement.query_map((tenant, youngest, limit), |r| r.get(0)).doing(doing)?;
    rows.collect::<crate::db::Result<_>>().doing(doing)
}

fn sessions_of(conn: &Connection, id: &str) -> Result<Vec<SessionId>, StoreError> {
    let doing = "read the sessions of a job";
    let mut statement = conn.prepare_cached("SELECT session FROM job_tries WHERE job = ?1 ORDER BY n").doing(doing)?;
    let rows = statement.query_map([id], |r| parsed(r, "session")).doing(doing)?;
    rows.collect::<crate::db::Result<_>>().doing(doing)
}
