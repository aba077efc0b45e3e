//! The first steps, and asking about the install.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Setup {
    /// Whose models are used: anthropic, openai, gemini, openrouter ..., or `local` for a model of this machine
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// `-` reads its key from standard input
    #[arg(long, value_name = "-", requires = "provider")]
    pub(crate) key: Option<String>,
    /// Where a local model answers [default: http://127.0.0.1:11434/v1]
    #[arg(long, value_name = "URL")]
    pub(crate) base_url: Option<String>,
    /// The model that the agent uses, as its provider names it
    #[arg(long, value_name = "M")]
    pub(crate) model: Option<String>,
    /// The first agent
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,
    /// What it is told; `@FILE` reads a file
    #[arg(long, value_name = "TEXT|@FILE", requires = "agent")]
    pub(crate) instructions: Option<String>,
    /// The first chat network; the account is called like it
    #[arg(long, value_name = "NAME")]
    pub(crate) network: Option<String>,
    /// What the account is told (JSON where it is JSON, else text)
    #[arg(long, value_name = "KEY=VALUE", requires = "network")]
    pub(crate) config: Vec<String>,
    /// A credential of the account; `KEY=-` reads standard input
    #[arg(long, value_name = "KEY=-", requires = "network")]
    pub(crate) credential: Vec<String>,
    /// Pass over a step: model, agent, channel, pair, hello
    #[arg(long, value_name = "STEP", value_delimiter = ',', value_parser = ["model", "agent", "channel", "pair", "hello"])]
    pub(crate) skip: Vec<String>,
    /// Store a key without trying it
    #[arg(long)]
    pub(crate) no_test: bool,
    /// Ask nothing: do what the flags say, and tell what is left
    #[arg(long)]
    pub(crate) yes: bool,
    /// Begin anew: forget what was passed over
    #[arg(long)]
    pub(crate) restart: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Ask {
    /// What you want to know; `-` reads standard input
    #[arg(value_name = "QUESTION|-")]
    pub(crate) question: String,
    /// The model, as its provider names it, or PROVIDER/MODEL
    #[arg(long, value_name = "M")]
    pub(crate) model: Option<String>,
    /// Keep the session; it is forgotten otherwise
    #[arg(long)]
    pub(crate) keep: bool,
}
