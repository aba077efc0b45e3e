//! Looking at jobs.

use std::collections::{BTreeMap, HashMap};

use model::{JobState, Timestamp};

use super::accept::number_at;
use super::blob::{self, JobBlob};
use super::row::{JobRow, from_row};
use crate::db::{Connection, ToSql};
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

/// Jobs that are looked at for one page where no index holds all that is asked for. Some milliseconds.
const LOOKED_AT_MAX: usize = 1000;

/// How many jobs stand where.
pub type JobCounts = BTreeMap<JobStateWord, u64>;
/// The word of a state.
type JobStateWord = &'static str;

impl Store {
    /// A page of jobs, the youngest first: those with a number below `after`. Costs what the page is, not what there is.
    ///
    /// What several filters leave is looked for among a bounded number of jobs: where that many were looked at, the page may
    /// be shorter than asked for, or empty, and the next one goes on behind them.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when `limit` is 0 or above [`LIST_MAX`].
    pub async fn list_jobs(&self, filter: &JobFilter, after: Option<u64>, limit: usize) -> Result<Page<JobRow>, StoreError> {
        check_limit(limit, LIST_MAX)?;
        let filter = filter.clone();
        self.read(move |conn| list(conn, &filter, after, limit)).await
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

/// Entries of one index in the order of the list, from which a page is taken.
struct Way<'a> {
    table: &'static str,
    wants: Vec<(&'static str, &'a dyn ToSql)>,
}

/// A statement as it grows, with its values.
struct Growing<'a> {
    sql: String,
    with: Vec<&'a dyn ToSql>,
}

impl<'a> Growing<'a> {
    fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), with: Vec::new() }
    }

    /// Adds text that ends with the place of a value, and the value.
    fn push(&mut self, text: &str, value: &'a dyn ToSql) {
        self.with.push(value);
        self.sql.push_str(&format!("{text}?{}", self.with.len()));
    }

    /// Adds the entries of a way within the range, the youngest first.
    fn walk(&mut self, way: &Way<'a>, range: &'a Range, limit: &'a usize) {
        self.sql.push_str(&format!(" FROM {} WHERE true", way.table));
        way.wants.iter().for_each(|(column, value)| self.push(&format!(" AND {column} = "), *value));
        range.below.iter().for_each(|below| self.push(" AND n < ", below));
        range.from.iter().for_each(|from| self.push(" AND n >= ", from));
        self.push(" ORDER BY n DESC LIMIT ", limit);
    }
}

/// Numbers of jobs.
struct Range {
    below: Option<i64>,
    from: Option<i64>,
}

/// The jobs of the entries that are looked at. SQLite takes the two sides of this join in the order in which they are written; of another
/// it would begin with all jobs that share, say, an engine.
const JOBS_OF_LOOKED: &str = ") AS looked CROSS JOIN jobs WHERE jobs.n = looked.n";
const LOOKED_ORDER: &str = " ORDER BY looked.n DESC";

