//! People on chat networks: their handles, what they are to agents, and how they come in.

use std::collections::BTreeMap;

use model::{AdmissionId, ChatId, ChatPolicy, Engage, Ignored, InboundId, PairingId, Senders, SessionMode, Timestamp, UserId, WiringId};

use crate::channel::ChannelRow;
use crate::chat::{ChatRow, WiringRow};
use crate::db::{Connection, OptionalExtension, Row, params};
use crate::error::Doing;
use crate::row::{int, maybe_parsed, parsed};
use crate::session::LIST_MAX;
use crate::user::MemberRow;
use crate::writer::Kind;
use crate::{Store, StoreError};

/// The issuer of people who are known by a handle alone.
const ISSUER: &str = "chat";
/// Codes of one tenant that can be used at the same time.
pub const PAIRINGS_MAX: u64 = 100;
/// Wrong codes that one handle may send within [`GUESSES_WINDOW_MS`]; after that, no code of theirs is looked at.
pub const GUESSES_MAX: u64 = 5;
/// Over which time they are counted, in milliseconds.
pub const GUESSES_WINDOW_MS: u64 = 3_600_000;
/// Admissions of one chat that wait for an answer.
pub const ADMISSIONS_MAX: u64 = 100;

/// Somebody who is known, as the router sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Who it is.
    pub user: UserId,
    /// What they are in the tenant, if anything.
    pub role: Option<String>,
    /// What they are to single agents: `member` or `admin`.
    pub agents: BTreeMap<String, String>,
}

/// A handle and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandleRow {
    /// The account that verifies it.
    pub channel: String,
    /// The network's id.
    pub handle: String,
    /// For showing only.
    pub name: String,
    /// Whose it is.
    pub user: UserId,
    /// The platform's id of the direct chat with them, once known.
    pub dm: Option<String>,
}

/// What somebody is to one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRoleRow {
    /// Whose agent.
    pub tenant: String,
    /// The agent.
    pub agent: String,
    /// Who.
    pub user: UserId,
    /// `member` or `admin`.
    pub role: String,
}

/// Somebody unknown who asks to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmissionRow {
    /// Its identity.
    pub id: AdmissionId,
    /// Whose it is.
    pub tenant: String,
    /// The account.
    pub channel: String,
    /// The chat.
    pub chat: ChatId,
    /// What people call the chat.
    pub chat_name: String,
    /// The agent that they want to talk to.
    pub agent: String,
    /// Their handle.
    pub handle: String,
    /// What they call themselves.
    pub name: String,
    /// The message that is held.
    pub inbound: InboundId,
    /// `pending`, `allowed` or `denied`.
    pub state: String,
    /// When they asked.
    pub created: Timestamp,
}

/// A code by which somebody proves that a handle or a chat is theirs. The code itself is nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairingRow {
    /// Its identity.
    pub id: PairingId,
    /// Whose it is.
    pub tenant: String,
    /// The SHA-256 of the code, in hexadecimal.
    pub hash: String,
    /// The person whom the handle is linked to; a new one when left out.
    pub user: Option<UserId>,
    /// The agent that hears the chat from then on.
    pub agent: Option<String>,
    /// What the sender becomes: `member` or `admin` of the agent, or, without one, `admin` or `owner` of the tenant.
    pub role: Option<String>,
    /// The only account that it can be used with.
    pub channel: Option<String>,
    /// Until when.
    pub expires: Timestamp,
    /// When it was used.
    pub used: Option<Timestamp>,
    /// By whom: account and handle.
    pub used_by: Option<String>,
    /// When it was made.
    pub created: Timestamp,
}

impl Store {
    /// Links a handle to a person of the account's tenant.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the account or the person.
    pub async fn link_handle(&self, channel: &str, handle: &str, name: &str, user: &UserId, now: Timestamp) -> Result<(), StoreError> {
        let (channel, handle, name, user) = (channel.to_owned(), handle.to_owned(), name.to_owned(), user.clone());
        self.write(Kind::PeopleChange, 0, move |conn| {
            crate::channel::read(conn, &channel)?.ok_or_else(|| crate::channel::missing(&channel))?;
            link(conn, &channel, &handle, &name, &user, now)
        })
        .await
    }

