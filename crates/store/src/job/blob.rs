//! What jobs bring and leave: small things in a row, the rest in files named by their hash.
//!
//! A file is whole and on the disk before a row names it, and is removed only when no row names it and it is older than
//! a grace time, so that one whose row is just being written stays.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use crate::db::{Connection, OptionalExtension, Row, params};
use crate::error::Doing;
use crate::row::{int, unreadable};
use crate::{Store, StoreError};

/// What has at most so many bytes is kept in its row.
pub const BLOB_INLINE_BYTES: usize = 16 << 10;
/// Hexadecimal digits of a hash.
const HASH_CHARS: usize = 64;
/// What the name of a file that is being written begins with.
const GROWING: &str = "growing-";
/// Files that one look for old ones gives at most.
const OLD_MAX: usize = 10_000;

/// Where the bytes of something are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobBody {
    /// Here.
    Inline(Vec<u8>),
    /// In the file of this hash.
    Kept(String),
    /// In its row, which was not read.
    Unread,
}

/// Something that a job brought or left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobBlob {
    /// `file` for what came with it, `text`, `output` or `artifact`.
    pub kind: String,
    /// Where it lies below the working directory; empty for text and output.
    pub path: String,
    /// How long it is.
    pub bytes: u64,
    /// Where its bytes are.
    pub body: JobBody,
}

/// Why bytes were not kept or found.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} `{}`", path.display())]
pub struct BlobError {
    action: &'static str,
    path: PathBuf,
    source: std::io::Error,
}

/// The files of a home that are named by their hash. Blocks.
#[derive(Debug, Clone)]
pub struct Blobs {
    dir: PathBuf,
}

impl Blobs {
    /// Those below `dir`, which is made when missing, closed to others. What an earlier process began to write there and
    /// did not finish is removed: no two processes may have the same directory open.
    ///
    /// # Errors
    /// The directory cannot be made, read or cleared.
    pub fn open(dir: &Path) -> Result<Self, BlobError> {
        make_dir(dir)?;
        let fail = |action, path: &Path, source| BlobError { action, path: path.to_owned(), source };
        for entry in std::fs::read_dir(dir).map_err(|e| fail("read", dir, e))?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(GROWING) {
                std::fs::remove_file(entry.path()).map_err(|e| fail("remove", &entry.path(), e))?;
            }
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// Keeps bytes: in memory, for the row, when they are few; else in a file that is on the disk when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn put(&self, bytes: &[u8]) -> Result<JobBody, BlobError> {
        if bytes.len() <= BLOB_INLINE_BYTES {
            return Ok(JobBody::Inline(bytes.to_vec()));
        }
        let mut growing = self.grow()?;
        growing.write(bytes)?;
        growing.keep().map(JobBody::Kept)
    }

    /// A file that is written piece by piece.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn grow(&self) -> Result<GrowingBlob, BlobError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{GROWING}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = self.dir.join(name);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let file = file.map_err(|source| BlobError { action: "make", path: path.clone(), source })?;
        Ok(GrowingBlob { dir: self.dir.clone(), path: Unfinished(path), file, hash: Sha256::new(), bytes: 0 })
    }

    /// Opens the file of a hash.
    ///
    /// # Errors
    /// There is none.
    pub fn open_blob(&self, hash: &str) -> Result<File, BlobError> {
        let path = place(&self.dir, hash);
        File::open(&path).map_err(|source| BlobError { action: "open", path, source })
    }

    /// Hashes of files that were last written at least `age` ago, at most 10,000. Files that were never finished and
    /// are as old are removed.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn old(&self, age: Duration, now: SystemTime) -> Result<Vec<String>, BlobError> {
        let fail = |path: &Path, source| BlobError { action: "read", path: path.to_owned(), source };
        let is_old = |entry: &std::fs::DirEntry| {
            let modified = entry.metadata().and_then(|m| m.modified());
            modified.is_ok_and(|at| now.duration_since(at).is_ok_and(|since| since >= age))
        };
        let mut old = Vec::new();
        for shelf in std::fs::read_dir(&self.dir).map_err(|e| fail(&self.dir, e))?.flatten() {
            let name = shelf.file_name().to_string_lossy().into_owned();
            if name.starts_with(GROWING) && is_old(&shelf) {
                let _ = std::fs::remove_file(shelf.path());
            }
            if name.len() != 2 {
                continue;
            }
            for entry in std::fs::read_dir(shelf.path()).map_err(|e| fail(&shelf.path(), e))?.flatten() {
                let hash = format!("{name}{}", entry.file_name().to_string_lossy());
                if is_hash(&hash) && is_old(&entry) && old.len() < OLD_MAX {
                    old.push(hash);
                }
            }
        }
        Ok(old)
    }

    /// Removes the file of a hash, if it was not written again since: not within `age`.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, hash: &str, age: Duration, now: SystemTime) -> Result<(), BlobError> {
        let path = place(&self.dir, hash);
        let modified = std::fs::metadata(&path).and_then(|m| m.modified());
        if !modified.is_ok_and(|at| now.duration_since(at).is_ok_and(|since| since >= age)) {
            return Ok(());
        }
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(BlobError { action: "remove", path, source }),
            _ => Ok(()),
        }
    }
}

