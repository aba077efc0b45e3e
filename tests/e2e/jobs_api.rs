//! Jobs over HTTP: forms that are refused, waiting, streams that go on, files, and whose jobs are seen.

use std::io::{BufRead, Read, Write};
use std::os::unix::net::UnixStream;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::http::{Answer, PATIENCE};
use crate::support::Lab;
use crate::web::{Web, begun};

impl Lab {
    /// A job of this form, with what it needs besides.
    #[track_caller]
    fn job(&self, form: Value) -> String {
        self.ask("POST", "/v1/jobs", job_form(form)).is(202)["id"].as_str().expect("an identity").to_owned()
    }
}

fn job_form(mut form: Value) -> Value {
    for (field, value) in [("agent_id", json!("test")), ("prompt", json!("say hello"))] {
        if form.get(field).is_none() {
            form[field] = value;
        }
    }
    form
}

/// One that does not begin while a test looks at it.
fn later() -> Value {
    json!({ "delay_s": 100_000 })
}

#[track_caller]
fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    let line = answer.head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
    line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim())
}

fn text(answer: Answer) -> String {
    String::from_utf8(answer.body).expect("utf-8")
}

#[test]
fn a_job_names_its_session_from_when_there_is_one() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let mut open: Vec<String> = (0..24).map(|n| lab.job(json!({ "agent_id": format!("test-{n}") }))).collect();
    let list = || lab.ask("GET", "/v1/jobs?limit=200", Value::Null).is(200)["items"].as_array().expect("jobs").clone();
    let one = |id: &str| lab.ask("GET", &format!("/v1/jobs/{id}"), Value::Null).is(200);
    let began = std::time::Instant::now();
    let mut seen = 0;
    while let Some(id) = open.last().cloned() {
        assert!(began.elapsed() < PATIENCE, "not over: {open:?}");
        let mut jobs = list();
        jobs.push(one(&id));
        for job in jobs.iter().filter(|job| job["session"].is_string()) {
            // Whoever follows it from this moment on finds a log.
            lab.log(job["session"].as_str().expect("an identity"));
            seen += 1;
        }
        open.retain(|id| one(id)["status"] != "completed");
    }
    assert!(seen > 0);
}

#[test]
fn a_job_runs_and_leaves_its_result() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let made = lab.ask("POST", "/v1/jobs", job_form(json!({ "labels": { "team": "red" }, "priority": 7 })));
    let at = header(&made, "location").to_owned();
    let made = made.is(202);
    let id = made["id"].as_str().expect("an identity").to_owned();
    assert!(id.starts_with("test-") && id.len() == 17, "{id}");
    assert_eq!(at, format!("/v1/jobs/{id}"));
    assert_eq!((&made["status"], &made["priority"], &made["labels"]), (&json!("queued"), &json!(7), &json!({ "team": "red" })));

    let done = lab.job_over(&id);
    assert_eq!((&done["status"], &done["exit_code"], &done["error"]), (&json!("completed"), &json!(0), &Value::Null), "{done}");
    assert!(done["result"].is_string() && done["text"] == done["result"], "{done}");
    assert_eq!(lab.ask("GET", &at, Value::Null).is(200), done);
    let raw = lab.ask("GET", &format!("{at}/result"), Value::Null);
    assert_eq!(header(&raw, "content-type"), "text/plain; charset=utf-8");
    assert!(header(&raw, "content-security-policy").contains("sandbox"), "{}", raw.head);
    assert_eq!(text(raw), done["text"].as_str().expect("a text"));
    assert_eq!(text(lab.ask("GET", &format!("{at}/prompt"), Value::Null)), "say hello");
    let log = text(lab.ask("GET", &format!("{at}/log"), Value::Null));
    assert!(log.contains("completed") && log.ends_with('\n'), "{log}");
    assert_eq!(text(lab.ask("GET", &format!("{at}/log?follow=true"), Value::Null)), log);

    let listed = &lab.ask("GET", "/v1/jobs?label=team%3Dred&status=completed", Value::Null).is(200)["items"][0];
    assert_eq!(listed["id"], id.as_str());
    for body in ["result", "text", "output", "prompt"] {
        assert!(listed.get(body).is_none(), "{listed}");
    }
    lab.ask("POST", &format!("{at}/cancel"), Value::Null).refused(409, "CONFLICT");
    let removed = lab.ask("DELETE", &at, Value::Null).is(200);
    assert_eq!(removed, json!({ "id": id, "status": "completed", "removed": true }));
    for path in
        [at.clone(), format!("{at}/wait"), format!("{at}/result"), format!("{at}/prompt"), format!("{at}/artifacts"), format!("{at}/log")]
    {
        lab.ask("GET", &path, Value::Null).refused(404, "NOT_FOUND");
    }
}

