//! Checkpoints: what a session was after a turn, and going back and forth between them.
//!
//! A checkpoint names a frozen tree; to go back is to put a fresh copy of it in the place of the tree in use. Nothing is
//! deleted by that, so a later undo can go forward again.

use std::collections::HashSet;

use crate::db::{Connection, OptionalExtension, Row};
use model::{SessionId, Timestamp, TreeId};
use serde::Serialize;

use crate::env::{check_env, check_still, note_change};
use crate::error::Doing;
use crate::row::{int, parsed};
use crate::session::{NewSession, SessionRow, Texts, check_idle, insert_session, missing, read_session};
use crate::writer::Kind;
use crate::{Store, StoreError};

/// A stored checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckpointRow {
    /// The turn after which it was taken; 0 before the first.
    pub turn: u64,
    /// The frozen tree.
    pub tree: TreeId,
    /// What the engine called the conversation then.
    pub engine_session: Option<String>,
    /// The number of the session's last event then.
    pub seq: u64,
    /// When it was taken.
    pub created: Timestamp,
}

/// A way back, or forward, to a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undo {
    /// The session.
    pub session: SessionId,
    /// The turn of the checkpoint.
    pub to: u64,
    /// A fresh copy of the checkpoint's tree, which nothing names yet.
    pub tree: TreeId,
    /// The env that the caller takes the session to be in.
    pub env: Option<String>,
    /// Whether the session goes on outside its env, with the copy as its own tree. Otherwise the copy becomes the tree of
    /// the env, for all that are in it.
    pub leave_env: bool,
    /// Now.
    pub now: Timestamp,
}

impl Store {
    /// Notes the state before the first turn, or, where no checkpoint was kept of the session's head, the state after
    /// that. Says whether there was none.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the session, [`StoreError::Conflict`] when a session or env works in the tree.
    pub async fn initial_checkpoint(&self, session: &SessionId, tree: TreeId, now: Timestamp) -> Result<bool, StoreError> {
        let session = session.clone();
        self.write(Kind::CheckpointFirst, 0, move |conn| {
            let head = read_session(conn, &session)?.head;
            match read(conn, &session, head)? {
                Some(_) => Ok(false),
                None => {
                    keep_checkpoint(conn, &session, head, &tree, now)?;
                    let mut statement =
                        conn.prepare_cached("UPDATE sessions SET left_turn = NULL WHERE id = ?1").doing("keep a checkpoint")?;
                    statement.execute([session.as_str()]).doing("keep a checkpoint").map(|_| true)
                }
            }
        })
        .await
    }

    /// The checkpoints of a session, the oldest turn first.
    ///
    /// # Errors
    /// What the database said.
    pub async fn checkpoints(&self, session: &SessionId) -> Result<Vec<CheckpointRow>, StoreError> {
        let session = session.clone();
        self.read(move |conn| {
            let sql = "SELECT * FROM checkpoints WHERE session = ?1 ORDER BY turn";
            let mut statement = conn.prepare_cached(sql).doing("list checkpoints")?;
            let rows = statement.query_map([session.as_str()], from_row).doing("list checkpoints")?;
            rows.collect::<crate::db::Result<_>>().doing("list checkpoints")
        })
        .await
    }

