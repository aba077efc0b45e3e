//! Tokens of the HTTP API: who may do what, and whose things are seen.

use std::io::{BufRead, Read};
use std::time::Instant;

use serde_json::{Value, json};

use crate::http::PATIENCE;
use crate::support::Lab;
use crate::web::{Web, begun, routes};

/// A session that there is not.
const NOBODYS: &str = "ses_00000000000000000000000000000000";

/// A path with its names filled in.
fn filled(path: &str, id: &str, slug: &str) -> String {
    let id = if path.starts_with("/v1/tokens") { "tok_00000000000000000000000000000000" } else { id };
    path.replace("{id}", id).replace("{slug}", slug).replace("{name}", "nothing").replace("{turn}", "1")
}

/// What a route takes at least: a query, and a body.
fn least(method: &str, path: &str) -> (&'static str, Value) {
    let query = if path.ends_with("/diff/{turn}") || path.contains("/files") { "?path=x" } else { "" };
    let body = match (method, path.rsplit('/').next().unwrap_or("")) {
        (_, "messages") => json!({ "text": "x" }),
        (_, "inject") if path.starts_with("/api") => json!({ "message": "x" }),
        (_, "inject") => json!({ "text": "x" }),
        (_, "answer") if path.starts_with("/api") => {
            json!({ "request_id": "qst_00000000000000000000000000000000", "answers": "x" })
        }
        (_, "answer") => json!({ "text": "x" }),
        (_, "resume") => json!({ "mounts": [] }),
        (_, "clone") => json!({ "name": "x" }),
        _ => json!({}),
    };
    (query, if method == "GET" { Value::Null } else { body })
}

/// Every route of the document without a token, with wrong ones, and with ones that may too little.
#[test]
fn every_route_wants_a_token_that_may_use_it() {
    let lab = Lab::new();
    // Every route is tried with many a wrong token, faster than an address may.
    lab.run(&["config", "set", "rate.unknown", "1000000"]).succeeds();
    let web = Web::start(&lab);
    let short = json!({ "name": "short", "scope": "admin", "expires_s": 1 });
    let expired = web.ask(&web.owner, "POST", "/v1/tokens", short).is(201)["token"].as_str().expect("a token").to_owned();
    let (revoked, id) = web.token("admin", None);
    assert_eq!(web.ask(&revoked, "GET", "/v1/tokens", Value::Null).status, 200);
    web.ask(&web.owner, "DELETE", &format!("/v1/tokens/{id}"), Value::Null).is(200);
    let began = Instant::now();
    while web.ask(&expired, "GET", "/v1/status", Value::Null).status != 401 {
        assert!(began.elapsed() < PATIENCE, "a token outlives its time");
    }
    let wrong = [String::new(), "lzt_wrong".to_owned(), format!("{}0", web.owner), expired, revoked];
    let (reader, _) = web.token("read", None);
    let (writer, _) = web.token("write", None);
    let (tenant, _) = web.token("write", Some("team-a"));

    let all = routes(&web.document());
    assert!(all.len() > 80, "{}", all.len());
    for (method, path, operation) in all {
        let filled = filled(&path, NOBODYS, "nothing");
        let ask = |token: &str| web.ask(token, &method, &filled, Value::Null);
        if operation["security"] == json!([]) {
            assert_ne!(ask("").status, 403, "{method} {path} is open");
            continue;
        }
        for token in &wrong {
            let answer = ask(token);
            assert_eq!(answer.status, 401, "{method} {path} with {token:?}");
            assert!(answer.head.to_lowercase().contains("x-request-id: req_"), "{}", answer.head);
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(body.contains("UNAUTHORIZED"), "{method} {path}: {body}");
        }
        let scope = operation["x-scope"].as_str().expect("a scope");
        if scope != "read" {
            assert_eq!(ask(&reader).status, 403, "{method} {path} with a token that reads");
        }
        if scope == "admin" || scope == "manage" {
            assert_eq!(ask(&writer).status, 403, "{method} {path} with a token that writes");
        }
        if operation["x-no-tenant"] == true {
            assert_eq!(ask(&tenant).status, 403, "{method} {path} with a tenant's token");
        }
    }
    // The walls do not stand against everybody.
    assert_eq!(web.ask(&reader, "GET", "/v1/sessions", Value::Null).status, 200);
    assert_eq!(web.ask(&writer, "POST", "/v1/sessions", json!({})).status, 201);
    assert_eq!(web.ask(&reader, "GET", "/v1/nowhere", Value::Null).status, 404);
    assert_eq!(web.ask("", "GET", "/v1/nowhere", Value::Null).status, 401);
    assert_eq!(web.ask("", "PUT", "/v1/sessions", Value::Null).status, 401);
    let log = std::fs::read_to_string(lab.home().join("logs/daemon.log")).expect("a log");
    assert!(!log.contains("lzt_"), "the log holds no token");
}

