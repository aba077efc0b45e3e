//! Chats, who hears them, and where agents may send to.

use model::{ChatId, ChatPolicy, Engage, Ignored, PATTERN_BYTES_MAX, Senders, SessionId, SessionMode, Timestamp, WiringId};

use crate::db::{Connection, OptionalExtension, Row, params};
use crate::error::Doing;
use crate::row::{int, parsed, unreadable};
use crate::session::{LIST_MAX, NAME_CHARS_MAX, Page, check_limit, check_text};
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Chats that one account may have. Beyond it no further one is made.
pub const CHATS_MAX: u64 = 200_000;
/// Agents that hear one chat.
pub const WIRINGS_PER_CHAT_MAX: u64 = 16;
/// Destinations of one agent.
pub const DESTINATIONS_MAX: u64 = 1000;
/// Bytes of a platform's id.
pub(crate) const PLATFORM_ID_BYTES_MAX: usize = 1024;

/// A stored chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatRow {
    /// Its identity.
    pub id: ChatId,
    /// The account that it is seen through.
    pub channel: String,
    /// The platform's id.
    pub chat: String,
    /// For showing only.
    pub name: String,
    /// Whether others than one person can be in it.
    pub is_group: bool,
    /// What becomes of who is not known.
    pub policy: ChatPolicy,
    /// Since when nothing of it is wanted.
    pub denied: Option<Timestamp>,
    /// When it was first heard of.
    pub created: Timestamp,
    /// When something was last heard in it.
    pub heard: Timestamp,
}

/// A stored wiring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WiringRow {
    /// Its identity.
    pub id: WiringId,
    /// The chat.
    pub chat: ChatId,
    /// The agent that hears it.
    pub agent: String,
    /// When it engages.
    pub engage: Engage,
    /// What is looked for, with [`Engage::Pattern`].
    pub pattern: Option<String>,
    /// Whose messages engage it.
    pub senders: Senders,
    /// What becomes of the others.
    pub ignored: Ignored,
    /// Which messages belong together.
    pub mode: SessionMode,
    /// The higher is asked first.
    pub priority: i64,
    /// Whether what other programs say is heard.
    pub bots: bool,
    /// When it was made.
    pub created: Timestamp,
}

/// Where an agent may send to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationRow {
    /// Whose agent.
    pub tenant: String,
    /// The agent.
    pub agent: String,
    /// Its name for it.
    pub name: String,
    /// A chat, and perhaps a thread in it.
    pub chat: Option<ChatId>,
    /// The platform's id of the thread.
    pub thread: Option<String>,
    /// Another agent.
    pub target: Option<String>,
}

/// What names the session of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionKey {
    /// Whose it is.
    pub tenant: String,
    /// The agent.
    pub agent: String,
    /// The chat; empty for all that the agent hears.
    pub chat: String,
    /// The thread; empty for the whole chat.
    pub thread: String,
}

/// Which chats are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChatFilter {
    /// Of this tenant.
    pub tenant: Option<String>,
    /// Seen through this account.
    pub channel: Option<String>,
}

