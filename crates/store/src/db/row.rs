//! A row, read by name or place.

use rusqlite::types::{FromSql, FromSqlError, Type, ValueRef};

use super::value::Raw;
use super::{DbError, Result};

/// What a statement gave, for as long as it is looked at.
#[derive(Clone, Copy)]
pub(crate) struct Row<'r> {
    inner: Inner<'r>,
}

#[derive(Clone, Copy)]
enum Inner<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r postgres::Row),
}

/// What names a column: its place from 0, or its name.
pub(crate) trait RowIndex: rusqlite::RowIndex + Copy {
    /// Its place in a row of PostgreSQL.
    fn place(self, row: &postgres::Row) -> Option<usize>;
}

impl RowIndex for usize {
    fn place(self, row: &postgres::Row) -> Option<usize> {
        (self < row.len()).then_some(self)
    }
}

impl RowIndex for &str {
    fn place(self, row: &postgres::Row) -> Option<usize> {
        row.columns().iter().position(|column| column.name().eq_ignore_ascii_case(self))
    }
}

impl<'r> Row<'r> {
    pub(super) fn sqlite(row: &'r rusqlite::Row<'r>) -> Self {
        Self { inner: Inner::Sqlite(row) }
    }

    pub(super) fn postgres(row: &'r postgres::Row) -> Self {
        Self { inner: Inner::Postgres(row) }
    }

    /// Reads a column.
    pub(crate) fn get<I: RowIndex, T: FromSql>(&self, column: I) -> Result<T> {
        match self.inner {
            Inner::Sqlite(row) => Ok(row.get(column)?),
            Inner::Postgres(row) => {
                let (place, value) = found(row, column)?;
                T::column_result(value).map_err(|error| unreadable(place, value.data_type(), error))
            }
        }
    }

    /// Looks at a column without taking it out of the row.
    pub(crate) fn get_ref<I: RowIndex>(&self, column: I) -> Result<ValueRef<'_>> {
        match self.inner {
            Inner::Sqlite(row) => Ok(row.get_ref(column)?),
            Inner::Postgres(row) => found(row, column).map(|(_, value)| value),
        }
    }
}

fn found<I: RowIndex>(row: &postgres::Row, column: I) -> Result<(usize, ValueRef<'_>)> {
    let place =
        column.place(row).ok_or_else(|| DbError::Statement("failed to read a column that the statement does not give".to_owned()))?;
    let value: Option<Raw<'_>> = row.try_get(place)?;
    Ok((place, value.map_or(ValueRef::Null, |raw| raw.0)))
}

fn unreadable(place: usize, kind: Type, error: FromSqlError) -> DbError {
    DbError::FromSqlConversionFailure(place, kind, Box::new(error))
}
