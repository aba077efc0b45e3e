//! Processes by descriptor, so that a number that was given to another process is never hit.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal};

/// Opens a process.
///
/// # Errors
/// `NotFound` (as ESRCH) when there is none.
pub fn open(pid: i32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// Sends a signal by number.
///
/// # Errors
/// The kernel's; ESRCH when the process has ended and was waited for.
pub fn kill(process: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let signal = Signal::from_named_raw(signal).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::pidfd_send_signal(process, signal)?)
}

/// Waits until the process has ended, at most `timeout` (`None`: for ever). Returns whether it has.
///
/// # Errors
/// The kernel's.
pub fn wait(process: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<bool> {
    let timeout = timeout.map(|t| Timespec { tv_sec: t.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: t.subsec_nanos().into() });
    let mut fds = [PollFd::new(&process, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut fds, timeout.as_ref()))?;
    Ok(fds[0].revents().contains(PollFlags::IN))
}

/// When a process started, in clock ticks since boot: with its number this names a process for good.
///
/// # Errors
/// `NotFound` when there is none.
pub fn start_time(pid: i32) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in brackets may hold anything, so count from its last bracket: field 22 is the 20th after it.
    stat.rsplit_once(')')
        .and_then(|(_, rest)| rest.split_whitespace().nth(19))
        .and_then(|field| field.parse().ok())
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_process_is_killed_and_seen_to_end() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().expect("sleep");
        let pid = i32::try_from(child.id()).expect("pid");
        let process = open(pid).expect("open");
        assert!(start_time(pid).expect("start time") > 0);
        assert!(!wait(process.as_fd(), Some(Duration::ZERO)).expect("poll"));
        kill(process.as_fd(), libc::SIGKILL).expect("kill");
        assert!(wait(process.as_fd(), Some(Duration::from_secs(240))).expect("poll"));
        child.wait().expect("reap");
        assert!(kill(process.as_fd(), libc::SIGKILL).is_err());
        assert!(start_time(-1).is_err());
    }
}
