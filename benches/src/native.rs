//! Our own sandboxes, as the daemon makes them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use model::SandboxId;
use sandbox::{Config, Door, Doors, Exec, Hold, Piece, Request, Sandbox, Sandboxes, Stdio, base_env};
use tokio::runtime::Runtime;

use crate::sample::Contender;

/// Nothing behind any door: what is measured here asks for none.
struct NoDoors;

impl Doors for NoDoors {
    fn open(&self, _: &SandboxId, _: Door, _: tokio::net::UnixStream, _: bytes::Bytes, _: Hold) {}
}

/// A host of sandboxes with a home of its own.
pub(crate) struct Native {
    /// Drives it.
    pub(crate) runtime: Runtime,
    sandboxes: Sandboxes,
    /// What the home's control groups are called by.
    install: String,
}

impl Native {
    /// Opens a home in `dir`.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let home = dir.join("home");
        std::fs::create_dir(&home)?;
        std::fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        let install = format!("{:08x}", std::process::id());
        let config = Config::new(home, built("guest", "lazaret-guest")?, install.clone());
        let sandboxes = runtime.block_on(Sandboxes::open(config, Arc::new(NoDoors))).context("failed to open the sandboxes")?;
        runtime.block_on(sandboxes.adopt()).context("failed to look for sandboxes")?;
        Ok(Self { runtime, sandboxes, install })
    }

    /// Starts one with every layer and the default limits.
    pub(crate) async fn start(&self) -> Result<Sandbox> {
        let id = SandboxId::from_bits(uuid::Uuid::now_v7().as_u128());
        self.sandboxes.start(Request::new(id, "bench")).await.context("failed to start a sandbox")
    }

    /// How many it may have at once.
    pub(crate) fn most(&self) -> usize {
        self.sandboxes.sandboxes_max()
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        self.runtime.block_on(self.sandboxes.shutdown(true));
        // The home is gone after a bench, so what it keeps for its next daemon goes too.
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = std::fs::remove_dir(hierarchy.path().join(format!("lazaret-{}", self.install)));
        }
    }
}

/// Runs `true` in a running sandbox and waits for its end.
pub(crate) async fn exec_true(sandbox: &Sandbox) -> Result<()> {
    let exec = Exec {
        argv: vec!["true".to_owned()],
        env: base_env(sandbox.limits()),
        cwd: "/".to_owned(),
        stdio: Stdio::Pipes { stdin: false },
        lease: 1,
    };
    let mut command = sandbox.exec(exec).await.context("failed to run a command")?;
    while let Some(output) = command.output.next().await? {
        if let Piece::Exited(exit) = output.piece {
            if exit.code != Some(0) {
                bail!("`true` ended with {exit:?}");
            }
            command.control.ack(output.number);
        }
    }
    Ok(())
}

/// A program that the same build made: beside this one, or the guest in its own directory.
pub(crate) fn built(kind: &str, name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe().context("failed to find this program")?;
    let profile = here.parent().context("this program lies in a directory")?;
    let path = match kind {
        "guest" => {
            let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
            profile.with_file_name("guest").join(triple).join("guest").join(name)
        }
        _ => profile.join(name),
    };
    if !path.exists() {
        bail!("{} is not built; run `cargo xtask bench`", path.display());
    }
    Ok(path)
}

/// A start in the daemon: a call, `true`, and gone.
pub(crate) struct InDaemon(pub(crate) Arc<Native>);

impl Contender for InDaemon {
    fn name(&self) -> String {
        "Lazaret, a call in the daemon".to_owned()
    }

    fn lacks(&self) -> String {
        "-".to_owned()
    }

    fn once(&mut self) -> Result<()> {
        self.0.runtime.block_on(async {
            let sandbox = self.0.start().await?;
            exec_true(&sandbox).await?;
            sandbox.stop().await.context("failed to remove a sandbox")
        })
    }
}

/// The same as a process of its own: `lazaret sandbox run -- true`.
pub(crate) struct AsProcess {
    program: PathBuf,
    home: PathBuf,
}

impl AsProcess {
    /// Uses a home in `dir`.
    pub(crate) fn prepare(dir: &Path) -> Result<Self> {
        let home = dir.join("process-home");
        Ok(Self { program: built("profile", "lazaret")?, home })
    }
}

impl Contender for AsProcess {
    fn name(&self) -> String {
        "Lazaret, `lazaret sandbox run -- true`".to_owned()
    }

    fn lacks(&self) -> String {
        "-".to_owned()
    }

    fn once(&mut self) -> Result<()> {
        crate::peers::quiet(
            std::process::Command::new(&self.program).env("LAZARET_HOME", &self.home).args(["sandbox", "run", "--", "true"]),
        )
    }
}