    /// The checkpoint after a turn of a session; 0 for the one before the first.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn checkpoint(&self, session: &SessionId, turn: u64) -> Result<CheckpointRow, StoreError> {
        let session = session.clone();
        self.read(move |conn| read(conn, &session, turn)?.ok_or_else(|| no_checkpoint(&session, turn))).await
    }

    /// Goes back, or forward, to a checkpoint: the session's head, files and engine conversation are those of it. The log
    /// and the other checkpoints stay.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the session or the checkpoint; [`StoreError::Conflict`] while a turn is not over or,
    /// where the env's tree changes, somebody else works in it; when the session is in another env than `env` says, that
    /// env is deleted and not left, or the tree is named already.
    pub async fn undo(&self, undo: Undo) -> Result<SessionRow, StoreError> {
        self.write(Kind::Undo, 0, move |conn| go_to(conn, &undo)).await
    }

    /// Makes a session that goes on from a checkpoint of another one, with the tree that `new` names.
    ///
    /// # Errors
    /// Those of [`Store::create_session`], [`StoreError::NotFound`] for the other session or its checkpoint, and
    /// [`StoreError::Invalid`] when the new session has no tree of its own or another tenant.
    pub async fn fork_session(&self, mut new: NewSession, from: (SessionId, u64)) -> Result<(), StoreError> {
        if new.tree.is_none() || new.env.is_some() {
            return Err(StoreError::invalid("tree", "is missing: a fork has one of its own"));
        }
        let texts = Texts::of(&new)?;
        self.write(Kind::Fork, texts.bytes(), move |conn| {
            let (parent, turn) = &from;
            if read_session(conn, parent)?.tenant != new.tenant {
                return Err(StoreError::invalid("tenant", "is another one than that of the session"));
            }
            let checkpoint = read(conn, parent, *turn)?.ok_or_else(|| no_checkpoint(parent, *turn))?;
            new.parent = Some(from);
            crate::quota::hold(conn, &new.tenant, crate::Claim::Session, new.now)?;
            insert_session(conn, &new, &texts)?;
            let mut statement = conn.prepare_cached("UPDATE sessions SET engine_session = ?2 WHERE id = ?1").doing("fork a session")?;
            statement.execute((new.id.as_str(), checkpoint.engine_session)).doing("fork a session").map(drop)
        })
        .await
    }

    /// Gives up the oldest checkpoints of a session beyond the `keep` youngest, but not that of its head. Returns the
    /// trees that nothing names any more.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the session.
    pub async fn retire_checkpoints(&self, session: &SessionId, keep: usize) -> Result<Vec<TreeId>, StoreError> {
        let session = session.clone();
        self.write(Kind::CheckpointRetire, 0, move |conn| retire(conn, &session, keep)).await
    }

    /// Every tree that a session, an env or a checkpoint names. What is not among them is garbage, unless it was made
    /// for a row that is yet to come.
    ///
    /// # Errors
    /// What the database said.
    pub async fn tree_refs(&self) -> Result<HashSet<TreeId>, StoreError> {
        self.read(|conn| {
            let sql = "SELECT tree FROM sessions WHERE tree IS NOT NULL UNION ALL SELECT tree FROM envs
                       UNION ALL SELECT tree FROM checkpoints";
            let mut statement = conn.prepare_cached(sql).doing("list trees")?;
            let rows = statement.query_map([], |r| parsed::<TreeId>(r, "tree")).doing("list trees")?;
            rows.collect::<crate::db::Result<_>>().doing("list trees")
        })
        .await
    }
}

/// Keeps a checkpoint of a session as it is within this transaction.
pub(crate) fn keep_checkpoint(conn: &Connection, session: &SessionId, turn: u64, tree: &TreeId, now: Timestamp) -> Result<(), StoreError> {
    let doing = "keep a checkpoint";
    if is_live(conn, tree)? {
        return Err(StoreError::Conflict(format!("tree `{tree}` is worked in, so it is no checkpoint")));
    }
    let sql = "INSERT INTO checkpoints (session, turn, tree, engine_session, seq, made, created_ms)
               SELECT id, ?2, ?3, engine_session, last_seq, (SELECT CAST(value AS INTEGER) + 1 FROM meta WHERE key = 'commits'), ?4
               FROM sessions WHERE id = ?1";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let made = statement.execute((session.as_str(), int("turn", turn)?, tree.as_str(), int("now", now.0)?)).doing(doing)?;
    if made == 0 { Err(missing(session)) } else { Ok(()) }
}

/// Refuses to take a tree from a session whose last checkpoint was put off: what it holds is nowhere else.
pub(crate) fn check_kept(session: &SessionRow) -> Result<(), StoreError> {
    match session.left {
        Some(turn) => Err(StoreError::Conflict(format!("the files after turn {turn} of session `{}` are to be kept first", session.id))),
        None => Ok(()),
    }
}

/// Refuses a tree that anything names, so that nobody works in a tree of somebody else, nor in a frozen one.
pub(crate) fn check_tree_free(conn: &Connection, tree: &TreeId) -> Result<(), StoreError> {
    if is_live(conn, tree)? || is_frozen(conn, tree)? {
        return Err(StoreError::Conflict(format!("tree `{tree}` has a use already")));
    }
    Ok(())
}

/// Whether a session or an env works in a tree.
fn is_live(conn: &Connection, tree: &TreeId) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sessions WHERE tree = ?1) OR EXISTS (SELECT 1 FROM envs WHERE tree = ?1)";
    let mut statement = conn.prepare_cached(sql).doing("look for a tree")?;
    statement.query_row([tree.as_str()], |r| r.get(0)).doing("look for a tree")
}

