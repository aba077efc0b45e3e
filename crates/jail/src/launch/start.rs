//! The launcher's own steps, before and just after the first process exists.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::rlimits::Clamped;
use crate::{LaunchError, Spec};

/// What the sandbox's first process has once everything stands.
#[derive(Debug)]
pub struct Stand {
    /// The descriptors that came with the specification, at their indices; those that were mounted are gone.
    pub fds: Vec<Option<OwnedFd>>,
    /// Open `cgroup.procs` files of the commands' groups: write `0` in each as (or the pid of) a new command.
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
    let _ = (control, spec, fds, report, then);
    Err(LaunchError::new(crate::Layer::Namespaces, "launch", &io::ErrorKind::Unsupported.into()))
}
