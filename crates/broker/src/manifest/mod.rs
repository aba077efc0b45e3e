//! What a plugin says of itself: `manifest.toml`, or `manifest.json` in the form that Carapace uses.
//!
//! A manifest is written by others and is hostile. It is read within limits, unknown keys are refused, every schema must be
//! closed at every level, and nothing in it is a path outside the plugin's own folder. What a manifest asks for (hosts,
//! credentials, a command) is granted by the owner who puts the plugin in place, never by the manifest.
//!
//! Start at [`Manifest::read_dir`]. Limits: [`MANIFEST_BYTES_MAX`], [`TOOLS_MAX`], [`SCHEMA_DEPTH_MAX`],
//! [`SCHEMA_PROPERTIES_MAX`], [`SKILLS_MAX`], [`SKILL_BYTES_MAX`].

mod error;
mod folder;
mod form;
mod schema;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{EgressRule, Risk};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use error::ManifestError;
pub use folder::{Skill, skills};
pub use schema::{SCHEMA_DEPTH_MAX, SCHEMA_PROPERTIES_MAX};

/// The longest manifest, in bytes.
pub const MANIFEST_BYTES_MAX: u64 = 64 << 10;
/// Tools that one plugin may offer.
pub const TOOLS_MAX: usize = 64;
/// The longest name of a tool, in characters.
pub const TOOL_NAME_CHARS_MAX: usize = 64;
/// The longest description of a tool, in characters.
pub const DESCRIPTION_CHARS_MAX: usize = 4096;
/// Skills that one plugin may bring.
pub const SKILLS_MAX: usize = 32;
/// The longest skill, in bytes.
pub const SKILL_BYTES_MAX: u64 = 64 << 10;
/// The word that stands for this program as the first of a command.
pub const OWN_PROGRAM: &str = "@lazaret";
/// Names of tools that no plugin may take: the broker's own and the daemon's. A model that was told of one would call the other.
pub const RESERVED_TOOLS: &[&str] = &[
    "get_diagnostics", "list_tools", "get_session_info", "memory_store", "memory_search", "memory_brief", "memory_delete", "send_message",
    "send_file", "edit_message", "add_reaction", "send_card", "ask_user", "list_destinations", "schedule_task", "list_tasks",
    "update_task", "pause_task", "resume_task", "cancel_task", "run_task", "create_agent", "get_instructions", "set_instructions",
    "install_packages", "add_mcp_server", "list_chats", "join_chat", "leave_chat", "look_status", "look_doctor", "look_logs", "look_audit",
    "look_why", "look_notices", "look_list",
];

/// What a plugin is, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// What it is for, one line.
    pub description: String,
    /// Its own version.
    pub version: String,
    /// Who made it.
    pub author: Option<Author>,
    /// What is run: words. A first word that begins with `./` is a file of the folder, [`OWN_PROGRAM`] is this program, and
    /// anything else is a program that is found on the sandbox's PATH.
    pub command: Vec<String>,
    /// Variables of the process that are no secret.
    pub env: BTreeMap<String, String>,
    /// Chat networks that it carries.
    pub channels: Vec<String>,
    /// What it lets agents call.
    pub tools: Tools,
    /// Topics that it wants to hear of.
    pub subscribes: Vec<String>,
    /// Groups whose agents may call its tools; `None` for all, empty for none.
    pub allowed_groups: Option<BTreeSet<String>>,
    /// Which session an event of it goes to.
    pub session: SessionPolicy,
    /// What secrets it needs.
    pub credentials: Vec<Credential>,
    /// The JSON Schema of its configuration; `None` when it takes none.
    pub config_schema: Option<Value>,
    /// Configuration that holds where the owner configures nothing else.
    pub config: Map<String, Value>,
    /// Hosts that it may reach; none when empty.
    pub hosts: Vec<EgressRule>,
    /// Whether the owner's configuration of it (its key `hosts`) adds to [`Manifest::hosts`].
    pub hosts_from_config: bool,
    /// What its processes may use.
    pub limits: PluginLimits,
    /// Whether each agent has a process and credentials of its own.
    pub per_agent: bool,
    /// Whether it has files of its own that stay.
    pub state: bool,
    /// Whether it sees the owner's vault, read-only.
    pub vault: bool,
    /// How the owner logs in to what stands behind it.
    pub oauth: Option<OAuth>,
}

impl Manifest {
    /// Whether it acts with what is the owner's own: accounts, or the vault.
    #[must_use]
    pub fn uses_accounts(&self) -> bool {
        self.vault || self.oauth.is_some() || !self.credentials.is_empty()
    }
}

/// Who made a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Author {
    /// A name.
    pub name: String,
    /// Where to find them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// The tools that a plugin offers.
