//! What a tree lies on: devices and layers, mounted once in the sandbox's namespace however many trees come from them.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::{OpenTreeFlags, open_tree};

use super::idmap::IdMaps;
use super::root::{attach, below, directory, mount_device, overlay};
use crate::error::At as _;
use crate::sys::{self, MountAttr};
use crate::{LaunchError, Layer, Mount, Source, Spec};

/// What is mounted to take trees from. Attached over the old root, and gone with it.
pub(crate) struct Stores<'a> {
    open: Vec<(Store<'a>, OwnedFd)>,
    /// Mounts over the old root.
    mounts: usize,
}

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Store<'a> {
    Device(&'a Path, &'a str),
    Layers(Layers<'a>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Layers<'a> {
    base: &'a Path,
    lowers: &'a [PathBuf],
    upper: Option<&'a (PathBuf, PathBuf)>,
    owner: Option<(u32, u32)>,
}

impl<'a> Stores<'a> {
    /// Mounts whatever the trees of the specification lie on.
    pub(crate) fn mount(spec: &'a Spec, id_maps: &IdMaps) -> Result<Self, LaunchError> {
        let mut all = Self { open: Vec::new(), mounts: 0 };
        for mount in &spec.mounts {
            let Some((store, _)) = store(mount) else { continue };
            if all.open.iter().any(|(have, _)| *have == store) {
                continue;
            }
            let opened = match store {
                Store::Device(device, fstype) => {
                    mount_device(device, fstype, &[]).at(Layer::Mounts, || format!("mount {} as {fstype}", device.display()))?
                }
                Store::Layers(layers) => {
                    let map = layers.owner.and_then(|owner| id_maps.of_layers(owner));
                    all.mounts += usize::from(map.is_some());
                    layers.mount(map)?
                }
            };
            all.mounts += 1;
            all.open.push((store, opened));
        }
        Ok(all)
    }

    /// How many mounts lie over the old root.
    pub(crate) fn len(&self) -> usize {
        self.mounts
    }

    /// A mount of the directory that `mount` asks for, attached nowhere; `None` when it comes from elsewhere.
    pub(crate) fn tree(&self, mount: &Mount) -> Option<rustix::io::Result<OwnedFd>> {
        let (store, path) = store(mount)?;
        let (_, opened) = self.open.iter().find(|(have, _)| *have == store)?;
        // What lies beneath was a guest's to make.
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        Some(openat2(opened, path, flags, Mode::empty(), resolve).and_then(|place| open_tree(&place, "", clone)))
    }
}

fn store(mount: &Mount) -> Option<(Store<'_>, &Path)> {
    match &mount.source {
        Source::Device { device, fstype, path } => Some((Store::Device(device, fstype), path)),
        Source::Layers { base, lowers, upper, path } => {
            Some((Store::Layers(Layers { base, lowers, upper: upper.as_ref(), owner: mount.owner }), path))
        }
        Source::Path(_) | Source::Fd(_) | Source::Tmpfs(_) => None,
    }
}

impl Layers<'_> {
    /// Lays them over one another. An overlay cannot itself be shown under another owner, so what it is made of is.
    fn mount(self, map: Option<BorrowedFd<'_>>) -> Result<OwnedFd, LaunchError> {
        let at = |error: std::io::Error| LaunchError::new(Layer::Mounts, "open the layers of a tree", &error);
        let base = match map {
            None => directory(self.base).map_err(|e| at(e.into()))?,
            Some(map) => {
                let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
                let base = open_tree(rustix::fs::CWD, self.base, flags).map_err(|e| at(e.into()))?;
                let userns = u64::try_from(map.as_raw_fd()).unwrap_or(u64::MAX);
                let attr = MountAttr { set: sys::ATTR_IDMAP | sys::ATTR_NODEV | sys::ATTR_NOSUID, userns, ..MountAttr::default() };
                sys::mount_setattr(base.as_fd(), &attr, false).map_err(at)?;
                attach(&base, rustix::fs::CWD, "/").map_err(|e| at(e.into()))?;
                base
            }
        };
        let open = |path: &PathBuf| below(&base, path).map_err(|e| at(e.into()));
        let lowers = self.lowers.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let upper = self.upper.map(|(upper, work)| Ok::<_, LaunchError>((open(upper)?, open(work)?))).transpose()?;
        let mount = overlay(Layer::Mounts, "tree", &lowers, upper.as_ref().map(|(upper, work)| (upper, work)))?;
        attach(&mount, rustix::fs::CWD, "/").map_err(|e| at(e.into()))?;
        Ok(mount)
    }
}
