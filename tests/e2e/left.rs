//! The files of a job's session after its turn: their checkpoint is put off, and nobody can tell.

use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::support::Lab;

/// A home with a daemon, whose agent writes what it is told to, and looks otherwise.
fn lab(settings: &[(&str, &str)]) -> (Lab, ModelServer) {
    let lab = Lab::new();
    let rule = |contains: &str, command: &str| Rule {
        contains: contains.to_owned(),
        say: vec![Say::Shell(command.to_owned()), Say::Text(format!("{contains} is done"))],
    };
    let behind = "echo one > notes; (while :; do echo more >> late; sleep 0.01; done) > /dev/null 2>&1 &";
    let rules = vec![rule("write one", behind), rule("write two", "echo two > notes"), rule("write for good", "echo good > notes")];
    let server = lab.model(Script { rules, command: "cat notes".to_owned(), ..Script::default() });
    lab.run(&["config", "set", "providers.anthropic.base_url", &server.url()]).succeeds();
    lab.run(&["config", "set", "providers.anthropic.keyless", "true"]).succeeds();
    for (key, value) in settings {
        lab.run(&["config", "set", key, value]).succeeds();
    }
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    (lab, server)
}

/// The session of a job that wrote `one`, and left something behind that goes on writing.
#[track_caller]
fn left(lab: &Lab) -> String {
    let form = json!({ "agent_id": "bot", "engine": "mini", "prompt": "write one" });
    let id = lab.ask("POST", "/v1/jobs", form).is(202)["id"].as_str().expect("an identity").to_owned();
    let end = lab.job_over(&id);
    assert_eq!(end["status"], "completed", "{end}");
    end["session"].as_str().expect("a session").to_owned()
}

/// What the tool of a further turn printed.
#[track_caller]
fn seen(lab: &Lab, session: &str) -> String {
    let turn = lab.send(session, "look");
    let result = lab.result_of(session, &turn);
    assert_eq!(result["status"], "completed", "{result}");
    let log = lab.log(session);
    let printed = log.iter().find(|e| e["turn"] == turn.as_str() && e["type"] == "tool_result").expect("the tool ran");
    printed["output"].as_str().expect("output").to_owned()
}

#[track_caller]
fn kept(lab: &Lab, session: &str) -> Vec<bool> {
    let turns = lab.ask("GET", &format!("/v1/sessions/{session}/turns"), Value::Null).is(200);
    turns["items"].as_array().expect("turns").iter().map(|turn| turn["checkpoint"] == true).collect()
}

fn each_way_back(settings: &[(&str, &str)]) {
    let (lab, _server) = lab(settings);
    let undo = |session: &str, to: u64| lab.ask("POST", &format!("/v1/sessions/{session}/undo"), json!({ "to": to })).is(200);
    // Back to the beginning, and forward again.
    let session = left(&lab);
    assert_eq!(kept(&lab, &session), [true], "there is a way back to it");
    assert_eq!(undo(&session, 0)["head"], 0);
    assert!(!seen(&lab, &session).contains("one"));
    assert_eq!(undo(&session, 1)["head"], 1);
    assert_eq!(seen(&lab, &session), "one\n");
    // A fork of it, while the session itself goes on.
    let session = left(&lab);
    let fork = lab.ask("POST", &format!("/v1/sessions/{session}/fork"), json!({})).is(201)["items"][0]["id"].clone();
    lab.turn(&session, "write two");
    assert_eq!(seen(&lab, fork.as_str().expect("an identity")), "one\n");
    // After a further turn, also over a restart.
    let session = left(&lab);
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    lab.turn(&session, "write two");
    assert_eq!((kept(&lab, &session), undo(&session, 1)["head"].clone()), (vec![true, true], json!(1)));
    assert_eq!(seen(&lab, &session), "one\n");
    // What it changed.
    let session = left(&lab);
    let diff = lab.ask("GET", &format!("/v1/sessions/{session}/diff?turn=1"), Value::Null).is(200);
    assert!(
        diff["items"].as_array().expect("changes").iter().any(|change| change["path"].as_str().is_some_and(|p| p.ends_with("notes"))),
        "{diff}"
    );
    // As an env, whose files go on without it.
    let session = left(&lab);
    lab.ask("POST", "/v1/envs", json!({ "name": "kept", "slug": "kept", "session_id": session })).is(201);
    lab.turn(&session, "write for good");
    assert_eq!(undo(&session, 1)["head"], 1);
    assert_eq!(seen(&lab, &session), "one\n");
    lab.run(&["stop", "--grace", "0s"]).succeeds();
}

#[test]
fn files_that_a_job_left_can_be_gone_back_to_in_each_way() {
    each_way_back(&[]);
}

#[test]
fn the_same_where_the_sandbox_was_made_ahead() {
    each_way_back(&[("pool.size", "1")]);
}
