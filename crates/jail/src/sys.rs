//! System calls that neither the standard library nor rustix offers, as safe functions.

use std::ffi::{CStr, c_int, c_long, c_uint, c_ulong};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The two sides of a new process.
pub(crate) enum Cloned {
    /// The caller goes on.
    Parent {
        /// In the caller's numbering.
        pid: i32,
        /// Closed on exec.
        pidfd: OwnedFd,
    },
    /// The new process begins here with a copy of the caller's memory.
    Child,
}

/// Starts a process with a copy of the caller's memory, like fork, in new namespaces.
///
/// # Errors
/// The kernel's; `Deadlock` (EDEADLK) when the calling program has more than one thread, whose locks the copy would keep for ever.
pub(crate) fn clone_process(flags: c_int) -> io::Result<Cloned> {
    one_thread()?;
    let mut pidfd: c_int = -1;
    let flags = c_long::from(flags | libc::CLONE_PIDFD);
    // SAFETY: without CLONE_VM and with no new stack this is fork: the child runs on its own copy of the memory. The
    // program has one thread (checked above), so no lock of the allocator can be held by somebody else in the copy.
    // The kernel writes the pidfd to the third argument, which is alive.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, std::ptr::from_mut(&mut pidfd), 0, 0) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Cloned::Child),
        // SAFETY: the kernel has just made this descriptor for us.
        pid => Ok(Cloned::Parent { pid: i32::try_from(pid).unwrap_or(-1), pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
    }
}

/// Refuses a program with more than one thread.
///
/// # Errors
/// EDEADLK then.
pub(crate) fn one_thread() -> io::Result<()> {
    // The link count of a process's task directory is 2 and its number of threads.
    let threads = rustix::fs::stat("/proc/self/task")?.st_nlink.saturating_sub(2);
    if threads == 1 { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EDEADLK)) }
}

/// Ends the process at once: no destructor, no flush.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: it takes no pointer and does not return.
    unsafe { libc::_exit(status) }
}

/// Closes every descriptor above 2 that is not in `keep`.
pub(crate) fn close_others(keep: &mut Vec<RawFd>) -> io::Result<()> {
    keep.retain(|fd| *fd > 2);
    keep.sort_unstable();
    keep.dedup();
    let mut from = 3;
    for fd in keep.iter() {
        if *fd > from {
            close_range(from, *fd - 1)?;
        }
        from = fd + 1;
    }
    close_range(from, RawFd::MAX)
}

fn close_range(first: RawFd, last: RawFd) -> io::Result<()> {
    // SAFETY: called before this crate owns any descriptor but those that are kept; a file that another part of the
    // program still meant to use answers EBADF and can harm no memory.
    check(unsafe { libc::syscall(libc::SYS_close_range, c_long::from(first), c_long::from(last), 0) }).map(drop)
}

/// `struct mount_attr` of the kernel.
#[repr(C)]
#[derive(Default)]
pub(crate) struct MountAttr {
    pub(crate) set: u64,
    pub(crate) clear: u64,
    pub(crate) propagation: u64,
    pub(crate) userns: u64,
}

pub(crate) const ATTR_RDONLY: u64 = 0x1;
pub(crate) const ATTR_NOSUID: u64 = 0x2;
pub(crate) const ATTR_NODEV: u64 = 0x4;
pub(crate) const ATTR_NOEXEC: u64 = 0x8;
pub(crate) const ATTR_IDMAP: u64 = 0x10_0000;

/// Changes the attributes of a mount given by descriptor, with the mounts below it if `recursive`.
pub(crate) fn mount_setattr(mount: BorrowedFd<'_>, attr: &MountAttr, recursive: bool) -> io::Result<()> {
    const AT_RECURSIVE: c_int = 0x8000;
    let flags = libc::AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string and the attributes are the kernel's structure with its size.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            c_long::from(flags),
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// Makes the calling thread's session keyring a new, empty one.
pub(crate) fn join_new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: c_long = 1;
    // SAFETY: the name may be null, which asks for a new anonymous keyring.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<u8>()) }).map(drop)
}

/// Turns the loopback interface of the current network namespace on.
pub(crate) fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: all-zero is a valid value of this plain C structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        // A character of C is signed on one machine and not on another; these two are ASCII.
        *to = libc::c_char::try_from(*from).unwrap_or_default();
    }
    const UP_AND_RUNNING: libc::c_short = 0x41;
    request.ifr_ifru.ifru_flags = UP_AND_RUNNING;
    // SAFETY: this request reads an `ifreq`, which is alive.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, std::ptr::from_ref(&request)) }.into()).map(drop)
}

