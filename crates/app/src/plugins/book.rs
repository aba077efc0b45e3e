//! The plugins of a running daemon: found, loaded, offered, changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use broker::plugin::{Health, Listing, PluginTool, Supervisor, SupervisorConfig, config_faults};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use model::{Code, EgressRule, Failure, Timestamp, TreeId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::found::{self, Found};
use super::launch::{SandboxLaunch, missing_credential, secret_name, state_tree};
use super::loads::Touched;
use super::offer::{self, Definition};
use super::word::{self, Word};
use super::{Category, PluginState, ShippedPlugin};
use crate::App;
use crate::live::lock;

/// How long calls under way may take when their plugin is changed.
const DRAIN_MAX: Duration = Duration::from_secs(32);
/// Plugins that are loaded at once.
const LOADS_MAX: usize = 4;
/// The longest list that is kept of a program.
const LIST_BYTES_MAX: u64 = 4 << 20;
/// Keys of a plugin's table that are not its own.
const ENABLED: &str = "enabled";
const HOSTS: &str = "hosts";

/// The plugins of a daemon.
pub(crate) struct Book {
    shipped: Vec<ShippedPlugin>,
    /// Held for a few instructions, never across an await.
    entries: Mutex<BTreeMap<String, Entry>>,
    /// Held while plugins are loaded or changed.
    pub(super) change: tokio::sync::Mutex<()>,
    /// Held while skills are laid out or removed.
    pub(super) skills: tokio::sync::Mutex<()>,
    /// Held for a few instructions.
    pub(super) starting: super::skills::Starting,
    /// Whether all plugins were looked at once.
    pub(super) settled: watch::Sender<bool>,
    /// Plugins whose credentials have changed since they were loaded.
    pub(super) touched: Arc<Touched>,
}

/// A plugin and what came of loading it.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) found: Option<Arc<Found>>,
    pub(super) state: PluginState,
    pub(super) why: Option<Failure>,
    pub(super) left_out: Vec<(String, String)>,
    pub(super) offered: Vec<Offered>,
    pub(super) supervisor: Option<Supervisor>,
    /// When the owner put it in place.
    pub(super) since: Timestamp,
    /// Changes when anything does that decides what it is.
    print: String,
}

/// A tool that can be called.
#[derive(Clone)]
pub(super) struct Offered {
    pub(super) definition: Definition,
    pub(super) handler: Arc<PluginTool>,
}

/// What a program listed, as it is kept.
#[derive(Serialize, Deserialize)]
struct KeptList {
    print: String,
    listing: Listing,
}

/// How much is done anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// What has not changed stays as it is.
    Changed,
    /// It is loaded again; a list of tools that is known is good enough.
    Again,
    /// Its program is started and asked.
    Fresh,
}

/// What stops a plugin from being loaded.
enum Stop {
    /// Nothing has changed.
    Same,
    /// It is not wanted, or waits for its owner.
    Off(String),
    /// It is not set up, and this is what sets it up.
    Unset(String, String),
    Failed(Failure),
    Pending(String, Vec<Definition>),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Book {
    pub(crate) fn new(shipped: Vec<ShippedPlugin>, touched: Arc<Touched>) -> Self {
        Self {
            shipped,
            entries: Mutex::default(),
            change: tokio::sync::Mutex::default(),
            skills: tokio::sync::Mutex::default(),
            starting: super::skills::Starting::default(),
            settled: watch::Sender::new(false),
            touched,
        }
    }

    /// Held for a few instructions, never across an await.
    pub(super) fn lock_entries(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        lock(&self.entries)
    }

    pub(super) fn entries(&self) -> BTreeMap<String, Entry> {
        lock(&self.entries).clone()
    }

    /// Forgets everything, at the daemon's end.
    pub(crate) fn close(&self) {
        lock(&self.entries).clear();
    }
}

impl App {
    pub(crate) fn plugins_dir(&self) -> PathBuf {
        self.home().join("plugins")
    }

