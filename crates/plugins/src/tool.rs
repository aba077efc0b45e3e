//! What a plugin is to the MCP server in front of it.

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::net::NetError;
use crate::surroundings::SurroundingsError;

/// A call as it came from the host.
#[derive(Debug, Clone)]
pub struct Call {
    /// The tool.
    pub tool: String,
    /// An object, as the caller wrote it.
    pub arguments: Value,
    /// The host's name for this effect: the same when the call is made again. Letters, digits, `-` and `_`.
    pub key: Option<String>,
}

impl Call {
    /// The arguments in the form that the tool takes.
    pub(crate) fn arguments<T: DeserializeOwned>(&self) -> Result<T, ToolError> {
        serde_json::from_value(self.arguments.clone()).map_err(|e| ToolError::Arguments(e.to_string()))
    }
}

/// Why a call gave no result. `Display` is for the agent.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The server asked for a tool that the plugin does not have.
    #[error("there is no tool `{0}` here")]
    Unknown(String),
    /// The arguments are not what the tool takes.
    #[error("{0}")]
    Arguments(String),
    /// The plugin's surroundings lack something.
    #[error("{0}")]
    Surroundings(#[from] SurroundingsError),
    /// The other side could not be reached, or not talked to.
    #[error("{0}")]
    Net(#[from] NetError),
    /// What was asked for is not there.
    #[error("{0}")]
    NotFound(String),
    /// The other side said no, or something that makes no sense.
    #[error("{0}")]
    Remote(String),
    /// The effect may have happened, or not.
    #[error("it is not known whether this was carried out: {0}; look before you repeat it")]
    Unknowable(String),
}

/// A plugin: tools and what carries them out.
pub trait Plugin: Send + Sync {
    /// The tools, as `tools/list` gives them.
    fn tools(&self) -> BoxFuture<'_, Result<Vec<Value>, ToolError>>;

    /// Carries one call out. Dropping the future gives the call up.
    fn call<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Outcome, ToolError>>;
}

/// What a call gave.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A JSON object.
    Object(Value),
    /// An MCP result that another server gave, as it is.
    Whole(Value),
}

impl From<Value> for Outcome {
    fn from(value: Value) -> Self {
        Self::Object(value)
    }
}

/// The failure of a request that may have had its effect although no answer came.
pub(crate) fn after_effect(error: NetError) -> ToolError {
    match error {
        NetError::Broken { .. } | NetError::TooMuch { .. } | NetError::Slow(crate::net::ANSWER) => ToolError::Unknowable(error.to_string()),
        before => ToolError::Net(before),
    }
}

/// The public name of an effect: the same for the same key, and nothing that tells the key.
pub(crate) fn effect_name(key: &str) -> String {
    let digest = Sha256::digest(format!("lazaret effect {key}"));
    digest.iter().take(16).fold(String::new(), |name, byte| name + &format!("{byte:02x}"))
}
