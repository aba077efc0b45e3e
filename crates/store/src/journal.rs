//! How a batch of writes begins and ends, which is where the two databases differ.

use std::time::{Duration, Instant};

use crate::StoreError;
use crate::db::{Connection, Postgres};
use crate::error::Doing;
use crate::mark::Mark;
use crate::shared::Replica;
use crate::writer::Kind;

/// How long the writer waits for a server that was lost, before the writes at hand fail.
const SERVER_WAIT: Duration = Duration::from_secs(20);
/// The first pause between two tries to reach it; each is twice the one before.
const SERVER_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between two tries.
const SERVER_PAUSE_MAX: Duration = Duration::from_secs(2);
/// The lock that makes one writer of all replicas. PostgreSQL keeps it for each database apart.
const WRITER_LOCK: i64 = 0x4c5a_5254_0001;

/// What vouches for commits.
pub(crate) enum Journal {
    /// A mark beside the database of SQLite.
    Mark {
        /// The file, which also keeps other processes out.
        mark: Mark,
        /// The number of the last commit.
        commits: u64,
    },
    /// The server of PostgreSQL itself.
    Server {
        /// The transaction that is open, by which its end can be asked for later.
        transaction: String,
        /// Whether its savepoint is set.
        is_saved: bool,
        /// Keeps other daemons out of the home.
        _home: Replica,
    },
}

impl Journal {
    /// What stands for a server.
    pub(crate) fn server(home: Replica) -> Self {
        Self::Server { transaction: String::new(), is_saved: false, _home: home }
    }

    /// Begins a batch: from here on nobody else writes.
    pub(crate) fn begin(&mut self, conn: &Connection) -> Result<(), StoreError> {
        let doing = "begin a transaction";
        let (Self::Server { transaction, is_saved, .. }, Some(server)) = (self, conn.postgres()) else {
            return conn.execute_batch("BEGIN IMMEDIATE").doing(doing);
        };
        reach(server)?;
        *is_saved = false;
        let sql = format!("BEGIN; SELECT pg_advisory_xact_lock({WRITER_LOCK}); SELECT pg_current_xact_id()::TEXT");
        server.set_in_transaction(true);
        *transaction = server.ask(&sql).doing(doing)?.unwrap_or_default();
        Ok(())
    }

    /// Begins one write of the batch.
    pub(crate) fn save(&mut self, conn: &Connection) -> Result<(), StoreError> {
        let doing = "begin a write";
        match self {
            Self::Mark { .. } => step(conn, "SAVEPOINT job").doing(doing),
            // The one before ends here, which spares a way to the server and back.
            Self::Server { is_saved: true, .. } => conn.execute_batch("RELEASE job; SAVEPOINT job").doing(doing),
            Self::Server { is_saved, .. } => {
                conn.execute_batch("SAVEPOINT job").doing(doing)?;
                *is_saved = true;
                Ok(())
            }
        }
    }

    /// Undoes one write of the batch.
    pub(crate) fn undo(&self, conn: &Connection) -> Result<(), StoreError> {
        match self {
            Self::Mark { .. } => step(conn, "ROLLBACK TO job").doing("undo a write"),
            Self::Server { .. } => conn.execute_batch("ROLLBACK TO job").doing("undo a write"),
        }
    }

    /// Ends one write of the batch.
    pub(crate) fn keep(&self, conn: &Connection) -> Result<(), StoreError> {
        match self {
            Self::Mark { .. } => step(conn, "RELEASE job").doing("end a write"),
            Self::Server { .. } => Ok(()),
        }
    }

    /// Ends the batch: when this returns, it is on the disk. An error that comes with `true` is one after the commit.
    pub(crate) fn commit(&mut self, conn: &Connection, kinds: &[Kind]) -> Result<(), (StoreError, bool)> {
        let before = |error| (error, false);
        match self {
            Self::Mark { mark, commits } => {
                let next = *commits + 1;
                let count = conn.prepare_cached("UPDATE meta SET value = ?1 WHERE key = 'commits'");
                count.and_then(|mut s| s.execute([next.to_string()])).doing("count the commit").map_err(before)?;
                kinds.iter().for_each(|k| model::crash::point(k.before()));
                conn.execute_batch("COMMIT").doing("commit").map_err(before)?;
                *commits = next;
                kinds.iter().for_each(|k| model::crash::point(k.after()));
                mark.write(next).map_err(|error| (error, true))
            }
            Self::Server { transaction, .. } => {
                let Some(server) = conn.postgres() else { return Ok(()) };
                kinds.iter().for_each(|k| model::crash::point(k.before()));
                let told = server.notices(kinds.iter().filter_map(|k| k.topic()));
                let sql = format!("UPDATE meta SET value = CAST(CAST(value AS BIGINT) + 1 AS TEXT) WHERE key = 'commits'; {told}COMMIT");
                let outcome = conn.execute_batch(&sql).doing("commit");
                server.set_in_transaction(outcome.is_err());
                if outcome.is_err() && server.is_lost() {
                    resolve(server, transaction).map_err(before)?;
                } else {
                    outcome.map_err(before)?;
                }
                kinds.iter().for_each(|k| model::crash::point(k.after()));
                Ok(())
            }
        }
    }

    /// Leaves the database as one file, where it is one.
    pub(crate) fn settle(&self, conn: &Connection) {
        if matches!(self, Self::Mark { .. }) {
            // Moves the log into the database, so that the one file is all there is. The next start would do it too.
            let _ = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
    }
}

fn step(conn: &Connection, sql: &str) -> crate::db::Result<()> {
    conn.prepare_cached(sql).and_then(|mut s| s.execute([])).map(drop)
}

/// Connects again where the connection was lost, and waits for a server that is being started again.
fn reach(server: &Postgres) -> Result<(), StoreError> {
    let end = Instant::now() + SERVER_WAIT;
    let mut pause = SERVER_PAUSE;
    loop {
        match server.revive().doing("reach the database again") {
            Err(error) if Instant::now() + pause < end => {
                tracing::warn!(error = model::chain(&error), "the database cannot be reached");
                std::thread::sleep(pause);
                pause = (pause * 2).min(SERVER_PAUSE_MAX);
            }
            reached => return reached,
        }
    }
}

/// Finds out what became of a commit whose answer was lost with the connection.
fn resolve(server: &Postgres, transaction: &str) -> Result<(), StoreError> {
    let doubt = |why: String| StoreError::Sqlite { action: "commit", text: why, grave: false };
    let unknown = |error| doubt(format!("the connection was lost, and whether the writes stand is not known: {error}"));
    reach(server).map_err(unknown)?;
    // Whoever held the lock has ended when it is given: the transaction is over then, one way or the other.
    let number: u64 = transaction.parse().map_err(|_| doubt("the connection was lost before the transaction had a name".to_owned()))?;
    let sql =
        format!("SELECT pg_advisory_lock({WRITER_LOCK}); SELECT pg_advisory_unlock({WRITER_LOCK}); SELECT pg_xact_status('{number}')");
    match server.ask(&sql).doing("ask what became of a transaction").map_err(unknown)?.as_deref() {
        Some("committed") => Ok(()),
        Some("aborted") => Err(doubt("the connection was lost, and nothing was written".to_owned())),
        other => {
            Err(doubt(format!("the connection was lost, and whether the writes stand is not known ({})", other.unwrap_or("forgotten"))))
        }
    }
}
