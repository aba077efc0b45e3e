//! User namespaces that only say how the owner of a mounted tree appears inside.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::error::At as _;
use crate::sys::{self, Cloned};
use crate::{Identity, LaunchError, Layer, Spec};

/// One namespace for each owner of a mounted tree.
#[derive(Default)]
pub(crate) struct IdMaps(Vec<((u32, u32), OwnedFd)>);

impl IdMaps {
    /// Makes them, each through a short-lived process.
    pub(crate) fn make(spec: &Spec) -> Result<Self, LaunchError> {
        let mut maps = Self::default();
        for mount in &spec.mounts {
            let Some(owner) = mount.owner else { continue };
            let Identity::Reserved { uid, gid } = spec.identity else { continue };
            if maps.get(owner).is_none() {
                let map = map(owner, (uid, gid)).at(Layer::Mounts, || "make a user namespace that maps the owner of a mount".into())?;
                maps.0.push((owner, map));
            }
        }
        Ok(maps)
    }

    /// The namespace of an owner.
    pub(crate) fn get(&self, owner: (u32, u32)) -> Option<BorrowedFd<'_>> {
        self.0.iter().find(|(have, _)| *have == owner).map(|(_, map)| map.as_fd())
    }
}

/// A user namespace in which the ids on disk `owner` are the ids `inside` of the host.
fn map(owner: (u32, u32), inside: (u32, u32)) -> std::io::Result<OwnedFd> {
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
        fs::write(format!("/proc/{pid}/uid_map"), format!("{} {} 1", owner.0, inside.0))?;
        fs::write(format!("/proc/{pid}/gid_map"), format!("{} {} 1", owner.1, inside.1))?;
        fs::File::open(format!("/proc/{pid}/ns/user"))
    })();
    crate::pidfd::kill(pidfd.as_fd(), libc::SIGKILL)?;
    sys::reap(pid);
    made.map(OwnedFd::from)
}
