//! The kept trees of a home, as its user sees them.

use model::{SandboxId, TreeId};

use crate::sandboxes::{Place, blocking};
use crate::trees::{self, Lies};
use crate::{SandboxError, Sandboxes};

impl Sandboxes {
    /// Whether trees can be copied while sandboxes use them, and several sandboxes can always have one tree: where the
    /// home has, or now gets, a disk image. Only root can have one.
    #[must_use]
    pub fn live_checkpoints(&self) -> bool {
        self.0.host.is_root() && self.0.host.pool().is_ok()
    }

    /// Whether there is a tree of this name.
    pub async fn has_tree(&self, id: &TreeId) -> bool {
        let (host, id) = (self.0.host.clone(), id.clone());
        blocking(move || trees::find(&host, &id)).await.is_ok_and(|found| found.is_some())
    }

    /// Makes an empty tree that may hold `disk_bytes`. Fine when it exists.
    ///
    /// # Errors
    /// The disk refuses.
    pub async fn make_tree(&self, id: &TreeId, disk_bytes: u64) -> Result<(), SandboxError> {
        let (host, id) = (self.0.host.clone(), id.clone());
        blocking(move || trees::make(&host, &id, disk_bytes).map(drop)).await
    }

    /// Makes `to`, which does not exist, a tree with what `from` holds now, in a time that does not depend on how much
    /// that is. `to` is whole or not there, also when this process is killed. A `read_only` tree can be copied and read
    /// ([`crate::Request::trees`]), not written. In the disk image `from` may be in use: what its sandboxes have written
    /// by now is in the copy, as after a power failure.
    ///
    /// # Errors
    /// [`SandboxError::TreeMissing`]; [`SandboxError::TreeExists`]; [`SandboxError::TreeInUse`] when a sandbox has
    /// `from` and it does not lie in a disk image.
    pub async fn snapshot(&self, from: &TreeId, to: &TreeId, read_only: bool) -> Result<(), SandboxError> {
        let (host, shared, from, to) = (self.0.host.clone(), self.0.clone(), from.clone(), to.clone());
        let place = Place::hold(&shared, std::slice::from_ref(&to))?;
        blocking(move || {
            let _place = place;
            let alone = match trees::get(&host, &from)? {
                Lies::Image(_) => None,
                Lies::Home => Some(Place::hold(&shared, std::slice::from_ref(&from))?),
            };
            let made = trees::snapshot(&host, &from, &to, read_only);
            drop(alone);
            made
        })
        .await
    }

    /// Sets how much a tree may hold from now on; where there is no disk image nothing limits it, as its sandboxes' level
    /// says. The next start of a sandbox sets it to that sandbox's limit.
    ///
    /// # Errors
    /// [`SandboxError::TreeMissing`].
    pub async fn set_tree_limit(&self, id: &TreeId, disk_bytes: u64) -> Result<(), SandboxError> {
        let (host, id) = (self.0.host.clone(), id.clone());
        blocking(move || match trees::get(&host, &id)? {
            Lies::Image(pool) => pool.limit(crate::pool::Keep::Tree, id.as_str(), disk_bytes),
            Lies::Home => Ok(()),
        })
        .await
    }

    /// Removes trees. Fine when some are gone already.
    ///
    /// # Errors
    /// [`SandboxError::TreeInUse`] when a sandbox has one of them: none is removed then. Or one cannot be removed.
    pub async fn remove_trees(&self, ids: &[TreeId]) -> Result<(), SandboxError> {
        let place = Place::hold(&self.0, ids)?;
        let (host, ids) = (self.0.host.clone(), ids.to_vec());
        blocking(move || {
            let _place = place;
            trees::remove(&host, &ids)
        })
        .await
    }

    /// Every tree of the home, in the order of their names.
    ///
    /// # Errors
    /// The home cannot be read.
    pub async fn list_trees(&self) -> Result<Vec<TreeId>, SandboxError> {
        let host = self.0.host.clone();
        blocking(move || trees::list(&host)).await
    }

    /// The sandboxes that have the tree, to write or to read.
    #[must_use]
    pub fn tree_users(&self, id: &TreeId) -> Vec<SandboxId> {
        self.0.users(id)
    }

    /// Bytes that were written to a tree and that it, or a copy of it, still holds, as far as they are on the disk: what
    /// its limit counts. What it was copied from counts there. `None` where nothing is counted.
    ///
    /// So a tree whose files change much comes near its limit by what its copies keep; to remove old ones gives room.
    pub async fn tree_bytes(&self, id: &TreeId) -> Option<u64> {
        let (host, id) = (self.0.host.clone(), id.clone());
        let counted = blocking(move || match trees::find(&host, &id)? {
            Some(Lies::Image(pool)) => Ok(pool.used(crate::pool::Keep::Tree, id.as_str())),
            _ => Ok(None),
        });
        counted.await.ok().flatten()
    }
}
