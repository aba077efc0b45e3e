//! What model calls cost.

use crate::db::{Connection, Row};
use model::{Money, SessionId, Timestamp, TurnId, Usage};
use serde::Serialize;

use crate::error::Doing;
use crate::row::int;
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Calls that one batch may have.
const BATCH_MAX: usize = 10_000;
/// The most tokens of one kind that a call is entered with. A provider's claim beyond it is no count of tokens, and
/// sums must not overflow.
const TOKENS_MAX: u64 = 1_000_000_000;
/// The most that one call is entered with, for the same reason: a million dollars.
const COST_MAX: u64 = 1_000_000 * Money::PER_USD;
/// Rows that a report may have.
const REPORT_MAX: usize = 10_000;
const DAY_MS: i64 = 86_400_000;

/// One model call. Counts beyond a billion tokens or a million dollars are entered as that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The session that made it.
    pub session: SessionId,
    /// The turn, where there is one.
    pub turn: Option<TurnId>,
    /// Who answered.
    pub provider: String,
    /// The model that answered.
    pub model: String,
    /// The tokens.
    pub usage: Usage,
    /// What it cost.
    pub cost: Money,
    /// What was set aside for it.
    pub reserved: Money,
    /// Whether the cost is the reservation, because the answer ended without a count.
    pub estimated: bool,
    /// When it ended.
    pub time: Timestamp,
}

/// What a report adds up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Session.
    Session,
    /// Model, with the provider before it: `anthropic/claude`.
    Model,
    /// Provider.
    Provider,
    /// Tenant.
    Tenant,
    /// Agent.
    Agent,
    /// Job, for the calls of jobs.
    Job,
    /// Profile, for the calls of jobs.
    Profile,
    /// Day in UTC: `2026-01-31`.
    Day,
}

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UsageRow {
    /// The session, model, provider or day.
    pub key: String,
    /// Calls.
    pub calls: u64,
    /// Their tokens.
    pub usage: Usage,
    /// Their cost in billionths of a dollar.
    pub cost: Money,
    /// How many of them have an estimated cost.
    pub estimated: u64,
}

impl Store {
    /// Enters model calls in the ledger, all or none.
    ///
    /// # Errors
    /// [`StoreError::Limit`] for more than 10,000 at once.
    pub async fn record_calls(&self, calls: Vec<Call>) -> Result<(), StoreError> {
        if calls.len() > BATCH_MAX {
            return Err(StoreError::Limit { what: "calls in one batch", max: BATCH_MAX as u64 });
        }
        self.write(Kind::Calls, calls.len() * size_of::<Call>(), move |conn| insert(conn, &calls)).await
    }

    /// Adds up the calls from `from` up to but without `to`, by what `by` names, the most expensive first (days in
    /// order). At most 10,000 rows.
    ///
    /// # Errors
    /// What the database said.
    pub async fn usage_by(&self, by: By, from: Timestamp, to: Timestamp) -> Result<Vec<UsageRow>, StoreError> {
        self.usage_of(None, by, from, to).await
    }

    /// The same for the calls of one tenant, or of all.
    ///
    /// # Errors
    /// What the database said.
    pub async fn usage_of(&self, tenant: Option<String>, by: By, from: Timestamp, to: Timestamp) -> Result<Vec<UsageRow>, StoreError> {
        self.read(move |conn| report(conn, by, Of { tenant: tenant.as_deref(), ..Of::default() }, from, to)).await
    }

    /// Adds up all calls of one session; nothing at all when it made none.
    ///
    /// # Errors
    /// What the database said.
    pub async fn session_usage(&self, session: &SessionId) -> Result<Option<UsageRow>, StoreError> {
        let session = session.clone();
        let all = (Timestamp(0), Timestamp(u64::MAX));
        let of = move |conn: &Connection| report(conn, By::Session, Of { session: Some(&session), ..Of::default() }, all.0, all.1);
        self.read(move |conn| Ok(of(conn)?.pop())).await
    }

    /// Adds up all calls of one turn, whichever daemon made them; nothing at all when it made none.
    ///
    /// # Errors
    /// What the database said.
    pub async fn turn_usage(&self, session: &SessionId, turn: &TurnId) -> Result<Option<UsageRow>, StoreError> {
        let (session, turn) = (session.clone(), turn.clone());
        let all = (Timestamp(0), Timestamp(u64::MAX));
        let of = move |conn: &Connection| {
            report(conn, By::Session, Of { session: Some(&session), turn: Some(&turn), tenant: None }, all.0, all.1)
        };
        self.read(move |conn| Ok(of(conn)?.pop())).await
    }
}

/// Whose calls are added up.
#[derive(Debug, Clone, Copy, Default)]
struct Of<'a> {
    session: Option<&'a SessionId>,
    turn: Option<&'a TurnId>,
    tenant: Option<&'a str>,
}

