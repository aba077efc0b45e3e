//! Plugins that were put in place, and what of each the owner has approved. What stands in a definition is the caller's to
//! know.

use crate::db::{Connection, OptionalExtension, Row};
use model::Timestamp;
use serde_json::Value;

use crate::error::Doing;
use crate::row::{int, json, to_json};
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Plugins that a store may know.
pub const PLUGINS_MAX: u64 = 256;
/// Bytes that the definitions of one plugin may have as JSON.
pub const DEFINITIONS_BYTES_MAX: usize = 2 << 20;

/// The longest name of a plugin.
const NAME_BYTES_MAX: usize = 64;

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
}

/// A plugin that was put in place.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginRow {
    /// Its name.
    pub name: String,
    /// `folder`, `shipped`, or where it was installed from.
    pub source: String,
    /// The hash over its files, as they were installed or first seen.
    pub folder_hash: String,
    /// Whether it may be used at all.
    pub is_enabled: bool,
    /// The definitions that the owner approved.
    pub approved: Value,
    /// The hash over them.
    pub approved_hash: String,
    /// The definitions that were seen last.
    pub seen: Value,
    /// The hash over them. Where it is another than [`PluginRow::approved_hash`], the owner must look.
    pub seen_hash: String,
    /// When it was put in place.
    pub installed: Timestamp,
    /// When the owner last approved it.
    pub approved_at: Timestamp,
}

impl Store {
    /// Keeps what is known of a plugin, in the place of what was known before.
    ///
    /// # Errors
    /// [`StoreError::Limit`] at [`PLUGINS_MAX`], [`StoreError::Invalid`] when its name is none or its definitions are too long.
    pub async fn put_plugin(&self, row: PluginRow) -> Result<(), StoreError> {
        if row.name.is_empty() || row.name.len() > NAME_BYTES_MAX || !row.name.bytes().all(is_plain) {
            return Err(StoreError::invalid("name", "is not one: small letters, digits, `-` and `_`"));
        }
        let (approved, seen) = (definitions(&row.approved)?, definitions(&row.seen)?);
        self.write(Kind::PluginPut, approved.len() + seen.len(), move |conn| put(conn, &row, &approved, &seen)).await
    }

    /// Notes what was seen of a plugin; what was approved stays.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Invalid`] when the definitions are too long.
    pub async fn see_plugin(&self, name: &str, seen: Value, seen_hash: &str) -> Result<(), StoreError> {
        let (seen, name, hash) = (definitions(&seen)?, name.to_owned(), seen_hash.to_owned());
        self.write(Kind::PluginPut, seen.len(), move |conn| {
            let sql = "UPDATE plugins SET seen = ?2, seen_hash = ?3 WHERE name = ?1";
            changed(conn.execute(sql, (&name, seen, hash)).doing("note a plugin")?, &name)
        })
        .await
    }

    /// Approves what was seen of a plugin last, and its files as they are now.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] when something else than `seen_hash` was seen last.
    pub async fn approve_plugin(&self, name: &str, seen_hash: &str, folder_hash: &str, now: Timestamp) -> Result<(), StoreError> {
        let (name, seen_hash, folder_hash) = (name.to_owned(), seen_hash.to_owned(), folder_hash.to_owned());
        self.write(Kind::PluginPut, 0, move |conn| {
            let row = read(conn, &name)?.ok_or_else(|| missing(&name))?;
            if row.seen_hash != seen_hash {
                return Err(StoreError::Conflict(format!("plugin `{name}` has changed since: {}", row.seen_hash)));
            }
            let sql = "UPDATE plugins SET approved = seen, approved_hash = seen_hash, folder_hash = ?2, approved_ms = ?3 WHERE name = ?1";
            conn.execute(sql, (&name, folder_hash, int("now", now.0)?)).doing("approve a plugin").map(drop)
        })
        .await
    }

