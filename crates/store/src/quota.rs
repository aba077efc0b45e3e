//! What tenants may have. Held in the transaction that gives them more of it, so that no two of them share the last place.

use model::{Money, SessionId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::budget::spent;
use crate::db::{Connection, OptionalExtension};
use crate::error::Doing;
use crate::ledger::day_of;
use crate::{Store, StoreError};

/// What a tenant may have at most. What is left out is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// Jobs that wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs_queued: Option<u64>,
    /// Turns and jobs that run at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<u64>,
    /// Sessions that are not archived, those of jobs left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u64>,
    /// Envs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envs: Option<u64>,
    /// Tokens that are good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Bytes of results and artifacts that are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_bytes: Option<u64>,
    /// US dollars that models may cost in a day (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_per_day: Option<f64>,
    /// Requests to the API in a minute, in the long run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
}

impl Quota {
    /// Dollars of a day.
    #[must_use]
    pub fn per_day(&self) -> Option<Money> {
        self.usd_per_day.and_then(Money::from_usd)
    }
}

/// What somebody wants more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// A session.
    Session,
    /// An env.
    Env,
    /// A turn of a session.
    Turn,
    /// A job.
    Job,
    /// A token.
    Token,
    /// So many bytes that are kept.
    Bytes(u64),
}

/// The name under which a tenant's dollars of a day are counted.
#[must_use]
pub fn day_quota_key(tenant: &str, now: Timestamp) -> String {
    format!("tenant:{tenant}@quota:{}", day_of(now))
}

impl Store {
    /// Whether a tenant may have one more of something now. What makes the thing looks again.
    ///
    /// # Errors
    /// [`StoreError::Quota`], [`StoreError::Suspended`].
    pub async fn check_quota(&self, tenant: &str, claim: Claim, now: Timestamp) -> Result<(), StoreError> {
        let tenant = tenant.to_owned();
        self.read(move |conn| hold(conn, &tenant, claim, now)).await
    }
}

impl Store {
    /// The job that a session is made for, if one is.
    ///
    /// # Errors
    /// What the database said.
    pub async fn job_of(&self, session: &SessionId) -> Result<Option<String>, StoreError> {
        let session = session.clone();
        self.read(move |conn| job_of(conn, session.as_str())).await
    }
}

/// Refuses what would be more than the tenant's quota. A tenant that was never set up has none.
pub(crate) fn hold(conn: &Connection, tenant: &str, claim: Claim, now: Timestamp) -> Result<(), StoreError> {
    let doing = "look at a quota";
    let sql = "SELECT state, quota FROM tenants WHERE name = ?1";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let found = statement.query_row([tenant], |r| Ok((r.get(0)?, r.get(1)?))).optional().doing(doing)?;
    let Some::<(String, String)>((state, quota)) = found else { return Ok(()) };
    if state != "active" {
        return Err(StoreError::Suspended(tenant.to_owned()));
    }
    // Most tenants have none: their rows cost nothing more.
    if quota == "{}" {
        return Ok(());
    }
    let quota: Quota =
        serde_json::from_str(&quota).map_err(|e| StoreError::Sqlite { action: "read a quota", text: e.to_string(), grave: false })?;
    let over = |what: &'static str, max: String| Err(StoreError::Quota { tenant: tenant.to_owned(), what, max });
    if let (Claim::Job | Claim::Turn, Some(max)) = (claim, quota.per_day())
        && spent(conn, &day_quota_key(tenant, now))? >= max
    {
        return over("of model calls today", max.to_string());
    }
    let (what, max, sql, more) = match claim {
        Claim::Session => ("sessions", quota.sessions, SESSIONS_OF, 1),
        Claim::Env => ("envs", quota.envs, "SELECT count(*) FROM envs WHERE tenant = ?1", 1),
        Claim::Job => ("waiting jobs", quota.jobs_queued, JOBS_OF, 1),
        Claim::Token => {
            let at = crate::row::int("now", now.0)?;
            let sql = format!(
                "SELECT count(*) FROM tokens WHERE tenant = ?1 AND revoked_ms IS NULL AND (expires_ms IS NULL OR expires_ms > {at})"
            );
            return count(conn, &sql, tenant, "tokens", quota.tokens, 1);
        }
        Claim::Bytes(bytes) => ("bytes", quota.storage_bytes, BYTES_OF, bytes),
        Claim::Turn => return Ok(()),
    };
    count(conn, sql, tenant, what, max, more)
}

/// The job that a session is made for, if one is: then the job's own quota was held.
pub(crate) fn job_of(conn: &Connection, session: &str) -> Result<Option<String>, StoreError> {
    let doing = "look for the job of a session";
    let mut statement = conn.prepare_cached("SELECT job FROM job_tries WHERE session = ?1 LIMIT 1").doing(doing)?;
    statement.query_row([session], |r| r.get(0)).optional().doing(doing)
}

/// Sessions that somebody made, not those of jobs.
const SESSIONS_OF: &str = "SELECT count(*) FROM sessions s WHERE s.tenant = ?1 AND s.archived_ms IS NULL
    AND NOT EXISTS (SELECT 1 FROM job_tries t WHERE t.session = s.id)";
/// Jobs that wait.
const JOBS_OF: &str = "SELECT coalesce(sum(jobs), 0) FROM job_counts WHERE tenant = ?1 AND state = 'queued'";
/// Bytes of everything that came with jobs of a tenant or that they left. What two of them share counts for each.
const BYTES_OF: &str = "SELECT coalesce(sum(b.bytes), 0) FROM job_blobs b JOIN jobs j ON j.id = b.job WHERE j.tenant = ?1";

fn count(conn: &Connection, sql: &str, tenant: &str, what: &'static str, max: Option<u64>, more: u64) -> Result<(), StoreError> {
    let Some(max) = max else { return Ok(()) };
    let mut statement = conn.prepare_cached(sql).doing("count for a quota")?;
    let has: u64 = statement.query_row([tenant], |r| r.get(0)).doing("count for a quota")?;
    if has.saturating_add(more) > max {
        return Err(StoreError::Quota { tenant: tenant.to_owned(), what, max: max.to_string() });
    }
    Ok(())
}
