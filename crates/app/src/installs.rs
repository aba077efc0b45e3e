//! The agent programs in the home: pinned, fetched in a sandbox, compared with their hash, mounted read-only.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engines::{Engine, Entry, EntryKind, ProgramPath, Recipe, TreeHasher};
use model::{Code, EgressRule, Failure};
use sandbox::{Exec, Piece, Sandbox, Stdio};
use serde::{Deserialize, Serialize};

use crate::sandboxes::EGRESS_PORT;
use crate::{App, ProgramSource, SessionSpec};

/// Where engines are installed in the home.
pub struct EngineInstalls {
    dir: PathBuf,
}

/// The engines of an [`App`].
pub struct EnginesOf<'a> {
    pub(crate) app: &'a App,
}

/// An engine and its installation.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct EngineStatus {
    /// The engine.
    pub name: String,
    /// The pinned version; `None` for what is built in.
    pub version: Option<String>,
    /// Whether it can be used.
    pub installed: bool,
    /// Whether the installed files were just compared with their pinned hash, and are the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
    /// The size of the installation in bytes.
    pub disk_bytes: u64,
    /// Whether a file describes it: its program is looked for inside when it is asked, and nobody installed or compared it.
    #[serde(default)]
    pub described: bool,
}

/// What the fetcher is told on its standard input.
#[derive(Debug, Serialize, Deserialize)]
pub struct FetchOrder {
    /// The registry's base address.
    pub registry: String,
    /// The loopback port of the egress proxy.
    pub proxy_port: u16,
    /// Where to unpack, absolute inside.
    pub into: String,
    /// The files.
    pub files: Vec<FetchFile>,
    /// A command to run, with its way to the registry open.
    #[serde(default)]
    pub command: Vec<String>,
}

/// One file of a [`FetchOrder`].
#[derive(Debug, Serialize, Deserialize)]
pub struct FetchFile {
    /// The path under the registry's base address.
    pub path: String,
    /// SHA-512 in hexadecimal.
    pub sha512: String,
    /// The directory to unpack into, relative.
    pub unpack: String,
}

/// Finds the package registry when one is needed, and not before: to ask the tools of the machine for theirs takes longer
/// than the whole start of a daemon. It may block.
#[derive(Clone, Default)]
pub struct RegistryFinder(Option<Arc<dyn Fn() -> Option<String> + Send + Sync>>);

impl RegistryFinder {
    /// A finder that asks `find` each time.
    #[must_use]
    pub fn new(find: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(find)))
    }

    pub(crate) async fn find(&self) -> Option<String> {
        let find = self.0.clone()?;
        tokio::task::spawn_blocking(move || find()).await.ok()?
    }
}

impl std::fmt::Debug for RegistryFinder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RegistryFinder").finish_non_exhaustive()
    }
}

/// Where the fetcher is seen inside.
const FETCHER: &str = "/opt/lazaret/fetch";
/// Where it unpacks.
const UNPACKED: &str = "/workspace/engine";
/// How much of the fetcher's complaint is shown.
const COMPLAINT_BYTES_MAX: usize = 2 << 10;
/// What the name of a tree begins with that is not in place yet.
const FRESH: &str = ".fresh-";
/// The deepest tree that is hashed.
const DEPTH_MAX: usize = 64;

impl EngineInstalls {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Where an engine's program comes from.
    pub(crate) fn source_of(&self, engine: &str) -> Result<ProgramSource, Failure> {
        let found = engines::find(engine)?;
        match (found.recipe(), engine.strip_prefix("program:")) {
            (_, Some(path)) => Ok(ProgramSource::At { path: path.to_owned() }),
            (None, None) => Ok(ProgramSource::Guest),
            (Some(recipe), None) if self.path_of(&recipe).is_dir() => Ok(ProgramSource::Installed),
            (Some(_), None) => Err(Failure::new(Code::EngineMissing, format!("the engine {engine} is not installed"))
                .hint(format!("run: lazaret engine install {engine}"))),
        }
    }

    /// The program of an installed engine, as it is seen inside.
    pub(crate) fn program_of(&self, engine: &str, root: &str) -> Result<ProgramPath, Failure> {
        let recipe = recipe_of(engine)?.1;
        Ok(recipe.program_at(&format!("{root}/{engine}")))
    }

