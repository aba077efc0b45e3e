//! Overwriting the program that runs as the sandbox's first process, by its path or through /proc, so that the host
//! would run the attacker's code at the next start.

use crate::support::{Caller, each_caller};

const PROGRAM: &str = "/opt/lazaret/bin/lazaret-guest";

#[test]
fn the_guest_program_cannot_be_overwritten() {
    each_caller(|caller| {
        let by_path = format!("write={PROGRAM}");
        let beside = format!("create={PROGRAM}.new");
        let attacks = [by_path.as_str(), &beside, "write=/proc/1/exe", "link-of=/proc/1/exe", "read=/proc/1/mem", "write=/proc/1/mem"];
        let report = caller.sandbox().attack(&attacks);
        assert!(["EROFS", "EACCES"].contains(&report.denied(&by_path)), "{report:?}");
        assert!(["EROFS", "EACCES"].contains(&report.denied(&beside)), "{report:?}");
        // It is not dumpable, so its links and memory belong to root.
        report.all_denied(&attacks[2..], "EACCES");
    });
}

#[test]
fn its_insides_are_closed() {
    each_caller(|caller| {
        let closed = ["list=/proc/1/fd", "list=/proc/1/root", "list=/proc/1/cwd", "read=/proc/1/environ", "list=/proc/1/map_files"];
        let report = caller.sandbox().attack(&closed);
        for attack in closed {
            assert!(["EACCES", "EPERM"].contains(&report.denied(attack)), "{attack}: {report:?}");
        }
        let calls = ["ptrace-init", "read-init-memory", "getfd-init"];
        caller.sandbox().attack(&calls).all_denied(&calls, "EPERM");
    });
}

#[test]
fn without_the_walls_they_are_open() {
    let caller = Caller::root();
    let attacks = ["link-of=/proc/1/exe", "list=/proc/1/fd"];
    let report = caller.without("privileges,landlock,seccomp").attack(&attacks);
    report.worked(attacks[0]);
    report.worked(attacks[1]);
}
