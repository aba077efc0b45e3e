//! Where the writes of a sandbox go, and whether their amount is limited.

use std::path::Path;

use jail::{Mount, Upper};
use model::{LevelLine, Limits, SandboxId, TreeId, Want};

use crate::host::Host;
use crate::level::line;
use crate::pool::Keep;
use crate::record::Record;
use crate::trees::{self, Lies};
use crate::{SandboxError, Tree};

/// The root's own layer where the files lie in a kept tree: only mount points, and nothing inside can write to it.
const ROOT_BYTES: u64 = 1 << 20;

/// A writable layer and what holds for it.
#[derive(Debug)]
pub(crate) struct Backing {
    pub(crate) upper: Upper,
    /// What is mounted from a kept tree.
    pub(crate) mounts: Vec<Mount>,
    pub(crate) line: LevelLine,
}

/// Chooses and makes the writable layer of a sandbox. A `short` one is for a single command and always in memory.
/// `contested` are trees that other sandboxes have.
pub(crate) fn choose(
    host: &Host,
    id: &SandboxId,
    tree: &Tree,
    (limits, want): (&Limits, Want),
    short: bool,
    contested: &[TreeId],
) -> Result<Backing, SandboxError> {
    match tree {
        Tree::Kept { id } => kept(host, id, (limits, want), contested),
        Tree::Ephemeral if short || limits.disk_bytes <= limits.memory_bytes || !host.is_root() => Ok(memory(limits)),
        Tree::Ephemeral => match host.pool() {
            Ok(pool) => {
                let upper = pool.upper(Keep::Sandbox, id.as_str(), limits.disk_bytes)?;
                Ok(Backing { upper, mounts: Vec::new(), line: quota(limits, "") })
            }
            Err(_) => Ok(memory(limits)),
        },
    }
}

/// A tmpfs: made and gone in no time, and its size is exact. What it holds counts as memory, so it is never larger than
/// the memory that the sandbox may use.
fn memory(limits: &Limits) -> Backing {
    let bytes = limits.disk_bytes.min(limits.memory_bytes);
    let how = format!("{} MiB, a tmpfs, which counts as memory", bytes >> 20);
    Backing { upper: Upper::Tmpfs { bytes }, mounts: Vec::new(), line: line("disk", true, how) }
}

fn quota(limits: &Limits, whose: &str) -> LevelLine {
    line("disk", true, format!("{} MiB{whose}, by a btrfs quota in the disk image of the home", limits.disk_bytes >> 20))
}

/// A tree that is kept. Where it lies was decided when it was made.
fn kept(host: &Host, id: &TreeId, (limits, want): (&Limits, Want), contested: &[TreeId]) -> Result<Backing, SandboxError> {
    let lies = trees::make(host, id, limits.disk_bytes)?;
    let line = match &lies {
        Lies::Image(pool) => {
            pool.loosen(id.as_str(), limits.disk_bytes)?;
            quota(limits, " for all sandboxes of the tree, with what only its checkpoints keep")
        }
        Lies::Home if want == Want::Require => {
            return Err(SandboxError::Layer {
                layer: "disk".into(),
                why: "plain directories have no quota".into(),
                remedy: "run as root, with the modules loop and btrfs; or set the limit to prefer".into(),
            });
        }
        Lies::Home => line("disk", false, "not limited: plain directories, only the size of each file is; root has a quota"),
    };
    let mounts = trees::mounts(host, &lies, id, Path::new("/"), false, contested)?;
    Ok(Backing { upper: Upper::Tmpfs { bytes: ROOT_BYTES }, mounts, line })
}

/// Bytes that a sandbox of this record uses, where that is counted.
pub(crate) fn used(host: &Host, record: &Record) -> Option<u64> {
    let pool = host.open_pool()?;
    let (keep, name) = subvolume(record);
    pool.used(keep, name)
}

/// The sandbox stands: its limit holds from now on to the byte.
pub(crate) fn settle(host: &Host, record: &Record) -> Result<(), SandboxError> {
    let Some(pool) = host.open_pool() else { return Ok(()) };
    let (keep, name) = subvolume(record);
    // Not every layer lies in the image.
    if pool.has(keep, name) { pool.limit(keep, name, record.limits.disk_bytes) } else { Ok(()) }
}

fn subvolume(record: &Record) -> (Keep, &str) {
    record.tree.as_ref().map_or((Keep::Sandbox, record.id.as_str()), |tree| (Keep::Tree, tree.as_str()))
}

/// Removes the layer of a sandbox that is gone.
pub(crate) fn remove_ephemeral(host: &Host, id: &SandboxId) -> Result<(), SandboxError> {
    // Without an open image this process made none; what an earlier one made is removed when it is opened to adopt.
    host.open_pool().map_or(Ok(()), |pool| pool.remove(Keep::Sandbox, id.as_str()))
}

/// Removes what belongs to nothing that is still there.
pub(crate) fn sweep(host: &Host) -> Result<(), SandboxError> {
    trees::sweep(host)?;
    if !host.is_root() || !crate::pool::exists(&host.home) {
        return Ok(());
    }
    let pool = host.pool()?;
    for name in pool.list(Keep::Sandbox) {
        if name.parse::<SandboxId>().is_ok_and(|id| !host.dir(&id).exists()) {
            pool.remove(Keep::Sandbox, &name)?;
        }
    }
    Ok(())
}
