//! The daemons that share a database.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{SessionId, Timestamp};
use rustix::fs::{FlockOperation, OFlags};
use serde::Serialize;

use crate::db::{Connection, OptionalExtension, Row};
use crate::error::Doing;
use crate::row::int;
use crate::turn::TurnRow;
use crate::{Store, StoreError, home};

/// How often a daemon says that it lives.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(2);
/// After how long without that its machine counts as lost, unless the configuration says otherwise.
pub const REPLICA_LOST_AFTER: Duration = Duration::from_secs(60);
/// After how long without a sign of life a daemon of the same machine is looked for.
const SILENT: Duration = Duration::from_secs(6);
/// Turns of lost machines that are given out at once.
const LOST_MAX: u64 = 500;
/// What the file in the home is called.
const FILE: &str = "replica";
/// The bytes of a name.
const NAME_BYTES: usize = 16;
/// The database's own clock, in milliseconds: the clocks of several machines never agree.
pub(crate) const CLOCK: &str = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";

/// A daemon that shares the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplicaRow {
    /// Its name, which stays with its home.
    pub id: String,
    /// The machine.
    pub host: String,
    /// The home.
    pub home: String,
    /// When it last said that it lives.
    pub heartbeat: Timestamp,
    /// When it was started.
    pub started: Timestamp,
    /// Whether its machine does not count as lost.
    pub is_alive: bool,
}

/// Who this daemon is. Holding it keeps other daemons out of the home.
pub(crate) struct Replica {
    id: String,
    home: String,
    _lock: File,
}

impl Replica {
    /// The name of a home, which it gets with its first shared database.
    pub(super) fn of(home: &Path) -> Result<Self, StoreError> {
        let path = home.join(FILE);
        let mut file = match home::open_checked(&path, OFlags::RDWR)? {
            Some(file) => file,
            None => home::create_private(&path)?,
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StoreError::InUse { path: home.to_owned() }),
            Err(error) => return Err(StoreError::io("lock", &path, error)),
        }
        let mut id = String::new();
        let io = |action| move |error| StoreError::io(action, &home.join(FILE), error);
        Read::by_ref(&mut file).take(64).read_to_string(&mut id).map_err(io("read"))?;
        if id.is_empty() {
            let mut bits = [0; NAME_BYTES];
            getrandom::fill(&mut bits).map_err(|_| StoreError::invalid("replica", "gets no name: the system gives no random numbers"))?;
            id = format!("rep_{}", bits.iter().map(|b| format!("{b:02x}")).collect::<String>());
            file.write_all(id.as_bytes()).and_then(|()| file.sync_all()).map_err(io("write"))?;
            home::sync_dir(home)?;
        }
        if id.len() != 4 + 2 * NAME_BYTES || !id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
            return Err(StoreError::Damaged { path, why: "it holds no name of a replica".to_owned() });
        }
        Ok(Self { id, home: home.to_string_lossy().replace('\0', ""), _lock: file })
    }

    /// Its name.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

/// What this machine calls itself.
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Whether a directory of this user's is the home of a replica.
fn is_home_of(home: &Path, id: &str) -> bool {
    let is_safe = home.is_absolute() && home::check_home(home).is_ok();
    let is_safe = is_safe && matches!(home::check_path(&home.join(FILE)), Ok(Some(_)));
    is_safe && std::fs::read_to_string(home.join(FILE)).is_ok_and(|text| text == id)
}

/// Puts a daemon among those that share the database.
pub(super) fn register(conn: &Connection, replica: &Replica) -> Result<(), StoreError> {
    let sql = format!(
        "INSERT INTO replicas (id, host, home, heartbeat_ms, started_ms) VALUES (?1, ?2, ?3, {CLOCK}, {CLOCK})
         ON CONFLICT (id) DO UPDATE SET host = excluded.host, home = excluded.home, heartbeat_ms = excluded.heartbeat_ms,
           started_ms = excluded.started_ms, stopped_ms = NULL"
    );
    conn.execute(&sql, (&replica.id, host(), &replica.home)).doing("join those that share the database").map(drop)
}

/// Notes that this daemon ends in order: nobody needs to take up what it left.
pub(crate) fn retire(conn: &Connection, id: &str) -> Result<(), StoreError> {
    let sql = format!("UPDATE replicas SET stopped_ms = {CLOCK} WHERE id = ?1");
    conn.execute(&sql, [id]).doing("leave those that share the database").map(drop)
}

