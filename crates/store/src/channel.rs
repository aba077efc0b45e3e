//! Accounts of chat networks.

use model::Timestamp;
use serde_json::Value;

use crate::db::{Connection, OptionalExtension, Row, params};
use crate::error::Doing;
use crate::row::{int, to_json, unreadable};
use crate::session::bounded;
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Accounts that a store may hold.
pub const CHANNELS_MAX: u64 = 200;
/// Bytes of a cursor.
pub const CURSOR_BYTES_MAX: usize = 64 << 10;

/// A stored account.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelRow {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub tenant: String,
    /// Its network.
    pub network: String,
    /// The folder of somebody else's program; `None` for what ships.
    pub program: Option<String>,
    /// The hash of that folder when it was added.
    pub print: Option<String>,
    /// What the owner configured.
    pub config: Value,
    /// What its program says that it needs.
    pub about: Value,
    /// Whether it is to run.
    pub is_on: bool,
    /// Where the network's own log goes on.
    pub cursor: Option<String>,
    /// Who it is on the network, once it said so.
    pub me: Option<Value>,
    /// What the network can do, once it said so.
    pub abilities: Option<Value>,
    /// The daemon that runs it, where several share the database.
    pub host: Option<String>,
    /// When it was added.
    pub created: Timestamp,
}

impl Store {
    /// Adds an account, or replaces what is said of it; what it heard and owes stays.
    ///
    /// # Errors
    /// [`StoreError::Limit`] at [`CHANNELS_MAX`], [`StoreError::Conflict`] when it is there and is to be new, or belongs to another tenant.
    pub async fn put_channel(&self, row: ChannelRow, is_new: bool) -> Result<ChannelRow, StoreError> {
        let config = bounded("config", to_json("config", &row.config)?)?;
        let about = bounded("about", to_json("about", &row.about)?)?;
        self.write(Kind::ChannelPut, config.len(), move |conn| {
            let doing = "keep a channel";
            let there = read(conn, &row.name)?;
            match &there {
                Some(_) if is_new => return Err(StoreError::Conflict(format!("channel `{}` exists", row.name))),
                Some(old) if old.tenant != row.tenant => return Err(StoreError::Conflict(format!("channel `{}` exists", row.name))),
                Some(_) => {}
                None if !is_new => return Err(missing(&row.name)),
                None => {
                    let count: u64 = conn.query_row("SELECT count(*) FROM channels", [], |r| r.get(0)).doing(doing)?;
                    if count >= CHANNELS_MAX {
                        return Err(StoreError::Limit { what: "channels", max: CHANNELS_MAX });
                    }
                    crate::tenant::make(conn, &row.tenant, row.created)?;
                }
            }
            let sql = "INSERT INTO channels (name, tenant, network, program, print, config, about, is_on, host, created_ms, updated_ms)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)
                       ON CONFLICT (name) DO UPDATE SET network = excluded.network, program = excluded.program, print = excluded.print,
                         config = excluded.config, about = excluded.about, is_on = excluded.is_on, host = excluded.host,
                         updated_ms = excluded.updated_ms RETURNING *";
            let (on, now, host) = (i64::from(row.is_on), int("now", row.created.0)?, conn.replica());
            let with = params![row.name, row.tenant, row.network, row.program, row.print, config, about, on, host, now];
            conn.query_row(sql, with, from_row).doing(doing)
        })
        .await
    }

