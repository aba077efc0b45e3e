//! The database as the rest of the crate sees it: one surface, two databases.
//!
//! Statements are written once, in the dialect that SQLite and PostgreSQL share ([`dialect`] carries over what little
//! they spell differently). The surface is the one of rusqlite; what a value is to SQLite decides how it is passed to
//! and read from PostgreSQL as well, so that no rule of the store depends on which of them it runs on.

mod dialect;
mod error;
mod params;
mod row;
mod server;
mod statement;
mod tls;
mod value;

pub(crate) use dialect::schema;
pub(crate) use error::{DbError, OptionalExtension, Result, Trouble};
pub(crate) use params::{Params, params_from_iter};
pub(crate) use row::{Row, RowIndex};
pub(crate) use rusqlite::types::{Type, Value};
pub(crate) use rusqlite::{ToSql, params};
pub(crate) use statement::Statement;

pub(crate) use server::{CHANNEL, Postgres, Settings};
pub(crate) use tls::Tls;

/// A connection to either database. Used by one thread at a time.
pub(crate) struct Connection {
    inner: Inner,
}

enum Inner {
    Sqlite(rusqlite::Connection),
    Postgres(Box<Postgres>),
}

impl From<rusqlite::Connection> for Connection {
    fn from(conn: rusqlite::Connection) -> Self {
        Self { inner: Inner::Sqlite(conn) }
    }
}

impl From<Postgres> for Connection {
    fn from(conn: Postgres) -> Self {
        Self { inner: Inner::Postgres(Box::new(conn)) }
    }
}

impl Connection {
    /// The PostgreSQL side, where that is what this is: for the few places where the two are asked in different words.
    pub(crate) fn postgres(&self) -> Option<&Postgres> {
        match &self.inner {
            Inner::Sqlite(_) => None,
            Inner::Postgres(conn) => Some(conn),
        }
    }

    /// Who this daemon is among those that share the database; `None` where it is the only one.
    pub(crate) fn replica(&self) -> Option<&str> {
        self.postgres().map(Postgres::replica)
    }

    /// Lets the daemons that share the database know, once the transaction stands, that a session has more.
    pub(crate) fn note_session(&self, session: &model::SessionId) {
        if let Some(server) = self.postgres() {
            server.note(crate::shared::Change::Session(session.clone()).word());
        }
    }

    /// The same of its inbox.
    pub(crate) fn note_inbox(&self, session: &model::SessionId) {
        if let Some(server) = self.postgres() {
            server.note(crate::shared::Change::Inbox(session.clone()).word());
        }
    }

    /// SQLite itself, where that is what this is.
    #[cfg(test)]
    pub(crate) fn sqlite(&self) -> Option<&rusqlite::Connection> {
        match &self.inner {
            Inner::Sqlite(conn) => Some(conn),
            Inner::Postgres(_) => None,
        }
    }

    /// A statement that is kept for the next time.
    pub(crate) fn prepare_cached(&self, sql: &str) -> Result<Statement<'_>> {
        match &self.inner {
            Inner::Sqlite(conn) => Ok(Statement::cached(conn.prepare_cached(sql)?)),
            Inner::Postgres(conn) => Ok(Statement::postgres(conn, conn.prepare(sql)?)),
        }
    }

    /// A statement that is not expected again.
    pub(crate) fn prepare(&self, sql: &str) -> Result<Statement<'_>> {
        match &self.inner {
            Inner::Sqlite(conn) => Ok(Statement::plain(conn.prepare(sql)?)),
            Inner::Postgres(conn) => Ok(Statement::postgres(conn, conn.prepare(sql)?)),
        }
    }

    /// Reads the first row that a statement gives.
    pub(crate) fn query_row<T, P, F>(&self, sql: &str, params: P, read: F) -> Result<T>
    where
        P: Params,
        F: FnOnce(&Row<'_>) -> Result<T>,
    {
        self.prepare(sql)?.query_row(params, read)
    }

    /// Runs a statement that gives no rows. Returns how many it changed.
    pub(crate) fn execute<P: Params>(&self, sql: &str, params: P) -> Result<usize> {
        self.prepare(sql)?.execute(params)
    }

    /// Runs statements without values, one after the other.
    pub(crate) fn execute_batch(&self, sql: &str) -> Result<()> {
        match &self.inner {
            Inner::Sqlite(conn) => Ok(conn.execute_batch(sql)?),
            Inner::Postgres(conn) => conn.batch(sql),
        }
    }

    /// Whether no transaction is open, because none was begun or the database gave it up.
    pub(crate) fn is_autocommit(&self) -> bool {
        match &self.inner {
            Inner::Sqlite(conn) => conn.is_autocommit(),
            Inner::Postgres(conn) => !conn.is_in_transaction(),
        }
    }
}
