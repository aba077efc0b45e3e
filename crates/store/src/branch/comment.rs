//! What readers say of an agent's work.

use model::{BranchId, Timestamp, TurnId};
use serde::{Deserialize, Serialize};

use super::row::read;
use crate::db::{Connection, Row, params};
use crate::error::Doing;
use crate::row::{int, maybe_parsed};
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Comments that one branch agent may have.
pub const BRANCH_COMMENTS_MAX: u64 = 1000;
/// The longest comment, in characters.
pub const BRANCH_COMMENT_CHARS_MAX: usize = 10_000;
/// The longest path that is commented on, in bytes.
const PATH_BYTES_MAX: usize = 4096;

/// A comment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BranchComment {
    /// Its number among those of the branch agent, from 1.
    pub n: u64,
    /// The file; `None` for the whole.
    pub path: Option<String>,
    /// The line in it, from 1.
    pub line: Option<u64>,
    /// What is said.
    pub body: String,
    /// The turn that it was sent with.
    pub turn: Option<TurnId>,
    /// When it was made.
    pub created: Timestamp,
}

/// A comment to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBranchComment {
    /// The file; `None` for the whole.
    pub path: Option<String>,
    /// The line in it, from 1.
    pub line: Option<u64>,
    /// What is said.
    pub body: String,
    /// Now.
    pub now: Timestamp,
}

impl Store {
    /// Keeps a comment.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the branch agent, [`StoreError::Limit`] at [`BRANCH_COMMENTS_MAX`], [`StoreError::Invalid`] when
    /// a field is out of bounds.
    pub async fn comment_branch(&self, id: &BranchId, new: NewBranchComment) -> Result<BranchComment, StoreError> {
        if new.body.trim().is_empty() || new.body.chars().count() > BRANCH_COMMENT_CHARS_MAX {
            return Err(StoreError::invalid("text", format!("has not 1 to {BRANCH_COMMENT_CHARS_MAX} characters")));
        }
        if new.path.as_ref().is_some_and(|p| p.is_empty() || p.len() > PATH_BYTES_MAX || p.contains('\0')) {
            return Err(StoreError::invalid("path", format!("has not 1 to {PATH_BYTES_MAX} bytes")));
        }
        let id = id.clone();
        self.write(Kind::BranchComment, new.body.len(), move |conn| insert(conn, &id, &new)).await
    }

    /// The comments on a branch agent's work, the oldest first.
    ///
    /// # Errors
    /// What the database said.
    pub async fn branch_comments(&self, id: &BranchId) -> Result<Vec<BranchComment>, StoreError> {
        let id = id.clone();
        self.read(move |conn| {
            let doing = "list comments";
            let mut statement = conn.prepare_cached("SELECT * FROM branch_comments WHERE branch = ?1 ORDER BY n").doing(doing)?;
            let rows = statement.query_map([id.as_str()], from_row).doing(doing)?;
            rows.collect::<crate::db::Result<_>>().doing(doing)
        })
        .await
    }

    /// Notes the turn that comments were sent with, up to number `last`.
    ///
    /// # Errors
    /// What the database said.
    pub async fn send_branch_comments(&self, id: &BranchId, last: u64, turn: &TurnId) -> Result<(), StoreError> {
        let (id, turn) = (id.clone(), turn.clone());
        self.write(Kind::BranchComment, 0, move |conn| {
            let sql = "UPDATE branch_comments SET turn = ?2 WHERE branch = ?1 AND n <= ?3 AND turn IS NULL";
            let with = params![id.as_str(), turn.as_str(), int("n", last)?];
            conn.prepare_cached(sql).and_then(|mut s| s.execute(with)).doing("send comments").map(drop)
        })
        .await
    }
}

fn insert(conn: &Connection, id: &BranchId, new: &NewBranchComment) -> Result<BranchComment, StoreError> {
    let doing = "keep a comment";
    read(conn, id)?;
    let last: u64 =
        conn.query_row("SELECT coalesce(max(n), 0) FROM branch_comments WHERE branch = ?1", [id.as_str()], |r| r.get(0)).doing(doing)?;
    if last >= BRANCH_COMMENTS_MAX {
        return Err(StoreError::Limit { what: "comments on a branch", max: BRANCH_COMMENTS_MAX });
    }
    let line = new.line.map(|line| int("line", line)).transpose()?;
    let sql = "INSERT INTO branch_comments (branch, n, path, line, body, created_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING *";
    let with = params![id.as_str(), int("n", last + 1)?, new.path, line, new.body, int("now", new.now.0)?];
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    statement.query_row(with, from_row).doing(doing)
}

fn from_row(row: &Row<'_>) -> crate::db::Result<BranchComment> {
    Ok(BranchComment {
        n: row.get("n")?,
        path: row.get("path")?,
        line: row.get("line")?,
        body: row.get("body")?,
        turn: maybe_parsed(row, "turn")?,
        created: Timestamp(row.get("created_ms")?),
    })
}