    /// Unlinks a handle: whoever has it is unknown from then on.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn unlink_handle(&self, channel: &str, handle: &str) -> Result<(), StoreError> {
        let (channel, handle) = (channel.to_owned(), handle.to_owned());
        self.write(Kind::PeopleChange, 0, move |conn| {
            let sql = "DELETE FROM handles WHERE channel = ?1 AND handle = ?2";
            let gone = conn.execute(sql, params![channel, handle]).doing("unlink a handle")?;
            if gone == 0 { Err(StoreError::NotFound { what: "handle", id: handle }) } else { Ok(()) }
        })
        .await
    }

    /// The handles of a tenant's accounts, or all: at most [`LIST_MAX`].
    ///
    /// # Errors
    /// What the database said.
    pub async fn list_handles(&self, tenant: Option<String>, user: Option<UserId>) -> Result<Vec<HandleRow>, StoreError> {
        self.read(move |conn| {
            let sql = "SELECT h.* FROM handles h JOIN channels n ON n.name = h.channel
                       WHERE (?1 IS NULL OR n.tenant = ?1) AND (?2 IS NULL OR h.member = ?2) ORDER BY h.channel, h.handle LIMIT ?3";
            let mut statement = conn.prepare_cached(sql).doing("list handles")?;
            let with = params![tenant, user.as_ref().map(UserId::as_str), int("limit", LIST_MAX as u64)?];
            let rows = statement.query_map(with, handle_row).doing("list handles")?;
            rows.collect::<crate::db::Result<_>>().doing("list handles")
        })
        .await
    }

    /// Keeps where somebody can be written to directly.
    ///
    /// # Errors
    /// What the database said.
    pub async fn keep_dm(&self, channel: &str, handle: &str, dm: &str) -> Result<(), StoreError> {
        let (channel, handle, dm) = (channel.to_owned(), handle.to_owned(), dm.to_owned());
        self.write(Kind::PeopleChange, 0, move |conn| {
            let sql = "UPDATE handles SET dm = ?3 WHERE channel = ?1 AND handle = ?2";
            conn.execute(sql, params![channel, handle, dm]).doing("keep a direct chat").map(drop)
        })
        .await
    }

    /// Gives somebody a role with one agent.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the person, [`StoreError::Invalid`] for the role.
    pub async fn grant_agent(&self, row: AgentRoleRow, by: &str, now: Timestamp) -> Result<(), StoreError> {
        let by = by.to_owned();
        self.write(Kind::PeopleChange, 0, move |conn| {
            known(conn, &row.user)?;
            grant(conn, &row, &by, now)
        })
        .await
    }

    /// Takes somebody's role with one agent away.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when they have none.
    pub async fn revoke_agent(&self, tenant: &str, agent: &str, user: &UserId) -> Result<(), StoreError> {
        let (tenant, agent, user) = (tenant.to_owned(), agent.to_owned(), user.clone());
        self.write(Kind::PeopleChange, 0, move |conn| {
            let sql = "DELETE FROM agent_people WHERE tenant = ?1 AND agent = ?2 AND member = ?3";
            let gone = conn.execute(sql, params![tenant, agent, user.as_str()]).doing("take a role away")?;
            if gone == 0 { Err(StoreError::NotFound { what: "role", id: format!("{user} of {agent}") }) } else { Ok(()) }
        })
        .await
    }

    /// Who is what to which agent: at most [`LIST_MAX`].
    ///
    /// # Errors
    /// What the database said.
    pub async fn list_agent_roles(&self, tenant: Option<String>) -> Result<Vec<AgentRoleRow>, StoreError> {
        self.read(move |conn| {
            let sql = "SELECT * FROM agent_people WHERE ?1 IS NULL OR tenant = ?1 ORDER BY tenant, agent, member LIMIT ?2";
            let mut statement = conn.prepare_cached(sql).doing("list roles")?;
            let rows = statement.query_map(params![tenant, int("limit", LIST_MAX as u64)?], agent_role_row).doing("list roles")?;
            rows.collect::<crate::db::Result<_>>().doing("list roles")
        })
        .await
    }

    /// What a handle may, as the router sees it.
    ///
    /// # Errors
    /// What the database said.
    pub async fn person(&self, tenant: &str, channel: &str, handle: &str) -> Result<Option<Person>, StoreError> {
        let (tenant, channel, handle) = (tenant.to_owned(), channel.to_owned(), handle.to_owned());
        self.read(move |conn| person(conn, &tenant, &channel, &handle)).await
    }

    /// What somebody is in a tenant and to its agents; `None` who is nothing.
    ///
    /// # Errors
    /// What the database said.
    pub async fn rights_of(&self, tenant: &str, user: &UserId) -> Result<Person, StoreError> {
        let (tenant, user) = (tenant.to_owned(), user.clone());
        self.read(move |conn| person_of(conn, &tenant, user)).await
    }

    /// Everybody who may answer for an agent, admins of it first, then admins and owners of the tenant: their handles, those with a
    /// known direct chat first; at most [`LIST_MAX`].
    ///
    /// # Errors
    /// What the database said.
    pub async fn answerable(&self, tenant: &str, agent: &str) -> Result<Vec<HandleRow>, StoreError> {
        let (tenant, agent) = (tenant.to_owned(), agent.to_owned());
        self.read(move |conn| {
            let sql = "SELECT h.*, CASE WHEN p.role = 'admin' THEN 0 WHEN m.role = 'admin' THEN 1 ELSE 2 END AS rank,
                         CASE WHEN h.dm IS NULL THEN 1 ELSE 0 END AS far
                       FROM handles h JOIN channels n ON n.name = h.channel AND n.tenant = ?1 AND n.is_on = 1
                       LEFT JOIN agent_people p ON p.tenant = ?1 AND p.agent = ?2 AND p.member = h.member
                       LEFT JOIN members m ON m.tenant = ?1 AND m.member = h.member
                       WHERE p.role = 'admin' OR m.role IN ('admin', 'owner') ORDER BY rank, far, h.channel, h.handle LIMIT ?3";
            let mut statement = conn.prepare_cached(sql).doing("find who answers")?;
            let rows = statement.query_map(params![tenant, agent, int("limit", LIST_MAX as u64)?], handle_row).doing("find who answers")?;
            rows.collect::<crate::db::Result<_>>().doing("find who answers")
        })
        .await
    }

    /// Makes a code usable.
    ///
    /// # Errors
    /// [`StoreError::Limit`] at [`PAIRINGS_MAX`], [`StoreError::Conflict`] when another one that is usable has the same hash.
    pub async fn put_pairing(&self, row: PairingRow) -> Result<(), StoreError> {
        self.write(Kind::Pairing, 0, move |conn| {
            let doing = "keep a code";
            let now = int("now", row.created.0)?;
            crate::tenant::make(conn, &row.tenant, row.created)?;
            let sql = "SELECT count(*) FROM pairings WHERE tenant = ?1 AND used_ms IS NULL AND expires_ms > ?2";
            let count: u64 = conn.query_row(sql, params![row.tenant, now], |r| r.get(0)).doing(doing)?;
            if count >= PAIRINGS_MAX {
                return Err(StoreError::Limit { what: "codes that can be used", max: PAIRINGS_MAX });
            }
            let sql = "SELECT count(*) FROM pairings WHERE hash = ?1 AND used_ms IS NULL AND expires_ms > ?2";
            let same: u64 = conn.query_row(sql, params![row.hash, now], |r| r.get(0)).doing(doing)?;
            if same > 0 {
                return Err(StoreError::Conflict("this code is in use".to_owned()));
            }
            // Used and expired ones are told of for a day.
            conn.execute("DELETE FROM pairings WHERE expires_ms < ?1", params![now.saturating_sub(86_400_000)]).doing(doing)?;
            let sql = "INSERT INTO pairings (id, tenant, hash, member, agent, role, channel, expires_ms, created_ms)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
            let user = row.user.as_ref().map(UserId::as_str);
            let with =
                params![row.id.as_str(), row.tenant, row.hash, user, row.agent, row.role, row.channel, int("expires", row.expires.0)?, now];
            conn.execute(sql, with).doing(doing).map(drop)
        })
        .await
    }

    /// Codes, the youngest first: at most [`LIST_MAX`].
    ///
    /// # Errors
    /// What the database said.
    pub async fn list_pairings(&self, tenant: Option<String>) -> Result<Vec<PairingRow>, StoreError> {
        self.read(move |conn| {
            let sql = "SELECT * FROM pairings WHERE ?1 IS NULL OR tenant = ?1 ORDER BY id DESC LIMIT ?2";
            let mut statement = conn.prepare_cached(sql).doing("list codes")?;
            let rows = statement.query_map(params![tenant, int("limit", LIST_MAX as u64)?], pairing_row).doing("list codes")?;
            rows.collect::<crate::db::Result<_>>().doing("list codes")
        })
        .await
    }

    /// Who asks to be let in, the youngest first: at most [`LIST_MAX`].
    ///
    /// # Errors
    /// What the database said.
    pub async fn list_admissions(&self, tenant: Option<String>, state: Option<String>) -> Result<Vec<AdmissionRow>, StoreError> {
        self.read(move |conn| {
            let sql = format!(
                "{ADMISSIONS} WHERE (?1 IS NULL OR n.tenant = ?1) AND (?2 IS NULL OR a.state = ?2) ORDER BY a.id DESC LIMIT {LIST_MAX}"
            );
            let mut statement = conn.prepare_cached(&sql).doing("list admissions")?;
            let rows = statement.query_map(params![tenant, state], admission_row).doing("list admissions")?;
            rows.collect::<crate::db::Result<_>>().doing("list admissions")
        })
        .await
    }

    /// One admission.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn admission(&self, id: &AdmissionId) -> Result<AdmissionRow, StoreError> {
        let id = id.clone();
        self.read(move |conn| {
            let sql = format!("{ADMISSIONS} WHERE a.id = ?1");
            let found = conn.query_row(&sql, [id.as_str()], admission_row).optional().doing("read an admission")?;
            found.ok_or_else(|| StoreError::NotFound { what: "admission", id: id.to_string() })
        })
        .await
    }

    /// Lets somebody in, or not. Who is let in becomes a member of the agent; the message that is held can then be routed again, once.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] when it was answered.
    pub async fn answer_admission(&self, id: &AdmissionId, allow: bool, by: &str, now: Timestamp) -> Result<AdmissionRow, StoreError> {
        let (id, by) = (id.clone(), by.to_owned());
        self.write(Kind::Admission, 0, move |conn| {
            let doing = "answer an admission";
            let row = conn.query_row(&format!("{ADMISSIONS} WHERE a.id = ?1"), [id.as_str()], admission_row).optional().doing(doing)?;
            let row = row.ok_or_else(|| StoreError::NotFound { what: "admission", id: id.to_string() })?;
            let state = if allow { "allowed" } else { "denied" };
            let sql = "UPDATE admissions SET state = ?2, answered_by = ?3, answered_ms = ?4 WHERE id = ?1 AND state = 'pending'";
            if conn.execute(sql, params![id.as_str(), state, by, int("now", now.0)?]).doing(doing)? == 0 {
                return Err(StoreError::Conflict(format!("admission `{id}` was answered: {}", row.state)));
            }
            if allow {
                let user = let_in(conn, &row.channel, &row.handle, &row.name, now)?;
                let role = AgentRoleRow { tenant: row.tenant.clone(), agent: row.agent.clone(), user, role: "member".to_owned() };
                grant(conn, &role, &by, now)?;
            }
            // An open one is routed again by whoever comes first.
            let sql = "UPDATE inbound SET is_open = ?2, reason = ?3 WHERE id = ?1 AND outcome = 'held'";
            let reason = format!("admission {id} was {state}");
            conn.execute(sql, params![row.inbound.as_str(), i64::from(allow), reason]).doing(doing)?;
            let outcome = format!("{state} by {}.", crate::card::called(conn, &by)?);
            crate::card::settle(conn, &format!("admission:{id}"), &outcome, now)?;
            Ok(AdmissionRow { state: state.to_owned(), ..row })
        })
        .await
    }
}

