//! Daemons on PostgreSQL: alone, and several on one database that is asked wherever somebody likes.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testkit::model_server::{Rule, Say, Script};
use testkit::postgres::Server;

use crate::http::PATIENCE;
use crate::support::{KEY, Lab, comes};

/// A home whose daemon keeps everything in this database.
fn lab_on(url: &str) -> Lab {
    let lab = Lab::new();
    lab.run(&["config", "set", "store.url", url]).succeeds();
    lab
}

/// Starts a daemon where one was killed. On a machine that is slow to do so a neighbour may be quicker: then that one is up.
#[track_caller]
fn up_again(lab: &Lab) {
    let is_up = || UnixStream::connect(lab.home().join("run").join(api::OWNER_SOCKET)).is_ok();
    assert!(comes(|| lab.run(&["start", "--listen", "127.0.0.1:0"]).status == 0 || is_up()), "no daemon comes up");
}

/// Starts a daemon that has the key of `first`.
fn beside(first: &Lab, url: &str) -> Lab {
    let lab = lab_on(url);
    let key = lab.home().join("master.key");
    std::fs::copy(first.home().join("master.key"), &key).expect("copy");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("chmod");
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    lab
}

fn job(lab: &Lab, n: usize) -> String {
    let form = json!({ "agent_id": format!("agent-{n}"), "prompt": format!("say {n}"), "labels": { "n": n.to_string() } });
    lab.ask("POST", "/v1/jobs", form).is(202)["id"].as_str().expect("an identity").to_owned()
}