    /// A program that the user brought.
    pub(crate) fn program_at(&self, path: &str) -> ProgramPath {
        ProgramPath::native(path)
    }

    /// What a session's sandbox must see.
    pub(crate) fn mounts_of(&self, spec: &SessionSpec, root: &str) -> Result<Vec<(PathBuf, PathBuf)>, Failure> {
        if spec.program != ProgramSource::Installed {
            return Ok(Vec::new());
        }
        let found = spec.found_engine()?;
        let engine = found.installed();
        let path = self.path_of(&recipe_of(engine)?.1);
        if !path.is_dir() {
            return Err(Failure::new(Code::EngineMissing, format!("the engine {engine} is not installed any more"))
                .hint(format!("run: lazaret engine install {engine}")));
        }
        Ok(vec![(path, PathBuf::from(format!("{root}/{engine}")))])
    }

    /// Removes trees that a daemon which is gone began to unpack. Called before anything is installed.
    pub(crate) fn sweep(&self) {
        let children = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect::<Vec<_>>();
        let is_fresh = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_bytes().starts_with(FRESH.as_bytes()));
        for fresh in children(&self.dir).iter().flat_map(|engine| children(engine)).filter(is_fresh) {
            if let Err(error) = std::fs::remove_dir_all(&fresh) {
                tracing::warn!(path = %fresh.display(), %error, "half an engine was not removed");
            }
        }
    }

    fn path_of(&self, recipe: &Recipe) -> PathBuf {
        self.dir.join(&recipe.engine).join(&recipe.version)
    }

    fn status(&self, engine: &dyn Engine) -> EngineStatus {
        let recipe = engine.recipe();
        EngineStatus {
            name: engine.name().to_owned(),
            version: recipe.as_ref().map(|r| r.version.clone()),
            installed: recipe.as_ref().is_none_or(|r| self.path_of(r).is_dir()),
            verified: None,
            disk_bytes: recipe.as_ref().map_or(0, |r| r.disk_bytes),
            described: false,
        }
    }
}

