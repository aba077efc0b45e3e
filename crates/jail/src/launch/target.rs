//! Places inside the new root, looked up without ever leaving it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};
use rustix::io::Errno;

use super::build::Owner;
use crate::sys::FsIdentity;

/// What a mount point must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
}

/// Opens the place `path` beneath `root`, made when missing. Links in the tree are followed as if `root` were `/`.
pub(crate) fn ensure(root: impl AsFd, path: &Path, kind: Kind, owner: Owner) -> rustix::io::Result<OwnedFd> {
    let root = root.as_fd();
    match find(root, path) {
        Err(Errno::NOENT) => {}
        found => return found,
    }
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(Errno::INVAL),
        }
    }
    let mut at = PathBuf::new();
    let mut parent = find(root, Path::new("."))?;
    for (depth, name) in names.iter().enumerate() {
        at.push(name);
        parent = match find(root, &at) {
            Err(Errno::NOENT) => {
                let kind = if depth + 1 == names.len() { kind } else { Kind::Directory };
                let made = make(&parent, Path::new(name), kind);
                if matches!(made, Err(Errno::ACCESS | Errno::OVERFLOW | Errno::PERM)) {
                    // A mounted tree whose owner alone may write: as the sandbox's user.
                    let _as_owner = FsIdentity::assume(owner.uid, owner.gid);
                    make(&parent, Path::new(name), kind)?;
                } else {
                    made?;
                }
                find(root, &at)?
            }
            found => found?,
        };
    }
    Ok(parent)
}

/// Opens the place `path` beneath `root`, only to name it.
pub(crate) fn find(root: impl AsFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Makes a mount point in a directory.
pub(crate) fn make(parent: &OwnedFd, name: &Path, kind: Kind) -> rustix::io::Result<()> {
    match kind {
        Kind::Directory => mkdirat(parent, name, Mode::from_raw_mode(0o755)),
        Kind::File => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(parent, name, flags, Mode::from_raw_mode(0o755)).map(drop)
        }
    }
}
