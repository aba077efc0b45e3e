//! What jobs are asked and how they are shown.

use std::collections::BTreeMap;
use std::time::Duration;

pub use model::JobState;
use model::{EgressRule, Limits, Money, SessionId, Timestamp, TurnId, Usage};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A job to run. Only `agent_id` and either `prompt` or a profile with a prompt of its own are needed.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JobForm {
    /// Who asks, in the caller's own words: 1 to 64 letters, digits, `_` and `-`. The job's identity begins with it.
    pub agent_id: String,
    /// The engine; the profile's, else the configured one when left out.
    pub engine: Option<String>,
    /// What is asked; the profile's own prompt when left out.
    pub prompt: Option<String>,
    /// The profile; `default` when left out.
    pub profile: Option<String>,
    /// Variables of the profile's prompt.
    pub prompt_vars: Map<String, Value>,
    /// Variables of the profile's instructions.
    pub claude_md_vars: Map<String, Value>,
    /// Plugins whose tools it may use, besides the profile's.
    pub plugins: Vec<String>,
    /// The engine's own tools that it may use; the profile's when left out.
    pub allowed_tools: Option<Vec<String>>,
    /// Rounds with the model: 1 to 100.
    pub max_turns: Option<u32>,
    /// The most that it may cost, in US dollars: above 0, at most 50.
    pub max_budget_usd: Option<f64>,
    /// MCP servers that the engine starts inside, in the engine's own form.
    pub mcp_config: Option<Value>,
    /// The model.
    pub model: Option<String>,
    /// What the engine is told before everything else: at most 500,000 characters.
    pub system_prompt: Option<String>,
    /// The form of the result; the profile's, else `json` when left out.
    pub output_format: Option<OutputFormat>,
    /// Whether everything is done but the work itself: the result is the command line.
    pub dry_run: bool,
    /// Where the end is told: http or https, at most 2,048 characters.
    pub webhook_url: Option<String>,
    /// What webhooks of this job are signed with; the tenant's when left out.
    pub webhook_secret: Option<String>,
    /// From 0 to 9; a higher one goes first. 5 when left out.
    pub priority: Option<u8>,
    /// Seconds after which it fails; the profile's, else the configured limit when left out.
    pub timeout_s: Option<u64>,
    /// Seconds before which it does not begin.
    pub delay_s: Option<u64>,
    /// How often it is tried again when it fails through no fault of its own: 0 to 10.
    pub retries: Option<u8>,
    /// The agent whose policy and tools it has; `default` when left out.
    pub agent: Option<String>,
    /// The env that it works in; a private tree when left out.
    pub env: Option<String>,
    /// Variables for the engine.
    pub variables: BTreeMap<String, String>,
    /// Files that are put into the working directory first.
    pub files: Vec<JobFile>,
    /// A repository that is cloned into the working directory: an address that egress allows, or a listed path.
    pub repo: Option<String>,
    /// The branch, tag or commit of `repo`.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// The user's own words, for finding it again.
    pub labels: BTreeMap<String, String>,
    /// A JSON Schema that the result must fit; one that does not gets one more turn to be mended.
    pub output_schema: Option<Value>,
    /// Files of the working directory that are kept: globs.
    pub artifacts: Vec<String>,
    /// Hosts that may be reached.
    pub egress: Vec<EgressRule>,
    /// What its sandbox may use; the profile's, else the configured limits when left out.
    pub limits: Option<Limits>,
}

/// A file that comes with a job: a relative path below the working directory.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobFile {
    /// Where, below the working directory.
    pub path: String,
    /// Its bytes, in base64.
    pub data: String,
}

/// The form of a result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OutputFormat {
    /// The final text, or the JSON value that it is.
    #[default]
    Json,
    /// The final text.
    Text,
    /// Every event, a line of JSON each.
    StreamJson,
}

