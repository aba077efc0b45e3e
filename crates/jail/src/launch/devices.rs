//! /dev: what programs cannot do without, and nothing that is the machine's.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Mode, makedev, mkdirat, mknodat, symlinkat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen, open_tree,
};

use super::build::Owner;
use super::root::{NewRoot, attach, tmpfs};
use super::target::{self, Kind};
use crate::error::At as _;
use crate::sys::{self, MountAttr};
use crate::{Identity, LaunchError, Layer, Spec};

/// Device files: name, major and minor number.
const NODES: [(&str, u32, u32); 6] = [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// /dev itself holds a dozen names and no data.
const DEV_BYTES: u64 = 64 << 10;

/// The most terminals of one sandbox.
const PTYS_MAX: &str = "256";

/// Mounts /dev, /dev/pts and /dev/shm.
pub(crate) fn mount(root: &NewRoot, spec: &Spec, owner: Owner) -> Result<(), LaunchError> {
    let dev = make(spec, owner).at(Layer::Devices, || "make /dev".into())?;
    let pts = terminals(owner).at(Layer::Devices, || "make /dev/pts".into())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let shm = tmpfs(spec.tmp_bytes, "1777", attributes).at(Layer::Devices, || "make /dev/shm".into())?;
    let place =
        target::ensure(root, "/dev".as_ref(), Kind::Directory, owner, &[]).at(Layer::Devices, || "make the mount point /dev".into())?;
    let mounted = (|| {
        attach(&dev, &place, "")?;
        attach(&pts, &dev, "pts")?;
        attach(&shm, &dev, "shm")?;
        if spec.identity == Identity::Caller {
            bind_nodes(&dev)?;
        }
        let attr = MountAttr { set: sys::ATTR_RDONLY, ..MountAttr::default() };
        sys::mount_setattr(dev.as_fd(), &attr, false)
    })();
    mounted.at(Layer::Devices, || "mount /dev".into())
}

fn make(spec: &Spec, _owner: Owner) -> rustix::io::Result<OwnedFd> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let dev = tmpfs(DEV_BYTES, "0755", attributes)?;
    for (name, major, minor) in NODES {
        // Without root no device can be made: an empty file, over which the host's is bound.
        let (kind, device) = match spec.identity {
            Identity::Reserved { .. } => (FileType::CharacterDevice, makedev(major, minor)),
            Identity::Caller => (FileType::RegularFile, 0),
        };
        mknodat(&dev, name, kind, Mode::from_raw_mode(0o666), device)?;
    }
    for (name, to) in LINKS {
        symlinkat(to, &dev, name)?;
    }
    for name in ["pts", "shm"] {
        mkdirat(&dev, name, Mode::from_raw_mode(0o755))?;
    }
    Ok(dev)
}

fn bind_nodes(dev: &OwnedFd) -> rustix::io::Result<()> {
    for (name, ..) in NODES {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let node = open_tree(rustix::fs::CWD, format!("/dev/{name}"), flags)?;
        attach(&node, dev, name)?;
    }
    Ok(())
}

fn terminals(owner: Owner) -> rustix::io::Result<OwnedFd> {
    let pts = fsopen("devpts", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in [("ptmxmode", "0666"), ("mode", "0620"), ("max", PTYS_MAX)] {
        fsconfig_set_string(&pts, key, value)?;
    }
    fsconfig_set_string(&pts, "gid", owner.gid.to_string())?;
    fsconfig_create(&pts)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&pts, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}
