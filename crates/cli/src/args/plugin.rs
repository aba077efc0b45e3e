//! The verbs of plugins.

use std::path::PathBuf;

use clap::{Subcommand, ValueHint};

#[derive(Debug, Subcommand)]
pub(crate) enum Plugin {
    /// Plugins, their state and their tools.
    List,
    /// One plugin: its tools, credentials and hosts, and what waits for approval.
    Show {
        /// The plugin
        name: String,
    },
    /// Look at a folder as an installation would, without running anything of it.
    Check {
        /// The folder
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
    /// Make a folder with a manifest, a handler that runs, a skill and a test.
    New {
        /// Its name, and the folder's
        name: String,
        /// What the handler is written in
        #[arg(long, default_value = "python", value_parser = ["python", "node", "sh"])]
        lang: String,
        /// Where the folder is made
        #[arg(long, default_value = ".", value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
    /// Install a plugin from a folder, a tar archive or a git repository.
    Install {
        /// DIR, FILE.tar[.gz], https://HOST/PATH[#BRANCH], or a repository that your own git reaches (ssh://, USER@HOST:PATH, file://)
        #[arg(value_hint = ValueHint::AnyPath)]
        source: String,
        /// Its name; else the last part of the source
        #[arg(long)]
        name: Option<String>,
        /// What its files must be
        #[arg(long, value_name = "sha256:HEX")]
        hash: Option<String>,
    },
    /// Replace a plugin of the home by a newer one; what changed of its tools waits for approval.
    Update {
        /// The plugin
        name: String,
        /// Where the new one comes from; else where it was installed from
        #[arg(value_hint = ValueHint::AnyPath)]
        source: Option<String>,
        /// What its files must be
        #[arg(long, value_name = "sha256:HEX")]
        hash: Option<String>,
    },
    /// Remove a plugin of the home.
    Remove {
        /// The plugin
        name: String,
        /// Its secrets too
        #[arg(long)]
        credentials: bool,
    },
    /// Compare a plugin's files with what was approved, start it and ask it for its tools.
    Verify {
        /// The plugin
        name: String,
    },
    /// Show what changed since a plugin was approved; with its hash, approve it.
    Approve {
        /// The plugin
        name: String,
        /// The hash that stands with the changes
        #[arg(long, value_name = "sha256:HEX")]
        hash: Option<String>,
    },
    /// Load one plugin or all again; sessions that run go on.
    Reload {
        /// The plugin; all when missing
        name: Option<String>,
    },
    /// Let a plugin be used.
    Enable {
        /// The plugin
        name: String,
    },
    /// Let a plugin not be used.
    Disable {
        /// The plugin
        name: String,
    },
    /// Call a tool, as the owner.
    Call {
        /// The tool
        tool: String,
        /// Its arguments, a JSON object; `-` reads them from standard input
        #[arg(default_value = "{}")]
        arguments: String,
        /// Confirm a call of high risk in advance
        #[arg(long, short)]
        yes: bool,
    },
    /// Make a plugin of an MCP server that is reached over HTTP.
    AddRemote {
        /// The plugin's name
        name: String,
        /// The server: https://HOST/PATH
        url: String,
        /// It needs a token; `-` reads one that all agents share from standard input
        #[arg(long, value_name = "-")]
        token: Option<String>,
        /// Each agent has a process and a token of its own
        #[arg(long)]
        per_agent: bool,
        /// A tool that agents may call without being asked; may stand several times
        #[arg(long = "low", value_name = "TOOL")]
        low: Vec<String>,
    },
}
