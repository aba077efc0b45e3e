//! The order in which the sandbox's first process builds everything around itself.

use std::os::fd::OwnedFd;

use rustix::fs::Mode;
use rustix::mount::MountPropagationFlags;

use super::idmap::IdMaps;
use super::proc::Proc;
use super::root::NewRoot;
use super::stores::Stores;
use super::{devices, identity, landlock, mounts, proc};
use crate::error::At as _;
use crate::{Identity, LaunchError, Layer, Spec, Stand, seccomp, sys};

/// What the launcher hands to the first process.
pub(crate) struct Parts {
    pub(crate) fds: Vec<Option<OwnedFd>>,
    pub(crate) command_cgroups: Vec<OwnedFd>,
    pub(crate) id_maps: IdMaps,
    /// The user and group of the launcher.
    pub(crate) caller: (u32, u32),
}

/// Who the sandbox is: in the numbering of the namespace where the mounts are made.
#[derive(Clone, Copy)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Builds everything, in the order of the decision record: tree, network, identity, privileges, filters.
pub(crate) fn build(spec: &Spec, mut parts: Parts) -> Result<Stand, LaunchError> {
    let owner = match spec.identity {
        Identity::Reserved { uid, gid } => Owner { uid, gid },
        Identity::Caller => {
            identity::map_caller(parts.caller)?;
            Owner { uid: crate::GUEST_ID, gid: crate::GUEST_ID }
        }
    };
    let _ = rustix::process::setsid();
    rustix::process::umask(Mode::empty());
    let proc = tree(spec, &mut parts, owner)?;
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    surroundings(spec, &proc)?;
    if spec.walls.privileges {
        if matches!(spec.identity, Identity::Reserved { .. }) {
            identity::become_owner(owner, &proc)?;
        }
        identity::limit_namespace(&proc)?;
    }
    let clamped = crate::rlimits::apply(&spec.rlimits).at(Layer::Rlimits, || "set the limits of processes".into())?;
    if spec.walls.privileges {
        identity::drop_privileges()?;
    }
    drop(proc);
    if spec.walls.landlock {
        landlock::restrict(spec)?;
    }
    if spec.walls.seccomp {
        seccomp::install(seccomp::Profile::Enforce).map_err(|seccomp::SeccompError::Load { source }| {
            LaunchError::new(Layer::Seccomp, "install the system-call filter", &source)
        })?;
    }
    Ok(Stand { fds: parts.fds, command_cgroups: parts.command_cgroups, clamped })
}

/// The whole tree of files, and the change to it.
fn tree(spec: &Spec, parts: &mut Parts, owner: Owner) -> Result<Proc, LaunchError> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).at(Layer::Root, || "make the mounts private".into())?;
    let stores = Stores::mount(spec, &parts.id_maps)?;
    let root = NewRoot::make(spec, owner, stores.len())?;
    devices::mount(&root, spec, owner)?;
    let proc = Proc::mount(&root, spec)?;
    mounts::mount_all(&root, spec, &stores, parts)?;
    root.seal(spec)?;
    root.enter()?;
    proc::mask(spec)?;
    Ok(proc)
}

/// What is not a file: names, network, keys, settings of the namespaces.
fn surroundings(spec: &Spec, proc: &Proc) -> Result<(), LaunchError> {
    rustix::system::sethostname(spec.hostname.as_bytes()).at(Layer::Namespaces, || "set the host name".into())?;
    rustix::system::setdomainname(b"(none)").at(Layer::Namespaces, || "set the domain name".into())?;
    if spec.walls.network {
        sys::loopback_up().at(Layer::Network, || "turn the loopback interface on".into())?;
    }
    proc.deny_executable_memfds(spec)?;
    match sys::join_new_session_keyring() {
        // No keyrings in this kernel, or a filter around us that whatever runs inside inherits too.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => Ok(()),
        other => other.at(Layer::Privileges, || "leave the host's session keyring".into()),
    }
}
