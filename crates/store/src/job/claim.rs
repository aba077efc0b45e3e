//! Giving jobs to those who work on them.

use std::collections::HashMap;

use model::{Code, JobEvent, JobState, SessionId, Timestamp, TurnId};

use super::end::{self, retry};
use super::queue::Shelf;
use super::row::{Along, JobRow, column, from_row, write_state};
use super::{JobEnd, queue};
use crate::db::{Connection, OptionalExtension, params};
use crate::error::Doing;
use crate::row::int;
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Delayed jobs that one write lets into the queue.
const WOKEN_AT_ONCE: u64 = 1000;
/// Jobs that one write takes from those whose host is gone.
const LAPSED_AT_ONCE: u64 = 200;

/// How many jobs may run at once, on all replicas together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobCaps {
    /// Of one tenant.
    pub tenant: u64,
    /// Of one `agent_id` of a tenant.
    pub agent_id: u64,
}

/// Who works on jobs, and until when without saying so again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobLease {
    /// Who.
    pub replica: String,
    /// Until when.
    pub until: Timestamp,
}

/// The names of a try: what it makes is called so, however often it is gone on with after a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobNames {
    /// Its session.
    pub session: SessionId,
    /// Its turn.
    pub turn: TurnId,
}

impl Store {
    /// Takes the next jobs from the queue, at most one for each of `names`. Each has then begun a new try.
    ///
    /// # Errors
    /// What the database said.
    pub async fn claim_jobs(
        &self,
        lease: JobLease,
        names: Vec<JobNames>,
        caps: JobCaps,
        now: Timestamp,
    ) -> Result<Vec<JobRow>, StoreError> {
        self.write(Kind::JobClaim, 0, move |conn| claim(conn, &lease, names, caps, now)).await
    }

    /// Takes up the jobs that this replica worked on when it ended: each under a new fence. Those over which it ended too
    /// often without any progress have failed; they come second.
    ///
    /// # Errors
    /// What the database said.
    pub async fn take_jobs(&self, lease: JobLease, deaths_max: u32, now: Timestamp) -> Result<(Vec<JobRow>, Vec<JobRow>), StoreError> {
        self.write(Kind::JobTake, 0, move |conn| take(conn, &lease, deaths_max, now)).await
    }

    /// Says that this replica still works on its jobs.
    ///
    /// # Errors
    /// What the database said.
    pub async fn renew_jobs(&self, lease: JobLease) -> Result<usize, StoreError> {
        self.write(Kind::JobRenew, 0, move |conn| {
            let sql = "UPDATE jobs SET lease_ms = ?2 WHERE replica = ?1 AND state IN ('running', 'waiting')";
            let mut statement = conn.prepare_cached(sql).doing("renew jobs")?;
            statement.execute((&lease.replica, column("until", lease.until)?)).doing("renew jobs")
        })
        .await
    }

    /// Takes jobs from replicas that have not renewed them: those that may be tried again wait again, the others have
    /// failed. Gives both.
    ///
    /// # Errors
    /// What the database said.
    pub async fn lapse_jobs(&self, now: Timestamp) -> Result<Vec<JobRow>, StoreError> {
        self.write(Kind::JobLapse, 0, move |conn| lapse(conn, now)).await
    }

    /// When the next delayed job may begin.
    ///
    /// # Errors
    /// What the database said.
    pub async fn next_job(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|conn| {
            let sql = "SELECT not_before_ms FROM jobs WHERE state = 'queued' AND ready = 0 ORDER BY not_before_ms LIMIT 1";
            let mut statement = conn.prepare_cached(sql).doing("look for delayed jobs")?;
            let next: Option<u64> = statement.query_row([], |r| r.get(0)).optional().doing("look for delayed jobs")?;
            Ok(next.map(Timestamp))
        })
        .await
    }

    /// Sessions of jobs that are over while a turn of theirs is not: it was not reached when the job was stopped.
    ///
    /// # Errors
    /// What the database said.
    pub async fn stray_job_sessions(&self) -> Result<Vec<SessionId>, StoreError> {
        self.read(|conn| {
            let sql =
                "SELECT DISTINCT t.session AS session FROM turns t JOIN job_tries j ON j.session = t.session JOIN jobs ON jobs.id = j.job
                       WHERE t.state IN ('queued', 'leased', 'running', 'waiting')
                         AND (jobs.finished_ms IS NOT NULL OR jobs.session IS NULL OR jobs.session <> t.session)";
            let mut statement = conn.prepare_cached(sql).doing("look for stray sessions")?;
            let rows = statement.query_map([], |r| crate::row::parsed(r, "session")).doing("look for stray sessions")?;
            rows.collect::<crate::db::Result<_>>().doing("look for stray sessions")
        })
        .await
    }
}

