//! Budgets, drawn in slabs.
//!
//! A slab counts as spent from the moment it is taken until it is settled for less, so money that was handed out when
//! the program died stays spent, and no restart makes a budget larger.

use crate::db::{Connection, OptionalExtension};
use model::{Money, Timestamp};
use serde::Serialize;

use crate::budget_limit::limit_of;
use crate::error::Doing;
use crate::row::int;
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Bytes that the name of a budget may have.
const SCOPE_BYTES_MAX: usize = 256;

/// The number of a slab.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct SlabId(pub i64);

/// A part of a budget that was taken and may be spent without asking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Slab {
    /// Its number.
    pub id: SlabId,
    /// How much may be spent from it.
    pub amount: Money,
}

impl Store {
    /// Takes a slab of `wish` from the budget `scope`, or what is left when that is at least `least`. The budget is
    /// made at its first slab; its `limit` is the caller's and may change between calls, and one that was set with
    /// [`Store::set_budget`] goes before it.
    ///
    /// # Errors
    /// [`StoreError::Budget`] when less than `least` is left; [`StoreError::Invalid`] for amounts or a name out of bounds.
    pub async fn lease_slab(&self, scope: &str, limit: Money, wish: Money, least: Money, now: Timestamp) -> Result<Slab, StoreError> {
        if scope.is_empty() || scope.len() > SCOPE_BYTES_MAX {
            return Err(StoreError::invalid("scope", format!("has not 1 to {SCOPE_BYTES_MAX} bytes")));
        }
        if wish == Money::ZERO || least > wish {
            return Err(StoreError::invalid("wish", "is nothing, or less than the least that is needed"));
        }
        let scope = scope.to_owned();
        self.write(Kind::SlabLease, scope.len(), move |conn| lease(conn, scope, limit, wish, least, now)).await
    }

    /// Gives a slab back, of which `used` was spent. More than its amount is taken from the budget as well.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or [`StoreError::Conflict`] when it was settled before.
    pub async fn settle_slab(&self, id: SlabId, used: Money, now: Timestamp) -> Result<(), StoreError> {
        self.write(Kind::SlabSettle, 0, move |conn| settle(conn, id, used, now)).await
    }

    /// What was spent of a budget, open slabs included; nothing for one that was never used.
    ///
    /// # Errors
    /// What the database said.
    pub async fn budget_spent(&self, scope: &str) -> Result<Money, StoreError> {
        let scope = scope.to_owned();
        self.read(move |conn| spent(conn, &scope)).await
    }
}

pub(crate) fn spent(conn: &Connection, scope: &str) -> Result<Money, StoreError> {
    let mut statement = conn.prepare_cached("SELECT spent FROM budgets WHERE scope = ?1").doing("read a budget")?;
    let spent: Option<u64> = statement.query_row([scope], |r| r.get(0)).optional().doing("read a budget")?;
    Ok(Money(spent.unwrap_or(0)))
}

fn lease(conn: &Connection, scope: String, limit: Money, wish: Money, least: Money, now: Timestamp) -> Result<Slab, StoreError> {
    let doing = "take a slab of a budget";
    // What somebody set since counts at once, also for calls that are under way.
    let limit = limit_of(conn, &scope)?.unwrap_or(limit);
    let left = limit.minus(spent(conn, &scope)?);
    let amount = wish.min(left);
    if amount < least || amount == Money::ZERO {
        return Err(StoreError::Budget { scope, left, asked: least });
    }
    let (sum, now) = (int("wish", amount.0)?, int("now", now.0)?);
    let sql = "INSERT INTO budgets (scope, spent, updated_ms) VALUES (?1, ?2, ?3)
               ON CONFLICT (scope) DO UPDATE SET spent = budgets.spent + excluded.spent, updated_ms = excluded.updated_ms";
    conn.prepare_cached(sql).and_then(|mut s| s.execute((&scope, sum, now))).doing(doing)?;
    let sql = "INSERT INTO slabs (scope, amount, opened_ms) VALUES (?1, ?2, ?3) RETURNING id";
    let id = conn.prepare_cached(sql).and_then(|mut s| s.query_row((&scope, sum, now), |r| r.get(0))).doing(doing)?;
    Ok(Slab { id: SlabId(id), amount })
}

fn settle(conn: &Connection, id: SlabId, used: Money, now: Timestamp) -> Result<(), StoreError> {
    let doing = "settle a slab of a budget";
    let sql = "SELECT scope, amount, used IS NOT NULL FROM slabs WHERE id = ?1";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let found = statement.query_row([id.0], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).optional().doing(doing)?;
    let (scope, amount, settled): (String, i64, bool) = found.ok_or_else(|| StoreError::NotFound { what: "slab", id: id.0.to_string() })?;
    if settled {
        return Err(StoreError::Conflict(format!("slab {} was settled before", id.0)));
    }
    let (used, now) = (int("used", used.0)?, int("now", now.0)?);
    conn.prepare_cached("UPDATE slabs SET used = ?2 WHERE id = ?1").and_then(|mut s| s.execute((id.0, used))).doing(doing)?;
    let sql = "UPDATE budgets SET spent = min(spent - ?2, 9223372036854775807 - ?3) + ?3, updated_ms = ?4 WHERE scope = ?1";
    conn.prepare_cached(sql).and_then(|mut s| s.execute((scope, amount, used, now))).doing(doing)?;
    Ok(())
}
