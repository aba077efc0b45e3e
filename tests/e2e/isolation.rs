//! The walls between tenants: every route of the document, with every kind of token that must not get through it.

use std::collections::BTreeSet;
use std::io::Read;
use std::time::Instant;

use serde_json::{Value, json};

use crate::http::PATIENCE;
use crate::support::Lab;
use crate::web::{Web, begun, routes};

/// Routes that answer without a token: the short list of what tells nothing.
const OPEN: &[&str] = &[
    // What a hub asks before anybody logged in: who this is, and whether it is there.
    "GET /.well-known/parachute.json", "GET /api/discovery", "GET /api/health", "GET /", "GET /docs", "GET /docs/docs.js", "GET /health",
    "GET /openapi.json", "GET /ready", "GET /ui", "GET /ui/{file}", "GET /ui/{folder}/{file}", "GET /v1/login/callback",
    "GET /v1/login/oidc", "POST /v1/login", "POST /v1/login/oidc",
    // A platform has no token of ours: its channel checks its signature.
    "GET /hooks/{channel}", "GET /hooks/{channel}/{path}", "POST /hooks/{channel}", "POST /hooks/{channel}/{path}",
];

/// A route with nothing behind its names.
fn nowhere(path: &str) -> String {
    let id = match path.split('/').nth(2).unwrap_or("") {
        "tokens" => "tok_00000000000000000000000000000000",
        "users" => "usr_00000000000000000000000000000000",
        "approvals" => "apr_00000000000000000000000000000000",
        "tasks" => "tsk_00000000000000000000000000000000",
        "webhooks" => "whk_00000000000000000000000000000000",
        _ => "ses_00000000000000000000000000000000",
    };
    let mut out = String::new();
    for part in path.split('/').skip(1) {
        let filled = match part {
            "{id}" => id,
            "{turn}" | "{version}" => "1",
            part if part.starts_with('{') => "nothing",
            part => part,
        };
        out.push('/');
        out.push_str(filled);
    }
    out
}

/// A home whose addresses may get everything wrong as often as they like.
fn house() -> (Lab, Web) {
    let lab = Lab::new();
    lab.run(&["config", "set", "rate.unknown", "1000000"]).succeeds();
    let web = Web::start(&lab);
    (lab, web)
}

#[test]
fn only_the_short_list_answers_without_a_token() {
    let (_lab, web) = house();
    let all = routes(&web.document());
    let open: BTreeSet<String> =
        all.iter().filter(|(_, _, o)| o["security"] == json!([])).map(|(verb, path, _)| format!("{verb} {path}")).collect();
    let listed: BTreeSet<String> = OPEN.iter().map(|route| (*route).to_owned()).collect();
    assert_eq!(open, listed);
    for (verb, path, _) in all.iter().filter(|(_, _, o)| o["security"] != json!([])) {
        for token in ["", "lzt_wrong", "undefined", "null"] {
            let answer = web.ask(token, verb, &nowhere(path), Value::Null);
            assert_eq!(answer.status, 401, "{verb} {path} with {token:?}: {}", String::from_utf8_lossy(&answer.body));
            assert!(answer.head.to_lowercase().contains("www-authenticate: bearer"), "{verb} {path}");
        }
        // A token stands in no address, and in no cookie.
        let in_address = format!("{}?token={}&access_token={}", nowhere(path), web.owner, web.owner);
        assert_eq!(web.ask("", verb, &in_address, Value::Null).status, 401, "{verb} {path} by its address");
        let cookie = format!("cookie: token={}; session={}\r\n", web.owner, web.owner);
        assert_eq!(web.ask_with("", verb, &nowhere(path), &cookie, b"").status, 401, "{verb} {path} by a cookie");
    }
}

#[test]
fn every_route_holds_to_its_area_and_scope() {
    let (_lab, web) = house();
    let token = |scope: &str, tenant: Option<&str>| web.token(scope, tenant).0;
    // Rights over something else entirely.
    let elsewhere = [token("memory:write", None), token("tools:read", None)];
    let tenants = token("manage", Some("crew"));
    for (verb, path, operation) in routes(&web.document()) {
        if operation["security"] == json!([]) {
            continue;
        }
        let (area, scope) = (operation["x-area"].as_str().expect("an area"), operation["x-scope"].as_str().expect("a scope"));
        assert_eq!(operation["security"][0]["token"][0], format!("{area}:{scope}"), "{verb} {path}");
        let other = if area == "memory" { &elsewhere[1] } else { &elsewhere[0] };
        assert_eq!(web.ask(other, &verb, &nowhere(&path), Value::Null).status, 403, "{verb} {path} with rights elsewhere");
        let is_everybodys = operation["x-no-tenant"] == true || scope == "admin";
        let answer = web.ask(&tenants, &verb, &nowhere(&path), Value::Null);
        assert_eq!(answer.status == 403 && is_everybodys, is_everybodys, "{verb} {path} with a tenant's token: {}", answer.status);
    }
    for area in ["sessions", "jobs", "envs", "budgets"] {
        let own = token(&format!("{area}:read"), Some("crew"));
        assert_eq!(web.ask(&own, "GET", &format!("/v1/{area}"), Value::Null).status, 200, "{area}");
    }
}

