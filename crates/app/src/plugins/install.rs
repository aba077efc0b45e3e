//! Puts plugins in place, replaces and removes them.
//!
//! A plugin arrives as an archive, from whoever packed it: the owner's command line, or a sandbox that cloned a repository.
//! It is unpacked beside the others, checked whole, and put in force by one rename. A kill in between leaves the plugin that
//! was there, or none, and rests that the next start sweeps away. Nobody inside a session gets here.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use broker::Manifest;
use model::{Code, Failure, Timestamp};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;

use super::folder::{self, ARCHIVE_BYTES_MAX};
use super::found::{RESERVED_PLUGINS, is_plugin_name};
use super::launch::secret_name;
use super::pins::{BY_HAND, Pending, Pins, hash_of, pending_of, unknown};
use super::{Category, PluginState};
use crate::App;
use crate::inside::Held;

/// What the name of a directory begins with that is no plugin: it is being made, or on its way out.
const FRESH: &str = ".fresh-";
/// The longest text that says where a plugin came from.
const SOURCE_CHARS_MAX: usize = 512;

/// Held while plugins change.
#[derive(Debug, Default)]
pub(crate) struct PluginLocks {
    /// From reading what is known of a plugin to writing it.
    rows: tokio::sync::Mutex<()>,
    /// While a folder is put in place or removed.
    folders: tokio::sync::Mutex<()>,
}

/// A plugin to put in place.
#[derive(Debug, Clone)]
pub struct PluginOrder {
    /// Its name.
    pub name: String,
    /// Where it came from, for people and for a later update.
    pub source: String,
    /// What its files must be: `sha256:` and 64 digits.
    pub hash: Option<String>,
    /// Whether one of this name is replaced; else it must not be there.
    pub update: bool,
}

/// What came of putting a plugin in place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PluginInstalled {
    /// Its name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// The hash over its files.
    pub hash: String,
    /// What changed and waits for approval; nothing of the plugin is offered until then.
    pub pending: Option<Pending>,
    /// Secrets that it asks for.
    pub credentials: Vec<PluginCredential>,
    /// Hosts that it may reach.
    pub hosts: Vec<String>,
}

/// A secret that a plugin asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PluginCredential {
    /// Its name.
    pub key: String,
    /// What it is.
    pub description: String,
    /// Whether the plugin is of no use without it.
    pub required: bool,
    /// Whether it is stored.
    pub stored: bool,
    /// Where to get one.
    pub obtain_url: Option<String>,
    /// What one looks like.
    pub format_hint: Option<String>,
    /// The command that stores it.
    pub command: String,
}

/// Where a plugin stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PluginRecord {
    /// Where it came from: `folder` when the owner put it there by hand.
    pub source: String,
    /// The hash over its files, as they were approved.
    pub approved_hash: String,
    /// The hash over its files, as they are.
    pub hash: String,
    /// Whether the owner lets it be used.
    pub enabled: bool,
    /// What waits for approval.
    pub pending: Option<Pending>,
    /// When it was put in place.
    pub installed: Timestamp,
    /// When the owner last approved it.
    pub approved: Timestamp,
}

/// The plugins of a home, as they are put in place.
pub struct PluginInstalls<'a> {
    pub(crate) app: &'a App,
}

impl App {
    /// Plugins, as they are put in place.
    #[must_use]
    pub fn plugin_installs(&self) -> PluginInstalls<'_> {
        PluginInstalls { app: self }
    }

    /// What the owner approved of plugins.
    pub(crate) fn pins(&self) -> Pins<'_> {
        Pins::new(self.store(), &self.plugin_locks().rows)
    }

    /// Removes what a killed installation left.
    pub(crate) fn sweep_plugins(&self) {
        let dir = self.plugins_dir();
        let Ok(entries) = fs::read_dir(&dir) else { return };
        for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(FRESH)) {
            if let Err(error) = fs::remove_dir_all(entry.path()) {
                tracing::warn!(path = %entry.path().display(), %error, "half a plugin was not removed");
            }
        }
    }
}

/// A folder that is being made; what is left of it goes with this.
pub(crate) struct Fresh {
    pub(crate) dir: PathBuf,
}

