//! Where the writes of a sandbox go, and whether their amount is limited.

use std::fs;
use std::path::PathBuf;

use jail::Upper;
use model::{LevelLine, Limits, Want};

use crate::host::Host;
use crate::image::make_dir;
use crate::level::line;
use crate::{SandboxError, Tree};

/// A writable layer and what holds for it.
#[derive(Debug)]
pub(crate) struct Backing {
    pub(crate) upper: Upper,
    pub(crate) line: LevelLine,
}

/// Chooses and makes the writable layer of a sandbox.
pub(crate) fn choose(host: &Host, tree: &Tree, limits: &Limits, want: Want, uid: Option<u32>) -> Result<Backing, SandboxError> {
    match tree {
        Tree::Ephemeral => Ok(memory(limits)),
        Tree::Session { name } => directories(host, name, want, uid),
    }
}

/// A tmpfs: made and gone in no time, and its size is exact. What it holds counts as memory, so it is never larger than
/// the memory that the sandbox may use.
fn memory(limits: &Limits) -> Backing {
    let bytes = limits.disk_bytes.min(limits.memory_bytes);
    let how = format!("tmpfs of {} MiB, which counts as memory", bytes >> 20);
    Backing { upper: Upper::Tmpfs { bytes }, line: line("disk", true, how) }
}

/// Plain directories in the home: durable, and without a limit but the one on each file.
fn directories(host: &Host, name: &str, want: Want, uid: Option<u32>) -> Result<Backing, SandboxError> {
    let remedy = "run as root, or keep the home on btrfs";
    if want == Want::Require {
        return Err(SandboxError::Layer {
            layer: "disk",
            why: "plain directories of this user have no quota".into(),
            remedy: format!("{remedy}; or set the limit to prefer"),
        });
    }
    let dir = session_dir(host, name)?;
    let (upper, work) = (dir.join("upper"), dir.join("work"));
    let failed = || SandboxError::io("make the tree of a session");
    for (path, mode) in [(&upper, 0o755), (&work, 0o700)] {
        if !path.exists() {
            make_dir(path, mode).map_err(failed())?;
        }
    }
    for (name, mode) in [("workspace", 0o755), ("home", 0o755), ("home/sandbox", 0o755)] {
        let path = upper.join(name);
        if !path.exists() {
            make_dir(&path, mode).map_err(failed())?;
            if uid.is_some() && name != "home" {
                std::os::unix::fs::chown(&path, uid, uid).map_err(failed())?;
            }
        }
    }
    let how = format!("not limited: plain directories, only the size of each file is; {remedy}");
    Ok(Backing { upper: Upper::Dirs { upper, work }, line: line("disk", false, how) })
}

/// The directory of a kept tree, made when missing.
pub(crate) fn session_dir(host: &Host, name: &str) -> Result<PathBuf, SandboxError> {
    let dir = host.home.sessions().join(name);
    crate::home::make_dir(&dir)?;
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