impl EnginesOf<'_> {
    /// Every engine.
    ///
    /// # Errors
    /// None today; the answer may come to read the disk.
    pub async fn list(&self) -> Result<Vec<EngineStatus>, Failure> {
        Ok(engines::ALL.iter().map(|engine| self.app.installs().status(*engine)).collect())
    }

    /// Installs the pinned version: fetched and unpacked in a sandbox that reaches the registry alone, no script run,
    /// the tree compared with its pinned hash, then put in place at once.
    ///
    /// # Errors
    /// There is no such engine or registry, a file is not the pinned one, or the tree differs.
    pub async fn install(&self, name: &str) -> Result<EngineStatus, Failure> {
        let (engine, recipe) = recipe_of(name)?;
        let recipe = &recipe;
        let installs = self.app.installs();
        let target = installs.path_of(recipe);
        if target.is_dir() {
            return self.verify(name).await;
        }
        let (registry, host) = self.registry().await?;
        let mut helper = self.app.helper();
        let mut request = helper.request(format!("engine-{name}"));
        request.limits.disk_bytes = recipe.disk_bytes.saturating_mul(2).max(1 << 30);
        request.extra_ro = vec![(self.app.program().to_owned(), PathBuf::from(FETCHER))];
        helper.writes(&mut request);
        helper.reaches(vec![host], &mut request);
        let sandbox = helper.start(request).await?;
        let done = self.fetch(&sandbox, recipe, registry, &target).await;
        helper.close().await;
        done?;
        let mut status = installs.status(engine);
        status.verified = Some(true);
        Ok(status)
    }

    async fn fetch(&self, sandbox: &Sandbox, recipe: &Recipe, registry: String, target: &Path) -> Result<(), Failure> {
        let fetches = recipe.fetches().map_err(|e| Failure::new(Code::Internal, model::chain(&e)))?;
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let files = fetches.iter().map(|f| FetchFile { path: f.path.clone(), sha512: hex(&f.sha512), unpack: f.unpack.clone() });
        let order =
            FetchOrder { registry, proxy_port: EGRESS_PORT, into: UNPACKED.to_owned(), files: files.collect(), command: Vec::new() };
        let order = serde_json::to_vec(&order).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        let exec = Exec {
            argv: vec![FETCHER.to_owned(), "fetch".to_owned()],
            env: sandbox::base_env(&model::Limits::default()),
            cwd: "/workspace".to_owned(),
            stdio: Stdio::Pipes { stdin: true },
            lease: 0,
        };
        let mut command = sandbox.exec(exec).await.map_err(|e| e.failure())?;
        if let Some(mut stdin) = command.stdin.take() {
            stdin.write(&order).await.map_err(|e| e.failure())?;
        }
        let mut complaint = Vec::new();
        let exit = loop {
            let Some(piece) = command.output.next().await.map_err(|e| e.failure())? else {
                return Err(Failure::new(Code::SandboxFailed, "the fetcher ended without an end"));
            };
            command.control.ack(piece.number);
            match piece.piece {
                Piece::Exited(exit) => break exit,
                Piece::Stdout(bytes) | Piece::Stderr(bytes) => {
                    let room = COMPLAINT_BYTES_MAX.saturating_sub(complaint.len());
                    complaint.extend_from_slice(&bytes[..bytes.len().min(room)]);
                }
            }
        };
        if exit.code != Some(0) {
            let why = String::from_utf8_lossy(&complaint).trim().to_owned();
            return Err(Failure::new(Code::EngineMissing, format!("the engine {} could not be fetched: {why}", recipe.engine))
                .hint("check engines.registry and the network; private addresses need egress.private_ok"));
        }
        self.put_in_place(sandbox, recipe, target).await
    }

    async fn put_in_place(&self, sandbox: &Sandbox, recipe: &Recipe, target: &Path) -> Result<(), Failure> {
        let fail =
            |what: &str, e: std::io::Error| Failure::new(Code::HomeUnsafe, format!("the engine cannot be put in place: {what}: {e}"));
        let parent = target.parent().unwrap_or(target).to_owned();
        std::fs::create_dir_all(&parent).map_err(|e| fail("make its directory", e))?;
        let fresh = parent.join(format!("{FRESH}{}", sandbox.id()));
        std::fs::create_dir(&fresh).map_err(|e| fail("make its directory", e))?;
        let dir: OwnedFd = File::open(&fresh).map_err(|e| fail("open its directory", e))?.into();
        let done = async {
            sandbox.copy_out(UNPACKED, dir).await.map_err(|e| e.failure())?;
            let (tree, pinned) = (fresh.join("engine"), recipe.tree_sha256.clone());
            let hash = hash_off_thread(tree.clone()).await?;
            if hash != pinned {
                return Err(Failure::new(
                    Code::EngineTampered,
                    format!("the engine {} has the hash {hash}, not the pinned {pinned}", recipe.engine),
                ));
            }
            model::crash::point("engine:unpacked");
            std::fs::rename(&tree, target).map_err(|e| fail("rename it", e))
        }
        .await;
        let _ = std::fs::remove_dir_all(&fresh);
        done
    }

    /// Compares the installed files with their pinned hash.
    ///
    /// # Errors
    /// `ENGINE_TAMPERED` when they differ, `ENGINE_MISSING` when there are none.
    pub async fn verify(&self, name: &str) -> Result<EngineStatus, Failure> {
        let found = engines::find(name)?;
        let mut status = self.app.installs().status(&*found);
        let Some(recipe) = found.recipe() else {
            status.verified = Some(true);
            return Ok(status);
        };
        if !status.installed {
            return Err(Failure::new(Code::EngineMissing, format!("the engine {name} is not installed"))
                .hint(format!("run: lazaret engine install {name}")));
        }
        let hash = hash_off_thread(self.app.installs().path_of(&recipe)).await?;
        if hash != recipe.tree_sha256 {
            return Err(Failure::new(Code::EngineTampered, format!("the files of {name} differ from those that were pinned"))
                .hint(format!("run: lazaret engine remove {name}, then install it again")));
        }
        status.verified = Some(true);
        Ok(status)
    }

    /// Removes every installed version.
    ///
    /// # Errors
    /// It is not installed, or in use, or cannot be removed.
    pub async fn remove(&self, name: &str) -> Result<(), Failure> {
        let (_, recipe) = recipe_of(name)?;
        if self.app.live_sessions().iter().any(|l| l.spec.engine == name) {
            return Err(Failure::new(Code::Conflict, format!("a session works with {name}")).hint("wait until it is done"));
        }
        let dir = self.app.installs().dir.join(&recipe.engine);
        match std::fs::remove_dir_all(&dir) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                Err(Failure::new(Code::EngineMissing, format!("the engine {name} is not installed")))
            }
            Err(e) => Err(Failure::new(Code::Internal, format!("the engine {name} cannot be removed: {e}"))),
        }
    }

    /// The registry, and the one host that the fetcher may reach.
    async fn registry(&self) -> Result<(String, EgressRule), Failure> {
        let settings = self.app.settings();
        let registry = settings.registry.find().await.ok_or_else(|| {
            Failure::new(Code::ConfigInvalid, "no package registry is configured")
                .hint("set it: lazaret config set engines.registry URL")
                .field("engines.registry")
        })?;
        let wrong = || {
            Failure::new(Code::ConfigInvalid, format!("engines.registry: `{registry}` is not an http or https address"))
                .field("engines.registry")
        };
        let (rest, port) = match registry.strip_prefix("https://") {
            Some(rest) => (rest, 443),
            None => (registry.strip_prefix("http://").ok_or_else(wrong)?, 80),
        };
        let authority = rest.split('/').next().unwrap_or(rest);
        let with_port = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:{port}") };
        let rule = with_port.parse().map_err(|_| wrong())?;
        Ok((registry.trim_end_matches('/').to_owned(), rule))
    }
}

