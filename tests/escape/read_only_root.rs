//! Writing to the system's files.

use crate::support::each_caller;

#[test]
fn the_root_is_read_only() {
    each_caller(|caller| {
        let attacks = [
            "create=/probe", "create=/usr/probe", "create=/etc/probe", "write=/etc/passwd", "write=/usr/bin/env",
            "create=/run/lazaret/probe", "create=/opt/probe",
        ];
        let report = caller.sandbox().attack(&attacks);
        for attack in attacks {
            assert!(["EROFS", "EACCES", "ENOENT"].contains(&report.denied(attack)), "{attack}: {report:?}");
        }
        assert_eq!(report.denied("create=/probe"), "EROFS");
        assert_eq!(report.denied("create=/usr/probe"), "EROFS");
    });
}

/// A directory that was given read-only stays so, whoever owns it.
#[test]
fn a_read_only_mount_is_read_only() {
    each_caller(|caller| {
        let dir = caller.dir("given");
        let text = dir.to_string_lossy().into_owned();
        let shut =
            caller.sandbox().option("--mount").option(format!("{text}:/home/sandbox/given")).attack(&["create=/home/sandbox/given/x"]);
        assert_eq!(shut.denied("create=/home/sandbox/given/x"), "EROFS");
        let open =
            caller.sandbox().option("--mount").option(format!("{text}:/home/sandbox/given:rw")).attack(&["create=/home/sandbox/given/x"]);
        open.worked("create=/home/sandbox/given/x");
        assert!(dir.join("x").exists());
    });
}

/// With the mount writable, the list of places still says no; with that gone too, and as the owner, a file is made. It
/// lands in the sandbox's own layer.
#[test]
fn without_the_walls_the_root_can_be_written() {
    each_caller(|caller| {
        let attack = "create=/probe";
        assert_eq!(caller.without("read_only").attack(&[attack]).denied(attack), "EACCES");
        caller.without("read_only,landlock,privileges").attack(&[attack]).worked(attack);
        assert!(!std::path::Path::new("/probe").exists());
    });
}
