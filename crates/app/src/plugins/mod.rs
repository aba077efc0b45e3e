//! Plugins: what people put into the home's `plugins/`, and what ships.
//!
//! A plugin is a program in a sandbox of its own. Here it is found and loaded (`book.rs`), started (`launch.rs`), its tools
//! are made what its manifest and its owner allow (`offer.rs`, `word.rs`), and what it tells agents is laid out for them
//! (`skills.rs`).

mod book;
mod catalogue;
mod clone;
pub(crate) mod folder;
mod found;
mod install;
mod launch;
mod loads;
mod offer;
mod pins;
mod skills;
mod word;

use std::sync::Arc;

use broker::Caller;
use model::{Code, Failure, Risk};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(crate) use book::{Book, How};
pub use clone::plugin_name_of;
pub use folder::{ARCHIVE_BYTES_MAX as PLUGIN_BYTES_MAX, FOLDER_FILES_MAX as PLUGIN_FILES_MAX, hash_folder};
pub(crate) use install::{Fresh, PluginLocks};
pub use install::{
    PluginChecked, PluginCredential, PluginInstalled, PluginInstalls, PluginOrder, PluginRecord, check_plugin, check_plugin_name,
};
pub(crate) use launch::{CREDENTIALS, PLUGIN_LABEL, PluginSandbox, Printed, STATE, Stdin, open_folder, state_tree, tar_of};
pub(crate) use loads::{SETTLE_AGENT, SETTLE_MAX, Touched};
pub use offer::Definition;
pub(crate) use offer::visible;
pub use pins::{Pending, PluginChange};
pub(crate) use skills::LaidOut;

use crate::App;

/// What a plugin that was loaded says of itself; `None` when there is none of this name.
pub(crate) fn manifest_of(app: &App, plugin: &str) -> Option<Result<Arc<broker::Manifest>, Failure>> {
    let entry = app.book().entries().remove(plugin)?;
    let unread = || entry.why.clone().unwrap_or_else(|| Failure::new(Code::PluginInvalid, "its manifest cannot be read"));
    Some(entry.found.as_ref().map(|found| Arc::clone(&found.manifest)).ok_or_else(unread))
}

/// A plugin that is part of the program.
#[derive(Debug, Clone, Copy)]
pub struct ShippedPlugin {
    /// Its name.
    pub name: &'static str,
    /// The text of its `manifest.toml`.
    pub manifest: &'static str,
    /// Its skills: file names and texts.
    pub skills: &'static [(&'static str, &'static str)],
}

/// How a plugin stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PluginState {
    /// Its tools can be called.
    Ready,
    /// It is switched off, or ships and is not set up.
    Off,
    /// It could not be loaded.
    Failed,
    /// Something has changed and waits for the owner's approval.
    Pending,
}

/// What kind of trouble a plugin has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Category {
    /// Its manifest or its configuration.
    Config,
    /// A credential is missing, refused or has expired.
    Auth,
    /// A host cannot be reached.
    Network,
    /// Its program.
    Internal,
    /// It waits for approval.
    Pending,
}

impl Category {
    /// The word in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "CONFIG",
            Self::Auth => "AUTH",
            Self::Network => "NETWORK",
            Self::Internal => "INTERNAL",
            Self::Pending => "PENDING",
        }
    }
}

/// A plugin, as its owner sees it.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PluginView {
    /// Its name.
    pub name: String,
    /// Its version; empty when its manifest cannot be read.
    pub version: String,
    /// What it is for.
    pub description: String,
    /// Whether it is part of the program.
    pub shipped: bool,
    /// How it stands.
    pub state: PluginState,
    /// What kind of trouble it has, if any: a plugin that is ready can have trouble that comes and goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// What is wrong and what to do, or why it is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Failure>,
    /// What agents may call, as far as their groups may.
    pub tools: Vec<PluginToolView>,
    /// Tools that are not offered, each with the reason.
    pub left_out: Vec<(String, String)>,
    /// Hosts that its manifest names.
    pub hosts: Vec<String>,
    /// Its credentials, and whether each is set for the whole install.
    pub credentials: Vec<CredentialView>,
    /// The end of what its processes said on standard error.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_words: String,
}

/// A tool of a plugin.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PluginToolView {
    /// What agents call it.
    pub name: String,
    /// What it does.
    pub description: String,
    /// How much harm it can do.
    pub risk: Risk,
    /// The JSON Schema of its arguments.
    pub schema: Value,
    /// The hash of all of this.
    pub hash: String,
}