const ADMISSIONS: &str = "SELECT a.*, c.channel AS channel, c.name AS chat_name, n.tenant AS tenant
    FROM admissions a JOIN chats c ON c.id = a.chat JOIN channels n ON n.name = c.channel";

/// Asks that somebody be let in, unless that is asked already.
pub(crate) fn ask_in(conn: &Connection, row: &AdmissionRow) -> Result<bool, StoreError> {
    let doing = "ask for an admission";
    let sql = "SELECT count(*) FROM admissions WHERE chat = ?1 AND state = 'pending'";
    let count: u64 = conn.query_row(sql, [row.chat.as_str()], |r| r.get(0)).doing(doing)?;
    if count >= ADMISSIONS_MAX {
        return Ok(false);
    }
    let sql =
        "INSERT INTO admissions (id, chat, agent, handle, name, inbound, state, created_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'pending', ?7)
               ON CONFLICT DO NOTHING";
    let now = int("now", row.created.0)?;
    let with = params![row.id.as_str(), row.chat.as_str(), row.agent, row.handle, row.name, row.inbound.as_str(), now];
    Ok(conn.execute(sql, with).doing(doing)? > 0)
}

/// The code of this hash that can be used with an account now.
pub(crate) fn pairing(conn: &Connection, channel: &ChannelRow, hash: &str, now: Timestamp) -> Result<Option<PairingRow>, StoreError> {
    let sql = "SELECT * FROM pairings WHERE hash = ?1 AND tenant = ?2 AND used_ms IS NULL AND expires_ms > ?3
               AND (channel IS NULL OR channel = ?4)";
    let with = params![hash, channel.tenant, int("now", now.0)?, channel.name];
    conn.prepare_cached(sql).and_then(|mut s| s.query_row(with, pairing_row).optional()).doing("look at a code")
}