/// A prctl with plain numbers.
pub(crate) fn prctl(option: c_int, value: c_ulong) -> io::Result<()> {
    // SAFETY: none of the options that this crate uses takes a pointer.
    check(unsafe { libc::prctl(option, value, 0, 0, 0) }.into()).map(drop)
}

/// Empties the capability sets of the calling thread.
pub(crate) fn drop_capabilities() -> io::Result<()> {
    // Version 3 of the header, this thread; three sets of two words each.
    let header: [u32; 2] = [0x2008_0522, 0];
    let sets = [0u32; 6];
    // SAFETY: both point to initialised memory of the size that this version has; the kernel only reads the sets.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) }).map(drop)
}

/// Sets the user and group of the calling thread for access to files, and gives the earlier ones back when dropped.
pub(crate) struct FsIdentity {
    uid: c_uint,
    gid: c_uint,
}

impl FsIdentity {
    pub(crate) fn assume(uid: u32, gid: u32) -> Self {
        // SAFETY: no pointers; both calls answer with the earlier value and cannot fail otherwise.
        let (gid, uid) = unsafe { (libc::setfsgid(gid), libc::setfsuid(uid)) };
        Self { uid: uid.cast_unsigned(), gid: gid.cast_unsigned() }
    }
}

impl Drop for FsIdentity {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe {
            libc::setfsuid(self.uid);
            libc::setfsgid(self.gid);
        }
    }
}

/// Sets users and groups of the calling thread, the further groups to none.
pub(crate) fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    // Raw calls: those of the C library would stop every thread, and there is only this one.
    // SAFETY: a null list of length 0; the others take plain numbers.
    unsafe {
        check(libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()))?;
        check(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
        check(libc::syscall(libc::SYS_setresuid, uid, uid, uid))?;
    }
    Ok(())
}

/// Moves the calling process into new namespaces.
pub(crate) fn unshare(flags: c_int) -> io::Result<()> {
    // SAFETY: the namespaces of a process, not its memory or descriptors (no CLONE_FILES, CLONE_VM here).
    check(unsafe { libc::unshare(flags) }.into()).map(drop)
}

/// Makes a ruleset of landlock, or asks for its version with no attributes.
pub(crate) fn landlock_create(attr: Option<&[u64; 3]>) -> io::Result<c_long> {
    const VERSION: c_long = 1;
    let (pointer, size, flags) = attr.map_or((std::ptr::null(), 0, VERSION), |a| (a.as_ptr(), size_of_val(a), 0));
    // SAFETY: null with size 0, or an array with its size; the kernel only reads it.
    check(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, pointer, size, flags) })
}

/// Allows `access` beneath a place.
pub(crate) fn landlock_allow(ruleset: BorrowedFd<'_>, access: u64, place: BorrowedFd<'_>) -> io::Result<()> {
    /// The kernel's structure is packed: 12 bytes.
    #[repr(C, packed)]
    struct PathBeneath {
        access: u64,
        parent: i32,
    }
    const PATH_BENEATH: c_long = 1;
    let rule = PathBeneath { access, parent: place.as_raw_fd() };
    // SAFETY: the rule has the kernel's layout and is alive; the kernel only reads it.
    check(unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), PATH_BENEATH, std::ptr::from_ref(&rule), 0) }).map(drop)
}

/// Puts the calling thread under a ruleset for good.
pub(crate) fn landlock_restrict(ruleset: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) }).map(drop)
}

/// Takes a descriptor that a system call of this module has just made.
pub(crate) fn own(fd: c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: by this function's contract the number is a new descriptor that nobody else holds.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Binds one file or directory over another, in one call.
pub(crate) fn bind(source: &CStr, target: &CStr) -> io::Result<()> {
    // SAFETY: two C strings; the others are null, which a bind ignores.
    check(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), std::ptr::null(), libc::MS_BIND, std::ptr::null()) }.into()).map(drop)
}

/// Waits for a child by number.
pub(crate) fn reap(pid: i32) {
    // SAFETY: the status may be null.
    while unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) } == -1
        && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
    {}
}

fn check(result: c_long) -> io::Result<c_long> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
