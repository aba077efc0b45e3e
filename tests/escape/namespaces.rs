//! New namespaces, above all a user namespace: it would give back every capability and the kernel code behind them.

use crate::support::each_caller;

#[test]
fn no_new_namespaces() {
    each_caller(|caller| {
        let attacks = [
            "unshare=user", "unshare=mount", "unshare=net", "unshare=pid", "unshare=ipc", "unshare=uts", "unshare=cgroup", "unshare=time",
            "clone=user", "clone=mount", "clone=net", "clone=pid", "setns-init",
        ];
        let report = caller.sandbox().attack(&attacks);
        report.all_denied(&attacks, "EPERM");
        assert_eq!(caller.sandbox().attack(&["clone3-user"]).denied("clone3-user"), "ENOSYS");
    });
}

/// The second wall: with the filter gone, the sandbox's user namespace allows none below it.
#[test]
fn user_namespaces_are_used_up() {
    each_caller(|caller| {
        let attacks = ["unshare=user", "clone=user", "clone3-user"];
        caller.without("seccomp").attack(&attacks).all_denied(&attacks, "ENOSPC");
    });
}

#[test]
fn without_both_walls_a_user_namespace_is_made() {
    each_caller(|caller| {
        let report = caller.without("seccomp,privileges").attack(&["unshare=user", "clone=user"]);
        report.worked("unshare=user");
        report.worked("clone=user");
    });
}
