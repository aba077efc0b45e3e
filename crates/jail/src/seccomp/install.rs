//! Loading the filter into the kernel.

use std::io;

use super::bpf::{Program, Returns, compile};
use super::{GROUPS, Instruction};

/// Which filter to install.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// The wall.
    Enforce,
    /// Everything happens, and what the wall would stop is written to the kernel's audit log: how the list is derived.
    Log,
}

/// Why a filter is not in force.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// The kernel refused it: `EACCES` without no_new_privs, `EINVAL` when it has no seccomp filters, `ENOMEM` when
    /// too many filters are stacked.
    #[error("install the system-call filter")]
    Load {
        /// The kernel's answer.
        source: io::Error,
    },
}

static ENFORCE: Program =
    compile(GROUPS, Returns { allow: libc::SECCOMP_RET_ALLOW, fail: libc::SECCOMP_RET_ERRNO, kill: libc::SECCOMP_RET_KILL_PROCESS });
static LOG: Program = compile(GROUPS, Returns { allow: libc::SECCOMP_RET_ALLOW, fail: libc::SECCOMP_RET_LOG, kill: libc::SECCOMP_RET_LOG });

/// The compiled program of a profile.
#[must_use]
pub fn program(profile: Profile) -> &'static Program {
    match profile {
        Profile::Enforce => &ENFORCE,
        Profile::Log => &LOG,
    }
}

/// Puts the filter on the calling thread, for good: every process and thread that it starts later has it too. The
/// thread must have no_new_privs. Other threads are not touched, so call it while there is only one.
///
/// It allocates nothing. The flag keeps processes inside at the speed of those outside: without it older kernels turn
/// a speculation mitigation on that costs every program.
///
/// # Errors
/// [`SeccompError::Load`] with the kernel's answer; nothing is changed then.
pub fn install(profile: Profile) -> Result<(), SeccompError> {
    let instructions = program(profile).instructions();
    // `Instruction` has the layout of `sock_filter`, which the size check below pins down.
    const { assert!(size_of::<Instruction>() == size_of::<libc::sock_filter>()) };
    #[expect(clippy::cast_possible_truncation, reason = "a program has at most INSTRUCTIONS_MAX instructions")]
    let filter = libc::sock_fprog { len: instructions.len() as u16, filter: instructions.as_ptr().cast_mut().cast() };
    // SAFETY: `filter` points to `len` initialised instructions of static storage, which the kernel only reads, and
    // lives until the call returns.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW, std::ptr::from_ref(&filter))
    };
    if result == 0 { Ok(()) } else { Err(SeccompError::Load { source: io::Error::last_os_error() }) }
}
