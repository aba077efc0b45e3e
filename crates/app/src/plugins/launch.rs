//! Starts a plugin's program in a sandbox of its own.
//!
//! The sandbox has no door but the one to the hosts that the owner granted, its folder read-only, and its own credentials in
//! memory: they are never on a disk, in an argument or in another plugin's sight.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use broker::manifest::{Manifest, OWN_PROGRAM};
use broker::plugin::{Input, Launch, Output, Process, Running, Tail};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use model::{Code, EgressRule, Failure, Limits, SandboxId, TreeId};
use rustix::fs::{Mode, OFlags};
use sandbox::{CommandControl, CommandOutput, CommandStdin, Exec, HostFile, HostMount, Image, Piece, Sandbox, Stdio, Tree};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::doors::Occupant;
use crate::sandboxes::{EGRESS_PORT, proxy_env};
use crate::{App, ImageRef};

/// What the label of a plugin's sandbox begins with.
pub(crate) const PLUGIN_LABEL: &str = "plugin:";
/// Where a plugin's folder is seen.
const FOLDER: &str = "/opt/lazaret/plugin";
/// Where this program is seen, for the plugins that ship.
const PROGRAM: &str = "/opt/lazaret/serve";
/// Where a plugin's configuration is seen.
const CONFIG: &str = "/opt/lazaret/plugin.json";
/// Where a plugin's credentials are: in memory, and gone with the sandbox.
pub(crate) const CREDENTIALS: &str = "/dev/shm/credentials";
/// Where the vault is seen.
const VAULT: &str = "/vault";
/// Where a plugin that keeps files keeps them.
pub(crate) const STATE: &str = "/home/sandbox";
/// Bytes that a plugin may write to its disk.
const DISK_BYTES: u64 = 512 << 20;
/// Bytes of standard error that are read at once; what comes faster waits.
const STDERR_BYTES_MAX: usize = 1 << 20;
/// The time over which they are counted.
const STDERR_WINDOW: Duration = Duration::from_secs(1);

/// How one plugin is started.
pub(super) struct SandboxLaunch {
    pub(super) app: App,
    pub(super) name: String,
    pub(super) manifest: Arc<Manifest>,
    /// Its folder; a plugin that ships has none.
    pub(super) folder: Option<PathBuf>,
    /// What the owner configured, over what the manifest holds.
    pub(super) config: serde_json::Map<String, serde_json::Value>,
    /// Hosts that the owner granted.
    pub(super) hosts: Vec<EgressRule>,
}

impl Launch for SandboxLaunch {
    fn launch<'a>(&'a self, agent: Option<&'a str>) -> BoxFuture<'a, Result<Process, Failure>> {
        self.start(agent).boxed()
    }
}

impl SandboxLaunch {
    async fn start(&self, agent: Option<&str>) -> Result<Process, Failure> {
        let credentials = self.credentials(agent)?;
        let mut request = self.request(agent)?;
        request.extra_ro = self.programs().await?;
        // Rules for paths and methods are held by looking into TLS: the plugin trusts the authority that is shown to it.
        request.files.extend(self.app.trust_files(&ImageRef::Host { usr_local: false }, &self.hosts, &[]).await?);
        let (id, limits) = (request.id.clone(), request.limits);
        let egress = (!self.hosts.is_empty()).then(|| self.app.policy(self.hosts.clone(), Some(self.watch())));
        self.app.doors().admit(&id, Occupant { identity: None, tools: None, egress, cancel: CancellationToken::new() });
        let started = self.app.sandboxes().start(request).await;
        let sandbox = started.map_err(|error| {
            self.app.doors().dismiss(&id);
            error.failure()
        })?;
        // From here on it ends with this value, whatever happens to the start.
        let running = PluginSandbox { app: self.app.clone(), sandbox, tail: Arc::default(), is_ended: AtomicBool::new(false) };
        if !credentials.is_empty() {
            let tar = tar_of(&credentials)?;
            running.sandbox.put(CREDENTIALS, tar.as_slice()).await.map_err(|e| e.failure())?;
        }
        let exec = Exec {
            argv: self.argv(),
            env: self.env(&limits, &credentials),
            cwd: if self.folder.is_some() { FOLDER } else { STATE }.to_owned(),
            stdio: Stdio::Pipes { stdin: true },
            lease: 0,
        };
        let command = running.sandbox.exec(exec).await.map_err(|error| self.not_run(error.failure()))?;
        let stdin = command.stdin.ok_or_else(|| Failure::new(Code::SandboxFailed, "the plugin has no input"))?;
        let output = Printed { output: command.output, control: command.control, tail: Arc::clone(&running.tail), window: None };
        Ok(Process { input: Box::new(Stdin(stdin)), output: Box::new(output), running: Box::new(running) })
    }

