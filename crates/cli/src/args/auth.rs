//! Credentials of plugins.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Auth {
    /// Store a key of a plugin.
    ApiKey {
        /// The plugin or channel
        #[arg(long, value_name = "NAME")]
        plugin: String,
        /// `-` reads it from standard input, without echo on a terminal (what happens anyway without --key). A value here can be
        /// read by others of this machine and stays in the shell's history
        #[arg(long, value_name = "VALUE|-", default_value = "-", allow_hyphen_values = true)]
        key: String,
        /// Which of the plugin's credentials; needed when it has several
        #[arg(long, value_name = "KEY")]
        name: Option<String>,
        /// For this agent alone
        #[arg(long, value_name = "AGENT")]
        agent: Option<String>,
    },
    /// Log in at a plugin's service by OAuth 2, with a browser or with a code.
    Login {
        /// The plugin
        #[arg(long, value_name = "NAME")]
        plugin: String,
        /// With a code that is typed into a page on any device
        #[arg(long)]
        device: bool,
        /// An application of your own at the service, instead of the one in the plugin's manifest; it stays with the login
        #[arg(long, value_name = "ID")]
        client_id: Option<String>,
        /// `-` reads the secret of that application from standard input, without echo on a terminal
        #[arg(long, value_name = "-", requires = "client_id")]
        client_secret: Option<String>,
        /// For this agent alone
        #[arg(long, value_name = "AGENT")]
        agent: Option<String>,
    },
    /// The credentials of plugins: which are set, which are missing, when tokens end.
    Status,
}
