//! Where the writes of a sandbox go, and whether their amount is limited.

use std::fs;
use std::path::PathBuf;

use jail::Upper;
use model::{LevelLine, Limits, SandboxId, Want};

use crate::home::make_dir;
use crate::host::Host;
use crate::level::line;
use crate::pool::Keep;
use crate::{SandboxError, Tree};

/// A writable layer and what holds for it.
#[derive(Debug)]
pub(crate) struct Backing {
    pub(crate) upper: Upper,
    pub(crate) line: LevelLine,
}

/// Chooses and makes the writable layer of a sandbox. A `short` one is for a single command and always in memory.
pub(crate) fn choose(host: &Host, id: &SandboxId, tree: &Tree, limits: &Limits, want: Want, short: bool) -> Result<Backing, SandboxError> {
    match tree {
        Tree::Session { name } => session(host, name, limits, want),
        Tree::Ephemeral if short || limits.disk_bytes <= limits.memory_bytes || !host.is_root() => Ok(memory(limits)),
        Tree::Ephemeral => match host.pool() {
            Ok(pool) => Ok(quota(pool.upper(Keep::Sandbox, id.as_str(), limits.disk_bytes)?, limits)),
            Err(_) => Ok(memory(limits)),
        },
    }
}

/// A tmpfs: made and gone in no time, and its size is exact. What it holds counts as memory, so it is never larger than
/// the memory that the sandbox may use.
fn memory(limits: &Limits) -> Backing {
    let bytes = limits.disk_bytes.min(limits.memory_bytes);
    let how = format!("{} MiB, a tmpfs, which counts as memory", bytes >> 20);
    Backing { upper: Upper::Tmpfs { bytes }, line: line("disk", true, how) }
}

fn quota(upper: Upper, limits: &Limits) -> Backing {
    let how = format!("{} MiB, by a btrfs quota in the disk image of the home", limits.disk_bytes >> 20);
    Backing { upper, line: line("disk", true, how) }
}

/// A tree that is kept. Where it lies is decided when it is first made.
fn session(host: &Host, name: &str, limits: &Limits, want: Want) -> Result<Backing, SandboxError> {
    let plain = session_dir(host, name)?.join("upper").exists();
    if host.is_root() && !plain {
        match host.pool() {
            Ok(pool) => return Ok(quota(pool.upper(Keep::Session, name, limits.disk_bytes)?, limits)),
            Err(error) if want == Want::Require => return Err(error),
            Err(error) => return directories(host, name, &model::chain(&error)),
        }
    }
    if want == Want::Require {
        return Err(SandboxError::Layer {
            layer: "disk".into(),
            why: "plain directories of this user have no quota".into(),
            remedy: "run as root; or set the limit to prefer".into(),
        });
    }
    directories(host, name, "plain directories, only the size of each file is; root has a quota")
}

/// Plain directories in the home: durable, and without a limit but the one on each file.
fn directories(host: &Host, name: &str, why: &str) -> Result<Backing, SandboxError> {
    let dir = session_dir(host, name)?;
    let (upper, work) = (dir.join("upper"), dir.join("work"));
    make_dir(&upper)?;
    make_dir(&work)?;
    Ok(Backing { upper: Upper::Dirs { upper, work }, line: line("disk", false, format!("not limited: {why}")) })
}

/// The directory of a kept tree, made when missing.
pub(crate) fn session_dir(host: &Host, name: &str) -> Result<PathBuf, SandboxError> {
    let dir = host.home.sessions().join(name);
    make_dir(&dir)?;
    Ok(dir)
}

/// The reserved user that owns what a kept tree holds.
pub(crate) fn owner(host: &Host, name: &str) -> Option<u32> {
    fs::read_to_string(host.home.sessions().join(name).join("uid")).ok()?.trim().parse().ok()
}

/// Notes the reserved user of a kept tree.
pub(crate) fn set_owner(host: &Host, name: &str, uid: u32) -> Result<(), SandboxError> {
    crate::home::replace_file(&session_dir(host, name)?.join("uid"), uid.to_string().as_bytes())
}

/// Checks the name of a kept tree.
pub(crate) fn check_name(name: &str) -> Result<(), SandboxError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) || name.starts_with('-') {
        return Err(SandboxError::Path { path: name.chars().take(64).collect(), why: "it is no name of a session".into() });
    }
    Ok(())
}

/// Bytes that a sandbox of this record uses, where that is counted.
pub(crate) fn used(host: &Host, record: &crate::record::Record) -> Option<u64> {
    let pool = host.open_pool()?;
    match &record.tree {
        Some(name) => pool.used(Keep::Session, name),
        None => pool.used(Keep::Sandbox, record.id.as_str()),
    }
}

/// The sandbox stands: its limit holds from now on to the byte.
pub(crate) fn settle(host: &Host, record: &crate::record::Record) -> Result<(), SandboxError> {
    let Some(pool) = host.open_pool() else { return Ok(()) };
    let (keep, name) = match &record.tree {
        Some(name) => (Keep::Session, name.as_str()),
        None => (Keep::Sandbox, record.id.as_str()),
    };
    // Not every layer lies in the image.
    if pool.has(keep, name) { pool.limit(keep, name, record.limits.disk_bytes) } else { Ok(()) }
}

/// Removes the layer of a sandbox that is gone.
pub(crate) fn remove_ephemeral(host: &Host, id: &SandboxId) -> Result<(), SandboxError> {
    // Without an open image this process made none; what an earlier one made is removed when it is opened to adopt.
    host.open_pool().map_or(Ok(()), |pool| pool.remove(Keep::Sandbox, id.as_str()))
}

/// Removes what belongs to nothing that is still there.
pub(crate) fn sweep(host: &Host) -> Result<(), SandboxError> {
    if !host.is_root() || !crate::pool::exists(&host.home) {
        return Ok(());
    }
    let pool = host.pool()?;
    for name in pool.list(Keep::Sandbox) {
        if name.parse::<SandboxId>().is_ok_and(|id| !host.dir(&id).exists()) {
            pool.remove(Keep::Sandbox, &name)?;
        }
    }
    for name in pool.list(Keep::Session) {
        if !host.home.sessions().join(&name).exists() {
            pool.remove(Keep::Session, &name)?;
        }
    }
    Ok(())
}
