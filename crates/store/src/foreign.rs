//! Reading SQLite databases of other programs, which anybody may have made.
//!
//! What is opened is a private copy: nothing of theirs is written, not even a lock or a log beside it. A schema of theirs is never
//! trusted: only plain tables are read, no view, trigger or virtual table of theirs runs, and a query that goes on too long ends.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Map, Value};

/// The longest text that is read, in bytes; a longer one ends the query.
const VALUE_BYTES_MAX: i32 = 16 << 20;
/// Rows that one query gives.
pub const FOREIGN_ROWS_MAX: usize = 500_000;
/// Steps of SQLite's machine that one database may cost, in thousands.
const STEPS_MAX: u64 = 2_000_000;
/// Columns that are asked for at once.
const COLUMNS_MAX: usize = 64;

/// Why a database of another program cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// It is none, is damaged, or asks for too much.
    #[error("read the database `{path}`: {why}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What SQLite said.
        why: String,
    },
}

/// A database of another program.
pub struct Foreign {
    conn: Connection,
    path: PathBuf,
}

impl std::fmt::Debug for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Foreign").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Foreign {
    /// Opens a copy that nobody else has: its log is taken into it, where it has one.
    ///
    /// # Errors
    /// It is no database.
    pub fn open(copy: &Path) -> Result<Self, ForeignError> {
        let fail = |e: rusqlite::Error| ForeignError::Unreadable { path: copy.to_owned(), why: e.to_string() };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let conn = Connection::open_with_flags(copy, flags).map_err(fail)?;
        for (config, on) in [
            (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
            (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        ] {
            conn.set_db_config(config, on).map_err(fail)?;
        }
        conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX).map_err(fail)?;
        conn.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0).map_err(fail)?;
        let steps = Arc::new(AtomicU64::new(0));
        conn.progress_handler(1000, Some(move || steps.fetch_add(1, Ordering::Relaxed) > STEPS_MAX)).map_err(fail)?;
        conn.execute_batch("PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA query_only = ON;").map_err(fail)?;
        let found = Self { conn, path: copy.to_owned() };
        found.tables()?;
        Ok(found)
    }

    /// The names of its plain tables.
    ///
    /// # Errors
    /// It is damaged.
    pub fn tables(&self) -> Result<Vec<String>, ForeignError> {
        let sql = "SELECT name, sql FROM sqlite_schema WHERE type = 'table'";
        let mut statement = self.conn.prepare(sql).map_err(|e| self.fail(&e))?;
        let mut rows = statement.query([]).map_err(|e| self.fail(&e))?;
        let mut names = Vec::new();
        while let Some(row) = rows.next().map_err(|e| self.fail(&e))? {
            let (name, sql): (Option<String>, Option<String>) = (row.get(0).unwrap_or(None), row.get(1).unwrap_or(None));
            let (Some(name), Some(sql)) = (name, sql) else { continue };
            let words: Vec<String> = sql.split_whitespace().take(2).map(str::to_ascii_uppercase).collect();
            if words == ["CREATE", "TABLE"] && names.len() < FOREIGN_ROWS_MAX {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Rows of a plain table as objects, those columns of `wanted` that it has; none when it has no such table. `order` is the column
    /// that they come in the order of, if it has that.
    ///
    /// # Errors
    /// It is damaged, or has more than [`FOREIGN_ROWS_MAX`] rows.
    pub fn rows(&self, table: &str, wanted: &[&str], order: &str) -> Result<Vec<Map<String, Value>>, ForeignError> {
        if !is_plain(table) || !self.tables()?.iter().any(|name| name == table) {
            return Ok(Vec::new());
        }
        let has = self.columns(table)?;
        let columns: Vec<&str> =
            wanted.iter().copied().filter(|name| is_plain(name) && has.iter().any(|own| own == name)).take(COLUMNS_MAX).collect();
        if columns.is_empty() {
            return Ok(Vec::new());
        }
        let by = if is_plain(order) && has.iter().any(|own| own == order) { format!(" ORDER BY \"{order}\"") } else { String::new() };
        let list = columns.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let sql = format!("SELECT {list} FROM main.\"{table}\"{by} LIMIT {}", FOREIGN_ROWS_MAX + 1);
        let mut statement = self.conn.prepare(&sql).map_err(|e| self.fail(&e))?;
        let mut rows = statement.query([]).map_err(|e| self.fail(&e))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(|e| self.fail(&e))? {
            if found.len() == FOREIGN_ROWS_MAX {
                return Err(ForeignError::Unreadable {
                    path: self.path.clone(),
                    why: format!("the table {table} has more than {FOREIGN_ROWS_MAX} rows"),
                });
            }
            let mut object = Map::new();
            for (n, name) in columns.iter().enumerate() {
                let value = row.get_ref(n).map_err(|e| self.fail(&e))?;
                object.insert((*name).to_owned(), json(value));
            }
            found.push(object);
        }
        Ok(found)
    }

    fn columns(&self, table: &str) -> Result<Vec<String>, ForeignError> {
        let mut statement = self.conn.prepare("SELECT name FROM pragma_table_info(?1)").map_err(|e| self.fail(&e))?;
        let mut rows = statement.query([table]).map_err(|e| self.fail(&e))?;
        let mut names = Vec::new();
        while let Some(row) = rows.next().map_err(|e| self.fail(&e))? {
            names.push(row.get(0).map_err(|e| self.fail(&e))?);
        }
        Ok(names)
    }

    fn fail(&self, error: &rusqlite::Error) -> ForeignError {
        ForeignError::Unreadable { path: self.path.clone(), why: error.to_string() }
    }
}

/// What a cell is; bytes that are no text are left out.
fn json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null | ValueRef::Blob(_) => Value::Null,
        ValueRef::Integer(n) => Value::from(n),
        ValueRef::Real(n) => Value::from(n),
        ValueRef::Text(text) => Value::String(String::from_utf8_lossy(text).into_owned()),
    }
}

