//! Trees and files from the host that the sandbox is given.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{FileType, Mode, OFlags, fstat, open, symlinkat};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};

use super::build::{Owner, Parts};
use super::root::{NewRoot, attach, tmpfs};
use super::stores::Stores;
use super::target::{self, Kind};
use crate::error::At as _;
use crate::sys::{self, MountAttr};
use crate::{DOOR_DIR, GUEST_ID, GUEST_PATH, Identity, LaunchError, Layer, Mount, Source, Spec};

/// Places that belong to the sandbox itself: nothing may be mounted on them, above them or below them.
const RESERVED: [&str; 4] = ["/proc", "/dev", DOOR_DIR, "/opt/lazaret/bin"];

/// Names beside the guest program that lead to it.
const GUEST_LINKS: [&str; 2] = ["ipc", "mini"];

/// Mounts /tmp, the trees of the specification, the door and the guest program.
pub(crate) fn mount_all(root: &NewRoot, spec: &Spec, stores: &Stores<'_>, parts: &mut Parts) -> Result<(), LaunchError> {
    let owner = owner(spec.identity);
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let tmp = tmpfs(spec.tmp_bytes, "1777", attributes).at(Layer::Mounts, || "make /tmp".into())?;
    put(root, &tmp, Path::new("/tmp"), Kind::Directory, owner, &[])?;
    for mount in &spec.mounts {
        one(root, spec, mount, stores, parts)?;
    }
    let read_only = |attr: u64| MountAttr { set: sys::ATTR_RDONLY | sys::ATTR_NOSUID | sys::ATTR_NODEV | attr, ..MountAttr::default() };
    if let Some(index) = spec.door {
        let (tree, kind) = from_descriptor(parts, index, Path::new(DOOR_DIR))?;
        let attr = read_only(sys::ATTR_NOEXEC);
        sys::mount_setattr(tree.as_fd(), &attr, true).at(Layer::Mounts, || "make the door read-only".into())?;
        put(root, &tree, Path::new(DOOR_DIR), kind, owner, &[])?;
    }
    let tree = clone_tree(&spec.guest).at(Layer::Mounts, || format!("open {}", spec.guest.display()))?;
    sys::mount_setattr(tree.as_fd(), &read_only(0), true).at(Layer::Mounts, || "make the guest program read-only".into())?;
    guest_names(root, owner).at(Layer::Mounts, || "name the guest program".into())?;
    put(root, &tree, Path::new(GUEST_PATH), Kind::File, owner, &[])
}

/// Sees to it that the guest program's place and its other names exist. An image that has them costs nothing; in
/// another they lie in a tmpfs, which is cheaper than copying a directory up into the writable layer, and leaves none
/// of it there.
fn guest_names(root: &NewRoot, owner: Owner) -> rustix::io::Result<()> {
    let guest = Path::new(GUEST_PATH);
    let (Some(directory), Some(name)) = (guest.parent(), guest.file_name()) else { return Err(Errno::INVAL) };
    let there = GUEST_LINKS.iter().all(|link| target::find(root, &directory.join(link)).is_ok());
    if there && target::find(root, guest).is_ok() {
        return Ok(());
    }
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let names = tmpfs(GUEST_NAMES_BYTES, "0755", attributes)?;
    target::make(&names, Path::new(name), Kind::File)?;
    for link in GUEST_LINKS {
        symlinkat(name, &names, link)?;
    }
    let attr = MountAttr { set: sys::ATTR_RDONLY, ..MountAttr::default() };
    sys::mount_setattr(names.as_fd(), &attr, false).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    let place = target::ensure(root, directory, Kind::Directory, owner, &[])?;
    attach(&names, &place, "")
}

/// Three names and no data.
const GUEST_NAMES_BYTES: u64 = 16 << 10;

fn one(root: &NewRoot, spec: &Spec, mount: &Mount, stores: &Stores<'_>, parts: &mut Parts) -> Result<(), LaunchError> {
    let target = &mount.target;
    allowed(target)
        .at(Layer::Mounts, || format!("mount something at {}", target.display()))
        .map_err(|error| error.remedy("choose an absolute path that is not a part of the sandbox itself"))?;
    let (tree, kind) = match &mount.source {
        Source::Path(path) => {
            let tree = clone_tree(path).at(Layer::Mounts, || format!("open {}", path.display()))?;
            let kind = kind(&tree).at(Layer::Mounts, || format!("look at {}", path.display()))?;
            (tree, kind)
        }
        Source::Fd(index) => from_descriptor(parts, *index, target)?,
        Source::Tmpfs(bytes) => {
            let tree =
                tmpfs(*bytes, "1777", MountAttrFlags::empty()).at(Layer::Mounts, || format!("make a tmpfs for {}", target.display()))?;
            (tree, Kind::Directory)
        }
        Source::Device { .. } | Source::Layers { .. } => {
            let tree =
                stores.tree(mount).unwrap_or(Err(Errno::NODEV)).at(Layer::Mounts, || format!("open the tree for {}", target.display()))?;
            (tree, Kind::Directory)
        }
    };
    let mut attr = MountAttr { set: sys::ATTR_NOSUID | sys::ATTR_NODEV, ..MountAttr::default() };
    if mount.read_only {
        attr.set |= sys::ATTR_RDONLY;
    }
    // Layers are shown under another owner themselves, before they are laid over one another.
    let map = if matches!(mount.source, Source::Layers { .. }) { None } else { id_map(spec, mount, parts)? };
    if let Some(map) = map {
        attr.set |= sys::ATTR_IDMAP;
        attr.userns = u64::try_from(map.as_raw_fd()).unwrap_or(u64::MAX);
    }
    sys::mount_setattr(tree.as_fd(), &attr, true).map_err(|error| {
        let failed = LaunchError::new(Layer::Mounts, format!("set the attributes of the mount at {}", target.display()), &error);
        let no_map = map.is_some() && matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EPERM | libc::EOPNOTSUPP));
        if no_map { failed.remedy(NO_IDMAP) } else { failed }
    })?;
    // What a host's own user opened is that user's: nothing in it is renamed to make room.
    let foreign: Vec<&Path> = spec.mounts.iter().filter(|m| matches!(m.source, Source::Fd(_))).map(|m| m.target.as_path()).collect();
    put(root, &tree, target, kind, owner(spec.identity), &foreign)
}

