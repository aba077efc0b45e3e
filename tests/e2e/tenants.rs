//! Organisations: what each may have, who is in it, and what its tokens may do.

use std::io::Read;

use serde_json::{Value, json};

use crate::support::Lab;
use crate::web::{Web, begun};

/// A token of this scope and tenant, made with another one.
#[track_caller]
fn made_with(web: &Web, token: &str, form: Value) -> (String, String) {
    let made = web.ask(token, "POST", "/v1/tokens", form).is(201);
    (made["token"].as_str().expect("text").to_owned(), made["id"].as_str().expect("text").to_owned())
}

#[test]
fn a_quota_ends_what_a_tenant_may_have_and_nobody_elses() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    lab.run(&["tenant", "add", "crew", "--title", "The crew", "--sessions", "1", "--tokens", "2"]).succeeds();
    let (crew, _) = web.token("write", Some("crew"));
    let (other, _) = web.token("write", Some("other"));
    let first = web.ask(&crew, "POST", "/v1/sessions", json!({})).is(201)["id"].as_str().expect("an identity").to_owned();
    let refused = web.ask(&crew, "POST", "/v1/sessions", json!({})).refused(429, "QUOTA_EXCEEDED");
    assert!(refused["error"]["message"].as_str().is_some_and(|m| m.contains("sessions")), "{refused}");
    web.ask(&other, "POST", "/v1/sessions", json!({})).is(201);
    web.ask(&other, "POST", "/v1/sessions", json!({})).is(201);
    // What is archived does not count; more is allowed as soon as it is.
    web.ask(&crew, "POST", &format!("/v1/sessions/{first}/archive"), json!({})).is(200);
    web.ask(&crew, "POST", "/v1/sessions", json!({})).is(201);
    web.ask(&crew, "POST", "/v1/sessions", json!({})).refused(429, "QUOTA_EXCEEDED");
    lab.run(&["tenant", "quota", "crew", "--sessions", "5"]).succeeds();
    web.ask(&crew, "POST", "/v1/sessions", json!({})).is(201);
    let shown = lab.run(&["tenant", "show", "crew", "--json"]).succeeds().events();
    assert_eq!(shown[0]["quota"], json!({ "sessions": 5, "tokens": 2 }));
    web.token("read", Some("crew"));
    let full = web.ask(&web.owner, "POST", "/v1/tokens", json!({ "name": "x", "scope": "read", "tenant": "crew" }));
    full.refused(429, "QUOTA_EXCEEDED");
}

#[test]
fn a_suspended_tenant_opens_nothing_until_it_is_let_on() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    let (crew, _) = web.token("write", Some("crew"));
    let session = web.ask(&crew, "POST", "/v1/sessions", json!({})).is(201)["id"].as_str().expect("an identity").to_owned();
    let sse = "accept: text/event-stream\r\n";
    let mut stream = begun(web.begin(&crew, "GET", &format!("/v1/sessions/{session}/events"), sse, b""));
    lab.run(&["tenant", "suspend", "crew"]).succeeds();
    // Nothing happens in the session: the stream ends because of the tenant alone.
    let mut seen = String::new();
    stream.read_to_string(&mut seen).expect("an end");
    assert!(!seen.contains("data:"), "{seen}");
    web.ask(&crew, "GET", "/v1/sessions", Value::Null).refused(401, "UNAUTHORIZED");
    lab.run(&["tenant", "resume", "crew"]).succeeds();
    assert_eq!(web.ask(&crew, "GET", &format!("/v1/sessions/{session}"), Value::Null).is(200)["state"], "idle");
    lab.run(&["tenant", "remove", "crew"]).fails("CONFLICT", 1);
    lab.run(&["session", "delete", &session]).succeeds();
    lab.run(&["tenant", "remove", "crew"]).succeeds();
    web.ask(&crew, "GET", "/v1/sessions", Value::Null).refused(401, "UNAUTHORIZED");
    lab.run(&["tenant", "remove", "default"]).fails("CONFLICT", 1);
}

#[test]
fn a_silent_stream_ends_with_its_token_at_once() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    let session = lab.session(json!({}));
    let path = format!("/v1/sessions/{session}/events");
    let seen = || {
        let (token, id) = web.token("read", None);
        let mut stream = begun(web.begin(&token, "GET", &path, "accept: text/event-stream\r\n", b""));
        web.ask(&web.owner, "DELETE", &format!("/v1/tokens/{id}"), Value::Null).is(200);
        let mut seen = String::new();
        stream.read_to_string(&mut seen).expect("an end");
        seen
    };
    // On a machine that stands still a sign of life may be due before the token is ended; one that waits for it shows it each time.
    assert!((0..10).any(|_| !seen().contains("alive")), "it did not wait for its next sign of life");
}

