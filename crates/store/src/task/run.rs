//! What came of each time that a task was due.

use model::{SessionId, TaskId, TaskRunId, Timestamp, TurnId};
use serde::Serialize;

use super::table::{self, TaskRow};
use crate::db::{Connection, OptionalExtension, Row, params};
use crate::error::Doing;
use crate::row::{int, maybe_parsed, parsed, unreadable};
use crate::session::{LIST_MAX, Page};
use crate::webhook::cut;
use crate::writer::Kind;
use crate::{Store, StoreError};

/// Runs that one write begins or removes.
pub const RUNS_AT_ONCE: usize = 256;
/// Runs of one task that may wait for their turn; later ones are skipped.
pub const RUNS_WAITING_MAX: u64 = 100;
/// Runs of one task that may be worked on at once, where it lets them run side by side.
pub const RUNS_BEGUN_MAX: u64 = 16;
/// Bytes of a note.
const NOTE_BYTES_MAX: usize = 500;
/// The first wait after a failure, and the longest: milliseconds.
const HOLD_MS: (u64, u64) = (60_000, 3_600_000);

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskRunState {
    /// It waits to begin.
    Due,
    /// Its work was asked for.
    Begun,
    /// Its work ended well.
    Done,
    /// Its work ended badly, or could not be asked for.
    Failed,
    /// Nothing was done, and the note says why.
    Skipped,
}

impl TaskRunState {
    /// The stored form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Begun => "begun",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    fn read(row: &Row<'_>) -> crate::db::Result<Self> {
        let text: String = row.get("state")?;
        let all = [Self::Due, Self::Begun, Self::Done, Self::Failed, Self::Skipped];
        all.into_iter().find(|state| state.as_str() == text).ok_or_else(|| unreadable(format!("`{text}` is no state of a run").into()))
    }
}

/// One time that a task was due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskRunRow {
    /// Its identity.
    pub id: TaskRunId,
    /// The task.
    pub task: TaskId,
    /// Whose it is.
    pub tenant: String,
    /// When it was due, or asked for.
    pub due: Timestamp,
    /// Whether somebody asked for it.
    pub by_hand: bool,
    /// How it stands.
    pub state: TaskRunState,
    /// The job that it made.
    pub job: Option<String>,
    /// The session that it made or spoke to.
    pub session: Option<SessionId>,
    /// The turn that it made.
    pub turn: Option<TurnId>,
    /// Not begun before this time.
    pub wake: Timestamp,
    /// How often its work was asked for.
    pub tries: u32,
    /// When its work was first asked for.
    pub begun: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Why it was skipped or failed.
    pub note: Option<String>,
}

/// A time that gets a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRunStart {
    /// Its identity.
    pub id: TaskRunId,
    /// When it was due, or asked for.
    pub due: Timestamp,
    /// Why nothing is done, if so.
    pub skipped: Option<String>,
}

/// What becomes of a task that is due: rows for its times, and the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskPlan {
    /// The task.
    pub task: TaskId,
    /// The time that it was due when this was planned; where it is another one by now, nothing happens.
    pub due: Timestamp,
    /// The rows.
    pub runs: Vec<TaskRunStart>,
    /// The next time, if there is one.
    pub next: Option<Timestamp>,
}

/// How the work of a run ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End<'a> {
    /// Whether it ended well.
    pub(crate) is_well: bool,
    /// Why not.
    pub(crate) note: Option<&'a str>,
    /// Now.
    pub(crate) now: Timestamp,
}

/// The work of a run ended, which was a job.
pub(crate) fn job_ended(conn: &Connection, job: &str, end: End<'_>) -> Result<(), StoreError> {
    ended(conn, "SELECT id FROM task_runs WHERE job = ?1 AND state = 'begun'", job, end)
}

/// The work of a run ended, which was a turn. What its gate said is the note of one that ended well.
pub(crate) fn turn_ended(conn: &Connection, turn: &TurnId, end: End<'_>) -> Result<(), StoreError> {
    let said = if end.is_well { crate::agent_tool::said(conn, turn)? } else { None };
    let end = End { note: said.as_deref().or(end.note), ..end };
    ended(conn, "SELECT id FROM task_runs WHERE turn = ?1 AND state = 'begun'", turn.as_str(), end)
}

