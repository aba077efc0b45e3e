//! Writing: what a turn stores, supersedes and deletes, and what becomes of it when the turn is undone.

use std::collections::BTreeSet;

use crate::db::{Connection, OptionalExtension};
use model::{MemoryId, SessionId, Timestamp, TurnId};

use super::entry::{COLUMNS, TABLES};
use super::entry::{
    MEMORY_BYTES_MAX, MEMORY_CONTENT_CHARS_MAX, MEMORY_DEPTH_MAX, MEMORY_ENTRIES_MAX, MEMORY_SESSION_DELETES_MAX,
    MEMORY_SESSION_STORES_MAX, MEMORY_SESSION_SUPERSEDES_MAX, MEMORY_TAG_CHARS_MAX, MEMORY_TAGS_MAX, MemoryAuthor, MemoryOwner, MemoryRow,
    MemoryState, NewMemory, bytes_of, from_row, missing, owner_number, read_own,
};
use super::index::{Indexed, folded};
use crate::error::Doing;
use crate::row::{int, to_json};
use crate::writer::Kind;
use crate::{Store, StoreError};

impl Store {
    /// Keeps an entry. What a person writes is confirmed with it.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for its fields, [`StoreError::Limit`] where the session or the agent has stored what it may,
    /// [`StoreError::NotFound`] when it supersedes what is not there, [`StoreError::Conflict`] when that has been superseded.
    pub async fn store_memory(&self, mut new: NewMemory) -> Result<MemoryRow, StoreError> {
        check(&mut new)?;
        self.write(Kind::MemoryStore, new.content.len(), move |conn| insert(conn, &new)).await
    }

    /// Deletes an entry for a turn: it is not found any more, comes back when the turn is undone, and goes for good later.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where the agent has no such entry that is found, [`StoreError::Limit`] where the session has
    /// deleted what it may.
    pub async fn delete_memory(
        &self,
        owner: &MemoryOwner,
        id: &MemoryId,
        by: (SessionId, TurnId),
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (owner, id) = (owner.clone(), id.clone());
        self.write(Kind::MemoryDelete, 0, move |conn| delete(conn, &owner, &id, &by, now)).await
    }

    /// Removes for good what has not been found since `before`, at most `max` entries. Says how many.
    ///
    /// # Errors
    /// What the database said.
    pub async fn expire_memories(&self, before: Timestamp, max: usize) -> Result<usize, StoreError> {
        let limit = int("before", before.0)?;
        let is_any = self.read(move |conn| {
            let doing = "look for memories to purge";
            let mut statement = conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM memories WHERE left_ms < ?1)").doing(doing)?;
            statement.query_row([limit], |r| r.get::<_, bool>(0)).doing(doing)
        });
        if !is_any.await? {
            return Ok(0);
        }
        self.write(Kind::MemoryPurge, 0, move |conn| {
            let doing = "purge memories";
            let sql = "SELECT n FROM memories WHERE left_ms < ?1 ORDER BY left_ms LIMIT ?2";
            let mut statement = conn.prepare_cached(sql).doing(doing)?;
            let max = i64::try_from(max).unwrap_or(i64::MAX);
            let rows = statement.query_map((int("before", before.0)?, max), |r| r.get(0)).doing(doing)?;
            let gone: Vec<i64> = rows.collect::<crate::db::Result<_>>().doing(doing)?;
            gone.iter().try_for_each(|n| remove(conn, *n))?;
            Ok(gone.len())
        })
        .await
    }
}

fn check(new: &mut NewMemory) -> Result<(), StoreError> {
    let chars = new.content.chars().count();
    if new.content.trim().is_empty() || chars > MEMORY_CONTENT_CHARS_MAX {
        return Err(StoreError::invalid("content", format!("has {chars} characters, not 1 to {MEMORY_CONTENT_CHARS_MAX}")));
    }
    if new.tags.len() > MEMORY_TAGS_MAX {
        return Err(StoreError::invalid("tags", format!("are {}, more than {MEMORY_TAGS_MAX}", new.tags.len())));
    }
    let mut seen = BTreeSet::new();
    new.tags = std::mem::take(&mut new.tags).iter().map(|tag| folded(tag)).filter(|tag| seen.insert(tag.clone())).collect();
    match new.tags.iter().find(|tag| tag.is_empty() || tag.chars().count() > MEMORY_TAG_CHARS_MAX) {
        Some(_) => Err(StoreError::invalid("tags", format!("have 1 to {MEMORY_TAG_CHARS_MAX} characters each"))),
        None => Ok(()),
    }
}

