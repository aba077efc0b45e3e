//! Every system call that the list refuses, and by name those that no list may ever allow.

use std::collections::BTreeMap;

use jail::seccomp::{Answer, GROUPS};

use crate::support::each_caller;

/// The error that the list gives, by call.
fn expected() -> BTreeMap<String, String> {
    let mut expected = BTreeMap::new();
    for group in GROUPS {
        let Answer::Fail(errno) = group.answer else { continue };
        let name = if i32::from(errno) == ENOSYS { "ENOSYS" } else { "EPERM" };
        expected.extend(group.calls.iter().map(|call| (call.name().to_owned(), name.to_owned())));
    }
    expected
}

const ENOSYS: i32 = 38;
/// The kernel takes these past every filter; outside of its own probes they end the process or fail.
const PAST_FILTERS: [&str; 2] = ["uprobe", "uretprobe"];

/// Written down apart from the list, so that a mistake there is seen here.
const NEVER: &[&str] = &[
    "acct", "add_key", "bpf", "chroot", "clock_settime", "delete_module", "fanotify_init", "finit_module", "fsconfig", "fsmount", "fsopen",
    "fspick", "init_module", "kcmp", "kexec_file_load", "kexec_load", "keyctl", "lookup_dcookie", "mount", "mount_setattr", "move_mount",
    "name_to_handle_at", "open_by_handle_at", "open_tree", "perf_event_open", "pidfd_getfd", "pivot_root", "process_vm_readv",
    "process_vm_writev", "ptrace", "quotactl", "reboot", "request_key", "setns", "settimeofday", "swapoff", "swapon", "syslog", "umount2",
    "unshare", "userfaultfd", "vhangup",
];

#[test]
fn refused_calls_are_refused() {
    each_caller(|caller| {
        let report = caller.sandbox().attack(&["sweep"]);
        let found: BTreeMap<String, String> = serde_json::from_value(report.worked("sweep").clone()).expect("calls and errors");
        for name in NEVER {
            assert_eq!(found.get(*name).map(String::as_str), Some("EPERM"), "{name}");
        }
        for name in ["clone3", "io_uring_setup", "io_uring_enter", "io_uring_register"] {
            assert_eq!(found.get(name).map(String::as_str), Some("ENOSYS"), "{name}");
        }
        let expected = expected();
        let differ: Vec<_> =
            found.iter().filter(|(name, errno)| expected.get(*name) != Some(*errno) && !PAST_FILTERS.contains(&name.as_str())).collect();
        assert!(differ.is_empty() && found.len() == expected.len(), "{differ:?}");
    });
}

#[test]
fn without_the_filter_the_kernel_looks_at_them() {
    each_caller(|caller| {
        let report = caller.without("seccomp").attack(&["sweep"]);
        let found: BTreeMap<String, String> = serde_json::from_value(report.worked("sweep").clone()).expect("calls and errors");
        for name in
            ["unshare", "ptrace", "name_to_handle_at", "keyctl", "process_vm_readv", "kcmp", "get_mempolicy", "io_uring_setup", "clone3"]
        {
            assert!(!["EPERM", "ENOSYS"].contains(&found[name].as_str()), "{name}: {}", found[name]);
        }
    });
}