    /// Loads one plugin or all again, for whoever holds the right to change what is loaded.
    pub(super) async fn load_alone(&self, only: Option<&str>, how: How) -> Result<(), Failure> {
        let (dir, shipped) = (self.plugins_dir(), self.book().shipped.clone());
        let names = match only {
            Some(name) => vec![name.to_owned()],
            None => blocking(move || found::names(&dir, &shipped)).await?,
        };
        let before = self.book().entries();
        let mut wanted: BTreeSet<String> = names.into_iter().collect();
        if only.is_none() {
            wanted.extend(before.keys().cloned());
        }
        let load = |name: String| {
            let (app, old) = (self.clone(), before.get(&name).cloned());
            async move {
                let entry = app.load(&name, how, old.as_ref()).await;
                (name, entry)
            }
            .boxed()
        };
        let loads: Vec<BoxFuture<'static, (String, Option<Entry>)>> = wanted.into_iter().map(load).collect();
        let loaded: Vec<_> = futures_util::stream::iter(loads).buffer_unordered(LOADS_MAX).collect().await;
        if let (Some(name), [(_, None)]) = (only, &loaded[..])
            && !before.contains_key(name)
        {
            let shown: String = name.escape_debug().take(80).collect();
            return Err(Failure::new(Code::NotFound, format!("there is no plugin {shown}")).hint("`lazaret plugin list` names them"));
        }
        let mut gone = Vec::new();
        {
            let mut entries = lock(&self.book().entries);
            for (name, entry) in loaded {
                let old = match entry {
                    Some(entry) => {
                        for tool in &entry.offered {
                            entry.supervisor.iter().for_each(|now| tool.handler.hand_over(now.clone()));
                        }
                        entries.insert(name, entry)
                    }
                    None => entries.remove(&name),
                };
                let Some(supervisor) = old.and_then(|old| old.supervisor) else { continue };
                if !entries.values().any(|entry| entry.supervisor.as_ref().is_some_and(|now| now.is(&supervisor))) {
                    gone.push(supervisor);
                }
            }
        }
        self.offer_plugins();
        // What was made ahead may show other skills.
        self.pool().changed();
        self.tell_health();
        for supervisor in gone {
            self.spawn(async move { supervisor.retire(DRAIN_MAX).await });
        }
        if let Err(failure) = self.sweep_skills().await {
            tracing::warn!(%failure, "skills that nobody has were not removed");
        }
        Ok(())
    }

    /// The trees in which plugins that are there keep files, whether they keep any just now or not.
    pub(crate) async fn plugin_trees(&self) -> Result<Vec<TreeId>, Failure> {
        let (dir, shipped) = (self.plugins_dir(), self.book().shipped.clone());
        let names = blocking(move || found::names(&dir, &shipped)).await?;
        let agents: Vec<String> = self.agents().list().await?.into_iter().map(|agent| agent.name).collect();
        let of = |name: &String| {
            let each = agents.iter().map(|agent| state_tree(name, Some(agent)));
            each.chain([state_tree(name, None)]).collect::<Vec<_>>()
        };
        Ok(names.iter().flat_map(of).collect())
    }