impl Store {
    /// One chat, with the tenant whose it is.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn chat(&self, id: &ChatId) -> Result<(String, ChatRow), StoreError> {
        let id = id.clone();
        self.read(move |conn| {
            let sql = "SELECT c.*, n.tenant AS tenant FROM chats c JOIN channels n ON n.name = c.channel WHERE c.id = ?1";
            let found = conn.query_row(sql, [id.as_str()], |r| Ok((r.get("tenant")?, from_row(r)?))).optional().doing("read a chat")?;
            found.ok_or_else(|| missing(&id))
        })
        .await
    }

    /// The chat of this platform's id.
    ///
    /// # Errors
    /// What the database said.
    pub async fn chat_named(&self, channel: &str, chat: &str) -> Result<Option<ChatRow>, StoreError> {
        let (channel, chat) = (channel.to_owned(), chat.to_owned());
        self.read(move |conn| named(conn, &channel, &chat)).await
    }

    /// A page of chats, the youngest first.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when `limit` is 0 or above [`LIST_MAX`].
    pub async fn list_chats(&self, filter: ChatFilter, after: Option<ChatId>, limit: usize) -> Result<Page<ChatRow>, StoreError> {
        check_limit(limit, LIST_MAX)?;
        self.read(move |conn| {
            let sql = "SELECT c.* FROM chats c JOIN channels n ON n.name = c.channel
                       WHERE (?1 IS NULL OR n.tenant = ?1) AND (?2 IS NULL OR c.channel = ?2) AND (?3 IS NULL OR c.id < ?3)
                       ORDER BY c.id DESC LIMIT ?4";
            let with = params![filter.tenant, filter.channel, after.as_ref().map(ChatId::as_str), int("limit", limit as u64 + 1)?];
            let mut statement = conn.prepare_cached(sql).doing("list chats")?;
            let rows = statement.query_map(with, from_row).doing("list chats")?;
            let mut items: Vec<ChatRow> = rows.collect::<crate::db::Result<_>>().doing("list chats")?;
            let more = items.len() > limit;
            items.truncate(limit);
            let next = if more { items.last().map(|row| row.id.to_string()) } else { None };
            Ok(Page { items, next })
        })
        .await
    }

    /// Makes a chat known before anything was heard in it, or gives the one that is.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the account, [`StoreError::Limit`] at [`CHATS_MAX`].
    pub async fn put_chat(&self, row: ChatRow) -> Result<ChatRow, StoreError> {
        self.write(Kind::ChatPut, 0, move |conn| {
            crate::channel::read(conn, &row.channel)?.ok_or_else(|| crate::channel::missing(&row.channel))?;
            make(conn, &row)
        })
        .await
    }

    /// Changes what becomes of who is not known, and whether anything of a chat is wanted.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn set_chat(
        &self,
        id: &ChatId,
        policy: Option<ChatPolicy>,
        denied: Option<bool>,
        now: Timestamp,
    ) -> Result<ChatRow, StoreError> {
        let id = id.clone();
        self.write(Kind::ChatPut, 0, move |conn| {
            let sql = "UPDATE chats SET policy = coalesce(?2, policy),
                         denied_ms = CASE CAST(?3 AS INTEGER) WHEN 1 THEN coalesce(denied_ms, ?4) WHEN 0 THEN NULL ELSE denied_ms END
                       WHERE id = ?1 RETURNING *";
            let with = params![id.as_str(), policy.map(ChatPolicy::as_str), denied.map(i64::from), int("now", now.0)?];
            conn.query_row(sql, with, from_row).optional().doing("change a chat")?.ok_or_else(|| missing(&id))
        })
        .await
    }

    /// Lets an agent hear a chat; what was said of the pair before is replaced. The chat becomes a destination of the agent.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the chat, [`StoreError::Limit`] at [`WIRINGS_PER_CHAT_MAX`], [`StoreError::Invalid`].
    pub async fn put_wiring(&self, row: WiringRow) -> Result<WiringRow, StoreError> {
        if row.pattern.as_ref().is_some_and(|p| p.len() > PATTERN_BYTES_MAX) {
            return Err(StoreError::invalid("pattern", format!("has more than {PATTERN_BYTES_MAX} bytes")));
        }
        self.write(Kind::WiringPut, 0, move |conn| {
            let wired = wire(conn, &row)?;
            conn.execute("UPDATE chats SET denied_ms = NULL WHERE id = ?1", [row.chat.as_str()]).doing("wire a chat")?;
            Ok(wired)
        })
        .await
    }

    /// The wirings of a tenant, of one chat or all: at most [`LIST_MAX`].
    ///
    /// # Errors
    /// What the database said.
    pub async fn list_wirings(&self, tenant: Option<String>, chat: Option<ChatId>) -> Result<Vec<WiringRow>, StoreError> {
        self.read(move |conn| {
            let mut statement = conn.prepare_cached(&wirings_sql(chat.is_some())).doing("list wirings")?;
            let with = params![tenant, chat.as_ref().map(ChatId::as_str), int("limit", LIST_MAX as u64)?];
            let rows = statement.query_map(with, wiring_row).doing("list wirings")?;
            rows.collect::<crate::db::Result<_>>().doing("list wirings")
        })
        .await
    }

    /// One wiring, with the tenant whose it is.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn wiring(&self, id: &WiringId) -> Result<(String, WiringRow), StoreError> {
        let id = id.clone();
        self.read(move |conn| {
            let sql = "SELECT w.*, n.tenant AS tenant FROM wirings w JOIN chats c ON c.id = w.chat JOIN channels n ON n.name = c.channel
                       WHERE w.id = ?1";
            let found = conn.query_row(sql, [id.as_str()], |r| Ok((r.get("tenant")?, wiring_row(r)?))).optional();
            found.doing("read a wiring")?.ok_or_else(|| StoreError::NotFound { what: "wiring", id: id.to_string() })
        })
        .await
    }

    /// Lets an agent hear a chat no more. Its session stays.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn remove_wiring(&self, id: &WiringId) -> Result<(), StoreError> {
        let id = id.clone();
        self.write(Kind::WiringRemove, 0, move |conn| {
            let gone = conn.execute("DELETE FROM wirings WHERE id = ?1", [id.as_str()]).doing("remove a wiring")?;
            if gone == 0 { Err(StoreError::NotFound { what: "wiring", id: id.to_string() }) } else { Ok(()) }
        })
        .await
    }

    /// Lets an agent send somewhere, under a name.
    ///
    /// # Errors
    /// [`StoreError::Limit`] at [`DESTINATIONS_MAX`], [`StoreError::Invalid`].
    pub async fn put_destination(&self, row: DestinationRow, now: Timestamp) -> Result<(), StoreError> {
        check_text("name", &row.name, NAME_CHARS_MAX)?;
        if row.name.is_empty() || row.chat.is_some() == row.target.is_some() {
            return Err(StoreError::invalid("destination", "has a name, and a chat or an agent"));
        }
        self.write(Kind::DestinationPut, 0, move |conn| destine(conn, &row, now)).await
    }

    /// Lets an agent send somewhere no more.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn remove_destination(&self, tenant: &str, agent: &str, name: &str) -> Result<(), StoreError> {
        let (tenant, agent, name) = (tenant.to_owned(), agent.to_owned(), name.to_owned());
        self.write(Kind::DestinationRemove, 0, move |conn| {
            let sql = "DELETE FROM destinations WHERE tenant = ?1 AND agent = ?2 AND name = ?3";
            let gone = conn.execute(sql, params![tenant, agent, name]).doing("remove a destination")?;
            if gone == 0 { Err(StoreError::NotFound { what: "destination", id: name }) } else { Ok(()) }
        })
        .await
    }

    /// Where an agent may send to, by name.
    ///
    /// # Errors
    /// What the database said.
    pub async fn destinations(&self, tenant: &str, agent: &str) -> Result<Vec<DestinationRow>, StoreError> {
        let (tenant, agent) = (tenant.to_owned(), agent.to_owned());
        self.read(move |conn| {
            let sql = "SELECT * FROM destinations WHERE tenant = ?1 AND agent = ?2 ORDER BY name";
            let mut statement = conn.prepare_cached(sql).doing("list destinations")?;
            let rows = statement.query_map(params![tenant, agent], destination_row).doing("list destinations")?;
            rows.collect::<crate::db::Result<_>>().doing("list destinations")
        })
        .await
    }

    /// Names the session of a conversation, unless it has one that takes turns. Gives the one that it has then.
    ///
    /// # Errors
    /// What the database said.
    pub async fn name_session(&self, key: SessionKey, session: &SessionId) -> Result<SessionId, StoreError> {
        let session = session.clone();
        self.write(Kind::ChatSession, 0, move |conn| {
            if let Some(there) = session_of(conn, &key)? {
                return Ok(there);
            }
            let sql = "INSERT INTO chat_sessions (tenant, agent, chat, thread, session) VALUES (?1, ?2, ?3, ?4, ?5)
                       ON CONFLICT (tenant, agent, chat, thread) DO UPDATE SET session = excluded.session";
            conn.execute(sql, params![key.tenant, key.agent, key.chat, key.thread, session.as_str()]).doing("name a session")?;
            Ok(session)
        })
        .await
    }

    /// Lets a conversation begin anew: its next message makes another session. Only while it is this one.
    ///
    /// # Errors
    /// What the database said.
    pub async fn leave_session(&self, session: &SessionId) -> Result<(), StoreError> {
        let session = session.clone();
        self.write(Kind::ChatSession, 0, move |conn| {
            conn.execute("DELETE FROM chat_sessions WHERE session = ?1", [session.as_str()]).doing("leave a session").map(drop)
        })
        .await
    }

    /// The conversations that a session is.
    ///
    /// # Errors
    /// What the database said.
    pub async fn keys_of(&self, session: &SessionId) -> Result<Vec<SessionKey>, StoreError> {
        let session = session.clone();
        self.read(move |conn| {
            let sql = "SELECT tenant, agent, chat, thread FROM chat_sessions WHERE session = ?1";
            let mut statement = conn.prepare_cached(sql).doing("read a conversation")?;
            let key = |r: &Row<'_>| {
                Ok(SessionKey { tenant: r.get("tenant")?, agent: r.get("agent")?, chat: r.get("chat")?, thread: r.get("thread")? })
            };
            let rows = statement.query_map([session.as_str()], key).doing("read a conversation")?;
            rows.collect::<crate::db::Result<_>>().doing("read a conversation")
        })
        .await
    }
}

