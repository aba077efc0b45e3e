//! Sessions over HTTP: lists, forms that are refused, and the log in all its forms.

use std::io::{BufRead, Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::http::PATIENCE;
use crate::support::Lab;
use crate::web::{Web, begun};

#[test]
fn sessions_are_listed_filtered_changed_and_archived() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    lab.ask("POST", "/v1/agents", json!({ "name": "writer", "instructions": "Write." })).is(201);
    lab.ask("POST", "/v1/agents", json!({ "name": "writer" })).refused(409, "CONFLICT");
    let plain: Vec<String> = (0..3).map(|_| lab.session(json!({}))).collect();
    let marked = lab.session(json!({ "agent": "writer", "labels": { "team": "red" }, "title": "A plan" }));
    let ids = |path: &str| -> (Vec<String>, Value) {
        let page = lab.ask("GET", path, Value::Null).is(200);
        let id = |view: &Value| view["id"].as_str().expect("an identity").to_owned();
        (page["items"].as_array().expect("items").iter().map(id).collect(), page["next"].clone())
    };
    let (first, next) = ids("/v1/sessions?limit=3");
    assert_eq!(first, [marked.clone(), plain[2].clone(), plain[1].clone()], "the youngest first");
    let (second, end) = ids(&format!("/v1/sessions?limit=3&after={}", next.as_str().expect("a cursor")));
    assert_eq!((second, end), (vec![plain[0].clone()], Value::Null));
    assert_eq!(ids("/v1/sessions?agent=writer").0, std::slice::from_ref(&marked));
    assert_eq!(ids("/v1/sessions?label=team%3Dred").0, std::slice::from_ref(&marked));
    assert_eq!(ids("/v1/sessions?label=team%3Dblue").0, Vec::<String>::new());

    let one = format!("/v1/sessions/{marked}");
    let changed = lab.ask("PATCH", &one, json!({ "title": "Another", "labels": { "a": "b" } })).is(200);
    assert_eq!((&changed["title"], &changed["labels"]), (&json!("Another"), &json!({ "a": "b" })));
    assert_eq!(lab.ask("POST", &format!("{one}/archive"), Value::Null).is(200)["state"], "archived");
    assert_eq!(ids("/v1/sessions?archived=true").0, std::slice::from_ref(&marked));
    assert_eq!(ids("/v1/sessions").0.len(), 3);
    lab.ask("POST", &format!("{one}/messages"), json!({ "text": "x" })).refused(409, "CONFLICT");
    assert_eq!(lab.ask("POST", &format!("{one}/unarchive"), Value::Null).is(200)["state"], "idle");
    lab.ask("DELETE", "/v1/agents/writer", Value::Null).refused(409, "CONFLICT");
    lab.ask("DELETE", &one, Value::Null).is(200);
    lab.ask("GET", &one, Value::Null).refused(404, "NOT_FOUND");
    lab.ask("DELETE", "/v1/agents/writer", Value::Null).is(200);
}

#[test]
fn what_is_malformed_is_refused_with_its_field() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let session = lab.session(json!({}));
    let messages = format!("/v1/sessions/{session}/messages");
    let field = |path: &str, body: Value, field: &str| {
        let refused = lab.ask("POST", path, body).refused(422, "USAGE");
        assert_eq!(refused["error"]["field"], field, "{refused}");
        assert!(refused["error"]["request_id"].as_str().is_some_and(|id| id.starts_with("req_")), "{refused}");
    };
    field("/v1/sessions", json!({ "engin": "mini" }), "engin");
    field("/v1/sessions", json!({ "labels": [] }), "labels");
    field("/v1/sessions", json!({ "egress": ["*.example.com"] }), "egress");
    field(&messages, json!({ "text": 7 }), "text");
    field(&messages, json!({ "text": "x", "tenant": "y" }), "tenant");
    field("/v1/agents", json!({ "name": "../x" }), "name");
    field("/v1/tokens", json!({ "name": "x", "scope": "root" }), "scope");
    for body in ["{", "[]", "null", "\"x\"", "{\"text\":\"\\ud800\"}"] {
        lab.ask_with("POST", &messages, &[], body.as_bytes()).refused(422, "USAGE");
    }
    lab.ask("GET", "/v1/sessions?limit=many", Value::Null).refused(422, "USAGE");
    lab.ask("GET", "/v1/nowhere", Value::Null).refused(404, "NOT_FOUND");
    lab.ask("PUT", "/v1/sessions", json!({})).refused(405, "USAGE");
    let long = json!({ "name": "x", "instructions": "x".repeat(3 << 20) });
    lab.ask("POST", "/v1/agents", long).refused(413, "TOO_LARGE");
    lab.ask_with("POST", &messages, &[("idempotency-key", "")], b"{\"text\":\"x\"}").refused(422, "USAGE");
    assert_eq!(lab.ask("GET", &format!("/v1/sessions/{session}/turns"), Value::Null).is(200)["items"], json!([]), "nothing was asked");
}

