//! A prepared statement and what it gives.

use std::sync::Arc;

use super::server::{Postgres, Prepared};
use super::{DbError, Params, Result, Row};

/// A statement, ready to be run.
pub(crate) struct Statement<'c> {
    inner: Inner<'c>,
}

enum Inner<'c> {
    Cached(rusqlite::CachedStatement<'c>),
    Plain(rusqlite::Statement<'c>),
    Postgres(&'c Postgres, Arc<Prepared>),
}

impl<'c> Statement<'c> {
    pub(super) fn cached(statement: rusqlite::CachedStatement<'c>) -> Self {
        Self { inner: Inner::Cached(statement) }
    }

    pub(super) fn plain(statement: rusqlite::Statement<'c>) -> Self {
        Self { inner: Inner::Plain(statement) }
    }

    pub(super) fn postgres(conn: &'c Postgres, statement: Arc<Prepared>) -> Self {
        Self { inner: Inner::Postgres(conn, statement) }
    }

    /// Runs it. Returns how many rows it changed.
    pub(crate) fn execute<P: Params>(&mut self, params: P) -> Result<usize> {
        let statement = match &mut self.inner {
            Inner::Cached(statement) => &mut **statement,
            Inner::Plain(statement) => statement,
            Inner::Postgres(conn, prepared) => return conn.execute(prepared, params),
        };
        bind(statement, params)?;
        Ok(statement.raw_execute()?)
    }

    /// Runs it, and gives its rows one by one.
    pub(crate) fn query<P: Params>(&mut self, params: P) -> Result<Rows<'_>> {
        let statement = match &mut self.inner {
            Inner::Cached(statement) => &mut **statement,
            Inner::Plain(statement) => statement,
            Inner::Postgres(conn, prepared) => {
                let rows = conn.query(prepared, params)?.into_iter();
                return Ok(Rows { inner: RowsInner::Postgres(rows, None) });
            }
        };
        bind(statement, params)?;
        Ok(Rows { inner: RowsInner::Sqlite(statement.raw_query()) })
    }

    /// Runs it, and reads the first row.
    pub(crate) fn query_row<T, P, F>(&mut self, params: P, read: F) -> Result<T>
    where
        P: Params,
        F: FnOnce(&Row<'_>) -> Result<T>,
    {
        match self.query(params)?.next()? {
            Some(row) => read(&row),
            None => Err(DbError::QueryReturnedNoRows),
        }
    }

    /// Runs it, and reads every row.
    pub(crate) fn query_map<T, P, F>(&mut self, params: P, read: F) -> Result<Mapped<'_, F>>
    where
        P: Params,
        F: FnMut(&Row<'_>) -> Result<T>,
    {
        Ok(Mapped { rows: self.query(params)?, read })
    }
}

fn bind<P: Params>(statement: &mut rusqlite::Statement<'_>, params: P) -> Result<()> {
    let mut count = 0;
    params.each(&mut |value| {
        count += 1;
        Ok(statement.raw_bind_parameter(count, value)?)
    })?;
    match statement.parameter_count() {
        expected if expected == count => Ok(()),
        expected => Err(DbError::Statement(format!("{count} values were given for the {expected} of a statement"))),
    }
}

/// The rows that a statement gives.
pub(crate) struct Rows<'s> {
    inner: RowsInner<'s>,
}

enum RowsInner<'s> {
    Sqlite(rusqlite::Rows<'s>),
    Postgres(std::vec::IntoIter<postgres::Row>, Option<postgres::Row>),
}

impl Rows<'_> {
    /// The next one.
    pub(crate) fn next(&mut self) -> Result<Option<Row<'_>>> {
        match &mut self.inner {
            RowsInner::Sqlite(rows) => Ok(rows.next()?.map(Row::sqlite)),
            RowsInner::Postgres(rows, current) => {
                *current = rows.next();
                Ok(current.as_ref().map(Row::postgres))
            }
        }
    }
}

/// The rows that a statement gives, each as what was read from it.
pub(crate) struct Mapped<'s, F> {
    rows: Rows<'s>,
    read: F,
}

impl<T, F: FnMut(&Row<'_>) -> Result<T>> Iterator for Mapped<'_, F> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.rows.next() {
            Ok(Some(row)) => Some((self.read)(&row)),
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        }
    }
}
