//! What tasks are asked and how they are shown.

use model::{SessionId, TaskId, TaskRunId, Timestamp, TurnId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{TaskRow, TaskRunRow};

use crate::JobForm;

/// A task to make.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskForm {
    /// For people; no two of a tenant are called the same.
    pub name: String,
    /// When it is due: minute, hour, day, month, weekday; with seconds in front where there are six.
    pub cron: String,
    /// The IANA zone that `cron` is read in; `UTC` when left out.
    #[serde(default)]
    pub zone: Option<String>,
    /// What is done about times that were missed; `once` when left out.
    #[serde(default)]
    pub misfire: Misfire,
    /// What is done while an earlier run is still at work; `skip` when left out.
    #[serde(default)]
    pub overlap: Overlap,
    /// How many failures one after the other stop it: 1 to 1000; 10 when left out.
    #[serde(default)]
    pub failures_max: Option<u32>,
    /// What is done.
    pub action: TaskAction,
}

/// What is done about times that were missed because nobody was there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Misfire {
    /// Nothing.
    Skip,
    /// It is done once for all of them.
    #[default]
    Once,
    /// Each is done, the last 100 at most.
    All,
}

impl Misfire {
    /// The printed form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Once => "once",
            Self::All => "all",
        }
    }

    pub(super) fn of(text: &str) -> Self {
        [Self::Skip, Self::Once, Self::All].into_iter().find(|kind| kind.as_str() == text).unwrap_or(Self::Skip)
    }
}

/// What is done when a task is due while an earlier run of it is still at work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// Nothing: the log says so.
    #[default]
    Skip,
    /// It waits for the end of the other.
    Queue,
    /// It runs beside it; 16 at most.
    Parallel,
}

impl Overlap {
    /// The printed form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Queue => "queue",
            Self::Parallel => "parallel",
        }
    }
}

/// What a task does.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum TaskAction {
    /// It asks for a job.
    Job(Box<JobForm>),
    /// It says something to an agent.
    Message(TaskMessage),
}

/// A message of a task.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TaskMessage {
    /// What is said.
    pub text: String,
    /// The session that it is said in; a new one each time when left out.
    pub session: Option<SessionId>,
    /// The agent of a new session; `default` when left out.
    pub agent: Option<String>,
    /// The env of a new session; a private tree when left out.
    pub env: Option<String>,
    /// A script that runs in the sandbox before the agent is asked, and may say that it need not be: status 1, or a last line
    /// `{"wakeAgent": false}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    /// Destinations of the agent that the answer goes to, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
}

/// A task as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TaskView {
    /// Its identity.
    pub id: TaskId,
    /// For people.
    pub name: String,
    /// When it is due.
    pub cron: String,
    /// The zone that `cron` is read in.
    pub zone: String,
    /// What is done about times that were missed.
    pub misfire: String,
    /// What is done while an earlier run is still at work.
    pub overlap: String,
    /// How many failures one after the other stop it.
    pub failures_max: u32,
    /// `active`, `paused`, `broken` after too many failures, or `over` when there is no further time.
    pub status: String,
    /// Why it stands so.
    pub note: Option<String>,
    /// When it is next due.
    pub next: Option<Timestamp>,
    /// Failures one after the other.
    pub failures: u32,
    /// When it was made.
    pub created: Timestamp,
    /// What is done.
    pub action: Value,
}

impl From<TaskRow> for TaskView {
    fn from(row: TaskRow) -> Self {
        let is_active = row.state == store::TaskState::Active;
        Self {
            id: row.id,
            name: row.name,
            cron: row.cron,
            zone: row.zone,
            misfire: row.misfire,
            overlap: row.overlap,
            failures_max: row.failures_max,
            status: row.state.as_str().to_owned(),
            note: row.note,
            next: row.due.filter(|_| is_active),
            failures: row.failures,
            created: row.created,
            action: row.action,
        }
    }
}

/// One time that a task was due, as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TaskRunView {
    /// Its identity.
    pub id: TaskRunId,
    /// When it was due, or asked for.
    pub due: Timestamp,
    /// Whether somebody asked for it.
    pub by_hand: bool,
    /// `due`, `begun`, `done`, `failed` or `skipped`.
    pub status: String,
    /// The job that it made.
    pub job: Option<String>,
    /// The session that it spoke in.
    pub session: Option<SessionId>,
    /// The turn that it made.
    pub turn: Option<TurnId>,
    /// When it began.
    pub begun: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Why it failed, waits or was skipped.
    pub note: Option<String>,
}

impl From<TaskRunRow> for TaskRunView {
    fn from(row: TaskRunRow) -> Self {
        Self {
            id: row.id,
            due: row.due,
            by_hand: row.by_hand,
            status: row.state.as_str().to_owned(),
            job: row.job,
            session: row.session,
            turn: row.turn,
            begun: row.begun,
            ended: row.ended,
            note: row.note,
        }
    }
}

/// Which tasks, or which runs of one, to list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TaskQuery {
    /// The cursor of an earlier page.
    pub after: Option<String>,
    /// Entries in a page: 1 to 200; 50 when left out.
    pub limit: Option<usize>,
}
