//! Tasks: jobs and messages at set times.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::clock::ShiftedClock;

use crate::support::{Lab, PATIENCE, Ran, comes};

/// The log of a task, once it is so.
#[track_caller]
fn log(lab: &Lab, task: &str, is_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let end = Instant::now() + PATIENCE;
    loop {
        let page = lab.ask("GET", &format!("/v1/tasks/{task}/log"), Value::Null).is(200);
        let items = page["items"].as_array().expect("items").clone();
        if is_so(&items) {
            return items;
        }
        assert!(Instant::now() < end, "{page}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn of(log: &[Value], status: &str) -> usize {
    log.iter().filter(|run| run["status"] == status).count()
}

fn add(lab: &Lab, name: &str, cron: &str, more: Value) -> Value {
    let mut form = json!({ "name": name, "cron": cron, "action": { "job": { "agent_id": "task", "prompt": "hello" } } });
    for (name, value) in more.as_object().into_iter().flatten() {
        form[name] = value.clone();
    }
    lab.ask("POST", "/v1/tasks", form).is(201)
}

#[test]
fn jobs_and_messages_are_done_when_they_are_due() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    // Every second, so that nobody waits for a minute.
    let task = add(&lab, "often", "* * * * * *", json!({ "overlap": "parallel" }));
    assert_eq!((&task["status"], &task["zone"]), (&json!("active"), &json!("UTC")));
    let log = log(&lab, "often", |log| of(log, "done") >= 2);
    let paused = lab.run(&["--json", "task", "pause", "often"]).succeeds();
    assert_eq!(serde_json::from_str::<Value>(&paused.out).expect("JSON")["status"], "paused");
    let mut due: Vec<u64> = log.iter().map(|run| run["due"].as_u64().expect("a time")).collect();
    assert!(due.iter().all(|t| t % 1000 == 0), "{due:?}");
    due.dedup();
    assert_eq!(due.len(), log.len(), "a time has one run");
    let job = log.iter().find(|run| run["status"] == "done").expect("a run")["job"].as_str().expect("a job").to_owned();
    let shown = lab.ask("GET", &format!("/v1/jobs/{job}"), Value::Null).is(200);
    assert_eq!((&shown["status"], &shown["labels"]["task"]), (&json!("completed"), &task["id"]));
    // A message makes a session each time; by hand also while it is paused.
    let said =
        lab.run(&["--json", "task", "add", "say", "--cron", "0 0 1 1 *", "--zone", "Europe/Berlin", "--message", "hello"]).succeeds();
    assert!(said.out.contains("Europe/Berlin"), "{}", said.out);
    lab.run(&["task", "pause", "say"]).succeeds();
    lab.run(&["task", "run", "say"]).succeeds();
    let runs = self::log(&lab, "say", |log| of(log, "done") == 1);
    assert!(runs[0]["session"].is_string() && runs[0]["turn"].is_string() && runs[0]["by_hand"] == true, "{runs:?}");
    let again = lab.run(&["task", "log", "say"]).succeeds();
    assert!(again.out.contains("by hand") && again.out.contains("done"), "{}", again.out);
    assert!(lab.run(&["task", "list"]).succeeds().out.contains("Europe/Berlin"));
    lab.run(&["task", "remove", "say"]).succeeds();
    lab.run(&["task", "show", "say"]).fails("NOT_FOUND", 2);
    // A gate that says no, and a place that the agent may not send to.
    let gated = ["task", "add", "gated", "--cron", "0 0 1 1 *", "--message", "hello", "--gate", "echo quiet today; exit 1"];
    lab.run(&gated).succeeds();
    lab.run(&["task", "run", "gated"]).succeeds();
    let runs = self::log(&lab, "gated", |log| of(log, "done") == 1);
    assert!(runs[0]["note"].as_str().is_some_and(|note| note.contains("quiet today")), "{runs:?}");
    lab.run(&["task", "add", "afar", "--cron", "0 0 1 1 *", "--message", "hello", "--to", "nowhere"]).fails("FORBIDDEN", 3);
}

#[test]
fn what_is_wrong_is_said_when_it_is_made() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let refused = |change: Value, field: &str| {
        let mut form = json!({ "name": "t", "cron": "0 6 * * *", "action": { "job": { "agent_id": "task", "prompt": "x" } } });
        for (name, value) in change.as_object().into_iter().flatten() {
            form[name] = value.clone();
        }
        let answer = lab.ask("POST", "/v1/tasks", form);
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert!((400..500).contains(&answer.status) && body["error"]["field"] == field, "{change}: {body}");
    };
    refused(json!({ "cron": "61 * * * *" }), "cron");
    refused(json!({ "cron": "0 0 30 2 *" }), "cron");
    refused(json!({ "zone": "Mars/Base" }), "zone");
    refused(json!({ "failures_max": 0 }), "failures_max");
    refused(json!({ "action": { "message": { "text": " " } } }), "text");
    refused(json!({ "action": { "job": { "agent_id": "task", "prompt": "x", "webhook_url": "http://127.0.0.1/" } } }), "webhook_url");
    refused(json!({ "action": { "job": { "agent_id": "a b", "prompt": "x" } } }), "agent_id");
    add(&lab, "t", "0 6 * * *", Value::Null);
    lab.ask("POST", "/v1/tasks", json!({ "name": "t", "cron": "0 6 * * *", "action": { "message": { "text": "x" } } }))
        .refused(409, "CONFLICT");
}

