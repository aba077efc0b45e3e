//! The verbs of the coordinator.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

/// The coordinator's tools.
#[derive(Debug, Clone, Args)]
pub(crate) struct Mcp {
    #[command(subcommand)]
    pub(crate) verb: Option<McpVerb>,
    /// The repository that agents are spawned in [default: the one around the current directory]; given again, one that an agent may work
    /// on beside it: under the directory's name, or the one that is said
    #[arg(long, value_name = "[NAME=]DIR", value_hint = ValueHint::DirPath)]
    pub(crate) repo: Vec<String>,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum McpVerb {
    /// Tell the agent program of a project, for example Claude Code, of these tools: writes its MCP entry (.mcp.json) and the skill spawn-agent.
    Install {
        /// The project [default: the repository around the current directory]
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
        /// Take both away again
        #[arg(long)]
        remove: bool,
    },
}
