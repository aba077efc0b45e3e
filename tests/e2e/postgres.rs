//! Daemons on PostgreSQL: alone, and several on one database that is asked wherever somebody likes.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use testkit::postgres::Server;

use crate::http::PATIENCE;
use crate::support::Lab;

/// A home whose daemon keeps everything in this database.
fn lab_on(url: &str) -> Lab {
    let lab = Lab::new();
    lab.run(&["config", "set", "store.url", url]).succeeds();
    lab.run(&["config", "set", "store.lost_after", "10s"]).succeeds();
    lab
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
    let done = lab.ask("GET", &format!("/v1/jobs/{id}/wait?timeout_s={}", PATIENCE.as_secs()), Value::Null).is(200);
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
    first.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    assert_eq!(second.result_of(&session, &turn)["status"], "completed");
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
            dying.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
        }
    }
    for (n, id) in jobs.iter().enumerate() {
        // Asked at another one than it was given to.
        let at = &labs[(n + 1) % 3];
        let done = at.ask("GET", &format!("/v1/jobs/{id}/wait?timeout_s={}", PATIENCE.as_secs() - 5), Value::Null).is(200);
        assert_eq!(done["status"], "completed", "{done}");
        let session = done["session"].as_str().expect("a session").to_owned();
        let results = at.log(&session).into_iter().filter(|e| e["type"] == "result").count();
        assert_eq!(results, 1, "done once");
    }
    assert_eq!(jobs.iter().collect::<HashSet<_>>().len(), JOBS);
    for session in labs[0].ask("GET", "/v1/sessions?limit=200", Value::Null).is(200)["items"].as_array().expect("sessions") {
        let state = session["state"].as_str().unwrap_or_default();
        assert!(matches!(state, "idle" | "archived"), "nothing is stuck: {session}");
    }
}