/// Lets delayed jobs whose time has come into the queue.
fn wake(conn: &Connection, now: Timestamp) -> Result<(), StoreError> {
    let doing = "wake delayed jobs";
    let sql = "UPDATE jobs SET ready = 1 WHERE id IN
                 (SELECT id FROM jobs WHERE state = 'queued' AND ready = 0 AND not_before_ms <= ?1 ORDER BY not_before_ms LIMIT ?2)
               RETURNING tenant, priority, agent_id";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let with = (column("now", now)?, int("limit", WOKEN_AT_ONCE)?);
    let rows = statement.query_map(with, |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).doing(doing)?;
    let woken: Vec<(String, u8, String)> = rows.collect::<crate::db::Result<_>>().doing(doing)?;
    woken.iter().try_for_each(|(tenant, priority, agent_id)| queue::enter(conn, tenant, *priority, agent_id))
}

/// How many jobs of each tenant, and of each of its `agent_id`s, run.
#[derive(Default)]
struct Running {
    tenants: HashMap<String, u64>,
    agents: HashMap<(String, String), u64>,
}

impl Running {
    fn read(conn: &Connection) -> Result<Self, StoreError> {
        let doing = "count running jobs";
        let sql = "SELECT tenant, agent_id, count(*) FROM jobs WHERE state IN ('running', 'waiting') GROUP BY tenant, agent_id";
        let mut statement = conn.prepare_cached(sql).doing(doing)?;
        let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).doing(doing)?;
        let counts: Vec<(String, String, u64)> = rows.collect::<crate::db::Result<_>>().doing(doing)?;
        let mut running = Self::default();
        for (tenant, agent_id, count) in counts {
            *running.tenants.entry(tenant.clone()).or_default() += count;
            running.agents.insert((tenant, agent_id), count);
        }
        Ok(running)
    }

    fn of_tenant(&self, tenant: &str) -> u64 {
        self.tenants.get(tenant).copied().unwrap_or(0)
    }

    fn of_agent(&self, tenant: &str, agent_id: &str) -> u64 {
        self.agents.iter().find(|((t, a), _)| t == tenant && a == agent_id).map_or(0, |(_, count)| *count)
    }

    fn add(&mut self, tenant: &str, agent_id: &str) {
        *self.tenants.entry(tenant.to_owned()).or_default() += 1;
        *self.agents.entry((tenant.to_owned(), agent_id.to_owned())).or_default() += 1;
    }
}

fn claim(conn: &Connection, lease: &JobLease, names: Vec<JobNames>, caps: JobCaps, now: Timestamp) -> Result<Vec<JobRow>, StoreError> {
    wake(conn, now)?;
    let mut shelves = queue::shelves(conn)?;
    if shelves.is_empty() || names.is_empty() {
        return Ok(Vec::new());
    }
    let mut running = Running::read(conn)?;
    let mut clock = queue::tick(conn, names.len())?;
    let mut claimed: Vec<JobRow> = Vec::new();
    for names in names {
        let Some(job) = next(conn, &mut shelves, &running, caps)? else { break };
        let row = begin_try(conn, &job, lease, &names)?;
        clock += 1;
        queue::serve(conn, &job, clock)?;
        for shelf in shelves.iter_mut().filter(|shelf| shelf.tenant == job.tenant) {
            shelf.served = clock;
            shelf.waiting -= u64::from(shelf.priority == job.priority && shelf.waiting > 0);
        }
        shelves.retain(|shelf| shelf.waiting > 0);
        running.add(&job.tenant, &job.agent_id);
        claimed.push(row);
    }
    let mut begun: HashMap<&str, i64> = HashMap::new();
    claimed.iter().for_each(|job| *begun.entry(&job.tenant).or_default() += 1);
    begun.into_iter().try_for_each(|(tenant, jobs)| queue::moved(conn, tenant, (JobState::Queued, JobState::Running), jobs))?;
    Ok(claimed)
}

