//! Tasks.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Make a task: a job, or a message to an agent, that is due at set times.
    Add(Box<TaskAdd>),
    /// The tasks and when they are next due.
    List,
    /// Show a task.
    Show(TaskName),
    /// Let a task not be due until it goes on.
    Pause(TaskName),
    /// Let a task be due again from now on.
    Resume(TaskName),
    /// Do a task now, beside its schedule.
    Run(TaskName),
    /// The times that a task was due, and what came of them.
    Log {
        #[command(flatten)]
        task: TaskName,
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1000))]
        limit: u64,
    },
    /// Forget a task and its log; what it began goes on.
    Remove(TaskName),
}

/// Which task.
#[derive(Debug, Args)]
pub(crate) struct TaskName {
    /// Its name or identity
    #[arg(value_name = "NAME|tsk_...")]
    pub(crate) task: String,
}

#[derive(Debug, Args)]
pub(crate) struct TaskAdd {
    /// For people
    pub(crate) name: String,
    /// When: minute, hour, day, month, weekday, for example "30 6 * * 1-5"
    #[arg(long, value_name = "E")]
    pub(crate) cron: String,
    /// The time zone that it is read in
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub(crate) zone: String,
    /// What to do about times that were missed
    #[arg(long, default_value = "once", value_parser = ["skip", "once", "all"])]
    pub(crate) misfire: String,
    /// What to do while an earlier run is still at work
    #[arg(long, default_value = "skip", value_parser = ["skip", "queue", "parallel"])]
    pub(crate) overlap: String,
    /// How many failures one after the other stop it [default: 10]
    #[arg(long, value_name = "N")]
    pub(crate) failures_max: Option<u32>,
    /// Ask for a job with this prompt
    #[arg(long, value_name = "TEXT", group = "action")]
    pub(crate) prompt: Option<String>,
    /// Ask for the job that this file describes, as /v1/jobs takes it (`-` for standard input)
    #[arg(long, value_name = "FILE", group = "action", value_hint = ValueHint::FilePath)]
    pub(crate) job: Option<PathBuf>,
    /// Say this to an agent
    #[arg(long, value_name = "TEXT", group = "action")]
    pub(crate) message: Option<String>,
    /// The job's profile
    #[arg(long, requires = "prompt")]
    pub(crate) profile: Option<String>,
    /// The job's engine
    #[arg(long, requires = "prompt")]
    pub(crate) engine: Option<String>,
    /// A script that runs in the sandbox before the agent is asked; status 1, or a last line {"wakeAgent": false}, says that it need not
    /// be: the text, @FILE, or - for standard input
    #[arg(long, value_name = "SCRIPT", requires = "message")]
    pub(crate) gate: Option<String>,
    /// A destination of the agent that the answer goes to, by its name; may be given again
    #[arg(long, value_name = "NAME", requires = "message")]
    pub(crate) to: Vec<String>,
    /// The session that the message is said in; a new one each time when left out
    #[arg(long, value_name = "ses_...", requires = "message")]
    pub(crate) session: Option<String>,
    /// The agent of the job or of the new session
    #[arg(long, conflicts_with = "session")]
    pub(crate) agent: Option<String>,
    /// The env of the job or of the new session
    #[arg(long, conflicts_with = "session")]
    pub(crate) env: Option<String>,
}
