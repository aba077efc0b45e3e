//! Tokens of the HTTP interface. Only what a token hashes to is kept, so that a copy of the database opens nothing.

use crate::db::{Connection, OptionalExtension, Row};
use model::{Timestamp, TokenId, UserId};
use serde::Serialize;

use crate::error::Doing;
use crate::quota::{Claim, Quota, hold};
use crate::row::{int, maybe_parsed, parsed, unreadable};
use crate::session::check_name;
use crate::writer::Kind;
use crate::{Store, StoreError, tenant};

/// Tokens that a store may hold, those included that ended.
pub const TOKENS_MAX: u64 = 10_000;
/// The tenant of a token that sees everything. It is no name, so no tenant is called so.
pub const EVERY_TENANT: &str = "*";
/// How long the token of a person's page is kept after its end, in milliseconds.
const PAGE_KEPT_MS: u64 = 7 * 86_400_000;
/// Bytes that the scope of a token may have.
const SCOPE_BYTES_MAX: usize = 4096;

/// A token to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// Its public identity.
    pub id: TokenId,
    /// What people call it.
    pub name: String,
    /// Whose things it opens.
    pub tenant: String,
    /// What it may do; not looked at here.
    pub scope: String,
    /// The person whose token it is, if it is one's.
    pub member: Option<UserId>,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// When it ends by itself; `None` for never.
    pub expires: Option<Timestamp>,
    /// Now.
    pub now: Timestamp,
}

/// A stored token. Whether it is still good is the caller's to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenRow {
    /// Its public identity.
    pub id: TokenId,
    /// What people call it.
    pub name: String,
    /// Whose things it opens.
    pub tenant: String,
    /// What it may do.
    pub scope: String,
    /// The person whose token it is, if it is one's.
    pub member: Option<UserId>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
    /// When somebody ended it.
    pub revoked: Option<Timestamp>,
}

/// A token as it is looked at when somebody brings it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSeen {
    /// The token.
    pub row: TokenRow,
    /// Whether its tenant may work.
    pub is_active: bool,
    /// The role of the person whose token it is, in its tenant; `None` when it is nobody's or they are not in it.
    pub role: Option<String>,
    /// Requests in a minute that its tenant may make.
    pub requests_per_minute: Option<u32>,
}

impl TokenRow {
    /// Whether it opens anything at `now`.
    #[must_use]
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|end| now < end)
    }
}

impl Store {
    /// Keeps a token.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when identity or hash are taken, [`StoreError::Limit`] at [`TOKENS_MAX`],
    /// [`StoreError::Invalid`] when a field is out of bounds.
    pub async fn create_token(&self, new: NewToken) -> Result<TokenRow, StoreError> {
        check_name("name", &new.name)?;
        check_name("tenant", &new.tenant)?;
        if new.scope.is_empty() || new.scope.len() > SCOPE_BYTES_MAX {
            return Err(StoreError::invalid("scope", format!("has not 1 to {SCOPE_BYTES_MAX} bytes")));
        }
        self.write(Kind::TokenCreate, new.scope.len(), move |conn| create(conn, &new)).await
    }

    /// Finds the token that hashes to this, also one that ended; `None` when there is none.
    ///
    /// # Errors
    /// What the database said.
    pub async fn token_by_hash(&self, hash: [u8; 32]) -> Result<Option<TokenRow>, StoreError> {
        self.read(move |conn| {
            let mut statement = conn.prepare_cached("SELECT * FROM tokens WHERE hash = ?1").doing("look for a token")?;
            statement.query_row([&hash[..]], from_row).optional().doing("look for a token")
        })
        .await
    }

    /// Finds the token that hashes to this, with what else decides over it.
    ///
    /// # Errors
    /// What the database said.
    pub async fn token_seen(&self, hash: [u8; 32]) -> Result<Option<TokenSeen>, StoreError> {
        self.read(move |conn| {
            let doing = "look for a token";
            let sql = "SELECT t.*, n.state AS tenant_state, n.quota AS quota, m.role AS role FROM tokens t
                         LEFT JOIN tenants n ON n.name = t.tenant
                         LEFT JOIN members m ON m.tenant = t.tenant AND m.member = t.member
                       WHERE t.hash = ?1";
            let mut statement = conn.prepare_cached(sql).doing(doing)?;
            statement.query_row([&hash[..]], seen).optional().doing(doing)
        })
        .await
    }