    /// Loads one plugin; `None` when it is not there.
    async fn load(&self, name: &str, how: How, before: Option<&Entry>) -> Option<Entry> {
        let (dir, shipped, of) = (self.plugins_dir(), self.book().shipped.clone(), name.to_owned());
        let found = blocking(move || Ok(found::read(&dir, &shipped, &of))).await.unwrap_or_else(|failure| Some(Err(failure)))?;
        let mut entry = Entry {
            found: None,
            state: PluginState::Failed,
            why: None,
            left_out: Vec::new(),
            offered: Vec::new(),
            supervisor: None,
            since: Timestamp(u64::MAX),
            print: String::new(),
        };
        let found = match found {
            Ok(found) => found,
            Err(failure) => {
                entry.why = Some(failure);
                return Some(entry);
            }
        };
        let found = Arc::new(found);
        entry.found = Some(Arc::clone(&found));
        match self.load_found(name, &found, how, before, &mut entry).await {
            Ok(()) => entry.state = PluginState::Ready,
            Err(Stop::Same) => return before.cloned(),
            Err(Stop::Off(why)) => (entry.state, entry.why) = (PluginState::Off, Some(Failure::new(Code::Conflict, why))),
            Err(Stop::Unset(why, remedy)) => {
                entry.state = PluginState::Off;
                entry.why = Some(Failure::new(Code::Conflict, format!("it is not set up: {why}")).hint(remedy));
            }
            Err(Stop::Failed(failure)) => entry.why = Some(failure),
            Err(Stop::Pending(why, tools)) => {
                entry.state = PluginState::Pending;
                entry.why = Some(Failure::new(Code::Forbidden, why).hint(format!("look at it and say yes: lazaret plugin approve {name}")));
                entry.left_out.extend(tools.into_iter().map(|tool| (tool.name, "it waits for approval".to_owned())));
            }
        }
        if let Ok(Some(row)) = self.pins().row(name).await {
            entry.since = row.installed;
        }
        if entry.state != PluginState::Ready
            && let Some(supervisor) = entry.supervisor.take()
        {
            self.spawn(async move { supervisor.retire(Duration::ZERO).await });
        }
        Some(entry)
    }

    async fn load_found(&self, name: &str, found: &Found, how: How, before: Option<&Entry>, entry: &mut Entry) -> Result<(), Stop> {
        let fresh = how == How::Fresh;
        let manifest = &found.manifest;
        let settings = self.settings();
        let table = settings.plugins.get(name).cloned().unwrap_or_default();
        let switched = match word::switch(self, name).await? {
            Some(on) => Some(on),
            None => table.get(ENABLED).and_then(Value::as_bool),
        };
        if switched == Some(false) {
            return Err(Stop::Off(format!("it is switched off; lazaret plugin enable {name}")));
        }
        // What ships is there for everybody and means nobody before it is set up.
        let is_idle = found.folder.is_none() && table.is_empty();
        let (config, hosts) = self.configured(name, found, table, is_idle)?;
        if let Some(folder) = &found.folder
            && let Word::Pending(why) = word::before_start(self, name, folder, manifest).await?
        {
            return Err(Stop::Pending(why, Vec::new()));
        }
        self.has_credentials(name, found, is_idle)?;
        let print = print_of(found, &config, &hosts, self.program());
        if before.is_some_and(|before| how == How::Changed && before.state == PluginState::Ready && before.print == print) {
            return Err(Stop::Same);
        }
        entry.print.clone_from(&print);
        let launch = SandboxLaunch {
            app: self.clone(),
            name: name.to_owned(),
            manifest: Arc::clone(manifest),
            folder: found.folder.clone(),
            config,
            hosts,
        };
        let expected: Arc<Mutex<Option<Vec<Definition>>>> = Arc::default();
        let supervisor = Supervisor::new(
            SupervisorConfig {
                name: name.to_owned(),
                per_agent: manifest.per_agent,
                alone: manifest.state,
                idle: manifest.limits.idle,
                check: self.checker(name, found, &expected),
            },
            Arc::new(launch),
            self.tracker().clone(),
            self.cancel().child_token(),
        );
        entry.supervisor = Some(supervisor.clone());
        if manifest.state
            && let Some(old) = before.and_then(|before| before.supervisor.clone())
        {
            // Both have the same files: the one before must be gone first.
            supervisor.follow(&old);
            self.spawn(async move { old.retire(DRAIN_MAX).await });
        }
        // What ships is part of this program: its manifest is what it lists.
        let own = if found.folder.is_none() { offer::from_manifest(manifest) } else { None };
        let tools = match own {
            Some(tools) if !fresh => tools,
            _ => {
                let listing = self.listing(name, &supervisor, &print, fresh, manifest.per_agent).await?;
                let offer = offer::offer(manifest, &listing);
                entry.left_out = offer.left_out;
                offer.tools
            }
        };
        if found.folder.is_some()
            && let Word::Pending(why) = word::word(self, name, &tools).await?
        {
            return Err(Stop::Pending(why, tools));
        }
        *lock(&expected) = Some(tools.clone());
        let limit = manifest.limits.time;
        let offered = |definition: Definition| {
            // A call that waits for a person just now holds the handler: where the tool is the same, it stays the same.
            let known = before.and_then(|before| before.offered.iter().find(|offered| offered.definition == definition));
            let fresh = || Arc::new(PluginTool::new(supervisor.clone(), definition.server_name.clone(), limit));
            Offered { handler: known.map_or_else(fresh, |known| Arc::clone(&known.handler)), definition }
        };
        entry.offered = tools.into_iter().map(offered).collect();
        Ok(())
    }

