//! What an agent wants put in place and a person said yes to: done after the call, once, and told when it is.

use model::{SessionId, Timestamp, TurnId};
use serde_json::Value;

use crate::db::{Connection, OptionalExtension, Row, params};
use crate::error::Doing;
use crate::row::{int, json, parsed, to_json};
use crate::session::LIST_MAX;
use crate::webhook::cut;
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Orders that are not done yet; beyond it none is taken.
pub const ORDERS_OPEN_MAX: u64 = 50;
/// Bytes of what is kept of how one ended.
const NOTE_BYTES_MAX: usize = 2000;

/// An order to keep.
#[derive(Debug, Clone, PartialEq)]
pub struct NewOrder {
    /// Its identity.
    pub id: String,
    /// Whose agent.
    pub tenant: String,
    /// The agent.
    pub agent: String,
    /// The session that hears how it ended.
    pub session: SessionId,
    /// The turn that wants it.
    pub turn: TurnId,
    /// The call: the same call makes one.
    pub cause: String,
    /// What. Not looked at here.
    pub body: Value,
    /// Now.
    pub now: Timestamp,
}

/// A stored order.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderRow {
    /// Its identity.
    pub id: String,
    /// Whose agent.
    pub tenant: String,
    /// The agent.
    pub agent: String,
    /// The session that hears how it ended.
    pub session: SessionId,
    /// The turn that wants it.
    pub turn: TurnId,
    /// What.
    pub body: Value,
    /// `open`, `done` or `failed`.
    pub state: String,
    /// How it ended.
    pub note: Option<String>,
}

impl Store {
    /// Keeps an order; the same call keeps one.
    ///
    /// # Errors
    /// [`StoreError::Limit`] at [`ORDERS_OPEN_MAX`].
    pub async fn put_order(&self, new: NewOrder) -> Result<OrderRow, StoreError> {
        let body = to_json("body", &new.body)?;
        self.write(Kind::AgentOrder, body.len(), move |conn| {
            let doing = "keep an order";
            let known = conn.query_row("SELECT * FROM agent_orders WHERE cause = ?1", [&new.cause], from_row).optional().doing(doing)?;
            if let Some(row) = known {
                return Ok(row);
            }
            let sql = "SELECT count(*) FROM agent_orders WHERE state = 'open'";
            let open: u64 = conn.query_row(sql, [], |r| r.get(0)).doing(doing)?;
            if open >= ORDERS_OPEN_MAX {
                return Err(StoreError::Limit { what: "installations that wait", max: ORDERS_OPEN_MAX });
            }
            let sql = "INSERT INTO agent_orders (id, tenant, agent, session, turn, cause, body, state, created_ms)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'open', ?8) RETURNING *";
            let (session, turn) = (new.session.as_str(), new.turn.as_str());
            let with = params![new.id, new.tenant, new.agent, session, turn, new.cause, body, int("now", new.now.0)?];
            conn.query_row(sql, with, from_row).doing(doing)
        })
        .await
    }

    /// Orders that are not done, the oldest first.
    ///
    /// # Errors
    /// What the database said.
    pub async fn open_orders(&self) -> Result<Vec<OrderRow>, StoreError> {
        self.read(|conn| {
            let sql = "SELECT * FROM agent_orders WHERE state = 'open' ORDER BY id LIMIT ?1";
            list(conn, sql, params![int("limit", LIST_MAX as u64)?])
        })
        .await
    }

    /// What was put in place for an agent, the oldest first.
    ///
    /// # Errors
    /// What the database said.
    pub async fn done_orders(&self, agent: &str) -> Result<Vec<OrderRow>, StoreError> {
        let agent = agent.to_owned();
        self.read(move |conn| {
            let sql = "SELECT * FROM agent_orders WHERE agent = ?1 AND state = 'done' ORDER BY id LIMIT ?2";
            list(conn, sql, params![agent, int("limit", LIST_MAX as u64)?])
        })
        .await
    }

    /// Keeps how an order ended, once.
    ///
    /// # Errors
    /// What the database said.
    pub async fn end_order(&self, id: &str, is_done: bool, note: String, now: Timestamp) -> Result<bool, StoreError> {
        let id = id.to_owned();
        self.write(Kind::AgentOrder, 0, move |conn| {
            let sql = "UPDATE agent_orders SET state = ?2, note = ?3, ended_ms = ?4 WHERE id = ?1 AND state = 'open'";
            let state = if is_done { "done" } else { "failed" };
            let with = params![id, state, cut(note, NOTE_BYTES_MAX), int("now", now.0)?];
            Ok(conn.execute(sql, with).doing("end an order")? > 0)
        })
        .await
    }
}

fn list(conn: &Connection, sql: &str, with: impl crate::db::Params) -> Result<Vec<OrderRow>, StoreError> {
    let mut statement = conn.prepare_cached(sql).doing("list orders")?;
    let rows = statement.query_map(with, from_row).doing("list orders")?;
    rows.collect::<crate::db::Result<_>>().doing("list orders")
}

fn from_row(row: &Row<'_>) -> crate::db::Result<OrderRow> {
    Ok(OrderRow {
        id: row.get("id")?,
        tenant: row.get("tenant")?,
        agent: row.get("agent")?,
        session: parsed(row, "session")?,
        turn: parsed(row, "turn")?,
        body: json(row, "body")?,
        state: row.get("state")?,
        note: row.get("note")?,
    })
}
