//! Several sessions in one env: what they share, what keeps them apart, and how it ends.

use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::support::Lab;

/// A home with a daemon, whose agent runs one command for each of these prompts.
fn lab(rules: &[(&str, &str)]) -> (Lab, ModelServer) {
    let lab = Lab::new();
    let rule = |(contains, command): &(&str, &str)| Rule {
        contains: (*contains).to_owned(),
        say: vec![Say::Shell((*command).to_owned()), Say::Text("done".to_owned())],
    };
    let server = lab.model(Script { rules: rules.iter().map(rule).collect(), command: "ls".to_owned(), ..Script::default() });
    lab.run(&["config", "set", "providers.anthropic.base_url", &server.url()]).succeeds();
    lab.run(&["config", "set", "providers.anthropic.keyless", "true"]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    (lab, server)
}

/// What the tools of a turn printed.
#[track_caller]
fn printed(lab: &Lab, session: &str, turn: &str) -> String {
    let result = lab.result_of(session, turn);
    assert_eq!(result["status"], "completed", "{result}");
    let outputs = lab.log(session).into_iter().filter(|e| e["turn"] == turn && e["type"] == "tool_result");
    outputs.filter_map(|e| e["output"].as_str().map(str::to_owned)).collect()
}

#[track_caller]
fn do_turn(lab: &Lab, session: &str, text: &str) -> String {
    let turn = lab.send(session, text);
    printed(lab, session, &turn)
}

#[test]
fn a_session_is_saved_in_the_middle_of_a_turn_and_goes_on() {
    let (lab, _server) = lab(&[("begin", "echo before > note; sleep 3; echo after >> note; pwd"), ("read", "cat note")]);
    let session = lab.session(json!({}));
    let turn = lab.send(&session, "begin");
    lab.event_where(&session, |e| e["type"] == "tool_call");
    let made = lab.ask("POST", "/v1/envs", json!({ "name": "My Project!", "session_id": session })).is(201);
    assert_eq!((made["slug"].as_str(), made["sessions"].as_u64()), (Some("my-project"), Some(1)), "{made}");
    assert_eq!(printed(&lab, &session, &turn), "/home/sandbox\n");
    let other = lab.session(json!({ "env": "my-project" }));
    assert_eq!(do_turn(&lab, &other, "read"), "before\nafter\n", "what was written after the save is there too");
    assert_eq!(do_turn(&lab, &session, "read"), "before\nafter\n");
    lab.ask("POST", "/v1/envs", json!({ "name": "again", "session_id": session })).refused(409, "CONFLICT");
    lab.ask("POST", "/v1/envs", json!({ "name": "my-project" })).refused(409, "CONFLICT");
    lab.ask("POST", "/v1/envs", json!({ "name": "x", "session_id": "ses_0" })).refused(404, "NOT_FOUND");
}

#[test]
fn a_clone_goes_its_own_way_and_deletion_ends_the_work() {
    let (lab, _server) = lab(&[("write", "echo one > note"), ("change", "echo two > note"), ("read", "cat note"), ("long", "sleep 3000")]);
    lab.ask("POST", "/v1/envs", json!({ "name": "origin" })).is(201);
    let session = lab.session(json!({ "env": "origin" }));
    do_turn(&lab, &session, "write");
    let copied = lab.ask("POST", "/v1/envs/origin/clone", json!({ "name": "copy" })).is(201);
    assert_eq!(copied["slug"], "copy");
    lab.ask("POST", "/v1/envs/origin/clone", json!({ "name": "copy" })).refused(409, "CONFLICT");
    do_turn(&lab, &session, "change");
    let of_copy = lab.session(json!({ "env": "copy" }));
    assert_eq!(do_turn(&lab, &of_copy, "read"), "one\n");
    let turn = lab.send(&session, "long");
    lab.event_where(&session, |e| e["type"] == "tool_call" && e["turn"] == turn.as_str());
    lab.ask("DELETE", "/v1/envs/origin", Value::Null).refused(409, "CONFLICT");
    lab.ask("DELETE", "/v1/envs/origin?force=true", Value::Null).is(200);
    assert_eq!(lab.result_of(&session, &turn)["status"], "cancelled");
    lab.ask("GET", "/v1/envs/origin", Value::Null).refused(404, "NOT_FOUND");
    lab.ask("POST", &format!("/v1/sessions/{session}/messages"), json!({ "text": "read" })).refused(409, "CONFLICT");
    lab.ask("POST", "/v1/envs", json!({ "name": "origin" })).is(201);
    let list = lab.ask("GET", "/v1/envs/origin/files?path=", Value::Null).is(200);
    assert_eq!(list["items"], json!([]), "an env of the same name later has nothing of the one before");
    assert_eq!(do_turn(&lab, &of_copy, "read"), "one\n", "the copy lives on");
}

#[test]
fn both_are_told_when_they_write_the_same_path() {
    // Neither begins before the other one is there, nor ends before it has written.
    let write = "touch ready-WHO; until [ -e ready-of-a ] && [ -e ready-of-b ]; do sleep 0.1; done; \
                 for n in 1 2 3 4 5 6 7 8; do echo $n > same; echo $n > WHO; sleep 0.5; done; \
                 touch over-WHO; until [ -e over-of-a ] && [ -e over-of-b ]; do sleep 0.1; done";
    let (lab, _server) = lab(&[("as a", &write.replace("WHO", "of-a")), ("as b", &write.replace("WHO", "of-b"))]);
    lab.ask("POST", "/v1/envs", json!({ "name": "shared" })).is(201);
    let (a, b) = (lab.session(json!({ "env": "shared" })), lab.session(json!({ "env": "shared" })));
    let (of_a, of_b) = (lab.send(&a, "as a"), lab.send(&b, "as b"));
    printed(&lab, &a, &of_a);
    printed(&lab, &b, &of_b);
    for (session, other) in [(&a, &b), (&b, &a)] {
        let log = lab.log(session);
        let notices: Vec<&str> = log.iter().filter(|e| e["type"] == "notice").filter_map(|e| e["text"].as_str()).collect();
        if rustix::process::geteuid().is_root() {
            let told: Vec<_> = notices.iter().filter(|n| n.contains("/home/sandbox/same") && n.contains(other.as_str())).collect();
            assert_eq!(told.len(), 1, "once, with path and session: {notices:?}");
            assert!(!notices.iter().any(|n| n.contains("of-a") || n.contains("of-b")), "{notices:?}");
        } else {
            assert!(notices.iter().any(|n| n.contains("not reported")), "{notices:?}");
        }
    }
}

#[test]
fn core_memory_reaches_a_session_that_runs() {
    let (lab, server) = lab(&[("hello", "true")]);
    lab.ask("POST", "/v1/envs", json!({ "name": "lab" })).is(201);
    let session = lab.session(json!({ "env": "lab" }));
    do_turn(&lab, &session, "hello");
    lab.ask("PATCH", "/v1/envs/lab", json!({ "core_memory": "The harbour closes at nine." })).is(200);
    let before = server.requests().len();
    do_turn(&lab, &session, "hello again");
    let asked = String::from_utf8_lossy(&server.requests()[before].body).into_owned();
    assert!(asked.contains("The harbour closes at nine."), "{asked}");
    lab.ask("PATCH", "/v1/envs/lab", json!({ "core_memory": "x".repeat(4001) })).refused(422, "USAGE");
    assert_eq!(lab.ask("GET", "/v1/envs/lab", Value::Null).is(200)["core_memory"], "The harbour closes at nine.");
}
