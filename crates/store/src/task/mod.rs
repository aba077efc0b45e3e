//! Work that is done at set times: the tasks, and what came of each time that one was due.
//!
//! A time that a task is due becomes a row in the transaction that moves the task to its next time, so each has one row however
//! often the daemon dies over it. A row that has begun has one job or turn, since that is made under the row's own key; and its end
//! is written with theirs.

mod run;
mod table;

pub use run::{RUNS_AT_ONCE, RUNS_BEGUN_MAX, RUNS_WAITING_MAX, TaskPlan, TaskRunRow, TaskRunStart, TaskRunState};
pub use table::{NewTask, TASK_ACTION_BYTES_MAX, TASKS_AT_ONCE, TASKS_MAX, TaskChange, TaskRow, TaskState};

pub(crate) use run::{End, job_ended, turn_ended};
pub(crate) use table::{from_row as task_row, read as read_task};
