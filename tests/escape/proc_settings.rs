//! /proc: settings of the kernel are read-only, and files that tell about the host are masked.

use crate::support::each_caller;

#[test]
fn no_setting_can_be_written() {
    each_caller(|caller| {
        let report = caller.sandbox().attack(&["writable-under=/proc/sys"]);
        let found = report.worked("writable-under=/proc/sys");
        assert_eq!(found.as_array().map(Vec::len), Some(0), "{found}");
    });
}

const MASKED: [&str; 8] = [
    "read=/proc/kcore", "read=/proc/keys", "read=/proc/key-users", "read=/proc/timer_list", "read=/proc/sched_debug",
    "read=/proc/latency_stats", "read=/proc/scsi/scsi", "read=/proc/interrupts",
];

#[test]
fn what_tells_about_the_host_is_masked() {
    each_caller(|caller| {
        let report = caller.sandbox().attack(&MASKED);
        for file in MASKED {
            assert!(["ENODATA", "EACCES", "ENOENT", "EPERM"].contains(&report.denied(file)), "{file}: {report:?}");
        }
    });
}

#[test]
fn without_the_wall_they_can_be_read() {
    each_caller(|caller| {
        let attacks = ["read=/proc/interrupts", "read=/proc/softirqs"];
        let report = caller.without("proc,landlock").attack(&attacks);
        report.worked(attacks[0]);
        report.worked(attacks[1]);
    });
}
