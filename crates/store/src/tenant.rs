//! Organisations: whose everything is.

use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::db::{Connection, OptionalExtension, Row};
use crate::error::Doing;
use crate::quota::Quota;
use crate::row::{int, json, to_json, unreadable};
use crate::session::{NAME_CHARS_MAX, check_name, check_text};
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Tenants that a store may hold.
pub const TENANTS_MAX: u64 = 10_000;

/// Whether a tenant may work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TenantState {
    /// It may.
    Active,
    /// Its tokens open nothing; what it has stays.
    Suspended,
}

impl TenantState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }
}

/// A stored tenant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TenantRow {
    /// Its name.
    pub name: String,
    /// What people call it; may be empty.
    pub title: String,
    /// Whether it may work.
    pub state: TenantState,
    /// What it may have.
    pub quota: Quota,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

impl Store {
    /// Makes a tenant, or changes one: what is `None` stays. With `must_be_new` one that exists is a conflict.
    ///
    /// # Errors
    /// [`StoreError::Conflict`], [`StoreError::Limit`] at [`TENANTS_MAX`], [`StoreError::Invalid`] for a name that is none.
    pub async fn put_tenant(
        &self,
        name: &str,
        title: Option<String>,
        state: Option<TenantState>,
        quota: Option<Quota>,
        now: Timestamp,
        must_be_new: bool,
    ) -> Result<TenantRow, StoreError> {
        check_name("tenant", name)?;
        if let Some(title) = &title {
            check_text("title", title, NAME_CHARS_MAX)?;
        }
        let quota = quota.map(|q| to_json("quota", &q)).transpose()?;
        let name = name.to_owned();
        self.write(Kind::TenantChange, 0, move |conn| {
            let is_there = read(conn, &name)?.is_some();
            if is_there && must_be_new {
                return Err(StoreError::Conflict(format!("tenant `{name}` exists")));
            }
            make(conn, &name, now)?;
            let sql = "UPDATE tenants SET title = coalesce(?2, title), state = coalesce(?3, state), quota = coalesce(?4, quota),
                         updated_ms = ?5 WHERE name = ?1 RETURNING *";
            let with = (&name, title, state.map(TenantState::as_str), quota, int("now", now.0)?);
            conn.query_row(sql, with, from_row).doing("change a tenant")
        })
        .await
    }

    /// Reads a tenant.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn tenant(&self, name: &str) -> Result<TenantRow, StoreError> {
        let name = name.to_owned();
        self.read(move |conn| read(conn, &name)?.ok_or_else(|| missing(&name))).await
    }

    /// Every tenant by name, or one: at most [`TENANTS_MAX`].
    ///
    /// # Errors
    /// What the database said.
    pub async fn list_tenants(&self, only: Option<String>) -> Result<Vec<TenantRow>, StoreError> {
        self.read(move |conn| {
            let sql = "SELECT * FROM tenants WHERE ?1 IS NULL OR name = ?1 ORDER BY name";
            let mut statement = conn.prepare_cached(sql).doing("list tenants")?;
            let rows = statement.query_map([only], from_row).doing("list tenants")?;
            rows.collect::<crate::db::Result<_>>().doing("list tenants")
        })
        .await
    }

    /// Removes a tenant that owns nothing any more: its tokens end, its people stay.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or [`StoreError::Conflict`] while a session or env is its own.
    pub async fn remove_tenant(&self, name: &str, now: Timestamp) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(Kind::TenantChange, 0, move |conn| {
            let doing = "remove a tenant";
            if read(conn, &name)?.is_none() {
                return Err(missing(&name));
            }
            for (what, sql) in [
                ("a session", "SELECT count(*) FROM sessions WHERE tenant = ?1"),
                ("an env", "SELECT count(*) FROM envs WHERE tenant = ?1"),
                ("a job", "SELECT count(*) FROM jobs WHERE tenant = ?1"),
            ] {
                let count: u64 = conn.query_row(sql, [&name], |r| r.get(0)).doing(doing)?;
                if count > 0 {
                    return Err(StoreError::Conflict(format!("tenant `{name}` still has {what}")));
                }
            }
            let end = "UPDATE tokens SET revoked_ms = coalesce(revoked_ms, ?2) WHERE tenant = ?1";
            conn.execute(end, (&name, int("now", now.0)?)).doing(doing)?;
            conn.execute("DELETE FROM members WHERE tenant = ?1", [&name]).doing(doing)?;
            conn.execute("DELETE FROM tenants WHERE name = ?1", [&name]).doing(doing)?;
            Ok(())
        })
        .await
    }
}

/// Makes a tenant that is not there yet.
pub(crate) fn make(conn: &Connection, name: &str, now: Timestamp) -> Result<(), StoreError> {
    let doing = "make a tenant";
    let count: u64 = conn.query_row("SELECT count(*) FROM tenants WHERE name <> ?1", [name], |r| r.get(0)).doing(doing)?;
    if count >= TENANTS_MAX {
        return Err(StoreError::Limit { what: "tenants", max: TENANTS_MAX });
    }
    let sql = "INSERT INTO tenants (name, state, created_ms, updated_ms) VALUES (?1, 'active', ?2, ?2) ON CONFLICT (name) DO NOTHING";
    conn.execute(sql, (name, int("now", now.0)?)).doing(doing).map(drop)
}

pub(crate) fn read(conn: &Connection, name: &str) -> Result<Option<TenantRow>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT * FROM tenants WHERE name = ?1").doing("read a tenant")?;
    statement.query_row([name], from_row).optional().doing("read a tenant")
}

pub(crate) fn missing(name: &str) -> StoreError {
    StoreError::NotFound { what: "tenant", id: name.to_owned() }
}

fn from_row(row: &Row<'_>) -> crate::db::Result<TenantRow> {
    let state: String = row.get("state")?;
    let state = match state.as_str() {
        "active" => TenantState::Active,
        "suspended" => TenantState::Suspended,
        other => return Err(unreadable(format!("`{other}` is no state of a tenant").into())),
    };
    Ok(TenantRow {
        name: row.get("name")?,
        title: row.get("title")?,
        state,
        quota: json(row, "quota")?,
        created: Timestamp(row.get("created_ms")?),
        updated: Timestamp(row.get("updated_ms")?),
    })
}
