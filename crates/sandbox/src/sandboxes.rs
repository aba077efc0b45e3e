//! All sandboxes of one home.

use std::sync::Arc;

use bytes::Bytes;
use model::SandboxId;
use tokio::net::UnixStream;
use wire::Door;

use crate::{Config, Request, Sandbox, SandboxError, Summary};

/// Where connections from sandboxes go.
pub trait Doors: Send + Sync {
    /// Takes a connection that `sandbox` opened to `door`, which is never [`Door::Control`]. `read` are the bytes that
    /// came after the door line. Must return at once; the sandbox is who the kernel says it is. `hold` is kept as long
    /// as the connection lives: it counts against the connections that one sandbox may have.
    fn open(&self, sandbox: &SandboxId, door: Door, stream: UnixStream, read: Bytes, hold: Hold);
}

/// One of the connections that a sandbox may have at once; dropping it gives the place back.
#[derive(Debug)]
pub struct Hold(#[expect(dead_code, reason = "held for its drop")] pub(crate) tokio::sync::OwnedSemaphorePermit);

/// What [`Sandboxes::adopt`] found.
#[derive(Debug, Default)]
pub struct Adopted {
    /// Sandboxes that live on, each with the commands it still has: stream, lease, last number.
    pub sandboxes: Vec<(Sandbox, Vec<(u32, u64, u64)>)>,
    /// How many others were removed.
    pub removed: usize,
    /// What could not be removed, for the log.
    pub trouble: Vec<String>,
}

/// All sandboxes of one home. A cheap handle.
#[derive(Debug, Clone)]
pub struct Sandboxes {}

impl Sandboxes {
    /// Looks at the host and gets ready. The caller holds the lock of the home.
    ///
    /// # Errors
    /// The home is unsafe, or the guest program is not there.
    pub async fn open(config: Config, doors: Arc<dyn Doors>) -> Result<Sandboxes, SandboxError> {
        let _ = (config, doors);
        Ok(Sandboxes {})
    }

    /// Takes over the live sandboxes that an earlier process of this home left, and removes all else that it left:
    /// processes, control groups, mounts, loop devices, directories, sockets. Touches nothing of other homes.
    ///
    /// # Errors
    /// The home cannot be read.
    pub async fn adopt(&self) -> Result<Adopted, SandboxError> {
        Ok(Adopted::default())
    }

    /// Makes and starts a sandbox.
    ///
    /// # Errors
    /// A required layer is missing, a limit is reached, or the sandbox could not be built; nothing is left then.
    pub async fn start(&self, request: Request) -> Result<Sandbox, SandboxError> {
        Err(SandboxError::Unknown(request.id.to_string()))
    }

    /// Every sandbox that runs.
    #[must_use]
    pub fn list(&self) -> Vec<Summary> {
        Vec::new()
    }

    /// The running sandbox of this identity.
    #[must_use]
    pub fn get(&self, id: &SandboxId) -> Option<Sandbox> {
        let _ = id;
        None
    }

    /// The most sandboxes that may be alive at once.
    #[must_use]
    pub fn sandboxes_max(&self) -> usize {
        0
    }

    /// Removes the kept tree of a session that has no sandbox now.
    ///
    /// # Errors
    /// A sandbox uses it, or it cannot be removed.
    pub async fn remove_tree(&self, name: &str) -> Result<(), SandboxError> {
        let _ = name;
        Ok(())
    }

    /// Stops serving. With `kill` every sandbox is stopped first; without, they live on for the next daemon.
    pub async fn shutdown(&self, kill: bool) {
        let _ = kill;
    }
}
