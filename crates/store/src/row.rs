//! Between columns and values.

use crate::db::Row;
use crate::db::Type;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::StoreError;

/// Reads a text column that holds JSON.
pub(crate) fn json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> crate::db::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|e| unreadable(e.into()))
}

/// Reads a text column that holds an identity, a state or another word.
pub(crate) fn parsed<T>(row: &Row<'_>, column: &str) -> crate::db::Result<T>
where
    T: TryFrom<String>,
    T::Error: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(column)?;
    T::try_from(text).map_err(|e| unreadable(Box::new(e)))
}

/// The same for a column that may be null.
pub(crate) fn maybe_parsed<T>(row: &Row<'_>, column: &str) -> crate::db::Result<Option<T>>
where
    T: TryFrom<String>,
    T::Error: std::error::Error + Send + Sync + 'static,
{
    let text: Option<String> = row.get(column)?;
    text.map(|t| T::try_from(t).map_err(|e| unreadable(Box::new(e)))).transpose()
}

/// A column whose text does not mean anything.
pub(crate) fn unreadable(error: Box<dyn std::error::Error + Send + Sync>) -> crate::db::DbError {
    crate::db::DbError::FromSqlConversionFailure(0, Type::Text, error)
}

/// The JSON text of a value that is known to have one.
pub(crate) fn to_json<T: Serialize + ?Sized>(field: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::invalid(field, format!("cannot be written as JSON: {e}")))
}

/// A number for a column; SQLite has no unsigned ones.
pub(crate) fn int(field: &'static str, value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::invalid(field, "is too large"))
}