/// The session of a conversation that takes turns.
pub(crate) fn session_of(conn: &Connection, key: &SessionKey) -> Result<Option<SessionId>, StoreError> {
    let sql = "SELECT k.session AS session FROM chat_sessions k JOIN sessions s ON s.id = k.session
               WHERE k.tenant = ?1 AND k.agent = ?2 AND k.chat = ?3 AND k.thread = ?4 AND s.archived_ms IS NULL";
    let mut statement = conn.prepare_cached(sql).doing("find a session")?;
    statement.query_row(params![key.tenant, key.agent, key.chat, key.thread], |r| parsed(r, "session")).optional().doing("find a session")
}

pub(crate) fn named(conn: &Connection, channel: &str, chat: &str) -> Result<Option<ChatRow>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT * FROM chats WHERE channel = ?1 AND chat = ?2").doing("read a chat")?;
    statement.query_row([channel, chat], from_row).optional().doing("read a chat")
}

/// Makes a chat, or brings up to date what is shown of it.
pub(crate) fn make(conn: &Connection, row: &ChatRow) -> Result<ChatRow, StoreError> {
    let doing = "keep a chat";
    if row.chat.is_empty() || row.chat.len() > PLATFORM_ID_BYTES_MAX {
        return Err(StoreError::invalid("chat", format!("has not 1 to {PLATFORM_ID_BYTES_MAX} bytes")));
    }
    if named(conn, &row.channel, &row.chat)?.is_none() {
        let sql = "UPDATE channels SET chats = chats + 1 WHERE name = ?1 AND chats < ?2";
        let most = int("most", CHATS_MAX)?;
        let counted = conn.prepare_cached(sql).and_then(|mut s| s.execute(params![row.channel, most])).doing(doing)?;
        // Of an account that is not there the next statement tells.
        if counted == 0 && crate::channel::read(conn, &row.channel)?.is_some() {
            return Err(StoreError::Limit { what: "chats of a channel", max: CHATS_MAX });
        }
    }
    let sql = "INSERT INTO chats (id, channel, chat, name, is_group, policy, created_ms, heard_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)
               ON CONFLICT (channel, chat) DO UPDATE SET heard_ms = excluded.heard_ms,
                 name = CASE WHEN excluded.name = '' THEN chats.name ELSE excluded.name END RETURNING *";
    let name: String = row.name.chars().take(NAME_CHARS_MAX).collect();
    let with =
        params![row.id.as_str(), row.channel, row.chat, name, i64::from(row.is_group), row.policy.as_str(), int("now", row.heard.0)?];
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    statement.query_row(with, from_row).doing(doing)
}

