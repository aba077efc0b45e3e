//! The daemon is killed while a run is under way: the client finds the next one, and the run goes on.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use testkit::model_server::{Say, Script};

use crate::support::{KEY, Lab, bounded, comes, of_type};

fn daemon(lab: &Lab) -> Option<i32> {
    let ran = lab.run(&["status", "--json"]);
    let pid = ran.events().first()?["pid"].as_i64()?;
    i32::try_from(pid).ok()
}

#[test]
fn a_run_outlives_its_daemon() {
    let lab = Lab::new();
    let work = lab.path("work");
    std::fs::create_dir(&work).expect("make");
    let command = "n=0; until [ -e go ]; do n=$((n+1)); echo waiting >> log; sleep 0.05; done; echo went";
    let replies = vec![Say::Shell(command.to_owned()), Say::Text("over the gap".to_owned())];
    let server = lab.model(Script { key: Some(KEY.to_owned()), replies, ..Script::default() });
    lab.connect("anthropic", &server);
    let mut child = lab
        .command(&["run", "--json", "--timeout", "1h", "--workspace", work.to_str().expect("utf-8"), "cross"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run");
    let _bound = bounded(&child);
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut text = String::new();
    while !text.contains("\"tool_call\"") {
        assert!(out.read_line(&mut text).expect("read") > 0, "the run ended early: {text}");
    }
    assert!(comes(|| work.join("log").exists()), "the tool does not run");
    let before = daemon(&lab).expect("a daemon");
    kill_process(Pid::from_raw(before).expect("a process"), Signal::KILL).expect("kill");
    // The client starts the next one by itself.
    assert!(comes(|| daemon(&lab).is_some_and(|pid| pid != before)), "no daemon came back");
    std::fs::write(work.join("go"), "").expect("write");
    std::io::Read::read_to_string(&mut out, &mut text).expect("read");
    assert_eq!(child.wait().expect("wait").code(), Some(0), "{text}");

    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let seqs: Vec<u64> = events.iter().filter_map(|e| e["seq"].as_u64()).collect();
    assert_eq!(seqs, (1..=events.len() as u64).collect::<Vec<_>>(), "nothing is lost and nothing is told twice");
    for kind in ["start", "tool_call", "tool_result", "result"] {
        assert_eq!(of_type(&events, kind).len(), 1, "one {kind}: {text}");
    }
    let result = events.last().expect("a result");
    assert_eq!((&result["status"], &result["text"]), (&"completed".into(), &"over the gap".into()), "{result}");
    assert_eq!(server.requests().iter().filter(|r| r.target.contains("/messages")).count(), 2, "no call was made twice");
    assert!(result["usage"]["input_tokens"].as_u64() >= Some(200), "both calls are counted: {result}");
    lab.assert_nothing_left();
}