/// Whether any code can be used with an account now.
pub(crate) fn is_pairing(conn: &Connection, channel: &ChannelRow, now: Timestamp) -> Result<bool, StoreError> {
    let sql =
        "SELECT count(*) FROM pairings WHERE tenant = ?1 AND used_ms IS NULL AND expires_ms > ?2 AND (channel IS NULL OR channel = ?3)";
    let with = params![channel.tenant, int("now", now.0)?, channel.name];
    let count: u64 = conn.prepare_cached(sql).and_then(|mut s| s.query_row(with, |r| r.get(0))).doing("look at codes")?;
    Ok(count > 0)
}

/// How many wrong codes a handle has sent lately.
pub(crate) fn guesses(conn: &Connection, channel: &str, handle: &str, now: Timestamp) -> Result<u64, StoreError> {
    let sql = "SELECT count FROM pairing_guesses WHERE channel = ?1 AND handle = ?2 AND since_ms > ?3";
    let since = int("since", now.0.saturating_sub(GUESSES_WINDOW_MS))?;
    let found = conn.query_row(sql, params![channel, handle, since], |r| r.get(0)).optional().doing("count guesses")?;
    Ok(found.unwrap_or(0))
}

/// Counts a wrong code. Those of others are not touched.
pub(crate) fn guessed(conn: &Connection, channel: &str, handle: &str, now: Timestamp) -> Result<(), StoreError> {
    let sql = "INSERT INTO pairing_guesses (channel, handle, count, since_ms) VALUES (?1, ?2, 1, ?3)
               ON CONFLICT (channel, handle) DO UPDATE SET
                 count = CASE WHEN pairing_guesses.since_ms > ?4 THEN pairing_guesses.count + 1 ELSE 1 END,
                 since_ms = CASE WHEN pairing_guesses.since_ms > ?4 THEN pairing_guesses.since_ms ELSE excluded.since_ms END";
    let (at, since) = (int("now", now.0)?, int("since", now.0.saturating_sub(GUESSES_WINDOW_MS))?);
    conn.execute(sql, params![channel, handle, at, since]).doing("count a guess").map(drop)
}

