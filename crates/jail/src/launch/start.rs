//! The launcher's own steps, before and just after the first process exists.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use super::build::{Parts, build};
use super::idmap::IdMaps;
use crate::error::At as _;
use crate::rlimits::Clamped;
use crate::sys::{self, Cloned};
use crate::{Identity, LaunchError, Layer, Spec, Walls};

/// What the sandbox's first process has once everything stands.
#[derive(Debug)]
pub struct Stand {
    /// The descriptors that came with the specification, at their indices; those that were mounted are gone.
    pub fds: Vec<Option<OwnedFd>>,
    /// Open `cgroup.procs` files of the commands' groups: a new command writes `0` in each.
    pub command_cgroups: Vec<OwnedFd>,
    /// Kernel limits that were clamped.
    pub clamped: Vec<Clamped>,
}

/// Builds a sandbox around a new process. Call it from a program with one thread.
///
/// In the calling process it returns once the first process exists and `report` was told its host pid and a pidfd:
/// `Ok(0)`, and the program should end. The new process is a child of the caller's parent.
///
/// In the new process, which is pid 1 inside, `then` is called with everything in force, or with the reason why not
/// (which it must tell the host); what it returns is the exit status. Every descriptor but 0, 1, 2, `control` and those
/// of `fds` is closed first.
///
/// # Errors
/// [`LaunchError`] for what fails before the new process exists.
pub fn launch(
    control: BorrowedFd<'_>,
    spec: &Spec,
    fds: Vec<OwnedFd>,
    report: impl FnOnce(i32, BorrowedFd<'_>) -> io::Result<()>,
    then: impl FnOnce(Result<Stand, LaunchError>) -> i32,
) -> Result<i32, LaunchError> {
    sys::one_thread().at(Layer::Namespaces, || "launch from a program with threads".into())?;
    let mut keep: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).chain([control.as_raw_fd()]).collect();
    sys::close_others(&mut keep).at(Layer::Namespaces, || "close inherited descriptors".into())?;
    let command_cgroups = enter_cgroups(spec)?;
    let id_maps = IdMaps::make(spec)?;
    // Who the launcher is, before a user namespace makes it nobody.
    let caller = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let cloned =
        sys::clone_process(namespaces(&spec.walls, spec.identity)).at(Layer::Namespaces, || "make the namespaces of a sandbox".into())?;
    match cloned {
        Cloned::Parent { pid, pidfd } => {
            report(pid, pidfd.as_fd())
                // Nobody would know of it.
                .inspect_err(|_| drop(crate::pidfd::kill(pidfd.as_fd(), libc::SIGKILL)))
                .at(Layer::Namespaces, || "tell the host the first process of a sandbox".into())?;
            Ok(0)
        }
        Cloned::Child => {
            let parts = Parts { fds: fds.into_iter().map(Some).collect(), command_cgroups, id_maps, caller };
            sys::exit_now(then(build(spec, parts)))
        }
    }
}

fn namespaces(walls: &Walls, identity: Identity) -> libc::c_int {
    let mut flags = libc::CLONE_PARENT | libc::SIGCHLD;
    flags |= libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP;
    if walls.pids {
        flags |= libc::CLONE_NEWPID;
    }
    if walls.network {
        flags |= libc::CLONE_NEWNET;
    }
    if identity == Identity::Caller {
        flags |= libc::CLONE_NEWUSER;
    }
    flags
}

/// Enters the guest's groups, and opens those of the commands while there is the right to.
fn enter_cgroups(spec: &Spec) -> Result<Vec<OwnedFd>, LaunchError> {
    let Some(join) = &spec.cgroup else { return Ok(Vec::new()) };
    let open = |path: &PathBuf| OpenOptions::new().write(true).open(path).at(Layer::Cgroup, || format!("open {}", path.display()));
    for path in &join.guest {
        open(path)?.write_all(b"0").at(Layer::Cgroup, || format!("enter the control group {}", path.display()))?;
    }
    join.commands.iter().map(|path| open(path).map(OwnedFd::from)).collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::path::PathBuf;

    use super::*;
    use crate::{Rlimits, Root, Upper};

    #[test]
    fn a_program_with_threads_is_refused_before_anything_is_touched() {
        let spec = Spec {
            hostname: "x".into(),
            identity: Identity::Caller,
            root: Root { lowers: Vec::new(), upper: Upper::Tmpfs { bytes: 1 } },
            mounts: Vec::new(),
            door: None,
            guest: PathBuf::new(),
            tmp_bytes: 1,
            rlimits: Rlimits { nofile: 1, nproc: None, fsize: None },
            cgroup: None,
            walls: Walls::ALL,
        };
        let file = std::fs::File::open("/dev/null").expect("open");
        let (hold, held) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || held.recv());
            let refused = launch(file.as_fd(), &spec, Vec::new(), |_, _| Ok(()), |_| 0).expect_err("two threads");
            assert_eq!((refused.layer, refused.errno), (Layer::Namespaces, libc::EDEADLK));
            drop(hold);
        });
    }
}