impl Fresh {
    pub(crate) fn make(plugins: &Path) -> Result<Self, Failure> {
        let fail = |e: std::io::Error| unwritten(&e);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(plugins).map_err(fail)?;
        let dir = plugins.join(format!("{FRESH}{:032x}", crate::clock::fresh_bits()));
        fs::DirBuilder::new().mode(0o755).create(&dir).map_err(fail)?;
        Ok(Self { dir })
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(path = %self.dir.display(), %error, "what was half made was not removed");
        }
    }
}

fn unwritten(error: &std::io::Error) -> Failure {
    Failure::new(Code::HomeUnsafe, format!("the files cannot be put into the home: {error}"))
}

/// What a folder would be as a plugin.
#[derive(Debug, Clone, Serialize)]
pub struct PluginChecked {
    /// What it is for.
    pub description: String,
    /// Its own version.
    pub version: String,
    /// The hash over its files.
    pub hash: String,
    /// Its tools and their risks; empty where its program's list decides.
    pub tools: Vec<(String, model::Risk)>,
    /// The keys of its credentials.
    pub credentials: Vec<String>,
    /// Hosts that it may reach.
    pub hosts: Vec<String>,
    /// Its skills.
    pub skills: Vec<String>,
}

/// Looks at a folder as the daemon would, without running anything of it.
///
/// # Errors
/// What is wrong, with its file and its line or key.
pub fn check_plugin(dir: &Path) -> Result<PluginChecked, Failure> {
    let manifest = Manifest::read_dir(dir).map_err(|e| e.failure())?;
    check_command(&manifest)?;
    let skills = broker::manifest::skills(dir).map_err(|e| e.failure())?;
    Ok(PluginChecked {
        hash: folder::hash_folder(dir)?,
        tools: manifest.named_tools().unwrap_or_default().iter().map(|tool| (tool.name.clone(), tool.risk)).collect(),
        credentials: manifest.credentials.iter().map(|c| c.key.clone()).collect(),
        hosts: manifest.hosts.iter().map(ToString::to_string).collect(),
        skills: skills.into_iter().map(|skill| skill.file).collect(),
        description: manifest.description,
        version: manifest.version,
    })
}

/// Of this program a plugin of the home runs the way to an MCP server over HTTP alone.
fn check_command(manifest: &Manifest) -> Result<(), Failure> {
    match manifest.command.as_slice() {
        [own, part] if own == broker::manifest::OWN_PROGRAM && part != REMOTE => {
            let why = format!("a plugin of the home runs no other part of Lazaret than {REMOTE}");
            Err(Failure::new(Code::PluginInvalid, why).field("command"))
        }
        _ => Ok(()),
    }
}

/// Whether a text can be the name of a plugin in the home.
///
/// # Errors
/// Why not.
pub fn check_plugin_name(name: &str) -> Result<(), Failure> {
    let wrong = |why: &str| {
        let shown: String = name.chars().take(80).collect();
        Err(Failure::new(Code::Usage, format!("`{}` {why}", shown.escape_debug())).field("name"))
    };
    if !is_plugin_name(name) {
        return wrong("is not a plugin's name: small letters, digits, `-` and `_`, at most 48");
    }
    if RESERVED_PLUGINS.contains(&name) {
        return wrong("is the name of a part of Lazaret");
    }
    Ok(())
}