    /// Each connection of the plugin's is a row of the audit.
    fn watch(&self) -> Arc<dyn gateway::egress::Watch> {
        Arc::new(crate::audit::EgressAudit::new(&self.app, None, format!("plugin:{}", self.name)))
    }

    fn request(&self, agent: Option<&str>) -> Result<sandbox::Request, Failure> {
        let id = SandboxId::from_bits(crate::clock::fresh_bits());
        let mut request = sandbox::Request::new(id, format!("{PLUGIN_LABEL}{}", self.name));
        let usual = self.app.settings().limits;
        let asked = &self.manifest.limits;
        request.limits = Limits {
            memory_bytes: asked.memory_bytes.min(usual.memory_bytes),
            cpu_millis: asked.cpu_millis.min(usual.cpu_millis),
            pids: asked.pids.min(usual.pids),
            disk_bytes: DISK_BYTES.min(usual.disk_bytes),
            ..usual
        };
        request.image = Image::Host { usr_local: false };
        request.orphan = Duration::ZERO;
        if self.manifest.state {
            request.tree = Tree::Kept { id: state_tree(&self.name, agent) };
        }
        if !self.hosts.is_empty() {
            request.relays = vec![sandbox::Relay { port: EGRESS_PORT, door: sandbox::Door::Egress }];
        }
        if let Some(folder) = &self.folder {
            request.mounts.push(HostMount { fd: open_folder(folder)?, target: FOLDER.into(), read_only: true });
        }
        if self.manifest.vault {
            let vault = self.app.vault()?.into_iter().next();
            let missing = || Failure::new(Code::ConfigInvalid, "no vault is configured").hint("lazaret config set vault DIRECTORY");
            request.mounts.push(HostMount { target: VAULT.into(), ..vault.ok_or_else(missing)? });
        }
        let config = serde_json::to_vec(&self.config).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        request.files = vec![HostFile { target: CONFIG.into(), bytes: config }];
        Ok(request)
    }

    /// What it sees of programs: this one or tools, of a server that an agent asked for that agent's own among them.
    async fn programs(&self) -> Result<Vec<(PathBuf, PathBuf)>, Failure> {
        if self.is_own() {
            return Ok(vec![(self.app.program().to_owned(), PROGRAM.into())]);
        }
        let row = self.app.pins().row(&self.name).await?;
        match row.as_ref().and_then(|row| crate::agent_tools::ordered_by(&row.source)) {
            Some(agent) => self.app.tools_mounts_of(agent).await,
            None => self.app.tools_mounts(),
        }
    }

    /// Whether the program is this one.
    fn is_own(&self) -> bool {
        self.manifest.command.first().is_some_and(|word| word == OWN_PROGRAM)
    }

    fn argv(&self) -> Vec<String> {
        let words = self.manifest.command.iter();
        if self.is_own() {
            let own = [PROGRAM, "serve-plugin"].map(str::to_owned);
            return own.into_iter().chain(words.skip(1).cloned()).collect();
        }
        let in_folder = |word: &String| word.strip_prefix("./").map_or_else(|| word.clone(), |rest| format!("{FOLDER}/{rest}"));
        words.map(in_folder).collect()
    }