/// Who used a code, and where.
pub(crate) struct Redeemer<'a> {
    pub(crate) channel: &'a ChannelRow,
    pub(crate) chat: &'a ChatRow,
    pub(crate) handle: &'a str,
    pub(crate) name: &'a str,
    pub(crate) wiring: WiringId,
    pub(crate) now: Timestamp,
}

/// Uses a code: links the handle, gives the role, wires the chat. Once.
pub(crate) fn redeem(conn: &Connection, code: &PairingRow, who: &Redeemer<'_>) -> Result<UserId, StoreError> {
    let doing = "use a code";
    let by = format!("{}:{}", who.channel.name, who.handle);
    let sql = "UPDATE pairings SET used_ms = ?2, used_by = ?3 WHERE id = ?1 AND used_ms IS NULL";
    if conn.execute(sql, params![code.id.as_str(), int("now", who.now.0)?, by]).doing(doing)? == 0 {
        return Err(StoreError::Conflict("this code was used".to_owned()));
    }
    let user = match &code.user {
        Some(user) => {
            known(conn, user)?;
            link(conn, &who.channel.name, who.handle, who.name, user, who.now)?;
            user.clone()
        }
        None => let_in(conn, &who.channel.name, who.handle, who.name, who.now)?,
    };
    let tenant = &who.channel.tenant;
    let by = format!("pairing:{}", code.id);
    match (&code.agent, code.role.as_deref()) {
        (Some(agent), role) => {
            let role = role.unwrap_or("member").to_owned();
            if role == "owner" {
                crate::user::join(conn, tenant, &user, "owner", false, who.now)?;
            } else {
                grant(conn, &AgentRoleRow { tenant: tenant.clone(), agent: agent.clone(), user: user.clone(), role }, &by, who.now)?;
            }
            let group = who.chat.is_group;
            let wiring = WiringRow {
                id: who.wiring.clone(),
                chat: who.chat.id.clone(),
                agent: agent.clone(),
                engage: if group { Engage::Sticky } else { Engage::Pattern },
                pattern: (!group).then(|| ".".to_owned()),
                senders: Senders::Known,
                ignored: if group { Ignored::Accumulate } else { Ignored::Drop },
                mode: SessionMode::Shared,
                priority: 0,
                bots: false,
                created: who.now,
            };
            crate::chat::wire(conn, &wiring)?;
        }
        (None, Some(role @ ("owner" | "admin"))) => crate::user::join(conn, tenant, &user, role, false, who.now)?,
        (None, _) => {}
    }
    if !who.chat.is_group {
        let sql = "UPDATE handles SET dm = ?3 WHERE channel = ?1 AND handle = ?2";
        conn.execute(sql, params![who.channel.name, who.handle, who.chat.chat]).doing(doing)?;
    }
    Ok(user)
}

