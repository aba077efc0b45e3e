//! Files that were written through certain mounts, as the kernel tells it. Needs root.
//!
//! A mount of a sandbox is its own, so what was written through it was written by that sandbox, however many others see
//! the same file.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::path::PathBuf;

use rustix::fs::FileType;
use rustix::io::Errno;

/// What the kernel puts before each event: its own length, a version, the mask, a descriptor, a process.
const HEAD_BYTES: usize = 24;
/// One read: about 170 events, each of which is an open file for as long as it is looked at.
const READ_BYTES: usize = 4096;

/// A list of mounts and what is written through them.
#[derive(Debug)]
pub struct Writes {
    fd: OwnedFd,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// This file was closed by somebody who could write to it. The path is the one inside, and may be stale by now.
    Path(PathBuf),
    /// There were more events than the kernel keeps: some are lost.
    Lost,
}

impl Writes {
    /// An empty list; it does not block. The kernel keeps 16,384 events that were not read.
    ///
    /// # Errors
    /// The kernel's; `PermissionDenied` without root.
    pub fn new() -> io::Result<Self> {
        let flags = libc::FAN_CLASS_NOTIF | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK;
        // Never waits for the other end of a pipe.
        let files = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_LARGEFILE | libc::O_NONBLOCK;
        // SAFETY: two numbers.
        let fd = unsafe { libc::fanotify_init(flags, files.cast_unsigned()) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and nobody else has it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Adds the mount that `place` lies on. It stays as long as the mount does.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add(&self, place: BorrowedFd<'_>) -> io::Result<()> {
        // The kernel takes a descriptor that is only a place by its name alone.
        let path = std::ffi::CString::new(format!("/proc/self/fd/{}", place.as_raw_fd()))?;
        let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_MOUNT;
        // SAFETY: the path is a C string; the others are numbers.
        let done = unsafe { libc::fanotify_mark(self.fd.as_raw_fd(), flags, libc::FAN_CLOSE_WRITE, libc::AT_FDCWD, path.as_ptr()) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Appends what has happened. Nothing when nothing waits.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read(&self, into: &mut Vec<Written>) -> io::Result<()> {
        let mut buffer = [0u8; READ_BYTES];
        let got = match rustix::io::retry_on_intr(|| rustix::io::read(&self.fd, &mut buffer)) {
            Err(Errno::AGAIN) => return Ok(()),
            other => other?,
        };
        let mut rest = &buffer[..got];
        while let Some(head) = rest.get(..HEAD_BYTES) {
            let word = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
            let len = usize::try_from(u32::from_ne_bytes(word(0))).unwrap_or(usize::MAX).max(HEAD_BYTES);
            let file = i32::from_ne_bytes(word(16));
            if file < 0 {
                into.push(Written::Lost);
            } else {
                // SAFETY: the kernel made this descriptor for us with the event, which is read once.
                let file = unsafe { OwnedFd::from_raw_fd(file) };
                into.extend(path(&file));
            }
            rest = rest.get(len..).unwrap_or_default();
        }
        Ok(())
    }
}

impl AsFd for Writes {
    /// Readable when something has happened.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Writes {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// The name of a regular file; of others nobody asks.
fn path(file: &OwnedFd) -> Option<Written> {
    let regular = rustix::fs::fstat(file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file());
    let name = regular.then(|| std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())))?;
    name.ok().map(Written::Path)
}