    fn env(&self, limits: &Limits, credentials: &[(String, Zeroizing<String>)]) -> Vec<(String, String)> {
        let mut env = sandbox::base_env(limits);
        let mut set = |name: &str, value: &str| {
            env.retain(|(known, _)| known != name);
            env.push((name.to_owned(), value.to_owned()));
        };
        set("PYTHONDONTWRITEBYTECODE", "1");
        set("PYTHONUNBUFFERED", "1");
        for (name, value) in &self.manifest.env {
            set(name, value);
        }
        if !self.hosts.is_empty() {
            for (name, value) in proxy_env().into_iter().chain(self.app.trust_env(&self.hosts, &[])) {
                set(&name, &value);
            }
        }
        set("LAZARET_PLUGIN", &self.name);
        set("LAZARET_CREDENTIALS", CREDENTIALS);
        set("LAZARET_PLUGIN_CONFIG", CONFIG);
        if self.manifest.state {
            set("LAZARET_STATE", STATE);
        }
        for credential in &self.manifest.credentials {
            let value = credentials.iter().find(|(key, _)| *key == credential.key);
            if let (Some(name), Some((_, value))) = (&credential.env, value) {
                set(name, value);
            }
        }
        env
    }

    /// The plugin's own credentials, those of the agent first.
    fn credentials(&self, agent: Option<&str>) -> Result<Vec<(String, Zeroizing<String>)>, Failure> {
        let mut held = Vec::new();
        for credential in &self.manifest.credentials {
            let own = agent.and_then(|agent| self.app.secrets().value(&secret_name(&self.name, &credential.key, Some(agent))));
            let value = own.or_else(|| self.app.secrets().value(&secret_name(&self.name, &credential.key, None)));
            match value {
                Some(value) => held.push((credential.key.clone(), value)),
                None if credential.required => return Err(missing_credential(&self.name, &credential.key, agent)),
                None => {}
            }
        }
        Ok(held)
    }

    fn not_run(&self, failure: Failure) -> Failure {
        let program = self.manifest.command.first().map_or("", String::as_str);
        let hint = if program.starts_with("./") {
            format!("make {program} executable, and let its first line name its interpreter")
        } else {
            "it is looked for in /usr/bin, /bin and among what `lazaret tools install` installed".to_owned()
        };
        Failure::new(Code::PluginInvalid, format!("`{}` cannot be run: {}", program.escape_debug(), failure.message)).hint(hint)
    }
}

/// The secret that holds a plugin's credential.
pub(crate) fn secret_name(plugin: &str, key: &str, agent: Option<&str>) -> String {
    agent.map_or_else(|| format!("plugin.{plugin}.{key}"), |agent| format!("plugin.{plugin}.{key}@{agent}"))
}

/// A credential is not set.
pub(super) fn missing_credential(plugin: &str, key: &str, agent: Option<&str>) -> Failure {
    let of = agent.map_or_else(String::new, |agent| format!(" for agent {agent}"));
    Failure::new(Code::KeyMissing, format!("the credential `{key}` of plugin {plugin} is not set{of}"))
        .hint(format!("lazaret secret set {} -", secret_name(plugin, key, agent)))
        .field(key)
}

/// The tree in which a plugin that keeps files keeps them: always the same one.
pub(crate) fn state_tree(plugin: &str, agent: Option<&str>) -> TreeId {
    let mut hash = Sha256::new();
    for part in ["plugin state", plugin, agent.unwrap_or_default()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let bits = digest.iter().take(16).fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
    TreeId::from_bits(bits)
}

pub(crate) fn open_folder(folder: &Path) -> Result<std::os::fd::OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::empty())
        .map_err(|e| Failure::new(Code::PluginInvalid, format!("the folder of the plugin cannot be opened: {e}")))
}

