//! The tasks themselves.

use model::{TaskId, Timestamp};
use serde::Serialize;
use serde_json::Value;

use crate::agent_tool::NewTaskPlace;
use crate::db::{Connection, OptionalExtension, Row, params};
use crate::error::Doing;
use crate::row::{int, json, parsed, to_json, unreadable};
use crate::session::{LIST_MAX, Page, check_name};
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Tasks that a store may hold.
pub const TASKS_MAX: u64 = 10_000;
/// Bytes of what a task does, as JSON.
pub const TASK_ACTION_BYTES_MAX: usize = 1 << 20;
/// Tasks that are looked at together.
pub const TASKS_AT_ONCE: usize = 500;
/// Bytes of a cron expression or the name of a zone.
const EXPRESSION_BYTES_MAX: usize = 200;

/// Whether a task is due some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// It is.
    Active,
    /// A person stopped it for now.
    Paused,
    /// It failed too often and waits for a person.
    Broken,
    /// There is no further time.
    Over,
}

impl TaskState {
    /// The stored form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Broken => "broken",
            Self::Over => "over",
        }
    }

    fn read(row: &Row<'_>) -> crate::db::Result<Self> {
        let text: String = row.get("state")?;
        let all = [Self::Active, Self::Paused, Self::Broken, Self::Over];
        all.into_iter().find(|state| state.as_str() == text).ok_or_else(|| unreadable(format!("`{text}` is no state of a task").into()))
    }
}

/// A task to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTask {
    /// Its identity.
    pub id: TaskId,
    /// Whose it is.
    pub tenant: String,
    /// What people call it; no two of a tenant are called the same.
    pub name: String,
    /// When it is due.
    pub cron: String,
    /// The zone that `cron` is read in.
    pub zone: String,
    /// What is done about missed times. Not looked at here.
    pub misfire: String,
    /// `skip`, `queue` or `parallel`.
    pub overlap: String,
    /// What is done. Not looked at here.
    pub action: Value,
    /// How many failures one after the other stop it.
    pub failures_max: u32,
    /// Whether the owner made it.
    pub is_owners: bool,
    /// When it is first due.
    pub due: Option<Timestamp>,
    /// Now.
    pub now: Timestamp,
}

/// A stored task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskRow {
    /// Its identity.
    pub id: TaskId,
    /// Whose it is.
    pub tenant: String,
    /// What people call it.
    pub name: String,
    /// When it is due.
    pub cron: String,
    /// The zone that `cron` is read in.
    pub zone: String,
    /// What is done about missed times.
    pub misfire: String,
    /// What is done while an earlier time is still worked on.
    pub overlap: String,
    /// What is done.
    pub action: Value,
    /// Whether it is due some time.
    pub state: TaskState,
    /// Why it stands so.
    pub note: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed by a person.
    pub changed: Timestamp,
    /// The next time that has no row yet.
    pub due: Option<Timestamp>,
    /// Failures one after the other.
    pub failures: u32,
    /// How many of them stop it.
    pub failures_max: u32,
    /// Not begun before this time.
    pub hold: Timestamp,
    /// Whether the owner made it.
    pub is_owners: bool,
}

/// What a person changes in a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskChange {
    /// It is not due until it goes on.
    Pause,
    /// It goes on, and is next due then.
    Resume(Option<Timestamp>),
}

impl Store {
    /// Keeps a task.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the name is taken, [`StoreError::Limit`] at [`TASKS_MAX`], [`StoreError::Invalid`] when a
    /// field is out of bounds.
    pub async fn create_task(&self, new: NewTask) -> Result<TaskRow, StoreError> {
        let action = check_task(&new)?;
        self.write(Kind::TaskCreate, action.len(), move |conn| create(conn, &new, &action)).await
    }

    /// The same for one that is made in a chat, by a call: the same call makes one.
    ///
    /// # Errors
    /// Those of [`Store::create_task`], and [`StoreError::Limit`] when the agent has made too many.
    pub async fn create_task_at(&self, new: NewTask, place: NewTaskPlace) -> Result<TaskRow, StoreError> {
        let action = check_task(&new)?;
        self.write(Kind::TaskCreate, action.len(), move |conn| {
            if let Some(row) = crate::agent_tool::claim(conn, &new.tenant, &place)? {
                return Ok(row);
            }
            let row = create(conn, &new, &action)?;
            crate::agent_tool::put_place(conn, &row, &place)?;
            Ok(row)
        })
        .await
    }

