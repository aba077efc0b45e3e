//! Sandboxes that are made ahead: used once, never stale, and the same as those that are made when they are needed.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::http::PATIENCE;
use crate::support::{KEY, Lab, comes};
use crate::web::Web;

/// What a program inside can see of where it is, but for names that no two sandboxes share.
const LOOK: &str = "id; pwd; env | sort; cat /proc/self/limits; \
    awk '{print $5, $6}' /proc/self/mountinfo | sort; find /home /workspace /tmp -printf '%p %y %m %u %g %s\\n' | sed 's/mini_[0-9a-f]*/mini/' | sort; \
    ls -a /run/lazaret";
/// Leaves something everywhere where it may, and says what it found there first.
const TOUCH: &str = "cat /tmp/mark /home/sandbox/mark /workspace/mark /dev/shm/mark 2>/dev/null; \
    echo mine | tee /tmp/mark /home/sandbox/mark /workspace/mark /dev/shm/mark >/dev/null; (sleep 1000 &) ; ps -e 2>/dev/null | grep -c sleep; echo over";

impl Lab {
    /// A home whose jobs run `command`, and which keeps so many sandboxes.
    fn with_pool(command: &str, size: usize) -> (Lab, ModelServer) {
        let lab = Lab::new();
        let rules = vec![Rule { contains: "go".to_owned(), say: vec![Say::Shell(command.to_owned()), Say::Text("it is over".to_owned())] }];
        let server = lab.model(Script { key: Some(KEY.to_owned()), rules, ..Script::default() });
        lab.connect("anthropic", &server);
        lab.run(&["config", "set", "pool.size", &size.to_string()]).succeeds();
        lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
        (lab, server)
    }

    /// The API as tokens reach it.
    fn page(&self) -> Web {
        let status = self.ask("GET", "/v1/status", Value::Null).is(200);
        let owner = std::fs::read_to_string(self.home().join("token")).expect("a token").trim().to_owned();
        Web { address: status["listen"].as_str().expect("an address").trim_start_matches("http://").to_owned(), owner }
    }

    fn pool(&self) -> Value {
        self.ask("GET", "/v1/pool", Value::Null).is(200)
    }

