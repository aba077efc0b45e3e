//! People who log in, and what each may in which tenant.

use model::{Timestamp, UserId};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::db::{Connection, OptionalExtension, Row};
use crate::error::Doing;
use crate::row::{int, parsed};
use crate::session::{NAME_CHARS_MAX, check_text};
use crate::writer::Kind;
use crate::{Store, StoreError, tenant};

/// People that a store may hold.
pub const USERS_MAX: u64 = 100_000;
/// People of one tenant, and tenants of one person.
pub const MEMBERS_MAX: u64 = 10_000;
/// Characters of an address, an issuer or a subject.
const TEXT_CHARS_MAX: usize = 512;
/// Every role, the weakest first, as the column has it.
const ROLES: [&str; 4] = ["viewer", "member", "admin", "owner"];

/// A stored person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserRow {
    /// Their identity.
    pub id: UserId,
    /// Who vouches for them; empty until they came once.
    pub issuer: String,
    /// What the issuer calls them; empty until they came once.
    pub subject: String,
    /// Their address.
    pub email: String,
    /// What they are called.
    pub name: String,
    /// When they were invited, or first came.
    pub created: Timestamp,
    /// When they last came.
    pub seen: Option<Timestamp>,
}

/// A person in a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberRow {
    /// The tenant.
    pub tenant: String,
    /// The person.
    pub user: UserRow,
    /// `viewer`, `member`, `admin` or `owner`.
    pub role: String,
    /// Whether a rule of the configuration gave it.
    pub by_rule: bool,
}

/// Somebody whom an issuer vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The identity that they get when they are new.
    pub id: UserId,
    /// Who vouches.
    pub issuer: String,
    /// What the issuer calls them.
    pub subject: String,
    /// Their address; empty unless the issuer says that it is theirs.
    pub email: String,
    /// What they are called.
    pub name: String,
    /// What the rules give them: tenant and role. Rules that gave them more before take it away.
    pub rules: Vec<(String, String)>,
    /// Now.
    pub now: Timestamp,
}

impl Store {
    /// Notes that somebody came: makes or finds them, takes up an invitation to their address, and brings what rules give up
    /// to date. Gives what they may where, by tenant.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for texts out of bounds, [`StoreError::Limit`] at [`USERS_MAX`].
    pub async fn arrive(&self, arrival: Arrival) -> Result<Vec<MemberRow>, StoreError> {
        for (field, text) in
            [("issuer", &arrival.issuer), ("subject", &arrival.subject), ("email", &arrival.email), ("name", &arrival.name)]
        {
            check_text(field, text, TEXT_CHARS_MAX)?;
        }
        if arrival.subject.is_empty() || arrival.issuer.is_empty() {
            return Err(StoreError::invalid("subject", "is empty"));
        }
        self.write(Kind::TenantChange, 0, move |conn| arrive(conn, &arrival)).await
    }

    /// Gives a person of this address a role in a tenant; one who never came is invited.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the tenant, [`StoreError::Limit`] at [`MEMBERS_MAX`].
    pub async fn put_member(&self, new: UserId, tenant: &str, email: &str, role: &str, now: Timestamp) -> Result<MemberRow, StoreError> {
        check_text("email", email, NAME_CHARS_MAX)?;
        if !ROLES.contains(&role) {
            return Err(StoreError::invalid("role", "is none"));
        }
        let (tenant, email, role) = (tenant.to_owned(), email.to_owned(), role.to_owned());
        self.write(Kind::TenantChange, 0, move |conn| {
            let user = match find_by_email(conn, &tenant, &email)? {
                Some(user) => user,
                None => insert(
                    conn,
                    &UserRow {
                        id: new,
                        issuer: String::new(),
                        subject: String::new(),
                        email,
                        name: String::new(),
                        created: now,
                        seen: None,
                    },
                )?,
            };
            join(conn, &tenant, &user.id, &role, false, now)?;
            member(conn, &tenant, &user.id)?.ok_or_else(|| missing(user.id.as_str()))
        })
        .await
    }

    /// Takes a person out of a tenant; their tokens there end.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when they are not in it.
    pub async fn remove_member(&self, tenant: &str, user: &UserId, now: Timestamp) -> Result<(), StoreError> {
        let (tenant, user) = (tenant.to_owned(), user.clone());
        self.write(Kind::TenantChange, 0, move |conn| {
            if !leave(conn, &tenant, &user, now)? {
                return Err(missing(user.as_str()));
            }
            Ok(())
        })
        .await
    }