/// What the sender of a message is.
pub(crate) fn person(conn: &Connection, tenant: &str, channel: &str, handle: &str) -> Result<Option<Person>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT member FROM handles WHERE channel = ?1 AND handle = ?2").doing("find a person")?;
    let user: Option<UserId> = statement.query_row([channel, handle], |r| parsed(r, "member")).optional().doing("find a person")?;
    user.map(|user| person_of(conn, tenant, user)).transpose()
}

fn person_of(conn: &Connection, tenant: &str, user: UserId) -> Result<Person, StoreError> {
    let doing = "read what a person may";
    let sql = "SELECT role FROM members WHERE tenant = ?1 AND member = ?2";
    let role = conn.prepare_cached(sql).and_then(|mut s| s.query_row([tenant, user.as_str()], |r| r.get(0)).optional()).doing(doing)?;
    let mut statement = conn.prepare_cached("SELECT agent, role FROM agent_people WHERE tenant = ?1 AND member = ?2").doing(doing)?;
    let rows = statement.query_map([tenant, user.as_str()], |r| Ok((r.get("agent")?, r.get("role")?))).doing(doing)?;
    let agents = rows.collect::<crate::db::Result<BTreeMap<String, String>>>().doing(doing)?;
    Ok(Person { user, role, agents })
}

/// The person of a handle, made when there is none.
fn let_in(conn: &Connection, channel: &str, handle: &str, name: &str, now: Timestamp) -> Result<UserId, StoreError> {
    let doing = "let a person in";
    let sql = "SELECT member FROM handles WHERE channel = ?1 AND handle = ?2";
    let known: Option<UserId> = conn.query_row(sql, [channel, handle], |r| parsed(r, "member")).optional().doing(doing)?;
    if let Some(user) = known {
        return Ok(user);
    }
    let user = crate::user::of_handle(conn, ISSUER, &format!("{channel}:{handle}"), name, now)?;
    link(conn, channel, handle, name, &user, now)?;
    Ok(user)
}

