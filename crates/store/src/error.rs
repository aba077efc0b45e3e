//! How the store fails.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{Code, Failure};

use crate::db::Trouble;

/// Why the store did not do what was asked. Nothing was changed when a write returns one.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The file is something else.
    #[error("`{}` is not a database of Lazaret: {why}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What gave it away.
        why: &'static str,
    },
    /// The database cannot be trusted any more.
    #[error("`{}` is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// A later program wrote it.
    #[error("the database has schema {found}; this version knows up to {known}")]
    Newer {
        /// The schema of the file.
        found: u32,
        /// The latest schema of this program.
        known: u32,
    },
    /// A file or directory could be changed or read by somebody else.
    #[error("`{}` is not safe: {why}", path.display())]
    Unsafe {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Another process holds the database.
    #[error("`{}` is in use by another process", path.display())]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// A file could not be handled.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: Arc<std::io::Error>,
    },
    /// The database refused a statement.
    #[error("failed to {action}: {text}")]
    Sqlite {
        /// What was tried.
        action: &'static str,
        /// What the database said.
        text: String,
        /// Whether the database itself is in doubt.
        grave: bool,
    },
    /// There is no space for the write.
    #[error("the disk that holds the database is full")]
    DiskFull,
    /// An earlier write failed in a way that leaves the disk in doubt.
    #[error("the store takes no more writes since one failed: {0}")]
    Stopped(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// There is no such thing.
    #[error("no {what} `{id}`")]
    NotFound {
        /// The kind of thing.
        what: &'static str,
        /// What was asked for.
        id: String,
    },
    /// The state of the thing does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// The caller's lease has been given to somebody else.
    #[error("turn `{turn}` is held under fence {held}, not {given}")]
    StaleFence {
        /// The turn.
        turn: String,
        /// The fence of the caller.
        given: u64,
        /// The fence that is in force.
        held: u64,
    },
    /// A turn cannot change that way.
    #[error("turn `{turn}`: {source}")]
    Transition {
        /// The turn.
        turn: String,
        /// What was refused.
        source: Arc<model::Refused>,
    },
    /// A value cannot be stored.
    #[error("{field} {why}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A limit of the store is reached.
    #[error("{what}: at most {max}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        max: u64,
    },
    /// A tenant has as much as its quota allows.
    #[error("tenant `{tenant}` has its quota of {max} {what}")]
    Quota {
        /// The tenant.
        tenant: String,
        /// What it has enough of.
        what: &'static str,
        /// How much is allowed.
        max: String,
    },
    /// A tenant may not work now.
    #[error("tenant `{0}` is suspended")]
    Suspended(String),
    /// The budget has less left than was asked.
    #[error("budget `{scope}` has {left} left, {asked} is needed")]
    Budget {
        /// The budget.
        scope: String,
        /// What is left.
        left: model::Money,
        /// The least that would have served.
        asked: model::Money,
    },
}

impl StoreError {
    /// The code that a user sees.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Unsafe { .. } | Self::InUse { .. } => Code::HomeUnsafe,
            Self::Foreign { .. }
            | Self::Damaged { .. }
            | Self::Newer { .. }
            | Self::Io { .. }
            | Self::Sqlite { .. }
            | Self::DiskFull
            | Self::Stopped(_)
            | Self::Closed => Code::StoreUnusable,
            Self::NotFound { what: "checkpoint", .. } => Code::CheckpointMissing,
            Self::NotFound { .. } => Code::NotFound,
            Self::Conflict(_) | Self::StaleFence { .. } | Self::Transition { .. } => Code::Conflict,
            Self::Invalid { .. } => Code::Usage,
            Self::Limit { .. } => Code::Busy,
            Self::Quota { .. } => Code::QuotaExceeded,
            Self::Suspended(_) => Code::Forbidden,
            Self::Budget { .. } => Code::BudgetExceeded,
        }
    }

    /// What a user is told, with what to do about it where there is something.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let failure = Failure::new(self.code(), model::chain(self));
        match self {
            Self::Unsafe { path, .. } => failure.hint(format!("check who owns `{0}`, then: chmod go-rwx '{0}'", path.display())),
            Self::InUse { .. } => failure.hint("stop the other daemon of this home, or set LAZARET_HOME to another directory"),
            Self::Newer { .. } => failure.hint("run the version that wrote it, or a later one"),
            Self::Damaged { .. } => failure.hint("restore the home from a backup; nothing was changed"),
            Self::Foreign { .. } => failure.hint("move the file away, or set LAZARET_HOME to another directory"),
            Self::DiskFull => failure.hint("free some space and try again"),
            Self::Invalid { field, .. } => failure.field(*field),
            Self::Quota { .. } => failure.hint("remove something, wait, or ask who runs this daemon for more"),
            _ => failure,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path, source: impl Into<std::io::Error>) -> Self {
        Self::Io { action, path: path.to_owned(), source: Arc::new(source.into()) }
    }

    pub(crate) fn invalid(field: &'static str, why: impl Into<String>) -> Self {
        Self::Invalid { field, why: why.into() }
    }

    /// Whether nothing may be written after this.
    pub(crate) fn is_grave(&self) -> bool {
        matches!(self, Self::Sqlite { grave: true, .. } | Self::Damaged { .. } | Self::Io { .. })
    }

    /// What `error` means when it came up while trying to `action`.
    pub(crate) fn sqlite(action: &'static str, error: &crate::db::DbError) -> Self {
        match error.trouble() {
            Trouble::Full => Self::DiskFull,
            trouble => Self::Sqlite { action, text: error.to_string(), grave: trouble == Trouble::Damage },
        }
    }
}

/// Lets `?` follow `.doing("...")` on what a database returns.
pub(crate) trait Doing<T> {
    /// Says what was tried.
    fn doing(self, action: &'static str) -> Result<T, StoreError>;
}

impl<T> Doing<T> for crate::db::Result<T> {
    fn doing(self, action: &'static str) -> Result<T, StoreError> {
        self.map_err(|error| StoreError::sqlite(action, &error))
    }
}

impl<T> Doing<T> for rusqlite::Result<T> {
    fn doing(self, action: &'static str) -> Result<T, StoreError> {
        self.map_err(|error| StoreError::sqlite(action, &error.into()))
    }
}