    /// A person in a tenant.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn member(&self, tenant: &str, user: &UserId) -> Result<MemberRow, StoreError> {
        let (tenant, user) = (tenant.to_owned(), user.clone());
        self.read(move |conn| member(conn, &tenant, &user)?.ok_or_else(|| missing(user.as_str()))).await
    }

    /// Who is in a tenant, or in any, by tenant and address: at most [`MEMBERS_MAX`].
    ///
    /// # Errors
    /// What the database said.
    pub async fn list_members(&self, tenant: Option<String>) -> Result<Vec<MemberRow>, StoreError> {
        self.read(move |conn| {
            let sql = format!("{MEMBERS} WHERE ?1 IS NULL OR m.tenant = ?1 ORDER BY m.tenant, u.email, u.id LIMIT {MEMBERS_MAX}");
            let mut statement = conn.prepare_cached(&sql).doing("list people")?;
            let rows = statement.query_map([tenant], member_row).doing("list people")?;
            rows.collect::<crate::db::Result<_>>().doing("list people")
        })
        .await
    }
}

const MEMBERS: &str = "SELECT u.*, m.tenant AS tenant, m.role AS role, m.by_rule AS by_rule
    FROM members m JOIN users u ON u.id = m.member";

fn arrive(conn: &Connection, arrival: &Arrival) -> Result<Vec<MemberRow>, StoreError> {
    let doing = "note who came";
    let sql = "SELECT * FROM users WHERE issuer = ?1 AND subject = ?2";
    let known = conn.query_row(sql, (&arrival.issuer, &arrival.subject), from_row).optional().doing(doing)?;
    let invited = match (&known, arrival.email.is_empty()) {
        (None, false) => {
            let sql = "SELECT * FROM users WHERE email = ?1 AND subject = ''";
            conn.query_row(sql, [&arrival.email], from_row).optional().doing(doing)?
        }
        _ => None,
    };
    let id = match known.or(invited) {
        Some(user) => user.id,
        None => {
            let fresh = UserRow {
                id: arrival.id.clone(),
                issuer: arrival.issuer.clone(),
                subject: arrival.subject.clone(),
                email: arrival.email.clone(),
                name: arrival.name.clone(),
                created: arrival.now,
                seen: None,
            };
            insert(conn, &fresh)?.id
        }
    };
    let now = int("now", arrival.now.0)?;
    let sql = "UPDATE users SET issuer = ?2, subject = ?3, name = ?5, seen_ms = ?6,
                 email = CASE WHEN ?4 = '' THEN email ELSE ?4 END WHERE id = ?1";
    conn.execute(sql, (id.as_str(), &arrival.issuer, &arrival.subject, &arrival.email, &arrival.name, now)).doing(doing)?;
    for member in of_user(conn, &id)? {
        let stays = !member.by_rule || arrival.rules.iter().any(|(tenant, _)| *tenant == member.tenant);
        if !stays {
            leave(conn, &member.tenant, &id, arrival.now)?;
        }
    }
    for (tenant, role) in &arrival.rules {
        // What a person was given by hand stays as it was given.
        if member(conn, tenant, &id)?.is_none_or(|m| m.by_rule) {
            tenant::make(conn, tenant, arrival.now)?;
            join(conn, tenant, &id, role, true, arrival.now)?;
        }
    }
    of_user(conn, &id)
}

pub(crate) fn join(conn: &Connection, tenant: &str, user: &UserId, role: &str, by_rule: bool, now: Timestamp) -> Result<(), StoreError> {
    let doing = "let a person into a tenant";
    if tenant::read(conn, tenant)?.is_none() {
        return Err(tenant::missing(tenant));
    }
    let count: u64 = conn.query_row("SELECT count(*) FROM members WHERE tenant = ?1", [tenant], |r| r.get(0)).doing(doing)?;
    if count >= MEMBERS_MAX {
        return Err(StoreError::Limit { what: "people of a tenant", max: MEMBERS_MAX });
    }
    let sql = "INSERT INTO members (tenant, member, role, by_rule, created_ms) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (tenant, member) DO UPDATE SET role = excluded.role, by_rule = excluded.by_rule";
    conn.execute(sql, (tenant, user.as_str(), role, i64::from(by_rule), int("now", now.0)?)).doing(doing).map(drop)
}

