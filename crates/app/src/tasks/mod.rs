//! Tasks: jobs and messages that are due at set times.
//!
//! One task of the daemon sleeps until the next time. Then the times that have come become rows, rows that may begin do, and each asks
//! for its work under a key that is its own: a time has one effect, however often the daemon dies over it.

mod forms;
mod of;
mod schedule;
mod timer;
mod work;

pub use forms::{Misfire, Overlap, TaskAction, TaskForm, TaskMessage, TaskQuery, TaskRunView, TaskView};
pub use of::TasksOf;
pub(crate) use schedule::{ONCE, Schedule};

pub(crate) use of::FAILURES;

use std::time::Duration;

use tokio::sync::Notify;

use crate::{App, Caller};

/// How long the log of what ended is kept when the configuration does not say.
const KEEP_DEFAULT: Duration = Duration::from_secs(90 * 86_400);

/// What the configuration says of tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSettings {
    /// How long what ended stays in the logs.
    pub keep: Duration,
}

impl Default for TaskSettings {
    fn default() -> Self {
        Self { keep: KEEP_DEFAULT }
    }
}

/// What wakes the timer.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    wake: Notify,
}

impl App {
    /// Says that something of tasks may have to be done now: one was changed, or some work has ended.
    pub fn wake_tasks(&self) {
        self.timer().wake.notify_one();
    }

    /// The tasks that this caller sees.
    #[must_use]
    pub fn tasks_of(&self, caller: &Caller) -> TasksOf<'_> {
        TasksOf { app: self, caller: caller.clone() }
    }
}
