//! Every turn can be taken back, gone forward to again, and gone on from in several ways at once.

use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::support::{Lab, of_type};

/// A home with a daemon, whose agent does what it is told: `do CMD` runs CMD and repeats what it printed.
fn lab() -> (Lab, ModelServer) {
    let lab = Lab::new();
    let rule = |contains: &str, command: &str| Rule {
        contains: contains.to_owned(),
        say: vec![Say::Shell(command.to_owned()), Say::Text(format!("{contains} is done"))],
    };
    let rules = vec![
        rule("write one", "echo one > notes && mkdir -p dir && echo x > dir/a"),
        rule("write two", "echo two > notes && rm -r dir && echo new > other"),
        rule("write three", "echo three > notes"),
        rule("take long", "sleep 3000"),
        rule("which process", "cut -d' ' -f22 /proc/$PPID/stat"),
    ];
    let server = lab.model(Script { rules, command: "cat notes; ls".to_owned(), ..Script::default() });
    lab.run(&["config", "set", "providers.anthropic.base_url", &server.url()]).succeeds();
    lab.run(&["config", "set", "providers.anthropic.keyless", "true"]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    (lab, server)
}

/// What the tool of a turn printed.
#[track_caller]
fn printed(lab: &Lab, session: &str, text: &str) -> String {
    let turn = lab.send(session, text);
    let result = lab.result_of(session, &turn);
    assert_eq!(result["status"], "completed", "{result}");
    let log = lab.log(session);
    let of_turn: Vec<Value> = log.into_iter().filter(|e| e["turn"] == turn.as_str()).collect();
    of_type(&of_turn, "tool_result")[0]["output"].as_str().expect("output").to_owned()
}

#[track_caller]
fn undo(lab: &Lab, session: &str, form: Value) -> Value {
    lab.ask("POST", &format!("/v1/sessions/{session}/undo"), form).is(200)
}

#[test]
fn a_turn_is_taken_back_and_gone_forward_to_again() {
    let (lab, server) = lab();
    let session = lab.session(json!({}));
    lab.turn(&session, "write one");
    lab.turn(&session, "write two");
    assert_eq!(printed(&lab, &session, "look"), "two\nnotes\nother\n");
    // The look is taken back, then the second turn too.
    assert_eq!(undo(&lab, &session, json!({}))["head"], 2);
    assert_eq!(undo(&lab, &session, json!({}))["head"], 1);
    let before = server.requests().len();
    assert_eq!(printed(&lab, &session, "look again"), "one\ndir\nnotes\n");
    // The engine's own transcript went back with the files: the model sees what it was told first, and no more.
    let asked = String::from_utf8_lossy(&server.requests()[before].body).into_owned();
    assert!(asked.contains("write one") && !asked.contains("write two"), "{asked}");
    // Nothing was deleted: forward again, to a turn that was undone.
    assert_eq!(undo(&lab, &session, json!({ "to": 2 }))["head"], 2);
    assert_eq!(printed(&lab, &session, "look once more"), "two\nnotes\nother\n");
    let turns = lab.ask("GET", &format!("/v1/sessions/{session}/turns"), Value::Null).is(200);
    let chain: Vec<(u64, u64, bool)> = turns["items"]
        .as_array()
        .expect("turns")
        .iter()
        .map(|t| (t["n"].as_u64().expect("n"), t["parent"].as_u64().expect("parent"), t["in_history"] == true))
        .collect();
    assert_eq!(chain, [(1, 0, true), (2, 1, true), (3, 2, false), (4, 1, false), (5, 2, true)]);
    // To the very beginning.
    assert_eq!(undo(&lab, &session, json!({ "to": 0 }))["head"], 0);
    let seen = printed(&lab, &session, "look at nothing");
    assert!(!seen.contains("notes\n") || seen.contains("No such file"), "{seen}");
    let numbers: Vec<u64> = lab.log(&session).iter().filter_map(|e| e["seq"].as_u64()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

#[test]
fn undo_is_refused_where_it_makes_no_sense() {
    let (lab, _server) = lab();
    let session = lab.session(json!({}));
    lab.ask("POST", &format!("/v1/sessions/{session}/undo"), json!({})).refused(404, "CHECKPOINT_MISSING");
    lab.turn(&session, "write one");
    lab.ask("POST", &format!("/v1/sessions/{session}/undo"), json!({ "to": 7 })).refused(404, "CHECKPOINT_MISSING");
    let turn = lab.send(&session, "take long");
    lab.state_is(&session, "running");
    lab.ask("POST", &format!("/v1/sessions/{session}/undo"), json!({})).refused(409, "CONFLICT");
    lab.ask("POST", &format!("/v1/sessions/{session}/cancel"), json!({})).is(200);
    assert_eq!(lab.result_of(&session, &turn)["status"], "cancelled");
    // Also a turn that was cancelled can be taken back.
    lab.state_is(&session, "idle");
    assert_eq!(undo(&lab, &session, json!({}))["head"], 1);
}

#[test]
fn forks_go_their_own_ways() {
    let (lab, _server) = lab();
    let session = lab.session(json!({ "title": "mother" }));
    lab.turn(&session, "write one");
    lab.turn(&session, "write two");
    let path = format!("/v1/sessions/{session}/fork");
    let forks = lab.ask("POST", &path, json!({ "at": 1, "n": 4, "text": "write three" })).is(201);
    let forks: Vec<String> = forks["items"].as_array().expect("forks").iter().map(|f| f["id"].as_str().expect("id").to_owned()).collect();
    assert_eq!(forks.len(), 4);
    for fork in &forks {
        lab.state_is(fork, "idle");
        assert_eq!(printed(&lab, fork, "look"), "three\ndir\nnotes\n");
        let view = lab.ask("GET", &format!("/v1/sessions/{fork}"), Value::Null).is(200);
        assert_eq!(view["parent"], json!({ "session": session, "turn": 1 }));
    }
    assert_eq!(printed(&lab, &session, "look"), "two\nnotes\nother\n", "the mother is as she was");
    // A fork goes back to where it began, and lives when the mother is gone.
    assert_eq!(undo(&lab, &forks[0], json!({ "to": 0 }))["head"], 0);
    lab.ask("DELETE", &format!("/v1/sessions/{session}"), Value::Null).is(200);
    assert_eq!(printed(&lab, &forks[0], "look"), "one\ndir\nnotes\n");
    lab.ask("POST", &format!("/v1/sessions/{}/fork", forks[1]), json!({ "n": 17 })).refused(422, "USAGE");
}

#[test]
fn what_a_turn_changed_is_shown() {
    let (lab, _server) = lab();
    let session = lab.session(json!({}));
    lab.turn(&session, "write one");
    lab.turn(&session, "write two");
    let diff = lab.ask("GET", &format!("/v1/sessions/{session}/diff?turn=2"), Value::Null).is(200);
    let mut changes: Vec<(String, String)> = diff["items"]
        .as_array()
        .expect("changes")
        .iter()
        .map(|c| (c["path"].as_str().expect("path").to_owned(), c["change"].as_str().expect("change").to_owned()))
        .filter(|(path, _)| !path.starts_with("/home/sandbox/."))
        .collect();
    changes.sort();
    let expected = [
        ("/home/sandbox/dir", "removed"),
        ("/home/sandbox/dir/a", "removed"),
        ("/home/sandbox/notes", "changed"),
        ("/home/sandbox/other", "added"),
    ];
    let expected: Vec<(String, String)> = expected.iter().map(|(p, c)| ((*p).to_owned(), (*c).to_owned())).collect();
    assert!(changes.iter().filter(|c| !c.0.ends_with("/dir/a")).eq(expected.iter().filter(|c| !c.0.ends_with("/dir/a"))), "{changes:?}");
}

#[test]
fn a_session_lives_through_a_restart_of_the_daemon_and_its_sandbox() {
    let (lab, server) = lab();
    let session = lab.session(json!({}));
    lab.turn(&session, "write one");
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let before = server.requests().len();
    assert_eq!(printed(&lab, &session, "look"), "one\ndir\nnotes\n");
    let asked = String::from_utf8_lossy(&server.requests()[before].body).into_owned();
    assert!(asked.contains("write one"), "the transcript was resumed: {asked}");
    assert_eq!(undo(&lab, &session, json!({ "to": 1 }))["head"], 1);
}

#[test]
fn a_second_turn_finds_the_same_engine() {
    let (lab, _server) = lab();
    // However long the machine takes from one turn to the next.
    for key in ["sandbox.idle", "sessions.engine_idle"] {
        lab.run(&["config", "set", key, "1h"]).succeeds();
    }
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let session = lab.session(json!({}));
    let first = printed(&lab, &session, "which process");
    assert!(first.trim().parse::<u64>().is_ok(), "{first}");
    // The engine was resumed by nobody: one process took both, and its events are those of the second turn alone.
    assert_eq!(printed(&lab, &session, "again, which process"), first);
    let starts = lab.log(&session).iter().filter(|e| e["type"] == "start").count();
    assert_eq!(starts, 2);
}

/// A home whose agent asks a person.
fn asking() -> (Lab, ModelServer) {
    let lab = Lab::new();
    let input = json!({ "question": "Which colour?", "options": ["red", "blue"] });
    let ask = Say::Tool { name: "ask_user".to_owned(), input };
    let rules = vec![Rule { contains: "paint".to_owned(), say: vec![ask, Say::Text("painted".to_owned())] }];
    let server = lab.model(Script { rules, ..Script::default() });
    lab.run(&["config", "set", "providers.anthropic.base_url", &server.url()]).succeeds();
    lab.run(&["config", "set", "providers.anthropic.keyless", "true"]).succeeds();
    (lab, server)
}

#[test]
fn a_question_waits_for_its_answer() {
    let (lab, server) = asking();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let session = lab.session(json!({}));
    let turn = lab.send(&session, "paint it");
    lab.state_is(&session, "waiting");
    let view = lab.ask("GET", &format!("/v1/sessions/{session}"), Value::Null).is(200);
    assert_eq!(view["questions"][0]["text"], "Which colour?");
    let answer = format!("/v1/sessions/{session}/answer");
    lab.ask("POST", &answer, json!({ "text": "green" })).refused(422, "USAGE");
    lab.ask("POST", &answer, json!({ "text": "blue" })).is(200);
    assert_eq!(lab.result_of(&session, &turn)["text"], "painted");
    lab.ask("POST", &answer, json!({ "text": "blue" })).refused(404, "NOT_FOUND");
    let told = server.requests().iter().any(|r| String::from_utf8_lossy(&r.body).contains("blue"));
    assert!(told, "the model heard the answer");
}

#[test]
fn a_question_outlives_a_killed_daemon() {
    let (lab, _server) = asking();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let session = lab.session(json!({}));
    let turn = lab.send(&session, "paint it");
    lab.state_is(&session, "waiting");
    lab.kill_daemon();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    lab.state_is(&session, "waiting");
    lab.ask("POST", &format!("/v1/sessions/{session}/answer"), json!({ "text": "red" })).is(200);
    assert_eq!(lab.result_of(&session, &turn)["text"], "painted");
    let log = lab.log(&session);
    assert_eq!(of_type(&log, "question").len(), 1, "asked once: {log:#?}");
    assert_eq!(of_type(&log, "result").len(), 1);
}

/// A stop in order neither waits for the person nor gives the turn up.
#[test]
fn a_question_outlives_a_stopped_daemon() {
    let (lab, _server) = asking();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let session = lab.session(json!({}));
    let turn = lab.send(&session, "paint it");
    lab.state_is(&session, "waiting");
    lab.run(&["stop", "--grace", "1h"]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    lab.state_is(&session, "waiting");
    lab.ask("POST", &format!("/v1/sessions/{session}/answer"), json!({ "text": "red" })).is(200);
    assert_eq!(lab.result_of(&session, &turn)["text"], "painted");
    assert_eq!(of_type(&lab.log(&session), "question").len(), 1, "asked once");
}

#[test]
fn an_archived_session_takes_no_turns_and_keeps_its_files() {
    let (lab, _server) = lab();
    let session = lab.session(json!({ "labels": { "team": "a" } }));
    lab.turn(&session, "write one");
    let path = format!("/v1/sessions/{session}");
    assert_eq!(lab.ask("POST", &format!("{path}/archive"), json!({})).is(200)["state"], "archived");
    lab.ask("POST", &format!("{path}/messages"), json!({ "text": "write two" })).refused(409, "CONFLICT");
    assert_eq!(lab.ask("GET", "/v1/sessions", Value::Null).is(200)["items"], json!([]));
    let found = lab.ask("GET", "/v1/sessions?archived=true&label=team=a", Value::Null).is(200);
    assert_eq!(found["items"][0]["id"], session.as_str());
    lab.ask("POST", &format!("{path}/unarchive"), json!({})).is(200);
    assert_eq!(printed(&lab, &session, "look"), "one\ndir\nnotes\n");
}
