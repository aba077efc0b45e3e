//! A witness of the last commit, kept beside the database.
//!
//! SQLite reads a write-ahead log up to the first frame that does not fit and takes that for its end, so a log that was
//! cut or damaged loses acknowledged commits without a word. The mark holds the number of the last commit that was
//! acknowledged. It is written after the commit is on the disk and is itself not flushed, so it can only lag behind
//! after a power failure, never run ahead. A database that is older than its mark is refused.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags};

use crate::{StoreError, home};

const MAGIC: &[u8; 8] = b"LZRTMARK";
const BYTES: usize = 24;

/// The open mark of one database. Holding it also keeps other processes out.
#[derive(Debug)]
pub(crate) struct Mark {
    file: File,
    path: PathBuf,
    made: bool,
}

impl Mark {
    /// Opens or makes the mark of `database`, and locks it.
    pub(crate) fn open(database: &Path) -> Result<Self, StoreError> {
        let path = path_of(database);
        let (file, made) = match home::open_checked(&path, OFlags::RDWR)? {
            Some(file) => (file, false),
            None => (home::create_private(&path)?, true),
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { file, path, made }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::InUse { path: database.to_owned() }),
            Err(error) => Err(StoreError::io("lock", &path, error)),
        }
    }

    /// Takes away a mark that this call made, when the database beside it turned out not to be ours.
    pub(crate) fn forget(&self) {
        if self.made {
            // A mark that stays says nothing: it is empty.
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// The number of the last acknowledged commit; 0 when nothing usable is written.
    pub(crate) fn read(&self) -> u64 {
        let mut bytes = [0; BYTES];
        if self.file.read_exact_at(&mut bytes, 0).is_err() || &bytes[..8] != MAGIC {
            return 0;
        }
        let number = |at: usize| bytes[at..at + 8].iter().rev().fold(0, |n, b| n << 8 | u64::from(*b));
        if number(8) == !number(16) { number(8) } else { 0 }
    }

    /// Writes the number of a commit that is on the disk.
    pub(crate) fn write(&self, commit: u64) -> Result<(), StoreError> {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&commit.to_le_bytes());
        bytes[16..].copy_from_slice(&(!commit).to_le_bytes());
        self.file.write_all_at(&bytes, 0).map_err(|e| StoreError::io("write", &self.path, e))
    }
}

fn path_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-mark");
    PathBuf::from(name)
}
