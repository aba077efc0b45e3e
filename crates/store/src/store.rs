//! The handle that the rest of the program holds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::db::Connection;

use crate::audit_head::AuditHead;
use crate::journal::Journal;
use crate::reader::Readers;
use crate::shared::{Access, Listener, Opened, REPLICA_LOST_AFTER};
use crate::writer::{Kind, Writer};
use crate::{StoreError, writer};

/// What can be chosen when a store is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Threads that read, each with a connection of its own. From 1 to 16.
    pub readers: usize,
    /// After how long without a sign of life another daemon's machine counts as lost, where several share a database.
    pub lost_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { readers: 2, lost_after: REPLICA_LOST_AFTER }
    }
}

const READERS_MAX: usize = 16;

fn check(config: &Config) -> Result<(), StoreError> {
    if config.readers == 0 || config.readers > READERS_MAX {
        return Err(StoreError::invalid("readers", format!("is {}, not from 1 to {READERS_MAX}", config.readers)));
    }
    Ok(())
}

/// The open store. Cheap to clone; the database closes when the last clone is gone.
#[derive(Clone)]
pub struct Store {
    writer: Writer,
    readers: Readers,
    audit: Arc<AuditHead>,
    shared: Option<Arc<Shared>>,
}

/// What there is besides, where several daemons share the database.
pub(crate) struct Shared {
    /// Who this one is.
    pub(crate) replica: String,
    /// After how long another one counts as lost.
    pub(crate) lost_after: Duration,
    pub(crate) listener: Listener,
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
        check(config)?;
        let crate::open::Opened { conn, mark, commits } = crate::open::Opened::new(path)?;
        let audit = Arc::new(AuditHead::open(path)?);
        let readers = (0..config.readers).map(|_| crate::open::reader(path)).collect::<Result<_, _>>()?;
        let started = |e| StoreError::io("start a thread for", path, e);
        let readers = Readers::start(readers).map_err(started)?;
        let writer = Writer::start(conn, Journal::Mark { mark, commits }).map_err(started)?;
        Ok(Self { writer, readers, audit, shared: None })
    }

    /// Opens the PostgreSQL database at `url`, which names no password, for the daemon of `home`, or makes its tables when there are none. Other
    /// daemons may have it open too. Blocks, for as long as connecting takes.
    ///
    /// # Errors
    /// [`StoreError::Unsafe`] and [`StoreError::InUse`] for the home, [`StoreError::Invalid`] when the address is none or
    /// nothing is there to trust, [`StoreError::Foreign`], [`StoreError::Newer`], or what the server said.
    pub fn open_shared(url: &str, access: Access, home: &Path, config: &Config) -> Result<Self, StoreError> {
        check(config)?;
        crate::home::check_home(home)?;
        let audit = Arc::new(AuditHead::open(&home.join("lazaret.db"))?);
        let Opened { writer, readers, replica, settings } = crate::shared::open(url, access, home, config.readers)?;
        let started = |e| StoreError::io("start a thread for", home, e);
        let id = replica.id().to_owned();
        let listener = Listener::start(settings, id.clone()).map_err(started)?;
        let readers = Readers::start(readers).map_err(started)?;
        let writer = Writer::start(writer, Journal::server(replica)).map_err(started)?;
        let shared = Shared { replica: id, lost_after: config.lost_after, listener };
        Ok(Self { writer, readers, audit, shared: Some(Arc::new(shared)) })
    }

    /// What there is besides, where several daemons share the database.
    pub(crate) fn shared(&self) -> Option<&Shared> {
        self.shared.as_deref()
    }

    /// Waits for every write before it, notes that the end was in order, and refuses what comes later.
    ///
    /// # Errors
    /// [`StoreError::Closed`] when it was closed before, or why the note could not be written.
    pub async fn close(&self) -> Result<(), StoreError> {
        let replica = self.replica().map(str::to_owned);
        let close = move |conn: &Connection| {
            replica.iter().try_for_each(|id| crate::shared::retire(conn, id))?;
            writer::close(conn)
        };
        self.write(Kind::Close, 0, close).await?;
        if let Some(shared) = self.shared() {
            shared.listener.stop();
        }
        Ok(())
    }

    /// How the writer is doing.
    #[must_use]
    pub fn health(&self) -> crate::StoreHealth {
        self.writer.health()
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