/// What a job runs with, once its form, its profile and the configuration are brought together. Kept with the job, so
/// that a profile that changes later does not change it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResolvedJob {
    /// The profile.
    pub profile: String,
    /// Its version.
    pub profile_version: u64,
    /// The engine; the configured one when left out.
    pub engine: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// The prompt, rendered.
    pub prompt: String,
    /// The instructions (CLAUDE.md, AGENTS.md, GEMINI.md), rendered; empty for none.
    pub instructions: String,
    /// What the engine is told before everything else.
    pub system_prompt: Option<String>,
    /// The engine's own tools that it may use; its usual ones when left out.
    pub allowed_tools: Option<Vec<String>>,
    /// Plugins whose tools it may use.
    pub plugins: Vec<String>,
    /// MCP servers that the engine starts inside.
    pub mcp_config: Option<Value>,
    /// Rounds with the model.
    pub max_turns: Option<u32>,
    /// The most that it may cost.
    pub budget: Option<Money>,
    /// The form of the result.
    pub output_format: OutputFormat,
    /// After which time it fails.
    pub timeout: Option<Duration>,
    /// What its sandbox may use.
    pub limits: Option<Limits>,
    /// Hosts that may be reached.
    pub egress: Vec<EgressRule>,
    /// Scripts that run inside before and after the engine.
    pub hooks: Hooks,
    /// The description of an engine that is not built in.
    pub engine_text: Option<String>,
}

/// Scripts that run in the sandbox, in the working directory, by `/bin/sh` unless they begin with `#!`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    /// Runs before the engine; when it fails, so does the job, and the engine is not started.
    pub pre: Option<String>,
    /// Runs after the engine, however that ended, with JOB_STATUS and JOB_EXIT_CODE; its failure is noted only.
    pub post: Option<String>,
}

/// A job as it is shown. Lists leave out `prompt`, `result`, `text` and `output`.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct JobView {
    /// Its identity: the `agent_id`, a hyphen and 12 hex digits.
    pub id: String,
    /// Who asked.
    pub agent_id: String,
    /// Where it stands.
    pub status: JobState,
    /// The engine; the configured one while empty.
    pub engine: String,
    /// The model; empty for the engine's own choice.
    pub model: String,
    /// The profile.
    pub profile: String,
    /// Among jobs that wait, a higher one goes first.
    pub priority: u8,
    /// The user's own words.
    pub labels: BTreeMap<String, String>,
    /// Its session, once it has begun.
    pub session: Option<SessionId>,
    /// Its turn, once it has begun.
    pub turn: Option<TurnId>,
    /// How often it was begun.
    pub tries: u32,
    /// 0 when it ended well, 1 when it failed, 130 when it was stopped.
    pub exit_code: Option<i32>,
    /// The final text, or the JSON value that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// The final text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The result in the form that was asked for, where that is neither text nor JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Why it failed, at most 500 characters.
    pub error: Option<String>,
    /// The error's code.
    pub code: Option<String>,
    /// The tokens.
    pub usage: Usage,
    /// What it cost, in US dollars.
    pub cost_usd: f64,
    /// Files that it left: names below the working directory and their bytes.
    pub artifacts: Vec<Artifact>,
    /// When it was accepted.
    pub created: Timestamp,
    /// When its engine first started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
}

/// A file that a job left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Artifact {
    /// Where it was, below the working directory.
    pub path: String,
    /// How long it is.
    pub bytes: u64,
}

/// Which jobs to list, the youngest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JobQuery {
    /// Those that stand so.
    pub status: Option<JobState>,
    /// Those of this `agent_id`.
    pub agent_id: Option<String>,
    /// Those with this profile.
    pub profile: Option<String>,
    /// Those with this engine.
    pub engine: Option<String>,
    /// Those with this label: `KEY=VALUE`.
    pub label: Option<String>,
    /// Those accepted at or after this time, in milliseconds since 1970.
    pub from: Option<u64>,
    /// Those accepted before this time, in milliseconds since 1970.
    pub to: Option<u64>,
    /// The cursor of an earlier page.
    pub after: Option<String>,
    /// Entries in a page: 1 to 200; 50 when left out.
    pub limit: Option<usize>,
}
