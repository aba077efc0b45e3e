//! Looking at jobs.

use std::collections::{BTreeMap, HashMap};

use model::{JobState, Timestamp};

use super::accept::number_at;
use super::blob::{self, JobBlob};
use super::row::{JobRow, from_row};
use crate::db::ToSql;
use crate::error::Doing;
use crate::session::{LIST_MAX, check_limit, page};
use crate::{Page, Store, StoreError};

/// Which jobs to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only those of this tenant.
    pub tenant: Option<String>,
    /// Only those that stand so.
    pub state: Option<JobState>,
    /// Only those of this `agent_id`.
    pub agent_id: Option<String>,
    /// Only those with this profile.
    pub profile: Option<String>,
    /// Only those with this engine.
    pub engine: Option<String>,
    /// Only those with this label.
    pub label: Option<(String, String)>,
    /// Only those accepted at this time or later.
    pub from: Option<Timestamp>,
    /// Only those accepted before this time.
    pub to: Option<Timestamp>,
}

/// How many jobs stand where.
pub type JobCounts = BTreeMap<JobStateWord, u64>;
/// The word of a state.
type JobStateWord = &'static str;

impl Store {
    /// A page of jobs, the youngest first: those with a number below `after`. Costs what the page is, not what there is.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when `limit` is 0 or above [`LIST_MAX`].
    pub async fn list_jobs(&self, filter: &JobFilter, after: Option<u64>, limit: usize) -> Result<Page<JobRow>, StoreError> {
        check_limit(limit, LIST_MAX)?;
        let filter = filter.clone();
        self.read(move |conn| {
            let doing = "list jobs";
            let below = match (after, filter.to) {
                (Some(after), Some(to)) => Some(after.min(number_at(to))),
                (after, to) => after.or_else(|| to.map(number_at)),
            };
            let below = below.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
            let from = filter.from.map(|t| i64::try_from(number_at(t)).unwrap_or(i64::MAX));
            let state = filter.state.map(JobState::as_str);
            let (name, value) = filter.label.as_ref().map_or((None, None), |(k, v)| (Some(k), Some(v)));
            // A label's rows are in the order of the list, so the search begins with them.
            let (mut sql, order) = match &name {
                Some(_) => ("SELECT jobs.* FROM job_labels JOIN jobs ON jobs.n = job_labels.n WHERE true".to_owned(), "job_labels.n"),
                None => ("SELECT jobs.* FROM jobs WHERE true".to_owned(), "jobs.n"),
            };
            let mut with: Vec<&dyn ToSql> = Vec::new();
            let (is_below, is_from) = (format!(" AND {order} < ?"), format!(" AND {order} >= ?"));
            let conditions: [(&str, Option<&dyn ToSql>); 9] = [
                (" AND job_labels.name = ?", name.as_ref().map(|k| k as &dyn ToSql)),
                (" AND job_labels.value = ?", value.as_ref().map(|v| v as &dyn ToSql)),
                (" AND jobs.tenant = ?", filter.tenant.as_ref().map(|t| t as &dyn ToSql)),
                (" AND jobs.state = ?", state.as_ref().map(|s| s as &dyn ToSql)),
                (" AND jobs.agent_id = ?", filter.agent_id.as_ref().map(|a| a as &dyn ToSql)),
                (" AND jobs.profile = ?", filter.profile.as_ref().map(|p| p as &dyn ToSql)),
                (" AND jobs.engine = ?", filter.engine.as_ref().map(|e| e as &dyn ToSql)),
                (&is_below, below.as_ref().map(|b| b as &dyn ToSql)),
                (&is_from, from.as_ref().map(|f| f as &dyn ToSql)),
            ];
            for (condition, value) in conditions {
                if let Some(value) = value {
                    sql.push_str(condition);
                    with.push(value);
                    sql.push_str(&with.len().to_string());
                }
            }
            let rows = limit + 1;
            with.push(&rows);
            sql.push_str(&format!(" ORDER BY {order} DESC LIMIT ?{}", with.len()));
            let mut statement = conn.prepare_cached(&sql).doing(doing)?;
            let rows = statement.query_map(with.as_slice(), from_row).doing(doing)?;
            let items = rows.collect::<crate::db::Result<Vec<_>>>().doing(doing)?;
            Ok(page(items, limit, |job| job.n.to_string()))
        })
        .await
    }

    /// What these jobs left as artifacts, by job.
    ///
    /// # Errors
    /// What the database said.
    pub async fn artifacts_of(&self, jobs: Vec<String>) -> Result<HashMap<String, Vec<JobBlob>>, StoreError> {
        self.read(move |conn| {
            let of = |job: String| blob::of_job(conn, &job, Some("artifact")).map(|blobs| (job, blobs));
            jobs.into_iter().map(of).collect()
        })
        .await
    }

    /// How many jobs stand where; of one tenant, or of all.
    ///
    /// # Errors
    /// What the database said.
    pub async fn count_jobs(&self, tenant: Option<String>) -> Result<JobCounts, StoreError> {
        self.read(move |conn| {
            let doing = "count jobs";
            let sql = "SELECT state, jobs FROM job_counts WHERE ?1 IS NULL OR tenant = ?1";
            let mut statement = conn.prepare_cached(sql).doing(doing)?;
            let rows = statement.query_map([&tenant], |r| Ok((r.get::<_, String>(0)?, r.get::<_, i64>(1)?))).doing(doing)?;
            let mut counts: JobCounts = JobState::ALL.iter().map(|s| (s.as_str(), 0)).collect();
            for row in rows {
                let (state, jobs) = row.doing(doing)?;
                if let Some(state) = JobState::from_word(&state) {
                    *counts.entry(state.as_str()).or_default() += jobs.unsigned_abs();
                }
            }
            Ok(counts)
        })
        .await
    }
}
