//! Opening a database: what is refused, and how the schema grows.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use rustix::fs::OFlags;

use crate::error::Doing;
use crate::mark::Mark;
use crate::{StoreError, home};

/// "LZRT" in the header of the file.
const APPLICATION_ID: u32 = 0x4c5a_5254;
/// Every migration, oldest first; the schema's version is how many have run. Forward only.
pub(crate) const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_start.sql"),
    include_str!("../migrations/0002_sessions.sql"),
    include_str!("../migrations/0003_doors.sql"),
    include_str!("../migrations/0004_memory.sql"),
    include_str!("../migrations/0005_plugins.sql"),
    include_str!("../migrations/0006_jobs.sql"),
    include_str!("../migrations/0007_configs.sql"),
    include_str!("../migrations/0008_tenants.sql"),
    include_str!("../migrations/0009_tasks.sql"),
    include_str!("../migrations/0010_webhooks.sql"),
    include_str!("../migrations/0011_replicas.sql"),
    include_str!("../migrations/0012_channels.sql"),
    include_str!("../migrations/0013_branches.sql"),
    include_str!("../migrations/0014_blobs.sql"),
    include_str!("../migrations/0015_pool.sql"),
    include_str!("../migrations/0016_agent_tools.sql"),
    include_str!("../migrations/0017_personas.sql"),
    include_str!("../migrations/0018_first_steps.sql"),
    include_str!("../migrations/0019_queue.sql"),
    include_str!("../migrations/0020_branches.sql"),
    include_str!("../migrations/0021_conversation.sql"),
    include_str!("../migrations/0022_repos.sql"),
];
/// Databases up to this size are checked whole at every start: a few milliseconds.
const CHECK_ALWAYS_BYTES: u64 = 16 << 20;
/// After a process that ended badly on a machine that went on, larger databases are not checked whole: SQLite's own log
/// covers that case, and seconds of start would be lost.
const CHECK_CRASHED_BYTES: u64 = 256 << 20;
/// How long a statement waits for another connection of this process. Only checkpoints and schema reads meet.
const BUSY_WAIT: Duration = Duration::from_secs(5);
/// The log is cut back to this after a burst.
const LOG_KEPT_BYTES: u64 = 64 << 20;
/// Prepared statements kept per connection.
const STATEMENTS_KEPT: usize = 128;
/// The first bytes of every SQLite file.
const HEADER: &[u8; 16] = b"SQLite format 3\0";

/// A database that passed every check, ready for the writer's thread.
pub(crate) struct Opened {
    pub(crate) conn: crate::db::Connection,
    pub(crate) mark: Mark,
    /// The number of the last commit.
    pub(crate) commits: u64,
}

impl Opened {
    pub(crate) fn new(path: &Path) -> Result<Self, StoreError> {
        let home = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        home::check_home(home)?;
        let exists = home::check_path(path)?.is_some();
        for suffix in ["-wal", "-shm", "-journal", "-audit"] {
            home::check_path(&beside(path, suffix))?;
        }
        // The lock comes before the first descriptor: closing one would drop the locks of a store that this process has.
        let mark = Mark::open(path)?;
        match checked(path, home, exists, &mark) {
            Ok((conn, commits)) => Ok(Self { conn: conn.into(), mark, commits }),
            Err(error) => {
                mark.forget();
                Err(error)
            }
        }
    }
}

/// Everything that happens under the lock of the mark: the connection, ready, and the number of the last commit.
fn checked(path: &Path, home: &Path, exists: bool, mark: &Mark) -> Result<(Connection, u64), StoreError> {
    look(path, exists, mark)?;
    if !exists {
        home::create_private(path)?;
        home::sync_dir(home)?;
    }
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    check_identity(path, &conn)?;
    prepare_writer(&conn)?;
    if version(&conn)? > 0 {
        check_whole(path, &conn)?;
        check_mark(path, commits(path, &conn)?, mark)?;
    } else {
        // All that was ever written may have stood in a log that is gone.
        check_mark(path, 0, mark)?;
    }
    migrate(&conn)?;
    let commits = start(path, &conn, mark)?;
    Ok((conn, commits))
}