fn insert(conn: &Connection, new: &NewMemory) -> Result<MemoryRow, StoreError> {
    let doing = "keep a memory";
    if let Some(there) = asked_before(conn, new)? {
        return Ok(there);
    }
    let owner = owner_of(conn, new)?;
    let turn_n = match (&new.source.session, &new.source.turn) {
        (Some(session), Some(turn)) => {
            check_session(conn, session, new.supersedes.is_some())?;
            Some(turn_number(conn, session, turn)?)
        }
        _ => None,
    };
    let depth = match &new.supersedes {
        Some(before) => supersede(conn, owner, before, new.now)?,
        None => 0,
    };
    let by_owner = new.source.author == MemoryAuthor::Owner;
    let (behavioural, now) = (new.behavioural || new.kind.is_behavioural(), int("now", new.now.0)?);
    let sql = "INSERT INTO memories (id, owner, kind, behavioural, content, tags, state, author, session, turn, turn_n, grp, channel,
                 created_ms, confirmed_ms, supersedes, depth)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'live', ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) RETURNING n";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let n: i64 = statement
        .query_row(
            crate::db::params![
                new.id.as_str(),
                owner,
                new.kind.as_str(),
                behavioural,
                new.content,
                to_json("tags", &new.tags)?,
                new.source.author.as_str(),
                new.source.session.as_ref().map(SessionId::as_str),
                new.source.turn.as_ref().map(TurnId::as_str),
                turn_n,
                new.source.group,
                new.source.channel,
                now,
                by_owner.then_some(now),
                new.supersedes.as_ref().map(MemoryId::as_str),
                depth
            ],
            |r| r.get(0),
        )
        .doing(doing)?;
    Indexed { n, owner, kind: new.kind, content: &new.content, tags: &new.tags }.put(conn, MemoryState::Live)?;
    read_own(conn, owner, &new.id).map(|(_, row)| row)
}

