//! The door of a sandbox: only that sandbox comes in by it, and only its first process by the door `control`.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::{Caller, PROBE, Report, Standing, each_caller, finish, probe_as};

fn sockets(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(meta) = fs::symlink_metadata(entry.path()) else { continue };
        if meta.file_type().is_socket() {
            found.push(entry.path());
        } else if meta.is_dir() {
            sockets(&entry.path(), found);
        }
    }
}

#[test]
fn another_user_of_the_host_is_kept_out() {
    each_caller(|caller: &Caller| {
        let _sandbox = Standing::create(caller, &[]);
        let mut found = Vec::new();
        sockets(&caller.home.join(".lazaret"), &mut found);
        assert!(!found.is_empty(), "no socket in the home");
        for socket in found {
            let attack = format!("unix={}", socket.display());
            let report = Report::read(&finish(probe_as(65534, &[&attack]), Stdio::null()), 1);
            assert_eq!(report.denied(&attack), "EACCES", "{}", socket.display());
        }
    });
}

/// A process inside that says it is the first one is not believed. A sandbox without a session has no gateway, and one
/// that may reach no host has no egress; where a host is allowed, that door answers.
#[test]
fn the_control_door_is_for_the_first_process() {
    each_caller(|caller: &Caller| {
        caller.dir(".lazaret");
        caller.file(".lazaret/config.toml", "[egress]\nmax = [\"example.com:443\"]\n");
        let doors = ["door=control", "door=nonsense", "door=gateway", "door=broker", "door=egress"];
        let closed = Standing::create(caller, &[]);
        Report::read(&closed.exec(&argv(&doors)), doors.len()).all_denied(&doors, "ENODATA");
        let open = Standing::create(caller, &["--allow", "example.com:443"]);
        let report = Report::read(&open.exec(&argv(&doors)), doors.len());
        report.all_denied(&doors[..4], "ENODATA");
        report.worked("door=egress");
    });
}

fn argv<'a>(attacks: &[&'a str]) -> Vec<&'a str> {
    std::iter::once(PROBE).chain(attacks.iter().copied()).collect()
}

/// A neighbour's door is nowhere in the tree.
#[test]
fn there_is_one_door() {
    each_caller(|caller: &Caller| {
        let (first, second) = (Standing::create(caller, &[]), Standing::create(caller, &[]));
        let report = Report::read(&first.exec(&[PROBE, "list=/run/lazaret", "mounts", "create=/run/lazaret/other"]), 3);
        assert_eq!(report.worked("list=/run/lazaret"), &serde_json::json!(["host.sock"]));
        assert_eq!(report.denied("create=/run/lazaret/other"), "EROFS");
        let mounts = report.worked("mounts").as_str().expect("a text");
        assert_eq!(mounts.lines().filter(|line| line.contains(" /run/lazaret ")).count(), 1, "{mounts}");
        assert!(!mounts.contains(&second.id), "{mounts}");
    });
}