/// What belongs to one tenant does not exist for another, whichever route names it.
#[test]
fn what_is_another_tenants_does_not_exist() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    let (ours, _) = web.token("write", Some("team-a"));
    let (theirs, _) = web.token("write", Some("team-b"));
    let session = web.ask(&ours, "POST", "/v1/sessions", json!({})).is(201)["id"].as_str().expect("an identity").to_owned();
    web.ask(&ours, "POST", "/v1/envs", json!({ "name": "Lab", "slug": "lab" })).is(201);

    let mut tried = 0;
    for (method, path, _) in routes(&web.document()) {
        let is_ours = ["/v1/sessions/{id}", "/api/chat/{id}", "/v1/envs/{slug}", "/api/containers/{slug}"];
        if !is_ours.iter().any(|prefix| path.starts_with(prefix)) {
            continue;
        }
        let (query, body) = least(&method, &path);
        let ask = |id: &str, slug: &str| {
            let answer = web.ask(&theirs, &method, &format!("{}{query}", filled(&path, id, slug)), body.clone());
            let text = String::from_utf8_lossy(&answer.body).replace(id, "ID").replace(slug, "SLUG");
            // Each request has an identity of its own.
            (answer.status, text.split("\"request_id\"").next().unwrap_or("").to_owned())
        };
        let named = ask(&session, "lab");
        assert_eq!(named.0, 404, "{method} {path}: {}", named.1);
        assert_eq!(named, ask(NOBODYS, "bal"), "{method} {path} tells what there is");
        tried += 1;
    }
    assert!(tried > 45, "{tried}");

    for (path, field) in [("/v1/sessions", "items"), ("/v1/envs", "items"), ("/api/chat", "sessions"), ("/api/containers", "containers")] {
        let seen = web.ask(&theirs, "GET", path, Value::Null).is(200);
        assert_eq!(seen[field], json!([]), "{path}");
        let seen = web.ask(&ours, "GET", path, Value::Null).is(200);
        assert_eq!(seen[field].as_array().map(Vec::len), Some(1), "{path}");
        assert_eq!(web.ask(&web.owner, "GET", path, Value::Null).is(200)[field].as_array().map(Vec::len), Some(1), "{path}");
    }
    web.ask(&theirs, "POST", "/v1/sessions", json!({ "env": "lab" })).refused(404, "NOT_FOUND");
    web.ask(&theirs, "POST", "/v1/envs", json!({ "name": "x", "session_id": session })).refused(404, "NOT_FOUND");
    assert_eq!(web.ask(&theirs, "POST", "/api/chat", json!({ "message": "x", "container_id": "lab" })).status, 404);
    // A field of the request makes nobody somebody else.
    for field in ["tenant", "scope", "role", "is_owner"] {
        let refused = web.ask(&theirs, "POST", "/v1/sessions", json!({ field: "team-a" })).refused(422, "USAGE");
        assert_eq!(refused["error"]["field"], field);
    }
    // All this changed nothing.
    assert_eq!(web.ask(&ours, "GET", &format!("/v1/sessions/{session}"), Value::Null).is(200)["state"], "idle");
    assert_eq!(web.ask(&ours, "GET", "/v1/envs/lab", Value::Null).is(200)["name"], "Lab");
}

/// A stream that is open ends before the next event when its token is ended.
#[test]
fn a_stream_ends_with_its_token() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    let session = lab.session(json!({}));
    let path = format!("/v1/sessions/{session}/events");
    let (token, id) = web.token("read", None);
    let (other, _) = web.token("read", None);
    let sse = "accept: text/event-stream\r\n";
    let mut ended = begun(web.begin(&token, "GET", &path, sse, b""));
    let mut goes_on = begun(web.begin(&other, "GET", &path, sse, b""));
    lab.run(&["token", "revoke", &id]).succeeds();
    lab.turn(&session, "say something");
    let mut seen = String::new();
    ended.read_to_string(&mut seen).expect("an end");
    assert!(!seen.contains("data:"), "{seen}");
    // Signs of life may come before the first event.
    let mut line = String::new();
    while !line.starts_with("id: ") {
        line.clear();
        assert!(goes_on.read_line(&mut line).expect("events") > 0, "it ended as well");
    }
}

/// What only programs of this machine may name is refused from elsewhere.
#[test]
fn places_of_this_machine_are_not_named_over_tcp() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    for (form, field) in [
        (json!({ "image": { "tree": "/etc" } }), "image"),
        (json!({ "ticket": "x" }), "ticket"),
        (json!({ "opened": [{ "host": "/etc", "target": "/workspace", "read_only": false }] }), "opened"),
    ] {
        let refused = web.ask(&web.owner, "POST", "/v1/sessions", form).refused(403, "FORBIDDEN");
        assert_eq!(refused["error"]["field"], field);
    }
    let mount = json!({ "mounts": [{ "host": "/etc", "name": "etc" }] });
    assert_eq!(web.ask(&web.owner, "POST", "/v1/sessions", mount).status, 403, "no root allows it");
    assert_eq!(web.ask(&web.owner, "GET", "/v1/sessions", Value::Null).is(200)["items"], json!([]));
}
