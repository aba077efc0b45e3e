//! Who waits and who is next: shelves of tenants, and on them lanes of `agent_id`s.
//!
//! A lane counts the jobs that could begin now and remembers when it was last served, so finding the next job costs a few
//! steps in an index however many wait, and an `agent_id` with a hundred thousand jobs keeps no other one waiting.

use model::JobState;

use super::row::{JobRow, from_row};
use crate::StoreError;
use crate::db::{Connection, OptionalExtension};
use crate::error::Doing;
use crate::row::int;

/// How far behind the queue's clock an empty lane is forgotten: it would be served first either way.
const LANES_KEPT: i64 = 100_000;

/// A job that waits can begin from now on.
pub(super) fn enter(conn: &Connection, tenant: &str, priority: u8, agent_id: &str) -> Result<(), StoreError> {
    let doing = "queue a job";
    // A shelf or lane that is made anew was served when another one of the same tenant or `agent_id` was.
    let sql = "INSERT INTO job_shelves (tenant, priority, waiting, served)
               VALUES (?1, ?2, 1, (SELECT coalesce(max(served), 0) FROM job_shelves WHERE tenant = ?1))
               ON CONFLICT (tenant, priority) DO UPDATE SET waiting = job_shelves.waiting + 1";
    conn.prepare_cached(sql).and_then(|mut s| s.execute((tenant, priority))).doing(doing)?;
    let sql = "INSERT INTO job_lanes (tenant, priority, agent_id, waiting, served)
               VALUES (?1, ?2, ?3, 1, (SELECT coalesce(max(served), 0) FROM job_lanes WHERE tenant = ?1 AND agent_id = ?3))
               ON CONFLICT (tenant, priority, agent_id) DO UPDATE SET waiting = job_lanes.waiting + 1";
    conn.prepare_cached(sql).and_then(|mut s| s.execute((tenant, priority, agent_id))).doing(doing)?;
    Ok(())
}

/// A job that could begin does not wait any more.
pub(super) fn leave(conn: &Connection, job: &JobRow) -> Result<(), StoreError> {
    let doing = "take a job from the queue";
    let sql = "UPDATE job_shelves SET waiting = waiting - 1 WHERE tenant = ?1 AND priority = ?2";
    conn.prepare_cached(sql).and_then(|mut s| s.execute((&job.tenant, job.priority))).doing(doing)?;
    let sql = "UPDATE job_lanes SET waiting = waiting - 1 WHERE tenant = ?1 AND priority = ?2 AND agent_id = ?3";
    conn.prepare_cached(sql).and_then(|mut s| s.execute((&job.tenant, job.priority, &job.agent_id))).doing(doing)?;
    Ok(())
}

/// Moves the queue's clock on for so many jobs that may be served, and gives what it showed before.
pub(super) fn tick(conn: &Connection, times: usize) -> Result<i64, StoreError> {
    let sql = "UPDATE job_clock SET served = served + ?1 WHERE id = 1 RETURNING served";
    let times = int("jobs", times as u64)?;
    let after: i64 = conn.prepare_cached(sql).and_then(|mut s| s.query_row([times], |r| r.get(0))).doing("serve a job")?;
    Ok(after - times)
}

/// Takes a job that could begin from the queue, and notes that its tenant and `agent_id` are served at this time.
pub(super) fn serve(conn: &Connection, job: &JobRow, clock: i64) -> Result<(), StoreError> {
    let doing = "serve a job";
    let sql = "UPDATE job_shelves SET served = ?2, waiting = waiting - CASE WHEN priority = ?3 THEN 1 ELSE 0 END WHERE tenant = ?1";
    conn.prepare_cached(sql).and_then(|mut s| s.execute((&job.tenant, clock, job.priority))).doing(doing)?;
    let sql = "UPDATE job_lanes SET served = ?3, waiting = waiting - CASE WHEN priority = ?4 THEN 1 ELSE 0 END
               WHERE tenant = ?1 AND agent_id = ?2";
    conn.prepare_cached(sql).and_then(|mut s| s.execute((&job.tenant, &job.agent_id, clock, job.priority))).doing(doing)?;
    Ok(())
}

/// Forgets lanes that nobody has waited in for long.
pub(super) fn forget_lanes(conn: &Connection) -> Result<(), StoreError> {
    let sql = "DELETE FROM job_lanes WHERE waiting = 0 AND served < (SELECT served FROM job_clock WHERE id = 1) - ?1";
    conn.prepare_cached(sql).and_then(|mut s| s.execute([LANES_KEPT])).doing("forget lanes").map(drop)
}

/// A tenant's jobs of one priority that could begin.
pub(super) struct Shelf {
    pub(super) tenant: String,
    pub(super) priority: u8,
    pub(super) waiting: u64,
    pub(super) served: i64,
}

