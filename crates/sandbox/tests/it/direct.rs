//! One command without a daemon.

use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::time::Instant;

use crate::support::{Home, PATIENCE, wait_for};

fn text(home: &Home, settings: &[&str], command: &[&str]) -> (String, String, Option<i32>) {
    let args: Vec<&str> = settings.iter().chain(&["--"]).chain(command).copied().collect();
    let out = home.owner("direct", &args).stdin(Stdio::null()).output().expect("owner");
    (String::from_utf8_lossy(&out.stdout).into_owned(), String::from_utf8_lossy(&out.stderr).into_owned(), out.status.code())
}

pub(crate) fn streams_and_statuses(home: &Home) {
    let mut child = home
        .owner("direct", &["--", "/bin/sh", "-c", "cat; echo e >&2; exit 3"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("owner");
    child.stdin.take().expect("stdin").write_all(b"through").expect("written");
    let out = child.wait_with_output().expect("ended");
    assert_eq!((out.stdout.as_slice(), out.stderr.as_slice(), out.status.code()), (&b"through"[..], &b"e\n"[..], Some(3)));
    let (_, err, code) = text(home, &[], &["no-such-program"]);
    assert_eq!(code, Some(3), "{err}");
    assert_eq!(text(home, &[], &["/bin/sh", "-c", "kill -9 $$"]).2, Some(137));
    home.assert_nothing_left();
}

pub(crate) fn time_is_limited(home: &Home) {
    let at = Instant::now();
    let (_, err, code) = text(home, &["time=300ms"], &["/bin/sh", "-c", "trap '' TERM; setsid sleep 1000 & sleep 1000"]);
    assert_eq!(code, Some(4), "{err}");
    assert!(err.contains("TIMEOUT") && at.elapsed() < PATIENCE, "{err}");
    home.assert_nothing_left();
}

pub(crate) fn signals_go_through(home: &Home) {
    let line = "trap 'echo got; exit 6' TERM; echo ready; while :; do sleep 0.01; done";
    let mut child = home.owner("direct", &["--", "/bin/sh", "-c", line]).stdout(Stdio::piped()).spawn().expect("owner");
    let mut out = child.stdout.take().expect("stdout");
    let mut ready = [0; 6];
    out.read_exact(&mut ready).expect("ready");
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).expect("pid")).expect("pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("sent");
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("read");
    assert_eq!((rest.as_str(), child.wait().expect("ended").code()), ("got\n", Some(6)));
    home.assert_nothing_left();
}

/// Killed with -9: the sandbox ends with it, and the next run removes the rest. A run beside it is not disturbed.
pub(crate) fn what_a_killed_run_leaves_goes_with_the_next(home: &Home) {
    let mut other = home
        .owner("direct", &["--", "/bin/sh", "-c", "echo up; read x; echo $x"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("owner");
    // It stands before the rest begins: its directory is counted, and its own sweep holds no lock any more.
    let mut said = other.stdout.take().expect("stdout");
    said.read_exact(&mut [0; 3]).expect("up");
    let mut child = home
        .owner("direct", &["--", "/bin/sh", "-c", "echo up; setsid sleep 1000 & sleep 1000"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("owner");
    child.stdout.take().expect("stdout").read_exact(&mut [0; 3]).expect("up");
    child.kill().expect("kill -9");
    child.wait().expect("gone");
    wait_for("its processes to end", || {
        let processes: Vec<String> = home.left().into_iter().filter(|l| l.starts_with("process")).collect();
        if processes.len() <= 1 { Ok(()) } else { Err(format!("{processes:?}")) }
    });
    assert_eq!(text(home, &[], &["true"]).2, Some(0));
    assert_eq!(std::fs::read_dir(home.path.join("direct")).expect("list").count(), 1, "the other one");
    other.stdin.take().expect("stdin").write_all(b"undisturbed\n").expect("written");
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("read");
    assert_eq!(rest, "undisturbed\n");
    other.wait().expect("ended");
    home.assert_nothing_left();
}

#[test]
fn the_callers_streams_statuses_and_signals() {
    let home = Home::new();
    streams_and_statuses(&home);
    signals_go_through(&home);
}

#[test]
fn time_and_memory_end_it() {
    let home = Home::new();
    time_is_limited(&home);
    let (_, err, code) = text(&home, &["memory=64m"], &["python3", "-c", "x = bytearray(300 << 20); x[::4096] = x[::4096]"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("MEMORY_LIMIT"), "{err}");
    home.assert_nothing_left();
}

#[test]
fn a_killed_run_leaves_nothing_to_the_next() {
    let home = Home::new();
    what_a_killed_run_leaves_goes_with_the_next(&home);
}
