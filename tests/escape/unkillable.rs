//! Processes that try to outlive their sandbox: daemons with two parents less, sessions of their own, stopped ones, ones
//! that ignore every signal, ones that fork away. Soon after the end none is left on the host.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{PATIENCE, PROBE, each_caller, host_processes, within};

/// Two seconds on a machine with nothing else to do; here everybody may wait for a processor.
const SOON: Duration = Duration::from_secs(120);

#[test]
fn nothing_outlives_its_sandbox() {
    each_caller(|caller| {
        let mark = format!("outlive-{}-{}", caller.uid, std::process::id());
        let attack = format!("hold-on={mark}");
        assert_eq!(caller.sandbox().attack(&[&attack]).worked(&attack), 4);
        assert!(within(SOON, || host_processes(&mark).is_empty()), "left: {:?}", host_processes(&mark));
    });
}

/// They are real: while the sandbox is up, they are there.
#[test]
fn they_hold_on_while_the_sandbox_is_up() {
    each_caller(|caller| {
        let mark = format!("there-{}-{}", caller.uid, std::process::id());
        let count = format!("count() {{ grep -lsa -e '[:]{mark}' /proc/[0-9]*/cmdline | wc -l; }}");
        let script = format!(
            "{PROBE} hold-on={mark}; {count}; n=0; while [ $(count) -lt 3 ] && [ $n -lt 600 ]; do n=$((n+1)); sleep 0.1; done; kill -TERM -1; sleep 0.1; count"
        );
        let output = caller.sandbox().run(&["/bin/sh", "-c", &format!("trap '' TERM; {script}")]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let left: u32 = text.lines().last().and_then(|line| line.trim().parse().ok()).unwrap_or(0);
        assert!(left >= 3, "{output:?}");
        assert!(within(SOON, || host_processes(&mark).is_empty()), "left: {:?}", host_processes(&mark));
    });
}

/// The program that started the sandbox is killed without a chance to clean up. The next start removes what is left.
#[test]
fn killing_the_starter_ends_them() {
    each_caller(|caller| {
        let mark = format!("orphan-{}-{}", caller.uid, std::process::id());
        let mut command = caller.sandbox().command();
        command.args(["/bin/sh", "-c", &format!("{PROBE} hold-on={mark}; sleep 1000")]);
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut child = command.spawn().expect("start");
        let inside = format!("sleep:{mark}");
        assert!(within(PATIENCE, || !host_processes(&inside).is_empty()), "the sandbox did not start");
        kill_process(Pid::from_child(&child), Signal::KILL).expect("kill the starter");
        child.wait().expect("reap it");
        assert!(within(SOON, || host_processes(&mark).is_empty()), "left: {:?}", host_processes(&mark));
        let left = || fs::read_dir(caller.home.join(".lazaret/direct")).map_or(0, |entries| entries.flatten().count());
        assert_eq!(left(), 1, "what the killed starter made");
        assert!(caller.sandbox().run(&["/bin/true"]).status.success());
        assert_eq!(left(), 0);
    });
}

/// The time limit is the host's: nothing inside can ignore it.
#[test]
fn the_time_limit_ends_them() {
    each_caller(|caller| {
        let mark = format!("late-{}-{}", caller.uid, std::process::id());
        let script = format!("trap '' TERM INT HUP QUIT; {PROBE} hold-on={mark}; while :; do sleep 60; done");
        let began = Instant::now();
        let output = caller.sandbox().option("--timeout").option("1s").run(&["/bin/sh", "-c", &script]);
        assert_eq!(output.status.code(), Some(4), "{output:?}");
        assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
        assert!(within(SOON, || host_processes(&mark).is_empty()), "left: {:?}", host_processes(&mark));
    });
}