/// A credential of a plugin, without its value.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CredentialView {
    /// Its name in the manifest.
    pub key: String,
    /// What it is.
    pub description: String,
    /// Whether the plugin is of no use without it.
    pub required: bool,
    /// Whether it is set.
    pub set: bool,
    /// The secret that holds it.
    pub secret: String,
}

/// The plugins of an [`App`].
pub struct PluginsOf<'a> {
    pub(crate) app: &'a App,
}

impl App {
    /// The plugins.
    #[must_use]
    pub fn plugins(&self) -> PluginsOf<'_> {
        PluginsOf { app: self }
    }
}

impl PluginsOf<'_> {
    /// Every plugin that is there, by name.
    ///
    /// # Errors
    /// None today; the answer may come to read the store.
    pub async fn list(&self) -> Result<Vec<PluginView>, Failure> {
        self.app.plugins_settled(SETTLE_MAX).await;
        Ok(self.app.book().entries().iter().map(|(name, entry)| self.view(name, entry)).collect())
    }

    /// One plugin.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn show(&self, name: &str) -> Result<PluginView, Failure> {
        self.app.plugins_settled(SETTLE_MAX).await;
        let entries = self.app.book().entries();
        entries.get(name).map(|entry| self.view(name, entry)).ok_or_else(|| {
            let shown: String = name.escape_debug().take(80).collect();
            Failure::new(Code::NotFound, format!("there is no plugin {shown}")).hint("`lazaret plugin list` names them").field("name")
        })
    }

    /// Looks at one plugin or all again: new ones are loaded, changed ones change, removed ones go. Sessions that run go on;
    /// calls under way come to their end. A plugin that fails stops no other.
    ///
    /// # Errors
    /// There is no plugin of this name, or the home cannot be read.
    pub async fn reload(&self, name: Option<&str>) -> Result<(), Failure> {
        self.app.plugins_settled(SETTLE_MAX).await;
        self.app.load_plugins(name, How::Again).await
    }

    /// Starts a plugin's program and asks it for its tools, now.
    ///
    /// # Errors
    /// There is no plugin of this name. That it does not work is in the answer.
    pub async fn verify(&self, name: &str) -> Result<PluginView, Failure> {
        self.app.plugins_settled(SETTLE_MAX).await;
        self.app.load_plugins(Some(name), How::Fresh).await?;
        self.show(name).await
    }

    /// Calls a tool as the owner, through all stages of the broker. `caller` is the owner in the usual form, or as the command
    /// line has made it.
    pub async fn call(&self, caller: Caller, tool: &str, arguments: &Value) -> wire::Answer {
        self.app.plugins_settled(SETTLE_MAX).await;
        let correlation = format!("owner-{:032x}", crate::clock::fresh_bits());
        let request = json!({ "topic": format!("tool.invoke.{tool}"), "correlation": correlation, "arguments": arguments }).to_string();
        self.app.broker().call(&Arc::new(caller), request.as_bytes(), &|_| {}).await
    }

    fn view(&self, name: &str, entry: &book::Entry) -> PluginView {
        let manifest = entry.found.as_ref().map(|found| &found.manifest);
        let credential = |c: &broker::manifest::Credential| {
            let secret = launch::secret_name(name, &c.key, None);
            let set = self.app.secrets().value(&secret).is_some();
            CredentialView { key: c.key.clone(), description: c.description.clone(), required: c.required, set, secret }
        };
        let tool = |offered: &book::Offered| PluginToolView {
            name: offered.definition.name.clone(),
            description: offered.definition.description.clone(),
            risk: offered.definition.risk,
            schema: offered.definition.schema.clone(),
            hash: offered.definition.hash(),
        };
        PluginView {
            name: name.to_owned(),
            version: manifest.map_or_else(String::new, |m| m.version.clone()),
            description: manifest.map_or_else(String::new, |m| m.description.clone()),
            shipped: entry.found.as_ref().is_some_and(|found| found.folder.is_none()),
            state: entry.state,
            category: entry.category(),
            why: entry.trouble(),
            tools: entry.offered.iter().map(tool).collect(),
            left_out: entry.left_out.clone(),
            hosts: manifest.map_or_else(Vec::new, |m| m.hosts.iter().map(ToString::to_string).collect()),
            credentials: manifest.map_or_else(Vec::new, |m| m.credentials.iter().map(credential).collect()),
            last_words: entry.supervisor.as_ref().map_or_else(String::new, broker::plugin::Supervisor::last_words),
        }
    }
}