    /// The tokens of a tenant, or all, in the order of making: at most [`TOKENS_MAX`].
    ///
    /// # Errors
    /// What the database said.
    pub async fn list_tokens(&self, tenant: Option<String>) -> Result<Vec<TokenRow>, StoreError> {
        self.read(move |conn| {
            let sql = "SELECT * FROM tokens WHERE ?1 IS NULL OR tenant = ?1 ORDER BY id";
            let mut statement = conn.prepare_cached(sql).doing("list tokens")?;
            let rows = statement.query_map([tenant], from_row).doing("list tokens")?;
            rows.collect::<crate::db::Result<_>>().doing("list tokens")
        })
        .await
    }

    /// Reads a token.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn token(&self, id: &TokenId) -> Result<TokenRow, StoreError> {
        let id = id.clone();
        self.read(move |conn| {
            let row = conn.query_row("SELECT * FROM tokens WHERE id = ?1", [id.as_str()], from_row).optional().doing("read a token")?;
            row.ok_or_else(|| StoreError::NotFound { what: "token", id: id.to_string() })
        })
        .await
    }

    /// Ends a token. One that somebody ended before stays as it is.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn revoke_token(&self, id: &TokenId, now: Timestamp) -> Result<TokenRow, StoreError> {
        let id = id.clone();
        self.write(Kind::TokenRevoke, 0, move |conn| {
            let sql = "UPDATE tokens SET revoked_ms = coalesce(revoked_ms, ?2) WHERE id = ?1 RETURNING *";
            let row = conn.query_row(sql, (id.as_str(), int("now", now.0)?), from_row).optional().doing("end a token")?;
            row.ok_or_else(|| StoreError::NotFound { what: "token", id: id.to_string() })
        })
        .await
    }
}

fn create(conn: &Connection, new: &NewToken) -> Result<TokenRow, StoreError> {
    let doing = "keep a token";
    // Pages of people come and go: their tokens do not add up for ever.
    let gone = int("now", new.now.0.saturating_sub(PAGE_KEPT_MS))?;
    conn.execute("DELETE FROM tokens WHERE member IS NOT NULL AND expires_ms < ?1", [gone]).doing(doing)?;
    let count: u64 = conn.query_row("SELECT count(*) FROM tokens", [], |r| r.get(0)).doing(doing)?;
    if count >= TOKENS_MAX {
        return Err(StoreError::Limit { what: "tokens", max: TOKENS_MAX });
    }
    if new.tenant != EVERY_TENANT {
        tenant::make(conn, &new.tenant, new.now)?;
        hold(conn, &new.tenant, Claim::Token, new.now)?;
    }
    let sql = "INSERT INTO tokens (id, name, tenant, scope, hash, created_ms, expires_ms, member)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING RETURNING *";
    let expires = new.expires.map(|e| int("expires", e.0)).transpose()?;
    let member = new.member.as_ref().map(UserId::as_str);
    let with = (new.id.as_str(), &new.name, &new.tenant, &new.scope, &new.hash[..], int("now", new.now.0)?, expires, member);
    let row = conn.query_row(sql, with, from_row).optional().doing(doing)?;
    row.ok_or_else(|| StoreError::Conflict(format!("token `{}` exists", new.id)))
}

fn seen(row: &Row<'_>) -> crate::db::Result<TokenSeen> {
    let state: Option<String> = row.get("tenant_state")?;
    let quota: Option<String> = row.get("quota")?;
    let quota: Quota = quota.as_deref().map_or(Ok(Quota::default()), |q| serde_json::from_str(q).map_err(|e| unreadable(e.into())))?;
    let token = from_row(row)?;
    // The tenant of all is no row; any other that is gone opens nothing.
    let is_active = token.tenant == EVERY_TENANT || state.as_deref() == Some("active");
    Ok(TokenSeen { row: token, is_active, role: row.get("role")?, requests_per_minute: quota.requests_per_minute })
}

fn from_row(row: &Row<'_>) -> crate::db::Result<TokenRow> {
    let time = |column| row.get::<_, Option<u64>>(column).map(|t| t.map(Timestamp));
    Ok(TokenRow {
        id: parsed(row, "id")?,
        name: row.get("name")?,
        tenant: row.get("tenant")?,
        scope: row.get("scope")?,
        member: maybe_parsed(row, "member")?,
        created: Timestamp(row.get("created_ms")?),
        expires: time("expires_ms")?,
        revoked: time("revoked_ms")?,
    })
}
