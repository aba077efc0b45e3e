//! The overlay that is the sandbox's root, and the change to it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid, open, openat, openat2};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use super::build::Owner;
use crate::error::At as _;
use crate::sys::{self, MountAttr};
use crate::{LaunchError, Layer, Spec, Upper};

/// The new root: attached over the old one, not yet entered.
pub(crate) struct NewRoot {
    mount: OwnedFd,
    /// Mounts between it and the old root.
    beneath: usize,
}

impl NewRoot {
    /// Lays the trees over one another and attaches the result on top of the present root, where `stores` mounts lie
    /// already.
    pub(crate) fn make(spec: &Spec, owner: Owner, stores: usize) -> Result<Self, LaunchError> {
        let (upper, work) = layers(&spec.root.upper)?;
        prepare(upper.as_fd(), owner).at(Layer::Root, || "prepare the writable layer".into())?;
        let open = |path: &PathBuf| directory(path).at(Layer::Root, || format!("use {} as a layer", path.display()));
        let lowers = spec.root.lowers.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let mount = overlay(Layer::Root, "root", &lowers, Some((&upper, &work)))?;
        attach(&mount, rustix::fs::CWD, "/").at(Layer::Root, || "attach the root".into())?;
        let beneath = stores + usize::from(matches!(spec.root.upper, Upper::Tmpfs { .. } | Upper::Device { .. }));
        let root = Self { mount, beneath };
        if spec.walls.read_only {
            root.keep_writable(spec)?;
        }
        Ok(root)
    }

    /// Binds the writable directories over themselves, so that they stay writable when the root is sealed.
    fn keep_writable(&self, spec: &Spec) -> Result<(), LaunchError> {
        for name in ["workspace", "home"] {
            // A tree of its own will lie there.
            if spec.mounts.iter().any(|mount| mount.target == Path::new("/").join(name)) {
                continue;
            }
            let bound = plain_directory(self.mount.as_fd(), name).and_then(|place| {
                let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
                attach(open_tree(&place, "", flags)?, &place, "")
            });
            bound.at(Layer::Root, || format!("bind /{name}"))?;
        }
        Ok(())
    }

    /// Makes everything but the writable directories, and what was mounted, read-only.
    pub(crate) fn seal(&self, spec: &Spec) -> Result<(), LaunchError> {
        if !spec.walls.read_only {
            return Ok(());
        }
        let attr = MountAttr { set: sys::ATTR_RDONLY, ..MountAttr::default() };
        sys::mount_setattr(self.mount.as_fd(), &attr, false).at(Layer::Root, || "make the root read-only".into())
    }

    /// Changes to this root and lets the old one go.
    pub(crate) fn enter(self) -> Result<(), LaunchError> {
        let entered = (|| {
            rustix::process::fchdir(&self.mount)?;
            // Both at one place: the old root, and what lies on it, then lie on top of the new one, and are taken off.
            rustix::process::pivot_root(".", ".")?;
            for _ in 0..=self.beneath {
                rustix::mount::unmount(".", UnmountFlags::DETACH)?;
            }
            rustix::process::chdir("/")
        })();
        entered.at(Layer::Root, || "change the root".into())
    }
}

impl AsFd for NewRoot {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.mount.as_fd()
    }
}

/// Lays trees over one another, the first of `lowers` topmost below the writable one. Not attached.
pub(crate) fn overlay(
    layer: Layer,
    name: &'static str,
    lowers: &[OwnedFd],
    upper: Option<(&OwnedFd, &OwnedFd)>,
) -> Result<OwnedFd, LaunchError> {
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).at(layer, || "open the overlay file system".into())?;
    let explain = |error: Errno| LaunchError::new(layer, format!("lay the {name} over its trees{}", complaint(&overlay)), &error.into());
    // Options that decide what a layer made by others can mean; none is left to the module's default.
    fsconfig_set_flag(&overlay, "userxattr").map_err(explain)?;
    for (key, value) in [("source", name), ("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off")] {
        fsconfig_set_string(&overlay, key, value).map_err(explain)?;
    }
    give_lowers(&overlay, lowers).map_err(explain)?;
    if let Some((upper, work)) = upper {
        fsconfig_set_string(&overlay, "upperdir", by_number(upper)).map_err(explain)?;
        fsconfig_set_string(&overlay, "workdir", by_number(work)).map_err(explain)?;
    }
    fsconfig_create(&overlay).map_err(explain)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(explain)
}

/// Attaches a mount that is not attached yet.
pub(crate) fn attach(mount: impl AsFd, to: impl AsFd, path: &str) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    if path.is_empty() {
        return move_mount(mount, "", to, "", flags | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH);
    }
    move_mount(mount, "", to, path, flags)
}

