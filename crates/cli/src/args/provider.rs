//! The verbs of model providers.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Provider {
    /// Providers: where each answers, whether it has a key, and which agents ask it, in what order.
    List,
    /// Show one of them, and the models that it lists.
    Show {
        /// The provider
        name: String,
    },
    /// List the models of a provider, as it lists them itself.
    Models {
        /// The provider
        name: String,
        /// Ask it though it was asked within the last ten minutes
        #[arg(long)]
        fresh: bool,
    },
    /// Add a provider, or change what is there: where it answers, its key, and one small call that shows that it does.
    Add(ProviderAdd),
    /// Make one small call the whole way, from inside a sandbox, and say how long it took and what it cost. Exit 1 when it fails.
    Test {
        /// The provider
        name: String,
        /// The model, as the provider names it [default: the smallest of a well-known provider]
        #[arg(long)]
        model: Option<String>,
    },
    /// Forget a provider's configuration and its key. One that agents name stays, unless forced.
    Remove {
        /// The provider
        name: String,
        /// Leave its key among the secrets
        #[arg(long)]
        keep_key: bool,
        /// Though agents name it
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ProviderAdd {
    /// Its name; also that of its key among the secrets
    pub(crate) name: String,
    /// What it speaks; `ollama` is a server of this machine that needs no key and costs nothing [default: by name, else openai]
    #[arg(long, value_parser = ["anthropic", "openai", "gemini", "ollama"])]
    pub(crate) kind: Option<String>,
    /// Where it answers
    #[arg(long, value_name = "URL")]
    pub(crate) base_url: Option<String>,
    /// `-` reads the key from standard input; a terminal is asked for it without echo
    #[arg(long, value_name = "-")]
    pub(crate) key: Option<String>,
    /// It works without a key
    #[arg(long, conflicts_with = "key")]
    pub(crate) keyless: bool,
    /// Its models cost nothing, whatever the list of prices says
    #[arg(long)]
    pub(crate) free: bool,
    /// The model that the small call asks for
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Store it untried
    #[arg(long)]
    pub(crate) no_test: bool,
}
