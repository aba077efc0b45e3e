//! Engines that hang, fork, fill the disk or do not listen: each ends by its limit, with its code, and nothing stays.

use crate::support::{Lab, Ran};

fn engine(lab: &Lab, text: &str, flags: &[&str]) -> Ran {
    let program = lab.program("own", text);
    let mut args = vec!["run", "--json", "--model", "rehearsal", "--engine", &program];
    args.extend(flags);
    args.push("work");
    lab.run(&args)
}

#[test]
fn an_engine_that_hangs() {
    let lab = Lab::new();
    let ran = engine(&lab, "#!/bin/sh\nexec sleep 600\n", &["--timeout", "2s"]).ends_with(4);
    assert_eq!(ran.result()["code"], "TIMEOUT");
    lab.assert_nothing_left();
}

#[test]
fn an_engine_that_ignores_signals() {
    let lab = Lab::new();
    let text = "#!/bin/sh\ntrap '' TERM INT HUP QUIT\nwhile :; do sleep 1; done\n";
    let ran = engine(&lab, text, &["--timeout", "2s"]).ends_with(4);
    assert_eq!(ran.result()["code"], "TIMEOUT");
    lab.assert_nothing_left();
}

#[test]
fn an_engine_that_forks_without_end() {
    let lab = Lab::new();
    let text = "#!/usr/bin/python3\nimport os, signal\nmade = 0\nwhile True:\n    try:\n        pid = os.fork()\n    except OSError:\n        \
                print('forks', made, flush=True)\n        signal.pause()\n    if pid == 0:\n        signal.pause()\n    made += 1\n";
    let program = lab.program("forks", text);
    // A machine that is too slow to get there within the first limit does within another one.
    let made = ["3s", "20s", "120s"].into_iter().find_map(|limit| {
        let args = ["run", "--json", "--model", "rehearsal", "--engine", &program, "--pids", "40", "--timeout", limit, "work"];
        let ran = lab.run(&args).ends_with(4);
        let said = ran.result()["text"].as_str().unwrap_or_default().to_owned() + &ran.out;
        said.split("forks ").nth(1).and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u32>().ok())
    });
    let made = made.expect("a count");
    assert!((5..40).contains(&made), "{made} forks under a limit of 40");
    lab.assert_nothing_left();
}

#[test]
fn a_fork_bomb_ends_with_its_time() {
    let lab = Lab::new();
    let text = "#!/bin/sh\nbomb() { bomb | bomb & }\nbomb 2>/dev/null\nwhile :; do sleep 1; done\n";
    let ran = engine(&lab, text, &["--pids", "64", "--timeout", "3s"]).ends_with(4);
    assert_eq!(ran.result()["code"], "TIMEOUT");
    lab.assert_nothing_left();
}

#[test]
fn an_engine_that_fills_the_disk() {
    let lab = Lab::new();
    let text = "#!/bin/sh\nhead -c 64m /dev/zero > /workspace/big || exit 1\necho through\n";
    let ran = engine(&lab, text, &["--disk", "16m"]).ends_with(1);
    assert_eq!(ran.result()["code"], "DISK_LIMIT", "{}", ran.out);
    assert!(!ran.out.contains("through"));
    lab.assert_nothing_left();
}

#[test]
fn an_engine_that_floods_its_errors() {
    let lab = Lab::new();
    let ran = engine(&lab, "#!/bin/sh\nexec yes flood >&2\n", &["--timeout", "1h"]).ends_with(1);
    assert_eq!(ran.result()["code"], "OUTPUT_LIMIT", "{}", ran.out);
    lab.assert_nothing_left();
}

#[test]
fn a_line_without_end() {
    let lab = Lab::new();
    let ran = engine(&lab, "#!/bin/sh\nhead -c 20000000 /dev/zero | tr '\\0' x\necho\necho after\n", &[]).succeeds();
    assert!(ran.out.len() < 4 << 20, "{} bytes were printed", ran.out.len());
    assert!(ran.out.contains("after"), "what follows is read again");
    lab.assert_nothing_left();
}

#[test]
fn an_engine_that_reads_no_prompt() {
    let lab = Lab::new();
    let program = lab.program("deaf", "#!/bin/sh\necho done\n");
    let args = ["run", "--json", "--model", "rehearsal", "--engine", program.as_str(), "-"];
    let ran = lab.run_with(&args, &vec![b'p'; 1 << 20]).succeeds();
    assert_eq!(ran.result()["text"], "done");
    lab.assert_nothing_left();
}