impl Store {
    /// Homes of this machine whose daemons were killed: they say nothing any more, and did not end in order. None where this
    /// daemon is the only one.
    ///
    /// # Errors
    /// What the database said.
    pub async fn killed_neighbours(&self) -> Result<Vec<PathBuf>, StoreError> {
        let Some(shared) = self.shared() else { return Ok(Vec::new()) };
        let (silent, own) = (millis(SILENT)?, shared.replica.clone());
        let rows: Vec<(String, String)> = self
            .read(move |conn| {
                let doing = "look for neighbours";
                let sql = format!(
                    "SELECT id, home FROM replicas WHERE host = ?1 AND id <> ?2 AND stopped_ms IS NULL AND heartbeat_ms < {CLOCK} - ?3"
                );
                let mut statement = conn.prepare_cached(&sql).doing(doing)?;
                let rows = statement.query_map((host(), own, silent), |r| Ok((r.get(0)?, r.get(1)?))).doing(doing)?;
                rows.collect::<crate::db::Result<_>>().doing(doing)
            })
            .await?;
        // Machines may have the same name, and a row is no proof: the home itself must say that it is this replica's.
        Ok(rows
            .into_iter()
            .map(|(id, home)| (id, PathBuf::from(home)))
            .filter(|(id, home)| is_home_of(home, id))
            .map(|(_, home)| home)
            .collect())
    }

    /// The name of this daemon among those that share the database; `None` where it is the only one.
    #[must_use]
    pub fn replica(&self) -> Option<&str> {
        self.shared().map(|shared| shared.replica.as_str())
    }

    /// Every daemon that ever shared the database; none where this is the only one.
    ///
    /// # Errors
    /// What the database said.
    pub async fn replicas(&self) -> Result<Vec<ReplicaRow>, StoreError> {
        let Some(shared) = self.shared() else { return Ok(Vec::new()) };
        let after = millis(shared.lost_after)?;
        self.read(move |conn| {
            let doing = "list replicas";
            let sql = format!("SELECT *, CASE WHEN heartbeat_ms > {CLOCK} - ?1 THEN 1 ELSE 0 END AS alive FROM replicas ORDER BY id");
            let mut statement = conn.prepare_cached(&sql).doing(doing)?;
            let rows = statement.query_map([after], from_row).doing(doing)?;
            rows.collect::<crate::db::Result<_>>().doing(doing)
        })
        .await
    }

    /// Turns that are not over, of sessions whose files are on a machine that counts as lost: at most 500. Nobody can go on
    /// with them, and whoever reads them ends them. None where this daemon is the only one.
    ///
    /// # Errors
    /// What the database said.
    pub async fn lost_turns(&self) -> Result<Vec<TurnRow>, StoreError> {
        let Some(shared) = self.shared() else { return Ok(Vec::new()) };
        let (after, own) = (millis(shared.lost_after)?, shared.replica.clone());
        self.read(move |conn| {
            let sql = format!(
                "SELECT t.* FROM turns t JOIN sessions s ON s.id = t.session JOIN replicas r ON r.id = s.host
                 WHERE t.state IN ('queued', 'leased', 'running', 'waiting') AND r.id <> ?1 AND r.heartbeat_ms <= {CLOCK} - ?2
                 ORDER BY t.accepted_ms, t.n, t.id LIMIT ?3"
            );
            crate::turn::collect(conn, &sql, (own, after, int("limit", LOST_MAX)?))
        })
        .await
    }

    /// The replica that has the files of a session, where that is another one than this.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn session_elsewhere(&self, session: &SessionId) -> Result<Option<String>, StoreError> {
        let Some(shared) = self.shared() else { return Ok(None) };
        let (session, own) = (session.clone(), shared.replica.clone());
        let found = self.read(move |conn| {
            let doing = "look where a session is";
            let mut statement = conn.prepare_cached("SELECT host FROM sessions WHERE id = ?1").doing(doing)?;
            let host: Option<Option<String>> = statement.query_row([session.as_str()], |r| r.get(0)).optional().doing(doing)?;
            host.ok_or_else(|| crate::session::missing(&session))
        });
        Ok(found.await?.filter(|host| *host != own))
    }
}

fn millis(duration: Duration) -> Result<i64, StoreError> {
    int("limit", u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn from_row(row: &Row<'_>) -> crate::db::Result<ReplicaRow> {
    Ok(ReplicaRow {
        id: row.get("id")?,
        host: row.get("host")?,
        home: row.get("home")?,
        heartbeat: Timestamp(row.get("heartbeat_ms")?),
        started: Timestamp(row.get("started_ms")?),
        is_alive: row.get("alive")?,
    })
}