impl Shelf {
    /// Shelves are served in the order of this.
    pub(super) fn turn(&self) -> (std::cmp::Reverse<u8>, i64, &str) {
        (std::cmp::Reverse(self.priority), self.served, &self.tenant)
    }
}

/// Shelves with jobs that could begin.
pub(super) fn shelves(conn: &Connection) -> Result<Vec<Shelf>, StoreError> {
    let sql = "SELECT tenant, priority, waiting, served FROM job_shelves WHERE waiting > 0";
    let mut statement = conn.prepare_cached(sql).doing("look for work")?;
    let read = |r: &crate::db::Row<'_>| {
        Ok(Shelf { tenant: r.get("tenant")?, priority: r.get("priority")?, waiting: r.get("waiting")?, served: r.get("served")? })
    };
    let rows = statement.query_map([], read).doing("look for work")?;
    rows.collect::<crate::db::Result<_>>().doing("look for work")
}

/// The oldest job of the lane of a shelf that is next, whether that may be served or not.
pub(super) fn first(conn: &Connection, tenant: &str, priority: u8) -> Result<Option<JobRow>, StoreError> {
    let sql = "SELECT * FROM jobs WHERE tenant = ?1 AND priority = ?2 AND ready = 1 AND agent_id =
                 (SELECT agent_id FROM job_lanes WHERE tenant = ?1 AND priority = ?2 AND waiting > 0 ORDER BY served, agent_id LIMIT 1)
               ORDER BY n LIMIT 1";
    let mut statement = conn.prepare_cached(sql).doing("look for work")?;
    statement.query_row((tenant, priority), from_row).optional().doing("look for work")
}

/// The next lane of a shelf that is not `full`.
pub(super) fn lane(conn: &Connection, tenant: &str, priority: u8, full: impl Fn(&str) -> bool) -> Result<Option<String>, StoreError> {
    let doing = "look for work";
    let sql = "SELECT agent_id FROM job_lanes WHERE tenant = ?1 AND priority = ?2 AND waiting > 0 ORDER BY served, agent_id LIMIT ?3";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    // Lanes that are full hold running jobs, so few lanes have to be passed over.
    for limit in [64u64, 4096] {
        let rows = statement.query_map((tenant, priority, int("limit", limit)?), |r| r.get::<_, String>(0)).doing(doing)?;
        let lanes: Vec<String> = rows.collect::<crate::db::Result<_>>().doing(doing)?;
        let count = lanes.len() as u64;
        if let Some(lane) = lanes.into_iter().find(|agent_id| !full(agent_id)) {
            return Ok(Some(lane));
        }
        if count < limit {
            return Ok(None);
        }
    }
    Ok(None)
}

/// The oldest job of a lane that could begin.
pub(super) fn head(conn: &Connection, tenant: &str, priority: u8, agent_id: &str) -> Result<Option<JobRow>, StoreError> {
    let sql = "SELECT * FROM jobs WHERE tenant = ?1 AND priority = ?2 AND agent_id = ?3 AND ready = 1 ORDER BY n LIMIT 1";
    let mut statement = conn.prepare_cached(sql).doing("look for work")?;
    statement.query_row((tenant, priority, agent_id), from_row).optional().doing("look for work")
}

/// Counts jobs of a tenant out of one state and into another one.
pub(super) fn moved(conn: &Connection, tenant: &str, (from, to): (JobState, JobState), jobs: i64) -> Result<(), StoreError> {
    let sql = "INSERT INTO job_counts (tenant, state, jobs) VALUES (?1, ?2, ?4), (?1, ?3, ?5)
               ON CONFLICT (tenant, state) DO UPDATE SET jobs = job_counts.jobs + excluded.jobs";
    let with = (tenant, from.as_str(), to.as_str(), -jobs, jobs);
    conn.prepare_cached(sql).and_then(|mut s| s.execute(with)).doing("count jobs").map(drop)
}

/// Counts a job into a state, or out of it.
pub(super) fn count(conn: &Connection, tenant: &str, state: JobState, by: i64) -> Result<(), StoreError> {
    let sql = "INSERT INTO job_counts (tenant, state, jobs) VALUES (?1, ?2, ?3)
               ON CONFLICT (tenant, state) DO UPDATE SET jobs = job_counts.jobs + ?3";
    conn.prepare_cached(sql).and_then(|mut s| s.execute((tenant, state.as_str(), by))).doing("count jobs").map(drop)
}

/// How many jobs of a tenant stand so.
pub(super) fn counted(conn: &Connection, tenant: &str, state: JobState) -> Result<u64, StoreError> {
    let sql = "SELECT jobs FROM job_counts WHERE tenant = ?1 AND state = ?2";
    let mut statement = conn.prepare_cached(sql).doing("count jobs")?;
    let jobs: Option<u64> = statement.query_row((tenant, state.as_str()), |r| r.get(0)).optional().doing("count jobs")?;
    Ok(jobs.unwrap_or(0))
}
