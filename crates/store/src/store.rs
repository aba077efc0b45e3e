//! The handle that the rest of the program holds.

use std::path::Path;
use std::sync::Arc;

use crate::db::Connection;

use crate::audit_head::AuditHead;
use crate::open::Opened;
use crate::reader::Readers;
use crate::writer::{Kind, Writer};
use crate::{StoreError, writer};

/// What can be chosen when a store is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Threads that read, each with a connection of its own. From 1 to 16.
    pub readers: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { readers: 2 }
    }
}

const READERS_MAX: usize = 16;

/// The open store. Cheap to clone; the database closes when the last clone is gone.
#[derive(Clone)]
pub struct Store {
    writer: Writer,
    readers: Readers,
    audit: Arc<AuditHead>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// Opens the database at `path`, or makes it when there is none. Blocks: it reads, checks and may migrate.
    ///
    /// Nothing is repaired. The directory and every file of the database must belong to this user and be closed to
    /// others, and no other process may have it open.
    ///
    /// # Errors
    /// [`StoreError::Unsafe`], [`StoreError::InUse`], [`StoreError::Foreign`], [`StoreError::Newer`],
    /// [`StoreError::Damaged`], or what the file system said. The files are as they were.
    pub fn open(path: &Path, config: &Config) -> Result<Self, StoreError> {
        if config.readers == 0 || config.readers > READERS_MAX {
            return Err(StoreError::invalid("readers", format!("is {}, not from 1 to {READERS_MAX}", config.readers)));
        }
        let Opened { conn, mark, commits } = Opened::new(path)?;
        let audit = Arc::new(AuditHead::open(path)?);
        let readers = (0..config.readers).map(|_| crate::open::reader(path)).collect::<Result<_, _>>()?;
        let started = |e| StoreError::io("start a thread for", path, e);
        let readers = Readers::start(readers).map_err(started)?;
        let writer = Writer::start(conn, mark, commits).map_err(started)?;
        Ok(Self { writer, readers, audit })
    }

    /// Waits for every write before it, notes that the end was in order, and refuses what comes later.
    ///
    /// # Errors
    /// [`StoreError::Closed`] when it was closed before, or why the note could not be written.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.write(Kind::Close, 0, writer::close).await
    }

    /// The note of the audit's end, beside the database.
    pub(crate) fn audit_head(&self) -> &AuditHead {
        &self.audit
    }

    pub(crate) async fn write<T, F>(&self, kind: Kind, bytes: usize, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.writer.write(kind, bytes, job).await
    }

    pub(crate) async fn read<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.readers.read(job).await
    }
}
