//! What a session carries because a job made it.

use std::collections::BTreeMap;

use engines::Options;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Hooks, ResolvedJob};

/// What a job asks of each turn of its session, besides the prompt. Kept with the session, since a daemon that takes the
/// session up again knows nothing else of the job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobPart {
    /// The job.
    pub id: String,
    /// Instructions, added to those of the agent.
    pub instructions: String,
    /// What the engine is told before everything else.
    pub system_prompt: Option<String>,
    /// Rounds with the model.
    pub max_turns: Option<u32>,
    /// The engine's own tools that it may use.
    pub allowed_tools: Option<Vec<String>>,
    /// Plugins whose tools it may use besides the agent's tools.
    pub plugins: Vec<String>,
    /// MCP servers that the engine starts inside.
    pub mcp_config: Option<Value>,
    /// Scripts that run before and after the engine.
    pub hooks: Hooks,
    /// The description of an engine that is not built in, as it was when the job was accepted.
    pub engine_text: Option<String>,
    /// The repository that its first turn begins with.
    pub repo: Option<JobRepo>,
    /// Variables that hooks get.
    pub variables: BTreeMap<String, String>,
}

/// A repository that is cloned into the working directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobRepo {
    /// An address, or a path of the host that the configuration lists.
    pub from: String,
    /// The branch, tag or commit.
    pub reference: Option<String>,
}

impl JobPart {
    /// What a session gets of a job.
    #[must_use]
    pub fn of(id: &str, job: &ResolvedJob) -> Self {
        Self {
            id: id.to_owned(),
            instructions: job.instructions.clone(),
            system_prompt: job.system_prompt.clone(),
            max_turns: job.max_turns,
            allowed_tools: job.allowed_tools.clone(),
            plugins: job.plugins.clone(),
            mcp_config: job.mcp_config.clone(),
            hooks: job.hooks.clone(),
            engine_text: job.engine_text.clone(),
            repo: None,
            variables: BTreeMap::new(),
        }
    }

    /// What its engine is asked.
    pub(crate) fn options(&self) -> Options<'_> {
        Options {
            max_turns: self.max_turns,
            allowed_tools: self.allowed_tools.as_deref(),
            system_prompt: self.system_prompt.as_deref(),
            mcp_config: self.mcp_config.as_ref(),
        }
    }
}