/// Every list that a tenant sees holds its own things only; what another made is never named.
#[test]
fn no_list_names_what_is_another_tenants() {
    let (lab, web) = house();
    let canary = "canary-of-the-crew";
    let crew = web.token("manage", Some("crew")).0;
    let other = web.token("manage", Some("other")).0;
    let session = web.ask(&crew, "POST", "/v1/sessions", json!({ "title": canary, "labels": { "who": canary } })).is(201);
    let session = session["id"].as_str().expect("an identity").to_owned();
    web.ask(&crew, "POST", "/v1/envs", json!({ "name": canary, "slug": canary })).is(201);
    web.ask(&crew, "POST", "/v1/tokens", json!({ "name": canary, "scope": "read" })).is(201);
    web.ask(&crew, "PUT", "/v1/users", json!({ "email": format!("{canary}@example.com"), "role": "member" })).is(200);
    web.ask(&crew, "PUT", &format!("/v1/budgets/session:{session}"), json!({ "limit_usd": 1.0 })).is(200);
    web.ask(&web.owner, "PUT", "/v1/budgets/tenant:crew@day", json!({ "limit_usd": 1.0 })).is(200);
    lab.turn(&session, "say something");
    let (mut lists, mut own) = (0, 0);
    for (verb, path, operation) in routes(&web.document()) {
        if verb != "GET" || path.contains('{') || operation["security"] == json!([]) {
            continue;
        }
        let seen = web.ask(&other, "GET", &path, Value::Null);
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        assert!(seen.status < 500, "{path}: {body}");
        assert!(
            !body.contains(canary) && !body.contains(&session) && !body.contains("tenant:crew"),
            "{path} tells of another tenant: {body}"
        );
        lists += usize::from(seen.status == 200);
        let theirs = web.ask(&crew, "GET", &path, Value::Null);
        own += usize::from(String::from_utf8_lossy(&theirs.body).contains(canary));
    }
    assert!(lists >= 12, "{lists}");
    assert!(own >= 4, "the canary is seen by whose it is: {own}");
    let usage = |token: &str| web.ask(token, "GET", "/v1/usage?by=session", Value::Null).is(200)["items"].as_array().map_or(0, Vec::len);
    assert_eq!((usage(&other), usage(&crew)), (0, usage(&web.owner)));
}

/// What belongs to one tenant answers another as if it were not there: the same words for what is and what is not.
#[test]
fn what_is_anothers_is_as_if_it_were_not() {
    let (_lab, web) = house();
    let crew = web.token("manage", Some("crew")).0;
    let other = web.token("manage", Some("other")).0;
    let session = web.ask(&crew, "POST", "/v1/sessions", json!({})).is(201)["id"].as_str().expect("an identity").to_owned();
    let token = web.token("read", Some("crew")).1;
    let user = web.ask(&crew, "PUT", "/v1/users", json!({ "email": "a@example.com", "role": "viewer" })).is(200)["id"]
        .as_str()
        .expect("id")
        .to_owned();
    let nobody = "00000000000000000000000000000000";
    let budget = json!({ "limit_usd": 1.0 });
    let cases = [
        ("GET", format!("/v1/sessions/{session}"), format!("/v1/sessions/ses_{nobody}"), Value::Null),
        ("GET", format!("/v1/sessions/{session}/events"), format!("/v1/sessions/ses_{nobody}/events"), Value::Null),
        ("DELETE", format!("/v1/tokens/{token}"), format!("/v1/tokens/tok_{nobody}"), Value::Null),
        ("DELETE", format!("/v1/users/{user}"), format!("/v1/users/usr_{nobody}"), Value::Null),
        ("GET", "/v1/tenants/crew".to_owned(), "/v1/tenants/nobody".to_owned(), Value::Null),
        ("PUT", format!("/v1/budgets/session:{session}"), format!("/v1/budgets/session:ses_{nobody}"), budget.clone()),
        ("PUT", "/v1/budgets/tenant:crew".to_owned(), "/v1/budgets/tenant:nobody".to_owned(), budget),
        ("DELETE", format!("/v1/budgets/session:{session}"), format!("/v1/budgets/session:ses_{nobody}"), Value::Null),
    ];
    for (verb, theirs, nothing, body) in cases {
        let said = |path: &str, hidden: &str| {
            let answer = web.ask(&other, verb, path, body.clone());
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            (answer.status, text.split("\"request_id\"").next().unwrap_or("").replace(hidden, "X"))
        };
        let name = |path: &str| path.trim_start_matches("/v1/").split('/').nth(1).unwrap_or("").to_owned();
        let (there, not) = (said(&theirs, &name(&theirs)), said(&nothing, &name(&nothing)));
        assert_eq!(there.0, 404, "{verb} {theirs}: {}", there.1);
        let bare = |text: &str| text.replace("session:", "").replace("tenant:", "");
        let same =
            |text: &str, path: &str| bare(text).replace(name(path).trim_start_matches("session:").trim_start_matches("tenant:"), "X");
        assert_eq!(same(&there.1, &theirs), same(&not.1, &nothing), "{verb} {theirs}");
    }
    // All this changed nothing.
    web.ask(&crew, "GET", &format!("/v1/sessions/{session}"), Value::Null).is(200);
    assert_eq!(web.ask(&crew, "GET", "/v1/users", Value::Null).is(200)["items"].as_array().map(Vec::len), Some(1));
}