/// Whether a name can stand in a query: it comes from this program, and is held to that.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(sql: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("theirs.db");
        Connection::open(&path).and_then(|conn| conn.execute_batch(sql)).expect("a database");
        (dir, path)
    }

    #[test]
    fn plain_tables_are_read_and_nothing_else_of_the_schema_runs() {
        let (_dir, path) = made(
            "CREATE TABLE users (id TEXT, n INTEGER, raw BLOB, big REAL);
             INSERT INTO users VALUES ('b', 2, x'00ff', 1.5), ('a''; DROP TABLE users; --', 1, NULL, NULL);
             CREATE VIEW chats AS WITH RECURSIVE e(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM e) SELECT x AS id FROM e;
             CREATE VIRTUAL TABLE words USING fts5 (id);",
        );
        let theirs = Foreign::open(&path).expect("opened");
        let rows = theirs.rows("users", &["id", "n", "raw", "missing"], "n").expect("rows");
        assert_eq!(rows[0]["id"], "a'; DROP TABLE users; --");
        assert_eq!((&rows[1]["n"], &rows[1]["raw"]), (&Value::from(2), &Value::Null));
        assert!(!rows[0].contains_key("missing"));
        for other in ["chats", "words", "nothing", "users\" --", "sqlite_schema"] {
            assert!(theirs.rows(other, &["id"], "").expect("no failure").is_empty(), "{other}");
        }
    }

    #[test]
    fn what_is_no_database_or_costs_too_much_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("theirs.db");
        std::fs::write(&path, vec![7; 100_000]).expect("written");
        assert!(Foreign::open(&path).is_err());
        let (_dir, path) = made("CREATE TABLE users (id TEXT); INSERT INTO users VALUES ('a');");
        let mut bytes = std::fs::read(&path).expect("read");
        let at = bytes.len() / 2;
        bytes[at..].fill(0xff);
        std::fs::write(&path, bytes).expect("written");
        let damaged = Foreign::open(&path).and_then(|theirs| theirs.rows("users", &["id"], "id"));
        assert!(damaged.is_err(), "{damaged:?}");
        let link = dir.path().join("link.db");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        assert!(Foreign::open(&link).is_err(), "a link is not followed");
    }
}
