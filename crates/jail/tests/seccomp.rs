//! The filter in the kernel of this machine. Each case runs in a forked child, which does nothing but system calls
//! between the fork and its end, so it may be made from a test process with threads.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, IntoRawFd as _, OwnedFd};

use lazaret_jail::seccomp::{Answer, GROUPS, Profile, install};

/// A call and its arguments.
type Case = (i64, [i64; 5]);

/// How a child ended, with the error number of each case (0 for success).
struct Ended {
    errors: Vec<i32>,
    signal: Option<i32>,
}

/// Makes the calls in a child, under a filter or not.
fn in_child(profile: Option<Profile>, cases: &[Case]) -> Ended {
    let (read, write) = pipe();
    // SAFETY: the child only makes system calls and touches memory that was allocated before the fork.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", io::Error::last_os_error());
    if pid == 0 {
        child(profile, cases, write.as_raw_fd());
    }
    drop(write);
    let mut bytes = Vec::new();
    File::from(read).read_to_end(&mut bytes).expect("read the child's answers");
    let mut status = 0;
    // SAFETY: `status` is a valid place for the answer, and `pid` is our own child.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    let errors = bytes.chunks_exact(4).map(|b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]])).collect();
    let signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
    if signal.is_none() {
        assert_eq!(libc::WEXITSTATUS(status), 0, "the child could not install the filter");
    }
    Ended { errors, signal }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for both descriptors.
    assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    // SAFETY: the kernel has just made these descriptors and nobody else owns them.
    unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) }
}

fn child(profile: Option<Profile>, cases: &[Case], answers: i32) -> ! {
    // SAFETY: plain system calls on this process.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
    if profile.is_some_and(|profile| install(profile).is_err()) {
        // SAFETY: ends the child at once, without the parent's exit handlers.
        unsafe { libc::_exit(9) };
    }
    for (number, a) in cases {
        // SAFETY: the cases hold no pointer that the kernel could write through; a refused call touches nothing.
        let result = unsafe { libc::syscall(*number, a[0], a[1], a[2], a[3], a[4]) };
        let error = if result == -1 { io::Error::last_os_error().raw_os_error().unwrap_or(0) } else { 0 };
        // SAFETY: writes four bytes of a local value.
        unsafe { libc::write(answers, (&raw const error).cast(), 4) };
    }
    // SAFETY: as above.
    unsafe { libc::_exit(0) }
}

fn plain(number: i64) -> Case {
    (number, [0; 5])
}

/// Each call that the list refuses is answered with the list's error number.
#[test]
fn refused_calls_fail_with_their_error() {
    let mut cases = Vec::new();
    let mut expect = Vec::new();
    for group in GROUPS {
        let Answer::Fail(errno) = group.answer else { continue };
        for call in group.calls {
            // The kernel takes these two past every filter; it ends a process that calls them from outside a probe.
            if ["uprobe", "uretprobe"].contains(&call.name()) {
                continue;
            }
            cases.push(plain(call.number.into()));
            expect.push((call.name(), i32::from(errno)));
        }
    }
    cases.push(plain(600));
    expect.push(("a call newer than the list", libc::ENOSYS));
    let ended = in_child(Some(Profile::Enforce), &cases);
    assert_eq!(ended.signal, None);
    let found: Vec<_> = expect.iter().zip(&ended.errors).map(|((name, _), error)| (*name, *error)).collect();
    assert_eq!(found, expect);
}

/// With the filter EPERM, without it anything else: the filter is what stops these.
#[test]
fn the_filter_is_what_refuses() {
    let none = [0; 5];
    let cases: Vec<Case> = vec![
        (libc::SYS_unshare, none),
        (libc::SYS_ptrace, none),
        (libc::SYS_clone, [i64::from(libc::CLONE_NEWUSER | libc::CLONE_THREAD), 0, 0, 0, 0]),
        (libc::SYS_keyctl, none),
        (libc::SYS_socket, [libc::AF_ALG.into(), 5, 0, 0, 0]),
        (libc::SYS_socket, [libc::AF_INET.into(), libc::SOCK_DGRAM.into(), libc::IPPROTO_UDPLITE.into(), 0, 0]),
        (libc::SYS_socket, [libc::AF_NETLINK.into(), 3, libc::NETLINK_AUDIT.into(), 0, 0]),
        (libc::SYS_socketpair, [libc::AF_INET.into(), 1, 0, 0, 0]),
        (libc::SYS_ioctl, [-1, libc::TIOCSTI.cast_signed(), 0, 0, 0]),
        (libc::SYS_ioctl, [-1, libc::TIOCSTI.cast_signed() | 1 << 32, 0, 0, 0]),
        (libc::SYS_fchmod, [-1, 0o4755, 0, 0, 0]),
        (libc::SYS_fchmodat, [-1, 0, 0o2755, 0, 0]),
        (libc::SYS_mknodat, [-1, 0, libc::S_IFCHR.into(), 0, 0]),
        (libc::SYS_openat, [-1, 0, libc::O_CREAT.into(), 0o4755, 0]),
        (libc::SYS_renameat2, [-1, 0, -1, 0, libc::RENAME_WHITEOUT.into()]),
        (libc::SYS_personality, [8, 0, 0, 0, 0]),
        (libc::SYS_setsockopt, [-1, libc::SOL_TCP.into(), libc::TCP_ULP.into(), 0, 0]),
        (libc::SYS_bpf, [-1, 0, 0, 0, 0]),
        (libc::SYS_userfaultfd, [-1, 0, 0, 0, 0]),
        (libc::SYS_name_to_handle_at, [-1, 0, 0, 0, -1]),
        (libc::SYS_process_vm_readv, [0, 0, 0, 0, 0]),
        (libc::SYS_mount, none),
        (libc::SYS_fsopen, none),
        (libc::SYS_pivot_root, none),
    ];
    let under = in_child(Some(Profile::Enforce), &cases);
    assert_eq!(under.errors, vec![libc::EPERM; cases.len()]);
    let without = in_child(None, &cases);
    let also: Vec<_> = cases.iter().zip(&without.errors).filter(|(_, error)| **error == libc::EPERM).collect();
    let root = {
        // SAFETY: reads this process's identity.
        unsafe { libc::geteuid() == 0 }
    };
    // Without root the kernel itself refuses some of them; as root each one gets past the filter's answer.
    assert!(!root || also.is_empty(), "refused without the filter too: {also:?}");
    assert!(also.len() < cases.len() / 2, "{also:?}");
}