fn ended(conn: &Connection, sql: &str, what: &str, end: End<'_>) -> Result<(), StoreError> {
    let doing = "end the run of a task";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let run: Option<String> = statement.query_row([what], |r| r.get(0)).optional().doing(doing)?;
    run.map_or(Ok(()), |run| end_run(conn, &run, end))
}

/// Ends a run that has begun, and counts what that means for its task.
fn end_run(conn: &Connection, run: &str, end: End<'_>) -> Result<(), StoreError> {
    let doing = "end the run of a task";
    let now = int("now", end.now.0)?;
    let state = if end.is_well { TaskRunState::Done } else { TaskRunState::Failed };
    let note = end.note.map(|text| cut(text.to_owned(), NOTE_BYTES_MAX));
    let sql = "UPDATE task_runs SET state = ?2, ended_ms = ?3, note = ?4 WHERE id = ?1 AND state IN ('begun', 'due') RETURNING task";
    let task: Option<TaskId> =
        conn.query_row(sql, params![run, state.as_str(), now, note], |r| parsed(r, "task")).optional().doing(doing)?;
    let Some(task) = task else { return Ok(()) };
    if end.is_well {
        return conn.execute("UPDATE tasks SET failures = 0, hold_ms = 0 WHERE id = ?1", [task.as_str()]).doing(doing).map(drop);
    }
    let row = table::read(conn, &task)?;
    let failures = row.failures.saturating_add(1);
    let (first, most) = HOLD_MS;
    let wait = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(most);
    let hold = int("hold", end.now.0.saturating_add(wait))?;
    conn.execute("UPDATE tasks SET failures = ?2, hold_ms = ?3 WHERE id = ?1", params![task.as_str(), failures, hold]).doing(doing)?;
    let sql = "UPDATE task_runs SET wake_ms = ?2 WHERE task = ?1 AND state = 'due' AND by_hand = 0 AND wake_ms < ?2";
    conn.execute(sql, params![task.as_str(), hold]).doing(doing)?;
    if failures >= row.failures_max {
        let note = format!("it failed {failures} times, one after the other");
        let sql = "UPDATE tasks SET state = 'broken', note = ?2 WHERE id = ?1 AND state = 'active'";
        if conn.execute(sql, params![task.as_str(), note]).doing(doing)? > 0 {
            crate::agent_tool::broke(conn, &row, &note, end.now)?;
        }
        let sql = "UPDATE task_runs SET state = 'skipped', ended_ms = ?2, note = 'the task was stopped' WHERE task = ?1 AND state = 'due' AND by_hand = 0";
        conn.execute(sql, params![task.as_str(), now]).doing(doing)?;
    }
    Ok(())
}

impl Store {
    /// Gives the times of due tasks their rows, and moves the tasks on.
    ///
    /// # Errors
    /// What the database said; then none of it has happened.
    pub async fn plan_tasks(&self, plans: Vec<TaskPlan>, now: Timestamp) -> Result<(), StoreError> {
        self.write(Kind::TaskPlan, 0, move |conn| plans.iter().try_for_each(|plan| write_plan(conn, plan, now))).await
    }

    /// Gives a time that somebody asks for its row.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Limit`] when too many wait; [`StoreError::Conflict`] when somebody asked in the same
    /// millisecond.
    pub async fn ask_run(&self, task: &TaskId, id: TaskRunId, now: Timestamp) -> Result<TaskRunRow, StoreError> {
        let task = task.clone();
        self.write(Kind::TaskPlan, 0, move |conn| {
            let row = table::read(conn, &task)?;
            if waiting(conn, &task)? >= RUNS_WAITING_MAX {
                return Err(StoreError::Limit { what: "runs of one task that wait", max: RUNS_WAITING_MAX });
            }
            let start = TaskRunStart { id, due: now, skipped: None };
            add_run(conn, &row, &start, true, now)?;
            let found = conn.query_row("SELECT * FROM task_runs WHERE id = ?1", [start.id.as_str()], from_row).optional();
            found.doing("read a run")?.ok_or_else(|| StoreError::Conflict("somebody asked for a run in the same millisecond".to_owned()))
        })
        .await
    }

    /// Begins runs whose time has come and whose task lets them: at most [`RUNS_AT_ONCE`]. Those that their task skips while an
    /// earlier one is worked on are skipped.
    ///
    /// # Errors
    /// What the database said; then none has begun.
    pub async fn begin_runs(&self, now: Timestamp) -> Result<Vec<(TaskRunRow, TaskRow)>, StoreError> {
        self.write(Kind::TaskBegin, 0, move |conn| begin(conn, now)).await
    }

