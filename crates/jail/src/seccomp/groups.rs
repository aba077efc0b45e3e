//! The list itself. Derived by running the engines and the usual tools under [`super::Profile::Log`], then read call
//! by call; the reasons say why a group is where it is.
#![expect(clippy::cast_possible_truncation, reason = "numbers of calls and of ioctl requests are small; the compiler checks the former")]

use libc::*;

use super::numbers::{
    SYS_cachestat, SYS_fchmodat2, SYS_file_getattr, SYS_file_setattr, SYS_futex_requeue, SYS_futex_wait, SYS_futex_wake, SYS_getxattrat,
    SYS_io_pgetevents, SYS_listmount, SYS_listxattrat, SYS_lsm_get_self_attr, SYS_lsm_list_modules, SYS_lsm_set_self_attr,
    SYS_map_shadow_stack, SYS_mseal, SYS_open_tree_attr, SYS_removexattrat, SYS_setxattrat, SYS_statmount,
};
#[cfg(target_arch = "x86_64")]
use super::numbers::{SYS_create_module, SYS_get_kernel_syms, SYS_query_module, SYS_uprobe, SYS_uretprobe};
use super::{Answer, Argument, Call, Group, Test};

macro_rules! calls {
    ($($constant:ident)*) => { &[$(Call { constant: stringify!($constant), number: $constant as u32 }),*] };
}

/// A test of all 32 bits.
const fn all(index: u32, name: &'static str, test: Test) -> Argument {
    Argument { index, name, mask: u32::MAX, test }
}

/// A test that none of these bits is set.
const fn clear(index: u32, name: &'static str, bits: u32) -> Argument {
    Argument { index, name, mask: bits, test: Test::OneOf(&[0]) }
}

/// `CLONE_NEW*` of clone(2); `CLONE_NEWTIME` has no bit there.
const NEW_NAMESPACES: u32 =
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET) as u32;
const SET_ID: u32 = S_ISUID | S_ISGID;
/// `O_CREAT` and the bit that only `O_TMPFILE` has: without both the kernel ignores the mode.
const CREATES: u32 = (O_CREAT | (O_TMPFILE & !O_DIRECTORY)) as u32;
/// `SOCK_TYPE_MASK` of the kernel: the bits of a socket type that are no flags.
const SOCKET_TYPE: u32 = 0xf;
/// The part of a request that says whose it is.
const IOCTL_TYPE: u32 = 0xff00;
/// Btrfs, and the three requests that began there and are every file system's now.
const BTRFS_TYPE: u32 = 0x9400;
const FICLONE_REQUEST: u32 = 0x4004_9409;
const FICLONERANGE_REQUEST: u32 = 0x4020_940d;
const FIDEDUPERANGE_REQUEST: u32 = 0xc018_9436;
/// The protocols of IPv4 and IPv6 that a program needs: the default one, ICMP echo, TCP, UDP, ICMPv6 echo.
const IP_PROTOCOLS: Test = Test::OneOf(&[0, IPPROTO_ICMP as u32, IPPROTO_TCP as u32, IPPROTO_UDP as u32, IPPROTO_ICMPV6 as u32]);

