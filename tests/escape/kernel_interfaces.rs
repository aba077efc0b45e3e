//! Parts of the kernel that no agent needs and that have been ways out before.

use crate::support::each_caller;

const ATTACKS: [&str; 12] = [
    "bpf-map", "perf-event", "userfaultfd", "add-key", "fanotify", "handle-of=/usr", "module", "reboot", "set-clock", "set-hostname",
    "ptrace-me", "line-discipline",
];

#[test]
fn the_filter_refuses_them() {
    each_caller(|caller| {
        let report = caller.sandbox().attack(&ATTACKS);
        report.all_denied(&ATTACKS, "EPERM");
        assert_eq!(caller.sandbox().attack(&["io-uring"]).denied("io-uring"), "ENOSYS");
    });
}

#[test]
fn without_the_filter_some_would_answer() {
    each_caller(|caller| {
        let report = caller.without("seccomp").attack(&["add-key", "handle-of=/usr", "ptrace-me", "io-uring"]);
        report.none_denied(&["add-key", "handle-of=/usr", "ptrace-me", "io-uring"], "EPERM");
        report.worked("ptrace-me");
        report.worked("add-key");
    });
}
