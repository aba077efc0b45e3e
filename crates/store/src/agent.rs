//! Configured personas. What stands in one is the caller's to know.

use crate::db::{Connection, OptionalExtension, Row};
use model::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::error::Doing;
use crate::row::{int, json, to_json};
use crate::session::{SPEC_BYTES_MAX, bounded};
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Bytes that the body of an agent may have as JSON.
pub const AGENT_BYTES_MAX: usize = SPEC_BYTES_MAX;
/// Agents that a store may hold.
pub const AGENTS_MAX: u64 = 1000;

/// A stored agent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentRow {
    /// Its name.
    pub name: String,
    /// What it is.
    pub body: Value,
    /// When it was made.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
}

impl Store {
    /// Makes an agent, or replaces the body of one that is there unless `create_only`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is there and must not be, [`StoreError::Limit`] at [`AGENTS_MAX`],
    /// [`StoreError::Invalid`] when the name is none or the body is too large.
    pub async fn put_agent(&self, name: &str, body: Value, now: Timestamp, create_only: bool) -> Result<AgentRow, StoreError> {
        if !model::is_name(name) {
            return Err(StoreError::invalid("name", "is not one: small letters, digits and `-`"));
        }
        let body = bounded("agent", to_json("agent", &body)?)?;
        let name = name.to_owned();
        self.write(Kind::AgentPut, body.len(), move |conn| put(conn, &name, &body, now, create_only)).await
    }

    /// Reads an agent.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn agent(&self, name: &str) -> Result<AgentRow, StoreError> {
        let name = name.to_owned();
        self.read(move |conn| read(conn, &name)?.ok_or_else(|| missing(&name))).await
    }

    /// Every agent, by name: at most [`AGENTS_MAX`].
    ///
    /// # Errors
    /// What the database said.
    pub async fn list_agents(&self) -> Result<Vec<AgentRow>, StoreError> {
        self.read(|conn| {
            let mut statement = conn.prepare_cached("SELECT * FROM agents ORDER BY name").doing("list agents")?;
            let rows = statement.query_map([], from_row).doing("list agents")?;
            rows.collect::<crate::db::Result<_>>().doing("list agents")
        })
        .await
    }

    /// Removes an agent.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] while a session that is not archived uses it.
    pub async fn remove_agent(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(Kind::AgentRemove, 0, move |conn| {
            let doing = "remove an agent";
            let sql = "SELECT id FROM sessions WHERE agent = ?1 AND archived_ms IS NULL LIMIT 1";
            let used: Option<String> = conn.query_row(sql, [&name], |r| r.get(0)).optional().doing(doing)?;
            let there = read(conn, &name)?.ok_or_else(|| missing(&name))?;
            if let Some(session) = used {
                return Err(StoreError::Conflict(format!("session `{session}` uses agent `{}`", there.name)));
            }
            conn.execute("DELETE FROM agents WHERE name = ?1", [&name]).doing(doing).map(drop)
        })
        .await
    }
}

pub(crate) fn put(conn: &Connection, name: &str, body: &str, now: Timestamp, create_only: bool) -> Result<AgentRow, StoreError> {
    let doing = "keep an agent";
    let there = read(conn, name)?.is_some();
    if there && create_only {
        return Err(StoreError::Conflict(format!("agent `{name}` exists")));
    }
    let count: u64 = conn.query_row("SELECT count(*) FROM agents", [], |r| r.get(0)).doing(doing)?;
    if !there && count >= AGENTS_MAX {
        return Err(StoreError::Limit { what: "agents", max: AGENTS_MAX });
    }
    let sql = "INSERT INTO agents (name, body, created_ms, updated_ms) VALUES (?1, ?2, ?3, ?3)
               ON CONFLICT (name) DO UPDATE SET body = excluded.body, updated_ms = excluded.updated_ms RETURNING *";
    conn.query_row(sql, (name, body, int("now", now.0)?), from_row).doing(doing)
}

pub(crate) fn read(conn: &Connection, name: &str) -> Result<Option<AgentRow>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT * FROM agents WHERE name = ?1").doing("read an agent")?;
    statement.query_row([name], from_row).optional().doing("read an agent")
}

fn missing(name: &str) -> StoreError {
    StoreError::NotFound { what: "agent", id: name.to_owned() }
}

fn from_row(row: &Row<'_>) -> crate::db::Result<AgentRow> {
    Ok(AgentRow {
        name: row.get("name")?,
        body: json(row, "body")?,
        created: Timestamp(row.get("created_ms")?),
        updated: Timestamp(row.get("updated_ms")?),
    })
}