fn insert(conn: &Connection, calls: &[Call]) -> Result<(), StoreError> {
    let sql =
        "INSERT INTO calls (session, turn, provider, model, input, output, cache_read, cache_write, cost, reserved, estimated, time_ms,
           tenant, agent, job, profile)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12,
                 coalesce((SELECT tenant FROM sessions WHERE id = ?1), 'default'),
                 coalesce((SELECT agent FROM sessions WHERE id = ?1), 'default'),
                 (SELECT job FROM job_tries WHERE session = ?1),
                 (SELECT j.profile FROM job_tries t JOIN jobs j ON j.id = t.job WHERE t.session = ?1))";
    let mut statement = conn.prepare_cached(sql).doing("enter a call in the ledger")?;
    for call in calls {
        let tokens = |n: u64| n.min(TOKENS_MAX);
        let usage = call.usage;
        statement
            .execute(crate::db::params![
                call.session.as_str(),
                call.turn.as_ref().map(TurnId::as_str),
                call.provider,
                call.model,
                tokens(usage.input_tokens),
                tokens(usage.output_tokens),
                tokens(usage.cache_read_tokens),
                tokens(usage.cache_write_tokens),
                call.cost.0.min(COST_MAX),
                call.reserved.0.min(COST_MAX),
                call.estimated,
                int("time", call.time.0)?,
            ])
            .doing("enter a call in the ledger")?;
    }
    Ok(())
}

fn report(conn: &Connection, by: By, of: Of<'_>, from: Timestamp, to: Timestamp) -> Result<Vec<UsageRow>, StoreError> {
    let (key, order) = match by {
        By::Session => ("session", "whole DESC, part DESC, key"),
        By::Model => ("provider || '/' || model", "whole DESC, part DESC, key"),
        By::Provider => ("provider", "whole DESC, part DESC, key"),
        By::Tenant => ("tenant", "whole DESC, part DESC, key"),
        By::Agent => ("agent", "whole DESC, part DESC, key"),
        By::Job => ("job", "whole DESC, part DESC, key"),
        By::Profile => ("profile", "whole DESC, part DESC, key"),
        By::Day => (&*format!("CAST(time_ms / {DAY_MS} AS TEXT)"), "min(time_ms)"),
    };
    // Named in the statement only when it is wanted, so that its index is used.
    let whose = if of.session.is_some() { "session = ?3 AND" } else { "?3 IS NULL AND" };
    let tenants = if of.tenant.is_some() { "tenant = ?5 AND" } else { "?5 IS NULL AND" };
    let only = if matches!(by, By::Job | By::Profile) { "job IS NOT NULL AND" } else { "" };
    // Dollars and the rest of them are added apart, so that no sum overflows.
    let sql = format!(
        "SELECT {key} AS key, count(*) AS calls, sum(input) AS input, sum(output) AS output, sum(cache_read) AS cache_read,
           sum(cache_write) AS cache_write, sum(cost / 1000000000) AS whole, sum(cost % 1000000000) AS part, sum(estimated) AS estimated
         FROM calls WHERE {whose} {tenants} {only} (?4 IS NULL OR turn = ?4) AND time_ms >= ?1 AND time_ms < ?2
         GROUP BY 1 ORDER BY {order} LIMIT {REPORT_MAX}"
    );
    let column = |t: Timestamp| i64::try_from(t.0).unwrap_or(i64::MAX);
    let with = (column(from), column(to), of.session.map(SessionId::as_str), of.turn.map(TurnId::as_str), of.tenant);
    let mut statement = conn.prepare_cached(&sql).doing("add up the ledger")?;
    let rows = statement.query_map(with, |row| from_row(row, by)).doing("add up the ledger")?;
    rows.collect::<crate::db::Result<_>>().doing("add up the ledger")
}

fn from_row(row: &Row<'_>, by: By) -> crate::db::Result<UsageRow> {
    let mut key: String = row.get("key")?;
    if by == By::Day {
        key = date(key.parse().unwrap_or(0));
    }
    let (whole, part): (u64, u64) = (row.get("whole")?, row.get("part")?);
    Ok(UsageRow {
        key,
        calls: row.get("calls")?,
        usage: Usage {
            input_tokens: row.get("input")?,
            output_tokens: row.get("output")?,
            cache_read_tokens: row.get("cache_read")?,
            cache_write_tokens: row.get("cache_write")?,
        },
        cost: Money(whole.saturating_mul(Money::PER_USD).saturating_add(part)),
        estimated: row.get("estimated")?,
    })
}

/// The day in UTC of a time: `2026-01-31`.
#[must_use]
pub fn day_of(time: Timestamp) -> String {
    date(i64::try_from(time.0).unwrap_or(i64::MAX) / DAY_MS)
}

/// The date of a day counted from 1970-01-01, in the calendar of today. Counts in eras of 400 years that begin in March.
fn date(day: i64) -> String {
    let shifted = day + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", year + era * 400 + carry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        assert_eq!(DAY_MS, 24 * 60 * 60 * 1000);
        let check = |ms: i64, expect: &str| assert_eq!(date(ms / DAY_MS), expect);
        check(0, "1970-01-01");
        check(951_782_400_000, "2000-02-29");
        check(1_709_164_800_000, "2024-02-29");
        check(1_798_675_199_999, "2026-12-30");
        check(4_107_542_400_000, "2100-03-01");
    }
}