/// The statement that lists wirings. Those of one chat are found by its index: they are asked for with each chat that is shown.
fn wirings_sql(of_one_chat: bool) -> String {
    let chat = if of_one_chat { "w.chat = ?2" } else { "?2 IS NULL" };
    format!(
        "SELECT w.* FROM wirings w JOIN chats c ON c.id = w.chat JOIN channels n ON n.name = c.channel
         WHERE (?1 IS NULL OR n.tenant = ?1) AND {chat} ORDER BY w.id DESC LIMIT ?3"
    )
}

pub(crate) fn wire(conn: &Connection, row: &WiringRow) -> Result<WiringRow, StoreError> {
    let doing = "wire a chat";
    let sql =
        "SELECT c.name AS name, c.chat AS chat, n.tenant AS tenant FROM chats c JOIN channels n ON n.name = c.channel WHERE c.id = ?1";
    let read = |r: &Row<'_>| Ok((r.get::<_, String>("name")?, r.get::<_, String>("chat")?, r.get::<_, String>("tenant")?));
    let (name, platform, tenant) =
        conn.query_row(sql, [row.chat.as_str()], read).optional().doing(doing)?.ok_or_else(|| missing(&row.chat))?;
    let sql = "SELECT count(*) FROM wirings WHERE chat = ?1 AND agent <> ?2";
    let count: u64 = conn.query_row(sql, params![row.chat.as_str(), row.agent], |r| r.get(0)).doing(doing)?;
    if count >= WIRINGS_PER_CHAT_MAX {
        return Err(StoreError::Limit { what: "agents that hear one chat", max: WIRINGS_PER_CHAT_MAX });
    }
    let sql = "INSERT INTO wirings (id, chat, agent, engage, pattern, senders, ignored, mode, priority, bots, created_ms)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
               ON CONFLICT (chat, agent) DO UPDATE SET engage = excluded.engage, pattern = excluded.pattern, senders = excluded.senders,
                 ignored = excluded.ignored, mode = excluded.mode, priority = excluded.priority, bots = excluded.bots RETURNING *";
    let with = params![
        row.id.as_str(),
        row.chat.as_str(),
        row.agent,
        row.engage.as_str(),
        row.pattern,
        row.senders.as_str(),
        row.ignored.as_str(),
        row.mode.as_str(),
        row.priority,
        i64::from(row.bots),
        int("now", row.created.0)?
    ];
    let wired = conn.query_row(sql, with, wiring_row).doing(doing)?;
    let sql = "SELECT count(*) FROM destinations WHERE tenant = ?1 AND agent = ?2 AND chat = ?3 AND thread IS NULL";
    let known: u64 = conn.query_row(sql, params![tenant, row.agent, row.chat.as_str()], |r| r.get(0)).doing(doing)?;
    if known == 0 {
        let base = model::name_of(&name).or_else(|| model::name_of(&platform)).unwrap_or_else(|| "chat".to_owned());
        let name = free_destination(conn, &tenant, &row.agent, &base)?;
        let to = DestinationRow { tenant, agent: row.agent.clone(), name, chat: Some(row.chat.clone()), thread: None, target: None };
        destine(conn, &to, row.created)?;
    }
    Ok(wired)
}

