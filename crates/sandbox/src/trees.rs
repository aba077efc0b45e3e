//! Kept trees: where they lie, how they are made, copied, mounted and removed.
//!
//! As root a tree is a subvolume of the disk image, and a copy of one is a snapshot. Elsewhere it is a directory of the
//! home, see [`crate::layers`]. In both, files belong on the disk to the sandbox's user of all sandboxes, 1000; or
//! without root to the caller.

use std::path::Path;
use std::sync::Arc;

use jail::{GUEST_ID, Mount, Source};
use model::TreeId;

use crate::host::Host;
use crate::pool::{FRESH, Keep, Pool};
use crate::{SandboxError, layers};

/// The two halves of a tree.
pub(crate) const HALVES: [&str; 2] = ["home", "workspace"];

/// Where a tree lies.
#[derive(Debug)]
pub(crate) enum Lies {
    /// In the disk image.
    Image(Arc<Pool>),
    /// In the home.
    Home,
}

/// Where the tree lies, if it exists.
pub(crate) fn find(host: &Host, id: &TreeId) -> Result<Option<Lies>, SandboxError> {
    if layers::exists(host, id) {
        return Ok(Some(Lies::Home));
    }
    if !host.is_root() || !crate::pool::exists(&host.home) {
        return Ok(None);
    }
    let pool = host.pool()?;
    Ok(pool.has(Keep::Tree, id.as_str()).then_some(Lies::Image(pool)))
}

/// Where the tree lies; an error when it does not exist.
pub(crate) fn get(host: &Host, id: &TreeId) -> Result<Lies, SandboxError> {
    find(host, id)?.ok_or_else(|| SandboxError::TreeMissing(id.clone()))
}

/// Makes an empty tree if it does not exist.
pub(crate) fn make(host: &Host, id: &TreeId, bytes: u64) -> Result<Lies, SandboxError> {
    if let Some(lies) = find(host, id)? {
        return Ok(lies);
    }
    let _one = host.trees();
    // Where the image cannot be had, a start that must have a limit of the disk says so.
    let made = match host.is_root().then(|| host.pool()) {
        Some(Ok(pool)) => {
            pool.make_tree(id.as_str(), bytes)?;
            Lies::Image(pool)
        }
        _ => {
            layers::make(host, id)?;
            Lies::Home
        }
    };
    model::crash::point("tree:made");
    Ok(made)
}

/// The mounts that show a tree below the path `at` inside. `contested` are trees that other sandboxes have.
pub(crate) fn mounts(
    host: &Host,
    lies: &Lies,
    id: &TreeId,
    at: &Path,
    read_only: bool,
    contested: &[TreeId],
) -> Result<Vec<Mount>, SandboxError> {
    let sources = match lies {
        Lies::Image(pool) => {
            let (device, path) = pool.place(id.as_str());
            HALVES.map(|half| Source::Device { device: device.clone(), fstype: "btrfs".into(), path: path.join(half) })
        }
        Lies::Home => layers::sources(host, id, read_only, contested.contains(id))?,
    };
    let owner = host.is_root().then_some((GUEST_ID, GUEST_ID));
    let halves = HALVES.into_iter().zip(sources);
    Ok(halves.map(|(half, source)| Mount { source, target: at.join(half), read_only, owner }).collect())
}

/// Makes `to`, which does not exist, what `from` holds now.
pub(crate) fn snapshot(host: &Host, from: &TreeId, to: &TreeId, read_only: bool) -> Result<(), SandboxError> {
    if find(host, to)?.is_some() {
        return Err(SandboxError::TreeExists(to.clone()));
    }
    match get(host, from)? {
        Lies::Image(pool) => pool.snapshot(from.as_str(), to.as_str(), read_only)?,
        Lies::Home => {
            let _one = host.trees();
            layers::snapshot(host, from, to, read_only)?;
        }
    }
    model::crash::point("tree:snapshot");
    Ok(())
}

/// Removes trees; fine when they are gone.
pub(crate) fn remove(host: &Host, ids: &[TreeId]) -> Result<(), SandboxError> {
    let mut layered = false;
    for id in ids {
        match find(host, id)? {
            None => {}
            Some(Lies::Image(pool)) => pool.remove(Keep::Tree, id.as_str())?,
            Some(Lies::Home) => {
                let _one = host.trees();
                layers::remove(host, id)?;
                layered = true;
            }
        }
        model::crash::point("tree:removed");
    }
    let _one = host.trees();
    if layered { layers::sweep(host) } else { Ok(()) }
}

/// Every tree.
pub(crate) fn list(host: &Host) -> Result<Vec<TreeId>, SandboxError> {
    let mut names = layers::list(host)?;
    if host.is_root() && crate::pool::exists(&host.home) {
        names.extend(host.pool()?.list(Keep::Tree));
    }
    let mut ids: Vec<TreeId> = names.into_iter().filter_map(|name| name.parse().ok()).collect();
    ids.sort();
    Ok(ids)
}

/// Removes what is half made or half removed. Which trees are wanted is for others to know.
pub(crate) fn sweep(host: &Host) -> Result<(), SandboxError> {
    {
        let _one = host.trees();
        layers::sweep(host)?;
    }
    if !host.is_root() || !crate::pool::exists(&host.home) {
        return Ok(());
    }
    let pool = host.pool()?;
    for name in pool.list(Keep::Tree).iter().filter(|name| name.ends_with(FRESH)) {
        pool.remove(Keep::Tree, name)?;
    }
    Ok(())
}
