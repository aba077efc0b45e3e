//! /sys, which names the host's hardware and holds switches of the kernel, is not there.

use crate::support::each_caller;

#[test]
fn there_is_no_sysfs() {
    each_caller(|caller| {
        let attacks =
            ["mounts", "list=/sys/kernel", "list=/sys/class/hwmon", "list=/sys/class/net", "list=/sys/devices", "write=/sys/power/state"];
        let report = caller.sandbox().attack(&attacks);
        let mounts = report.worked("mounts").as_str().expect("a text").to_owned();
        assert!(!mounts.contains(" - sysfs") && !mounts.contains(" - debugfs") && !mounts.contains(" - securityfs"), "{mounts}");
        report.all_denied(&attacks[1..], "ENOENT");
    });
}
