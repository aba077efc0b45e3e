//! Webhooks.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Webhook {
    /// What was sent, is on its way, or was given up.
    List {
        /// Only what stands so
        #[arg(long, value_parser = ["pending", "sent", "dead"])]
        status: Option<String>,
        /// Only those of this job
        #[arg(long)]
        job: Option<String>,
    },
    /// Show a delivery and what it sends.
    Show {
        /// The delivery
        #[arg(value_name = "whk_...")]
        id: String,
    },
    /// Send deliveries once more.
    Resend {
        /// The deliveries
        #[arg(value_name = "whk_...", required_unless_present = "dead")]
        ids: Vec<String>,
        /// All that were given up
        #[arg(long, conflicts_with = "ids")]
        dead: bool,
    },
    /// Make what webhooks are signed with, and print it, once.
    Secret {
        /// Read it from standard input instead
        #[arg(long, conflicts_with = "remove")]
        stdin: bool,
        /// Forget it: webhooks go unsigned
        #[arg(long)]
        remove: bool,
    },
}