/// What programs need still happens.
#[test]
fn ordinary_calls_work() {
    let cases: Vec<Case> = vec![
        plain(libc::SYS_getpid),
        (libc::SYS_socket, [libc::AF_UNIX.into(), libc::SOCK_STREAM.into(), 0, 0, 0]),
        (libc::SYS_socket, [libc::AF_INET.into(), (libc::SOCK_STREAM | libc::SOCK_CLOEXEC).into(), 0, 0, 0]),
        (libc::SYS_socket, [libc::AF_INET6.into(), libc::SOCK_DGRAM.into(), libc::IPPROTO_UDP.into(), 0, 0]),
        (libc::SYS_socket, [libc::AF_NETLINK.into(), libc::SOCK_RAW.into(), 0, 0, 0]),
        (libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0]),
        (libc::SYS_memfd_create, [c"m".as_ptr() as i64, 0, 0, 0, 0]),
        (libc::SYS_fchmod, [6, 0o644, 0, 0, 0]),
        (libc::SYS_prctl, [libc::PR_GET_DUMPABLE.into(), 0, 0, 0, 0]),
        plain(libc::SYS_sched_yield),
    ];
    let ended = in_child(Some(Profile::Enforce), &cases);
    let wrong: Vec<_> = cases.iter().zip(&ended.errors).filter(|(case, e)| **e != 0 && case.0 != libc::SYS_fchmod).collect();
    assert!(wrong.is_empty() && ended.errors.len() == cases.len(), "{wrong:?}");
}

/// The logging profile lets everything through: an empty unshare, which the wall refuses, succeeds.
#[test]
fn the_log_profile_refuses_nothing() {
    assert_eq!(in_child(Some(Profile::Log), &[plain(libc::SYS_unshare)]).errors, [0]);
    assert_eq!(in_child(Some(Profile::Enforce), &[plain(libc::SYS_unshare)]).errors, [libc::EPERM]);
}

/// A call with the x32 bit ends the process before the kernel looks at it.
#[cfg(target_arch = "x86_64")]
#[test]
fn x32_calls_kill() {
    let getpid = [plain(0x4000_0000 | libc::SYS_getpid)];
    assert_eq!(in_child(Some(Profile::Enforce), &getpid).signal, Some(libc::SIGSYS));
    assert_eq!(in_child(None, &getpid).signal, None);
}

/// A 32-bit call from a 64-bit program ends it. Without the filter it works, or the kernel has no 32-bit calls at all.
#[cfg(target_arch = "x86_64")]
#[test]
fn int80_calls_kill() {
    let signal_of = |profile: Option<Profile>| {
        // SAFETY: the child only makes system calls.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0);
        if pid == 0 {
            // SAFETY: plain system calls; the 32-bit number 20 is getpid, which touches no memory.
            unsafe {
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
                if profile.is_some_and(|profile| install(profile).is_err()) {
                    libc::_exit(9);
                }
                std::arch::asm!("int 0x80", inlateout("rax") 20_u64 => _, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
                libc::_exit(0)
            }
        }
        let mut status = 0;
        // SAFETY: `status` is a valid place for the answer, and `pid` is our own child.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status))
    };
    match signal_of(None) {
        None => assert_eq!(signal_of(Some(Profile::Enforce)), Some(libc::SIGSYS)),
        Some(signal) => assert_eq!((signal, signal_of(Some(Profile::Enforce))), (libc::SIGSEGV, Some(libc::SIGSEGV))),
    }
}

/// A child of a filtered process is filtered, also after exec.
#[test]
fn the_filter_is_inherited() {
    let (read, write) = pipe();
    // SAFETY: the child only makes system calls; the strings are static.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        // SAFETY: as above; `argv` is a null-terminated array of null-terminated strings.
        unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::dup2(write.as_raw_fd(), 1);
            if install(Profile::Enforce).is_err() {
                libc::_exit(9);
            }
            let argv = [c"/bin/grep".as_ptr(), c"^Seccomp:".as_ptr(), c"/proc/self/status".as_ptr(), std::ptr::null()];
            let environment = [std::ptr::null()];
            libc::execve(argv[0], argv.as_ptr(), environment.as_ptr());
            libc::_exit(8)
        }
    }
    drop(write);
    let mut text = String::new();
    // SAFETY: the descriptor is ours and given up here.
    let mut read = unsafe { File::from_raw_fd(read.into_raw_fd()) };
    read.read_to_string(&mut text).expect("the child's output");
    let mut status = 0;
    // SAFETY: `status` is a valid place for the answer, and `pid` is our own child.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(text.trim(), "Seccomp:\t2");
}
