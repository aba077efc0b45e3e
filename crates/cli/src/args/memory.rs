//! The verbs of what agents remember.

use clap::Subcommand;

/// What an entry may say.
const KINDS: [&str; 5] = ["preference", "instruction", "correction", "fact", "context"];

#[derive(Debug, Subcommand)]
pub(crate) enum Memory {
    /// Memories, the newest first.
    List {
        /// Of this agent only
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
        /// Of this kind only
        #[arg(long = "type", value_parser = KINDS)]
        kind: Option<String>,
        /// With this tag; may stand several times
        #[arg(long = "tag", value_name = "TAG")]
        tags: Vec<String>,
        /// In this state only
        #[arg(long, value_parser = ["live", "superseded", "deleted", "withdrawn"])]
        state: Option<String>,
        /// Only those that would change what an agent does and that nobody has confirmed
        #[arg(long)]
        waiting: bool,
        /// How many
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// What an agent finds when it asks this, the best first.
    Search {
        /// Any text
        query: String,
        /// The agent
        #[arg(long, value_name = "NAME", default_value = app::DEFAULT_AGENT)]
        agent: String,
        /// Of this kind only
        #[arg(long = "type", value_parser = KINDS)]
        kind: Option<String>,
        /// With this tag; may stand several times
        #[arg(long = "tag", value_name = "TAG")]
        tags: Vec<String>,
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// One memory with where it came from.
    Show {
        #[arg(value_name = "mem_...")]
        id: String,
    },
    /// Tell an agent something; it is confirmed with it.
    Add {
        /// The text; `-` for standard input, `@FILE` for a file
        content: String,
        /// The agent
        #[arg(long, value_name = "NAME", default_value = app::DEFAULT_AGENT)]
        agent: String,
        /// What it says
        #[arg(long = "type", value_parser = KINDS, default_value = "fact")]
        kind: String,
        /// A tag; may stand several times
        #[arg(long = "tag", value_name = "TAG")]
        tags: Vec<String>,
        /// The entry whose place it takes
        #[arg(long, value_name = "mem_...")]
        supersedes: Option<String>,
    },
    /// Let memories act in every session of their agent.
    Confirm {
        #[arg(value_name = "mem_...", required = true)]
        ids: Vec<String>,
    },
    /// Remove memories for good.
    Delete {
        #[arg(value_name = "mem_...", required = true)]
        ids: Vec<String>,
    },
    /// Remove what an agent does not find any more, or everything.
    Purge {
        /// The agent
        #[arg(long, value_name = "NAME")]
        agent: String,
        /// Everything that it remembers
        #[arg(long)]
        all: bool,
    },
    /// All memories of an agent as lines of JSON, the newest first.
    Export {
        /// The agent
        #[arg(long, value_name = "NAME")]
        agent: String,
    },
}
