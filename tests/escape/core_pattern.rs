//! Where the kernel learns what to run on the host: core dumps, module loading, hot plugging, key requests.

use crate::support::{Caller, each_caller};

const FILES: [&str; 5] = [
    "write=/proc/sys/kernel/core_pattern",
    "write=/proc/sys/kernel/modprobe",
    "write=/proc/sys/kernel/hotplug",
    "write=/proc/sys/fs/binfmt_misc/register",
    "write=/proc/sysrq-trigger",
];

#[test]
fn the_kernels_helpers_are_out_of_reach() {
    each_caller(|caller| {
        let report = caller.sandbox().attack(&FILES);
        for file in FILES {
            assert!(["EROFS", "EACCES", "ENOENT", "EPERM"].contains(&report.denied(file)), "{file}: {report:?}");
        }
        assert!(["EROFS", "EACCES"].contains(&report.denied(FILES[0])), "{report:?}");
    });
}

/// A program inside that crashes leaves no core file and runs nothing outside.
#[test]
fn a_crash_dumps_nothing() {
    each_caller(|caller| {
        let output = caller.sandbox().run(&["/bin/sh", "-c", "ulimit -c; kill -SEGV $$"]);
        assert!(String::from_utf8_lossy(&output.stdout).starts_with('0'), "{output:?}");
    });
}

/// With every wall but the mount tree gone, root can open it for writing (the probe writes nothing).
#[test]
fn without_the_walls_it_could_be_set() {
    let caller = Caller::root();
    let report = caller.without("proc,landlock,privileges").attack(&["write=/proc/sys/kernel/core_pattern"]);
    report.worked("write=/proc/sys/kernel/core_pattern");
}