impl PluginInstalls<'_> {
    /// Puts the plugin of an archive in place.
    ///
    /// # Errors
    /// The archive, its manifest or its hash is refused, or its place is taken. Nothing changes then.
    pub async fn install(&self, order: PluginOrder, archive: impl AsyncRead + Send + Unpin) -> Result<PluginInstalled, Failure> {
        check_order(&order)?;
        let held = Held::take(self.app, archive, ARCHIVE_BYTES_MAX).await?;
        self.put(order, held.file).await
    }

    pub(super) async fn put(&self, order: PluginOrder, archive: fs::File) -> Result<PluginInstalled, Failure> {
        check_order(&order)?;
        let _one = self.app.plugin_locks().folders.lock().await;
        let at = self.app.plugins_dir().join(&order.name);
        let is_there = self.is_there(&order.name)?;
        match (is_there, order.update) {
            (true, false) => {
                let failure = Failure::new(Code::Conflict, format!("there is a plugin {} already", order.name)).field("name");
                return Err(failure.hint(format!("replace it: lazaret plugin update {}", order.name)));
            }
            (false, true) => return Err(unknown(&order.name)),
            _ => {}
        }
        let worked = is_there && self.app.plugins().show(&order.name).await.is_ok_and(|view| view.state == PluginState::Ready);
        let plugins = self.app.plugins_dir();
        let made = tokio::task::spawn_blocking(move || {
            let fresh = Fresh::make(&plugins)?;
            folder::unpack(archive, &fresh.dir)?;
            let manifest = Manifest::read_dir(&fresh.dir).map_err(|e| e.failure())?;
            let hash = folder::hash_folder(&fresh.dir)?;
            folder::sync_whole(&fresh.dir).map_err(|e| unwritten(&e))?;
            Ok::<_, Failure>((fresh, manifest, hash))
        });
        let (fresh, manifest, hash) = made.await.map_err(|e| Failure::new(Code::Internal, e.to_string()))??;
        check_command(&manifest)?;
        if let Some(wanted) = &order.hash
            && *wanted != hash
        {
            return Err(Failure::new(Code::PluginInvalid, format!("its files are {hash}, not {wanted}"))
                .hint("somebody changed it, or the hash is of another version")
                .field("hash"));
        }
        model::crash::point("plugin:unpacked");
        self.swap(&fresh.dir, &at, is_there).map_err(|e| unwritten(&e))?;
        model::crash::point("plugin:swapped");
        let before = self.app.pins().installed(&order.name, &order.source, &hash, &manifest, is_there).await?;
        model::crash::point("plugin:installed");
        // What does not work of a new one is said, and stays: its owner may have to set its credentials first.
        self.app.plugins().reload(Some(&order.name)).await?;
        if let Some(before) = before.filter(|_| worked) {
            let view = self.app.plugins().show(&order.name).await?;
            if let Some(why) = view.why.filter(|_| view.state == PluginState::Failed && view.category != Some(Category::Auth)) {
                self.swap(&fresh.dir, &at, true).map_err(|e| unwritten(&e))?;
                self.app.pins().put_back(before).await?;
                self.app.plugins().reload(Some(&order.name)).await?;
                return Err(Failure::new(
                    why.code,
                    format!("the new one does not work, and the one before is in its place again: {}", why.message),
                ));
            }
        }
        drop(fresh);
        let pending = self.app.pins().row(&order.name).await?.and_then(|row| pending_of(&row));
        Ok(PluginInstalled {
            credentials: self.credentials(&order.name, &manifest).await?,
            hosts: manifest.hosts.iter().map(ToString::to_string).collect(),
            name: order.name,
            version: manifest.version,
            hash,
            pending,
        })
    }

    /// Puts a folder in the place of another, or where none is, at once.
    fn swap(&self, fresh: &Path, at: &Path, is_there: bool) -> std::io::Result<()> {
        let flags = if is_there { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        renameat_with(CWD, fresh, CWD, at, flags)?;
        folder::sync_dir(&self.app.plugins_dir())
    }

    /// Calls a tool as the owner, through all stages of the broker. With `yes` the owner has confirmed the call. With a `key`
    /// as well a call of high risk is made once, however often it is asked for: a repeated request gets what came of it,
    /// and is refused with [`Code::Conflict`] when it is for another call.
    pub async fn call(&self, tool: &str, arguments: &serde_json::Value, yes: bool, key: Option<&str>) -> wire::Answer {
        if let Some(key) = key.filter(|_| yes) {
            return self.call_once(tool, arguments, key).await;
        }
        if !yes {
            return self.app.plugins().call(broker::Caller::owner(), tool, arguments).await;
        }
        self.app.plugins_settled(super::SETTLE_MAX).await;
        let correlation = format!("owner-{:032x}", crate::clock::fresh_bits());
        let request = serde_json::json!({ "topic": format!("tool.invoke.{tool}"), "correlation": correlation, "arguments": arguments });
        let caller = std::sync::Arc::new(broker::Caller::owner());
        self.app.broker().call_consented(&caller, request.to_string().as_bytes(), &|_| {}).await
    }

    /// Keeps the owner's yes as an answered confirmation, which is used up by the call and holds what came of it.
    async fn call_once(&self, tool: &str, arguments: &serde_json::Value, key: &str) -> wire::Answer {
        self.app.plugins_settled(super::SETTLE_MAX).await;
        let hash = <sha2::Sha256 as sha2::Digest>::digest(key.as_bytes());
        let correlation = format!("key-{}", super::folder::hex(&hash[..16]));
        let request = serde_json::json!({ "topic": format!("tool.invoke.{tool}"), "correlation": correlation, "arguments": arguments });
        let request = request.to_string();
        let caller = std::sync::Arc::new(broker::Caller::owner());
        let (asked, mut asks) = tokio::sync::mpsc::channel(1);
        // Only the first question counts, and one call asks one.
        let waiting = move |id: &model::ApprovalId| drop(asked.try_send(id.clone()));
        let call = self.app.broker().call(&caller, request.as_bytes(), &waiting);
        tokio::pin!(call);
        loop {
            tokio::select! {
                answer = &mut call => return answer,
                Some(id) = asks.recv() => {
                    if let Err(failure) = self.consent(&id).await {
                        // The same request may have been answered by its twin.
                        tracing::debug!(confirmation = %id, %failure, "a yes was not needed");
                    }
                }
            }
        }
    }

    async fn consent(&self, id: &model::ApprovalId) -> Result<(), Failure> {
        let approvals = self.app.approvals_of(&crate::Caller::OWNER);
        let hash = approvals.show(id.as_str()).await?.hash;
        let form = crate::DecisionForm { decision: crate::Decision::Approve, hash, note: None };
        approvals.answer(id.as_str(), form, "owner").await.map(drop)
    }

    fn is_there(&self, name: &str) -> Result<bool, Failure> {
        match fs::symlink_metadata(self.app.plugins_dir().join(name)) {
            Ok(meta) if meta.is_dir() => Ok(true),
            Ok(_) => Err(Failure::new(Code::PluginInvalid, format!("plugins/{name} of the home is no directory")).hint("remove it")),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(unwritten(&e)),
        }
    }

    /// Removes a plugin of the home, and with `credentials` the secrets that are its own.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn remove(&self, name: &str, credentials: bool) -> Result<(), Failure> {
        check_plugin_name(name)?;
        let _one = self.app.plugin_locks().folders.lock().await;
        let is_there = self.is_there(name)?;
        if !is_there && self.app.pins().row(name).await?.is_none() {
            return Err(unknown(name));
        }
        if is_there {
            let plugins = self.app.plugins_dir();
            let gone = Fresh { dir: plugins.join(format!("{FRESH}{:032x}", crate::clock::fresh_bits())) };
            fs::rename(plugins.join(name), &gone.dir).map_err(|e| unwritten(&e))?;
            folder::sync_dir(&plugins).map_err(|e| unwritten(&e))?;
            model::crash::point("plugin:removed");
            tokio::task::spawn_blocking(move || drop(gone)).await.map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        }
        self.app.pins().forget(name).await?;
        // One that ships comes back where a folder hid it.
        match self.app.plugins().reload(Some(name)).await {
            Ok(()) => {}
            Err(failure) if failure.code == Code::NotFound => {}
            Err(failure) => return Err(failure),
        }
        if credentials {
            let own = format!("plugin.{name}.");
            // What is known of its logins stands beside them.
            let is_own = |name: &str| name.strip_prefix("oauth.").unwrap_or(name).starts_with(&own);
            for entry in self.app.secrets().list().await?.into_iter().filter(|entry| is_own(&entry.name)) {
                self.app.secrets().remove(&entry.name).await?;
            }
        }
        Ok(())
    }

    /// Where a plugin of the home stands; `None` when it is not known.
    ///
    /// # Errors
    /// Its folder or the store cannot be read.
    pub async fn record(&self, name: &str) -> Result<Option<PluginRecord>, Failure> {
        check_plugin_name(name)?;
        let Some(row) = self.app.pins().row(name).await? else { return Ok(None) };
        let hash = if self.is_there(name)? { hash_of(&self.app.plugins_dir().join(name)).await? } else { String::new() };
        let pending = pending_of(&row);
        Ok(Some(PluginRecord {
            source: row.source,
            approved_hash: row.folder_hash,
            hash,
            enabled: row.is_enabled,
            pending,
            installed: row.installed,
            approved: row.approved_at,
        }))
    }

    /// The manifest of a plugin of the home, `None` when the home has none of this name.
    ///
    /// # Errors
    /// It is malformed.
    pub fn manifest(&self, name: &str) -> Result<Option<Manifest>, Failure> {
        check_plugin_name(name)?;
        if !self.is_there(name)? {
            return Ok(None);
        }
        Manifest::read_dir(&self.app.plugins_dir().join(name)).map(Some).map_err(|e| e.failure())
    }

    /// Says that what waits of a plugin is what the owner wants.
    ///
    /// # Errors
    /// There is no such plugin, or what waits is not what `hash` stands for.
    pub async fn approve(&self, name: &str, hash: &str) -> Result<(), Failure> {
        check_plugin_name(name)?;
        if !self.is_there(name)? {
            return Err(unknown(name));
        }
        self.app.pins().approve(name, hash, &self.app.plugins_dir().join(name)).await
    }

    /// Lets a plugin be used, or not.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn enable(&self, name: &str, is_enabled: bool, is_shipped: bool) -> Result<(), Failure> {
        check_plugin_name(name)?;
        self.app.pins().enable(name, is_enabled, is_shipped).await
    }

    /// Whether the files of a plugin are those that were approved.
    ///
    /// # Errors
    /// They are not, or there is no such plugin.
    pub async fn verify_files(&self, name: &str) -> Result<String, Failure> {
        let record = self.record(name).await?.ok_or_else(|| unknown(name))?;
        if record.hash == record.approved_hash || record.source == BY_HAND {
            return Ok(record.hash);
        }
        Err(Failure::new(Code::PluginInvalid, format!("the files of {name} are {}, not {}", record.hash, record.approved_hash))
            .hint(format!("look at what changed: lazaret plugin show {name}")))
    }

    /// The secrets that a plugin asks for, and whether they are stored.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn credentials(&self, name: &str, manifest: &Manifest) -> Result<Vec<PluginCredential>, Failure> {
        let stored = self.app.secrets().list().await?;
        let view = |credential: &broker::manifest::Credential| {
            let secret = secret_name(name, &credential.key, None);
            let of_agent = secret_name(name, &credential.key, Some(""));
            PluginCredential {
                key: credential.key.clone(),
                description: credential.description.clone(),
                required: credential.required,
                stored: stored.iter().any(|entry| entry.name == secret || entry.name.starts_with(&of_agent)),
                obtain_url: credential.obtain_url.clone(),
                format_hint: credential.format_hint.clone(),
                command: format!("lazaret auth api-key --plugin {name} --name {}", credential.key),
            }
        };
        Ok(manifest.credentials.iter().map(view).collect())
    }
}

/// The part of this program that a plugin of the home may run: the way to an MCP server over HTTP.
const REMOTE: &str = "remote-mcp";

fn check_order(order: &PluginOrder) -> Result<(), Failure> {
    check_plugin_name(&order.name)?;
    if order.source.chars().count() > SOURCE_CHARS_MAX || order.source.chars().any(char::is_control) {
        return Err(
            Failure::new(Code::Usage, format!("the source is longer than {SOURCE_CHARS_MAX} characters, or not plain")).field("source")
        );
    }
    let digits =
        |hash: &str| hash.strip_prefix("sha256:").is_some_and(|rest| rest.len() == 64 && rest.bytes().all(|b| b.is_ascii_hexdigit()));
    match &order.hash {
        Some(hash) if !digits(hash) => Err(Failure::new(Code::Usage, "a hash is `sha256:` and 64 digits").field("hash")),
        _ => Ok(()),
    }
}