    /// Waits until the pool stands so.
    #[track_caller]
    fn pool_is(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let pool = self.pool();
            if wanted(&pool) {
                return pool;
            }
            assert!(began.elapsed() < PATIENCE, "the pool stands otherwise: {pool}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until so many are ready and none is being made.
    #[track_caller]
    fn pool_has(&self, n: u64) -> Value {
        self.pool_is(|pool| pool["ready"] == n && pool["booting"] == 0)
    }

    #[track_caller]
    fn goes(&self, more: Value) -> String {
        let mut form = json!({ "agent_id": "a", "prompt": "go", "engine": "mini" });
        form.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        self.ask("POST", "/v1/jobs", form).is(202)["id"].as_str().expect("an identity").to_owned()
    }

    #[track_caller]
    fn done(&self, id: &str) -> Value {
        let end = self.job_over(id);
        assert_eq!(end["status"], "completed", "{end}");
        end
    }

    /// The level, and what the tool printed, of a job that is over.
    #[track_caller]
    fn seen(&self, job: &Value) -> (Value, String) {
        let log = self.log(job["session"].as_str().expect("a session"));
        let of = |kind: &str| log.iter().find(|event| event["type"] == kind).cloned().unwrap_or_default();
        (of("start")["level"].clone(), of("tool_result")["output"].as_str().unwrap_or_default().to_owned())
    }

    fn members(&self) -> Vec<i32> {
        let all = self.ask("GET", "/v1/sandboxes", Value::Null).is(200);
        let items = all["items"].as_array().cloned().unwrap_or_default();
        let ahead = items.iter().filter(|s| s["label"].as_str().is_some_and(|label| label.starts_with("pool:")));
        ahead.filter_map(|s| i32::try_from(s["pid"].as_i64()?).ok()).collect()
    }
}

/// A level without the host user, which no two sandboxes share.
fn without_user(level: &Value) -> Value {
    let mut level = level.clone();
    if let Some(lines) = level["lines"].as_array_mut() {
        lines.retain(|line| line["name"] != "uid");
    }
    level
}

/// A job that gets a sandbox which was made ahead sees what it would see in a new one, to the last mount, limit and file, whatever
/// it asks for besides; what a sandbox cannot be given later, it does not get by half.
#[test]
fn what_is_ready_is_what_would_be_made() {
    let forms = [
        json!({}),
        json!({ "timeout_s": 77 }),
        json!({ "variables": { "COLOUR": "blue" } }),
        json!({ "system_prompt": "Be brief.", "files": [{ "path": "a.txt", "data": "YQ==" }] }),
        json!({ "limits": { "memory_bytes": 300 << 20, "cpu_millis": 500, "pids": 50, "disk_bytes": 100 << 20, "time": { "secs": 60, "nanos": 0 } } }),
    ];
    let (cold, _cold_server) = Lab::with_pool(LOOK, 0);
    let (warm, _warm_server) = Lab::with_pool(LOOK, 1);
    let mut claimed = 0;
    for form in forms {
        warm.pool_has(1);
        let there = [&cold, &warm].map(|lab| lab.seen(&lab.done(&lab.goes(form.clone()))));
        assert_eq!(without_user(&there[0].0), without_user(&there[1].0), "{form}");
        assert_eq!(there[0].1, there[1].1, "{form}");
        assert!(there[1].1.contains("/workspace"), "{}", there[1].1);
        // Other limits cannot be given to a sandbox that stands.
        claimed += u64::from(form["limits"].is_null());
        assert_eq!(warm.pool()["claimed"], claimed, "{form}");
    }
    assert_eq!(warm.pool()["missed"], 1);
    let metrics = String::from_utf8(warm.ask("GET", "/metrics", Value::Null).body).expect("text");
    assert!(metrics.contains(&format!("lazaret_pool_claimed_total {claimed}\n")) && metrics.contains("\ntower_pool_ready "), "{metrics}");
}

/// One with a vault shows it, and not another directory that has come to its place.
#[test]
fn the_vault_is_the_one_that_is_there_now() {
    let (lab, _server) = Lab::with_pool("cat Vault/note; cat /home/sandbox/Vault/note", 0);
    let vault = lab.path("notes");
    let fill = |text: &str| {
        std::fs::create_dir(&vault).expect("make");
        std::fs::write(vault.join("note"), text).expect("write");
    };
    fill("the first");
    lab.run(&["config", "set", "vault", &vault.display().to_string()]).succeeds();
    // What its plugin tells agents is seen in every sandbox from then on: one that is made before is another.
    lab.plugin_is_ready("files");
    lab.run(&["config", "set", "pool.size", "1"]).succeeds();
    lab.ask("POST", "/v1/reload", Value::Null).is(200);
    lab.pool_has(1);
    let (_, seen) = lab.seen(&lab.done(&lab.goes(json!({}))));
    assert!(seen.contains("the first"), "{seen}");
    assert_eq!(lab.pool()["claimed"], 1);
    lab.pool_has(1);
    std::fs::rename(&vault, lab.path("old")).expect("rename");
    fill("the second");
    let (_, seen) = lab.seen(&lab.done(&lab.goes(json!({}))));
    assert!(seen.contains("the second") && !seen.contains("the first"), "{seen}");
}

/// What is kept with the owner's vault is for jobs of the owner's tenant; others' are made without it.
#[test]
fn the_vault_is_in_no_sandbox_of_another_tenant() {
    let (lab, _server) = Lab::with_pool("cat ~/Vault/note; echo looked", 0);
    std::fs::create_dir(lab.path("notes")).expect("make");
    std::fs::write(lab.path("notes/note"), "the owner's note\n").expect("write");
    lab.run(&["config", "set", "vault", &lab.path("notes").display().to_string()]).succeeds();
    // What its plugin tells agents is seen in every sandbox from then on: one that is made before is another.
    lab.plugin_is_ready("files");
    lab.run(&["config", "set", "pool.size", "1"]).succeeds();
    lab.ask("POST", "/v1/reload", Value::Null).is(200);
    lab.pool_has(1);
    let web = lab.page();
    let (crew, _) = web.token("write", Some("crew"));
    let job = web.ask(&crew, "POST", "/v1/jobs", json!({ "agent_id": "a", "prompt": "go", "engine": "mini" })).is(202);
    let (_, theirs) = lab.seen(&lab.done(job["id"].as_str().expect("an identity")));
    assert!(theirs.contains("looked") && !theirs.contains("the owner's note"), "{theirs}");
    assert_eq!(lab.pool()["claimed"], 0);
    let (_, own) = lab.seen(&lab.done(&lab.goes(json!({}))));
    assert!(own.contains("the owner's note"), "{own}");
    assert_eq!(lab.pool()["claimed"], 1);
}

/// One that shows what an agent has for itself is for that agent's jobs alone.
#[test]
fn none_with_the_tools_of_one_agent_is_given_to_another() {
    let (lab, _server) = Lab::with_pool("own-tool 2>/dev/null || echo none", 1);
    lab.ask_with("PUT", "/v1/tools/files/own-tool?agent=default", &[], b"#!/bin/sh\necho its own\n").is(201);
    lab.run(&["agent", "add", "other"]).succeeds();
    lab.pool_has(1);
    let (_, seen) = lab.seen(&lab.done(&lab.goes(json!({ "agent": "other" }))));
    assert!(seen.contains("none") && !seen.contains("its own"), "{seen}");
    assert_eq!(lab.pool()["claimed"], 0);
    lab.pool_has(1);
    let (_, seen) = lab.seen(&lab.done(&lab.goes(json!({}))));
    assert!(seen.contains("its own"), "{seen}");
    assert_eq!(lab.pool()["claimed"], 1);
}

/// Each is used by one job, which leaves nothing to any other, however many want one at once.
#[test]
fn each_is_used_once() {
    let (lab, _server) = Lab::with_pool(TOUCH, 3);
    lab.pool_has(3);
    let jobs: Vec<String> = (0..12).map(|_| lab.goes(json!({}))).collect();
    let mut sessions: Vec<String> = Vec::new();
    for id in &jobs {
        let end = lab.done(id);
        let (_, seen) = lab.seen(&end);
        assert!(seen.contains("over") && !seen.contains("mine"), "{seen}");
        sessions.push(end["session"].as_str().expect("a session").to_owned());
    }
    sessions.sort();
    sessions.dedup();
    assert_eq!(sessions.len(), jobs.len());
    let pool = lab.pool_is(|pool| pool["ready"] == 3 && pool["booting"] == 0);
    let number = |key: &str| pool[key].as_u64().expect("a number");
    assert_eq!(number("claimed") + number("missed"), 12, "{pool}");
    assert!(number("claimed") >= 3, "{pool}");
    // What a job left is its session's own, as ever.
    let files = lab.run(&["session", "ls", &sessions[0], "/workspace"]);
    assert!(files.status != 0 || files.out.contains("mark"), "{}", files.out);
}

/// Who dies before it is used is replaced; nobody gets it.
#[test]
fn a_dead_one_is_replaced_at_once() {
    let (lab, _server) = Lab::with_pool(TOUCH, 1);
    lab.pool_has(1);
    let dead = lab.members();
    assert_eq!(dead.len(), 1);
    kill_process(Pid::from_raw(dead[0]).expect("a process"), Signal::KILL).expect("kill");
    lab.pool_is(|_| lab.members().iter().any(|pid| !dead.contains(pid)));
    lab.pool_has(1);
    lab.done(&lab.goes(json!({})));
    assert_eq!((&lab.pool()["claimed"], &lab.pool()["missed"]), (&json!(1), &json!(0)));
}

/// A profile that changes changes what is ready for it, before the next job of it.
#[test]
fn a_change_of_the_profile_or_the_configuration_makes_them_stale() {
    let (lab, _server) = Lab::with_pool("echo here", 0);
    let profile = |memory: &str, size: usize| {
        let text = format!("[agent]\nid = \"small\"\n[resources]\nmemory = \"{memory}\"\n[pool]\nsize = {size}\n");
        lab.run_with(&["profile", "set", "small", "-"], text.as_bytes()).succeeds();
    };
    profile("256m", 1);
    let before = lab.pool_has(1);
    assert_eq!((&before["profiles"][0]["profile"], &before["profiles"][0]["target"]), (&json!("small"), &json!(1)), "{before}");
    let old = lab.members();
    profile("300m", 1);
    // Whoever asks before the old one is gone must not get it.
    let end = lab.done(&lab.goes(json!({ "profile": "small" })));
    assert!(lab.seen(&end).0.to_string().contains("300 MiB"), "{end}");
    lab.pool_has(1);
    assert!(comes(|| lab.members().iter().all(|pid| !old.contains(pid))), "the old one is still there");
    let end = lab.done(&lab.goes(json!({ "profile": "small" })));
    assert!(lab.seen(&end).0.to_string().contains("300 MiB"), "{end}");
    profile("300m", 0);
    lab.pool_has(0);
    lab.run(&["config", "set", "pool.size", "2"]).succeeds();
    lab.ask("POST", "/v1/reload", Value::Null).is(200);
    let pool = lab.pool_has(2);
    assert_eq!(pool["profiles"][0]["profile"], "default", "{pool}");
    let status = lab.run(&["status"]).succeeds();
    assert!(status.out.contains("ready for jobs of default: 2 of 2 sandboxes"), "{}", status.out);
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    lab.assert_nothing_left();
}

/// A daemon that a command started for itself keeps none, and what a killed one left ready is not used by the next.
#[test]
fn none_without_a_daemon_that_stays_and_none_of_an_earlier_one() {
    let (lab, _server) = Lab::with_pool(TOUCH, 2);
    lab.pool_has(2);
    let old = lab.members();
    lab.kill_daemon();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    lab.pool_has(2);
    assert!(comes(|| lab.members().iter().all(|pid| !old.contains(pid))), "one of an earlier daemon is still there");
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    // Started for this alone.
    lab.run(&["sandbox", "list"]).succeeds();
    let pool = lab.pool();
    assert_eq!((&pool["ready"], &pool["booting"], &pool["profiles"]), (&json!(0), &json!(0), &json!([])), "{pool}");
}

/// What a tenant's profile keeps is that tenant's alone, within what one tenant may have; what the owner's keeps is for everybody.
#[test]
fn what_is_kept_for_a_tenant_is_given_to_no_other() {
    let (lab, _server) = Lab::with_pool(TOUCH, 0);
    let web = lab.page();
    for tenant in ["red", "blue"] {
        lab.run(&["tenant", "add", tenant]).succeeds();
    }
    let [(red, _), (blue, _)] = ["red", "blue"].map(|tenant| web.token("write", Some(tenant)));
    let content = "[agent]\nid = \"small\"\n[resources]\nmemory = \"256m\"\n[pool]\nsize = 9\n";
    let make = |token: &str| web.ask(token, "POST", "/v1/profiles", json!({ "name": "small", "content": content })).is(201);
    make(&red);
    // Nine are asked for, and two are what one tenant may have.
    let all = lab.pool_has(2);
    assert_eq!(
        all["profiles"],
        json!([{ "tenant": "red", "profile": "small", "target": 2, "ready": 2, "booting": 0, "trouble": null }]),
        "{all}"
    );
    let shown = |token: &str| web.ask(token, "GET", "/v1/pool", Value::Null).is(200);
    assert_eq!((&shown(&red)["ready"], &shown(&blue)["ready"], &shown(&blue)["profiles"]), (&json!(2), &json!(0), &json!([])));

    // Another tenant's job of the very same shape gets none of them.
    make(&blue);
    lab.pool_has(4);
    web.ask(&blue, "PUT", "/v1/profiles/small", json!({ "content": content.replace("size = 9", "size = 0") })).is(200);
    lab.pool_has(2);
    let go = |token: &str| {
        let form = json!({ "agent_id": "a", "prompt": "go", "engine": "mini", "profile": "small" });
        let id = web.ask(token, "POST", "/v1/jobs", form).is(202)["id"].as_str().expect("an identity").to_owned();
        let end = lab.done(&id);
        assert!(lab.seen(&end).1.contains("over"), "{end}");
    };
    go(&blue);
    assert_eq!((&lab.pool()["claimed"], &shown(&red)["ready"]), (&json!(0), &json!(2)));
    // Its own does.
    go(&red);
    assert_eq!((&shown(&red)["claimed"], &shown(&blue)["claimed"], &lab.pool()["claimed"]), (&json!(1), &json!(0), &json!(1)));
    // The owner's profile keeps for everybody whose job is of that shape.
    lab.run_with(&["profile", "set", "small", "-"], content.replace("size = 9", "size = 1").as_bytes()).succeeds();
    lab.pool_is(|pool| pool["profiles"].as_array().is_some_and(|all| all.iter().any(|p| p["tenant"] == "default" && p["ready"] == 1)));
    go(&blue);
    assert_eq!((&shown(&blue)["claimed"], &lab.pool()["claimed"]), (&json!(1), &json!(2)));
    let metrics = String::from_utf8(lab.ask("GET", "/metrics", Value::Null).body).expect("text");
    assert!(metrics.contains("lazaret_pool_claimed_total 2\n"), "{metrics}");
    // A tenant that may not work has none.
    lab.run(&["tenant", "suspend", "red"]).succeeds();
    lab.pool_is(|pool| pool["profiles"].as_array().is_some_and(|all| all.iter().all(|p| p["tenant"] != "red")));
}