/// Streams are as closed as everything else, by server-sent events and by WebSocket.
#[test]
fn streams_are_closed_to_others_and_end_with_their_right() {
    let (_lab, web) = house();
    let (crew, id) = web.token("read", Some("crew"));
    let writer = web.token("write", Some("crew")).0;
    let other = web.token("read", Some("other")).0;
    let jobs = web.token("jobs:read", Some("crew")).0;
    let session = web.ask(&writer, "POST", "/v1/sessions", json!({})).is(201)["id"].as_str().expect("an identity").to_owned();
    let path = format!("/v1/sessions/{session}/events");
    let sse = "accept: text/event-stream\r\n";
    let upgrade = |token: &str| {
        format!(
            "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: lazaret, lazaret.token.{token}\r\n"
        )
    };
    for (token, status) in [("", 401), ("lzt_wrong", 401), (other.as_str(), 404), (jobs.as_str(), 403)] {
        assert_eq!(web.ask_with(token, "GET", &path, sse, b"").status, status, "{token:?} by events");
        assert_eq!(web.ask_with("", "GET", &path, &upgrade(token), b"").status, status, "{token:?} by WebSocket");
    }
    let mut stream = begun(web.begin(&crew, "GET", &path, sse, b""));
    web.ask(&web.owner, "DELETE", &format!("/v1/tokens/{id}"), Value::Null).is(200);
    let began = Instant::now();
    let mut seen = Vec::new();
    stream.read_to_end(&mut seen).expect("an end");
    assert!(began.elapsed() < PATIENCE && !seen.windows(4).any(|w| w == b"data"), "{}", String::from_utf8_lossy(&seen));
}

/// Other pages and other names of this machine get nothing, not even with a good token; nobody frames the page.
#[test]
fn other_pages_and_names_get_nothing() {
    let (_lab, web) = house();
    let send = |method: &str, path: &str, headers: &str| {
        let auth = format!("authorization: Bearer {}\r\n{headers}", web.owner);
        web.ask_with("", method, path, &auth, b"")
    };
    for origin in ["http://evil.example", "null", "http://localhost:1", "https://127.0.0.1"] {
        for path in ["/v1/sessions", "/v1/login", "/v1/login/oidc", "/ui", "/health"] {
            let answer = send(if path == "/v1/login" { "POST" } else { "GET" }, path, &format!("origin: {origin}\r\n"));
            assert_eq!(answer.status, 403, "{path} from {origin}");
            assert!(!answer.head.to_lowercase().contains("access-control-allow"), "{}", answer.head);
        }
    }
    // A second Host is as bad as a wrong one.
    assert_eq!(send("GET", "/v1/sessions", "host: evil.example\r\n").status, 403);
    for page in ["/ui", "/docs"] {
        let head = web.ask("", "GET", page, Value::Null).head.to_lowercase();
        assert!(head.contains("frame-ancestors 'none'") && head.contains("x-content-type-options: nosniff"), "{page}: {head}");
    }
    let preflight = send("OPTIONS", "/v1/sessions", "origin: http://evil.example\r\naccess-control-request-method: POST\r\n");
    assert_eq!(preflight.status, 403);
}
