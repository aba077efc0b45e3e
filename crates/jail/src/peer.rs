//! Who is at the other end of a Unix socket.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The process that connected, as the kernel recorded it then, in the numbering of the calling process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The process; 0 when it is not visible from here.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// The deepest chain of parents that [`descends_from`] follows.
pub const ANCESTORS_MAX: usize = 512;

/// Asks the kernel who connected.
///
/// # Errors
/// The kernel's, for what is no Unix socket.
pub fn of(socket: BorrowedFd<'_>) -> io::Result<Peer> {
    let mut credentials = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut len = LEN;
    // SAFETY: the pointers are to a `ucred` and to its size, both alive and writable during the call.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, std::ptr::from_mut(&mut credentials).cast(), &raw mut len)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // An unconnected socket of another family answers with a process of 0 and no user.
    if len != LEN || credentials.uid == u32::MAX {
        return Err(io::ErrorKind::NotConnected.into());
    }
    Ok(Peer { pid: credentials.pid, uid: credentials.uid, gid: credentials.gid })
}

#[expect(clippy::cast_possible_truncation, reason = "the size of three words")]
const LEN: libc::socklen_t = size_of::<libc::ucred>() as libc::socklen_t;

/// Whether `pid` is `ancestor` or was started, over any number of steps, by it. Orphans inside a sandbox are given to
/// its init, so everything in a sandbox descends from its init at any time. A process that has ended descends from none.
#[must_use]
pub fn descends_from(pid: i32, ancestor: i32) -> bool {
    let mut at = pid;
    for _ in 0..ANCESTORS_MAX {
        if at == ancestor {
            return at > 0;
        }
        match parent(at) {
            Some(parent) if parent > 0 => at = parent,
            _ => return false,
        }
    }
    false
}

fn parent(pid: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    // `Name:` comes first and its value is escaped, so no process can forge a line of its own.
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn the_kernel_names_the_peer() {
        let (left, _right) = std::os::unix::net::UnixStream::pair().expect("socketpair");
        let peer = of(left.as_fd()).expect("peer");
        assert_eq!(peer.pid, i32::try_from(std::process::id()).expect("pid"));
        let file = std::fs::File::open("/dev/null").expect("open");
        assert!(of(file.as_fd()).is_err());
    }

    #[test]
    fn descent_is_followed_upwards_only() {
        let me = i32::try_from(std::process::id()).expect("pid");
        let mut child = std::process::Command::new("sleep").arg("600").spawn().expect("sleep");
        let pid = i32::try_from(child.id()).expect("pid");
        assert!(descends_from(pid, me));
        assert!(descends_from(pid, pid));
        assert!(!descends_from(me, pid));
        assert!(!descends_from(0, 0));
        child.kill().expect("kill");
        child.wait().expect("reap");
        assert!(!descends_from(pid, me));
    }
}
