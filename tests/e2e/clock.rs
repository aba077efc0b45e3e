//! The host's clock is set while turns run and people are asked: nothing is lost, late or out of order over it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use testkit::clock::ShiftedClock;
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::support::{Lab, Ran};

/// More than a turn may take, and more than anybody is waited for.
const HOURS: i64 = 7 * 3600;

struct Shifted {
    lab: Lab,
    clock: ShiftedClock,
    _server: ModelServer,
}

impl Shifted {
    fn new() -> Self {
        let lab = Lab::new();
        let clock = ShiftedClock::build(lab.path("").as_path());
        let ask = Say::Tool { name: "ask_user".to_owned(), input: json!({ "question": "Which colour?", "options": ["red", "blue"] }) };
        let work = "until [ -e /workspace/go ]; do sleep 0.05; done; echo worked";
        let rules = vec![
            Rule { contains: "ask me".to_owned(), say: vec![ask] },
            Rule { contains: "work".to_owned(), say: vec![Say::Shell(work.to_owned()), Say::Text("worked".to_owned())] },
        ];
        let server = lab.model(Script { rules, command: "true".to_owned(), ..Script::default() });
        lab.run(&["config", "set", "providers.anthropic.base_url", &server.url()]).succeeds();
        lab.run(&["config", "set", "providers.anthropic.keyless", "true"]).succeeds();
        let shifted = Self { lab, clock, _server: server };
        shifted.start();
        shifted
    }

    /// Starts a daemon that has the clock.
    fn start(&self) {
        let mut command = self.lab.command(&["start", "--listen", "127.0.0.1:0"]);
        command.envs(self.clock.env());
        Ran::of(command, None).succeeds();
    }

    /// Lets the work of a session come to its end, from inside.
    fn go(&self, session: &str) {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(0);
        tar.append_data(&mut header, "go", std::io::empty()).expect("a file");
        let bytes = tar.into_inner().expect("a tree");
        let path = format!("/v1/sessions/{session}/files?path=/workspace");
        let answer = self.lab.ask_with("PUT", &path, &[("content-type", "application/x-tar")], &bytes);
        assert!((200..300).contains(&answer.status), "{answer:?}");
    }
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_millis()).expect("a time")
}

/// Numbers without a gap, and one result for each turn.
#[track_caller]
fn is_in_order(log: &[Value], results: usize) {
    let numbers: Vec<u64> = log.iter().filter_map(|e| e["seq"].as_u64()).collect();
    assert_eq!(numbers, (1..=log.len() as u64).collect::<Vec<_>>(), "{log:#?}");
    assert_eq!(log.iter().filter(|e| e["type"] == "result").count(), results, "{log:#?}");
}

fn jumps(by: i64, restart: bool) {
    let shifted = Shifted::new();
    let lab = &shifted.lab;
    let (working, asked) = (lab.session(json!({})), lab.session(json!({})));
    let work = lab.send(&working, "work");
    lab.event_where(&working, |e| e["type"] == "tool_call");
    let question = lab.send(&asked, "ask me");
    lab.state_is(&asked, "waiting");
    shifted.clock.shift(by);
    if restart {
        lab.kill_daemon();
        shifted.start();
    }
    // A turn that is accepted now shows that the daemon has the other time.
    let after = lab.session(json!({}));
    assert_eq!(lab.turn(&after, "hello")["status"], "completed");
    let last = lab.log(&after).last().and_then(|e| e["time"].as_i64()).expect("a time");
    assert!((last - now_ms() - by * 1000).abs() < 600_000, "the clock was set: {last}");
    shifted.go(&working);
    let result = lab.result_of(&working, &work);
    assert_eq!(result["status"], "completed", "{result}");
    let took = result["duration_ms"].as_u64().expect("a time");
    assert!(took < 3_600_000, "a turn takes the time that it takes: {took} ms");
    lab.ask("POST", &format!("/v1/sessions/{asked}/answer"), json!({ "text": "blue" })).is(200);
    let result = lab.result_of(&asked, &question);
    assert_eq!(result["status"], "completed", "{result}");
    assert!(result["text"].as_str().is_some_and(|text| text.contains("blue")), "{result}");
    is_in_order(&lab.log(&working), 1);
    is_in_order(&lab.log(&asked), 1);
    // And back again: the next turns are as any others.
    shifted.clock.shift(0);
    assert_eq!(lab.turn(&asked, "hello")["status"], "completed");
    is_in_order(&lab.log(&asked), 2);
    assert_eq!(lab.ask("GET", "/v1/sessions", Value::Null).is(200)["items"].as_array().map(Vec::len), Some(3));
    lab.run(&["stop", "--grace", "0s"]).succeeds();
}