    /// Lets a plugin be used, or not.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn enable_plugin(&self, name: &str, is_enabled: bool) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(Kind::PluginPut, 0, move |conn| {
            let sql = "UPDATE plugins SET is_enabled = ?2 WHERE name = ?1";
            changed(conn.execute(sql, (&name, is_enabled)).doing("enable a plugin")?, &name)
        })
        .await
    }

    /// What is known of a plugin.
    ///
    /// # Errors
    /// What the database said.
    pub async fn plugin(&self, name: &str) -> Result<Option<PluginRow>, StoreError> {
        let name = name.to_owned();
        self.read(move |conn| read(conn, &name)).await
    }

    /// Every plugin that is known, by name: at most [`PLUGINS_MAX`].
    ///
    /// # Errors
    /// What the database said.
    pub async fn list_plugins(&self) -> Result<Vec<PluginRow>, StoreError> {
        self.read(|conn| {
            let mut statement = conn.prepare_cached("SELECT * FROM plugins ORDER BY name").doing("list plugins")?;
            let rows = statement.query_map([], from_row).doing("list plugins")?;
            rows.collect::<crate::db::Result<_>>().doing("list plugins")
        })
        .await
    }

    /// Forgets a plugin.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn remove_plugin(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(Kind::PluginRemove, 0, move |conn| {
            changed(conn.execute("DELETE FROM plugins WHERE name = ?1", [&name]).doing("remove a plugin")?, &name)
        })
        .await
    }
}

fn definitions(value: &Value) -> Result<String, StoreError> {
    let text = to_json("definitions", value)?;
    if text.len() > DEFINITIONS_BYTES_MAX {
        return Err(StoreError::invalid("definitions", format!("have more than {DEFINITIONS_BYTES_MAX} bytes")));
    }
    Ok(text)
}

fn put(conn: &Connection, row: &PluginRow, approved: &str, seen: &str) -> Result<(), StoreError> {
    let doing = "keep a plugin";
    let others: u64 = conn.query_row("SELECT count(*) FROM plugins WHERE name <> ?1", [&row.name], |r| r.get(0)).doing(doing)?;
    if others >= PLUGINS_MAX {
        return Err(StoreError::Limit { what: "plugins", max: PLUGINS_MAX });
    }
    let sql = "INSERT INTO plugins
               (name, source, folder_hash, is_enabled, approved, approved_hash, seen, seen_hash, installed_ms, approved_ms)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
               ON CONFLICT (name) DO UPDATE SET source = excluded.source, folder_hash = excluded.folder_hash, is_enabled = excluded.is_enabled,
                 approved = excluded.approved, approved_hash = excluded.approved_hash, seen = excluded.seen, seen_hash = excluded.seen_hash,
                 installed_ms = excluded.installed_ms, approved_ms = excluded.approved_ms";
    let (installed, at) = (int("installed", row.installed.0)?, int("approved", row.approved_at.0)?);
    let hashes = (&row.approved_hash, &row.seen_hash);
    let values = (&row.name, &row.source, &row.folder_hash, row.is_enabled, approved, hashes.0, seen, hashes.1, installed, at);
    conn.execute(sql, values).doing(doing).map(drop)
}

fn read(conn: &Connection, name: &str) -> Result<Option<PluginRow>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT * FROM plugins WHERE name = ?1").doing("read a plugin")?;
    statement.query_row([name], from_row).optional().doing("read a plugin")
}

fn changed(rows: usize, name: &str) -> Result<(), StoreError> {
    if rows == 0 { Err(missing(name)) } else { Ok(()) }
}

fn missing(name: &str) -> StoreError {
    StoreError::NotFound { what: "plugin", id: name.to_owned() }
}

fn from_row(row: &Row<'_>) -> crate::db::Result<PluginRow> {
    Ok(PluginRow {
        name: row.get("name")?,
        source: row.get("source")?,
        folder_hash: row.get("folder_hash")?,
        is_enabled: row.get("is_enabled")?,
        approved: json(row, "approved")?,
        approved_hash: row.get("approved_hash")?,
        seen: json(row, "seen")?,
        seen_hash: row.get("seen_hash")?,
        installed: Timestamp(row.get("installed_ms")?),
        approved_at: Timestamp(row.get("approved_ms")?),
    })
}