#[test]
fn what_a_job_may_not_say_is_refused_with_its_field() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let cases = [
        ("agent_id", json!("")),
        ("agent_id", json!("a b")),
        ("agent_id", json!(7)),
        ("engine", json!("../mini")),
        ("prompt", json!(7)),
        ("prompt", json!("  ")),
        ("profile", json!("a/b")),
        ("prompt_vars", json!([])),
        ("claude_md_vars", json!("x")),
        ("plugins", json!(["a b"])),
        ("allowed_tools", json!([""])),
        ("max_turns", json!(0)),
        ("max_turns", json!(101)),
        ("max_turns", json!(1.5)),
        ("max_budget_usd", json!(0)),
        ("max_budget_usd", json!(50.5)),
        ("mcp_config", json!([])),
        ("model", json!("a b")),
        ("system_prompt", json!("x".repeat(500_001))),
        ("output_format", json!("xml")),
        ("dry_run", json!("yes")),
        ("webhook_url", json!("ftp://example.com")),
        ("webhook_url", json!(format!("https://example.com/{}", "a".repeat(2048)))),
        ("webhook_secret", json!("a\nb")),
        ("priority", json!(10)),
        ("timeout_s", json!(0)),
        ("delay_s", json!(-1)),
        ("retries", json!(11)),
        ("agent", json!("No")),
        ("env", json!("../x")),
        ("variables", json!({ "A B": "x" })),
        ("files", json!([{ "path": "../x", "data": "" }])),
        ("files", json!([{ "path": "/etc/x", "data": "" }])),
        ("files", json!([{ "path": "a\u{0}b", "data": "" }])),
        ("files", json!([{ "path": "a", "data": "?" }])),
        ("repo", json!("-x")),
        ("ref", json!("main")),
        ("labels", json!({ "a b": "x" })),
        ("labels", json!([])),
        ("output_schema", json!(7)),
        ("artifacts", json!(["../*"])),
        ("egress", json!(["*.example.com"])),
        ("limits", json!(7)),
        ("tenant", json!("team-a")),
    ];
    for (field, value) in cases {
        let refused = lab.ask("POST", "/v1/jobs", job_form(json!({ field: value.clone() })));
        assert_eq!(refused.status, 422, "{field}: {value}: {}", String::from_utf8_lossy(&refused.body));
        let refused = refused.is(422);
        assert_eq!(refused["error"]["field"], field, "{value}: {refused}");
    }
    for body in ["", "{", "[]", "null", "\"x\"", "{\"agent_id\":\"a\",\"agent_id\":\"b\"}"] {
        lab.ask_with("POST", "/v1/jobs", &[], body.as_bytes()).refused(422, "USAGE");
    }
    let refused = lab.ask("POST", "/v1/jobs", job_form(json!({ "files": [{ "path": "x", "url": "https://example.com" }] })));
    assert!(refused.refused(422, "USAGE")["error"]["hint"].as_str().is_some_and(|hint| hint.contains("repo")));
    lab.ask("GET", "/v1/jobs?status=pending", Value::Null).refused(422, "USAGE");
    lab.ask("GET", "/v1/jobs?after=x", Value::Null).refused(422, "USAGE");
    lab.ask("GET", "/v1/jobs/nothing-000000000000/wait?timeout_s=7201", Value::Null).refused(422, "USAGE");
    assert_eq!(lab.ask("GET", "/v1/jobs", Value::Null).is(200)["items"], json!([]), "nothing was accepted");
    // What no engine can be told is left out instead.
    let id = lab.ask_with("POST", "/v1/jobs", &[], br#"{"agent_id":"a","prompt":"a\u0000b\ud800c","delay_s":9999}"#).is(202);
    let id = id["id"].as_str().expect("an identity");
    assert_eq!(text(lab.ask("GET", &format!("/v1/jobs/{id}/prompt"), Value::Null)), "abc");
}