    /// One run; `None` when it is gone with its task.
    ///
    /// # Errors
    /// What the database said.
    pub async fn task_run(&self, id: &TaskRunId) -> Result<Option<TaskRunRow>, StoreError> {
        let id = id.clone();
        self.read(move |conn| Ok(runs(conn, "SELECT * FROM task_runs WHERE id = ?1", params![id.as_str()])?.pop())).await
    }

    /// Runs that have begun and of which it is not known that their work was made.
    ///
    /// # Errors
    /// What the database said.
    pub async fn unmade_runs(&self) -> Result<Vec<(TaskRunRow, TaskRow)>, StoreError> {
        self.read(|conn| {
            let sql = "SELECT * FROM task_runs WHERE state = 'begun' AND job IS NULL AND turn IS NULL ORDER BY id LIMIT ?1";
            with_tasks(conn, runs(conn, sql, params![int("limit", LIST_MAX as u64)?])?)
        })
        .await
    }

    /// Runs that began before `before` and have not ended.
    ///
    /// # Errors
    /// What the database said.
    pub async fn open_runs(&self, before: Timestamp, after: Option<TaskRunId>) -> Result<Vec<TaskRunRow>, StoreError> {
        self.read(move |conn| {
            let sql = "SELECT * FROM task_runs WHERE state = 'begun' AND begun_ms < ?1 AND (?2 IS NULL OR id > ?2) ORDER BY id LIMIT ?3";
            let with = params![int("before", before.0)?, after.as_ref().map(TaskRunId::as_str), int("limit", LIST_MAX as u64)?];
            runs(conn, sql, with)
        })
        .await
    }

    /// Notes the session that a run makes or speaks to.
    ///
    /// # Errors
    /// What the database said.
    pub async fn run_has_session(&self, run: &TaskRunId, session: &SessionId) -> Result<(), StoreError> {
        let (run, session) = (run.clone(), session.clone());
        self.write(Kind::TaskMade, 0, move |conn| {
            let sql = "UPDATE task_runs SET session = ?2 WHERE id = ?1";
            conn.execute(sql, params![run.as_str(), session.as_str()]).doing("note the work of a run").map(drop)
        })
        .await
    }

    /// Notes the job or turn that a run made. When that is over already, the run is reconciled by whoever looks next.
    ///
    /// # Errors
    /// What the database said.
    pub async fn run_made(&self, run: &TaskRunId, job: Option<String>, turn: Option<TurnId>) -> Result<(), StoreError> {
        let run = run.clone();
        self.write(Kind::TaskMade, 0, move |conn| {
            let sql = "UPDATE task_runs SET job = ?2, turn = ?3 WHERE id = ?1 AND state = 'begun'";
            let with = params![run.as_str(), job, turn.as_ref().map(TurnId::as_str)];
            conn.execute(sql, with).doing("note the work of a run").map(drop)
        })
        .await
    }

    /// Puts a run back whose work could not be asked for, to be tried again then.
    ///
    /// # Errors
    /// What the database said.
    pub async fn put_run_back(&self, run: &TaskRunId, wake: Timestamp, note: String) -> Result<(), StoreError> {
        let run = run.clone();
        self.write(Kind::TaskMade, 0, move |conn| {
            let sql = "UPDATE task_runs SET state = 'due', wake_ms = ?2, note = ?3 WHERE id = ?1 AND state = 'begun'";
            let with = params![run.as_str(), int("wake", wake.0)?, cut(note, NOTE_BYTES_MAX)];
            conn.execute(sql, with).doing("put a run back").map(drop)
        })
        .await
    }

    /// Ends a run whose work ended, or could not be asked for.
    ///
    /// # Errors
    /// What the database said.
    pub async fn end_task_run(&self, run: &TaskRunId, is_well: bool, note: Option<String>, now: Timestamp) -> Result<(), StoreError> {
        let run = run.clone();
        self.write(Kind::TaskEnd, 0, move |conn| end_run(conn, run.as_str(), End { is_well, note: note.as_deref(), now })).await
    }

