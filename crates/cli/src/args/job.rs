//! The verbs of jobs.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

#[derive(Debug, Subcommand)]
pub(crate) enum Job {
    /// Ask for one piece of work; without --wait it goes on by itself.
    Create(Box<JobCreate>),
    /// The jobs, the youngest first.
    List(JobList),
    /// Everything about a job.
    Show {
        /// The job
        #[arg(value_name = "JOB")]
        id: String,
    },
    /// Wait until a job is over, print its result, and exit as `run` does.
    Wait {
        /// The job
        #[arg(value_name = "JOB")]
        id: String,
        /// Give up waiting (exit 4) after this time, for example 90s or 1h; the job goes on
        #[arg(long, value_name = "TIME")]
        timeout: Option<String>,
    },
    /// What happens in a job.
    Logs {
        /// The job
        #[arg(value_name = "JOB")]
        id: String,
        /// Go on with what comes, until the job is over
        #[arg(long, short)]
        follow: bool,
    },
    /// Stop jobs, wherever they stand.
    Cancel {
        /// The jobs
        #[arg(value_name = "JOB", required = true)]
        ids: Vec<String>,
    },
    /// List the files that a job left, or take them home.
    Artifacts {
        /// The job
        #[arg(value_name = "JOB")]
        id: String,
        /// One of them; it is written to standard output unless --out says where to
        #[arg(value_name = "PATH")]
        path: Option<String>,
        /// Write them below this directory, which is made when missing
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        out: Option<PathBuf>,
    },
    /// Ask for the same again, in a new job.
    Retry {
        /// The job
        #[arg(value_name = "JOB")]
        id: String,
        /// Wait until it is over, and exit as `run` does
        #[arg(long)]
        wait: bool,
    },
    /// Forget jobs that are over, with their results, artifacts and sessions.
    Remove {
        /// The jobs
        #[arg(value_name = "JOB", required = true)]
        ids: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct JobCreate {
    /// Who asks; the job's identity begins with it
    #[arg(long, value_name = "NAME", default_value = "cli")]
    pub(crate) agent_id: String,
    /// What to do; `-` reads standard input
    #[arg(long, value_name = "TEXT|-", conflicts_with_all = ["prompt_file", "text"])]
    pub(crate) prompt: Option<String>,
    /// Read what to do from this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "text")]
    pub(crate) prompt_file: Option<PathBuf>,
    /// What to do; `-` reads standard input
    #[arg(value_name = "PROMPT|-")]
    pub(crate) text: Option<String>,
    /// The profile [default: default]
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// A variable of the profile's prompt; the value is JSON where it reads as a number, true, false, a list or an object
    #[arg(long = "var", value_name = "NAME=VALUE")]
    pub(crate) vars: Vec<String>,
    /// A file that is put into the working directory, under its own name or the one behind the last `:`
    #[arg(long = "file", value_name = "FILE[:PATH]", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<String>,
    /// A repository that is cloned into the working directory
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) repo: Option<String>,
    /// The branch, tag or commit of it
    #[arg(long = "ref", value_name = "REF", requires = "repo")]
    pub(crate) reference: Option<String>,
    /// The agent program
    #[arg(long, value_name = "NAME")]
    pub(crate) engine: Option<String>,
    /// The model
    #[arg(long, value_name = "M")]
    pub(crate) model: Option<String>,
    /// The agent whose policy and tools it has [default: default]
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,
    /// The env that it works in
    #[arg(long, value_name = "NAME")]
    pub(crate) env: Option<String>,
    /// A plugin whose tools it may use
    #[arg(long = "plugin", value_name = "NAME")]
    pub(crate) plugins: Vec<String>,
    /// One of the engine's own tools that it may use; all of the profile's when none is named
    #[arg(long = "tool", value_name = "NAME")]
    pub(crate) tools: Vec<String>,
    /// A host that may be reached: HOST[:PORT][/PATH][,METHOD], within `egress.max` of the configuration
    #[arg(long = "allow", value_name = "HOST")]
    pub(crate) allow: Vec<String>,
    /// Rounds with the model, at most 100
    #[arg(long, value_name = "N")]
    pub(crate) max_turns: Option<u32>,
    /// The most that it may cost, in US dollars, at most 50
    #[arg(long, value_name = "N")]
    pub(crate) budget_usd: Option<f64>,
    /// The form of the result
    #[arg(long, value_parser = ["json", "text", "stream-json"])]
    pub(crate) output_format: Option<String>,
    /// A JSON Schema that the result must fit
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) schema: Option<PathBuf>,
    /// Files of the working directory that are kept: a glob
    #[arg(long = "artifact", value_name = "GLOB")]
    pub(crate) artifacts: Vec<String>,
    /// A word for finding it again
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<String>,
    /// Fail after this time, for example 90s or 1h
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<String>,
    /// Begin no sooner than after this time
    #[arg(long, value_name = "TIME")]
    pub(crate) delay: Option<String>,
    /// From 0 to 9; a higher one goes first [default: 5]
    #[arg(long, value_name = "N")]
    pub(crate) priority: Option<u8>,
    /// How often it is tried again when it fails through no fault of its own, at most 10
    #[arg(long, value_name = "N")]
    pub(crate) retries: Option<u8>,
    /// Where the end is told
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) webhook: Option<String>,
    /// Do everything but the work itself: the result is the command line
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// A request that is repeated with the same key is accepted once
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Wait until it is over, print its result, and exit as `run` does
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct JobList {
    /// Those that stand so
    #[arg(long, value_parser = ["queued", "running", "waiting", "completed", "failed", "cancelled"])]
    pub(crate) status: Option<String>,
    /// Those of this asker
    #[arg(long, value_name = "NAME")]
    pub(crate) agent_id: Option<String>,
    /// Those with this profile
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Those with this engine
    #[arg(long, value_name = "NAME")]
    pub(crate) engine: Option<String>,
    /// Those with this label
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Option<String>,
    /// How many
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: usize,
}
