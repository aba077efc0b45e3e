//! Places inside the new root, looked up without ever leaving it.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, RenameFlags, ResolveFlags, fstat, mkdirat, openat, openat2, renameat_with};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::build::Owner;
use super::root::attach;
use crate::sys::FsIdentity;

/// What a mount point must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
}

/// Where what lies there was a guest's to make: a mount point is looked up here without following a link.
const TREES: [&str; 2] = ["/home", "/workspace"];
/// How often a place is looked at again because another sandbox of the same tree changed it in between.
const RACES_MAX: usize = 8;
/// How many names are tried for what is moved out of the way.
const ASIDE_MAX: usize = 64;

/// Opens the place `path` beneath `root`, made when missing. In a tree that guests write to, no link is followed; what
/// stands in the way there is moved aside unless it lies in one of `foreign`, directories of the host's own users; and
/// the directories on the way are kept from being moved. Elsewhere links are followed as if `root` were `/`.
pub(crate) fn ensure(root: impl AsFd, path: &Path, kind: Kind, owner: Owner, foreign: &[&Path]) -> rustix::io::Result<OwnedFd> {
    let root = root.as_fd();
    if let Some((tree, rest)) = TREES.iter().find_map(|tree| Some((*tree, path.strip_prefix(tree).ok()?)))
        && rest != Path::new("")
    {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        let tree_at = openat2(root, tree, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), resolve)?;
        let may_move = !foreign.iter().any(|foreign| path != *foreign && path.starts_with(foreign));
        return in_tree(tree_at, rest, kind, owner, may_move);
    }
    match find(root, path) {
        Err(Errno::NOENT) => {}
        found => return found,
    }
    let names = names(path)?;
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

fn names(path: &Path) -> rustix::io::Result<Vec<&OsStr>> {
    let named = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(Ok(name)),
        Component::RootDir | Component::CurDir => None,
        Component::ParentDir | Component::Prefix(_) => Some(Err(Errno::INVAL)),
    });
    named.collect()
}

/// The place `path` in a tree, step by step: each step is a descriptor, so nobody who changes the tree meanwhile can
/// lead the next one astray.
fn in_tree(tree: OwnedFd, path: &Path, kind: Kind, owner: Owner, may_move: bool) -> rustix::io::Result<OwnedFd> {
    let names = names(path)?;
    let mut parent = tree;
    for (depth, name) in names.iter().enumerate() {
        let last = depth + 1 == names.len();
        let kind = if last { kind } else { Kind::Directory };
        let place = step(&parent, Path::new(name), kind, owner, may_move)?;
        parent = if last { place } else { pinned(&parent, Path::new(name), place)? };
    }
    Ok(parent)
}

/// One name of the way.
fn step(parent: &OwnedFd, name: &Path, kind: Kind, owner: Owner, may_move: bool) -> rustix::io::Result<OwnedFd> {
    let look = || openat2(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::BENEATH);
    for _ in 0..RACES_MAX {
        match look() {
            Ok(found) if fits(&found, kind)? => return Ok(found),
            Ok(_) if !may_move => return Err(if kind == Kind::Directory { Errno::NOTDIR } else { Errno::ISDIR }),
            Ok(_) => match as_owner(parent, owner, || aside(parent, name)) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error),
            },
            Err(Errno::NOENT) => match as_owner(parent, owner, || make(parent, name, kind)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
    Err(Errno::BUSY)
}

/// Whether something can be mounted there as it is: never on a link.
fn fits(found: &OwnedFd, kind: Kind) -> rustix::io::Result<bool> {
    let found = FileType::from_raw_mode(fstat(found)?.st_mode);
    Ok(match kind {
        Kind::Directory => found.is_dir(),
        Kind::File => found.is_file(),
    })
}

/// Gives what stands in the way another name: nothing of the user's is lost, and the sandbox starts.
fn aside(parent: &OwnedFd, name: &Path) -> rustix::io::Result<()> {
    for n in 0..ASIDE_MAX {
        let mut other = name.as_os_str().to_owned();
        other.push(format!(".moved-{n}"));
        match renameat_with(parent, name, parent, other.as_os_str(), RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            done => return done,
        }
    }
    Err(Errno::EXIST)
}

/// Changes a directory of the tree as its owner, who is the only one that an idmapped mount knows. A directory that
/// the owner has closed to itself is opened first.
fn as_owner(parent: &OwnedFd, owner: Owner, change: impl Fn() -> rustix::io::Result<()>) -> rustix::io::Result<()> {
    let attempt = || {
        let _as_owner = FsIdentity::assume(owner.uid, owner.gid);
        change()
    };
    match attempt() {
        // A directory that is the host's, in a layer that is no idmapped mount.
        Err(Errno::ACCESS) if change().is_ok() => Ok(()),
        Err(Errno::ACCESS) => {
            let mode = Mode::from_raw_mode(fstat(parent)?.st_mode & 0o7777) | Mode::RWXU;
            rustix::fs::chmod(format!("/proc/self/fd/{}", parent.as_raw_fd()), mode)?;
            attempt()
        }
        other => other,
    }
}

/// Binds a directory over itself, unless it is the root of a mount: a mount point cannot be renamed or removed inside,
/// and so what is mounted below it stays where it was put.
fn pinned(parent: &OwnedFd, name: &Path, place: OwnedFd) -> rustix::io::Result<OwnedFd> {
    let inside = openat2(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_XDEV);
    if matches!(inside, Err(Errno::XDEV)) {
        return Ok(place);
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let bound = open_tree(&place, "", flags)?;
    attach(&bound, &place, "")?;
    Ok(bound)
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
