//! The database as the rest of the crate sees it.

pub(crate) use rusqlite::types::{Type, Value};
pub(crate) use rusqlite::{Connection, Error, OptionalExtension, Params, Result, Row, RowIndex, ToSql, params, params_from_iter};
