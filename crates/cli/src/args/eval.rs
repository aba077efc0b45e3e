//! The verbs of evals.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

#[derive(Debug, Subcommand)]
pub(crate) enum Eval {
    /// Run a suite: each scenario with each engine and model, with and without the skill, in sandboxes; and grade what comes of it.
    Run(Box<EvalRun>),
    /// The runs so far, the youngest first.
    List,
    /// What came of a run.
    Show {
        /// The run, or `last`
        #[arg(value_name = "RUN")]
        run: String,
        /// Write a report that stands alone to this file
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        html: Option<PathBuf>,
        /// Print what happened in one cell, event by event
        #[arg(long, value_name = "CELL")]
        transcript: Option<String>,
    },
    /// What is better and what is worse in the second run than in the first, and whether that may be chance.
    Compare {
        /// The run before
        #[arg(value_name = "RUN_A")]
        before: String,
        /// The run after
        #[arg(value_name = "RUN_B")]
        after: String,
        /// Exit 1 when something got worse; `significant` counts only what is hardly chance (p < 0.05)
        #[arg(long, value_name = "WHICH", num_args = 0..=1, require_equals = true, default_missing_value = "any",
              value_parser = ["any", "significant"])]
        fail_on_regression: Option<String>,
    },
    /// Forget a run: its results and transcripts.
    Remove {
        /// The run, or `last`
        #[arg(value_name = "RUN")]
        run: String,
    },
}

/// A run of a suite.
#[derive(Debug, Clone, Args)]
pub(crate) struct EvalRun {
    /// The suite: a directory with suite.toml and scenarios/*.toml
    #[arg(value_name = "SUITE", required_unless_present = "resume", value_hint = ValueHint::DirPath)]
    pub(crate) suite: Option<PathBuf>,
    /// The agent programs [default: those of the suite, else mini]
    #[arg(long = "engine", value_name = "NAME,...", value_delimiter = ',')]
    pub(crate) engines: Vec<String>,
    /// The models, as their providers name them, or PROVIDER/MODEL [default: those of the suite, else the engine's own choice]
    #[arg(long = "model", value_name = "M,...", value_delimiter = ',')]
    pub(crate) models: Vec<String>,
    /// Only with the skill; with --without-skill, both [default: both where the suite has a skill]
    #[arg(long)]
    pub(crate) with_skill: bool,
    /// Only without the skill
    #[arg(long)]
    pub(crate) without_skill: bool,
    /// This skill instead of the suite's: a SKILL.md
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) skill: Option<PathBuf>,
    /// How often each cell is tried [default: what the scenario says, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) trials: Option<u32>,
    /// Cells at once
    #[arg(long, short, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=32))]
    pub(crate) jobs: u16,
    /// Only scenarios with this in their name, or this tag
    #[arg(long, value_name = "NAME|TAG")]
    pub(crate) only: Vec<String>,
    /// Keep what the model said in the suite's tapes/, to run it again without one
    #[arg(long, conflicts_with_all = ["replay", "live"])]
    pub(crate) record: bool,
    /// Answer from the suite's tapes/: no model, no key, no network [default where there is a tape and no key]
    #[arg(long, conflicts_with = "live")]
    pub(crate) replay: bool,
    /// Never answer from a tape
    #[arg(long)]
    pub(crate) live: bool,
    /// Go on with a run that was killed or stopped
    #[arg(long, value_name = "RUN", conflicts_with_all = ["suite", "engines", "models", "with_skill", "without_skill", "skill", "trials",
          "only", "record", "replay", "live"])]
    pub(crate) resume: Option<String>,
    /// Begin no further cell when the run has cost so much, in US dollars; 0 for no bound [default: 25]
    #[arg(long, value_name = "N")]
    pub(crate) max_cost: Option<String>,
    /// Exit 1 when a smaller part of the cells passes than this, for example 0.9 or 90%
    #[arg(long, value_name = "RATE")]
    pub(crate) fail_under: Option<String>,
    /// Write a report that stands alone to this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) html: Option<PathBuf>,
    /// Keep the sessions of the cells, to look at them
    #[arg(long)]
    pub(crate) keep: bool,
}