/// A new tmpfs, not attached: at most `bytes`, and one file for each 4 KiB of them.
pub(crate) fn tmpfs(bytes: u64, mode: &str, attributes: MountAttrFlags) -> rustix::io::Result<OwnedFd> {
    let tmpfs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&tmpfs, "size", bytes.to_string())?;
    fsconfig_set_string(&tmpfs, "nr_inodes", (bytes / 4096).max(64).to_string())?;
    fsconfig_set_string(&tmpfs, "mode", mode)?;
    fsconfig_create(&tmpfs)?;
    fsmount(&tmpfs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// The path of an open file. Mount options are at most 255 bytes, which the path of a home may exceed; and an option
/// is shown inside, where host paths have no business.
fn by_number(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// A directory of the tree that is one and no link: what lies in a writable layer was a guest's to make.
fn plain_directory(tree: BorrowedFd<'_>, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(tree, name, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

pub(crate) fn directory(path: &Path) -> rustix::io::Result<OwnedFd> {
    open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Gives the trees to the overlay, topmost first.
fn give_lowers(overlay: &OwnedFd, lowers: &[OwnedFd]) -> rustix::io::Result<()> {
    for (at, fd) in lowers.iter().enumerate() {
        match fsconfig_set_string(overlay, "lowerdir+", by_number(fd)) {
            Ok(()) => {}
            // A kernel before 6.7: all in one string. The numbers have no character that it would read otherwise.
            Err(Errno::INVAL) if at == 0 => {
                let all: Vec<String> = lowers.iter().map(by_number).collect();
                return fsconfig_set_string(overlay, "lowerdir", all.join(":"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Opens the upper layer and its working directory, on whatever they lie.
fn layers(upper: &Upper) -> Result<(OwnedFd, OwnedFd), LaunchError> {
    let at = |error: Errno| LaunchError::new(Layer::Root, "open the writable layer", &error.into());
    match upper {
        Upper::Dirs { upper, work } => Ok((directory(upper).map_err(at)?, directory(work).map_err(at)?)),
        Upper::Tmpfs { bytes } => {
            let mount = tmpfs(*bytes, "0755", MountAttrFlags::MOUNT_ATTR_NODEV).map_err(at)?;
            attach(&mount, rustix::fs::CWD, "/").map_err(at)?;
            for name in ["upper", "work"] {
                rustix::fs::mkdirat(&mount, name, Mode::from_raw_mode(0o755)).map_err(at)?;
            }
            Ok((below(&mount, "upper".as_ref()).map_err(at)?, below(&mount, "work".as_ref()).map_err(at)?))
        }
        Upper::Device { device, fstype, options, upper, work } => {
            let mount = mount_device(device, fstype, options).at(Layer::Root, || format!("mount {} as {fstype}", device.display()))?;
            Ok((below(&mount, upper).map_err(at)?, below(&mount, work).map_err(at)?))
        }
    }
}

pub(crate) fn mount_device(device: &Path, fstype: &str, options: &[(String, String)]) -> rustix::io::Result<OwnedFd> {
    let fs = fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, "source", device)?;
    for (key, value) in options {
        fsconfig_set_string(&fs, key.as_str(), value.as_str())?;
    }
    fsconfig_create(&fs)?;
    let mount = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NODEV)?;
    attach(&mount, rustix::fs::CWD, "/")?;
    Ok(mount)
}

pub(crate) fn below(mount: &OwnedFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let path = path.strip_prefix("/").unwrap_or(path);
    openat(mount, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
}

/// Sees to it that the layer's root can be entered by the sandbox's user, whatever mode the host gave it, and that the
/// user's own directories exist and are its own. Cheaper here than copied up through the overlay.
fn prepare(upper: BorrowedFd<'_>, owner: Owner) -> rustix::io::Result<()> {
    rustix::fs::chmodat(upper, ".", OWNED, AtFlags::empty())?;
    prepare_one(upper, "workspace", Some(owner))?;
    prepare_one(upper, "home", None)?;
    prepare_one(plain_directory(upper, "home")?.as_fd(), "sandbox", Some(owner))
}

const OWNED: Mode = Mode::from_raw_mode(0o755);

fn prepare_one(parent: BorrowedFd<'_>, name: &str, owner: Option<Owner>) -> rustix::io::Result<()> {
    match (rustix::fs::mkdirat(parent, name, OWNED), owner) {
        (Ok(()), Some(owner)) => {
            let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
            rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        }
        (Ok(()), None) | (Err(Errno::EXIST), _) => Ok(()),
        (Err(error), _) => Err(error),
    }
}

/// What the kernel says about a mount that it refused, in one short piece.
fn complaint(fs: &OwnedFd) -> String {
    let mut said = String::new();
    let mut line = [0u8; 256];
    while let Ok(got @ 1..) = rustix::io::read(fs, &mut line) {
        said.push_str(if said.is_empty() { ": " } else { "; " });
        said.push_str(String::from_utf8_lossy(&line[..got]).trim());
        if said.len() > 512 {
            break;
        }
    }
    said
}
