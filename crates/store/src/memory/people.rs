//! What people do with memories: look, confirm, remove.

use crate::db::Value;
use crate::db::{Connection, OptionalExtension, params_from_iter};
use model::{MemoryId, Timestamp};

use super::change::remove;
use super::entry::{COLUMNS, MemoryKind, MemoryOwner, MemoryRow, MemoryState, TABLES, from_row, missing, owner_number};
use super::index::folded;
use crate::error::Doing;
use crate::row::int;
use crate::session::{LIST_MAX, check_limit};
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Entries that one write of a purge removes: others want to write as well.
const PURGE_ROWS_MAX: i64 = 500;

/// Whose memories somebody may see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryScope {
    /// Of this tenant only; `None` for all.
    pub tenant: Option<String>,
}

/// Which memories are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryFilter {
    /// Of this agent only.
    pub agent: Option<String>,
    /// Of this kind only.
    pub kind: Option<MemoryKind>,
    /// Those with all of these tags.
    pub tags: Vec<String>,
    /// In this state only; `None` for every state.
    pub state: Option<MemoryState>,
    /// Only those that wait for a person.
    pub waiting: bool,
}

impl Store {
    /// Memories, the newest first, those older than the entry `after`.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when `limit` is not from 1 to [`crate::LIST_MAX`].
    pub async fn list_memories(
        &self,
        scope: &MemoryScope,
        filter: &MemoryFilter,
        after: Option<MemoryId>,
        limit: usize,
    ) -> Result<Vec<MemoryRow>, StoreError> {
        check_limit(limit, LIST_MAX)?;
        let (scope, filter) = (scope.clone(), filter.clone());
        self.read(move |conn| list(conn, &scope, &filter, after.as_ref(), limit)).await
    }

    /// One memory.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn memory(&self, scope: &MemoryScope, id: &MemoryId) -> Result<MemoryRow, StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        self.read(move |conn| read_seen(conn, &scope, &id).map(|(_, row)| row)).await
    }

    /// A person says that an entry may act.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] when it is not found by the agent any more.
    pub async fn confirm_memory(&self, scope: &MemoryScope, id: &MemoryId, now: Timestamp) -> Result<MemoryRow, StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        self.write(Kind::MemoryConfirm, 0, move |conn| {
            let doing = "confirm a memory";
            let (n, row) = read_seen(conn, &scope, &id)?;
            if row.state != MemoryState::Live {
                return Err(StoreError::Conflict(format!("memory `{id}` is {}", row.state.as_str())));
            }
            let sql = "UPDATE memories SET confirmed_ms = coalesce(confirmed_ms, ?2) WHERE n = ?1";
            conn.prepare_cached(sql).doing(doing)?.execute((n, int("now", now.0)?)).doing(doing)?;
            read_seen(conn, &scope, &id).map(|(_, row)| row)
        })
        .await
    }

    /// A person removes an entry for good. What sessions of its agent were told is forgotten too, so that they are told anew.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn remove_memory(&self, scope: &MemoryScope, id: &MemoryId) -> Result<(), StoreError> {
        let (scope, id) = (scope.clone(), id.clone());
        self.write(Kind::MemoryRemove, 0, move |conn| {
            let (n, row) = read_seen(conn, &scope, &id)?;
            remove(conn, n)?;
            forget_briefs(conn, &MemoryOwner { tenant: row.tenant, agent: row.agent })
        })
        .await
    }

    /// Removes memories of an agent for good: all of them, or those that it does not find any more. Says how many went.
    ///
    /// # Errors
    /// What the database said. What went before it failed is gone.
    pub async fn purge_memories(&self, owner: &MemoryOwner, all: bool) -> Result<u64, StoreError> {
        let mut gone = 0;
        loop {
            let step = owner.clone();
            let some = self.write(Kind::MemoryPurge, 0, move |conn| purge(conn, &step, all)).await?;
            gone += some;
            if some == 0 {
                return Ok(gone);
            }
        }
    }

    /// Who has memories: tenant, agent and how many entries.
    ///
    /// # Errors
    /// What the database said.
    pub async fn memory_owners(&self, scope: &MemoryScope) -> Result<Vec<(MemoryOwner, u64)>, StoreError> {
        let scope = scope.clone();
        self.read(move |conn| {
            let doing = "list whose memories there are";
            let sql = "SELECT tenant, agent, entries FROM memory_owners WHERE entries > 0 AND (?1 IS NULL OR tenant = ?1)
                       ORDER BY tenant, agent";
            let mut statement = conn.prepare_cached(sql).doing(doing)?;
            let of = |r: &crate::db::Row<'_>| Ok((MemoryOwner { tenant: r.get(0)?, agent: r.get(1)? }, r.get(2)?));
            let rows = statement.query_map([&scope.tenant], of).doing(doing)?;
            rows.collect::<crate::db::Result<_>>().doing(doing)
        })
        .await
    }
}