#[test]
fn a_daemon_keeps_everything_in_postgresql() {
    let server = Server::start(true).expect("a server");
    let url = server.database().expect("a database");
    let lab = lab_on(&url);
    lab.run(&["run", "--json", "say hello"]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let session = lab.session(json!({ "labels": { "team": "red" } }));
    let result = lab.turn(&session, "say hello");
    assert_eq!(result["status"], "completed", "{result}");
    let id = job(&lab, 1);
    let done = lab.job_over(&id);
    assert_eq!(done["status"], "completed", "{done}");
    assert!(!lab.home().join("lazaret.db").exists(), "nothing is kept beside");
    let before = lab.log(&session);

    // The daemon dies, and the next one goes on with the same.
    lab.kill_daemon();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    assert_eq!(lab.log(&session), before);
    assert_eq!(lab.turn(&session, "again")["status"], "completed");
    assert_eq!(lab.ask("GET", &format!("/v1/jobs/{id}"), Value::Null).is(200)["text"], done["text"]);
    lab.run(&["stop"]).succeeds();
    lab.run(&["doctor"]);
    // A password in the address would be seen by whoever sees the configuration.
    let with = url.replace("lazaret@", "lazaret:word@");
    lab.run(&["config", "set", "store.url", &with]).succeeds();
    let refused = lab.run(&["start", "--listen", "127.0.0.1:0"]);
    assert_ne!(refused.status, 0);
    assert!(refused.err.contains("password_file"), "{}", refused.err);
    lab.run(&["config", "set", "store.url", &url]).succeeds();
}

#[test]
fn what_one_daemon_does_is_seen_and_asked_for_at_another() {
    let server = Server::start(false).expect("a server");
    let url = server.database().expect("a database");
    let first = lab_on(&url);
    first.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let second = beside(&first, &url);

    let session = first.session(json!({}));
    // A stream at the second sees what the first commits.
    let mut stream = UnixStream::connect(second.home().join("run").join(api::OWNER_SOCKET)).expect("a daemon");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let ask = format!("GET /v1/sessions/{session}/events HTTP/1.1\r\nhost: lazaret\r\naccept: text/event-stream\r\n\r\n");
    stream.write_all(ask.as_bytes()).expect("write");
    let mut lines = BufReader::new(stream).lines().map(|line| line.expect("a line"));
    assert!(lines.next().expect("a status").contains(" 200 "));
    assert_eq!(first.turn(&session, "say hello")["status"], "completed");
    assert!(lines.any(|line| line.contains("\"result\"")), "the stream at the other daemon shows the end");
    // A message at the second is worked on by the first.
    let turn = second.send(&session, "say it again");
    assert_eq!(second.result_of(&session, &turn)["status"], "completed");

    // Its daemon dies: a message that comes meanwhile is kept, and is worked on when it is back.
    first.kill_daemon();
    let turn = second.send(&session, "once more");
    up_again(&first);
    assert_eq!(second.result_of(&session, &turn)["status"], "completed");
    secrets_travel(&first, &second);
}

/// What one daemon is told of secrets counts at the other at once, and the first knows whose turns there run with the value before.
#[track_caller]
fn secrets_travel(first: &Lab, second: &Lab) {
    let (old, new) = ("the-old-value-of-the-token", "the-new-value-of-the-token");
    let show = || Say::Shell("echo \"held: $DEPLOY_TOKEN\"".to_owned());
    let rules = vec![
        Rule { contains: "show and stay".to_owned(), say: vec![show(), Say::Shell("sleep 86400".to_owned())] },
        Rule { contains: "show it".to_owned(), say: vec![show(), Say::Text("shown".to_owned())] },
    ];
    let model = second.model(Script { key: Some(KEY.to_owned()), rules, ..Script::default() });
    second.run(&["config", "set", "providers.anthropic.base_url", &model.url()]).succeeds();
    let told = |text: &str| model.requests().iter().any(|request| String::from_utf8_lossy(&request.body).contains(text));
    let status = || second.ask("GET", "/v1/status", Value::Null).is(200);
    assert_eq!(status()["providers"], json!([]), "the control: there is no key yet");
    first.run_with(&["secret", "set", "anthropic", "-"], KEY.as_bytes()).succeeds();
    assert!(comes(|| status()["providers"] == json!(["anthropic"])), "{}", status());
    first.run(&["agent", "add", "deployer"]).succeeds();
    first.run_with(&["secret", "set", "DEPLOY_TOKEN", "-", "--expose", "deployer"], old.as_bytes()).succeeds();
    assert!(comes(|| status()["exposed"][0]["agent"] == "deployer"), "{}", status());

    // The turn at the second holds the value that was set at the first.
    let session = second.session(json!({ "agent": "deployer", "engine": "mini" }));
    let turn = second.send(&session, "show and stay");
    assert!(comes(|| told(&format!("held: {old}"))), "it is there");
    second.event_where(&session, |event| event["type"] == "tool_call" && event.to_string().contains("86400"));
    // The first tells who still has it, and ends that turn where it is.
    let put = |query: &str| first.ask("PUT", &format!("/v1/secrets/DEPLOY_TOKEN{query}"), json!({ "value": new })).is(200);
    let still = json!([{ "session": session, "agent": "deployer" }]);
    for (query, restarted) in [("", false), ("?restart=true", true)] {
        let kept = put(query);
        assert_eq!((&kept["sessions"], &kept["restarted"]), (&still, &json!(restarted)), "{kept:#}");
    }
    assert_eq!(second.result_of(&session, &turn)["status"], "cancelled");
    // The first turn that follows is told, with its text, what became of the tool that was cut off.
    for text in ["go on", "show it"] {
        assert_eq!(second.turn(&session, text)["status"], "completed");
    }
    assert!(told(&format!("held: {new}")), "the next turn has the new one");
    let log = json!(second.log(&session)).to_string();
    assert!(!log.contains(old) && !log.contains(new), "neither is logged: {log}");
    // What is taken away is gone there too.
    first.run(&["secret", "remove", "anthropic"]).succeeds();
    assert!(comes(|| status()["providers"] == json!([])), "{}", status());
}

/// Three daemons, one of which dies every moment: each job ends well and once.
#[test]
fn jobs_survive_daemons_that_die() {
    const JOBS: usize = 24;
    let server = Server::start(false).expect("a server");
    let url = server.database().expect("a database");
    let first = lab_on(&url);
    first.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let labs = [beside(&first, &url), beside(&first, &url), first];
    let mut jobs = Vec::new();
    for n in 0..JOBS {
        jobs.push(job(&labs[n % 3], n));
        if n % 4 == 3 {
            let dying = &labs[(n / 4) % 3];
            dying.kill_daemon();
            up_again(dying);
        }
    }
    for (n, id) in jobs.iter().enumerate() {
        // Asked at another one than it was given to.
        let at = &labs[(n + 1) % 3];
        let done = at.job_over(id);
        assert_eq!(done["status"], "completed", "{done}");
        let session = done["session"].as_str().expect("a session").to_owned();
        let results = at.log(&session).into_iter().filter(|e| e["type"] == "result").count();
        assert_eq!(results, 1, "done once");
    }
    assert_eq!(jobs.iter().collect::<HashSet<_>>().len(), JOBS);
    // A try that was given up is ended beside the one that took its place, and may end after it.
    let mut sessions = Value::Null;
    let is_over = |session: &Value| matches!(session["state"].as_str(), Some("idle" | "archived"));
    let none_is_stuck = comes(|| {
        sessions = labs[0].ask("GET", "/v1/sessions?limit=200", Value::Null).is(200)["items"].clone();
        sessions.as_array().expect("sessions").iter().all(is_over)
    });
    assert!(none_is_stuck, "something is stuck: {sessions:#}");
}

/// What is too long for a row is a file of one home, and yet every daemon has it: a job's files where it is worked on, and what it
/// left where it is asked for, also when the daemon that kept it is gone.
#[test]
fn what_jobs_bring_and_leave_is_had_at_every_daemon() {
    let server = Server::start(false).expect("a server");
    let url = server.database().expect("a database");
    let first = lab_on(&url);
    first.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let second = beside(&first, &url);
    // More than one piece, and nothing that two pieces have in common.
    let long: Vec<u8> = (0_u32..700_000).flat_map(u32::to_le_bytes).collect();
    let form = json!({
        "agent_id": "carrier", "prompt": "say it", "artifacts": ["*.bin"], "delay_s": 2,
        "files": [{ "path": "long.bin", "data": STANDARD.encode(&long) }],
    });
    let id = first.ask("POST", "/v1/jobs", form).is(202)["id"].as_str().expect("an identity").to_owned();
    first.kill_daemon();
    let done = second.job_over(&id);
    assert_eq!(done["status"], "completed", "{done}");
    assert_eq!(done["artifacts"], json!([{ "path": "long.bin", "bytes": long.len() }]));
    // Only the second worked on it. It goes, and with it every file of its home; the first still has what was left.
    second.kill_daemon();
    std::fs::remove_dir_all(second.home().join("blobs")).expect("remove");
    std::fs::remove_dir_all(first.home().join("blobs")).expect("remove");
    up_again(&first);
    let got = first.ask("GET", &format!("/v1/jobs/{id}/artifacts/long.bin"), Value::Null);
    assert_eq!((got.status, got.body.len()), (200, long.len()));
    assert!(got.body == long, "the same bytes");
    assert_eq!(first.ask("GET", &format!("/v1/jobs/{id}"), Value::Null).is(200)["text"], done["text"]);
    // Whatever the killed one left goes with its next start.
    up_again(&second);
}

/// A daemon is killed and nobody on its machine starts it again but its neighbour: the sandbox in which a turn runs is taken up, and
/// the turn ends as if nothing had been.
#[test]
fn a_killed_daemon_is_started_again_by_its_neighbour() {
    let server = Server::start(false).expect("a server");
    let url = server.database().expect("a database");
    let first = lab_on(&url);
    let replies =
        vec![Say::Shell("until [ -e /workspace/go ]; do sleep 0.05; done; echo went".to_owned()), Say::Text("over the gap".to_owned())];
    let model = first.model(Script { key: Some(KEY.to_owned()), replies, ..Script::default() });
    first.connect("anthropic", &model);
    first.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let second = beside(&first, &url);
    let session = first.session(json!({ "engine": "mini", "model": "claude-sonnet-4-5" }));
    let turn = first.send(&session, "wait");
    first.event_where(&session, |e| e["type"] == "tool_call");
    first.kill_daemon();
    // The second tells what is in the log; the file can only be put where the sandbox is.
    assert!(second.log(&session).iter().all(|e| e["type"] != "result"));
    let began = Instant::now();
    while UnixStream::connect(first.home().join("run").join(api::OWNER_SOCKET)).is_err() {
        assert!(began.elapsed() < PATIENCE, "nobody starts it");
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(0);
    tar.append_data(&mut header, "go", std::io::empty()).expect("a file");
    let tar = tar.into_inner().expect("an archive");
    let path = format!("/v1/sessions/{session}/files?path=/workspace");
    let put = first.ask_with("PUT", &path, &[("content-type", "application/x-tar")], &tar);
    assert!((200..300).contains(&put.status), "{put:?}");
    let result = second.result_of(&session, &turn);
    assert_eq!((&result["status"], &result["text"]), (&"completed".into(), &"over the gap".into()), "{result}");
    assert_eq!(model.requests().iter().filter(|r| r.target.contains("/messages")).count(), 2, "no call was made twice");
}

/// A machine goes away with everything on it: what was to be tried again is worked on elsewhere, what was not has failed and says
/// why. Whoever is asked to stop a job stops it where it runs.
#[test]
fn jobs_of_a_machine_that_is_gone_go_elsewhere_or_say_so() {
    let server = Server::start(false).expect("a server");
    let url = server.database().expect("a database");
    let first = lab_on(&url);
    let rules = vec![Rule { contains: "stay".to_owned(), say: vec![Say::Shell("sleep 100000".to_owned())] }];
    let model = first.model(Script { key: Some(KEY.to_owned()), rules, ..Script::default() });
    first.connect("anthropic", &model);
    first.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let another = || {
        let lab = lab_on(&url);
        // Longer than any machine lets a daemon wait for its next sign of life, and no longer than a test can wait.
        lab.run(&["config", "set", "store.lost_after", "20s"]).succeeds();
        std::fs::copy(first.home().join("master.key"), lab.home().join("master.key")).expect("copy");
        std::fs::set_permissions(lab.home().join("master.key"), PermissionsExt::from_mode(0o600)).expect("chmod");
        lab.connect("anthropic", &model);
        lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
        lab
    };
    let show = |lab: &Lab, id: &str| lab.ask("GET", &format!("/v1/jobs/{id}"), Value::Null).is(200);
    let until = |about: &str, is_so: &dyn Fn() -> bool| {
        let end = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < end, "{about}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let ask = |retries: u32| {
        let form = json!({ "agent_id": "a", "prompt": "stay", "engine": "mini", "model": "claude-sonnet-4-5", "retries": retries });
        let id = first.ask("POST", "/v1/jobs", form).is(202)["id"].as_str().expect("an identity").to_owned();
        until("it does not begin", &|| show(&first, &id)["session"].is_string());
        let session = show(&first, &id)["session"].as_str().expect("a session").to_owned();
        first.event_where(&session, |e| e["type"] == "tool_call");
        (id, session)
    };
    let ((once, _), (again, old)) = (ask(0), ask(1));
    let second = another();
    // As if it had been on another machine, where nobody can start it again.
    let name = url.rsplit('/').next().and_then(|name| name.split('?').next()).expect("a name");
    let home = first.home().display().to_string();
    let sql = format!("WITH gone AS (UPDATE replicas SET host = 'elsewhere' WHERE home = '{home}' RETURNING 1) SELECT count(*) FROM gone");
    assert_eq!(server.psql(name, &sql).expect("psql").trim(), "1");
    first.kill_daemon();
    until("a lost job does not end", &|| show(&second, &once)["status"] == "failed");
    let end = show(&second, &once);
    assert_eq!((&end["code"], &end["tries"]), (&json!("HOST_LOST"), &json!(1)), "{end}");
    until("a lost job is not tried again", &|| {
        let job = show(&second, &again);
        job["tries"] == 2 && job["session"].as_str().is_some_and(|session| session != old)
    });
    let session = show(&second, &again)["session"].as_str().expect("a session").to_owned();
    second.event_where(&session, |e| e["type"] == "tool_call");

    let third = another();
    let stopped = third.ask("POST", &format!("/v1/jobs/{again}/cancel"), Value::Null).is(200);
    assert_eq!(stopped["status"], "cancelled", "{stopped}");
    let sandboxes = |lab: &Lab| lab.ask("GET", "/v1/sandboxes", Value::Null).is(200)["items"].as_array().map_or(0, Vec::len);
    until("what was stopped elsewhere runs on", &|| sandboxes(&second) == 0);

    // The machine comes back: nothing goes on there, and nothing of what was told changes.
    up_again(&first);
    until("the lost machine works on", &|| sandboxes(&first) == 0);
    assert_eq!((&show(&first, &once)["code"], &show(&first, &again)["status"]), (&json!("HOST_LOST"), &json!("cancelled")));
}
