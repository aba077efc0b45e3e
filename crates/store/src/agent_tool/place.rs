//! Tasks that were made in a chat: where, for whom, and by which call.

use model::{TaskId, Timestamp, UserId};
use serde_json::Value;

use super::about::Origin;
use crate::db::{Connection, OptionalExtension, Row, params};
use crate::error::Doing;
use crate::outbox::{NewOut, owe};
use crate::row::{int, maybe_parsed, parsed, to_json};
use crate::session::LIST_MAX;
use crate::task::{TASK_ACTION_BYTES_MAX, TaskRow, task_row};
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Tasks that one agent may have made.
const AGENT_TASKS_MAX: u64 = 200;

/// Where a task is made, and by which call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTaskPlace {
    /// The agent that does it.
    pub agent: String,
    /// For whom, and where.
    pub origin: Origin,
    /// The call: the same call makes one.
    pub cause: String,
}

/// A task and where it was made.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskPlaceRow {
    /// The task.
    pub task: TaskId,
    /// Whose it is.
    pub tenant: String,
    /// The agent that does it.
    pub agent: String,
    /// For whom, and where.
    pub origin: Origin,
}

/// What changes in a task; what is left out stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskPatch {
    /// When it is due: the expression, the zone, and the next time.
    pub when: Option<(String, String, Option<Timestamp>)>,
    /// What is done.
    pub action: Option<Value>,
}

impl Store {
    /// Where a task was made; `None` for one that no chat made.
    ///
    /// # Errors
    /// What the database said.
    pub async fn task_place(&self, task: &TaskId) -> Result<Option<TaskPlaceRow>, StoreError> {
        let task = task.clone();
        self.read(move |conn| {
            let mut statement = conn.prepare_cached("SELECT * FROM task_places WHERE task = ?1").doing("read a task")?;
            statement.query_row([task.as_str()], place_row).optional().doing("read a task")
        })
        .await
    }

    /// The tasks of an agent that were made in chats, the oldest first.
    ///
    /// # Errors
    /// What the database said.
    pub async fn tasks_of_agent(&self, tenant: &str, agent: &str) -> Result<Vec<(TaskRow, TaskPlaceRow)>, StoreError> {
        let (tenant, agent) = (tenant.to_owned(), agent.to_owned());
        self.read(move |conn| {
            let doing = "list tasks";
            let sql = "SELECT t.*, p.task AS task, p.agent AS agent, p.member AS member, p.channel AS channel, p.chat AS chat,
                         p.thread AS thread, p.handle AS handle, p.via AS via
                       FROM task_places p JOIN tasks t ON t.id = p.task WHERE p.tenant = ?1 AND p.agent = ?2 ORDER BY t.id LIMIT ?3";
            let mut statement = conn.prepare_cached(sql).doing(doing)?;
            let with = params![tenant, agent, int("limit", LIST_MAX as u64)?];
            let rows = statement.query_map(with, |r| Ok((task_row(r)?, place_row(r)?))).doing(doing)?;
            rows.collect::<crate::db::Result<_>>().doing(doing)
        })
        .await
    }

    /// Changes when a task is due or what it does. A task whose time changed is due again.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Invalid`].
    pub async fn patch_task(&self, id: &TaskId, patch: TaskPatch, now: Timestamp) -> Result<TaskRow, StoreError> {
        let action = patch.action.as_ref().map(|action| to_json("action", action)).transpose()?;
        if action.as_ref().is_some_and(|action| action.len() > TASK_ACTION_BYTES_MAX) {
            return Err(StoreError::invalid("action", format!("has more than {TASK_ACTION_BYTES_MAX} bytes")));
        }
        let id = id.clone();
        self.write(Kind::TaskChange, 0, move |conn| {
            let doing = "change a task";
            let at = int("now", now.0)?;
            if let Some((cron, zone, due)) = &patch.when {
                let sql = "UPDATE tasks SET cron = ?2, zone = ?3, due_ms = ?4, changed_ms = ?5,
                             state = CASE WHEN state = 'paused' THEN state WHEN ?4 IS NULL THEN 'over' ELSE 'active' END WHERE id = ?1";
                let due = due.map(|t| int("due", t.0)).transpose()?;
                conn.execute(sql, params![id.as_str(), cron, zone, due, at]).doing(doing)?;
            }
            if let Some(action) = &action {
                let sql = "UPDATE tasks SET action = ?2, changed_ms = ?3 WHERE id = ?1";
                conn.execute(sql, params![id.as_str(), action, at]).doing(doing)?;
            }
            crate::task::read_task(conn, &id)
        })
        .await
    }
}