fn list(
    conn: &Connection,
    scope: &MemoryScope,
    filter: &MemoryFilter,
    after: Option<&MemoryId>,
    limit: usize,
) -> Result<Vec<MemoryRow>, StoreError> {
    let doing = "list memories";
    let (mut sql, mut values) = (format!("SELECT {COLUMNS} FROM {TABLES} WHERE true"), Vec::<Value>::new());
    let mut and = |condition: &str, value: Value| {
        values.push(value);
        sql.push_str(&format!(" AND {}", condition.replace('?', &format!("?{}", values.len()))));
    };
    for (column, value) in [("o.tenant = ?", &scope.tenant), ("o.agent = ?", &filter.agent)] {
        if let Some(value) = value {
            and(column, value.clone().into());
        }
    }
    if let Some(kind) = filter.kind {
        and("m.kind = ?", kind.as_str().to_owned().into());
    }
    if let Some(state) = filter.state {
        and("m.state = ?", state.as_str().to_owned().into());
    }
    if filter.waiting {
        and("m.behavioural = ? AND m.confirmed_ms IS NULL AND m.state = 'live'", 1.into());
    }
    for tag in &filter.tags {
        and("EXISTS (SELECT 1 FROM json_each(m.tags) WHERE value = ?)", folded(tag).into());
    }
    if let Some(after) = after {
        and("m.n < coalesce((SELECT n FROM memories WHERE id = ?), 0)", after.as_str().to_owned().into());
    }
    sql.push_str(&format!(" ORDER BY m.n DESC LIMIT {limit}"));
    let mut statement = conn.prepare_cached(&sql).doing(doing)?;
    let rows = statement.query_map(params_from_iter(values), from_row).doing(doing)?;
    rows.collect::<crate::db::Result<_>>().doing(doing)
}

fn read_seen(conn: &Connection, scope: &MemoryScope, id: &MemoryId) -> Result<(i64, MemoryRow), StoreError> {
    let doing = "read a memory";
    let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE m.id = ?1 AND (?2 IS NULL OR o.tenant = ?2)");
    let mut statement = conn.prepare_cached(&sql).doing(doing)?;
    let found = statement.query_row((id.as_str(), &scope.tenant), |r| Ok((r.get("n")?, from_row(r)?))).optional().doing(doing)?;
    found.ok_or_else(|| missing(id))
}

fn purge(conn: &Connection, owner: &MemoryOwner, all: bool) -> Result<u64, StoreError> {
    let doing = "purge an agent's memory";
    let Some(number) = owner_number(conn, owner)? else { return Ok(0) };
    let sql = "SELECT n FROM memories WHERE owner = ?1 AND (?2 OR state <> 'live') ORDER BY n LIMIT ?3";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let rows = statement.query_map((number, all, PURGE_ROWS_MAX), |r| r.get(0)).doing(doing)?;
    let gone: Vec<i64> = rows.collect::<crate::db::Result<_>>().doing(doing)?;
    gone.iter().try_for_each(|n| remove(conn, *n))?;
    conn.prepare_cached("DELETE FROM memory_words WHERE owner = ?1 AND docs = 0").and_then(|mut s| s.execute([number])).doing(doing)?;
    if !gone.is_empty() && all {
        forget_briefs(conn, owner)?;
    }
    Ok(gone.len() as u64)
}

/// Lets the sessions of an agent be told anew what it remembers.
fn forget_briefs(conn: &Connection, owner: &MemoryOwner) -> Result<(), StoreError> {
    let doing = "forget what sessions were told";
    let Some(number) = owner_number(conn, owner)? else { return Ok(()) };
    conn.prepare_cached("DELETE FROM memory_briefs WHERE owner = ?1").and_then(|mut s| s.execute([number])).doing(doing).map(drop)
}