fn list(conn: &Connection, filter: &JobFilter, after: Option<u64>, limit: usize) -> Result<Page<JobRow>, StoreError> {
    let doing = "list jobs";
    let below = match (after, filter.to) {
        (Some(after), Some(to)) => Some(after.min(number_at(to))),
        (after, to) => after.or_else(|| to.map(number_at)),
    };
    let column = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let range = Range { below: below.map(column), from: filter.from.map(|t| column(number_at(t))) };
    let state = filter.state.map(JobState::as_str);
    let columns: [(&'static str, Option<&dyn ToSql>); 4] = [
        ("agent_id", filter.agent_id.as_ref().map(|a| a as &dyn ToSql)),
        ("profile", filter.profile.as_ref().map(|p| p as &dyn ToSql)),
        ("engine", filter.engine.as_ref().map(|e| e as &dyn ToSql)),
        ("state", state.as_ref().map(|s| s as &dyn ToSql)),
    ];
    let tenant: Vec<(&'static str, &dyn ToSql)> = filter.tenant.iter().map(|t| ("tenant", t as &dyn ToSql)).collect();
    let columns: Vec<(&'static str, &dyn ToSql)> = columns.into_iter().filter_map(|(column, value)| Some((column, value?))).collect();
    let mut ways: Vec<Way<'_>> = Vec::new();
    ways.extend(filter.label.iter().map(|(name, value)| Way { table: "job_labels", wants: vec![("name", name), ("value", value)] }));
    // Each of these has an index, with the tenant and without.
    ways.extend(columns.iter().map(|column| Way { table: "jobs", wants: tenant.iter().chain([column]).copied().collect() }));
    if ways.is_empty() {
        ways.push(Way { table: "jobs", wants: tenant.clone() });
    }
    let (rows, looked_at) = (limit + 1, LOOKED_AT_MAX);
    let others: Vec<_> = tenant.iter().chain(&columns).copied().collect();
    let (way, is_all) = match ways.as_slice() {
        // Everything that is asked for is in the index.
        [only] if filter.label.is_none() || others.is_empty() => {
            let mut page_of = Growing::new(if filter.label.is_some() { "SELECT jobs.* FROM (SELECT n" } else { "SELECT *" });
            page_of.walk(only, &range, &rows);
            if filter.label.is_some() {
                page_of.sql.push_str(JOBS_OF_LOOKED);
                page_of.sql.push_str(LOOKED_ORDER);
            }
            return Ok(page(read_all(conn, &page_of)?, limit, |job| job.n.to_string()));
        }
        all => shortest(conn, all, &range)?,
    };
    let page_of = among(way, &others, &range, (&looked_at, &rows));
    let mut found = page(read_all(conn, &page_of)?, limit, |job| job.n.to_string());
    if found.next.is_none() && !is_all {
        let mut last = Growing::new("SELECT min(n) FROM (SELECT n");
        last.walk(way, &range, &looked_at);
        last.sql.push_str(") AS looked");
        let mut statement = conn.prepare_cached(&last.sql).doing(doing)?;
        let last: Option<u64> = statement.query_row(last.with.as_slice(), |r| r.get(0)).doing(doing)?;
        found.next = last.map(|n| n.to_string());
    }
    Ok(found)
}

/// A page of those entries of a way that have all `others` too; so many are looked at, and so many are wanted.
fn among<'a>(
    way: &Way<'a>,
    others: &[(&'static str, &'a dyn ToSql)],
    range: &'a Range,
    (looked_at, rows): (&'a usize, &'a usize),
) -> Growing<'a> {
    let mut page_of = Growing::new("SELECT jobs.* FROM (SELECT n");
    page_of.walk(way, range, looked_at);
    page_of.sql.push_str(JOBS_OF_LOOKED);
    others.iter().for_each(|(column, value)| page_of.push(&format!(" AND jobs.{column} = "), *value));
    page_of.sql.push_str(LOOKED_ORDER);
    page_of.push(" LIMIT ", rows);
    page_of
}

/// The way with the fewest entries, and whether all of them are looked at. Each is counted only so far.
fn shortest<'w, 'a>(conn: &Connection, ways: &'w [Way<'a>], range: &'a Range) -> Result<(&'w Way<'a>, bool), StoreError> {
    let doing = "list jobs";
    let most = LOOKED_AT_MAX + 1;
    let mut best: Option<(&Way<'_>, usize)> = None;
    for way in ways {
        let mut count = Growing::new("SELECT count(*) FROM (SELECT n");
        count.walk(way, range, &most);
        count.sql.push_str(") AS looked");
        let mut statement = conn.prepare_cached(&count.sql).doing(doing)?;
        let entries: usize = statement.query_row(count.with.as_slice(), |r| r.get(0)).doing(doing)?;
        if best.is_none_or(|(_, fewest)| entries < fewest) {
            best = Some((way, entries));
        }
    }
    let (way, entries) = best.ok_or_else(|| StoreError::invalid("filter", "asks for nothing"))?;
    Ok((way, entries <= LOOKED_AT_MAX))
}

fn read_all(conn: &Connection, page_of: &Growing<'_>) -> Result<Vec<JobRow>, StoreError> {
    let doing = "list jobs";
    let mut statement = conn.prepare_cached(&page_of.sql).doing(doing)?;
    let rows = statement.query_map(page_of.with.as_slice(), from_row).doing(doing)?;
    rows.collect::<crate::db::Result<Vec<_>>>().doing(doing)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page must cost what is looked at, however many jobs there are: what is looked at comes first, and each job by its number.
    #[test]
    fn a_page_begins_with_what_is_looked_at() {
        let conn = rusqlite::Connection::open_in_memory().unwrap();
        crate::open::MIGRATIONS.iter().for_each(|sql| conn.execute_batch(sql).unwrap());
        let value = "x".to_owned();
        let (value, range) = (&value as &dyn ToSql, Range { below: Some(7), from: None });
        let columns = ["tenant", "agent_id", "profile", "engine", "state"];
        let labels = Way { table: "job_labels", wants: vec![("name", value), ("value", value)] };
        let ways = [labels].into_iter().chain(columns.map(|column| Way { table: "jobs", wants: vec![(column, value)] }));
        for way in ways {
            for others in [vec![("engine", value)], vec![("tenant", value), ("state", value)], columns.map(|c| (c, value)).to_vec()] {
                let page_of = among(&way, &others, &range, (&LOOKED_AT_MAX, &51));
                let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {}", page_of.sql)).unwrap();
                let values = vec![rusqlite::types::Null; page_of.with.len()];
                let steps = plan.query_map(rusqlite::params_from_iter(values), |row| row.get::<_, String>("detail")).unwrap();
                let steps: Vec<String> = steps.map(Result::unwrap).collect();
                let begins = steps.iter().position(|step| step.starts_with("SCAN looked"));
                let jobs = steps.iter().rposition(|step| step.starts_with("SEARCH jobs") && step.contains("n=?"));
                assert!(begins.is_some() && begins < jobs, "{}: {steps:#?}", page_of.sql);
                assert!(!steps.iter().any(|step| step.contains("AUTOMATIC")), "{}: {steps:#?}", page_of.sql);
            }
        }
    }
}