/// Begins a new try of a job from the queue.
fn begin_try(conn: &Connection, job: &JobRow, lease: &JobLease, names: &JobNames) -> Result<JobRow, StoreError> {
    let (until, session, turn) = (column("until", lease.until)?, names.session.as_str(), names.turn.as_str());
    let along = Along(
        ", fence = fence + 1, tries = tries + 1, replica = ?3, lease_ms = ?4, session = ?5, turn = ?6, deaths = 0, progress = 0",
        &[&lease.replica, &until, &session, &turn],
    );
    let row = write_state(conn, job, JobEvent::Claim, &along)?;
    let sql = "INSERT INTO job_tries (job, n, session) VALUES (?1, ?2, ?3)";
    let with = params![row.id, row.tries, session];
    conn.prepare_cached(sql).and_then(|mut s| s.execute(with)).doing("claim a job")?;
    Ok(row)
}

/// Who is next. Shelves of which nothing may be served now are left out from then on.
fn next(conn: &Connection, shelves: &mut Vec<Shelf>, running: &Running, caps: JobCaps) -> Result<Option<JobRow>, StoreError> {
    shelves.retain(|shelf| running.of_tenant(&shelf.tenant) < caps.tenant);
    loop {
        let Some(at) = (0..shelves.len()).min_by(|a, b| shelves[*a].turn().cmp(&shelves[*b].turn())) else { return Ok(None) };
        let Shelf { tenant, priority, .. } = &shelves[at];
        let is_full = |agent_id: &str| running.of_agent(tenant, agent_id) >= caps.agent_id;
        let found = match queue::first(conn, tenant, *priority)? {
            Some(job) if is_full(&job.agent_id) => match queue::lane(conn, tenant, *priority, is_full)? {
                Some(agent_id) => queue::head(conn, tenant, *priority, &agent_id)?,
                None => None,
            },
            first => first,
        };
        if found.is_some() {
            return Ok(found);
        }
        shelves.swap_remove(at);
    }
}

fn take(conn: &Connection, lease: &JobLease, deaths_max: u32, now: Timestamp) -> Result<(Vec<JobRow>, Vec<JobRow>), StoreError> {
    let doing = "take up jobs";
    // Whoever died over a job that had not moved since the last time counts; one that goes on is no poison.
    let sql = "UPDATE jobs SET fence = fence + 1, lease_ms = ?2,
                 deaths = CASE WHEN coalesce((SELECT last_seq FROM sessions WHERE sessions.id = jobs.session), 0) > progress
                          THEN 1 ELSE deaths + 1 END,
                 progress = coalesce((SELECT last_seq FROM sessions WHERE sessions.id = jobs.session), 0)
               WHERE replica = ?1 AND state IN ('running', 'waiting') RETURNING *";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let rows = statement.query_map((&lease.replica, column("until", lease.until)?), from_row).doing(doing)?;
    let all: Vec<JobRow> = rows.collect::<crate::db::Result<_>>().doing(doing)?;
    let (mut taken, mut poisoned) = (Vec::new(), Vec::new());
    for job in all {
        if job.deaths < deaths_max {
            taken.push(job);
            continue;
        }
        let error = format!("the daemon ended {} times while this job stood at the same place", job.deaths);
        poisoned.push(end::end(conn, &JobEnd::failed(&job, Code::Poisoned, error, now))?);
    }
    Ok((taken, poisoned))
}

fn lapse(conn: &Connection, now: Timestamp) -> Result<Vec<JobRow>, StoreError> {
    let doing = "look for lost jobs";
    let sql = "SELECT * FROM jobs WHERE state IN ('running', 'waiting') AND lease_ms < ?1 ORDER BY lease_ms LIMIT ?2";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let rows = statement.query_map((column("now", now)?, int("limit", LAPSED_AT_ONCE)?), from_row).doing(doing)?;
    let lost: Vec<JobRow> = rows.collect::<crate::db::Result<_>>().doing(doing)?;
    let again = |job: &JobRow| {
        if job.tries <= job.retries_max {
            return retry(conn, job, now, Code::HostLost, "its host was lost");
        }
        end::end(conn, &JobEnd::failed(job, Code::HostLost, "its host was lost".to_owned(), now))
    };
    lost.iter().map(again).collect()
}
