//! How the schema gets into PostgreSQL: the migrations of SQLite, carried over, and what has no like there.

use crate::StoreError;
use crate::db::{Connection, OptionalExtension, schema};
use crate::error::Doing;
use crate::open::MIGRATIONS;

/// What comes before the first migration.
const FIRST: &str = include_str!("../../migrations/postgres/0000_functions.sql");
/// What comes after a migration, by its number.
const BESIDE: &[(usize, &str)] =
    &[(2, include_str!("../../migrations/postgres/0002_sessions.sql")), (4, include_str!("../../migrations/postgres/0004_memory.sql"))];
/// Held while the schema grows, so that two daemons that start together do not both do it.
const SCHEMA_LOCK: i64 = 0x4c5a_5254_0002;

/// Brings the schema up to date in one transaction.
pub(super) fn migrate(conn: &Connection) -> Result<(), StoreError> {
    let doing = "migrate the database";
    conn.execute_batch(&format!("BEGIN; SELECT pg_advisory_xact_lock({SCHEMA_LOCK})")).doing(doing)?;
    grow(conn).inspect_err(|_| {
        // The first error is the one to report.
        let _ = conn.execute_batch("ROLLBACK");
    })?;
    conn.execute_batch("COMMIT").doing(doing)
}

fn grow(conn: &Connection) -> Result<(), StoreError> {
    let doing = "migrate the database";
    let found = version(conn)?;
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    if found == 0 {
        conn.execute_batch(FIRST).doing(doing)?;
    }
    for (number, sql) in (1..).zip(MIGRATIONS).skip(found as usize) {
        conn.execute_batch(&schema(sql)).doing(doing)?;
        for (_, more) in BESIDE.iter().filter(|(after, _)| *after == number) {
            conn.execute_batch(more).doing(doing)?;
        }
    }
    if found == 0 {
        conn.execute_batch("INSERT INTO meta (key, value) VALUES ('commits', '0'), ('clean', '1'), ('boot', '')").doing(doing)?;
    }
    let sql = "INSERT INTO meta (key, value) VALUES ('schema', ?1) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    conn.execute(sql, [known.to_string()]).doing(doing).map(drop)
}

/// How many migrations have run. Refuses tables of somebody else.
fn version(conn: &Connection) -> Result<u32, StoreError> {
    let doing = "read the version of the schema";
    let sql = "SELECT count(*), coalesce(sum(CASE WHEN tablename = 'meta' THEN 1 ELSE 0 END), 0) FROM pg_tables
               WHERE schemaname = current_schema()";
    let (tables, ours): (u64, u64) = conn.query_row(sql, [], |r| Ok((r.get(0)?, r.get(1)?))).doing(doing)?;
    let foreign = || StoreError::Foreign { path: "store.url".into(), why: "another program made its tables" };
    if tables == 0 {
        return Ok(0);
    }
    if ours == 0 {
        return Err(foreign());
    }
    let found: Option<String> = conn.query_row("SELECT value FROM meta WHERE key = 'schema'", [], |r| r.get(0)).optional().doing(doing)?;
    found.and_then(|text| text.parse().ok()).ok_or_else(foreign)
}