/// Opens one more connection, which can only read.
pub(crate) fn reader(path: &Path) -> Result<crate::db::Connection, StoreError> {
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    conn.pragma_update(None, "query_only", true).doing("set up a reader")?;
    Ok(conn.into())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Refuses what is not SQLite's before SQLite sees it, and what is empty but should not be.
fn look(path: &Path, exists: bool, mark: &Mark) -> Result<(), StoreError> {
    if !exists {
        return check_alone(path, mark);
    }
    let file = home::open_checked(path, OFlags::RDONLY)?.ok_or_else(|| damaged(path, "it went away"))?;
    let length = file.metadata().map_err(|e| StoreError::io("look at", path, e))?.len();
    if length == 0 {
        return check_alone(path, mark);
    }
    let mut header = [0; 100];
    let read = file.read_at(&mut header, 0).map_err(|e| StoreError::io("read", path, e))?;
    if read < header.len() || &header[..16] != HEADER {
        return Err(StoreError::Foreign { path: path.to_owned(), why: "it does not begin like one" });
    }
    let page = match u64::from(u16::from_be_bytes([header[16], header[17]])) {
        1 => 65536,
        page => page,
    };
    if !page.is_power_of_two() || page < 512 || !length.is_multiple_of(page) {
        return Err(damaged(path, "its length does not fit its page size"));
    }
    Ok(())
}

/// A missing or empty database with companions that say otherwise was lost, not never made.
fn check_alone(path: &Path, mark: &Mark) -> Result<(), StoreError> {
    let log = beside(path, "-wal");
    let logged = std::fs::symlink_metadata(&log).is_ok_and(|m| m.len() > 0);
    if mark.read() > 0 || logged {
        return Err(damaged(path, "it is missing or empty, but the files beside it belong to one that was in use"));
    }
    Ok(())
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW | OpenFlags::SQLITE_OPEN_EXRESCODE;
    // SQLite's own check would refuse a link anywhere in the path; the file itself was checked to be none.
    let real = path.canonicalize().map_err(|e| StoreError::io("open", path, e))?;
    let conn = Connection::open_with_flags(real, flags).doing("open the database")?;
    conn.busy_timeout(BUSY_WAIT).doing("set up a connection")?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).doing("set up a connection")?;
    // A database that is refused must stay as it was found; the writer moves the log itself when it closes.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).doing("set up a connection")?;
    for (pragma, value) in [("trusted_schema", 0), ("cell_size_check", 1), ("foreign_keys", 1)] {
        conn.pragma_update(None, pragma, value).doing("set up a connection")?;
    }
    Ok(conn)
}

/// Settings that only the writer needs. They change nothing in a database that is refused later.
fn prepare_writer(conn: &Connection) -> Result<(), StoreError> {
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |r| r.get(0)).doing("switch on the write-ahead log")?;
    if mode != "wal" {
        return Err(StoreError::Sqlite { action: "switch on the write-ahead log", text: format!("the mode is {mode}"), grave: true });
    }
    // FULL flushes at every commit: nothing that was accepted may be lost when the power fails.
    let set = |name, value: &dyn rusqlite::ToSql| conn.pragma_update(None, name, value).doing("set up the writer");
    set("synchronous", &"FULL")?;
    set("secure_delete", &"FAST")?;
    set("journal_size_limit", &LOG_KEPT_BYTES)
}

fn version(conn: &Connection) -> Result<u32, StoreError> {
    conn.pragma_query_value(None, "user_version", |r| r.get(0)).doing("read the version of the schema")
}

/// Refuses other programs' databases and later versions of ours, before anything is written.
fn check_identity(path: &Path, conn: &Connection) -> Result<(), StoreError> {
    let read = |error: rusqlite::Error| match StoreError::sqlite("read the header", &error.into()) {
        StoreError::Sqlite { text, grave: true, .. } => damaged(path, text),
        other => other,
    };
    let id: u32 = conn.pragma_query_value(None, "application_id", |r| r.get(0)).map_err(read)?;
    let tables: u32 = conn.query_row("SELECT count(*) FROM sqlite_master", [], |r| r.get(0)).map_err(read)?;
    if id != APPLICATION_ID && !(id == 0 && tables == 0) {
        return Err(StoreError::Foreign { path: path.to_owned(), why: "another program made it" });
    }
    let found = version(conn)?;
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    Ok(())
}

/// Reads the whole database when it is small or when the last end was not in order.
fn check_whole(path: &Path, conn: &Connection) -> Result<(), StoreError> {
    let size: u64 = conn
        .query_row("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", [], |r| r.get(0))
        .doing("read the size of the database")?;
    let clean = meta(conn, "clean")?.as_deref() == Some("1");
    let same_boot = meta(conn, "boot")?.is_some_and(|b| !b.is_empty() && b == boot());
    let skip = size > CHECK_ALWAYS_BYTES && (clean || (same_boot && size > CHECK_CRASHED_BYTES));
    if skip {
        return Ok(());
    }
    let found: rusqlite::Result<String> = conn.query_row("PRAGMA quick_check(1)", [], |r| r.get(0));
    match found {
        Ok(text) if text == "ok" => Ok(()),
        Ok(text) => Err(damaged(path, text)),
        Err(error) => Err(damaged(path, error.to_string())),
    }
}

