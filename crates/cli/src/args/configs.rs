//! The verbs of profiles, templates and hooks, and of what comes from elsewhere.

use std::path::PathBuf;

use clap::{Subcommand, ValueHint};

#[derive(Debug, Subcommand)]
pub(crate) enum Profile {
    /// The profiles and their variables.
    List,
    /// The text of a profile.
    Show {
        /// The profile
        name: String,
        /// Of this version
        #[arg(long = "at", id = "at", value_name = "VERSION")]
        version: Option<u64>,
    },
    /// Make a profile, or give it a new version.
    Set {
        /// The profile
        name: String,
        /// The TOML file; `-` for standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// For people
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// Say whether a text can be kept as a profile, and what its prompt comes to; nothing changes.
    Check {
        /// The TOML file; `-` for standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// A variable of the prompt; with one the prompt is rendered
        #[arg(long = "var", value_name = "KEY=VALUE")]
        vars: Vec<String>,
    },
    /// Remove a profile; its versions are kept.
    Remove {
        /// The profile
        name: String,
    },
    /// The versions of a profile, the youngest first.
    History {
        /// The profile
        name: String,
    },
    /// Go back to a version, as a new one; to what the program ships with when none is said.
    Reset {
        /// The profile
        name: String,
        /// To this version
        #[arg(long = "at", id = "at", value_name = "VERSION")]
        version: Option<u64>,
    },
    /// Take over profiles, templates, hooks and engines of a directory that has them in folders of these names.
    Import {
        /// The directory
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
        /// Say what would happen, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Text {
    /// The names.
    List,
    /// The text.
    Show {
        /// The name
        name: String,
        /// Of this version
        #[arg(long = "at", id = "at", value_name = "VERSION")]
        version: Option<u64>,
    },
    /// Make one, or give it a new version.
    Set {
        /// The name
        name: String,
        /// The file; `-` for standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// For people
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// Remove one; its versions are kept.
    Remove {
        /// The name
        name: String,
    },
    /// The versions, the youngest first.
    History {
        /// The name
        name: String,
    },
    /// Go back to a version, as a new one; to what the program ships with when none is said.
    Reset {
        /// The name
        name: String,
        /// To this version
        #[arg(long = "at", id = "at", value_name = "VERSION")]
        version: Option<u64>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Import {
    /// Take over a directory of the job server Parpaing: profiles, templates, hooks, engines and its `.env`.
    Parpaing {
        /// The directory
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
        /// Say what would happen, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Store the providers' keys of its `.env` too
        #[arg(long)]
        keys: bool,
    },
    /// Take over an install of NanoClaw, of either form, or of parachute-agent: agents, people, chats, tasks, memories, conversations.
    Nanoclaw {
        /// Its directory
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
        /// Say what would happen, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// The zone in which the times of its tasks are [default: that of its settings, else UTC]
        #[arg(long, value_name = "ZONE")]
        zone: Option<String>,
    },
    /// Take over what `lazaret export` wrote.
    Lazaret {
        /// The file, or the directory that holds it
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Say what would happen, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}