#[test]
fn a_repeated_request_is_one_job() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let send = |key: &str, form: Value| {
        lab.ask_with("POST", "/v1/jobs", &[("idempotency-key", key)], &serde_json::to_vec(&job_form(form)).expect("JSON"))
    };
    let first = send("one", later()).is(202)["id"].clone();
    assert_eq!(send("one", later()).is(202)["id"], first);
    assert_ne!(send("two", later()).is(202)["id"], first);
    send("one", json!({ "delay_s": 100_001 })).refused(409, "CONFLICT");
    for key in ["", "é", &"x".repeat(129)] {
        assert_eq!(send(key, later()).is(422)["error"]["field"], "Idempotency-Key", "{key}");
    }
    assert_eq!(lab.ask("GET", "/v1/jobs", Value::Null).is(200)["items"].as_array().map(Vec::len), Some(2));
}

#[test]
fn whoever_waits_is_told_at_once() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    let id = lab.job(later());
    let at = format!("/v1/jobs/{id}");
    let early = lab.ask("GET", &format!("{at}/wait?timeout_s=0"), Value::Null).refused(408, "TIMEOUT");
    assert_eq!((&early["job"]["id"], &early["job"]["status"]), (&json!(id), &json!("queued")), "{early}");
    lab.ask("GET", &format!("{at}/result"), Value::Null).refused(409, "CONFLICT");
    // It waits for as long as it may: only the end of the job can answer it within the test's patience.
    let waiting = web.begin(&web.owner, "GET", &format!("{at}/wait?timeout_s=7200"), "", b"");
    let followed = web.begin(&web.owner, "GET", &format!("{at}/events"), "accept: application/x-ndjson\r\n", b"");
    let cancelled = lab.ask("DELETE", &at, Value::Null).is(200);
    assert_eq!(cancelled, json!({ "id": id, "status": "cancelled", "removed": false }));
    let mut told = String::new();
    begun(waiting).read_to_string(&mut told).expect("an answer");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((&told["status"], &told["exit_code"]), (&json!("cancelled"), &json!(130)));
    let mut events = String::new();
    begun(followed).read_to_string(&mut events).expect("an end");
    assert_eq!(events.trim(), "", "a job that never began has no events");

    let again = lab.ask("POST", &format!("{at}/retry"), Value::Null).is(202);
    assert_eq!(again["labels"]["retry_of"], id.as_str());
    let again = again["id"].as_str().expect("an identity").to_owned();
    assert_ne!(again, id);
    lab.ask("POST", &format!("/v1/jobs/{again}/cancel"), Value::Null).is(200);
    lab.ask("DELETE", &at, Value::Null).is(200);
    lab.ask("POST", &format!("{at}/retry"), Value::Null).refused(404, "NOT_FOUND");
}

/// The page, the lines, the server-sent events and the WebSocket tell the same, from before a job begins to its end.
#[test]
fn the_log_is_the_same_in_every_form() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    let id = lab.job(json!({ "delay_s": 1 }));
    let path = format!("/v1/jobs/{id}/events");
    let all = |headers: &str| {
        let mut text = String::new();
        begun(web.begin(&web.owner, "GET", &path, headers, b"")).read_to_string(&mut text).expect("an end");
        text
    };
    // Asked for before it has begun: these end by themselves when it is over.
    let lines = all("accept: application/x-ndjson\r\n");
    let log = lab.ask("GET", &format!("{path}?limit=1000"), Value::Null).is(200)["events"].clone();
    let log = log.as_array().expect("events").clone();
    assert!(log.len() > 3 && log.last().is_some_and(|event| event["type"] == "result"), "{log:#?}");
    let lines: Vec<Value> = lines.lines().filter(|l| !l.is_empty()).map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!(lines, log);

    let sse = all("accept: text/event-stream\r\n");
    let ids: Vec<&str> = sse.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    let session = log[0]["session"].as_str().expect("a session");
    assert_eq!(ids[1], format!("{session}:{}", log[1]["seq"]));
    // A client that lost its connection goes on after what it saw last.
    let rest = all(&format!("accept: text/event-stream\r\nlast-event-id: {}\r\n", ids[1]));
    assert_eq!(rest.lines().filter(|line| line.starts_with("id: ")).count(), log.len() - 2);
    assert!(sse.ends_with(&rest), "{rest}");
    // What it saw last was of another try: this one is told whole.
    let other = all("accept: text/event-stream\r\nlast-event-id: ses_00000000000000000000000000000000:3\r\n");
    assert_eq!(other, sse);
    web.ask_with(&web.owner, "GET", &path, "last-event-id: x\r\naccept: text/event-stream\r\n", b"").refused(422, "USAGE");
    let page = lab.ask("GET", &format!("{path}?after={}&limit=1", log[1]["seq"]), Value::Null).is(200);
    assert_eq!(page["events"], json!([log[2]]));

    assert_eq!(web_socket(&lab, &path), log);
}

