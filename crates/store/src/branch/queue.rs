//! Queues of branches that are merged one after the other.

use model::{MergeQueueId, QueueEvent, QueueState, Timestamp};
use serde_json::Value;

use crate::db::{Connection, OptionalExtension, Row, ToSql, params};
use crate::error::Doing;
use crate::row::{int, json, parsed, to_json, unreadable};
use crate::session::{LIST_MAX, bounded, check_limit};
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Queues of one tenant that are not done.
pub const MERGE_QUEUES_OPEN_MAX: u64 = 100;
/// Queues of one tenant that are kept; the oldest that is done goes for a new one.
pub const MERGE_QUEUES_KEPT_MAX: u64 = 500;
/// The longest key of a request, in bytes.
const KEY_BYTES_MAX: usize = 128;

/// A merge queue to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewMergeQueue {
    /// Its identity.
    pub id: MergeQueueId,
    /// Whose it is.
    pub tenant: String,
    /// The absolute path of the repository.
    pub repo: String,
    /// The branch that is merged into.
    pub target: String,
    /// The request that makes it: the same one makes it once.
    pub key: String,
    /// What was asked. Not looked at here.
    pub options: Value,
    /// Where each branch stands. Not looked at here.
    pub places: Value,
    /// Now.
    pub now: Timestamp,
}

/// A merge queue.
#[derive(Debug, Clone, PartialEq)]
pub struct MergeQueueRow {
    /// Its identity.
    pub id: MergeQueueId,
    /// Whose it is.
    pub tenant: String,
    /// The absolute path of the repository.
    pub repo: String,
    /// The branch that is merged into.
    pub target: String,
    /// Where it stands.
    pub state: QueueState,
    /// What was asked. Not looked at here.
    pub options: Value,
    /// Where each branch stands. Not looked at here.
    pub places: Value,
    /// When it was made.
    pub created: Timestamp,
    /// When it last changed.
    pub changed: Timestamp,
}

impl Store {
    /// Makes a merge queue. The same tenant's with the same key is given back as it is.
    ///
    /// # Errors
    /// [`StoreError::Limit`] at [`MERGE_QUEUES_OPEN_MAX`], [`StoreError::Invalid`] when a field is out of bounds.
    pub async fn create_merge_queue(&self, new: NewMergeQueue) -> Result<MergeQueueRow, StoreError> {
        if new.key.is_empty() || new.key.len() > KEY_BYTES_MAX {
            return Err(StoreError::invalid("key", format!("has not 1 to {KEY_BYTES_MAX} bytes")));
        }
        let options = bounded("options", to_json("options", &new.options)?)?;
        let places = bounded("places", to_json("places", &new.places)?)?;
        self.write(Kind::MergeQueue, options.len() + places.len(), move |conn| {
            if let Some(known) = by_key(conn, &new.tenant, &new.key)? {
                return Ok(known);
            }
            make_room(conn, &new.tenant)?;
            let sql = "INSERT INTO merge_queues (id, tenant, repo, target, state, key, options, places, created_ms, changed_ms)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)";
            let state = QueueState::Working.as_str();
            let now = int("now", new.now.0)?;
            let with = params![new.id.as_str(), new.tenant, new.repo, new.target, state, new.key, options, places, now];
            conn.prepare_cached(sql).and_then(|mut s| s.execute(with)).doing("make a merge queue")?;
            read(conn, &new.id)
        })
        .await
    }

    /// Notes where the branches of a merge queue stand, and what happened to it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] when the event does not belong to its state, [`StoreError::Invalid`] when there
    /// is too much to keep.
    pub async fn note_merge_queue(
        &self,
        id: &MergeQueueId,
        places: Option<Value>,
        event: Option<QueueEvent>,
        now: Timestamp,
    ) -> Result<MergeQueueRow, StoreError> {
        let id = id.clone();
        let places = places.map(|places| bounded("places", to_json("places", &places)?)).transpose()?;
        self.write(Kind::MergeQueue, places.as_ref().map_or(0, String::len), move |conn| {
            let row = read(conn, &id)?;
            let state = match event {
                Some(event) => row.state.on(event).map_err(|refused| StoreError::Conflict(refused.to_string()))?,
                None => row.state,
            };
            let sql = "UPDATE merge_queues SET state = ?2, places = coalesce(?3, places), changed_ms = ?4 WHERE id = ?1";
            let with = params![id.as_str(), state.as_str(), places, int("now", now.0)?];
            conn.prepare_cached(sql).and_then(|mut s| s.execute(with)).doing("note where a merge queue stands")?;
            read(conn, &id)
        })
        .await
    }

