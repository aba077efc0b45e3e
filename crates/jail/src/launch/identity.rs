//! Who the sandbox is, and that it can become nobody else.

use std::fs;

use rustix::io::Errno;

use super::build::Owner;
use super::proc::Proc;
use crate::error::At as _;
use crate::{GUEST_ID, LaunchError, Layer, sys};

/// Limits of the sandbox's user namespace. No further one can be made in it, and so no other namespace either.
const NAMESPACE_LIMITS: [(&str, &str); 3] =
    [("max_user_namespaces", "0"), ("max_inotify_instances", "128"), ("max_inotify_watches", "65536")];

/// Without root: the process is in its user namespace already, and maps who it was to the sandbox's user.
pub(crate) fn map_caller(caller: (u32, u32)) -> Result<(), LaunchError> {
    let mapped = (|| {
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{GUEST_ID} {} 1", caller.0))?;
        fs::write("/proc/self/gid_map", format!("{GUEST_ID} {} 1", caller.1))
    })();
    mapped.at(Layer::Identity, || "map the sandbox's user".into())
}

/// As root: becomes the sandbox's reserved user for good, and only then makes the user namespace in which that user is
/// 1000. It owns nothing but itself: every other namespace and every mount belongs to the host.
pub(crate) fn become_owner(owner: Owner, proc: &Proc) -> Result<(), LaunchError> {
    sys::become_user(owner.uid, owner.gid).at(Layer::Identity, || format!("become the reserved user {}", owner.uid))?;
    sys::unshare(libc::CLONE_NEWUSER).at(Layer::Identity, || "make the user namespace".into())?;
    // The change of user has made the files of this process in /proc root's.
    sys::prctl(libc::PR_SET_DUMPABLE, 1).at(Layer::Identity, || "open the process's own files".into())?;
    let mapped = (|| {
        proc.write("self/setgroups", "deny")?;
        proc.write("self/uid_map", &format!("{GUEST_ID} {} 1", owner.uid))?;
        proc.write("self/gid_map", &format!("{GUEST_ID} {} 1", owner.gid))
    })();
    mapped.at(Layer::Identity, || "map the sandbox's user".into())
}

/// Limits what can be made in the user namespace.
pub(crate) fn limit_namespace(proc: &Proc) -> Result<(), LaunchError> {
    for (name, value) in NAMESPACE_LIMITS {
        proc.write(&format!("sys/user/{name}"), value).at(Layer::Identity, || format!("set user.{name}"))?;
    }
    Ok(())
}

/// Gives every capability up, in a way that no program can undo, and becomes unreadable for those that it will start.
pub(crate) fn drop_privileges() -> Result<(), LaunchError> {
    let dropped = (|| {
        for capability in 0..64 {
            match sys::prctl(libc::PR_CAPBSET_DROP, capability) {
                // The first number that this kernel does not know.
                Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => break,
                other => other?,
            }
        }
        sys::prctl(libc::PR_SET_SECUREBITS, SECUREBITS)?;
        // Emptying the permitted set empties the ambient one.
        sys::drop_capabilities()?;
        sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1)?;
        sys::prctl(libc::PR_SET_DUMPABLE, 0)
    })();
    dropped.at(Layer::Privileges, || "give the capabilities up".into())
}

/// User 0 is nobody special, a change of user gives nothing, capabilities are not kept and not handed on; all locked.
const SECUREBITS: libc::c_ulong = 0x01 | 0x02 | 0x04 | 0x08 | 0x20 | 0x40 | 0x80;