    /// The configuration that a plugin gets, and the hosts that it may reach.
    fn configured(
        &self,
        name: &str,
        found: &Found,
        mut table: Map<String, Value>,
        is_idle: bool,
    ) -> Result<(Map<String, Value>, Vec<EgressRule>), Stop> {
        let manifest = &found.manifest;
        let wrong = |why: String| {
            Failure::new(Code::ConfigInvalid, format!("[plugins.{name}]: {why}"))
                .hint("lazaret config path names the file")
                .field(format!("plugins.{name}"))
        };
        table.remove(ENABLED);
        let mut hosts = manifest.hosts.clone();
        if manifest.hosts_from_config
            && let Some(named) = table.get(HOSTS)
        {
            let named: Vec<EgressRule> = serde_json::from_value(named.clone()).map_err(|e| wrong(format!("hosts: {e}")))?;
            hosts.extend(named);
        }
        let schema = manifest.config_schema.as_ref();
        if manifest.hosts_from_config && schema.and_then(|s| s.pointer("/properties/hosts")).is_none() {
            table.remove(HOSTS);
        }
        let mut config = manifest.config.clone();
        config.extend(table);
        if manifest.hosts_from_config && hosts.is_empty() && is_idle {
            let why = "no host is named that it may reach".to_owned();
            let mut remedy = format!("run: lazaret config set plugins.{name}.hosts '[\"docs.example.com\"]'");
            if schema.and_then(|s| s.pointer("/properties/search_url")).is_some() {
                remedy.push_str(&format!(
                    "; to search as well, set plugins.{name}.search and plugins.{name}.search_url, and name that host too"
                ));
            }
            return Err(Stop::Unset(why, remedy));
        }
        let faults = config_faults(schema, &config);
        if !faults.is_empty() {
            return Err(if is_idle {
                Stop::Off(format!("it is not set up: [plugins.{name}] in the configuration"))
            } else {
                wrong(faults.join("; ")).into()
            });
        }
        if manifest.vault && self.settings().vault.is_none() {
            let (why, remedy) = ("no vault is configured", "run: lazaret config set vault DIRECTORY");
            return Err(if is_idle { Stop::Unset(why.to_owned(), remedy.to_owned()) } else { wrong(format!("{why}; {remedy}")).into() });
        }
        Ok((config, hosts))
    }

    /// Whether everything is set that a plugin is of no use without. Where each agent has its own, that is seen at the call.
    fn has_credentials(&self, name: &str, found: &Found, is_idle: bool) -> Result<(), Stop> {
        for credential in found.manifest.credentials.iter().filter(|c| c.required) {
            let is_set = self.secrets().value(&secret_name(name, &credential.key, None)).is_some()
                || (found.manifest.per_agent && !self.secrets().agents_of(name).is_empty());
            if !is_set && is_idle {
                let remedy = format!("run: lazaret secret set {} -", secret_name(name, &credential.key, None));
                return Err(Stop::Unset(format!("its credential `{}` is missing", credential.key), remedy));
            }
            if !is_set {
                return Err(missing_credential(name, &credential.key, None).into());
            }
        }
        Ok(())
    }