/// Whether a checkpoint names a tree.
fn is_frozen(conn: &Connection, tree: &TreeId) -> Result<bool, StoreError> {
    let mut statement = conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM checkpoints WHERE tree = ?1)").doing("look for a tree")?;
    statement.query_row([tree.as_str()], |r| r.get(0)).doing("look for a tree")
}

fn go_to(conn: &Connection, undo: &Undo) -> Result<SessionRow, StoreError> {
    let doing = "undo";
    let session = read_session(conn, &undo.session)?;
    check_idle(conn, &session.id)?;
    let checkpoint = read(conn, &session.id, undo.to)?.ok_or_else(|| no_checkpoint(&session.id, undo.to))?;
    if session.env != undo.env {
        let place = session.env.map_or_else(|| "in no env".to_owned(), |e| format!("in env `{e}`"));
        return Err(StoreError::Conflict(format!("session `{}` is {place}", session.id)));
    }
    check_kept(&session)?;
    check_tree_free(conn, &undo.tree)?;
    let shared = session.env.as_deref().filter(|_| !undo.leave_env);
    let now = int("now", undo.now.0)?;
    if let Some(env) = shared {
        check_env(conn, Some(env))?;
        check_still(conn, env, &session.id)?;
        let sql = "UPDATE envs SET tree = ?2, updated_ms = max(updated_ms, ?3) WHERE slug = ?1";
        conn.prepare_cached(sql).and_then(|mut s| s.execute((env, undo.tree.as_str(), now))).doing(doing)?;
        note_change(conn, &session.id)?;
    }
    let own = if shared.is_none() { Some(undo.tree.as_str()) } else { None };
    let sql = "UPDATE sessions SET head = ?2, engine_session = ?3, tree = ?4, updated_ms = max(updated_ms, ?5),
                 env = CASE WHEN ?4 IS NULL THEN env END
               WHERE id = ?1";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    statement.execute((session.id.as_str(), int("turn", undo.to)?, checkpoint.engine_session, own, now)).doing(doing)?;
    crate::memory::follow_head(conn, &session.id, undo.now)?;
    read_session(conn, &session.id)
}

fn retire(conn: &Connection, session: &SessionId, keep: usize) -> Result<Vec<TreeId>, StoreError> {
    let doing = "give up checkpoints";
    let head = int("head", read_session(conn, session)?.head)?;
    let keep = i64::try_from(keep).unwrap_or(i64::MAX);
    let sql = "DELETE FROM checkpoints WHERE session = ?1 AND turn <> ?2
                 AND turn NOT IN (SELECT turn FROM checkpoints WHERE session = ?1 ORDER BY turn DESC LIMIT ?3)
               RETURNING tree";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let rows = statement.query_map((session.as_str(), head, keep), |r| parsed::<TreeId>(r, "tree")).doing(doing)?;
    let gone: HashSet<TreeId> = rows.collect::<crate::db::Result<_>>().doing(doing)?;
    let mut free = Vec::with_capacity(gone.len());
    for tree in gone {
        if !is_frozen(conn, &tree)? {
            free.push(tree);
        }
    }
    free.sort_unstable();
    Ok(free)
}

fn read(conn: &Connection, session: &SessionId, turn: u64) -> Result<Option<CheckpointRow>, StoreError> {
    let doing = "read a checkpoint";
    // No session has that many turns, so a number beyond the column's is one that is not there.
    let turn = i64::try_from(turn).unwrap_or(i64::MAX);
    let mut statement = conn.prepare_cached("SELECT * FROM checkpoints WHERE session = ?1 AND turn = ?2").doing(doing)?;
    statement.query_row((session.as_str(), turn), from_row).optional().doing(doing)
}

fn no_checkpoint(session: &SessionId, turn: u64) -> StoreError {
    StoreError::NotFound { what: "checkpoint", id: format!("{session}/{turn}") }
}

fn from_row(row: &Row<'_>) -> crate::db::Result<CheckpointRow> {
    Ok(CheckpointRow {
        turn: row.get("turn")?,
        tree: parsed(row, "tree")?,
        engine_session: row.get("engine_session")?,
        seq: row.get("seq")?,
        created: Timestamp(row.get("created_ms")?),
    })
}