fn link(conn: &Connection, channel: &str, handle: &str, name: &str, user: &UserId, now: Timestamp) -> Result<(), StoreError> {
    if handle.is_empty() || handle.len() > crate::chat::PLATFORM_ID_BYTES_MAX {
        return Err(StoreError::invalid("handle", "is empty or too long"));
    }
    known(conn, user)?;
    let name: String = name.chars().take(crate::session::NAME_CHARS_MAX).collect();
    let sql = "INSERT INTO handles (channel, handle, name, member, created_ms) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (channel, handle) DO UPDATE SET member = excluded.member, name = excluded.name";
    conn.execute(sql, params![channel, handle, name, user.as_str(), int("now", now.0)?]).doing("link a handle").map(drop)
}

fn grant(conn: &Connection, row: &AgentRoleRow, by: &str, now: Timestamp) -> Result<(), StoreError> {
    if !["member", "admin"].contains(&row.role.as_str()) {
        return Err(StoreError::invalid("role", "is member or admin of an agent"));
    }
    // Whoever is more stays so.
    let sql = "INSERT INTO agent_people (tenant, agent, member, role, given_by, created_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT (tenant, agent, member) DO UPDATE SET
                 role = CASE WHEN agent_people.role = 'admin' THEN 'admin' ELSE excluded.role END";
    let with = params![row.tenant, row.agent, row.user.as_str(), row.role, by, int("now", now.0)?];
    conn.execute(sql, with).doing("give a role").map(drop)
}

fn known(conn: &Connection, user: &UserId) -> Result<(), StoreError> {
    let count: u64 = conn.query_row("SELECT count(*) FROM users WHERE id = ?1", [user.as_str()], |r| r.get(0)).doing("find a person")?;
    if count == 0 { Err(StoreError::NotFound { what: "user", id: user.to_string() }) } else { Ok(()) }
}

/// Where a member of a tenant can be found; for who lists people.
#[must_use]
pub fn is_known_by_handle(member: &MemberRow) -> bool {
    member.user.issuer == ISSUER
}

fn handle_row(row: &Row<'_>) -> crate::db::Result<HandleRow> {
    Ok(HandleRow {
        channel: row.get("channel")?,
        handle: row.get("handle")?,
        name: row.get("name")?,
        user: parsed(row, "member")?,
        dm: row.get("dm")?,
    })
}

fn agent_role_row(row: &Row<'_>) -> crate::db::Result<AgentRoleRow> {
    Ok(AgentRoleRow { tenant: row.get("tenant")?, agent: row.get("agent")?, user: parsed(row, "member")?, role: row.get("role")? })
}

fn admission_row(row: &Row<'_>) -> crate::db::Result<AdmissionRow> {
    Ok(AdmissionRow {
        id: parsed(row, "id")?,
        tenant: row.get("tenant")?,
        channel: row.get("channel")?,
        chat: parsed(row, "chat")?,
        chat_name: row.get("chat_name")?,
        agent: row.get("agent")?,
        handle: row.get("handle")?,
        name: row.get("name")?,
        inbound: parsed(row, "inbound")?,
        state: row.get("state")?,
        created: Timestamp(row.get("created_ms")?),
    })
}

fn pairing_row(row: &Row<'_>) -> crate::db::Result<PairingRow> {
    Ok(PairingRow {
        id: parsed(row, "id")?,
        tenant: row.get("tenant")?,
        hash: row.get("hash")?,
        user: maybe_parsed(row, "member")?,
        agent: row.get("agent")?,
        role: row.get("role")?,
        channel: row.get("channel")?,
        expires: Timestamp(row.get("expires_ms")?),
        used: row.get::<_, Option<u64>>("used_ms")?.map(Timestamp),
        used_by: row.get("used_by")?,
        created: Timestamp(row.get("created_ms")?),
    })
}

/// The policy of a chat that is met for the first time.
pub(crate) const FIRST_POLICY: ChatPolicy = ChatPolicy::Request;