#[test]
fn nobody_gives_more_than_they_have() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    let (chief, _) = web.token("manage", Some("crew"));
    let (other, other_id) = web.token("write", Some("other"));
    // Of its own tenant, whether it says so or not.
    let (worker, id) = made_with(&web, &chief, json!({ "name": "w", "scope": "jobs:write sessions:read" }));
    web.ask(&chief, "POST", "/v1/tokens", json!({ "name": "x", "scope": "read", "tenant": "other" })).refused(403, "FORBIDDEN");
    web.ask(&chief, "POST", "/v1/tokens", json!({ "name": "x", "scope": "admin" })).refused(422, "USAGE");
    web.ask(&web.owner, "POST", "/v1/tokens", json!({ "name": "x", "scope": "admin", "tenant": "crew" })).refused(422, "USAGE");
    for bad in ["root", "jobs:all", "", "jobs:write,sessions:read"] {
        web.ask(&chief, "POST", "/v1/tokens", json!({ "name": "x", "scope": bad })).refused(422, "USAGE");
    }
    // Narrow rights hold where they say, and nowhere else.
    web.ask(&worker, "GET", "/v1/sessions", Value::Null).is(200);
    web.ask(&worker, "POST", "/v1/sessions", json!({})).refused(403, "FORBIDDEN");
    web.ask(&worker, "GET", "/v1/envs", Value::Null).refused(403, "FORBIDDEN");
    web.ask(&worker, "POST", "/v1/tokens", json!({ "name": "x", "scope": "jobs:read" })).refused(403, "FORBIDDEN");
    let narrow = made_with(&web, &chief, json!({ "name": "n", "scope": "tokens:manage" })).0;
    web.ask(&narrow, "POST", "/v1/tokens", json!({ "name": "x", "scope": "jobs:read" })).refused(403, "FORBIDDEN");
    // Another tenant's token is none.
    let seen = web.ask(&chief, "GET", "/v1/tokens", Value::Null).is(200);
    assert!(seen["items"].as_array().expect("items").iter().all(|t| t["tenant"] == "crew"), "{seen}");
    web.ask(&chief, "DELETE", &format!("/v1/tokens/{other_id}"), Value::Null).refused(404, "NOT_FOUND");
    web.ask(&chief, "DELETE", &format!("/v1/tokens/{id}"), Value::Null).is(200);
    web.ask(&worker, "GET", "/v1/sessions", Value::Null).refused(401, "UNAUTHORIZED");
    web.ask(&other, "GET", "/v1/sessions", Value::Null).is(200);
    // What was done is in the audit, with who did it.
    let audit = lab.run(&["audit", "query", "--limit", "500", "--json"]).succeeds().out;
    assert!(audit.contains("token.make") && audit.contains("token.revoke") && !audit.contains(&worker), "{audit}");
}

#[test]
fn people_are_looked_after_by_those_above_them() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    lab.run(&["tenant", "add", "crew"]).succeeds();
    lab.run(&["user", "add", "boss@example.com", "--role", "owner", "--tenant", "crew"]).succeeds();
    let (chief, _) = web.token("manage", Some("crew"));
    let made = web.ask(&chief, "PUT", "/v1/users", json!({ "email": "Anna@Example.com", "role": "member" })).is(200);
    assert_eq!((&made["tenant"], &made["email"]), (&json!("crew"), &json!("anna@example.com")));
    for form in [json!({ "email": "b@example.com", "role": "owner" }), json!({ "email": "boss@example.com", "role": "viewer" })] {
        web.ask(&chief, "PUT", "/v1/users", form).refused(403, "FORBIDDEN");
    }
    web.ask(&chief, "PUT", "/v1/users", json!({ "email": "c@example.com", "role": "member", "tenant": "other" })).refused(404, "NOT_FOUND");
    web.ask(&chief, "PUT", "/v1/users", json!({ "email": "nobody", "role": "member" })).refused(422, "USAGE");
    let people = lab.run(&["user", "list", "--tenant", "crew", "--json"]).succeeds().events();
    assert_eq!(people.len(), 2);
    let boss = people.iter().find(|p| p["role"] == "owner").expect("the owner")["id"].as_str().expect("an identity").to_owned();
    web.ask(&chief, "DELETE", &format!("/v1/users/{boss}"), Value::Null).refused(403, "FORBIDDEN");
    let id = made["id"].as_str().expect("an identity");
    web.ask(&chief, "DELETE", &format!("/v1/users/{id}"), Value::Null).is(200);
    web.ask(&chief, "DELETE", &format!("/v1/users/{id}"), Value::Null).refused(404, "NOT_FOUND");
    let (other, _) = web.token("manage", Some("other"));
    assert_eq!(web.ask(&other, "GET", "/v1/users", Value::Null).is(200)["items"], json!([]));
    web.ask(&other, "DELETE", &format!("/v1/users/{boss}"), Value::Null).refused(404, "NOT_FOUND");
    web.ask(&other, "GET", "/v1/tenants/crew", Value::Null).refused(404, "NOT_FOUND");
    assert_eq!(web.ask(&other, "GET", "/v1/tenants", Value::Null).is(200)["items"][0]["name"], "other");
    lab.run(&["user", "remove", "boss@example.com", "--tenant", "crew"]).succeeds();
}