/// What the same request has kept already: one that a crash cut off is made again under the same identity.
fn asked_before(conn: &Connection, new: &NewMemory) -> Result<Option<MemoryRow>, StoreError> {
    let Some(owner) = owner_number(conn, &new.owner)? else { return Ok(None) };
    match read_own(conn, owner, &new.id) {
        Ok((_, row)) if row.kind == new.kind && row.content == new.content && row.session == new.source.session => Ok(Some(row)),
        Ok(_) => Err(StoreError::Conflict(format!("memory `{}` is another one", new.id))),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The number of an owner, with the entry counted that is to come.
fn owner_of(conn: &Connection, new: &NewMemory) -> Result<i64, StoreError> {
    let doing = "count an agent's memory";
    let sql = "INSERT INTO memory_owners (tenant, agent, entries, bytes) VALUES (?1, ?2, 1, ?3)
               ON CONFLICT (tenant, agent) DO UPDATE SET entries = memory_owners.entries + 1, bytes = memory_owners.bytes + ?3 RETURNING id, entries, bytes";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let values = (&new.owner.tenant, &new.owner.agent, bytes_of(&new.content, &new.tags));
    let (id, entries, bytes): (i64, u64, u64) = statement.query_row(values, |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).doing(doing)?;
    if entries > MEMORY_ENTRIES_MAX {
        return Err(StoreError::Limit { what: "entries in this agent's memory", max: MEMORY_ENTRIES_MAX });
    }
    if bytes > MEMORY_BYTES_MAX {
        return Err(StoreError::Limit { what: "bytes in this agent's memory", max: MEMORY_BYTES_MAX });
    }
    Ok(id)
}

fn check_session(conn: &Connection, session: &SessionId, supersedes: bool) -> Result<(), StoreError> {
    let doing = "count what a session stored";
    let sql = "SELECT count(*), count(supersedes) FROM memories WHERE session = ?1 AND withdrawn = 0";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let (stored, superseding): (u64, u64) = statement.query_row([session.as_str()], |r| Ok((r.get(0)?, r.get(1)?))).doing(doing)?;
    if stored >= MEMORY_SESSION_STORES_MAX {
        return Err(StoreError::Limit { what: "entries stored by one session", max: MEMORY_SESSION_STORES_MAX });
    }
    if supersedes && superseding >= MEMORY_SESSION_SUPERSEDES_MAX {
        return Err(StoreError::Limit { what: "entries superseded by one session", max: MEMORY_SESSION_SUPERSEDES_MAX });
    }
    Ok(())
}

/// The place of the turn that writes: the one that the session works on, for a connection of an engine that lives on may name
/// one before it.
fn turn_number(conn: &Connection, session: &SessionId, turn: &TurnId) -> Result<i64, StoreError> {
    let doing = "look for the turn that writes";
    let sql = "SELECT n FROM turns WHERE session = ?1 AND (id = ?2 OR state IN ('leased', 'running', 'waiting'))
               ORDER BY state IN ('leased', 'running', 'waiting') DESC, n LIMIT 1";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let found = statement.query_row((session.as_str(), turn.as_str()), |r| r.get(0)).optional().doing(doing)?;
    found.ok_or_else(|| StoreError::NotFound { what: "turn", id: turn.as_str().to_owned() })
}

/// Lets an entry make room for another one. Gives the depth of that.
fn supersede(conn: &Connection, owner: i64, before: &MemoryId, now: Timestamp) -> Result<u64, StoreError> {
    let doing = "supersede a memory";
    let (n, row) = read_own(conn, owner, before)?;
    match row.state {
        MemoryState::Live => {}
        MemoryState::Superseded => return Err(StoreError::Conflict(format!("memory `{before}` has been superseded already"))),
        MemoryState::Deleted | MemoryState::Withdrawn => return Err(missing(before)),
    }
    let mut statement = conn.prepare_cached("SELECT depth FROM memories WHERE n = ?1").doing(doing)?;
    let depth: u64 = statement.query_row([n], |r| r.get(0)).doing(doing)?;
    if depth >= MEMORY_DEPTH_MAX {
        return Err(StoreError::Limit { what: "entries that follow one another", max: MEMORY_DEPTH_MAX });
    }
    let sql = "UPDATE memories SET superseded_ms = ?2 WHERE n = ?1";
    conn.prepare_cached(sql).doing(doing)?.execute((n, int("now", now.0)?)).doing(doing)?;
    settle(conn, n, now)?;
    Ok(depth + 1)
}

fn delete(
    conn: &Connection,
    owner: &MemoryOwner,
    id: &MemoryId,
    (session, turn): &(SessionId, TurnId),
    now: Timestamp,
) -> Result<(), StoreError> {
    let doing = "delete a memory";
    let number = owner_number(conn, owner)?.ok_or_else(|| missing(id))?;
    let (n, row) = read_own(conn, number, id)?;
    match row.state {
        MemoryState::Live | MemoryState::Superseded => {}
        // Asked again, for example by a call that a crash cut off.
        MemoryState::Deleted if is_deleted_by(conn, n, session)? => return Ok(()),
        MemoryState::Deleted | MemoryState::Withdrawn => return Err(missing(id)),
    }
    let mut statement = conn.prepare_cached("SELECT count(*) FROM memories WHERE deleted_session = ?1").doing(doing)?;
    let deleted: u64 = statement.query_row([session.as_str()], |r| r.get(0)).doing(doing)?;
    if deleted >= MEMORY_SESSION_DELETES_MAX {
        return Err(StoreError::Limit { what: "entries deleted by one session", max: MEMORY_SESSION_DELETES_MAX });
    }
    let turn_n = turn_number(conn, session, turn)?;
    let sql = "UPDATE memories SET deleted_session = ?2, deleted_turn = ?3, deleted_ms = ?4 WHERE n = ?1";
    conn.prepare_cached(sql).doing(doing)?.execute((n, session.as_str(), turn_n, int("now", now.0)?)).doing(doing)?;
    settle(conn, n, now)
}

fn is_deleted_by(conn: &Connection, n: i64, session: &SessionId) -> Result<bool, StoreError> {
    let doing = "look who deleted a memory";
    let mut statement = conn.prepare_cached("SELECT deleted_session IS ?2 FROM memories WHERE n = ?1").doing(doing)?;
    statement.query_row((n, session.as_str()), |r| r.get(0)).doing(doing)
}

/// Brings what the turns of a session wrote, superseded and deleted in line with its head, which has just moved.
pub(crate) fn follow_head(conn: &Connection, session: &SessionId, now: Timestamp) -> Result<(), StoreError> {
    let doing = "take memories back";
    let chain = "WITH RECURSIVE chain (n) AS (SELECT head FROM sessions WHERE id = ?1
                   UNION SELECT t.parent FROM turns t JOIN chain c ON t.session = ?1 AND t.n = c.n)";
    let sql = format!(
        "{chain} UPDATE memories SET withdrawn = 1 - withdrawn
         WHERE session = ?1 AND (withdrawn = 1) = (turn_n IN (SELECT n FROM chain)) RETURNING n, supersedes"
    );
    let mut statement = conn.prepare_cached(&sql).doing(doing)?;
    let rows = statement.query_map([session.as_str()], |r| Ok((r.get(0)?, r.get(1)?))).doing(doing)?;
    let moved: Vec<(i64, Option<String>)> = rows.collect::<crate::db::Result<_>>().doing(doing)?;
    // A deletion that was undone is forgotten but for its place, which a way forward finds again.
    let sql = format!(
        "{chain} UPDATE memories SET deleted_ms = CASE WHEN deleted_turn IN (SELECT n FROM chain) THEN coalesce(deleted_ms, ?2) END
         WHERE deleted_session = ?1 RETURNING n"
    );
    let mut statement = conn.prepare_cached(&sql).doing(doing)?;
    let rows = statement.query_map((session.as_str(), int("now", now.0)?), |r| r.get(0)).doing(doing)?;
    let mut touched: BTreeSet<i64> = rows.collect::<crate::db::Result<_>>().doing(doing)?;
    for (n, before) in moved {
        touched.insert(n);
        let Some(before) = before else { continue };
        let sql = "UPDATE memories SET superseded_ms = CASE WHEN EXISTS
                     (SELECT 1 FROM memories x WHERE x.supersedes = memories.id AND x.withdrawn = 0)
                     THEN coalesce(superseded_ms, ?2) END
                   WHERE id = ?1 RETURNING n";
        let mut statement = conn.prepare_cached(sql).doing(doing)?;
        let found: Option<i64> = statement.query_row((before, int("now", now.0)?), |r| r.get(0)).optional().doing(doing)?;
        touched.extend(found);
    }
    touched.into_iter().try_for_each(|n| settle(conn, n, now))
}

/// Writes the state that follows from what happened to an entry, and brings the index in line.
fn settle(conn: &Connection, n: i64, now: Timestamp) -> Result<(), StoreError> {
    let doing = "settle a memory";
    let sql = "SELECT withdrawn, deleted_ms IS NOT NULL, superseded_ms IS NOT NULL FROM memories WHERE n = ?1";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let facts: (bool, bool, bool) = statement.query_row([n], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?))).doing(doing)?;
    let state = match facts {
        (true, ..) => MemoryState::Withdrawn,
        (_, true, _) => MemoryState::Deleted,
        (_, _, true) => MemoryState::Superseded,
        _ => MemoryState::Live,
    };
    let (owner, row) = read_at(conn, n)?;
    if row.state == state {
        return Ok(());
    }
    let indexed = Indexed { n, owner, kind: row.kind, content: &row.content, tags: &row.tags };
    indexed.take(conn, row.state)?;
    indexed.put(conn, state)?;
    let left = if state == MemoryState::Live { None } else { Some(int("now", now.0)?) };
    let sql = "UPDATE memories SET state = ?2, left_ms = ?3 WHERE n = ?1";
    conn.prepare_cached(sql).and_then(|mut s| s.execute((n, state.as_str(), left))).doing(doing).map(drop)
}

/// Removes an entry for good.
pub(super) fn remove(conn: &Connection, n: i64) -> Result<(), StoreError> {
    let doing = "remove a memory";
    let (owner, row) = read_at(conn, n)?;
    Indexed { n, owner, kind: row.kind, content: &row.content, tags: &row.tags }.take(conn, row.state)?;
    let sql = "UPDATE memory_owners SET entries = max(entries - 1, 0), bytes = max(bytes - ?2, 0) WHERE id = ?1";
    conn.prepare_cached(sql).and_then(|mut s| s.execute((owner, bytes_of(&row.content, &row.tags)))).doing(doing)?;
    conn.prepare_cached("DELETE FROM memories WHERE n = ?1").and_then(|mut s| s.execute([n])).doing(doing).map(drop)
}

fn read_at(conn: &Connection, n: i64) -> Result<(i64, MemoryRow), StoreError> {
    let doing = "read a memory";
    let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE m.n = ?1");
    let mut statement = conn.prepare_cached(&sql).doing(doing)?;
    statement.query_row([n], |r| Ok((r.get("owner")?, from_row(r)?))).doing(doing)
}