#[test]
fn a_repeated_message_is_one_turn() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let session = lab.session(json!({}));
    let path = format!("/v1/sessions/{session}/messages");
    let send = |key: &str| lab.ask_with("POST", &path, &[("idempotency-key", key)], b"{\"text\":\"hello\"}").is(202)["turn"].clone();
    let first = send("one");
    assert_eq!(send("one"), first);
    let second = send("two");
    assert_ne!(second, first);
    lab.result_of(&session, second.as_str().expect("a turn"));
    let turns = lab.ask("GET", &path, Value::Null).is(200);
    let ids: Vec<&Value> = turns["items"].as_array().expect("turns").iter().map(|turn| &turn["id"]).collect();
    assert_eq!(ids, [&first, &second]);
}

/// The page, the lines, the server-sent events and the WebSocket tell the same.
#[test]
fn the_log_is_the_same_in_every_form() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    let session = lab.session(json!({}));
    let path = format!("/v1/sessions/{session}/events");
    lab.turn(&session, "hello");
    let log = lab.log(&session);
    assert!(log.len() > 3 && log.last().is_some_and(|event| event["type"] == "result"), "{log:#?}");

    let lines = begun(web.begin(&web.owner, "GET", &path, "accept: application/x-ndjson\r\n", b""));
    let lines: Vec<Value> = lines.lines().take(log.len()).map(|line| serde_json::from_str(&line.expect("a line")).expect("JSON")).collect();
    assert_eq!(lines, log);

    // A client that lost its connection goes on after what it saw last.
    let seen = format!("accept: text/event-stream\r\nlast-event-id: {}\r\n", log[1]["seq"]);
    let sse = begun(web.begin(&web.owner, "GET", &format!("{path}?after=99999"), &seen, b""));
    let sse = sse.lines().map(|line| line.expect("a line")).filter(|line| !line.is_empty());
    let sse: Vec<String> = sse.take(2 * (log.len() - 2)).collect();
    for (event, lines) in log[2..].iter().zip(sse.chunks(2)) {
        assert_eq!(lines[0], format!("id: {}", event["seq"]));
        let data: Value = serde_json::from_str(lines[1].strip_prefix("data: ").expect("data")).expect("JSON");
        assert_eq!(&data, event);
    }

    let mut socket = socket(&lab, &path, "");
    let told: Vec<Value> = (0..log.len()).map(|_| message(&mut socket)).collect();
    assert_eq!(told, log);
    // What happens now comes too, without being asked for.
    let turn = lab.send(&session, "again");
    let next = message(&mut socket);
    assert_eq!((&next["turn"], next["seq"].as_u64()), (&json!(turn), Some(log.len() as u64 + 1)));
}

/// A WebSocket over the owner's socket.
fn socket(lab: &Lab, path: &str, headers: &str) -> UnixStream {
    let mut stream = UnixStream::connect(lab.home().join("run").join(api::OWNER_SOCKET)).expect("a daemon");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let ask = format!(
        "GET {path} HTTP/1.1\r\nhost: lazaret\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    stream.write_all(ask.as_bytes()).expect("write");
    let mut head = Vec::new();
    let mut byte = [0u8; 1];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    stream
}

/// The next text message; a server's are whole and not masked.
fn message(stream: &mut UnixStream) -> Value {
    let mut start = [0u8; 2];
    stream.read_exact(&mut start).expect("a message");
    assert_eq!(start[0], 0x81, "a whole text");
    let length = match start[1] {
        126 => {
            let mut bytes = [0u8; 2];
            stream.read_exact(&mut bytes).expect("a length");
            usize::from(u16::from_be_bytes(bytes))
        }
        127 => {
            let mut bytes = [0u8; 8];
            stream.read_exact(&mut bytes).expect("a length");
            usize::try_from(u64::from_be_bytes(bytes)).expect("a length")
        }
        short => usize::from(short),
    };
    let mut text = vec![0u8; length];
    stream.read_exact(&mut text).expect("a text");
    serde_json::from_slice(&text).expect("JSON")
}

/// Web pages of others reach neither the API nor a WebSocket of it.
#[test]
fn foreign_pages_and_names_are_not_answered() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    let session = lab.session(json!({}));
    let path = format!("/v1/sessions/{session}/events");
    let upgrade =
        "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let evil = "origin: http://evil.example\r\n";
    let status = |headers: &str| web.ask_with(&web.owner, "GET", &path, headers, b"").status;
    assert_eq!(status(evil), 403);
    assert_eq!(status(&format!("{evil}{upgrade}")), 403);
    assert_eq!(status(&format!("host: evil.example\r\n{upgrade}")), 403, "two names");
    assert_eq!(status(&format!("origin: http://{}\r\n", web.address)), 200);
    // No token is taken from an address, a cookie or a form.
    let in_url = web.ask("", "GET", &format!("{path}?token={}&access_token={}", web.owner, web.owner), Value::Null);
    assert_eq!(in_url.status, 401);
    assert_eq!(web.ask_with("", "GET", &path, &format!("cookie: token={}\r\n", web.owner), b"").status, 401);
    for answer in [web.ask(&web.owner, "GET", &path, Value::Null), web.ask("", "GET", &path, Value::Null)] {
        let head = answer.head.to_lowercase();
        assert!(!head.contains("access-control-allow") && !head.contains("set-cookie") && head.contains("nosniff"), "{head}");
    }
}
