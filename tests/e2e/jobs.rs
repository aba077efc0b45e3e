//! Jobs as they run: in their order, once, whatever happens to the daemon, with what they bring and what they leave.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::http::PATIENCE;
use crate::support::{Deaf, KEY, Lab};

/// What runs until somebody ends it.
const FOR_EVER: &str = "sleep 100000";

/// A home whose model answers by these rules, and a daemon with these settings.
fn lab(rules: &[(&str, Vec<Say>)], settings: &[(&str, &str)]) -> (Lab, ModelServer) {
    let lab = Lab::new();
    let rules = rules.iter().map(|(contains, say)| Rule { contains: (*contains).to_owned(), say: say.clone() }).collect();
    let server = lab.model(Script { key: Some(KEY.to_owned()), rules, ..Script::default() });
    lab.connect("anthropic", &server);
    for (key, value) in settings {
        lab.run(&["config", "set", key, value]).succeeds();
    }
    up(&lab);
    (lab, server)
}

fn up(lab: &Lab) {
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
}

fn shell(command: &str) -> Vec<Say> {
    vec![Say::Shell(command.to_owned()), Say::Text("it is over".to_owned())]
}

#[track_caller]
fn job(lab: &Lab, agent_id: &str, prompt: &str, more: Value) -> String {
    let mut form = json!({ "agent_id": agent_id, "prompt": prompt, "engine": "mini" });
    form.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    lab.ask("POST", "/v1/jobs", form).is(202)["id"].as_str().expect("an identity").to_owned()
}

#[track_caller]
fn show(lab: &Lab, id: &str) -> Value {
    lab.ask("GET", &format!("/v1/jobs/{id}"), Value::Null).is(200)
}

#[track_caller]
fn over(lab: &Lab, id: &str) -> Value {
    lab.job_over(id)
}

