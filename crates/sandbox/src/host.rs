//! What this host gives, found out once.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jail::cgroup::Driver;
use model::SandboxId;

use crate::home::Home;
use crate::pool::Pool;
use crate::record::boot;
use crate::uids::{REGISTRY, Uids};
use crate::{Config, SandboxError};

/// What this host gives to sandboxes of one home.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) config: Config,
    pub(crate) home: Home,
    pub(crate) groups: Driver,
    /// Reserved users; `None` without root.
    pub(crate) uids: Option<Uids>,
    pub(crate) boot: String,
    /// The disk image once it was needed. Held while it is opened.
    pool: Mutex<Option<Arc<Pool>>>,
    /// Held while trees are made, and while those of the home are changed: never across an await.
    trees: Mutex<()>,
}

impl Host {
    /// Looks at the host. Takes well below a millisecond.
    pub(crate) fn open(config: &Config) -> Result<Self, SandboxError> {
        let home = Home::open(config)?;
        let root = rustix::process::geteuid().is_root();
        let uids = root.then(|| Uids::open(Path::new(REGISTRY), &config.install, &config.home, config.uid_range)).transpose()?;
        Ok(Self {
            config: config.clone(),
            home,
            groups: Driver::detect(&config.install),
            uids,
            boot: boot(),
            pool: Mutex::default(),
            trees: Mutex::default(),
        })
    }

    /// Whether sandboxes are made with root's rights.
    pub(crate) fn is_root(&self) -> bool {
        self.uids.is_some()
    }

    /// The disk image of the home, made and mounted when it is first needed. Only root has one.
    pub(crate) fn pool(&self) -> Result<Arc<Pool>, SandboxError> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = &*pool {
            return Ok(pool.clone());
        }
        let fresh = Arc::new(Pool::open(&self.home, self.config.disk_image_bytes)?);
        *pool = Some(fresh.clone());
        Ok(fresh)
    }

    /// The disk image if this process has used it.
    pub(crate) fn open_pool(&self) -> Option<Arc<Pool>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One at a time makes a tree, or changes those in the home.
    pub(crate) fn trees(&self) -> MutexGuard<'_, ()> {
        self.trees.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `root` or `rootless`.
    pub(crate) fn mode(&self) -> &'static str {
        if self.is_root() { "root" } else { "rootless" }
    }

    /// What stands in the command line of a sandbox's launcher and first process.
    pub(crate) fn label(&self, id: &SandboxId) -> String {
        format!("{}:{id}", self.config.install)
    }

    /// The directory of one of the daemon's sandboxes.
    pub(crate) fn dir(&self, id: &SandboxId) -> PathBuf {
        self.home.sandboxes().join(id.as_str())
    }
}