/// Files that only their owner reads.
pub(crate) fn tar_of(files: &[(String, Zeroizing<String>)]) -> Result<Zeroizing<Vec<u8>>, Failure> {
    // Room for all of it, so that no copy of a credential is left behind where the buffer grew.
    let bytes: usize = files.iter().map(|(_, value)| value.len() + 4 * TAR_BLOCK).sum();
    let mut tar = tar::Builder::new(Vec::with_capacity(bytes + 4 * TAR_BLOCK));
    for (name, value) in files {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(value.len() as u64);
        header.set_mode(0o400);
        tar.append_data(&mut header, name, value.as_bytes()).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
    }
    tar.into_inner().map(Zeroizing::new).map_err(|e| Failure::new(Code::Internal, e.to_string()))
}

/// Bytes of a block of a tar archive.
const TAR_BLOCK: usize = 512;

/// The sandbox of a process. It ends with this value.
pub(crate) struct PluginSandbox {
    pub(crate) app: App,
    pub(crate) sandbox: Sandbox,
    pub(crate) tail: Arc<Tail>,
    pub(crate) is_ended: AtomicBool,
}

impl PluginSandbox {
    /// Ends it; gives false when somebody else did already.
    fn leave(&self) -> bool {
        self.app.doors().dismiss(self.sandbox.id());
        !self.is_ended.swap(true, Ordering::SeqCst)
    }
}

impl Running for PluginSandbox {
    fn end(&self) -> BoxFuture<'_, ()> {
        async {
            self.leave();
            stop(self.sandbox.clone()).await;
        }
        .boxed()
    }

    fn last_words(&self) -> String {
        self.app.secrets().clean(self.tail.text())
    }
}

impl Drop for PluginSandbox {
    fn drop(&mut self) {
        if self.leave() {
            let sandbox = self.sandbox.clone();
            self.app.spawn(async move { stop(sandbox).await });
        }
    }
}

async fn stop(sandbox: Sandbox) {
    let id = sandbox.id().clone();
    if let Err(error) = sandbox.stop().await {
        tracing::warn!(sandbox = %id, error = model::chain(&error), "the sandbox of a plugin was not removed whole");
    }
}

pub(crate) struct Stdin(pub(crate) CommandStdin);

impl Input for Stdin {
    fn write<'a>(&'a mut self, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        async move { self.0.write(bytes).await.map_err(io::Error::other) }.boxed()
    }
}

/// What a process prints: standard output for the client, the end of standard error for people.
pub(crate) struct Printed {
    pub(crate) output: CommandOutput,
    pub(crate) control: CommandControl,
    pub(crate) tail: Arc<Tail>,
    /// Since when bytes of standard error are counted, and how many came.
    pub(crate) window: Option<(Instant, usize)>,
}

impl Output for Printed {
    fn read(&mut self) -> BoxFuture<'_, io::Result<Option<Bytes>>> {
        self.next().boxed()
    }
}

impl Printed {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            self.rest().await;
            let Some(piece) = self.output.next().await.map_err(io::Error::other)? else { return Ok(None) };
            self.control.ack(piece.number);
            match piece.piece {
                Piece::Stdout(bytes) => return Ok(Some(bytes)),
                Piece::Stderr(bytes) => {
                    self.tail.push(&bytes);
                    let (since, count) = self.window.unwrap_or_else(|| (Instant::now(), 0));
                    self.window = Some((since, count + bytes.len()));
                }
                Piece::Exited(exit) => {
                    let how = exit.code.map_or_else(|| "ended by a signal".to_owned(), |code| format!("ended with status {code}"));
                    self.tail.push(format!("\n(the program {how})\n").as_bytes());
                    return Ok(None);
                }
            }
        }
    }

    /// A flood of standard error waits: it costs the plugin time, not the daemon.
    async fn rest(&mut self) {
        let Some((since, count)) = self.window else { return };
        if count >= STDERR_BYTES_MAX {
            tokio::time::sleep_until(since + STDERR_WINDOW).await;
        }
        if since.elapsed() >= STDERR_WINDOW {
            self.window = None;
        }
    }
}