/// Said when a file system cannot show its files under another owner.
const NO_IDMAP: &str = "the file system of this directory cannot be mounted with another owner (idmapped): move it to \
                        ext4, xfs, btrfs or tmpfs, or work on a private copy";

/// The namespace that shows the owner's files as the sandbox user's, if one is needed.
fn id_map<'a>(spec: &Spec, mount: &Mount, parts: &'a Parts) -> Result<Option<std::os::fd::BorrowedFd<'a>>, LaunchError> {
    let Some(wanted) = mount.owner else { return Ok(None) };
    if spec.identity == Identity::Caller {
        if wanted == parts.caller {
            return Ok(None);
        }
        let failed =
            LaunchError::new(Layer::Mounts, format!("show files of user {} at {}", wanted.0, mount.target.display()), &Errno::PERM.into());
        return Err(failed.remedy("without root only the caller's own files can be mounted writable; run as root"));
    }
    Ok(parts.id_maps.get(wanted))
}

pub(crate) fn owner(identity: Identity) -> Owner {
    match identity {
        Identity::Reserved { uid, gid } => Owner { uid, gid },
        Identity::Caller => Owner { uid: GUEST_ID, gid: GUEST_ID },
    }
}

/// Whether something may be mounted there.
fn allowed(target: &Path) -> Result<(), Errno> {
    let plain = target.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
    let reserved = RESERVED.iter().map(Path::new).any(|own| target.starts_with(own) || own.starts_with(target));
    if target.is_absolute() && plain && !reserved { Ok(()) } else { Err(Errno::INVAL) }
}

fn put(root: &NewRoot, tree: &OwnedFd, target: &Path, kind: Kind, owner: Owner, foreign: &[&Path]) -> Result<(), LaunchError> {
    let place =
        target::ensure(root, target, kind, owner, foreign).at(Layer::Mounts, || format!("make the mount point {}", target.display()))?;
    attach(tree, &place, "").at(Layer::Mounts, || format!("mount at {}", target.display()))
}

fn clone_tree(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    open_tree(rustix::fs::CWD, path, flags)
}

fn kind(tree: &OwnedFd) -> rustix::io::Result<Kind> {
    let directory = FileType::from_raw_mode(fstat(tree)?.st_mode).is_dir();
    Ok(if directory { Kind::Directory } else { Kind::File })
}

/// Takes a descriptor out of those that came, as a mount of this namespace. The kernel binds only what was opened
/// here, so the file is opened again by its name and must be the same one.
fn from_descriptor(parts: &mut Parts, index: u32, target: &Path) -> Result<(OwnedFd, Kind), LaunchError> {
    let fd = parts.fds.get_mut(index as usize).and_then(Option::take);
    let fd = fd.ok_or(Errno::BADF).at(Layer::Mounts, || format!("find descriptor {index} for {}", target.display()))?;
    let opened = (|| {
        let name = rustix::fs::readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new())?;
        let again = open(name.as_c_str(), OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
        let (was, is) = (fstat(&fd)?, fstat(&again)?);
        if (was.st_dev, was.st_ino) != (is.st_dev, is.st_ino) {
            return Err(Errno::STALE);
        }
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        let tree = open_tree(&again, "", flags | OpenTreeFlags::AT_EMPTY_PATH)?;
        let kind = kind(&tree)?;
        Ok((tree, kind))
    })();
    opened
        .at(Layer::Mounts, || format!("open what is to be mounted at {}", target.display()))
        .map_err(|error| error.remedy("the directory was moved or replaced, or lies in another mount namespace: try again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sandbox_s_own_places_cannot_be_covered() {
        for good in ["/workspace", "/home/sandbox/x", "/opt/lazaret/engine", "/data", "/usr/local", "/run/other", "/devices"] {
            assert_eq!(allowed(Path::new(good)), Ok(()), "{good}");
        }
        for bad in [
            "/", "/proc", "/proc/1", "/dev", "/dev/shm", "/run", "/run/lazaret", "/opt", "/opt/lazaret/bin/x", "workspace", "/a/../proc",
            "",
        ] {
            assert_eq!(allowed(Path::new(bad)), Err(Errno::INVAL), "{bad}");
        }
    }
}