/// The task that a call made before.
pub(crate) fn claim(conn: &Connection, tenant: &str, place: &NewTaskPlace) -> Result<Option<TaskRow>, StoreError> {
    let doing = "look for a task";
    let sql = "SELECT t.* FROM task_places p JOIN tasks t ON t.id = p.task WHERE p.cause = ?1";
    if let Some(row) = conn.query_row(sql, [&place.cause], task_row).optional().doing(doing)? {
        return Ok(Some(row));
    }
    let sql = "SELECT count(*) FROM task_places p JOIN tasks t ON t.id = p.task
               WHERE p.tenant = ?1 AND p.agent = ?2 AND t.state <> 'over'";
    let count: u64 = conn.query_row(sql, params![tenant, place.agent], |r| r.get(0)).doing(doing)?;
    if count >= AGENT_TASKS_MAX {
        return Err(StoreError::Limit { what: "tasks of one agent", max: AGENT_TASKS_MAX });
    }
    Ok(None)
}

/// Notes where a task was made that was just kept.
pub(crate) fn put(conn: &Connection, task: &TaskRow, place: &NewTaskPlace) -> Result<(), StoreError> {
    let sql = "INSERT INTO task_places (task, tenant, agent, member, channel, chat, thread, handle, via, cause)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let Origin { user, channel, chat, thread, handle, via } = &place.origin;
    let via = (!via.is_empty()).then(|| via.join(" "));
    let user = user.as_ref().map(UserId::as_str);
    let with = params![task.id.as_str(), task.tenant, place.agent, user, channel, chat, thread, handle, via, place.cause];
    conn.execute(sql, with).doing("keep a task").map(drop)
}

/// A task was stopped because it failed too often: whoever made it in a chat is told there.
pub(crate) fn broke(conn: &Connection, task: &TaskRow, note: &str, now: Timestamp) -> Result<(), StoreError> {
    tell(conn, task, &format!("The task \u{201c}{}\u{201d} is stopped: {note}. /tasks resume {} lets it go on.", task.name, task.name), now)
}

/// Tells whoever made a task in a chat something about it, there.
fn tell(conn: &Connection, task: &TaskRow, text: &str, now: Timestamp) -> Result<(), StoreError> {
    let doing = "tell of a task";
    let mut statement = conn.prepare_cached("SELECT * FROM task_places WHERE task = ?1").doing(doing)?;
    let place = statement.query_row([task.id.as_str()], place_row).optional().doing(doing)?;
    let Some(place) = place.filter(|place| !place.origin.channel.is_empty()) else { return Ok(()) };
    let is_there = crate::channel::read(conn, &place.origin.channel)?.is_some();
    if !is_there {
        return Ok(());
    }
    let out = NewOut {
        channel: place.origin.channel,
        chat: place.origin.chat,
        thread: place.origin.thread,
        act: serde_json::json!({ "do": "send", "text": text }),
        cause: format!("task:{}:{}", task.id, now.0),
        agent: Some(place.agent),
        session: None,
        turn: None,
    };
    owe(conn, &out, now).map(drop)
}

fn place_row(row: &Row<'_>) -> crate::db::Result<TaskPlaceRow> {
    Ok(TaskPlaceRow {
        task: parsed(row, "task")?,
        tenant: row.get("tenant")?,
        agent: row.get("agent")?,
        origin: Origin {
            user: maybe_parsed(row, "member")?,
            channel: row.get("channel")?,
            chat: row.get("chat")?,
            thread: row.get("thread")?,
            handle: row.get("handle")?,
            via: row.get::<_, Option<String>>("via")?.unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
        },
    })
}

impl Store {
    /// Removes tasks of chats that have been over since before then.
    ///
    /// # Errors
    /// What the database said.
    pub async fn forget_over_tasks(&self, before: Timestamp) -> Result<usize, StoreError> {
        self.write(Kind::TaskForget, 0, move |conn| {
            let sql = "DELETE FROM tasks WHERE state = 'over' AND changed_ms < ?1 AND id IN (SELECT task FROM task_places)
                       AND NOT EXISTS (SELECT 1 FROM task_runs r WHERE r.task = tasks.id AND (r.ended_ms IS NULL OR r.ended_ms >= ?1))";
            conn.execute(sql, params![int("before", before.0)?]).doing("forget tasks that are over")
        })
        .await
    }

    /// Stops a task for now for a reason that whoever made it in a chat is told.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn stop_task(&self, id: &TaskId, note: String, now: Timestamp) -> Result<TaskRow, StoreError> {
        let id = id.clone();
        self.write(Kind::TaskChange, 0, move |conn| {
            let sql = "UPDATE tasks SET state = 'paused', note = ?2, changed_ms = ?3 WHERE id = ?1 AND state = 'active' RETURNING *";
            let stopped = conn.query_row(sql, params![id.as_str(), note, int("now", now.0)?], task_row).optional().doing("stop a task")?;
            match stopped {
                Some(row) => {
                    tell(conn, &row, &format!("The task \u{201c}{}\u{201d} is stopped: {note}.", row.name), now)?;
                    Ok(row)
                }
                None => crate::task::read_task(conn, &id),
            }
        })
        .await
    }
}