#[test]
fn times_that_were_missed_are_done_as_asked_when_the_clock_is_set() {
    let lab = Lab::new();
    let clock = ShiftedClock::build(lab.path("").as_path());
    let start = || {
        let mut command = lab.command(&["start", "--listen", "127.0.0.1:0"]);
        command.envs(clock.env());
        Ran::of(command, None).succeeds();
    };
    // Whatever the time is, for the daemon it is ten past the hour: no full hour comes unasked.
    let past_the_hour = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs() % 3600;
    let ten_past = 600 - i64::try_from(past_the_hour).expect("below an hour");
    clock.shift(ten_past);
    start();
    for misfire in ["skip", "once", "all"] {
        add(&lab, misfire, "0 * * * *", json!({ "misfire": misfire, "overlap": "queue" }));
    }
    let later = add(&lab, "later", "30 3 1 1 *", Value::Null);
    // The daemon is away while three full hours begin; it comes back in the middle of one, so that none has just begun.
    lab.kill_daemon();
    let away = ten_past + 3 * 3600 + 600;
    clock.shift(away);
    start();
    let all = log(&lab, "all", |log| of(log, "done") >= 3);
    assert!(of(&all, "done") <= 4, "{all:?}");
    let once = log(&lab, "once", |log| of(log, "done") >= 1);
    assert_eq!(of(&once, "skipped"), 1, "{once:?}");
    let skip = log(&lab, "skip", |log| of(log, "skipped") >= 1);
    assert!(skip[skip.len() - 1]["note"].as_str().expect("why").contains("missed"), "{skip:?}");
    // It is set ahead by an hour while the daemon looks, and back by a day: no time is done twice.
    clock.shift(away + 3600);
    let all = log(&lab, "all", |log| of(log, "done") >= 4);
    clock.shift(-20 * 3600);
    lab.run(&["task", "run", "skip"]).succeeds();
    log(&lab, "skip", |log| log.iter().any(|run| run["by_hand"] == true && run["status"] == "done"));
    assert_eq!(log(&lab, "all", |_| true).len(), all.len());
    assert!(log(&lab, "later", |_| true).is_empty());
    assert_eq!(lab.ask("GET", "/v1/tasks/later", Value::Null).is(200)["next"], later["next"]);
}

#[test]
fn what_fails_too_often_is_stopped() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    // An env that is gone when the task is due.
    lab.run(&["env", "create", "gone"]).succeeds();
    let action = json!({ "message": { "text": "hello", "env": "gone" } });
    add(&lab, "fails", "0 0 1 1 *", json!({ "action": action, "failures_max": 2 }));
    lab.run(&["env", "delete", "gone", "--yes"]);
    lab.ask("DELETE", "/v1/envs/gone", Value::Null);
    for n in 1..=2 {
        lab.run(&["task", "run", "fails"]).succeeds();
        log(&lab, "fails", |log| of(log, "failed") == n);
    }
    assert!(comes(|| lab.ask("GET", "/v1/tasks/fails", Value::Null).is(200)["status"] == "broken"));
    let task = lab.ask("GET", "/v1/tasks/fails", Value::Null).is(200);
    assert_eq!((&task["status"], &task["failures"]), (&json!("broken"), &json!(2)), "{task}");
    assert!(task["next"].is_null() && task["note"].as_str().expect("why").contains("failed 2 times"), "{task}");
    let resumed = lab.run(&["--json", "task", "resume", "fails"]).succeeds();
    assert_eq!(serde_json::from_str::<Value>(&resumed.out).expect("JSON")["status"], "active");
}