/// A name like this one that no destination of an agent has.
pub(crate) fn free_destination(conn: &Connection, tenant: &str, agent: &str, base: &str) -> Result<String, StoreError> {
    let mut name = base.to_owned();
    for n in 2..=DESTINATIONS_MAX {
        let sql = "SELECT count(*) FROM destinations WHERE tenant = ?1 AND agent = ?2 AND name = ?3";
        let taken: u64 = conn.query_row(sql, params![tenant, agent, name], |r| r.get(0)).doing("name a destination")?;
        if taken == 0 {
            break;
        }
        name = format!("{base}-{n}");
    }
    Ok(name)
}

pub(crate) fn destine(conn: &Connection, row: &DestinationRow, now: Timestamp) -> Result<(), StoreError> {
    let doing = "keep a destination";
    let sql = "SELECT count(*) FROM destinations WHERE tenant = ?1 AND agent = ?2";
    let count: u64 = conn.query_row(sql, params![row.tenant, row.agent], |r| r.get(0)).doing(doing)?;
    if count >= DESTINATIONS_MAX {
        return Err(StoreError::Limit { what: "destinations of an agent", max: DESTINATIONS_MAX });
    }
    let sql = "INSERT INTO destinations (tenant, agent, name, chat, thread, target, created_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
               ON CONFLICT (tenant, agent, name) DO UPDATE SET chat = excluded.chat, thread = excluded.thread, target = excluded.target";
    let chat = row.chat.as_ref().map(ChatId::as_str);
    conn.execute(sql, params![row.tenant, row.agent, row.name, chat, row.thread, row.target, int("now", now.0)?]).doing(doing).map(drop)
}