/// All messages of a WebSocket over the owner's socket, until it is closed.
fn web_socket(lab: &Lab, path: &str) -> Vec<Value> {
    let mut stream = UnixStream::connect(lab.home().join("run").join(api::OWNER_SOCKET)).expect("a daemon");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let ask = format!(
        "GET {path} HTTP/1.1\r\nhost: lazaret\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(ask.as_bytes()).expect("write");
    let mut reader = std::io::BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).expect("a head");
    }
    let mut all = Vec::new();
    loop {
        let mut start = [0u8; 2];
        reader.read_exact(&mut start).expect("a message");
        let length = match start[1] {
            126 => {
                let mut bytes = [0u8; 2];
                reader.read_exact(&mut bytes).expect("a length");
                usize::from(u16::from_be_bytes(bytes))
            }
            127 => panic!("an event of more than 64 kB"),
            short => usize::from(short),
        };
        let mut text = vec![0u8; length];
        reader.read_exact(&mut text).expect("a text");
        match start[0] {
            0x81 => all.push(serde_json::from_slice(&text).expect("JSON")),
            0x88 => return all,
            other => panic!("a frame {other:#x}"),
        }
    }
}

#[test]
fn files_come_as_parts_and_go_as_artifacts() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let bytes: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    let job = job_form(json!({ "artifacts": ["data/**", "note.txt"] })).to_string();
    let mut body = Vec::new();
    let parts: [(&str, &[u8]); 3] = [
        ("name=\"job\"", job.as_bytes()),
        ("name=\"file\"; filename=\"data/deep/a.bin\"", &bytes),
        ("name=\"file\"; filename=\"note.txt\"", b"by hand"),
    ];
    for (head, bytes) in parts {
        body.extend_from_slice(format!("--X\r\ncontent-disposition: form-data; {head}\r\n\r\n").as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--X--\r\n");
    let form = [("content-type", "multipart/form-data; boundary=X")];
    let id = lab.ask_with("POST", "/v1/jobs", &form, &body).is(202)["id"].as_str().expect("an identity").to_owned();
    let done = lab.job_over(&id);
    assert_eq!(done["status"], "completed", "{done}");
    let left = json!([{ "path": "data/deep/a.bin", "bytes": 300_000 }, { "path": "note.txt", "bytes": 7 }]);
    assert_eq!(lab.ask("GET", &format!("/v1/jobs/{id}/artifacts"), Value::Null).is(200), json!({ "items": left, "next": null }));
    let got = lab.ask("GET", &format!("/v1/jobs/{id}/artifacts/data/deep/a.bin"), Value::Null);
    assert_eq!(header(&got, "content-type"), "application/octet-stream");
    assert!(header(&got, "content-disposition").starts_with("attachment"), "{}", got.head);
    assert_eq!(got.body, bytes);
    for path in ["data/deep", "data", "note", "..%2fnote.txt", "%2fetc%2fpasswd", "x"] {
        lab.ask("GET", &format!("/v1/jobs/{id}/artifacts/{path}"), Value::Null).refused(404, "NOT_FOUND");
    }
    // The same files in JSON.
    let data = base64::engine::general_purpose::STANDARD.encode(b"by hand");
    let id = lab.job(json!({ "files": [{ "path": "note.txt", "data": data }], "artifacts": ["*.txt"] }));
    assert_eq!(lab.job_over(&id)["artifacts"], json!([{ "path": "note.txt", "bytes": 7 }]));

    let cut = &body[..body.len() - 20];
    lab.ask_with("POST", "/v1/jobs", &form, cut).refused(422, "USAGE");
    lab.ask_with("POST", "/v1/jobs", &[("content-type", "multipart/form-data")], &body).refused(422, "USAGE");
    // Longer than a request may be: refused by what it says of itself.
    let long = [("content-type", "application/json"), ("content-length", "999999999999")];
    let mut head = String::new();
    for (name, value) in long {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = UnixStream::connect(lab.home().join("run").join(api::OWNER_SOCKET)).expect("a daemon");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.write_all(format!("POST /v1/jobs HTTP/1.1\r\nhost: lazaret\r\nconnection: close\r\n{head}\r\n").as_bytes()).expect("write");
    let mut answer = [0u8; 12];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[test]
fn a_job_is_its_tenants() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    let (ours, _) = web.token("write", Some("team-a"));
    let (theirs, _) = web.token("write", Some("team-b"));
    let (reader, _) = web.token("read", Some("team-a"));
    let id = web.ask(&ours, "POST", "/v1/jobs", job_form(later())).is(202)["id"].as_str().expect("an identity").to_owned();
    web.ask(&reader, "GET", &format!("/v1/jobs/{id}"), Value::Null).is(200);
    web.ask(&reader, "POST", "/v1/jobs", job_form(later())).refused(403, "FORBIDDEN");
    web.ask(&reader, "POST", &format!("/v1/jobs/{id}/cancel"), Value::Null).refused(403, "FORBIDDEN");
    let paths = ["", "/wait", "/result", "/prompt", "/artifacts", "/artifacts/x", "/events", "/log"];
    for path in paths {
        web.ask(&theirs, "GET", &format!("/v1/jobs/{id}{path}"), Value::Null).refused(404, "NOT_FOUND");
    }
    for path in ["/cancel", "/retry"] {
        web.ask(&theirs, "POST", &format!("/v1/jobs/{id}{path}"), Value::Null).refused(404, "NOT_FOUND");
    }
    web.ask(&theirs, "DELETE", &format!("/v1/jobs/{id}"), Value::Null).refused(404, "NOT_FOUND");
    assert_eq!(web.ask(&theirs, "GET", "/v1/jobs", Value::Null).is(200)["items"], json!([]));
    // The seed's paths show no more.
    assert_eq!(web.ask(&theirs, "GET", &format!("/jobs/{id}"), Value::Null).status, 404);
    assert_eq!(web.ask(&theirs, "GET", &format!("/jobs/{id}/wait?timeout=1"), Value::Null).status, 404);
    assert_eq!(web.ask(&theirs, "DELETE", &format!("/jobs/{id}"), Value::Null).status, 404);
    assert_eq!(web.ask(&theirs, "GET", "/jobs", Value::Null).is(200)["total"], 0);
    assert_eq!(web.ask(&ours, "GET", "/jobs", Value::Null).is(200)["total"], 1);
    // A key is its tenant's own.
    let key = "idempotency-key: same\r\ncontent-type: application/json\r\n";
    let body = serde_json::to_vec(&job_form(later())).expect("JSON");
    let first = web.ask_with(&ours, "POST", "/v1/jobs", key, &body).is(202);
    assert_ne!(web.ask_with(&theirs, "POST", "/v1/jobs", key, &body).is(202)["id"], first["id"]);
    assert_eq!(web.ask(&ours, "GET", &format!("/v1/jobs/{id}"), Value::Null).is(200)["status"], "queued");
}

#[test]
fn jobs_are_listed_page_by_page() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let ids: Vec<String> = (0..5).map(|n| lab.job(json!({ "agent_id": format!("a{}", n % 2), "delay_s": 100_000 }))).collect();
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = lab.ask("GET", &format!("/v1/jobs?limit=2{after}"), Value::Null).is(200);
        seen.extend(page["items"].as_array().expect("items").iter().map(|job| job["id"].as_str().expect("an identity").to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ids.iter().rev().cloned().collect::<Vec<_>>());
    let of = |query: &str| lab.ask("GET", &format!("/v1/jobs?{query}"), Value::Null).is(200)["items"].as_array().map(Vec::len);
    assert_eq!(of("agent_id=a1"), Some(2));
    assert_eq!(of("status=running"), Some(0));
    assert_eq!(of("status=queued&agent_id=a0"), Some(3));
    assert_eq!(of("profile=default"), Some(5));
    assert_eq!(of("from=99999999999999"), Some(0));

    let page = lab.ask("GET", "/jobs?limit=2&offset=1&status=pending", Value::Null).is(200);
    assert_eq!((&page["total"], &page["limit"], &page["offset"]), (&json!(5), &json!(2), &json!(1)));
    let listed: Vec<&str> = page["jobs"].as_array().expect("jobs").iter().filter_map(|job| job["job_id"].as_str()).collect();
    assert_eq!(listed, [&ids[3], &ids[2]]);
    assert_eq!(lab.ask("GET", "/jobs?offset=4", Value::Null).is(200)["jobs"].as_array().map(Vec::len), Some(1));
}
