//! The content store of daemons that share a database: what one of them kept in a file, the others read from here.
//!
//! A thing is written in pieces, and is there when its row is. It goes when no job names it and it is older than a grace
//! time, like the files.

use model::Timestamp;

use crate::Store;
use crate::StoreError;
use crate::db::{OptionalExtension, params};
use crate::error::Doing;
use crate::row::int;
use crate::writer::Kind;

/// Bytes of one piece. A write of this size delays nobody long.
pub const SHELF_PIECE_BYTES: usize = 1 << 20;
/// Things that one sweep takes away at most.
const SWEPT_MAX: u64 = 200;

impl Store {
    /// Whether other daemons use this store too, and need what is kept in files of this home.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared().is_some()
    }

    /// Keeps one piece of a thing that is named by its hash; at most [`SHELF_PIECE_BYTES`].
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a longer piece.
    pub async fn shelve_piece(&self, hash: &str, n: u64, body: Vec<u8>, now: Timestamp) -> Result<(), StoreError> {
        if body.len() > SHELF_PIECE_BYTES {
            return Err(StoreError::invalid("piece", format!("has {} bytes; at most {SHELF_PIECE_BYTES} are kept", body.len())));
        }
        let hash = hash.to_owned();
        self.write(Kind::ShelfPiece, body.len(), move |conn| {
            let sql = "INSERT INTO shelf_pieces (hash, n, body, put_ms) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT (hash, n) DO UPDATE SET body = ?3, put_ms = ?4";
            conn.execute(sql, params![hash, int("piece", n)?, body, int("now", now.0)?]).doing("share what a job leaves").map(drop)
        })
        .await
    }

    /// Says that a thing is whole: all its pieces were kept.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when some of them are not there any more.
    pub async fn shelve(&self, hash: &str, pieces: u64, bytes: u64, now: Timestamp) -> Result<(), StoreError> {
        let hash = hash.to_owned();
        self.write(Kind::Shelf, 0, move |conn| {
            let doing = "share what a job leaves";
            let there: u64 = conn
                .query_row("SELECT count(*) FROM shelf_pieces WHERE hash = ?1 AND n < ?2", params![hash, int("pieces", pieces)?], |r| {
                    r.get(0)
                })
                .doing(doing)?;
            if there != pieces {
                return Err(StoreError::Conflict(format!("{there} of {pieces} pieces are there")));
            }
            let sql = "INSERT INTO shelf (hash, pieces, bytes, put_ms) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT (hash) DO UPDATE SET put_ms = ?4";
            conn.execute(sql, params![hash, int("pieces", pieces)?, int("bytes", bytes)?, int("now", now.0)?]).doing(doing).map(drop)
        })
        .await
    }

    /// Notes that a thing is wanted again. Returns whether it is there whole.
    ///
    /// # Errors
    /// What the database said.
    pub async fn reshelve(&self, hash: &str, now: Timestamp) -> Result<bool, StoreError> {
        let hash = hash.to_owned();
        self.write(Kind::Shelf, 0, move |conn| {
            let sql = "UPDATE shelf SET put_ms = ?2 WHERE hash = ?1";
            Ok(conn.execute(sql, params![hash, int("now", now.0)?]).doing("share what a job leaves")? > 0)
        })
        .await
    }

    /// How many pieces a thing has; `None` when it is not here whole.
    ///
    /// # Errors
    /// What the database said.
    pub async fn shelved(&self, hash: &str) -> Result<Option<u64>, StoreError> {
        let hash = hash.to_owned();
        self.read(move |conn| {
            let found = conn.query_row("SELECT pieces FROM shelf WHERE hash = ?1", [&hash], |r| r.get(0)).optional();
            found.doing("look for what a job left")
        })
        .await
    }

    /// One piece of a thing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn shelf_piece(&self, hash: &str, n: u64) -> Result<Vec<u8>, StoreError> {
        let hash = hash.to_owned();
        self.read(move |conn| {
            let sql = "SELECT body FROM shelf_pieces WHERE hash = ?1 AND n = ?2";
            let found = conn.query_row(sql, params![hash, int("piece", n)?], |r| r.get(0)).optional().doing("read what a job left")?;
            found.ok_or(StoreError::NotFound { what: "piece of what a job left", id: hash })
        })
        .await
    }

    /// Takes away what no job names and what was last put here before `before`, with pieces of things that never became
    /// whole. Returns how many things went; there may be more.
    ///
    /// # Errors
    /// What the database said.
    pub async fn sweep_shelf(&self, before: Timestamp) -> Result<usize, StoreError> {
        self.write(Kind::ShelfSweep, 0, move |conn| {
            let doing = "forget what jobs left";
            let before = int("before", before.0)?;
            let sql = "DELETE FROM shelf WHERE hash IN (SELECT hash FROM shelf WHERE put_ms < ?1
                       AND NOT EXISTS (SELECT 1 FROM job_blobs WHERE job_blobs.hash = shelf.hash) ORDER BY put_ms LIMIT ?2)";
            let gone = conn.execute(sql, params![before, int("limit", SWEPT_MAX)?]).doing(doing)?;
            let sql = "DELETE FROM shelf_pieces WHERE hash IN (SELECT DISTINCT hash FROM shelf_pieces WHERE put_ms < ?1
                       AND NOT EXISTS (SELECT 1 FROM shelf WHERE shelf.hash = shelf_pieces.hash) LIMIT ?2)";
            conn.execute(sql, params![before, int("limit", SWEPT_MAX)?]).doing(doing)?;
            Ok(gone)
        })
        .await
    }
}