#[derive(Debug, Clone, PartialEq)]
pub enum Tools {
    /// These and no other, whatever the server lists besides.
    Named(Vec<ToolDef>),
    /// All that the server lists, up to [`TOOLS_MAX`]: as tools of high risk, but for those named here (by the server's name
    /// or by the one that agents use). Names are made by [`Manifest::tool_name`].
    All {
        /// Tools of low risk.
        low: BTreeSet<String>,
        /// What each name begins with for agents.
        prefix: String,
    },
}

/// A tool as the manifest names it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolDef {
    /// What agents call it: `[a-z][a-z0-9_]*`.
    pub name: String,
    /// What the server calls it.
    pub server_name: String,
    /// What it does; `None` to take the server's word.
    pub description: Option<String>,
    /// How much harm it can do; high when the manifest does not say.
    pub risk: Risk,
    /// The schema of its arguments, closed; `None` to take the server's and close it.
    pub schema: Option<Value>,
}

/// Which session an event of a plugin goes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionPolicy {
    /// A new one.
    #[default]
    Fresh,
    /// The latest one that is not too old.
    Resume,
    /// The one that the plugin names.
    Explicit,
}

/// A secret that a plugin needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// Its name: the name of the file that the plugin reads.
    pub key: String,
    /// What it is.
    #[serde(default)]
    pub description: String,
    /// Whether the plugin is of no use without it.
    #[serde(default = "yes")]
    pub required: bool,
    /// Where to get one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obtain_url: Option<String>,
    /// What one looks like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format_hint: Option<String>,
    /// A variable of the plugin's process that holds it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
}

fn yes() -> bool {
    true
}

/// What a plugin's processes may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PluginLimits {
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Processors, in thousandths.
    pub cpu_millis: u32,
    /// Processes and threads.
    pub pids: u32,
    /// How long a call may take.
    pub time: Duration,
    /// After how long without a call a process ends.
    pub idle: Duration,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self { memory_bytes: 256 << 20, cpu_millis: 1000, pids: 64, time: Duration::from_secs(30), idle: Duration::from_secs(600) }
    }
}

/// How the owner logs in to a service by OAuth 2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OAuth {
    /// Where a browser is sent; needed for the loopback flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorize_url: Option<String>,
    /// Where tokens are given.
    pub token_url: String,
    /// Where a device code is given; needed for the device flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_url: Option<String>,
    /// The public name of this client.
    pub client_id: String,
    /// What is asked for.
    #[serde(default)]
    pub scopes: Vec<String>,
}

impl Manifest {
    /// Reads a manifest in TOML. A command is needed; nothing outside the text is looked at.
    ///
    /// # Errors
    /// [`ManifestError`], with the line or the key.
    pub fn from_toml(text: &str) -> Result<Self, ManifestError> {
        form::read(text, form::Kind::Toml)?.with_command(None)
    }

    /// The manifest's tools by the names that agents use; `None` when the server's list decides.
    #[must_use]
    pub fn named_tools(&self) -> Option<&[ToolDef]> {
        match &self.tools {
            Tools::Named(tools) => Some(tools),
            Tools::All { .. } => None,
        }
    }

    /// How a tool that the server lists is offered; `None` when it is not.
    #[must_use]
    pub fn tool_for(&self, server_name: &str) -> Option<ToolDef> {
        match &self.tools {
            Tools::Named(tools) => tools.iter().find(|tool| tool.server_name == server_name).cloned(),
            Tools::All { low, prefix } => {
                let name = Self::tool_name(prefix, server_name)?;
                let is_low = low.contains(server_name) || low.contains(&name);
                let risk = if is_low { Risk::Low } else { Risk::High };
                Some(ToolDef { name, server_name: server_name.to_owned(), description: None, risk, schema: None })
            }
        }
    }

    /// What agents call a tool that its server calls `server_name`: capitals become `_` and a small letter, anything else
    /// that cannot stand in a name becomes `_`. `None` when nothing usable is left, or the name is reserved.
    #[must_use]
    pub fn tool_name(prefix: &str, server_name: &str) -> Option<String> {
        let mut name = prefix.to_owned();
        let mut before = '_';
        for c in server_name.chars().take(TOOL_NAME_CHARS_MAX + 1) {
            if c.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit()) {
                name.push('_');
            }
            let plain = c.to_ascii_lowercase();
            let fits = plain.is_ascii_lowercase() || plain.is_ascii_digit();
            name.push(if fits { plain } else { '_' });
            before = c;
        }
        is_tool_name(&name).then_some(name)
    }
}

/// Whether a text can be the name of a plugin's tool.
#[must_use]
pub fn is_tool_name(text: &str) -> bool {
    text.len() <= TOOL_NAME_CHARS_MAX
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !RESERVED_TOOLS.contains(&text)
}
