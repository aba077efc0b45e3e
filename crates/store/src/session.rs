//! Conversations.

use std::collections::BTreeMap;

use model::{SessionId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row};
use serde::Serialize;
use serde_json::Value;

use crate::error::Doing;
use crate::row::{int, json, parsed, to_json};
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Entries that one page of a list may have.
pub const LIST_MAX: usize = 1000;
/// Bytes that the labels and the specification of a session or turn may have as JSON, each.
pub(crate) const SPEC_BYTES_MAX: usize = 256 << 10;

/// A session to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSession {
    /// Its identity.
    pub id: SessionId,
    /// The engine's name.
    pub engine: String,
    /// The model that was asked for; empty for the engine's own choice.
    pub model: String,
    /// The provider that answers.
    pub provider: String,
    /// The user's own words, for finding it again.
    pub labels: BTreeMap<String, String>,
    /// Whatever else the caller must have to run it again. Not looked at here.
    pub spec: Value,
    /// Now.
    pub now: Timestamp,
}

/// A stored session.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SessionRow {
    /// Its identity.
    pub id: SessionId,
    /// The engine's name.
    pub engine: String,
    /// The model that was asked for; empty for the engine's own choice.
    pub model: String,
    /// The provider that answers.
    pub provider: String,
    /// What the engine calls this conversation, for resuming it.
    pub engine_session: Option<String>,
    /// The user's own words.
    pub labels: BTreeMap<String, String>,
    /// Whatever the caller stored.
    pub spec: Value,
    /// When it was made.
    pub created: Timestamp,
    /// When something last happened in it.
    pub updated: Timestamp,
    /// Turns so far.
    pub turns: u64,
    /// The number of its last event; 0 when there is none.
    pub last_seq: u64,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// What to pass as `after` for the next part; `None` at the end.
    pub next: Option<String>,
}

impl Store {
    /// Makes a session.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the identity is taken, [`StoreError::Invalid`] when labels or specification are too large.
    pub async fn create_session(&self, new: NewSession) -> Result<(), StoreError> {
        let labels = bounded("labels", to_json("labels", &new.labels)?)?;
        let spec = bounded("spec", to_json("spec", &new.spec)?)?;
        self.write(Kind::SessionCreate, labels.len() + spec.len(), move |conn| {
            let now = int("now", new.now.0)?;
            let sql = "INSERT INTO sessions (id, engine, model, provider, labels, spec, created_ms, updated_ms)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7) ON CONFLICT (id) DO NOTHING";
            let mut statement = conn.prepare_cached(sql).doing("make a session")?;
            let made = statement
                .execute((new.id.as_str(), &new.engine, &new.model, &new.provider, &labels, &spec, now))
                .doing("make a session")?;
            if made == 0 { Err(StoreError::Conflict(format!("session `{}` exists", new.id))) } else { Ok(()) }
        })
        .await
    }

    /// Reads a session.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn session(&self, id: &SessionId) -> Result<SessionRow, StoreError> {
        let id = id.clone();
        self.read(move |conn| read_session(conn, &id)).await
    }

    /// Lists sessions, the youngest first, those after the cursor `after` of an earlier page.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when `limit` is 0 or above [`LIST_MAX`].
    pub async fn list_sessions(&self, after: Option<SessionId>, limit: usize) -> Result<Page<SessionRow>, StoreError> {
        check_limit(limit, LIST_MAX)?;
        self.read(move |conn| {
            let sql = "SELECT * FROM sessions WHERE ?1 IS NULL OR id < ?1 ORDER BY id DESC LIMIT ?2";
            let mut statement = conn.prepare_cached(sql).doing("list sessions")?;
            let rows = statement.query_map((after.as_ref().map(SessionId::as_str), limit + 1), from_row).doing("list sessions")?;
            let items = rows.collect::<rusqlite::Result<Vec<_>>>().doing("list sessions")?;
            Ok(page(items, limit, |s| s.id.to_string()))
        })
        .await
    }

    /// Removes a session with its turns and events. What it spent stays in the ledger.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or [`StoreError::Conflict`] while a turn of it is not over.
    pub async fn delete_session(&self, id: &SessionId) -> Result<(), StoreError> {
        let id = id.clone();
        self.write(Kind::SessionDelete, 0, move |conn| {
            let sql = "SELECT id FROM turns WHERE session = ?1 AND state IN ('queued', 'leased', 'running', 'waiting') LIMIT 1";
            let open: Option<String> = conn.query_row(sql, [id.as_str()], |r| r.get(0)).optional().doing("delete a session")?;
            if let Some(turn) = open {
                return Err(StoreError::Conflict(format!("turn `{turn}` of session `{id}` is not over")));
            }
            match conn.execute("DELETE FROM sessions WHERE id = ?1", [id.as_str()]).doing("delete a session")? {
                0 => Err(missing(&id)),
                _ => Ok(()),
            }
        })
        .await
    }
}

pub(crate) fn read_session(conn: &Connection, id: &SessionId) -> Result<SessionRow, StoreError> {
    let mut statement = conn.prepare_cached("SELECT * FROM sessions WHERE id = ?1").doing("read a session")?;
    statement.query_row([id.as_str()], from_row).optional().doing("read a session")?.ok_or_else(|| missing(id))
}

pub(crate) fn missing(id: &SessionId) -> StoreError {
    StoreError::NotFound { what: "session", id: id.to_string() }
}

/// Cuts a list that was asked for with one entry too many, and says whether there is more.
pub(crate) fn page<T>(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(cursor) } else { None };
    Page { items, next }
}

pub(crate) fn check_limit(limit: usize, max: usize) -> Result<(), StoreError> {
    if limit == 0 || limit > max {
        return Err(StoreError::invalid("limit", format!("is {limit}, not from 1 to {max}")));
    }
    Ok(())
}

pub(crate) fn bounded(field: &'static str, text: String) -> Result<String, StoreError> {
    if text.len() > SPEC_BYTES_MAX {
        return Err(StoreError::invalid(field, format!("has {} bytes, more than {SPEC_BYTES_MAX}", text.len())));
    }
    Ok(text)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
    Ok(SessionRow {
        id: parsed(row, "id")?,
        engine: row.get("engine")?,
        model: row.get("model")?,
        provider: row.get("provider")?,
        engine_session: row.get("engine_session")?,
        labels: json(row, "labels")?,
        spec: json(row, "spec")?,
        created: Timestamp(row.get("created_ms")?),
        updated: Timestamp(row.get("updated_ms")?),
        turns: row.get("last_turn")?,
        last_seq: row.get("last_seq")?,
    })
}