/// Who hears a chat, who is asked first first.
pub(crate) fn wirings_of(conn: &Connection, chat: &ChatId) -> Result<Vec<WiringRow>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT * FROM wirings WHERE chat = ?1 ORDER BY priority DESC, id").doing("read wirings")?;
    let rows = statement.query_map([chat.as_str()], wiring_row).doing("read wirings")?;
    rows.collect::<crate::db::Result<_>>().doing("read wirings")
}

pub(crate) fn missing(id: &ChatId) -> StoreError {
    StoreError::NotFound { what: "chat", id: id.to_string() }
}

/// Reads a column that holds one of a few words.
pub(crate) fn word<T>(row: &Row<'_>, column: &str, of: impl FnOnce(&str) -> Option<T>) -> crate::db::Result<T> {
    let text: String = row.get(column)?;
    of(&text).ok_or_else(|| unreadable(format!("`{text}` is no {column}").into()))
}

pub(crate) fn from_row(row: &Row<'_>) -> crate::db::Result<ChatRow> {
    Ok(ChatRow {
        id: parsed(row, "id")?,
        channel: row.get("channel")?,
        chat: row.get("chat")?,
        name: row.get("name")?,
        is_group: row.get::<_, i64>("is_group")? == 1,
        policy: word(row, "policy", ChatPolicy::of)?,
        denied: row.get::<_, Option<u64>>("denied_ms")?.map(Timestamp),
        created: Timestamp(row.get("created_ms")?),
        heard: Timestamp(row.get("heard_ms")?),
    })
}

fn wiring_row(row: &Row<'_>) -> crate::db::Result<WiringRow> {
    Ok(WiringRow {
        id: parsed(row, "id")?,
        chat: parsed(row, "chat")?,
        agent: row.get("agent")?,
        engage: word(row, "engage", Engage::of)?,
        pattern: row.get("pattern")?,
        senders: word(row, "senders", Senders::of)?,
        ignored: word(row, "ignored", Ignored::of)?,
        mode: word(row, "mode", SessionMode::of)?,
        priority: row.get("priority")?,
        bots: row.get::<_, i64>("bots")? == 1,
        created: Timestamp(row.get("created_ms")?),
    })
}

fn destination_row(row: &Row<'_>) -> crate::db::Result<DestinationRow> {
    Ok(DestinationRow {
        tenant: row.get("tenant")?,
        agent: row.get("agent")?,
        name: row.get("name")?,
        chat: crate::row::maybe_parsed(row, "chat")?,
        thread: row.get("thread")?,
        target: row.get("target")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wirings_of_a_chat_are_looked_up_and_not_sifted() {
        let conn = rusqlite::Connection::open_in_memory().unwrap();
        crate::open::MIGRATIONS.iter().for_each(|sql| conn.execute_batch(sql).unwrap());
        let steps = |of_one_chat| {
            let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {}", wirings_sql(of_one_chat))).unwrap();
            let steps = plan.query_map([rusqlite::types::Null; 3], |row| row.get::<_, String>("detail")).unwrap();
            steps.map(Result::unwrap).collect::<Vec<_>>()
        };
        let is_looked_up = |steps: &[String]| steps.iter().any(|step| step.starts_with("SEARCH w USING") && step.contains("(chat=?"));
        assert!(is_looked_up(&steps(true)), "{:#?}", steps(true));
        assert!(!is_looked_up(&steps(false)), "the look at the plan sees nothing: {:#?}", steps(false));
    }
}