/// Waits until a job's engine runs a tool.
#[track_caller]
fn at_work(lab: &Lab, id: &str) -> Value {
    let began = Instant::now();
    loop {
        let shown = show(lab, id);
        let events = lab.ask("GET", &format!("/v1/jobs/{id}/events?limit=1000"), Value::Null).is(200);
        if events["events"].as_array().is_some_and(|events| events.iter().any(|e| e["type"] == "tool_call")) {
            // Looked at once more: what was shown before its events may be from before there was a session.
            return show(lab, id);
        }
        assert!(began.elapsed() < PATIENCE && shown["finished"].is_null(), "it does not work: {shown}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_order_is_that_of_priority_then_of_who_waited_longest() {
    let (lab, _server) = lab(&[("block", shell(FOR_EVER))], &[("jobs.running_max", "1")]);
    let block = job(&lab, "first", "block", json!({}));
    at_work(&lab, &block);
    let low = job(&lab, "one", "go", json!({ "priority": 1 }));
    let one = [job(&lab, "one", "go", json!({})), job(&lab, "one", "go", json!({}))];
    let two = job(&lab, "two", "go", json!({}));
    let high = job(&lab, "one", "go", json!({ "priority": 9 }));
    lab.ask("POST", &format!("/v1/jobs/{block}/cancel"), Value::Null).is(200);
    let order = [&high, &two, &one[0], &one[1], &low];
    let ends: Vec<Value> = order.iter().map(|id| over(&lab, id)).collect();
    let started: Vec<u64> = ends.iter().map(|end| end["started"].as_u64().expect("a time")).collect();
    assert!(started.is_sorted(), "{started:?}");
    assert!(ends.iter().all(|end| end["status"] == "completed"), "{ends:#?}");
}

#[test]
fn a_job_is_stopped_wherever_it_stands() {
    let (lab, _server) = lab(&[("block", shell(FOR_EVER))], &[("jobs.running_max", "1")]);
    let works = job(&lab, "a", "block", json!({}));
    let waits = job(&lab, "a", "block", json!({}));
    let session = at_work(&lab, &works)["session"].as_str().expect("a session").to_owned();
    for id in [&waits, &works] {
        let stopped = lab.ask("POST", &format!("/v1/jobs/{id}/cancel"), Value::Null).is(200);
        assert_eq!((&stopped["status"], &stopped["exit_code"], &stopped["code"]), (&json!("cancelled"), &json!(130), &json!("CANCELLED")));
        lab.ask("POST", &format!("/v1/jobs/{id}/cancel"), Value::Null).refused(409, "CONFLICT");
    }
    let began = Instant::now();
    // Its turn is ended as well, and its sandbox goes.
    while lab.ask("GET", &format!("/v1/sessions/{session}"), Value::Null).is(200)["state"] != "idle" {
        assert!(began.elapsed() < PATIENCE, "the turn of a stopped job goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
    let next = job(&lab, "a", "go", json!({}));
    assert_eq!(over(&lab, &next)["status"], "completed");
    assert_eq!(show(&lab, &works)["status"], "cancelled");
}

#[test]
fn a_job_has_its_time() {
    let (lab, _server) = lab(&[("block", shell(FOR_EVER))], &[]);
    let end = over(&lab, &job(&lab, "a", "block", json!({ "timeout_s": 1 })));
    assert_eq!(
        (&end["status"], &end["code"], &end["exit_code"], &end["tries"]),
        (&json!("failed"), &json!("TIMEOUT"), &json!(1), &json!(1))
    );
}

#[test]
fn what_is_nobodys_fault_is_tried_again() {
    let (lab, _server) = lab(&[], &[]);
    let gone = Deaf::new();
    lab.run(&["config", "set", "providers.anthropic.base_url", &gone.url()]).succeeds();
    let end = over(&lab, &job(&lab, "a", "go", json!({ "retries": 1 })));
    assert_eq!((&end["status"], &end["tries"]), (&json!("failed"), &json!(2)), "{end}");
    assert_eq!(end["code"], "PROVIDER_DOWN", "{end}");
    let end = over(&lab, &job(&lab, "a", "go", json!({ "retries": 0 })));
    assert_eq!(end["tries"], 1, "{end}");
}

#[test]
fn a_dry_run_says_what_would_be_started_and_starts_nothing() {
    let (lab, server) = lab(&[], &[]);
    let end = over(&lab, &job(&lab, "a", "go", json!({ "dry_run": true })));
    assert_eq!((&end["status"], &end["session"], &end["cost_usd"]), (&json!("completed"), &Value::Null, &json!(0.0)), "{end}");
    assert!(end["result"].as_str().is_some_and(|line| line.contains("mini") && !line.contains("go")), "{end}");
    drop(server);
}

#[test]
fn a_result_fits_its_schema_or_the_job_has_failed() {
    let rules = [("does not fit the schema", vec![Say::Text("{\"n\": 3}".to_owned())]), ("count", vec![Say::Text("three".to_owned())])];
    let (lab, _server) = lab(&rules, &[]);
    let schema = |kind: &str| json!({ "type": "object", "properties": { "n": { "type": kind } }, "required": ["n"] });
    let end = over(&lab, &job(&lab, "a", "count", json!({ "output_schema": schema("integer") })));
    assert_eq!((&end["status"], &end["result"]), (&json!("completed"), &json!({ "n": 3 })), "{end}");
    let end = over(&lab, &job(&lab, "a", "count", json!({ "output_schema": schema("string") })));
    assert_eq!((&end["status"], &end["code"]), (&json!("failed"), &json!("OUTPUT_INVALID")), "{end}");
    assert_eq!(end["text"], "{\"n\": 3}", "{end}");
}

#[test]
fn results_are_whole_or_the_job_has_failed() {
    let long = "x".repeat(40_000);
    let rules = [("long", vec![Say::Text(long.clone())])];
    let (lab, _server) = lab(&rules, &[("jobs.result_max", "32k")]);
    let end = over(&lab, &job(&lab, "a", "long", json!({})));
    assert_eq!((&end["status"], &end["code"]), (&json!("failed"), &json!("RESULT_TOO_LARGE")), "{end}");
    assert!(end["error"].as_str().is_some_and(|error| error.contains("40000")), "{end}");
    lab.run(&["config", "set", "jobs.result_max", "1m"]).succeeds();
    let end = over(&lab, &job(&lab, "a", "long", json!({})));
    assert_eq!(end["result"], long.as_str());
    // Every event, a line each.
    let end = over(&lab, &job(&lab, "a", "go", json!({ "output_format": "stream-json" })));
    let lines: Vec<Value> = end["output"].as_str().expect("lines").lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!((&lines[0]["type"], &lines[lines.len() - 1]["type"]), (&json!("start"), &json!("result")));
}

#[test]
fn a_repository_is_cloned_inside() {
    let read = "cat hello.txt; git log --oneline | wc -l; git status --porcelain | wc -l";
    let (lab, _server) = lab(&[("read", shell(read))], &[]);
    let repo = lab.path("project");
    let git = |args: &[&str]| {
        let done = Command::new("git").arg("-C").arg(&repo).args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(args).output();
        assert!(done.expect("git").status.success(), "git {args:?}");
    };
    std::fs::create_dir(&repo).expect("make");
    git(&["init", "--quiet", "--initial-branch", "main"]);
    std::fs::write(repo.join("hello.txt"), "from main\n").expect("write");
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "one"]);
    git(&["checkout", "--quiet", "-b", "side"]);
    std::fs::write(repo.join("hello.txt"), "from side\n").expect("write");
    git(&["commit", "--quiet", "-am", "two"]);
    let path = repo.to_str().expect("utf-8").to_owned();
    let form = json!({ "agent_id": "a", "prompt": "read", "repo": path });
    lab.ask("POST", "/v1/jobs", form).refused(403, "FORBIDDEN");
    lab.run(&["config", "set", "jobs.repos", &format!("[\"{}\"]", lab.path("").display())]).succeeds();
    let printed = |more: Value| {
        let id = job(&lab, "a", "read", more);
        let end = over(&lab, &id);
        assert_eq!(end["status"], "completed", "{end}");
        let events = lab.ask("GET", &format!("/v1/jobs/{id}/events?limit=1000"), Value::Null).is(200);
        let found = events["events"].as_array().expect("events").iter().find(|e| e["type"] == "tool_result").cloned();
        found.expect("a tool")["output"].as_str().expect("a text").to_owned()
    };
    for (reference, expect) in [("main", "from main\n1\n0"), ("side", "from side\n2\n0")] {
        let said = printed(json!({ "repo": path, "ref": reference }));
        assert!(said.contains(expect), "{reference}: {said}");
    }
    let end = over(&lab, &job(&lab, "a", "read", json!({ "repo": path, "ref": "nowhere", "retries": 0 })));
    assert_eq!(end["status"], "failed", "{end}");
}

#[test]
fn a_job_outlives_its_daemon() {
    let (lab, _server) = lab(&[("slow", shell("sleep 3; echo through"))], &[]);
    let id = job(&lab, "a", "slow", json!({}));
    at_work(&lab, &id);
    lab.kill_daemon();
    up(&lab);
    let end = over(&lab, &id);
    assert_eq!((&end["status"], &end["tries"], &end["text"]), (&json!("completed"), &json!(1), &json!("it is over")), "{end}");
}

#[test]
fn a_job_that_the_daemons_end_cut_short_begins_again() {
    let (lab, _server) = lab(&[("block", shell(FOR_EVER))], &[]);
    let id = job(&lab, "a", "block", json!({ "retries": 0 }));
    let first = at_work(&lab, &id);
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    up(&lab);
    let began = Instant::now();
    while show(&lab, &id)["tries"] != 2 {
        assert!(began.elapsed() < PATIENCE, "it does not begin again: {}", show(&lab, &id));
        std::thread::sleep(Duration::from_millis(20));
    }
    let again = at_work(&lab, &id);
    assert_ne!(again["session"], first["session"]);
    lab.ask("POST", &format!("/v1/jobs/{id}/cancel"), Value::Null).is(200);
}
