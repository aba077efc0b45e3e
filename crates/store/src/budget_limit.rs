//! What may be spent, as people set it. What was spent is counted beside it, in `budget.rs`.
//!
//! A budget is named by whom it is for: `session:ID`, `job:ID`, `agent:NAME`, `tenant:NAME` or `all`. With `@day` behind it
//! the limit holds each day (UTC), and each day is counted under a name of its own: `all@day:2026-01-31`.

use model::{Money, Timestamp};
use serde::Serialize;

use crate::budget::spent;
use crate::db::{Connection, OptionalExtension, Row};
use crate::error::Doing;
use crate::ledger::day_of;
use crate::row::int;
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Limits that a store may hold.
pub const BUDGETS_MAX: u64 = 10_000;
/// Bytes that a name may have.
const NAME_BYTES_MAX: usize = 200;
/// What stands behind the name of a limit that holds each day.
const EACH_DAY: &str = "@day";

/// What somebody set, and what was spent of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BudgetRow {
    /// Whose it is.
    pub name: String,
    /// The most that may be spent.
    pub most: Money,
    /// `wait` or `fail`; `None` for what is usual.
    pub policy: Option<String>,
    /// What was spent, today where it holds each day.
    pub spent: Money,
    /// When it was set or raised last.
    pub updated: Timestamp,
}

impl BudgetRow {
    /// The name under which spending is counted at a time.
    #[must_use]
    pub fn key(&self, now: Timestamp) -> String {
        budget_key(&self.name, now)
    }
}

/// The name under which the spending of a budget is counted at a time.
#[must_use]
pub fn budget_key(name: &str, now: Timestamp) -> String {
    if name.ends_with(EACH_DAY) { format!("{name}:{}", day_of(now)) } else { name.to_owned() }
}

/// The name of the budget whose spending is counted under a key.
#[must_use]
pub fn budget_name(key: &str) -> &str {
    match key.split_once("@day:") {
        Some((name, _)) => &key[..name.len() + EACH_DAY.len()],
        None => key,
    }
}

impl Store {
    /// Sets what may be spent, and what happens when it is.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a name or an amount out of bounds, [`StoreError::Limit`] at [`BUDGETS_MAX`].
    pub async fn set_budget(&self, name: &str, most: Money, policy: Option<String>, now: Timestamp) -> Result<BudgetRow, StoreError> {
        let name = checked(name)?;
        self.write(Kind::BudgetSet, 0, move |conn| set(conn, &name, most, policy.as_deref(), now)).await
    }

    /// Raises what may be spent by an amount; `least` is what it was before where nobody set it.
    ///
    /// # Errors
    /// As [`Store::set_budget`].
    pub async fn raise_budget(&self, name: &str, by: Money, least: Money, now: Timestamp) -> Result<BudgetRow, StoreError> {
        let name = checked(name)?;
        self.write(Kind::BudgetSet, 0, move |conn| {
            let before = read(conn, &name, now)?;
            let most = before.as_ref().map_or(least, |row| row.most).plus(by);
            set(conn, &name, most, before.and_then(|row| row.policy).as_deref(), now)
        })
        .await
    }

    /// Forgets what was set; what was spent stays known.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn remove_budget(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(Kind::BudgetSet, 0, move |conn| {
            match conn.execute("DELETE FROM budget_limits WHERE name = ?1", [&name]).doing("forget a budget")? {
                0 => Err(StoreError::NotFound { what: "budget", id: name.clone() }),
                _ => Ok(()),
            }
        })
        .await
    }

    /// Every budget that somebody set, by name: at most [`BUDGETS_MAX`].
    ///
    /// # Errors
    /// What the database said.
    pub async fn list_budgets(&self, now: Timestamp) -> Result<Vec<BudgetRow>, StoreError> {
        self.read(move |conn| {
            let mut statement = conn.prepare_cached("SELECT * FROM budget_limits ORDER BY name").doing("list budgets")?;
            let rows = statement.query_map([], from_row).doing("list budgets")?;
            let rows: Vec<BudgetRow> = rows.collect::<crate::db::Result<_>>().doing("list budgets")?;
            rows.into_iter().map(|row| counted(conn, row, now)).collect()
        })
        .await
    }

    /// Those of these budgets that somebody set.
    ///
    /// # Errors
    /// What the database said.
    pub async fn budgets(&self, names: Vec<String>, now: Timestamp) -> Result<Vec<BudgetRow>, StoreError> {
        self.read(move |conn| names.iter().filter_map(|name| read(conn, name, now).transpose()).collect()).await
    }
}

/// What somebody set for the budget that is counted under a key.
pub(crate) fn limit_of(conn: &Connection, key: &str) -> Result<Option<Money>, StoreError> {
    let doing = "read a budget";
    let mut statement = conn.prepare_cached("SELECT most FROM budget_limits WHERE name = ?1").doing(doing)?;
    let most: Option<u64> = statement.query_row([budget_name(key)], |r| r.get(0)).optional().doing(doing)?;
    Ok(most.map(Money))
}

fn checked(name: &str) -> Result<String, StoreError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(StoreError::invalid("name", format!("has not 1 to {NAME_BYTES_MAX} bytes")));
    }
    Ok(name.to_owned())
}

fn set(conn: &Connection, name: &str, most: Money, policy: Option<&str>, now: Timestamp) -> Result<BudgetRow, StoreError> {
    let doing = "set a budget";
    if policy.is_some_and(|p| p != "wait" && p != "fail") {
        return Err(StoreError::invalid("policy", "is neither `wait` nor `fail`"));
    }
    let count: u64 = conn.query_row("SELECT count(*) FROM budget_limits WHERE name <> ?1", [name], |r| r.get(0)).doing(doing)?;
    if count >= BUDGETS_MAX {
        return Err(StoreError::Limit { what: "budgets", max: BUDGETS_MAX });
    }
    let sql = "INSERT INTO budget_limits (name, most, policy, created_ms, updated_ms) VALUES (?1, ?2, ?3, ?4, ?4)
               ON CONFLICT (name) DO UPDATE SET most = excluded.most, policy = excluded.policy, updated_ms = excluded.updated_ms
               RETURNING *";
    let with = (name, int("most", most.0)?, policy, int("now", now.0)?);
    let row = conn.query_row(sql, with, from_row).doing(doing)?;
    counted(conn, row, now)
}

fn read(conn: &Connection, name: &str, now: Timestamp) -> Result<Option<BudgetRow>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT * FROM budget_limits WHERE name = ?1").doing("read a budget")?;
    let row = statement.query_row([name], from_row).optional().doing("read a budget")?;
    row.map(|row| counted(conn, row, now)).transpose()
}

fn counted(conn: &Connection, mut row: BudgetRow, now: Timestamp) -> Result<BudgetRow, StoreError> {
    row.spent = spent(conn, &row.key(now))?;
    Ok(row)
}

fn from_row(row: &Row<'_>) -> crate::db::Result<BudgetRow> {
    Ok(BudgetRow {
        name: row.get("name")?,
        most: Money(row.get("most")?),
        policy: row.get("policy")?,
        spent: Money::ZERO,
        updated: Timestamp(row.get("updated_ms")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_day_is_counted_under_a_name_of_its_own() {
        let now = Timestamp(1_798_675_199_999);
        let check = |name: &str, key: &str| {
            assert_eq!(budget_key(name, now), key);
            assert_eq!(budget_name(key), name);
        };
        check("all@day", "all@day:2026-12-30");
        check("tenant:a@day", "tenant:a@day:2026-12-30");
        check("session:ses_1", "session:ses_1");
    }
}
