//! How a run ends when it does not end by itself: interrupted, killed, out of time or over a limit.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use testkit::model_server::{ModelServer, Say, Script};

use crate::support::{KEY, Lab, bounded, comes, first_line};

/// A model whose first answer is this command.
fn model(lab: &Lab, command: &str) -> ModelServer {
    let server = lab.model(Script { key: Some(KEY.to_owned()), replies: vec![Say::Shell(command.to_owned())], ..Script::default() });
    lab.connect("anthropic", &server);
    server
}

/// Starts a run and waits until its tool runs.
fn started(lab: &Lab) -> Child {
    let mut child = lab.command(&["run", "--json", "work"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run");
    let _bound = bounded(&child);
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    while !line.contains("\"tool_call\"") {
        line.clear();
        assert!(out.read_line(&mut line).expect("read") > 0, "the run ended early");
    }
    // The rest is read by a thread, so that the child never waits for a reader.
    std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    child
}

/// A tool that does not want to die: it ignores signals, leaves its group and its session, and spawns others.
const STUBBORN: &str =
    "trap '' TERM INT HUP; (setsid sh -c 'trap \"\" TERM INT HUP; while :; do sleep 1; done' &) ; while :; do sleep 1; done";

#[test]
fn an_interrupt_ends_the_whole_tree() {
    let lab = Lab::new();
    let _server = model(&lab, STUBBORN);
    let mut child = started(&lab);
    kill_process(Pid::from_child(&child), Signal::INT).expect("interrupt");
    let _bound = bounded(&child);
    assert_eq!(child.wait().expect("wait").code(), Some(130));
    lab.assert_nothing_left();
}

#[test]
fn killing_the_client_cancels_its_run() {
    let lab = Lab::new();
    let _server = model(&lab, &format!(": e2e-mark-of-the-killed-client; {STUBBORN}"));
    let mut child = started(&lab);
    child.kill().expect("kill");
    child.wait().expect("wait");
    // The sandbox may stay for its idle time, the work may not.
    let marked = || {
        std::fs::read_dir("/proc").expect("read /proc").flatten().any(|p| {
            let line = std::fs::read(p.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("e2e-mark-of-the-killed-client")
        })
    };
    assert!(comes(|| !marked()), "the work goes on");
}

#[test]
fn the_time_limit() {
    let lab = Lab::new();
    let _server = model(&lab, STUBBORN);
    let ran = lab.run(&["run", "--json", "--timeout", "2s", "work"]).ends_with(4);
    let result = ran.result();
    assert_eq!((&result["status"], &result["code"]), (&"timeout".into(), &"TIMEOUT".into()));
    lab.assert_nothing_left();
}

#[test]
fn the_memory_limit() {
    let lab = Lab::new();
    // A program of the sandbox's own user takes the engine's memory group to its end.
    let program = lab.program("hog", "#!/usr/bin/python3\nb = []\nwhile True: b.append(bytearray(1 << 20))\n");
    let ran = lab.run(&["run", "--json", "--memory", "64m", "--model", "rehearsal", "--engine", &program, "eat"]);
    assert_eq!(ran.ends_with(1).result()["code"], "MEMORY_LIMIT");
    lab.assert_nothing_left();
}

#[test]
fn an_engine_that_floods_its_output() {
    let lab = Lab::new();
    let program = lab.program("flood", "#!/bin/sh\nyes flood | head -c 10000000\nexec yes \"$(head -c 20000 /dev/zero | tr '\\0' x)\"\n");
    let ran = lab.run(&["run", "--json", "--model", "rehearsal", "--engine", &program, "flood"]).ends_with(1);
    assert_eq!(ran.result()["code"], "OUTPUT_LIMIT");
    lab.assert_nothing_left();
}

#[test]
fn an_engine_that_dies() {
    let lab = Lab::new();
    let program = lab.program("dies", "#!/bin/sh\necho 'about to die' >&2\nkill -SEGV $$\n");
    let ran = lab.run(&["run", "--json", "--model", "rehearsal", "--engine", &program, "x"]).ends_with(1);
    assert_eq!(ran.result()["code"], "ENGINE_FAILED");
    assert!(ran.out.contains("about to die"), "{}", ran.out);
}

#[test]
fn limits_bite_in_sandbox_run() {
    let lab = Lab::new();
    let run = |args: &[&str]| {
        let mut all = vec!["sandbox", "run"];
        all.extend(args);
        lab.run(&all)
    };
    run(&["--timeout", "1s", "--", "sleep", "30"]).fails("TIMEOUT", 4);
    // Killed by the kernel for its memory, as a shell would show it.
    let hog = run(&["--memory", "64m", "--", "python3", "-c", "x = bytearray(256 << 20)"]);
    assert!(hog.status == 137 || hog.err.contains("MEMORY_LIMIT"), "{} {}", hog.status, hog.err);
    let forks = run(&["--pids", "16", "--", "sh", "-c", "for i in $(seq 40); do sleep 600 & done; echo made all"]);
    assert!(!forks.out.contains("made all") || forks.err.contains("fork"), "{} {}", forks.out, forks.err);
    let disk = run(&["--disk", "16m", "--", "sh", "-c", "head -c 64m /dev/zero > /workspace/big; wc -c < /workspace/big"]);
    let written: u64 = disk.out.trim().parse().expect("a size");
    assert!(written <= 16 << 20, "{written} bytes went through");
    assert!(disk.err.contains("No space left") || disk.err.contains("quota"), "{}", disk.err);
    lab.assert_nothing_left();
}

#[test]
fn the_processor_limit() {
    let lab = Lab::new();
    let spin = "import time, os\nend = time.time() + 2\nwhile time.time() < end: pass\nt = os.times()\nprint(t.user + t.system)";
    let ran = lab.run(&["sandbox", "run", "--cpus", "0.25", "--", "python3", "-c", spin]).succeeds();
    let used: f64 = ran.out.trim().parse().expect("seconds");
    assert!(used < 1.0, "a quarter of two seconds is a half, and it used {used}");
}

#[test]
fn signals_and_statuses_pass_through() {
    let lab = Lab::new();
    assert_eq!(lab.run(&["sandbox", "run", "--", "sh", "-c", "exit 42"]).status, 42);
    assert_eq!(lab.run(&["sandbox", "run", "--", "sh", "-c", "kill -KILL $$"]).status, 137);
    lab.run(&["sandbox", "run", "--", "no-such-program"]).ends_with(3);
    let echoed = lab.run_with(&["sandbox", "run", "--", "cat"], b"through the wall").succeeds();
    assert_eq!(echoed.out, "through the wall");
    let mut child = lab
        .command(&["sandbox", "run", "--", "sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("run");
    first_line(&mut child);
    let _bound = bounded(&child);
    kill_process(Pid::from_child(&child), Signal::TERM).expect("terminate");
    assert_eq!(child.wait().expect("wait").code(), Some(7));
    lab.assert_nothing_left();
}