    /// What a plugin's program lists: as it is kept from before where nothing has changed since, else asked for.
    async fn listing(&self, name: &str, supervisor: &Supervisor, print: &str, fresh: bool, per_agent: bool) -> Result<Listing, Failure> {
        let path = self.home().join("cache").join("plugins").join(format!("{name}.json"));
        if !fresh {
            let at = path.clone();
            let kept = blocking(move || Ok(read_list(&at))).await?;
            if let Some(kept) = kept.filter(|kept| kept.print == print) {
                return Ok(kept.listing);
            }
        }
        let agent = if per_agent { self.secrets().agents_of(name).into_iter().next() } else { None };
        let listing = supervisor.listing(agent.as_deref()).await?;
        let kept = KeptList { print: print.to_owned(), listing: listing.clone() };
        let written = blocking(move || {
            let write = || {
                std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
                let fresh = path.with_extension("fresh");
                std::fs::write(&fresh, serde_json::to_vec(&kept).map_err(std::io::Error::other)?)?;
                std::fs::rename(&fresh, &path)
            };
            write().map_err(|e: std::io::Error| Failure::new(Code::HomeUnsafe, e.to_string()))
        });
        if let Err(failure) = written.await {
            tracing::debug!(name, %failure, "what a plugin lists was not kept");
        }
        Ok(listing)
    }

    /// Holds what a program lists at its start against what is offered: what changed is loaded again, and waits for approval.
    fn checker(&self, name: &str, found: &Found, expected: &Arc<Mutex<Option<Vec<Definition>>>>) -> broker::plugin::Check {
        let (app, name, manifest, expected) = (self.clone(), name.to_owned(), Arc::clone(&found.manifest), Arc::clone(expected));
        Arc::new(move |listing| {
            let Some(expected) = lock(&expected).clone() else { return std::future::ready(Ok(())).boxed() };
            let now = offer::offer(&manifest, listing).tools;
            let changed = expected.iter().find(|tool| !now.contains(tool));
            let Some(changed) = changed else { return std::future::ready(Ok(())).boxed() };
            let failure = Failure::new(Code::PluginError, format!("its program lists `{}` otherwise than it was offered", changed.name));
            let (again, of) = (app.clone(), name.clone());
            app.spawn(async move {
                if let Err(failure) = again.load_plugins(Some(&of), How::Fresh).await {
                    tracing::warn!(plugin = of, %failure, "a plugin was not loaded again");
                }
            });
            std::future::ready(Err(failure)).boxed()
        })
    }
}

impl Entry {
    /// What is wrong with it now: at its loading, or since.
    pub(super) fn trouble(&self) -> Option<Failure> {
        self.why.clone().or_else(|| match self.supervisor.as_ref()?.health() {
            Health::Failing(failure) => Some(failure),
            Health::Well => None,
        })
    }

    /// What kind of trouble it is.
    pub(super) fn category(&self) -> Option<Category> {
        if self.state == PluginState::Pending {
            return Some(Category::Pending);
        }
        if self.state == PluginState::Off {
            return None;
        }
        Some(match self.trouble()?.code {
            Code::ConfigInvalid | Code::PluginInvalid | Code::Usage => Category::Config,
            Code::KeyMissing | Code::CredentialExpired => Category::Auth,
            Code::EgressDenied | Code::ProviderDown => Category::Network,
            _ => Category::Internal,
        })
    }
}

fn read_list(path: &std::path::Path) -> Option<KeptList> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    if !meta.is_file() || meta.len() > LIST_BYTES_MAX {
        return None;
    }
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Changes when anything does that decides what a program lists: its files, its configuration, and this program.
fn print_of(found: &Found, config: &Map<String, Value>, hosts: &[EgressRule], program: &std::path::Path) -> String {
    let own = std::fs::metadata(program).and_then(|meta| meta.modified()).ok();
    let mut hash = Sha256::new();
    hash.update(&found.print);
    hash.update(Value::Object(config.clone()).to_string());
    hash.update(format!("{hosts:?}{own:?}"));
    found::hex(&hash.finalize())
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(Failure::new(Code::Internal, e.to_string())))
}
