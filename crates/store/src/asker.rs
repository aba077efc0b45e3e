//! For whom a turn is done: who asked it, and what they are at this moment.

use model::{ChatPolicy, SessionId, TurnId, TurnState};

use crate::db::{Connection, OptionalExtension, params};
use crate::error::Doing;
use crate::people::{Person, person};
use crate::route::{AskerRow, asker_row};
use crate::row::{int, parsed};
use crate::turn::read_turn;
use crate::{Store, StoreError};

/// Who asked a turn, and everything that decides what may be done for them now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskerNow {
    /// As it was when they asked.
    pub row: AskerRow,
    /// Where the turn stands.
    pub state: TurnState,
    /// Whose the handle is now, and what they are now.
    pub person: Option<Person>,
    /// Whether the chat hears everybody now.
    pub is_public: bool,
}

/// What others said that a session's context holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SaidBeside {
    /// Messages of other people than the one who asks, strangers among them.
    pub others: u64,
    /// Those of people who are nothing to the agent.
    pub strangers: u64,
}

impl Store {
    /// Who asked a turn and what they are now; `None` for a turn that nobody on a chat network asked.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the turn.
    pub async fn asker_now(&self, turn: &TurnId) -> Result<Option<AskerNow>, StoreError> {
        let turn = turn.clone();
        self.read(move |conn| asker_now(conn, &turn)).await
    }

    /// The same for the last turn of a session that was begun before its turn `n`. The outer `None` is for no such turn.
    ///
    /// # Errors
    /// What the database said.
    pub async fn asker_before(&self, session: &SessionId, n: u64) -> Result<Option<Option<AskerNow>>, StoreError> {
        let session = session.clone();
        self.read(move |conn| {
            let doing = "find who asked before";
            let sql = "SELECT id FROM turns WHERE session = ?1 AND n < ?2 AND started_ms IS NOT NULL ORDER BY n DESC LIMIT 1";
            let mut statement = conn.prepare_cached(sql).doing(doing)?;
            let with = params![session.as_str(), int("n", n)?];
            let turn: Option<TurnId> = statement.query_row(with, |r| parsed(r, "id")).optional().doing(doing)?;
            turn.map(|turn| asker_now(conn, &turn)).transpose()
        })
        .await
    }

    /// What others than this handle said that is told in a session.
    ///
    /// # Errors
    /// What the database said.
    pub async fn said_beside(&self, session: &SessionId, channel: &str, handle: &str) -> Result<SaidBeside, StoreError> {
        let (session, channel, handle) = (session.clone(), channel.to_owned(), handle.to_owned());
        self.read(move |conn| {
            let sql = "SELECT count(*) AS others, count(*) FILTER (WHERE m.member IS NULL AND p.member IS NULL) AS strangers
                       FROM turns t JOIN routed r ON r.turn = t.id JOIN inbound i ON i.id = r.inbound JOIN sessions s ON s.id = t.session
                       LEFT JOIN handles h ON h.channel = i.channel AND h.handle = i.sender
                       LEFT JOIN members m ON m.tenant = s.tenant AND m.member = h.member AND m.role <> 'viewer'
                       LEFT JOIN agent_people p ON p.tenant = s.tenant AND p.agent = s.agent AND p.member = h.member
                       WHERE t.session = ?1 AND NOT (i.channel = ?2 AND i.sender = ?3)";
            let doing = "count what others said";
            let mut statement = conn.prepare_cached(sql).doing(doing)?;
            let read = |r: &crate::db::Row<'_>| Ok(SaidBeside { others: r.get("others")?, strangers: r.get("strangers")? });
            statement.query_row(params![session.as_str(), channel, handle], read).doing(doing)
        })
        .await
    }
}

/// Notes who asked a turn.
pub(crate) fn put_asker(conn: &Connection, turn: &TurnId, row: &AskerRow) -> Result<(), StoreError> {
    let sql = "INSERT INTO askers (turn, member, channel, chat, thread, handle, message, inbound, via)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let user = row.user.as_ref().map(model::UserId::as_str);
    let inbound = row.inbound.as_ref().map(model::InboundId::as_str);
    let via = (!row.via.is_empty()).then(|| row.via.join(" "));
    let with = params![turn.as_str(), user, row.channel, row.chat, row.thread, row.handle, row.message, inbound, via];
    conn.prepare_cached(sql).and_then(|mut s| s.execute(with)).doing("note who asked").map(drop)
}

fn asker_now(conn: &Connection, turn: &TurnId) -> Result<Option<AskerNow>, StoreError> {
    let doing = "read who asked";
    let mut statement = conn.prepare_cached("SELECT * FROM askers WHERE turn = ?1").doing(doing)?;
    let Some(row) = statement.query_row([turn.as_str()], asker_row).optional().doing(doing)? else { return Ok(None) };
    let turn = read_turn(conn, turn)?;
    let mut statement = conn.prepare_cached("SELECT tenant FROM sessions WHERE id = ?1").doing(doing)?;
    let tenant: String = statement.query_row([turn.session.as_str()], |r| r.get(0)).doing(doing)?;
    let person = person(conn, &tenant, &row.channel, &row.handle)?;
    let chat = crate::chat::named(conn, &row.channel, &row.chat)?;
    let is_public = chat.is_some_and(|chat| chat.policy == ChatPolicy::Public && chat.denied.is_none());
    Ok(Some(AskerNow { row, state: turn.state, person, is_public }))
}
