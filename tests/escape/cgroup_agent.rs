//! The release agent of old control groups: a program that root of the host runs when a group becomes empty.

use crate::support::each_caller;

#[test]
fn no_control_group_tree_is_in_reach() {
    each_caller(|caller| {
        let attacks = ["mounts", "list=/sys/fs/cgroup", "mount-cgroup=/tmp", "create=/sys/fs/cgroup/release_agent"];
        let report = caller.sandbox().attack(&attacks);
        let mounts = report.worked("mounts").as_str().expect("a text").to_owned();
        assert!(!mounts.contains(" - cgroup"), "{mounts}");
        assert_eq!(report.denied("list=/sys/fs/cgroup"), "ENOENT");
        assert_eq!(report.denied("create=/sys/fs/cgroup/release_agent"), "ENOENT");
        assert_eq!(report.denied("mount-cgroup=/tmp"), "EPERM");
    });
}

/// /proc/self/cgroup tells no path of the host.
#[test]
fn the_hosts_groups_have_no_names_inside() {
    each_caller(|caller| {
        let report = caller.sandbox().attack(&["read=/proc/self/cgroup"]);
        let text = report.worked("read=/proc/self/cgroup").as_str().expect("a text").to_owned();
        assert!(
            text.lines().all(|line| line.rsplit(':').next().is_some_and(|path| !path.contains("lazaret") && !path.contains("user.slice"))),
            "{text}"
        );
    });
}
