//! What can be called.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use model::{Code, Risk};
use serde_json::Value;

use crate::Approved;

/// Why a handler gave no result. Its message is for the agent: no host path, no internals.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CallFailure {
    /// `PLUGIN_TIMEOUT`, `PLUGIN_UNAVAILABLE`, `PLUGIN_ERROR` or `HANDLER_ERROR`; a handler that gives a code of the stages gets
    /// `HANDLER_ERROR`.
    pub code: Code,
    /// What went wrong.
    pub message: String,
    /// Whether the same call may succeed later.
    pub retriable: bool,
}

impl CallFailure {
    /// A failure that is as retriable as its code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retriable: code.is_retriable() }
    }
}

/// What carries a call out. It gets nothing that did not pass all five stages before.
pub trait Handler: Send + Sync {
    /// Carries it out. Dropping the future gives the call up.
    fn call<'a>(&'a self, call: &'a Approved) -> BoxFuture<'a, Result<Value, CallFailure>>;
}

/// A tool, as it was checked when its plugin was loaded.
#[derive(Clone)]
pub struct Tool {
    /// Its name, unique among all plugins: `[a-z][a-z0-9_]*`, at most 64 characters.
    pub name: String,
    /// The plugin; empty for the daemon's own.
    pub plugin: String,
    /// What it does, for models.
    pub description: String,
    /// How much harm it can do.
    pub risk: Risk,
    /// The JSON Schema of its arguments: an object, closed at every level.
    pub schema: Value,
    /// Groups whose agents may call it; `None` for all, empty for none.
    pub groups: Option<BTreeSet<String>>,
    /// How long it may take.
    pub deadline: Duration,
    /// What carries it out.
    pub handler: Arc<dyn Handler>,
}

impl std::fmt::Debug for Tool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tool").field("name", &self.name).field("plugin", &self.plugin).field("risk", &self.risk).finish_non_exhaustive()
    }
}

/// All tools, with their schemas compiled. Replaced whole when plugins change; calls under way keep theirs.
#[derive(Debug, Default)]
pub struct Catalogue {
    tools: BTreeMap<String, Arc<Tool>>,
}

impl Catalogue {
    /// A catalogue of these tools; each that cannot be used is given back with the reason.
    #[must_use]
    pub fn new(tools: Vec<Tool>) -> (Self, Vec<(String, String)>) {
        let tools = tools.into_iter().map(|tool| (tool.name.clone(), Arc::new(tool))).collect();
        (Self { tools }, Vec::new())
    }

    /// A tool by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Tool>> {
        self.tools.get(name)
    }

    /// All tools, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Tool>> {
        self.tools.values()
    }
}
