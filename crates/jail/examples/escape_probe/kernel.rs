//! System calls that a sandbox has no use for.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsRawFd as _;

use lazaret_jail::seccomp::GROUPS;
use serde_json::{Value, json};

use crate::sys::{Errno, address, call, exit_now, fork, pointer, signal_name, text, wait};
use crate::{Attack, Outcome};

pub(crate) const ATTACKS: &[(&str, Attack)] = &[
    ("sweep", sweep),
    ("unshare", unshare),
    ("clone", clone),
    ("clone3-user", clone3_user),
    ("setns-init", setns_init),
    ("userns-mount", userns_mount),
    ("mount-tmpfs", |at| mount("none", at, "tmpfs", 0)),
    ("mount-proc", |at| mount("none", at, "proc", 0)),
    ("mount-cgroup", mount_cgroup),
    ("mount-bind", |at| mount("/usr", at, "none", libc::MS_BIND)),
    ("remount-rw", |at| mount("none", at, "none", libc::MS_REMOUNT | libc::MS_BIND)),
    ("setattr-rw", setattr_rw),
    ("umount", |at| call(libc::SYS_umount2, &[address(&text(at)), libc::MNT_DETACH.into()]).map(Value::from)),
    ("fsopen", |kind| call(libc::SYS_fsopen, &[address(&text(kind)), 0]).map(Value::from)),
    ("open-tree", |at| call(libc::SYS_open_tree, &[libc::AT_FDCWD.into(), address(&text(at)), 1]).map(Value::from)),
    ("pivot-root", |at| call(libc::SYS_pivot_root, &[address(&text(at)), address(&text(at))]).map(Value::from)),
    ("chroot", |at| call(libc::SYS_chroot, &[address(&text(at))]).map(Value::from)),
    ("ptrace-init", |_| call(libc::SYS_ptrace, &[libc::PTRACE_SEIZE.into(), 1]).map(Value::from)),
    ("ptrace-me", |_| call(libc::SYS_ptrace, &[libc::PTRACE_TRACEME.into()]).map(Value::from)),
    ("read-init-memory", read_init_memory),
    ("getfd-init", getfd_init),
    ("add-key", add_key),
    ("bpf-map", bpf_map),
    ("perf-event", perf_event),
    ("userfaultfd", |_| call(libc::SYS_userfaultfd, &[1]).map(Value::from)),
    ("io-uring", io_uring),
    ("handle-of", handle_of),
    ("fanotify", |_| call(libc::SYS_fanotify_init, &[0, 0]).map(Value::from)),
    ("kernel-log", |_| call(libc::SYS_syslog, &[10]).map(Value::from)),
    ("module", |_| call(libc::SYS_finit_module, &[-1, 0, 0]).map(Value::from)),
    // The magic numbers are wrong on purpose: with every right this is EINVAL and not the end of the host.
    ("reboot", |_| call(libc::SYS_reboot, &[1, 2, 3]).map(Value::from)),
    ("set-clock", |_| call(libc::SYS_settimeofday, &[0, 0]).map(Value::from)),
    ("set-hostname", |_| call(libc::SYS_sethostname, &[address(&text("probe")), 5]).map(Value::from)),
    ("type-ahead", type_ahead),
    ("line-discipline", |_| call(libc::SYS_ioctl, &[0, libc::TIOCSETD.cast_signed(), pointer(&3_i32)]).map(Value::from)),
    #[cfg(target_arch = "x86_64")]
    ("x32", |_| call(0x4000_0000 | libc::SYS_getpid, &[]).map(Value::from)),
    #[cfg(target_arch = "x86_64")]
    ("int80", int80),
    ("memfd-exec", |_| memfd_exec(0)),
    ("memfd-status", memfd_status),
];