    /// One task.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn task(&self, id: &TaskId) -> Result<TaskRow, StoreError> {
        let id = id.clone();
        self.read(move |conn| read(conn, &id)).await
    }

    /// The task of a tenant with this name.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn task_named(&self, tenant: &str, name: &str) -> Result<TaskRow, StoreError> {
        let (tenant, name) = (tenant.to_owned(), name.to_owned());
        self.read(move |conn| {
            let sql = "SELECT * FROM tasks WHERE tenant = ?1 AND name = ?2";
            let row = conn.query_row(sql, params![tenant, name], from_row).optional().doing("look for a task")?;
            row.ok_or(StoreError::NotFound { what: "task", id: name })
        })
        .await
    }

    /// A page of tasks, the oldest first.
    ///
    /// # Errors
    /// What the database said.
    pub async fn list_tasks(&self, tenant: Option<String>, after: Option<TaskId>, limit: usize) -> Result<Page<TaskRow>, StoreError> {
        let limit = limit.clamp(1, LIST_MAX);
        self.read(move |conn| {
            let sql = "SELECT * FROM tasks WHERE (?1 IS NULL OR tenant = ?1) AND (?2 IS NULL OR id > ?2) ORDER BY id LIMIT ?3";
            let mut statement = conn.prepare_cached(sql).doing("list tasks")?;
            let with = params![tenant, after.as_ref().map(TaskId::as_str), int("limit", limit as u64 + 1)?];
            let rows = statement.query_map(with, from_row).doing("list tasks")?;
            let mut items: Vec<TaskRow> = rows.collect::<crate::db::Result<_>>().doing("list tasks")?;
            let more = items.len() > limit;
            items.truncate(limit);
            let next = if more { items.last().map(|row| row.id.to_string()) } else { None };
            Ok(Page { items, next })
        })
        .await
    }

    /// Tasks that are due, the longest due first: at most [`TASKS_AT_ONCE`].
    ///
    /// # Errors
    /// What the database said.
    pub async fn due_tasks(&self, now: Timestamp) -> Result<Vec<TaskRow>, StoreError> {
        self.read(move |conn| {
            let sql = "SELECT * FROM tasks WHERE state = 'active' AND due_ms <= ?1 ORDER BY due_ms, id LIMIT ?2";
            let mut statement = conn.prepare_cached(sql).doing("look for due tasks")?;
            let with = params![int("now", now.0)?, int("limit", TASKS_AT_ONCE as u64)?];
            let rows = statement.query_map(with, from_row).doing("look for due tasks")?;
            rows.collect::<crate::db::Result<_>>().doing("look for due tasks")
        })
        .await
    }

    /// Stops a task for now, or lets it go on.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn change_task(&self, id: &TaskId, change: TaskChange, now: Timestamp) -> Result<TaskRow, StoreError> {
        let id = id.clone();
        self.write(Kind::TaskChange, 0, move |conn| {
            let now = int("now", now.0)?;
            let row = match change {
                TaskChange::Pause => {
                    let sql = "UPDATE tasks SET state = 'paused', note = NULL, changed_ms = ?2 WHERE id = ?1 RETURNING *";
                    conn.query_row(sql, params![id.as_str(), now], from_row)
                }
                TaskChange::Resume(due) => {
                    let sql = "UPDATE tasks SET state = CASE WHEN ?3 IS NULL THEN 'over' ELSE 'active' END, note = NULL, changed_ms = ?2,
                               due_ms = ?3, failures = 0, hold_ms = 0 WHERE id = ?1 RETURNING *";
                    let due = due.map(|t| int("due", t.0)).transpose()?;
                    conn.query_row(sql, params![id.as_str(), now, due], from_row)
                }
            };
            row.optional().doing("change a task")?.ok_or_else(|| StoreError::NotFound { what: "task", id: id.to_string() })
        })
        .await
    }

    /// Removes a task and its log. What it began goes on.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn remove_task(&self, id: &TaskId) -> Result<(), StoreError> {
        let id = id.clone();
        self.write(Kind::TaskRemove, 0, move |conn| {
            match conn.execute("DELETE FROM tasks WHERE id = ?1", [id.as_str()]).doing("remove a task")? {
                0 => Err(StoreError::NotFound { what: "task", id: id.to_string() }),
                _ => Ok(()),
            }
        })
        .await
    }

    /// How many tasks are in each state.
    ///
    /// # Errors
    /// What the database said.
    pub async fn count_tasks(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.read(|conn| {
            let mut statement =
                conn.prepare_cached("SELECT state, count(*) FROM tasks GROUP BY state ORDER BY state").doing("count tasks")?;
            let rows = statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?))).doing("count tasks")?;
            rows.collect::<crate::db::Result<_>>().doing("count tasks")
        })
        .await
    }
}