/// Brings the schema up to date in one transaction.
fn migrate(conn: &Connection) -> Result<(), StoreError> {
    let from = version(conn)? as usize;
    if from == MIGRATIONS.len() {
        return Ok(());
    }
    let all = || -> rusqlite::Result<()> {
        conn.execute_batch("BEGIN IMMEDIATE")?;
        for sql in &MIGRATIONS[from..] {
            conn.execute_batch(sql)?;
        }
        if from == 0 {
            let meta = "INSERT INTO meta (key, value) VALUES ('commits', '0'), ('clean', '1'), ('boot', '')";
            conn.execute_batch(meta)?;
        }
        conn.pragma_update(None, "application_id", APPLICATION_ID)?;
        conn.pragma_update(None, "user_version", MIGRATIONS.len())?;
        conn.execute_batch("COMMIT")
    };
    all().doing("migrate the database").inspect_err(|_| {
        // The first error is the one to report.
        let _ = conn.execute_batch("ROLLBACK");
    })
}

/// The number of the last commit that the database knows of.
fn commits(path: &Path, conn: &Connection) -> Result<u64, StoreError> {
    let bad = || damaged(path, "the number of its last commit cannot be read");
    meta(conn, "commits")?.and_then(|c| c.parse().ok()).ok_or_else(bad)
}

/// Refuses a database that is older than what its mark vouches for.
fn check_mark(path: &Path, commits: u64, mark: &Mark) -> Result<(), StoreError> {
    let lost = mark.read().saturating_sub(commits);
    if lost > 0 {
        let why = "(the file `-wal` was cut or lost, or an older copy was put in its place)";
        return Err(damaged(path, format!("its last {lost} commits are missing {why}")));
    }
    Ok(())
}

/// Notes that the database is in use. Gives the number of that commit.
fn start(path: &Path, conn: &Connection, mark: &Mark) -> Result<u64, StoreError> {
    let next = commits(path, conn)? + 1;
    let note = "UPDATE meta SET value = CASE key WHEN 'clean' THEN '0' WHEN 'commits' THEN ?1 ELSE ?2 END
                WHERE key IN ('clean', 'commits', 'boot')";
    conn.execute(note, (next.to_string(), boot())).doing("note the start")?;
    mark.write(next)?;
    Ok(next)
}

pub(crate) fn meta(conn: &Connection, key: &str) -> Result<Option<String>, StoreError> {
    conn.query_row("SELECT value FROM meta WHERE key = ?1", [key], |r| r.get(0)).optional().doing("read the notes of the store")
}

/// Which boot of the machine this is; empty where that cannot be told.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|s| s.trim().to_owned()).unwrap_or_default()
}

fn damaged(path: &Path, why: impl Into<String>) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), why: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The settings that durability and safety rest on, read back from the connections that are used.
    #[test]
    fn connections_are_set_up_as_promised() {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let dir = tempfile::Builder::new().permissions(mode).tempdir().unwrap();
        let path = dir.path().join("lazaret.db");
        let opened = Opened::new(&path).unwrap();
        let reader = reader(&path).unwrap();
        let (writer, reader) = (opened.conn.sqlite().unwrap(), reader.sqlite().unwrap());
        let number = |conn: &Connection, name: &str| conn.pragma_query_value(None, name, |r| r.get::<_, i64>(0)).unwrap();
        assert_eq!(writer.pragma_query_value(None, "journal_mode", |r| r.get::<_, String>(0)).unwrap(), "wal");
        assert_eq!(number(writer, "synchronous"), 2, "FULL");
        for conn in [writer, reader] {
            assert_eq!(number(conn, "foreign_keys"), 1);
            assert_eq!(number(conn, "trusted_schema"), 0);
            assert_eq!(number(conn, "cell_size_check"), 1);
            assert!(conn.db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE).unwrap());
            assert!(conn.db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE).unwrap());
        }
        assert!(reader.execute("DELETE FROM meta", []).is_err(), "readers only read");
        assert_eq!(version(writer).unwrap() as usize, MIGRATIONS.len());
        assert_eq!(opened.mark.read(), opened.commits);
    }
}