#[test]
fn ahead_by_hours() {
    jumps(HOURS, false);
}

#[test]
fn back_by_hours() {
    jumps(-HOURS, false);
}

#[test]
fn ahead_by_hours_while_the_daemon_is_dead() {
    jumps(HOURS, true);
}

#[test]
fn back_by_hours_while_the_daemon_is_dead() {
    jumps(-HOURS, true);
}

/// A question to a person stands as long as it stands: a clock that is set neither answers it nor takes it away.
fn question_over_a_jump(by: i64) {
    let lab = Lab::new();
    crate::marks::install(&lab);
    let clock = ShiftedClock::build(lab.path("").as_path());
    let say = |text: &str| Rule {
        contains: text.to_owned(),
        say: vec![Say::Shell(crate::marks::command(&text.replace(' ', "-"))), Say::Text("it is over".to_owned())],
    };
    let server = lab.model(Script { rules: vec![say("mark it"), say("leave it")], ..Script::default() });
    lab.run(&["config", "set", "providers.anthropic.base_url", &server.url()]).succeeds();
    lab.run(&["config", "set", "providers.anthropic.keyless", "true"]).succeeds();
    let start = || {
        let mut command = lab.command(&["start", "--listen", "127.0.0.1:0"]);
        command.envs(clock.env());
        Ran::of(command, None).succeeds();
    };
    lab.run(&["config", "set", "approvals.ttl", "1h"]).succeeds();
    start();
    let begin = |text: &str| {
        let session = lab.session(json!({ "engine": "mini" }));
        lab.send(&session, text);
        session
    };
    let session = begin("mark it");
    let asked = crate::marks::pending(&lab, 1).remove(0);
    let id = asked["id"].as_str().expect("an identity");
    clock.shift(by);
    // The daemon has the other time, and has looked at its questions with it.
    let after = lab.session(json!({ "engine": "mini" }));
    assert_eq!(lab.turn(&after, "hello")["status"], "completed");
    let pending = crate::marks::pending(&lab, 1);
    assert_eq!((pending.len(), &pending[0]["id"]), (1, &asked["id"]), "it is still asked: {pending:#?}");
    assert!(crate::marks::made(&lab).is_empty(), "and not answered");
    lab.run(&["approvals", "approve", id]).succeeds();
    crate::marks::is_in(&lab, &session, "idle");
    assert_eq!(crate::marks::made(&lab), ["mark-it"], "the yes counts");
    // One that nobody answers ends in its time, by whatever clock.
    lab.run(&["config", "set", "approvals.ttl", "5s"]).succeeds();
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    clock.shift(0);
    start();
    let session = begin("leave it");
    // The log tells that it was asked, also to who comes when its time is over.
    lab.event_where(&session, |event| event["type"] == "approval" && event["status"] == "pending");
    clock.shift(by);
    crate::marks::is_in(&lab, &session, "idle");
    let log = lab.log(&session);
    assert!(json!(log).to_string().contains("CONFIRMATION_TIMEOUT"), "{log:#?}");
    assert_eq!(crate::marks::made(&lab), ["mark-it"], "silence is a no");
    clock.shift(0);
    lab.run(&["stop", "--grace", "0s"]).succeeds();
}

#[test]
fn a_question_stands_while_the_clock_goes_ahead() {
    question_over_a_jump(HOURS);
}

#[test]
fn a_question_stands_while_the_clock_goes_back() {
    question_over_a_jump(-HOURS);
}
