//! Conversations of which the store itself is the platform: what was said in them is read back from what was heard and what was owed.

use model::{ChatId, InboundId, SessionId, TurnId};

use crate::chat::{ChatRow, WiringRow, make, named, wire};
use crate::db::{Connection, OptionalExtension, Row, params};
use crate::error::Doing;
use crate::outbox::OutRow;
use crate::route::InboundRow;
use crate::row::{int, maybe_parsed};
use crate::session::{LIST_MAX, Page};
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Where a conversation is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Talk {
    /// The account.
    pub channel: String,
    /// The chat.
    pub chat: String,
    /// The chat in which somebody is asked beside their conversations, and the agent whose questions there are read too.
    pub beside: Option<(String, String)>,
    /// Only what is older than what has these 32 hexadecimal digits in its identity.
    pub before: Option<String>,
}

/// Something that was heard, and the turn that it became.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// What was heard.
    pub row: InboundRow,
    /// The turn that it became or was told with.
    pub turn: Option<TurnId>,
    /// The session of that turn.
    pub session: Option<SessionId>,
    /// Where that turn stands.
    pub state: Option<String>,
}

/// Which of what was heard is listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeardFilter {
    /// Of this tenant.
    pub tenant: Option<String>,
    /// Through this account.
    pub channel: Option<String>,
    /// What became of this.
    pub outcome: Option<String>,
}

impl Store {
    /// A page of what was heard, the youngest first.
    ///
    /// # Errors
    /// What the database said.
    pub async fn list_heard(&self, filter: HeardFilter, after: Option<InboundId>, limit: usize) -> Result<Page<InboundRow>, StoreError> {
        let limit = limit.clamp(1, LIST_MAX);
        self.read(move |conn| {
            let doing = "list what was heard";
            let sql = "SELECT i.* FROM inbound i JOIN channels n ON n.name = i.channel
                       WHERE (?1 IS NULL OR n.tenant = ?1) AND (?2 IS NULL OR i.channel = ?2) AND (?3 IS NULL OR i.outcome = ?3)
                         AND (?4 IS NULL OR i.id < ?4) ORDER BY i.id DESC LIMIT ?5";
            let after = after.as_ref().map(InboundId::as_str);
            let with = params![filter.tenant, filter.channel, filter.outcome, after, int("limit", limit as u64 + 1)?];
            let mut statement = conn.prepare_cached(sql).doing(doing)?;
            let rows = statement.query_map(with, crate::route::from_row).doing(doing)?;
            let mut items: Vec<InboundRow> = rows.collect::<crate::db::Result<_>>().doing(doing)?;
            let more = items.len() > limit;
            items.truncate(limit);
            let next = if more { items.last().map(|row| row.id.to_string()) } else { None };
            Ok(Page { items, next })
        })
        .await
    }

    /// Makes a chat that an agent hears, both or neither; one that is there is left as it is, wired or not.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the account, [`StoreError::Limit`] at the number of chats, [`StoreError::Invalid`].
    pub async fn open_chat(&self, chat: ChatRow, wiring: WiringRow) -> Result<ChatRow, StoreError> {
        self.write(Kind::WiringPut, 0, move |conn| {
            crate::channel::read(conn, &chat.channel)?.ok_or_else(|| crate::channel::missing(&chat.channel))?;
            if let Some(there) = named(conn, &chat.channel, &chat.chat)? {
                return Ok(there);
            }
            let made = make(conn, &chat)?;
            wire(conn, &WiringRow { chat: made.id.clone(), ..wiring })?;
            Ok(made)
        })
        .await
    }