fn leave(conn: &Connection, tenant: &str, user: &UserId, now: Timestamp) -> Result<bool, StoreError> {
    let doing = "take a person out of a tenant";
    let sql = "UPDATE tokens SET revoked_ms = coalesce(revoked_ms, ?3) WHERE tenant = ?1 AND member = ?2";
    conn.execute(sql, (tenant, user.as_str(), int("now", now.0)?)).doing(doing)?;
    let gone = conn.execute("DELETE FROM members WHERE tenant = ?1 AND member = ?2", (tenant, user.as_str())).doing(doing)?;
    Ok(gone > 0)
}

fn insert(conn: &Connection, user: &UserRow) -> Result<UserRow, StoreError> {
    let doing = "keep a person";
    let count: u64 = conn.query_row("SELECT count(*) FROM users", [], |r| r.get(0)).doing(doing)?;
    if count >= USERS_MAX {
        return Err(StoreError::Limit { what: "people", max: USERS_MAX });
    }
    let sql = "INSERT INTO users (id, issuer, subject, email, name, created_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING *";
    let with = (user.id.as_str(), &user.issuer, &user.subject, &user.email, &user.name, int("now", user.created.0)?);
    conn.query_row(sql, with, from_row).doing(doing)
}

/// Who is known by a handle of a chat network alone; made when there is nobody.
pub(crate) fn of_handle(conn: &Connection, issuer: &str, subject: &str, name: &str, now: Timestamp) -> Result<UserId, StoreError> {
    let sql = "SELECT * FROM users WHERE issuer = ?1 AND subject = ?2";
    if let Some(user) = conn.query_row(sql, (issuer, subject), from_row).optional().doing("find a person")? {
        return Ok(user.id);
    }
    let hash = Sha256::new().chain_update(issuer).chain_update([0]).chain_update(subject).finalize();
    let tail = hash.iter().take(10).fold(0u128, |bits, byte| (bits << 8) | u128::from(*byte));
    let id = UserId::from_bits((u128::from(now.0 & 0xffff_ffff_ffff) << 80) | tail);
    let name = name.chars().take(NAME_CHARS_MAX).collect();
    let user =
        UserRow { id, issuer: issuer.to_owned(), subject: subject.to_owned(), email: String::new(), name, created: now, seen: Some(now) };
    insert(conn, &user).map(|user| user.id)
}

/// Who is meant by an address: somebody of the tenant, else whoever was invited by it.
fn find_by_email(conn: &Connection, tenant: &str, email: &str) -> Result<Option<UserRow>, StoreError> {
    let sql = "SELECT u.* FROM users u WHERE u.email = ?2 AND (u.subject = ''
                 OR EXISTS (SELECT 1 FROM members m WHERE m.member = u.id AND m.tenant = ?1)) ORDER BY u.id LIMIT 1";
    conn.query_row(sql, (tenant, email), from_row).optional().doing("look for a person")
}

fn member(conn: &Connection, tenant: &str, user: &UserId) -> Result<Option<MemberRow>, StoreError> {
    let sql = format!("{MEMBERS} WHERE m.tenant = ?1 AND m.member = ?2");
    conn.query_row(&sql, (tenant, user.as_str()), member_row).optional().doing("read a person")
}

fn of_user(conn: &Connection, user: &UserId) -> Result<Vec<MemberRow>, StoreError> {
    let sql = format!("{MEMBERS} WHERE m.member = ?1 ORDER BY m.tenant");
    let mut statement = conn.prepare_cached(&sql).doing("read a person")?;
    let rows = statement.query_map([user.as_str()], member_row).doing("read a person")?;
    rows.collect::<crate::db::Result<_>>().doing("read a person")
}

fn missing(id: &str) -> StoreError {
    StoreError::NotFound { what: "user", id: id.to_owned() }
}

fn member_row(row: &Row<'_>) -> crate::db::Result<MemberRow> {
    let by_rule: i64 = row.get("by_rule")?;
    Ok(MemberRow { tenant: row.get("tenant")?, user: from_row(row)?, role: row.get("role")?, by_rule: by_rule == 1 })
}

fn from_row(row: &Row<'_>) -> crate::db::Result<UserRow> {
    let seen: Option<u64> = row.get("seen_ms")?;
    Ok(UserRow {
        id: parsed(row, "id")?,
        issuer: row.get("issuer")?,
        subject: row.get("subject")?,
        email: row.get("email")?,
        name: row.get("name")?,
        created: Timestamp(row.get("created_ms")?),
        seen: seen.map(Timestamp),
    })
}