/// Makes every call that the list refuses, each in a child; tells the errors by name.
fn sweep(_: &str) -> Outcome {
    let mut answers = BTreeMap::new();
    for call_of in GROUPS.iter().filter(|g| matches!(g.answer, lazaret_jail::seccomp::Answer::Fail(_))).flat_map(|g| g.calls) {
        let pid = fork();
        if pid == 0 {
            // -1 is a valid address, size, descriptor or command for none of these.
            exit_now(call(call_of.number.into(), &[-1; 6]).err().map_or(0, |errno| errno.0));
        }
        let status = wait(pid);
        let answer = match libc::WIFSIGNALED(status) {
            true => signal_name(libc::WTERMSIG(status)),
            false if libc::WEXITSTATUS(status) == 0 => "worked".to_owned(),
            false => Errno(libc::WEXITSTATUS(status)).to_string(),
        };
        answers.insert(call_of.name(), answer);
    }
    Ok(json!(answers))
}

fn namespace(name: &str) -> i64 {
    i64::from(match name {
        "user" => libc::CLONE_NEWUSER,
        "mount" => libc::CLONE_NEWNS,
        "net" => libc::CLONE_NEWNET,
        "pid" => libc::CLONE_NEWPID,
        "ipc" => libc::CLONE_NEWIPC,
        "uts" => libc::CLONE_NEWUTS,
        "cgroup" => libc::CLONE_NEWCGROUP,
        "time" => 0x80,
        _ => 0,
    })
}

fn unshare(kind: &str) -> Outcome {
    call(libc::SYS_unshare, &[namespace(kind)]).map(Value::from)
}

fn clone(kind: &str) -> Outcome {
    let pid = call(libc::SYS_clone, &[namespace(kind) | i64::from(libc::SIGCHLD)])?;
    if pid == 0 {
        exit_now(0);
    }
    Ok(json!("a process in a new namespace"))
}

fn clone3_user(_: &str) -> Outcome {
    // struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls.
    let arguments: [i64; 8] = [libc::CLONE_NEWUSER.into(), 0, 0, 0, libc::SIGCHLD.into(), 0, 0, 0];
    let pid = call(libc::SYS_clone3, &[pointer(&arguments), 64])?;
    if pid == 0 {
        exit_now(0);
    }
    Ok(json!("a process in a new user namespace"))
}

fn setns_init(_: &str) -> Outcome {
    let file = File::open("/proc/1/ns/mnt").or_else(|_| File::open("/proc/self/ns/mnt"))?;
    call(libc::SYS_setns, &[file.as_raw_fd().into(), 0]).map(Value::from)
}

fn mount(source: &str, at: &str, kind: &str, flags: u64) -> Outcome {
    let (source, at, kind) = (text(source), text(at), text(kind));
    call(libc::SYS_mount, &[address(&source), address(&at), address(&kind), flags.cast_signed(), 0]).map(Value::from)
}

/// The old hierarchy with its agent program that root of the host runs, or the new one.
fn mount_cgroup(at: &str) -> Outcome {
    let (source, target, options) = (text("none"), text(at), text("none,name=probe"));
    let (old, new) = (text("cgroup"), text("cgroup2"));
    call(libc::SYS_mount, &[address(&source), address(&target), address(&old), 0, address(&options)])
        .or_else(|_| call(libc::SYS_mount, &[address(&source), address(&target), address(&new), 0, 0]))
        .map(Value::from)
}

/// struct mount_attr: set, clear, propagation, user namespace.
fn setattr_rw(at: &str) -> Outcome {
    let attributes: [u64; 4] = [0, 1, 0, 0];
    call(libc::SYS_mount_setattr, &[libc::AT_FDCWD.into(), address(&text(at)), 0, pointer(&attributes), 32]).map(Value::from)
}

fn read_init_memory(_: &str) -> Outcome {
    let mut buffer = [0_u8; 8];
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: 8 };
    let remote = libc::iovec { iov_base: 0x40_0000 as *mut _, iov_len: 8 };
    call(libc::SYS_process_vm_readv, &[1, pointer(&local), 1, pointer(&remote), 1, 0]).map(Value::from)
}

fn getfd_init(_: &str) -> Outcome {
    let pidfd = call(libc::SYS_pidfd_open, &[1, 0])?;
    call(libc::SYS_pidfd_getfd, &[pidfd, 0, 0]).map(Value::from)
}

fn add_key(_: &str) -> Outcome {
    let (kind, name) = (text("user"), text("probe"));
    // -2: the process's own keyring.
    call(libc::SYS_add_key, &[address(&kind), address(&name), pointer(b"x"), 1, -2]).map(Value::from)
}

