//! User namespaces that only say how the owner of a mounted tree appears inside.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::error::At as _;
use crate::sys::{self, Cloned};
use crate::{Identity, LaunchError, Layer, Source, Spec};

/// One namespace for each owner of a mounted tree.
#[derive(Default)]
pub(crate) struct IdMaps(Vec<(For, OwnedFd)>);

/// What a namespace is for.
#[derive(Clone, Copy, PartialEq, Eq)]
struct For {
    owner: (u32, u32),
    /// Layers: the kernel works on them as root, who must therefore be somebody there.
    layers: bool,
}

impl IdMaps {
    /// Makes them, each through a short-lived process.
    pub(crate) fn make(spec: &Spec) -> Result<Self, LaunchError> {
        let mut maps = Self::default();
        for mount in &spec.mounts {
            let Some(owner) = mount.owner else { continue };
            let Identity::Reserved { uid, gid } = spec.identity else { continue };
            let wanted = For { owner, layers: matches!(mount.source, Source::Layers { .. }) };
            if maps.find(wanted).is_none() {
                let map = map(wanted, (uid, gid)).at(Layer::Mounts, || "make a user namespace that maps the owner of a mount".into())?;
                maps.0.push((wanted, map));
            }
        }
        Ok(maps)
    }

    /// The namespace of an owner.
    pub(crate) fn get(&self, owner: (u32, u32)) -> Option<BorrowedFd<'_>> {
        self.find(For { owner, layers: false })
    }

    /// The namespace of an owner of layers.
    pub(crate) fn of_layers(&self, owner: (u32, u32)) -> Option<BorrowedFd<'_>> {
        self.find(For { owner, layers: true })
    }

    fn find(&self, wanted: For) -> Option<BorrowedFd<'_>> {
        self.0.iter().find(|(have, _)| *have == wanted).map(|(_, map)| map.as_fd())
    }
}

/// A user namespace in which the ids on disk of the owner are the ids `inside` of the host.
fn map(wanted: For, inside: (u32, u32)) -> std::io::Result<OwnedFd> {
    let (pid, pidfd) = match sys::clone_process(libc::CLONE_NEWUSER | libc::SIGCHLD)? {
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
        Cloned::Child => {
            // Only a place for the namespace: it waits for the signal that ends it, also when the launcher is killed.
            let _ = sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong);
            loop {
                rustix::event::pause();
            }
        }
    };
    let made = (|| {
        let root = if wanted.layers { "0 0 1\n" } else { "" };
        fs::write(format!("/proc/{pid}/uid_map"), format!("{root}{} {} 1", wanted.owner.0, inside.0))?;
        fs::write(format!("/proc/{pid}/gid_map"), format!("{root}{} {} 1", wanted.owner.1, inside.1))?;
        fs::File::open(format!("/proc/{pid}/ns/user"))
    })();
    crate::pidfd::kill(pidfd.as_fd(), libc::SIGKILL)?;
    sys::reap(pid);
    made.map(OwnedFd::from)
}
