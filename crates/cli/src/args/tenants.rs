//! Organisations and people.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

/// What a tenant may have; what is not named is not limited.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Quotas {
    /// Jobs that wait
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<u64>,
    /// Turns and jobs that run at once
    #[arg(long, value_name = "N")]
    pub(crate) running: Option<u64>,
    /// Sessions that are not archived
    #[arg(long, value_name = "N")]
    pub(crate) sessions: Option<u64>,
    /// Envs
    #[arg(long, value_name = "N")]
    pub(crate) envs: Option<u64>,
    /// Tokens that are good
    #[arg(long, value_name = "N")]
    pub(crate) tokens: Option<u64>,
    /// Results and artifacts that are kept, for example 10g
    #[arg(long, value_name = "SIZE")]
    pub(crate) storage: Option<String>,
    /// US dollars that models may cost in a day (UTC)
    #[arg(long, value_name = "USD")]
    pub(crate) usd_per_day: Option<f64>,
    /// Requests to the API in a minute
    #[arg(long, value_name = "N")]
    pub(crate) requests: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Tenant {
    /// Make a tenant.
    Add {
        /// Small letters, digits and `-`
        name: String,
        /// What people call it
        #[arg(long, default_value = "")]
        title: String,
        #[command(flatten)]
        quotas: Quotas,
    },
    /// The tenants.
    List,
    /// One tenant with its quota.
    Show {
        /// Which
        name: String,
    },
    /// Set what a tenant may have; quotas that are not named stay.
    Quota {
        /// Which
        name: String,
        #[command(flatten)]
        quotas: Quotas,
        /// Take every quota away first
        #[arg(long)]
        clear: bool,
    },
    /// Let its tokens open nothing; what it has stays.
    Suspend {
        /// Which
        name: String,
    },
    /// Let it work again.
    Resume {
        /// Which
        name: String,
    },
    /// Remove a tenant that owns nothing any more.
    Remove {
        /// Which
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Put a person into a tenant; whoever never logged in is expected from then on.
    Add {
        /// The address under which the issuer of logins knows them
        email: String,
        /// What they are
        #[arg(long, value_parser = ["viewer", "member", "admin", "owner"])]
        role: String,
        /// The tenant
        #[arg(long, default_value = app::OWN_TENANT)]
        tenant: String,
    },
    /// The people.
    List {
        /// Of this tenant only
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Take a person out of a tenant; their tokens there end.
    Remove {
        /// Their identity or address
        #[arg(value_name = "usr_...|EMAIL")]
        user: String,
        /// The tenant
        #[arg(long, default_value = app::OWN_TENANT)]
        tenant: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Budget {
    /// The budgets that were set, and what was spent of each.
    List,
    /// Set what may be spent.
    Set {
        /// Whose: session:ID, job:ID, agent:NAME, tenant:NAME or all, and @day behind it to hold each day (UTC)
        name: String,
        /// US dollars
        #[arg(value_name = "USD")]
        limit: f64,
        /// What happens when it is spent; sessions wait and jobs fail when left out
        #[arg(long, value_parser = ["wait", "fail"])]
        policy: Option<String>,
    },
    /// Raise what may be spent; work that waits for it goes on.
    Raise {
        /// Whose
        name: String,
        /// By how many US dollars
        #[arg(value_name = "USD")]
        by: f64,
    },
    /// Forget what was set; what was spent stays known.
    Remove {
        /// Whose
        name: String,
    },
    /// Take a file of prices, looked at before the built-in ones.
    Prices {
        /// The file, in the form of share/prices.toml
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}