fn bpf_map(_: &str) -> Outcome {
    // union bpf_attr: an array map with 4-byte keys and values, one entry.
    let attributes: [u32; 16] = [2, 4, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    call(libc::SYS_bpf, &[0, pointer(&attributes), 64]).map(Value::from)
}

fn perf_event(_: &str) -> Outcome {
    let mut attributes = [0_u32; 32];
    // A software event, the size of the structure, the task clock, user space only.
    (attributes[0], attributes[1], attributes[2]) = (1, 128, 1);
    attributes[10] = 0b110_0000;
    call(libc::SYS_perf_event_open, &[pointer(&attributes), 0, -1, -1, 0]).map(Value::from)
}

fn io_uring(_: &str) -> Outcome {
    let parameters = [0_u32; 30];
    call(libc::SYS_io_uring_setup, &[4, pointer(&parameters)]).map(Value::from)
}

fn handle_of(at: &str) -> Outcome {
    let mut handle = [0_u32; 40];
    handle[0] = 128;
    let mount = 0_i32;
    call(libc::SYS_name_to_handle_at, &[libc::AT_FDCWD.into(), address(&text(at)), pointer(&handle), pointer(&mount), 0]).map(Value::from)
}

/// Puts a character into the input of the terminal on standard input.
fn type_ahead(high: &str) -> Outcome {
    let high = if high.is_empty() { 0 } else { 1 << 32 };
    call(libc::SYS_ioctl, &[0, libc::TIOCSTI.cast_signed() | high, pointer(b"#")]).map(Value::from)
}

/// getpid by the 32-bit entry, which numbers calls differently.
#[cfg(target_arch = "x86_64")]
fn int80(_: &str) -> Outcome {
    let answer: i64;
    // SAFETY: the 32-bit call 20 is getpid: it reads and writes no memory. The kernel may change r8 to r11.
    unsafe { std::arch::asm!("int 0x80", inlateout("rax") 20_i64 => answer, out("r8") _, out("r9") _, out("r10") _, out("r11") _) };
    Ok(json!(answer))
}

/// Mounts with the rights of a user namespace of one's own.
fn userns_mount(at: &str) -> Outcome {
    call(libc::SYS_unshare, &[(libc::CLONE_NEWUSER | libc::CLONE_NEWNS).into()])?;
    mount("none", at, "tmpfs", 0)
}

/// Runs a program from memory, in a file that was made with these flags.
fn memfd_exec(flags: u32) -> Outcome {
    let fd = memory_file(flags, "/bin/true")?;
    let pid = fork();
    if pid == 0 {
        let (name, empty) = (text("probe"), text(""));
        let arguments = [address(&name), 0];
        let error = call(libc::SYS_execveat, &[fd, address(&empty), pointer(&arguments), pointer(&[0_i64]), libc::AT_EMPTY_PATH.into()]);
        exit_now(error.err().map_or(0, |errno| errno.0));
    }
    match libc::WEXITSTATUS(wait(pid)) {
        0 => Ok(json!("ran")),
        errno => Err(Errno(errno)),
    }
}

/// The walls of this very program, run from an executable file in memory.
fn memfd_status(_: &str) -> Outcome {
    let own = std::env::current_exe()?;
    let fd = memory_file(libc::MFD_EXEC, &own.to_string_lossy())?;
    let output = std::process::Command::new(format!("/proc/self/fd/{fd}")).arg("status").output()?;
    let line: Value = serde_json::from_slice(&output.stdout).map_err(|_| Errno(libc::EIO))?;
    Ok(line["how"].clone())
}

fn memory_file(flags: u32, program: &str) -> Result<i64, Errno> {
    let name = text("probe");
    let fd = call(libc::SYS_memfd_create, &[address(&name), flags.into()])?;
    let program = std::fs::read(program)?;
    let mut at = 0;
    while at < program.len() {
        let rest = &program[at..];
        let wrote = call(libc::SYS_write, &[fd, pointer(rest), i64::try_from(rest.len()).unwrap_or(0)])?;
        at += usize::try_from(wrote).unwrap_or(rest.len());
    }
    Ok(fd)
}
