//! Commands that are started later in a sandbox that is up: each stands behind the same walls as the first.

use crate::support::{Caller, PROBE, Report, Standing, each_caller};

#[test]
fn a_later_command_has_every_wall() {
    each_caller(|caller: &Caller| {
        let sandbox = Standing::create(caller, &[]);
        let attacks = ["status", "unshare=user", "mount-tmpfs=/tmp", "interfaces", "processes", "create=/usr/probe"];
        let mut argv = vec![PROBE];
        argv.extend(attacks);
        let report = Report::read(&sandbox.exec(&argv), attacks.len());
        let how = report.worked("status");
        assert_eq!((&how["NoNewPrivs"], &how["Seccomp"]), (&"1".into(), &"2".into()), "{how}");
        assert_eq!((&how["CapEff"], &how["CapBnd"]), (&"0000000000000000".into(), &"0000000000000000".into()), "{how}");
        assert_eq!(how["Uid"], "1000\t1000\t1000\t1000");
        report.all_denied(&["unshare=user", "mount-tmpfs=/tmp"], "EPERM");
        assert_eq!(report.worked("interfaces"), &serde_json::json!(["lo"]));
        assert_eq!(report.denied("create=/usr/probe"), "EROFS");
        assert!(report.worked("processes").as_object().is_some_and(|seen| seen.len() <= 4), "{report:?}");
    });
}

#[test]
fn a_later_command_has_no_foreign_descriptor() {
    each_caller(|caller: &Caller| {
        let sandbox = Standing::create(caller, &[]);
        let report = Report::read(&sandbox.exec(&[PROBE, "descriptors"]), 1);
        let open = report.worked("descriptors").as_object().expect("descriptors").clone();
        let foreign: Vec<_> =
            open.iter().filter(|(_, target)| !target.as_str().is_some_and(|t| t.starts_with("pipe:") || t == "/dev/null")).collect();
        assert!(foreign.is_empty(), "{foreign:?}");
    });
}

/// It is counted against the same limits.
#[test]
fn a_later_command_shares_the_limits() {
    each_caller(|caller: &Caller| {
        let sandbox = Standing::create(caller, &["--pids", "48"]);
        let report = Report::read(&sandbox.exec(&[PROBE, "fork-bomb=2000"]), 1);
        assert_eq!(report.worked("fork-bomb=2000")["errno"], "EAGAIN", "{report:?}");
        // The flood has not taken the sandbox's first process along.
        assert!(sandbox.exec(&["/bin/true"]).status.success());
    });
}