    /// When something is next to be done for tasks.
    ///
    /// # Errors
    /// What the database said.
    pub async fn next_task_time(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|conn| {
            let doing = "look for the next task";
            let sql = "SELECT due_ms FROM tasks WHERE state = 'active' AND due_ms IS NOT NULL ORDER BY due_ms LIMIT 1";
            let task: Option<u64> = conn.query_row(sql, [], |r| r.get(0)).optional().doing(doing)?;
            // Those that wait for an earlier one are woken by its end.
            let sql = "SELECT r.wake_ms FROM task_runs r JOIN tasks t ON t.id = r.task WHERE r.state = 'due'
                       AND (t.state <> 'paused' OR r.by_hand = 1) AND (t.overlap = 'skip' OR (SELECT count(*) FROM task_runs b WHERE b.task = r.task AND b.state = 'begun')
                            < CASE WHEN t.overlap = 'parallel' THEN ?1 ELSE 1 END)
                       ORDER BY r.wake_ms LIMIT 1";
            let run: Option<u64> = conn.query_row(sql, params![int("most", RUNS_BEGUN_MAX)?], |r| r.get(0)).optional().doing(doing)?;
            Ok([task, run].into_iter().flatten().min().map(Timestamp))
        })
        .await
    }

    /// A page of a task's log, the youngest first.
    ///
    /// # Errors
    /// What the database said.
    pub async fn list_runs(&self, task: &TaskId, after: Option<TaskRunId>, limit: usize) -> Result<Page<TaskRunRow>, StoreError> {
        let (limit, task) = (limit.clamp(1, LIST_MAX), task.clone());
        self.read(move |conn| {
            let sql = "SELECT * FROM task_runs WHERE task = ?1 AND (?2 IS NULL OR id < ?2) ORDER BY id DESC LIMIT ?3";
            let with = params![task.as_str(), after.as_ref().map(TaskRunId::as_str), int("limit", limit as u64 + 1)?];
            let mut items = runs(conn, sql, with)?;
            let more = items.len() > limit;
            items.truncate(limit);
            let next = if more { items.last().map(|row| row.id.to_string()) } else { None };
            Ok(Page { items, next })
        })
        .await
    }

    /// Removes what ended before `before` from the logs, at most [`RUNS_AT_ONCE`]. Returns how many went.
    ///
    /// # Errors
    /// What the database said.
    pub async fn forget_runs(&self, before: Timestamp) -> Result<usize, StoreError> {
        self.write(Kind::TaskForget, 0, move |conn| {
            let sql = "DELETE FROM task_runs WHERE id IN (SELECT id FROM task_runs WHERE state IN ('done', 'failed', 'skipped')
                       AND ended_ms < ?1 ORDER BY ended_ms LIMIT ?2)";
            conn.execute(sql, params![int("before", before.0)?, int("most", RUNS_AT_ONCE as u64)?]).doing("forget runs of tasks")
        })
        .await
    }
}

fn write_plan(conn: &Connection, plan: &TaskPlan, now: Timestamp) -> Result<(), StoreError> {
    let doing = "plan a task";
    let sql = "UPDATE tasks SET due_ms = ?3, state = CASE WHEN ?3 IS NULL THEN 'over' ELSE state END
               WHERE id = ?1 AND due_ms = ?2 AND state = 'active' RETURNING *";
    let next = plan.next.map(|t| int("next", t.0)).transpose()?;
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let with = params![plan.task.as_str(), int("due", plan.due.0)?, next];
    let row = statement.query_row(with, table::from_row).optional().doing(doing)?;
    let Some(row) = row else { return Ok(()) };
    let mut waiting = waiting(conn, &row.id)?;
    for start in &plan.runs {
        let mut start = start.clone();
        if start.skipped.is_none() {
            if waiting >= RUNS_WAITING_MAX {
                start.skipped = Some(format!("{RUNS_WAITING_MAX} runs of the task wait already"));
            } else {
                waiting += 1;
            }
        }
        add_run(conn, &row, &start, false, now)?;
    }
    Ok(())
}

fn waiting(conn: &Connection, task: &TaskId) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM task_runs WHERE task = ?1 AND state = 'due'";
    let mut statement = conn.prepare_cached(sql).doing("count runs")?;
    statement.query_row([task.as_str()], |r| r.get(0)).doing("count runs")
}

