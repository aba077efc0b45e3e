//! Signals to a program with one thread, read from a descriptor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

/// The size of the kernel's record of one signal; its first four bytes are the number.
const RECORD_BYTES: usize = 128;

/// Signals that wait in a descriptor instead of ending the program. The signal mask is as before once this is dropped.
pub struct Signals {
    fd: OwnedFd,
    before: libc::sigset_t,
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signals").field("fd", &self.fd).finish_non_exhaustive()
    }
}

impl Signals {
    /// Takes these signals from now on. Only the calling thread is changed, which should be the only one.
    ///
    /// # Errors
    /// The kernel's; `InvalidInput` for a number that is no signal.
    pub fn take(numbers: &[i32]) -> io::Result<Self> {
        // SAFETY: both sets are initialised by the kernel or by sigemptyset before they are read, and live during the
        // calls; the functions have no other preconditions.
        let (fd, before) = unsafe {
            let mut set = std::mem::zeroed::<libc::sigset_t>();
            let mut before = std::mem::zeroed::<libc::sigset_t>();
            libc::sigemptyset(&raw mut set);
            for number in numbers {
                if libc::sigaddset(&raw mut set, *number) != 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            let blocked = libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut before);
            if blocked != 0 {
                return Err(io::Error::from_raw_os_error(blocked));
            }
            (libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC), before)
        };
        if fd < 0 {
            let error = io::Error::last_os_error();
            restore(&before);
            return Err(error);
        }
        // SAFETY: the descriptor was just made and nobody else has it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, before })
    }

    /// Readable when a signal waits.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The next signal that waits.
    #[must_use]
    pub fn next_waiting(&self) -> Option<i32> {
        let mut record = [0u8; RECORD_BYTES];
        let got = rustix::io::read(&self.fd, &mut record).ok()?;
        let number = u32::from_ne_bytes([record[0], record[1], record[2], record[3]]);
        (got == RECORD_BYTES).then(|| i32::try_from(number).ok()).flatten()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        restore(&self.before);
    }
}

fn restore(mask: &libc::sigset_t) {
    // SAFETY: the set came from the kernel. Setting a mask that was in force before cannot fail.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, mask, std::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_waits_and_is_read_once() {
        let signals = Signals::take(&[libc::SIGUSR1]).expect("taken");
        assert_eq!(signals.next_waiting(), None);
        // SAFETY: the signal is blocked in this thread, to which it is sent.
        unsafe {
            libc::raise(libc::SIGUSR1);
        }
        assert_eq!(signals.next_waiting(), Some(libc::SIGUSR1));
        assert_eq!(signals.next_waiting(), None);
        assert!(Signals::take(&[9999]).is_err());
    }
}
