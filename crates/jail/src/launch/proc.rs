//! /proc of the sandbox's own processes, without what it tells of the machine.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsmount, fsopen, open_tree};

use super::mounts::owner;
use super::root::{NewRoot, attach};
use super::target::{self, Kind};
use crate::error::At as _;
use crate::sys::{self, MountAttr};
use crate::{Identity, LaunchError, Layer, Spec};

/// Files that an empty device hides: memory and symbols of the kernel, keys, switches, and what tells of the machine or
/// of what its other users do. What only the host's root can read is not named again, but for the worst.
const MASKED: [&str; 18] = [
    "bootconfig", "cmdline", "config.gz", "diskstats", "interrupts", "kallsyms", "kcore", "key-users", "keys", "kmsg", "latency_stats",
    "locks", "modules", "sched_debug", "softirqs", "sysrq-trigger", "timer_list", "timer_stats",
];

/// Directories that an empty one hides.
const MASKED_DIRS: [&str; 4] = ["acpi", "asound", "driver", "scsi"];

/// A handle on /proc that is neither masked nor read-only, for the launch itself.
pub(crate) struct Proc {
    open: OwnedFd,
}

impl Proc {
    /// Mounts /proc and makes it read-only: files of processes too, which landlock denies as well.
    pub(crate) fn mount(root: &NewRoot, spec: &Spec) -> Result<Self, LaunchError> {
        let mount = if spec.walls.pids { fresh() } else { hosts() }.at(Layer::Proc, || "make /proc".into())?;
        let place = target::ensure(root, "/proc".as_ref(), Kind::Directory, owner(spec.identity), &[])
            .at(Layer::Proc, || "make the mount point /proc".into())?;
        let mounted = (|| {
            attach(&mount, &place, "")?;
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
            let open = open_tree(&mount, "", flags | OpenTreeFlags::AT_RECURSIVE)?;
            if spec.walls.proc {
                let attr = MountAttr { set: sys::ATTR_RDONLY, ..MountAttr::default() };
                sys::mount_setattr(mount.as_fd(), &attr, true).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
            }
            Ok::<_, Errno>(open)
        })();
        mounted.map(|open| Self { open }).at(Layer::Proc, || "mount /proc".into())
    }

    /// Writes a file of /proc.
    pub(crate) fn write(&self, path: &str, text: &str) -> rustix::io::Result<()> {
        let file = openat(&self.open, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(&file, text.as_bytes()).map(drop)
    }

    /// Files in memory are not executable inside unless they ask for it. Without root the setting belongs to the
    /// administrator of the host, and a kernel before 6.3 does not have it.
    pub(crate) fn deny_executable_memfds(&self, spec: &Spec) -> Result<(), LaunchError> {
        if !spec.walls.pids {
            return Ok(());
        }
        match self.write("sys/vm/memfd_noexec", "1") {
            Err(Errno::NOENT) => Ok(()),
            Err(Errno::ACCESS | Errno::PERM) if spec.identity == Identity::Caller => Ok(()),
            other => other.at(Layer::Proc, || "set vm.memfd_noexec".into()),
        }
    }
}

fn fresh() -> rustix::io::Result<OwnedFd> {
    let fs = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&fs)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// The host's own, when a test has taken the process namespace away.
fn hosts() -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    open_tree(rustix::fs::CWD, "/proc", flags)
}

/// Hides what is left to hide; after the change of root.
pub(crate) fn mask(spec: &Spec) -> Result<(), LaunchError> {
    if !spec.walls.proc {
        return Ok(());
    }
    for name in MASKED {
        cover(c"/dev/null", name)?;
    }
    // Empty, and on the root that is read-only by now.
    let empty = openat(rustix::fs::CWD, "/sys", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let empty = empty.at(Layer::Proc, || "open /sys, which hides parts of /proc".into())?;
    let source = CString::new(format!("/proc/self/fd/{}", empty.as_raw_fd())).unwrap_or_default();
    for name in MASKED_DIRS {
        cover(&source, name)?;
    }
    Ok(())
}

fn cover(source: &std::ffi::CStr, name: &str) -> Result<(), LaunchError> {
    let target = CString::new(format!("/proc/{name}")).unwrap_or_default();
    match sys::bind(source, &target) {
        // Not every kernel has every one of them.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other.at(Layer::Proc, || format!("hide /proc/{name}")),
    }
}
