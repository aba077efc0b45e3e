//! What a session is told when it begins, kept so that it does not change under it.

use crate::db::{Connection, OptionalExtension};
use model::{SessionId, Timestamp};

use super::entry::{COLUMNS, MemoryOwner, MemoryRow, TABLES, from_row, owner_number};
use crate::error::Doing;
use crate::row::int;
use crate::writer::Kind;
use crate::{Store, StoreError};

/// What there is to tell of an agent's memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryBrief {
    /// What a person confirmed, the newest first.
    pub behavioural: Vec<MemoryRow>,
    /// What is so, the newest first.
    pub facts: Vec<MemoryRow>,
    /// What could change the agent and waits for a person, the newest first.
    pub waiting: Vec<MemoryRow>,
    /// How much of that there is in all.
    pub waiting_count: u64,
}

impl Store {
    /// What there is to tell: at most `max` entries of each kind, those written before `before` where that is given.
    ///
    /// # Errors
    /// What the database said.
    pub async fn memory_brief(&self, owner: &MemoryOwner, before: Option<Timestamp>, max: usize) -> Result<MemoryBrief, StoreError> {
        let owner = owner.clone();
        let before = before.map_or(Ok(i64::MAX), |before| int("before", before.0))?;
        self.read(move |conn| {
            let Some(number) = owner_number(conn, &owner)? else { return Ok(MemoryBrief::default()) };
            let waits = "behavioural = 1 AND state = 'live' AND confirmed_ms IS NULL AND created_ms < ?2";
            let doing = "count memories that wait";
            let mut statement = conn.prepare_cached(&format!("SELECT count(*) FROM memories WHERE owner = ?1 AND {waits}")).doing(doing)?;
            Ok(MemoryBrief {
                behavioural: newest(
                    conn,
                    (number, before),
                    "behavioural = 1 AND state = 'live' AND confirmed_ms IS NOT NULL AND created_ms < ?2",
                    max,
                )?,
                facts: newest(conn, (number, before), "behavioural = 0 AND state = 'live' AND created_ms < ?2", max)?,
                waiting: newest(conn, (number, before), waits, max)?,
                waiting_count: statement.query_row((number, before), |r| r.get(0)).doing(doing)?,
            })
        })
        .await
    }

    /// What a session was told; `None` when nothing was kept.
    ///
    /// # Errors
    /// What the database said.
    pub async fn session_brief(&self, session: &SessionId) -> Result<Option<String>, StoreError> {
        let session = session.clone();
        self.read(move |conn| {
            let doing = "read what a session was told";
            let mut statement = conn.prepare_cached("SELECT text FROM memory_briefs WHERE session = ?1").doing(doing)?;
            statement.query_row([session.as_str()], |r| r.get(0)).optional().doing(doing)
        })
        .await
    }

    /// Keeps what a session is told. The first one stays; gives back what stands.
    ///
    /// # Errors
    /// What the database said.
    pub async fn keep_session_brief(
        &self,
        session: &SessionId,
        owner: &MemoryOwner,
        text: String,
        now: Timestamp,
    ) -> Result<String, StoreError> {
        let (session, owner) = (session.clone(), owner.clone());
        self.write(Kind::MemoryBrief, text.len(), move |conn| {
            let doing = "keep what a session is told";
            let number = owner_number(conn, &owner)?;
            let sql = "INSERT INTO memory_briefs (session, owner, text, made_ms) SELECT id, ?2, ?3, ?4 FROM sessions WHERE id = ?1
                       ON CONFLICT (session) DO UPDATE SET text = memory_briefs.text RETURNING text";
            let mut statement = conn.prepare_cached(sql).doing(doing)?;
            let kept = statement.query_row((session.as_str(), number, &text, int("now", now.0)?), |r| r.get(0)).optional().doing(doing)?;
            Ok(kept.unwrap_or(text))
        })
        .await
    }
}

fn newest(conn: &Connection, (owner, before): (i64, i64), which: &str, max: usize) -> Result<Vec<MemoryRow>, StoreError> {
    let doing = "read an agent's memory";
    // The conditions name columns of `memories` alone, and the index of the behavioural ones fits them as they are written.
    let sql = format!(
        "SELECT {COLUMNS} FROM {TABLES} WHERE m.n IN
           (SELECT n FROM memories WHERE owner = ?1 AND {which} ORDER BY n DESC LIMIT ?3) ORDER BY m.n DESC"
    );
    let mut statement = conn.prepare_cached(&sql).doing(doing)?;
    let rows = statement.query_map((owner, before, i64::try_from(max).unwrap_or(i64::MAX)), from_row).doing(doing)?;
    rows.collect::<crate::db::Result<_>>().doing(doing)
}
