//! System calls with plain arguments. A probe wants the kernel's answer and nothing in between.

use std::ffi::CString;
use std::fmt;
use std::io;

/// An error number that prints as its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

impl Errno {
    pub(crate) fn last() -> Self {
        Self(io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

macro_rules! names {
    ($kind:ident: $($name:ident)*) => {
        fn $kind(number: i32) -> Option<&'static str> {
            $(if number == libc::$name { return Some(stringify!($name)); })*
            None
        }
    };
}

names!(error_name: EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST EXDEV
    ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE ENOSYS ELOOP ENODATA
    EOPNOTSUPP EPROTONOSUPPORT ESOCKTNOSUPPORT EAFNOSUPPORT EPROTOTYPE ECONNREFUSED ENETUNREACH EHOSTUNREACH ETIMEDOUT EADDRNOTAVAIL
    EDQUOT EUSERS EKEYREJECTED ENOKEY EMSGSIZE ENOTCONN EINPROGRESS EOVERFLOW ENOPROTOOPT);
names!(signal: SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2 SIGPIPE SIGALRM SIGTERM SIGSYS SIGXCPU SIGXFSZ);

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match error_name(self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

pub(crate) fn signal_name(number: i32) -> String {
    signal(number).map_or_else(|| format!("signal {number}"), str::to_owned)
}

/// Any system call. Pointers are made with [`pointer`] and must outlive the call.
pub(crate) fn call(number: i64, arguments: &[i64]) -> Result<i64, Errno> {
    let a = |i: usize| arguments.get(i).copied().unwrap_or(0);
    // SAFETY: the attacks pass numbers, or pointers to live values of the size that the call takes; each runs in a
    // child process of its own, so that a mistake harms nothing else.
    let result = unsafe { libc::syscall(number, a(0), a(1), a(2), a(3), a(4), a(5)) };
    if result == -1 { Err(Errno::last()) } else { Ok(result) }
}

/// The address of a value, as an argument.
pub(crate) fn pointer<T: ?Sized>(value: &T) -> i64 {
    std::ptr::from_ref(value).cast::<u8>() as i64
}

/// A C string. Arguments of the command line hold no NUL.
pub(crate) fn text(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

/// The address of a C string, as an argument.
pub(crate) fn address(text: &CString) -> i64 {
    text.as_ptr() as i64
}

/// 0 in the child, the child in the parent, negative on failure.
pub(crate) fn fork() -> i32 {
    // SAFETY: the probe has one thread wherever it forks.
    unsafe { libc::fork() }
}

/// The wait status of a child.
pub(crate) fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is a valid place for the answer.
    while unsafe { libc::waitpid(pid, &raw mut status, 0) } == -1 && Errno::last().0 == libc::EINTR {}
    status
}

/// Ends this process without the exit handlers of its parent's image.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(status) }
}
