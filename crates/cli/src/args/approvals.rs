//! Confirmations and the audit.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Approvals {
    /// What waits for an answer, or was answered.
    List {
        /// `pending`, `approved`, `denied`, `expired` or `cancelled`
        #[arg(long, default_value = "pending", value_parser = ["pending", "approved", "denied", "expired", "cancelled", "any"])]
        status: String,
        /// Only those of this session
        #[arg(long, value_name = "ses_...")]
        session: Option<String>,
    },
    /// Show a call whole, before it is answered.
    Show {
        /// The confirmation
        #[arg(value_name = "apr_...")]
        id: String,
    },
    /// Let calls be made, each once. What is approved is printed.
    Approve(Answer),
    /// Refuse calls.
    Deny(Answer),
}

/// What is answered, and with which words.
#[derive(Debug, Args)]
pub(crate) struct Answer {
    /// The confirmations
    #[arg(value_name = "apr_...", required_unless_present = "all")]
    pub(crate) ids: Vec<String>,
    /// Show each that waits, and ask about it (on a terminal)
    #[arg(long, conflicts_with = "ids")]
    pub(crate) all: bool,
    /// Answer only if the call still has this hash
    #[arg(long, value_name = "HASH", conflicts_with = "all")]
    pub(crate) hash: Option<String>,
    /// Also a call with an argument of more than 64 KiB
    #[arg(long)]
    pub(crate) long: bool,
    /// A word for the agent
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Rows that match, the last ones.
    Query {
        #[command(flatten)]
        which: AuditWhich,
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=500))]
        limit: u64,
    },
    /// Read the whole chain; exit 1 and name the first fault when there is one.
    Verify {
        /// Also hold it to what an earlier check printed and was kept elsewhere: NUMBER:HASH
        #[arg(long, value_name = "NUMBER:HASH")]
        expect: Option<String>,
    },
    /// All rows that match, one JSON object a line.
    Export {
        #[command(flatten)]
        which: AuditWhich,
    },
}

/// Which rows of the audit.
#[derive(Debug, Args)]
pub(crate) struct AuditWhich {
    /// The kind
    #[arg(long, value_parser = ["tool", "model", "egress", "confirmation", "admin"])]
    pub(crate) kind: Option<String>,
    /// The session
    #[arg(long, value_name = "ses_...")]
    pub(crate) session: Option<String>,
    /// What it is about, for example tool.invoke.http_post
    #[arg(long)]
    pub(crate) topic: Option<String>,
    /// How it ended, for example rejected
    #[arg(long)]
    pub(crate) outcome: Option<String>,
    /// The call
    #[arg(long)]
    pub(crate) correlation: Option<String>,
    /// Not older than this, for example 2h
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
}