    /// Reads a merge queue.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn merge_queue(&self, id: &MergeQueueId) -> Result<MergeQueueRow, StoreError> {
        let id = id.clone();
        self.read(move |conn| read(conn, &id)).await
    }

    /// The merge queues of a tenant, or of all; of a repository, or of all; in a state, or in any: at most `limit`, the youngest first.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when `limit` is 0 or above [`LIST_MAX`].
    pub async fn merge_queues(
        &self,
        tenant: Option<String>,
        repo: Option<String>,
        state: Option<QueueState>,
        limit: usize,
    ) -> Result<Vec<MergeQueueRow>, StoreError> {
        check_limit(limit, LIST_MAX)?;
        self.read(move |conn| {
            let doing = "list merge queues";
            let state = state.map(QueueState::as_str);
            let mut sql = String::from("SELECT * FROM merge_queues WHERE true");
            let mut with: Vec<&dyn ToSql> = Vec::new();
            let conditions: [(&str, Option<&dyn ToSql>); 3] = [
                (" AND tenant = ?", tenant.as_ref().map(|t| t as &dyn ToSql)),
                (" AND repo = ?", repo.as_ref().map(|r| r as &dyn ToSql)),
                (" AND state = ?", state.as_ref().map(|s| s as &dyn ToSql)),
            ];
            for (condition, value) in conditions {
                if let Some(value) = value {
                    sql.push_str(condition);
                    with.push(value);
                }
            }
            sql.push_str(" ORDER BY id DESC LIMIT ?");
            with.push(&limit);
            let mut statement = conn.prepare_cached(&sql).doing(doing)?;
            let rows = statement.query_map(with.as_slice(), from_row).doing(doing)?;
            rows.collect::<crate::db::Result<_>>().doing(doing)
        })
        .await
    }
}

/// Refuses one too many that is open, and takes out the oldest of those that are done.
fn make_room(conn: &Connection, tenant: &str) -> Result<(), StoreError> {
    let doing = "count merge queues";
    let done = QueueState::Done.as_str();
    let count = |sql: &str| conn.query_row(sql, (tenant, done), |r| r.get::<_, u64>(0)).doing(doing);
    if count("SELECT count(*) FROM merge_queues WHERE tenant = ?1 AND state <> ?2")? >= MERGE_QUEUES_OPEN_MAX {
        return Err(StoreError::Limit { what: "merge queues that are not done", max: MERGE_QUEUES_OPEN_MAX });
    }
    if count("SELECT count(*) FROM merge_queues WHERE tenant = ?1 AND state = ?2")? >= MERGE_QUEUES_KEPT_MAX {
        let sql = "DELETE FROM merge_queues WHERE id = (SELECT min(id) FROM merge_queues WHERE tenant = ?1 AND state = ?2)";
        conn.execute(sql, (tenant, done)).doing("take out an old merge queue")?;
    }
    Ok(())
}

fn by_key(conn: &Connection, tenant: &str, key: &str) -> Result<Option<MergeQueueRow>, StoreError> {
    let doing = "look for a merge queue";
    let mut statement = conn.prepare_cached("SELECT * FROM merge_queues WHERE tenant = ?1 AND key = ?2").doing(doing)?;
    statement.query_row((tenant, key), from_row).optional().doing(doing)
}

fn read(conn: &Connection, id: &MergeQueueId) -> Result<MergeQueueRow, StoreError> {
    let doing = "read a merge queue";
    let mut statement = conn.prepare_cached("SELECT * FROM merge_queues WHERE id = ?1").doing(doing)?;
    let found = statement.query_row([id.as_str()], from_row).optional().doing(doing)?;
    found.ok_or_else(|| StoreError::NotFound { what: "merge queue", id: id.to_string() })
}

fn from_row(row: &Row<'_>) -> crate::db::Result<MergeQueueRow> {
    let word: String = row.get("state")?;
    let state = QueueState::ALL.into_iter().find(|state| state.as_str() == word);
    Ok(MergeQueueRow {
        id: parsed(row, "id")?,
        tenant: row.get("tenant")?,
        repo: row.get("repo")?,
        target: row.get("target")?,
        state: state.ok_or_else(|| unreadable("no state has this name".into()))?,
        options: json(row, "options")?,
        places: json(row, "places")?,
        created: Timestamp(row.get("created_ms")?),
        changed: Timestamp(row.get("changed_ms")?),
    })
}