/// A file that has no name of its own yet; removed when this is dropped.
#[derive(Debug)]
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Kept, it has another name.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A file that is being written; gone when it is dropped before it is kept.
#[derive(Debug)]
pub struct GrowingBlob {
    dir: PathBuf,
    path: Unfinished,
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl GrowingBlob {
    /// Adds bytes.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.file.write_all(bytes).map_err(|source| BlobError { action: "write", path: self.path.0.clone(), source })?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// How many there are.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Names the file by its hash; it is on the disk when this returns.
    ///
    /// # Errors
    /// It cannot be written or named.
    pub fn keep(self) -> Result<String, BlobError> {
        self.rest().keep()
    }

    /// Writes no more for now, without holding the file open.
    #[must_use]
    pub fn rest(self) -> StagedBlob {
        let hash = self.hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        StagedBlob { dir: self.dir, path: self.path, hash, bytes: self.bytes }
    }
}

/// A file that is written and not kept yet; gone when it is dropped before.
#[derive(Debug)]
pub struct StagedBlob {
    dir: PathBuf,
    path: Unfinished,
    hash: String,
    bytes: u64,
}

impl StagedBlob {
    /// What its bytes hash to.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// How many there are.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Names the file by its hash; it is on the disk when this returns.
    ///
    /// # Errors
    /// It cannot be written or named.
    pub fn keep(self) -> Result<String, BlobError> {
        let fail = |action| move |path: &Path, source| BlobError { action, path: path.to_owned(), source };
        let file = OpenOptions::new().write(true).open(&self.path.0).map_err(|e| fail("open")(&self.path.0, e))?;
        // Young again, however long it lay: no sweep takes it before its row is written.
        let written = file.set_modified(SystemTime::now()).and_then(|()| file.sync_all());
        written.map_err(|e| fail("write")(&self.path.0, e))?;
        let target = place(&self.dir, &self.hash);
        let shelf = target.parent().unwrap_or(&self.dir);
        make_dir(shelf)?;
        model::crash::point("blob:written");
        // The same bytes may be there already: a newer file in the place of the old one keeps them from the sweep.
        std::fs::rename(&self.path.0, &target).map_err(|e| fail("name")(&target, e))?;
        let sync = |dir: &Path| File::open(dir).and_then(|d| d.sync_all()).map_err(|e| fail("write")(dir, e));
        sync(shelf)?;
        sync(&self.dir)?;
        model::crash::point("blob:kept");
        Ok(self.hash.clone())
    }
}

fn make_dir(dir: &Path) -> Result<(), BlobError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| BlobError { action: "make", path: dir.to_owned(), source })
}

fn place(dir: &Path, hash: &str) -> PathBuf {
    if !is_hash(hash) {
        // Leads to no file.
        return dir.join("none");
    }
    dir.join(&hash[..2]).join(&hash[2..])
}