fn recipe_of(name: &str) -> Result<(&'static dyn Engine, Recipe), Failure> {
    let engine = engines::by_name(name);
    engine.and_then(|e| e.recipe().map(|r| (e, r))).ok_or_else(|| {
        let names: Vec<&str> = engines::ALL.iter().filter(|e| e.recipe().is_some()).map(|e| e.name()).collect();
        Failure::new(Code::EngineMissing, format!("`{}` is not an engine that can be installed", name.escape_debug()))
            .hint(format!("these can: {}", names.join(", ")))
    })
}

async fn hash_off_thread(tree: PathBuf) -> Result<String, Failure> {
    let fail = |why: String| Failure::new(Code::EngineTampered, format!("the engine's files cannot be read: {why}"));
    let hashed = tokio::task::spawn_blocking(move || hash_tree(&tree)).await.map_err(|e| fail(e.to_string()))?;
    hashed.map_err(|e| fail(e.to_string()))?.ok_or_else(|| fail("they change while they are read".to_owned()))
}

/// The hash of a tree: every file and link, in the order of their paths' bytes.
fn hash_tree(root: &Path) -> std::io::Result<Option<String>> {
    let mut paths = Vec::new();
    walk(root, root, 0, &mut paths)?;
    paths.sort();
    let mut hasher = TreeHasher::default();
    let mut buffer = vec![0; 256 << 10];
    for relative in &paths {
        let path = root.join(std::ffi::OsStr::from_bytes(relative));
        let meta = std::fs::symlink_metadata(&path)?;
        if meta.is_symlink() {
            let to = std::fs::read_link(&path)?;
            let to = to.as_os_str().as_bytes();
            hasher.entry(Entry { path: relative, kind: EntryKind::Link, size: to.len() as u64 });
            hasher.content(to);
            continue;
        }
        let executable = meta.permissions().mode() & 0o100 != 0;
        hasher.entry(Entry { path: relative, kind: EntryKind::File { executable }, size: meta.size() });
        let mut file = File::open(&path)?;
        loop {
            let n = file.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            hasher.content(&buffer[..n]);
        }
    }
    Ok(hasher.finish())
}

fn walk(root: &Path, dir: &Path, depth: usize, paths: &mut Vec<Vec<u8>>) -> std::io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(std::io::Error::other("the tree is too deep"));
    }
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(root, &entry.path(), depth + 1, paths)?;
        } else {
            let path = entry.path();
            let relative = path.strip_prefix(root).map_err(std::io::Error::other)?;
            paths.push(relative.as_os_str().as_bytes().to_vec());
        }
    }
    Ok(())
}
