//! The kernel's log, which tells addresses and other users' doings.

use crate::support::{Caller, each_caller};

#[test]
fn the_kernel_log_is_closed() {
    each_caller(|caller| {
        let attacks = ["kernel-log", "read=/dev/kmsg", "write=/dev/kmsg", "read=/proc/kmsg"];
        let report = caller.sandbox().attack(&attacks);
        assert_eq!(report.denied("kernel-log"), "EPERM");
        assert_eq!(report.denied("read=/dev/kmsg"), "ENOENT");
        assert_eq!(report.denied("write=/dev/kmsg"), "ENOENT");
        assert!(["EACCES", "EPERM", "ENODATA", "ENOENT"].contains(&report.denied("read=/proc/kmsg")));
    });
}

#[test]
fn without_the_walls_its_size_is_told() {
    let caller = Caller::root();
    assert_eq!(caller.without("seccomp").attack(&["kernel-log"]).denied("kernel-log"), "EPERM");
    caller.without("seccomp,privileges").attack(&["kernel-log"]).worked("kernel-log");
}