    /// Switches an account on or off.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn switch_channel(&self, name: &str, is_on: bool, now: Timestamp) -> Result<ChannelRow, StoreError> {
        let name = name.to_owned();
        self.write(Kind::ChannelPut, 0, move |conn| {
            let sql = "UPDATE channels SET is_on = ?2, host = ?4, updated_ms = ?3 WHERE name = ?1 RETURNING *";
            let with = params![name, i64::from(is_on), int("now", now.0)?, conn.replica()];
            let row = conn.query_row(sql, with, from_row).optional().doing("switch a channel")?;
            row.ok_or_else(|| missing(&name))
        })
        .await
    }

    /// Forgets an account with all that it heard and owes.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn remove_channel(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(Kind::ChannelRemove, 0, move |conn| {
            let doing = "remove a channel";
            // The conversations of its chats are named no more; their sessions stay.
            let sql = "DELETE FROM chat_sessions WHERE chat IN (SELECT id FROM chats WHERE channel = ?1)";
            conn.execute(sql, [&name]).doing(doing)?;
            let gone = conn.execute("DELETE FROM channels WHERE name = ?1", [&name]).doing(doing)?;
            if gone == 0 { Err(missing(&name)) } else { Ok(()) }
        })
        .await
    }

    /// One account.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn channel(&self, name: &str) -> Result<ChannelRow, StoreError> {
        let name = name.to_owned();
        self.read(move |conn| read(conn, &name)?.ok_or_else(|| missing(&name))).await
    }

    /// The accounts of a tenant, or all, by name: at most [`CHANNELS_MAX`].
    ///
    /// # Errors
    /// What the database said.
    pub async fn list_channels(&self, tenant: Option<String>) -> Result<Vec<ChannelRow>, StoreError> {
        self.read(move |conn| {
            let sql = "SELECT * FROM channels WHERE ?1 IS NULL OR tenant = ?1 ORDER BY name";
            let mut statement = conn.prepare_cached(sql).doing("list channels")?;
            let rows = statement.query_map([tenant], from_row).doing("list channels")?;
            rows.collect::<crate::db::Result<_>>().doing("list channels")
        })
        .await
    }

    /// Keeps who an account is and what its network can do.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn channel_ready(&self, name: &str, me: Value, abilities: Value) -> Result<(), StoreError> {
        let (me, abilities) = (bounded("me", to_json("me", &me)?)?, bounded("abilities", to_json("abilities", &abilities)?)?);
        let name = name.to_owned();
        self.write(Kind::ChannelReady, 0, move |conn| {
            let sql = "UPDATE channels SET me = ?2, abilities = ?3 WHERE name = ?1";
            let changed = conn.execute(sql, params![name, me, abilities]).doing("keep what a channel can do")?;
            if changed == 0 { Err(missing(&name)) } else { Ok(()) }
        })
        .await
    }

    /// Keeps where an account's network goes on: everything before it is in the store.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when it is longer than [`CURSOR_BYTES_MAX`].
    pub async fn channel_cursor(&self, name: &str, cursor: String) -> Result<(), StoreError> {
        if cursor.len() > CURSOR_BYTES_MAX {
            return Err(StoreError::invalid("cursor", format!("has more than {CURSOR_BYTES_MAX} bytes")));
        }
        let name = name.to_owned();
        self.write(Kind::ChannelCursor, cursor.len(), move |conn| {
            conn.execute("UPDATE channels SET cursor = ?2 WHERE name = ?1", params![name, cursor]).doing("keep a cursor").map(drop)
        })
        .await
    }
}

pub(crate) fn read(conn: &Connection, name: &str) -> Result<Option<ChannelRow>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT * FROM channels WHERE name = ?1").doing("read a channel")?;
    statement.query_row([name], from_row).optional().doing("read a channel")
}

pub(crate) fn missing(name: &str) -> StoreError {
    StoreError::NotFound { what: "channel", id: name.to_owned() }
}

fn maybe_json(row: &Row<'_>, column: &str) -> crate::db::Result<Option<Value>> {
    let text: Option<String> = row.get(column)?;
    text.map(|t| serde_json::from_str(&t).map_err(|e| unreadable(e.into()))).transpose()
}

fn from_row(row: &Row<'_>) -> crate::db::Result<ChannelRow> {
    Ok(ChannelRow {
        name: row.get("name")?,
        tenant: row.get("tenant")?,
        network: row.get("network")?,
        program: row.get("program")?,
        print: row.get("print")?,
        config: crate::row::json(row, "config")?,
        about: crate::row::json(row, "about")?,
        is_on: row.get::<_, i64>("is_on")? == 1,
        cursor: row.get("cursor")?,
        me: maybe_json(row, "me")?,
        abilities: maybe_json(row, "abilities")?,
        host: row.get("host")?,
        created: Timestamp(row.get("created_ms")?),
    })
}