/// What can be wrong with a task before the database is asked. Gives what it does as JSON.
fn check_task(new: &NewTask) -> Result<String, StoreError> {
    check_name("name", &new.name)?;
    let action = to_json("action", &new.action)?;
    if action.len() > TASK_ACTION_BYTES_MAX {
        return Err(StoreError::invalid("action", format!("has more than {TASK_ACTION_BYTES_MAX} bytes")));
    }
    if new.cron.len() > EXPRESSION_BYTES_MAX || new.zone.len() > EXPRESSION_BYTES_MAX {
        return Err(StoreError::invalid("cron", format!("has more than {EXPRESSION_BYTES_MAX} bytes")));
    }
    Ok(action)
}

fn create(conn: &Connection, new: &NewTask, action: &str) -> Result<TaskRow, StoreError> {
    let doing = "keep a task";
    let count: u64 = conn.query_row("SELECT count(*) FROM tasks", [], |r| r.get(0)).doing(doing)?;
    if count >= TASKS_MAX {
        return Err(StoreError::Limit { what: "tasks", max: TASKS_MAX });
    }
    let sql = "INSERT INTO tasks (id, tenant, name, cron, zone, misfire, overlap, action, state, created_ms, changed_ms, due_ms, failures,
               failures_max, hold_ms, is_owners)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, CASE WHEN ?9 IS NULL THEN 'over' ELSE 'active' END, ?10, ?10, ?9, 0, ?11, 0, ?12)
               ON CONFLICT DO NOTHING RETURNING *";
    let due = new.due.map(|t| int("due", t.0)).transpose()?;
    let with = params![
        new.id.as_str(),
        new.tenant,
        new.name,
        new.cron,
        new.zone,
        new.misfire,
        new.overlap,
        action,
        due,
        int("now", new.now.0)?,
        new.failures_max,
        i64::from(new.is_owners)
    ];
    let row = conn.query_row(sql, with, from_row).optional().doing(doing)?;
    row.ok_or_else(|| StoreError::Conflict(format!("there is a task `{}`", new.name)))
}

pub(crate) fn read(conn: &Connection, id: &TaskId) -> Result<TaskRow, StoreError> {
    let row = conn.query_row("SELECT * FROM tasks WHERE id = ?1", [id.as_str()], from_row).optional();
    row.doing("read a task")?.ok_or_else(|| StoreError::NotFound { what: "task", id: id.to_string() })
}

pub(crate) fn from_row(row: &Row<'_>) -> crate::db::Result<TaskRow> {
    Ok(TaskRow {
        id: parsed(row, "id")?,
        tenant: row.get("tenant")?,
        name: row.get("name")?,
        cron: row.get("cron")?,
        zone: row.get("zone")?,
        misfire: row.get("misfire")?,
        overlap: row.get("overlap")?,
        action: json(row, "action")?,
        state: TaskState::read(row)?,
        note: row.get("note")?,
        created: Timestamp(row.get("created_ms")?),
        changed: Timestamp(row.get("changed_ms")?),
        due: row.get::<_, Option<u64>>("due_ms")?.map(Timestamp),
        failures: row.get("failures")?,
        failures_max: row.get("failures_max")?,
        hold: Timestamp(row.get("hold_ms")?),
        is_owners: row.get::<_, i64>("is_owners")? == 1,
    })
}