    /// The chats of an account whose platform's id begins like this, the one that was heard last first: at most [`LIST_MAX`].
    ///
    /// # Errors
    /// What the database said.
    pub async fn chats_beginning(&self, channel: &str, beginning: &str) -> Result<Vec<ChatRow>, StoreError> {
        let (channel, beginning) = (channel.to_owned(), beginning.to_owned());
        self.read(move |conn| {
            let sql = "SELECT * FROM chats WHERE channel = ?1 AND substr(chat, 1, ?2) = ?3 ORDER BY heard_ms DESC, id DESC LIMIT ?4";
            let mut statement = conn.prepare_cached(sql).doing("list conversations")?;
            let length = int("length", beginning.chars().count() as u64)?;
            let with = params![channel, length, beginning, int("limit", LIST_MAX as u64)?];
            let rows = statement.query_map(with, crate::chat::from_row).doing("list conversations")?;
            rows.collect::<crate::db::Result<_>>().doing("list conversations")
        })
        .await
    }

    /// How many agents hear a chat.
    ///
    /// # Errors
    /// What the database said.
    pub async fn heard_by(&self, chat: &ChatId) -> Result<u64, StoreError> {
        let chat = chat.clone();
        self.read(move |conn| {
            let sql = "SELECT count(*) FROM wirings WHERE chat = ?1";
            conn.query_row(sql, [chat.as_str()], |r| r.get(0)).doing("count who hears a chat")
        })
        .await
    }

    /// What was heard in a conversation, the youngest first: at most `limit`.
    ///
    /// # Errors
    /// What the database said.
    pub async fn heard_in(&self, talk: Talk, limit: usize) -> Result<Vec<Told>, StoreError> {
        self.read(move |conn| heard_in(conn, &talk, limit)).await
    }

    /// What was said to a conversation, the youngest first: at most `limit`. What nobody took is left out.
    ///
    /// # Errors
    /// What the database said.
    pub async fn said_in(&self, talk: Talk, limit: usize) -> Result<Vec<OutRow>, StoreError> {
        self.read(move |conn| {
            let doing = "read what was said";
            let sql = "SELECT * FROM outbox WHERE channel = ?1 AND (chat = ?2 OR (chat = ?3 AND agent = ?4)) AND state <> 'dead'
                       AND (?5 IS NULL OR id < ?5) ORDER BY id DESC LIMIT ?6";
            let (chat, agent) = talk.beside.clone().unzip();
            let before = talk.before.map(|bits| format!("{}{bits}", model::OutboxId::PREFIX));
            let mut statement = conn.prepare_cached(sql).doing(doing)?;
            let with = params![talk.channel, talk.chat, chat, agent, before, int("limit", limit.min(LIST_MAX) as u64)?];
            let rows = statement.query_map(with, crate::outbox::from_row).doing(doing)?;
            rows.collect::<crate::db::Result<_>>().doing(doing)
        })
        .await
    }
}

fn heard_in(conn: &Connection, talk: &Talk, limit: usize) -> Result<Vec<Told>, StoreError> {
    let doing = "read what was heard";
    let sql = "SELECT * FROM inbound WHERE channel = ?1 AND chat = ?2 AND (?3 IS NULL OR id < ?3)
               ORDER BY heard_ms DESC, id DESC LIMIT ?4";
    let before = talk.before.as_ref().map(|bits| format!("{}{bits}", InboundId::PREFIX));
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let with = params![talk.channel, talk.chat, before, int("limit", limit.min(LIST_MAX) as u64)?];
    let rows = statement.query_map(with, crate::route::from_row).doing(doing)?;
    let rows: Vec<InboundRow> = rows.collect::<crate::db::Result<_>>().doing(doing)?;
    let sql = "SELECT r.turn AS turn, r.session AS session, t.state AS state FROM routed r LEFT JOIN turns t ON t.id = r.turn
               WHERE r.inbound = ?1 ORDER BY CASE WHEN r.turn IS NULL THEN 1 ELSE 0 END, r.agent LIMIT 1";
    let mut turns = conn.prepare_cached(sql).doing(doing)?;
    let mut told = Vec::with_capacity(rows.len());
    for row in rows {
        let read = |r: &Row<'_>| Ok((maybe_parsed(r, "turn")?, maybe_parsed(r, "session")?, r.get("state")?));
        let found = turns.query_row([row.id.as_str()], read).optional().doing(doing)?;
        let (turn, session, state) = found.unwrap_or_default();
        told.push(Told { row, turn, session, state });
    }
    Ok(told)
}
