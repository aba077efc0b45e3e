//! Mounting, and making writable what was mounted read-only.

use crate::support::each_caller;

const ATTACKS: [&str; 14] = [
    "mount-tmpfs=/tmp", "mount-proc=/tmp", "mount-cgroup=/tmp", "mount-bind=/tmp", "remount-rw=/", "remount-rw=/usr", "setattr-rw=/usr",
    "umount=/proc/sys", "umount=/usr", "fsopen=tmpfs", "open-tree=/usr", "pivot-root=/tmp", "chroot=/tmp", "umount=/",
];

#[test]
fn nothing_is_mounted_or_remounted() {
    each_caller(|caller| caller.sandbox().attack(&ATTACKS).all_denied(&ATTACKS, "EPERM"));
}

/// The second wall: without the filter there is still no capability to mount with.
#[test]
fn mounting_needs_a_capability_too() {
    each_caller(|caller| {
        let attacks: Vec<&str> = ATTACKS.into_iter().filter(|a| !a.starts_with("umount=/proc/sys")).collect();
        caller.without("seccomp").attack(&attacks).all_denied(&attacks, "EPERM");
        assert_eq!(caller.without("seccomp").attack(&["userns-mount=/tmp"]).denied("userns-mount=/tmp"), "ENOSPC");
    });
}

#[test]
fn without_both_walls_mounting_works() {
    each_caller(|caller| {
        let report = caller.without("seccomp,privileges,landlock").attack(&["userns-mount=/tmp"]);
        report.worked("userns-mount=/tmp");
    });
}