fn is_hash(text: &str) -> bool {
    text.len() == HASH_CHARS && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

impl Store {
    /// One thing that a job brought or left, with its bytes where they are in the row.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn job_blob(&self, job: &str, kind: &str, path: &str) -> Result<JobBlob, StoreError> {
        let (job, kind, path) = (job.to_owned(), kind.to_owned(), path.to_owned());
        self.read(move |conn| {
            let sql = "SELECT kind, path, bytes, hash, body FROM job_blobs WHERE job = ?1 AND kind = ?2 AND path = ?3";
            let mut statement = conn.prepare_cached(sql).doing("read what a job left")?;
            let found = statement.query_row((&job, &kind, &path), |r| from_row(r, true)).optional().doing("read what a job left")?;
            found.ok_or_else(|| StoreError::NotFound { what: "file of this job", id: path.chars().take(128).collect() })
        })
        .await
    }

    /// All that a job brought or left of one kind, with the bytes that are in rows.
    ///
    /// # Errors
    /// What the database said.
    pub async fn job_blobs(&self, job: &str, kind: &str) -> Result<Vec<JobBlob>, StoreError> {
        let (job, kind) = (job.to_owned(), kind.to_owned());
        self.read(move |conn| {
            let sql = "SELECT kind, path, bytes, hash, body FROM job_blobs WHERE job = ?1 AND kind = ?2 ORDER BY path";
            let mut statement = conn.prepare_cached(sql).doing("read what a job left")?;
            let rows = statement.query_map((&job, &kind), |r| from_row(r, true)).doing("read what a job left")?;
            rows.collect::<crate::db::Result<_>>().doing("read what a job left")
        })
        .await
    }

    /// Which of these hashes no row names.
    ///
    /// # Errors
    /// What the database said.
    pub async fn unused_blobs(&self, hashes: Vec<String>) -> Result<Vec<String>, StoreError> {
        self.read(move |conn| {
            let mut statement = conn.prepare_cached("SELECT count(*) FROM job_blobs WHERE hash = ?1").doing("look for unused files")?;
            let mut unused = Vec::new();
            for hash in hashes {
                let users: u64 = statement.query_row([&hash], |r| r.get(0)).doing("look for unused files")?;
                if users == 0 {
                    unused.push(hash);
                }
            }
            Ok(unused)
        })
        .await
    }
}

/// How much of these is kept in rows.
pub(super) fn inline_bytes(blobs: &[JobBlob]) -> usize {
    blobs.iter().map(|b| if let JobBody::Inline(bytes) = &b.body { bytes.len() } else { 0 }).sum()
}

/// Notes what a job brought or left; what it left before under the same name is replaced.
pub(super) fn keep(conn: &Connection, job: &str, blobs: &[JobBlob]) -> Result<(), StoreError> {
    let sql = "INSERT INTO job_blobs (job, kind, path, bytes, hash, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT (job, kind, path) DO UPDATE SET bytes = ?4, hash = ?5, body = ?6";
    for blob in blobs {
        let (hash, body) = match &blob.body {
            JobBody::Inline(bytes) => (None, Some(bytes)),
            JobBody::Kept(hash) => (Some(hash), None),
            JobBody::Unread => return Err(StoreError::invalid("blob", "was not read")),
        };
        let with = params![job, blob.kind, blob.path, int("bytes", blob.bytes)?, hash, body];
        conn.prepare_cached(sql).and_then(|mut s| s.execute(with)).doing("keep what a job leaves")?;
    }
    Ok(())
}

/// What a job brought and left: its text with the bytes, of the rest only how long it is.
pub(super) fn of_job(conn: &Connection, job: &str, kind: Option<&str>) -> Result<Vec<JobBlob>, StoreError> {
    let sql = "SELECT kind, path, bytes, hash, CASE WHEN kind = 'text' THEN body END AS body FROM job_blobs
               WHERE job = ?1 AND (?2 IS NULL OR kind = ?2) ORDER BY kind, path";
    let mut statement = conn.prepare_cached(sql).doing("read what a job left")?;
    let rows = statement.query_map((job, kind), |r| from_row(r, false)).doing("read what a job left")?;
    rows.collect::<crate::db::Result<_>>().doing("read what a job left")
}

fn from_row(row: &Row<'_>, is_read: bool) -> crate::db::Result<JobBlob> {
    let (hash, body): (Option<String>, Option<Vec<u8>>) = (row.get("hash")?, row.get("body")?);
    let body = match (hash, body) {
        (Some(hash), None) => JobBody::Kept(hash),
        (None, Some(body)) => JobBody::Inline(body),
        (None, None) if !is_read => JobBody::Unread,
        _ => return Err(unreadable("its bytes are in two places, or in none".into())),
    };
    Ok(JobBlob { kind: row.get("kind")?, path: row.get("path")?, bytes: row.get("bytes")?, body })
}