fn add_run(conn: &Connection, task: &TaskRow, start: &TaskRunStart, by_hand: bool, now: Timestamp) -> Result<(), StoreError> {
    let sql = "INSERT INTO task_runs (id, task, tenant, due_ms, by_hand, state, wake_ms, tries, ended_ms, note)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8, ?9) ON CONFLICT DO NOTHING";
    let state = if start.skipped.is_some() { TaskRunState::Skipped } else { TaskRunState::Due };
    let ended = start.skipped.as_ref().map(|_| int("now", now.0)).transpose()?;
    let wake = if by_hand { start.due } else { start.due.max(task.hold) };
    let note = start.skipped.clone().map(|text| cut(text, NOTE_BYTES_MAX));
    let with = params![
        start.id.as_str(),
        task.id.as_str(),
        task.tenant,
        int("due", start.due.0)?,
        i64::from(by_hand),
        state.as_str(),
        int("wake", wake.0)?,
        ended,
        note
    ];
    conn.prepare_cached(sql).and_then(|mut s| s.execute(with)).doing("add a run of a task").map(drop)
}

fn begin(conn: &Connection, now: Timestamp) -> Result<Vec<(TaskRunRow, TaskRow)>, StoreError> {
    let doing = "begin runs of tasks";
    let at = int("now", now.0)?;
    let sql = "SELECT r.* FROM task_runs r JOIN tasks t ON t.id = r.task WHERE r.state = 'due' AND r.wake_ms <= ?1
               AND (t.state <> 'paused' OR r.by_hand = 1)
               AND (t.overlap = 'skip' OR (SELECT count(*) FROM task_runs b WHERE b.task = r.task AND b.state = 'begun')
                    < CASE WHEN t.overlap = 'parallel' THEN ?2 ELSE 1 END)
               ORDER BY r.wake_ms, r.id LIMIT ?3";
    let due = runs(conn, sql, params![at, int("most", RUNS_BEGUN_MAX)?, int("limit", RUNS_AT_ONCE as u64)?])?;
    let mut begun = Vec::with_capacity(due.len());
    for (run, task) in with_tasks(conn, due)? {
        let sql = "SELECT count(*) FROM task_runs WHERE task = ?1 AND state = 'begun'";
        let mut statement = conn.prepare_cached(sql).doing(doing)?;
        let at_work: u64 = statement.query_row([run.task.as_str()], |r| r.get(0)).doing(doing)?;
        let sql = match task.overlap.as_str() {
            "skip" if at_work > 0 => {
                "UPDATE task_runs SET state = 'skipped', ended_ms = ?2, note = 'an earlier run was still at work' WHERE id = ?1 RETURNING *"
            }
            "queue" if at_work > 0 => continue,
            "parallel" if at_work >= RUNS_BEGUN_MAX => continue,
            _ => "UPDATE task_runs SET state = 'begun', tries = tries + 1, begun_ms = coalesce(begun_ms, ?2) WHERE id = ?1 RETURNING *",
        };
        let mut statement = conn.prepare_cached(sql).doing(doing)?;
        let row = statement.query_row(params![run.id.as_str(), at], from_row).doing(doing)?;
        if row.state == TaskRunState::Begun {
            begun.push((row, task));
        }
    }
    Ok(begun)
}

fn with_tasks(conn: &Connection, runs: Vec<TaskRunRow>) -> Result<Vec<(TaskRunRow, TaskRow)>, StoreError> {
    runs.into_iter().map(|run| table::read(conn, &run.task).map(|task| (run, task))).collect()
}

fn runs(conn: &Connection, sql: &str, with: impl crate::db::Params) -> Result<Vec<TaskRunRow>, StoreError> {
    let doing = "read runs of tasks";
    let mut statement = conn.prepare_cached(sql).doing(doing)?;
    let rows = statement.query_map(with, from_row).doing(doing)?;
    rows.collect::<crate::db::Result<_>>().doing(doing)
}

fn from_row(row: &Row<'_>) -> crate::db::Result<TaskRunRow> {
    let time = |column| row.get::<_, Option<u64>>(column).map(|t| t.map(Timestamp));
    Ok(TaskRunRow {
        id: parsed(row, "id")?,
        task: parsed(row, "task")?,
        tenant: row.get("tenant")?,
        due: Timestamp(row.get("due_ms")?),
        by_hand: row.get::<_, i64>("by_hand")? == 1,
        state: TaskRunState::read(row)?,
        job: row.get("job")?,
        session: maybe_parsed(row, "session")?,
        turn: maybe_parsed(row, "turn")?,
        wake: Timestamp(row.get("wake_ms")?),
        tries: row.get("tries")?,
        begun: time("begun_ms")?,
        ended: time("ended_ms")?,
        note: row.get("note")?,
    })
}