/// Every call of this architecture that has a name here, in groups.
pub const GROUPS: &[Group] = &[
    Group {
        name: "files",
        reason: "Reading and writing what the mount tree and landlock leave open.",
        answer: Answer::Allow,
        calls: calls![
            SYS_read SYS_write SYS_readv SYS_writev SYS_pread64 SYS_pwrite64 SYS_preadv SYS_pwritev SYS_preadv2 SYS_pwritev2
            SYS_lseek SYS_close SYS_close_range SYS_dup SYS_dup3 SYS_fcntl SYS_flock SYS_fsync SYS_fdatasync SYS_sync SYS_syncfs
            SYS_sync_file_range SYS_truncate SYS_ftruncate SYS_fallocate SYS_fadvise64 SYS_readahead SYS_sendfile
            SYS_copy_file_range SYS_splice SYS_tee SYS_vmsplice SYS_getdents64 SYS_getcwd SYS_chdir SYS_fchdir SYS_fstat
            SYS_newfstatat SYS_statx SYS_statfs SYS_fstatfs SYS_faccessat SYS_faccessat2 SYS_mkdirat SYS_unlinkat SYS_linkat
            SYS_symlinkat SYS_readlinkat SYS_renameat SYS_fchown SYS_fchownat SYS_umask SYS_utimensat
        ],
    },
    Group {
        name: "extended attributes",
        reason: "Tools copy them with a file. Names of `security.` and `trusted.` need capabilities that nobody inside has, and the root overlay reads none of `user.overlay.` that would redirect it.",
        answer: Answer::Allow,
        calls: calls![
            SYS_setxattr SYS_lsetxattr SYS_fsetxattr SYS_getxattr SYS_lgetxattr SYS_fgetxattr SYS_listxattr SYS_llistxattr
            SYS_flistxattr SYS_removexattr SYS_lremovexattr SYS_fremovexattr SYS_setxattrat SYS_getxattrat SYS_listxattrat
            SYS_removexattrat
        ],
    },
    Group {
        name: "memory",
        reason: "A process manages its own address space. `memfd_create` stays (just-in-time compilers and sandboxed browsers need it) and makes files that are not executable unless asked for.",
        answer: Answer::Allow,
        calls: calls![
            SYS_mmap SYS_mprotect SYS_munmap SYS_mremap SYS_msync SYS_mincore SYS_madvise SYS_brk SYS_mlock SYS_mlock2 SYS_munlock
            SYS_mlockall SYS_munlockall SYS_memfd_create SYS_pkey_mprotect SYS_pkey_alloc SYS_pkey_free SYS_map_shadow_stack
            SYS_mseal SYS_membarrier
        ],
    },
    Group {
        name: "processes and threads",
        reason: "Starting, waiting for and scheduling the sandbox's own processes; the process namespace bounds whom they reach, the kernel's own rules what they may raise.",
        answer: Answer::Allow,
        calls: calls![
            SYS_execve SYS_execveat SYS_exit SYS_exit_group SYS_wait4 SYS_waitid SYS_getpid SYS_getppid SYS_gettid SYS_getpgid
            SYS_setpgid SYS_getsid SYS_setsid SYS_set_tid_address SYS_set_robust_list SYS_get_robust_list SYS_rseq SYS_restart_syscall
            SYS_futex SYS_futex_waitv SYS_futex_wake SYS_futex_wait SYS_futex_requeue SYS_sched_yield SYS_sched_setparam
            SYS_sched_getparam SYS_sched_setscheduler SYS_sched_getscheduler SYS_sched_get_priority_max SYS_sched_get_priority_min
            SYS_sched_rr_get_interval SYS_sched_setaffinity SYS_sched_getaffinity SYS_sched_setattr SYS_sched_getattr SYS_getcpu
            SYS_getpriority SYS_setpriority SYS_ioprio_set SYS_ioprio_get SYS_getrlimit SYS_setrlimit SYS_prlimit64 SYS_getrusage
            SYS_pidfd_open SYS_pidfd_send_signal
        ],
    },
    Group {
        name: "identity",
        reason: "Reading it is harmless and every change needs a capability that nobody inside has; programs that drop privileges call these and look at the result.",
        answer: Answer::Allow,
        calls: calls![
            SYS_getuid SYS_geteuid SYS_getgid SYS_getegid SYS_getresuid SYS_getresgid SYS_getgroups SYS_setuid SYS_setgid SYS_setreuid
            SYS_setregid SYS_setresuid SYS_setresgid SYS_setgroups SYS_setfsuid SYS_setfsgid SYS_capget SYS_capset
        ],
    },
    Group {
        name: "narrowing oneself",
        reason: "An engine may put its own commands into a smaller sandbox. None of these can widen anything under no_new_privs.",
        answer: Answer::Allow,
        calls: calls![SYS_prctl SYS_seccomp SYS_landlock_create_ruleset SYS_landlock_add_rule SYS_landlock_restrict_self],
    },
    Group {
        name: "signals",
        reason: "They reach only the sandbox's own process namespace.",
        answer: Answer::Allow,
        calls: calls![
            SYS_kill SYS_tkill SYS_tgkill SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_rt_sigpending SYS_rt_sigtimedwait
            SYS_rt_sigqueueinfo SYS_rt_tgsigqueueinfo SYS_rt_sigsuspend SYS_sigaltstack SYS_signalfd4
        ],
    },
    Group {
        name: "time",
        reason: "Reading clocks and waiting.",
        answer: Answer::Allow,
        calls: calls![
            SYS_nanosleep SYS_clock_nanosleep SYS_clock_gettime SYS_clock_getres SYS_gettimeofday SYS_times SYS_getitimer SYS_setitimer
            SYS_timer_create SYS_timer_settime SYS_timer_gettime SYS_timer_getoverrun SYS_timer_delete SYS_timerfd_create
            SYS_timerfd_settime SYS_timerfd_gettime
        ],
    },
    Group {
        name: "waiting for events",
        reason: "Event loops. Watches and descriptors are limited per sandbox.",
        answer: Answer::Allow,
        calls: calls![
            SYS_ppoll SYS_pselect6 SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_eventfd2 SYS_inotify_init1
            SYS_inotify_add_watch SYS_inotify_rm_watch SYS_pipe2
        ],
    },
    Group {
        name: "open sockets",
        reason: "What a socket may be is decided where it is made; the network namespace holds a loopback interface only.",
        answer: Answer::Allow,
        calls: calls![
            SYS_bind SYS_connect SYS_listen SYS_accept SYS_accept4 SYS_getsockname SYS_getpeername SYS_getsockopt SYS_shutdown SYS_sendto
            SYS_sendmsg SYS_sendmmsg SYS_recvfrom SYS_recvmsg SYS_recvmmsg
        ],
    },
    Group {
        name: "System V and POSIX IPC",
        reason: "Databases and language runtimes use it; the IPC namespace is the sandbox's own.",
        answer: Answer::Allow,
        calls: calls![
            SYS_shmget SYS_shmat SYS_shmctl SYS_shmdt SYS_semget SYS_semop SYS_semtimedop SYS_semctl SYS_msgget SYS_msgsnd SYS_msgrcv
            SYS_msgctl SYS_mq_open SYS_mq_unlink SYS_mq_timedsend SYS_mq_timedreceive SYS_mq_notify SYS_mq_getsetattr
        ],
    },
    Group {
        name: "the system",
        reason: "Names, sizes and random numbers.",
        answer: Answer::Allow,
        calls: calls![SYS_uname SYS_sysinfo SYS_getrandom],
    },
    #[cfg(target_arch = "x86_64")]
    Group {
        name: "older forms on x86-64",
        reason: "The same operations under the names that they had before the `*at` and numbered forms.",
        answer: Answer::Allow,
        calls: calls![
            SYS_stat SYS_lstat SYS_access SYS_pipe SYS_select SYS_poll SYS_dup2 SYS_pause SYS_alarm SYS_fork SYS_vfork SYS_getdents
            SYS_rename SYS_mkdir SYS_rmdir SYS_link SYS_unlink SYS_symlink SYS_readlink SYS_chown SYS_lchown SYS_getpgrp SYS_utime
            SYS_utimes SYS_futimesat SYS_time SYS_epoll_create SYS_epoll_wait SYS_signalfd SYS_eventfd SYS_inotify_init SYS_arch_prctl
        ],
    },
    Group {
        name: "clone without namespaces",
        reason: "Threads and processes, but no new namespace: a user namespace would give back capabilities and with them the kernel's largest attack surface.",
        answer: Answer::AllowIf(&[&[clear(0, "flags", NEW_NAMESPACES)]]),
        calls: calls![SYS_clone],
    },
    #[cfg(target_arch = "x86_64")]
    Group {
        name: "open by path",
        reason: "Opening is free; making a file with set-user-ID or set-group-ID is not: in a shared directory it would act on the host as its owner.",
        answer: Answer::AllowIf(&[&[clear(1, "flags", CREATES)], &[clear(2, "mode", SET_ID)]]),
        calls: calls![SYS_open],
    },
    Group {
        name: "open by directory",
        reason: "As `open`.",
        answer: Answer::AllowIf(&[&[clear(2, "flags", CREATES)], &[clear(3, "mode", SET_ID)]]),
        calls: calls![SYS_openat],
    },
    #[cfg(target_arch = "x86_64")]
    Group {
        name: "modes by path",
        reason: "No set-user-ID and no set-group-ID, for the reason given at `open`.",
        answer: Answer::AllowIf(&[&[clear(1, "mode", SET_ID)]]),
        calls: calls![SYS_chmod SYS_creat],
    },
    Group {
        name: "modes by descriptor",
        reason: "As `chmod`.",
        answer: Answer::AllowIf(&[&[clear(1, "mode", SET_ID)]]),
        calls: calls![SYS_fchmod],
    },
    Group {
        name: "modes by directory",
        reason: "As `chmod`.",
        answer: Answer::AllowIf(&[&[clear(2, "mode", SET_ID)]]),
        calls: calls![SYS_fchmodat SYS_fchmodat2],
    },
    #[cfg(target_arch = "x86_64")]
    Group {
        name: "nodes by path",
        reason: "Plain files, pipes and sockets; no device (not even the 0:0 one that overlays read as a deletion) and no set-ID bit.",
        answer: Answer::AllowIf(&[&[Argument { index: 1, name: "mode", mask: S_IFMT | SET_ID, test: NODE_KINDS }]]),
        calls: calls![SYS_mknod],
    },
    Group {
        name: "nodes by directory",
        reason: "As `mknod`.",
        answer: Answer::AllowIf(&[&[Argument { index: 2, name: "mode", mask: S_IFMT | SET_ID, test: NODE_KINDS }]]),
        calls: calls![SYS_mknodat],
    },
    Group {
        name: "rename with flags",
        reason: "All flags but the one that leaves a whiteout device behind.",
        answer: Answer::AllowIf(&[&[clear(4, "flags", RENAME_WHITEOUT)]]),
        calls: calls![SYS_renameat2],
    },
    Group {
        name: "device control",
        reason: "Terminals and files need it. Refused are the requests that put characters into a terminal's input or take over the console, line disciplines, which load kernel modules, and those of btrfs, on which trees may lie: they make subvolumes that no limit counts. Sharing the blocks of two files is allowed.",
        answer: Answer::AllowIf(&[
            &[
                all(1, "request", Test::NoneOf(&[TIOCSTI as u32, TIOCLINUX as u32, TIOCCONS as u32, TIOCSETD as u32])),
                Argument { index: 1, name: "request", mask: IOCTL_TYPE, test: Test::NoneOf(&[BTRFS_TYPE]) },
            ],
            &[all(1, "request", Test::OneOf(&[FICLONE_REQUEST, FICLONERANGE_REQUEST, FIDEDUPERANGE_REQUEST]))],
        ]),
        calls: calls![SYS_ioctl],
    },
    Group {
        name: "new sockets",
        reason: "Unix sockets; TCP, UDP and ICMP echo over IP; routing netlink, which runtimes ask for the list of interfaces. No packet, raw, vsock, crypto, Bluetooth or other family.",
        answer: Answer::AllowIf(&[
            &[all(0, "domain", Test::OneOf(&[AF_UNIX as u32]))],
            &[
                all(0, "domain", Test::OneOf(&[AF_INET as u32, AF_INET6 as u32])),
                Argument { index: 1, name: "type", mask: SOCKET_TYPE, test: Test::OneOf(&[SOCK_STREAM as u32, SOCK_DGRAM as u32]) },
                all(2, "protocol", IP_PROTOCOLS),
            ],
            &[all(0, "domain", Test::OneOf(&[AF_NETLINK as u32])), all(2, "protocol", Test::OneOf(&[NETLINK_ROUTE as u32]))],
        ]),
        calls: calls![SYS_socket],
    },
    Group {
        name: "socket pairs",
        reason: "Unix sockets have pairs; nothing else needs them.",
        answer: Answer::AllowIf(&[&[all(0, "domain", Test::OneOf(&[AF_UNIX as u32]))]]),
        calls: calls![SYS_socketpair],
    },
    Group {
        name: "socket options",
        reason: "All but the one that loads an upper-layer protocol (kernel TLS and its like) under a TCP socket.",
        answer: Answer::AllowIf(&[
            &[all(1, "level", Test::NoneOf(&[SOL_TCP as u32]))],
            &[all(2, "option", Test::NoneOf(&[TCP_ULP as u32]))],
        ]),
        calls: calls![SYS_setsockopt],
    },
    Group {
        name: "personality",
        reason: "Reading it, the default, and fixed addresses for debuggers; no emulation of other systems, no executable-by-default memory.",
        answer: Answer::AllowIf(&[&[all(0, "persona", Test::OneOf(&[0, u32::MAX, ADDR_NO_RANDOMIZE as u32]))]]),
        calls: calls![SYS_personality],
    },
    Group {
        name: "hidden arguments",
        reason: "Their flags lie behind a pointer where no filter can test them; `ENOSYS` makes every program use the older call, which can be tested.",
        answer: Answer::Fail(ENOSYS as u16),
        calls: calls![SYS_clone3 SYS_openat2],
    },
    Group {
        name: "io_uring",
        reason: "It does what other calls do, past this filter. `ENOSYS` makes programs use the plain calls.",
        answer: Answer::Fail(ENOSYS as u16),
        calls: calls![SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register],
    },
    Group { name: "namespaces", reason: "See clone.", answer: Answer::Fail(EPERM as u16), calls: calls![SYS_unshare SYS_setns] },
    Group {
        name: "mounts",
        reason: "The tree is built once, by the launcher. Nothing inside mounts, unmounts or changes its root, by the old calls or the new ones.",
        answer: Answer::Fail(EPERM as u16),
        calls: calls![
            SYS_mount SYS_umount2 SYS_pivot_root SYS_chroot SYS_open_tree SYS_open_tree_attr SYS_move_mount SYS_fsopen SYS_fsconfig SYS_fsmount
            SYS_fspick SYS_mount_setattr SYS_statmount SYS_listmount SYS_swapon SYS_swapoff SYS_quotactl SYS_quotactl_fd
        ],
    },
    Group {
        name: "other processes' insides",
        reason: "Debugging and reading another process's memory, descriptors or pages. A debugger of one's own children would be useful, but `ptrace` has a long history of kernel holes and lets a tracer change calls; it is refused whole.",
        answer: Answer::Fail(EPERM as u16),
        calls: calls![
            SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev SYS_process_madvise SYS_process_mrelease SYS_kcmp SYS_pidfd_getfd
        ],
    },
    Group {
        name: "kernel programs and probes",
        reason: "Large attack surface, and measurements of the whole host.",
        answer: Answer::Fail(EPERM as u16),
        calls: calls![SYS_bpf SYS_perf_event_open SYS_userfaultfd SYS_lookup_dcookie],
    },
    Group {
        name: "kernel keyrings",
        reason: "Keys are counted per user of the host and outlive their process.",
        answer: Answer::Fail(EPERM as u16),
        calls: calls![SYS_add_key SYS_request_key SYS_keyctl],
    },
    Group {
        name: "files by handle",
        reason: "A handle opens a file without a path, past the mount tree.",
        answer: Answer::Fail(EPERM as u16),
        calls: calls![SYS_name_to_handle_at SYS_open_by_handle_at],
    },
    Group {
        name: "watching whole file systems",
        reason: "It would tell about files of others.",
        answer: Answer::Fail(EPERM as u16),
        calls: calls![SYS_fanotify_init SYS_fanotify_mark],
    },
    Group {
        name: "modules and kernels",
        reason: "They replace the kernel or parts of it.",
        answer: Answer::Fail(EPERM as u16),
        calls: calls![SYS_init_module SYS_finit_module SYS_delete_module SYS_kexec_load SYS_kexec_file_load SYS_reboot],
    },
    Group {
        name: "the host's settings",
        reason: "Clocks, names, accounting, the kernel log and the console belong to the host.",
        answer: Answer::Fail(EPERM as u16),
        calls: calls![
            SYS_settimeofday SYS_clock_settime SYS_adjtimex SYS_clock_adjtime SYS_sethostname SYS_setdomainname SYS_acct SYS_syslog
            SYS_vhangup SYS_nfsservctl SYS_lsm_get_self_attr SYS_lsm_set_self_attr SYS_lsm_list_modules
        ],
    },
    Group {
        name: "memory placement",
        reason: "Placement on memory nodes is the host's; runtimes go on without it.",
        answer: Answer::Fail(EPERM as u16),
        calls: calls![
            SYS_mbind SYS_set_mempolicy SYS_get_mempolicy SYS_migrate_pages SYS_move_pages SYS_set_mempolicy_home_node SYS_cachestat
            SYS_memfd_secret SYS_remap_file_pages
        ],
    },
    Group {
        name: "old asynchronous I/O",
        reason: "Its contexts are counted for the whole host, so that one sandbox could use up all; programs fall back to plain calls.",
        answer: Answer::Fail(EPERM as u16),
        calls: calls![SYS_io_setup SYS_io_destroy SYS_io_getevents SYS_io_submit SYS_io_cancel SYS_io_pgetevents],
    },
    Group {
        name: "inode attributes",
        reason: "Too new for any program to need; they change what the mount of the owner may rely on.",
        answer: Answer::Fail(EPERM as u16),
        calls: calls![SYS_file_getattr SYS_file_setattr],
    },
    #[cfg(target_arch = "x86_64")]
    Group {
        name: "relics of x86-64",
        reason: "Ports, descriptor tables and calls that no current program makes; most are empty in the kernel.",
        answer: Answer::Fail(EPERM as u16),
        calls: calls![
            SYS_iopl SYS_ioperm SYS_modify_ldt SYS_set_thread_area SYS_get_thread_area SYS_uselib SYS_ustat SYS_sysfs SYS__sysctl SYS_getpmsg
            SYS_putpmsg SYS_afs_syscall SYS_tuxcall SYS_security SYS_vserver SYS_epoll_ctl_old SYS_epoll_wait_old SYS_create_module
            SYS_get_kernel_syms SYS_query_module SYS_uretprobe SYS_uprobe
        ],
    },
];

/// The kinds of node that are not devices; 0 means a plain file.
const NODE_KINDS: Test = Test::OneOf(&[0, S_IFREG, S_IFIFO, S_IFSOCK]);
