//! What can be called.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use model::{Code, Risk};
use serde_json::Value;

use crate::stages::authorize;
use crate::{Approved, Caller, schema};

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

    /// Whether what it gives is a person's answer: then [`Confirm::ask`](crate::Confirm::ask) is asked whatever its risk, which waits without
    /// a deadline and gives the outcome.
    fn asks(&self) -> bool {
        false
    }
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
    /// Whether it uses what is the owner's own, accounts or the vault: then it is called only for who is trusted with those.
    pub is_owners: bool,
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

impl Tool {
    /// Whether it is one of the broker's own three.
    #[must_use]
    pub fn is_intrinsic(&self) -> bool {
        self.plugin.is_empty() && INTRINSIC.contains(&self.name.as_str())
    }
}

/// Names of the broker's own tools. No plugin may use them.
pub const INTRINSIC: [&str; 3] = ["get_diagnostics", "get_session_info", "list_tools"];
/// Tools of one catalogue; what comes after is left out.
pub const TOOLS_MAX: usize = 1_000;
/// The longest name of a tool, in bytes.
pub const TOOL_NAME_BYTES_MAX: usize = 64;

/// A tool with its schema compiled.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) tool: Arc<Tool>,
    pub(crate) validator: jsonschema::Validator,
}

impl Entry {
    /// Compiles a tool's schema.
    pub(crate) fn new(tool: Tool) -> Result<Self, String> {
        if !is_name(&tool.name) {
            return Err(format!("a tool's name is [a-z][a-z0-9_]*, at most {TOOL_NAME_BYTES_MAX} characters"));
        }
        let validator = schema::compile(&tool.schema).map_err(|error| error.to_string())?;
        Ok(Self { tool: Arc::new(tool), validator })
    }
}

fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    name.len() <= TOOL_NAME_BYTES_MAX && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(plain)
}

/// All tools, with their schemas compiled. Replaced whole when plugins change; calls under way keep theirs.
#[derive(Debug, Default)]
pub struct Catalogue {
    tools: BTreeMap<String, Arc<Entry>>,
}

impl Catalogue {
    /// A catalogue of these tools; each that cannot be used is given back with the reason. Of two with one name the first stays.
    #[must_use]
    pub fn new(tools: Vec<Tool>) -> (Self, Vec<(String, String)>) {
        let (mut catalogue, mut refused) = (Self::default(), Vec::new());
        for tool in tools {
            let name = tool.name.clone();
            if let Err(why) = catalogue.add(tool) {
                refused.push((name, why));
            }
        }
        (catalogue, refused)
    }

    fn add(&mut self, tool: Tool) -> Result<(), String> {
        if INTRINSIC.contains(&tool.name.as_str()) {
            return Err("the name is reserved".to_owned());
        }
        if let Some(other) = self.tools.get(&tool.name) {
            return Err(format!("the plugin `{}` has a tool of this name already", other.tool.plugin));
        }
        if self.tools.len() >= TOOLS_MAX {
            return Err(format!("there are {TOOLS_MAX} tools already"));
        }
        self.tools.insert(tool.name.clone(), Arc::new(Entry::new(tool)?));
        Ok(())
    }

    /// The same with the broker's own tools.
    pub(crate) fn with(mut self, intrinsic: &[Arc<Entry>]) -> Self {
        self.tools.extend(intrinsic.iter().map(|entry| (entry.tool.name.clone(), Arc::clone(entry))));
        self
    }

    /// A tool by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Tool>> {
        self.tools.get(name).map(|entry| &entry.tool)
    }

    pub(crate) fn entry(&self, name: &str) -> Option<&Arc<Entry>> {
        self.tools.get(name)
    }

    /// All tools, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Tool>> {
        self.tools.values().map(|entry| &entry.tool)
    }

    /// The tools that a caller may call, by name.
    #[must_use]
    pub fn visible(&self, caller: &Caller) -> Vec<Arc<Tool>> {
        self.iter().filter(|tool| authorize::may(caller, tool)).cloned().collect()
    }
}
