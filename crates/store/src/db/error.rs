//! How a database fails.

use super::Type;

/// What a database said, or why what it gave cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DbError {
    /// SQLite said it.
    #[error(transparent)]
    Sqlite(rusqlite::Error),
    /// PostgreSQL said it, or the way to it did.
    #[error("{}", told(.0))]
    Postgres(#[source] postgres::Error),
    /// There is no row.
    #[error("no row was given")]
    QueryReturnedNoRows,
    /// A column does not mean anything.
    #[error("column {0} cannot be read as what it should be: {2}")]
    FromSqlConversionFailure(usize, Type, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// A value cannot be passed.
    #[error("a value cannot be stored: {0}")]
    ToSqlConversionFailure(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The statement does not fit what is given to it or asked of it.
    #[error("{0}")]
    Statement(String),
}

/// What became of something that was asked of a database.
pub(crate) type Result<T> = std::result::Result<T, DbError>;

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::QueryReturnedNoRows => Self::QueryReturnedNoRows,
            other => Self::Sqlite(other),
        }
    }
}

impl From<postgres::Error> for DbError {
    fn from(error: postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

/// PostgreSQL's own words, where it said any: the driver's say only that there was an error.
fn told(error: &postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{} ({})", said.message(), said.code().code()),
        None => model::chain(error),
    }
}

/// Lets a missing row be no error.
pub(crate) trait OptionalExtension<T> {
    /// `None` where there is no row.
    fn optional(self) -> Result<Option<T>>;
}

impl<T> OptionalExtension<T> for Result<T> {
    fn optional(self) -> Result<Option<T>> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(DbError::QueryReturnedNoRows) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What an error means for what comes after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing: the statement failed, and that is all.
    None,
    /// There is no space.
    Full,
    /// What is on the disk is in doubt.
    Damage,
}

impl DbError {
    /// What it means for what comes after it. A lost connection is no damage: the server keeps what it acknowledged.
    pub(crate) fn trouble(&self) -> Trouble {
        use postgres::error::SqlState as S;
        use rusqlite::ErrorCode as E;
        match self {
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(E::DiskFull) => Trouble::Full,
                Some(E::SystemIoFailure | E::DatabaseCorrupt | E::NotADatabase | E::FileLockingProtocolFailed | E::CannotOpen) => {
                    Trouble::Damage
                }
                _ => Trouble::None,
            },
            Self::Postgres(error) => match error.code() {
                Some(code) if *code == S::DISK_FULL => Trouble::Full,
                Some(code) if [S::DATA_CORRUPTED, S::INDEX_CORRUPTED, S::IO_ERROR].contains(code) => Trouble::Damage,
                _ => Trouble::None,
            },
            _ => Trouble::None,
        }
    }
}
