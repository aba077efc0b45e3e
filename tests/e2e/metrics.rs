//! What is counted, and whether the daemon is well.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::{Deaf, Lab, comes};
use crate::webhooks::Mailbox;

/// Asks over TCP.
fn get(address: &str, path: &str, token: Option<&str>) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("connect");
    let bearer = token.map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{bearer}\r\n");
    stream.write_all(request.as_bytes()).expect("write");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("read");
    let status = text.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
    (status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

fn value(text: &str, series: &str) -> f64 {
    counted(text, series).unwrap_or_else(|| panic!("no {series} in\n{text}"))
}

/// The same where the series may not be there yet.
fn counted(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
    Some(line.rsplit(' ').next().and_then(|n| n.parse().ok()).expect("a number"))
}

#[test]
fn what_happened_is_counted() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let status = lab.ask("GET", "/v1/status", Value::Null).is(200);
    let address = status["listen"].as_str().expect("an address").trim_start_matches("http://").to_owned();
    let token = lab.run(&["token", "add", "watch", "--scope", "read"]).succeeds().out.trim().to_owned();
    let (status, before) = get(&address, "/metrics", Some(&token));
    assert_eq!(status, 200);
    assert_eq!(value(&before, "tower_jobs_active"), 0.0);
    let form = json!({ "agent_id": "count", "prompt": "hello" });
    let job = lab.ask("POST", "/v1/jobs", form).is(202)["id"].as_str().expect("a job").to_owned();
    lab.job_over(&job);
    let expected = [
        ("tower_jobs_total{profile=\"default\"}", 1.0),
        ("tower_jobs_by_status{status=\"completed\"}", 1.0),
        ("tower_jobs_by_status{status=\"failed\"}", 0.0),
        ("lazaret_jobs_ended_total{status=\"completed\",profile=\"default\"}", 1.0),
        ("tower_job_duration_seconds_count", 1.0),
        ("tower_job_duration_seconds_bucket{le=\"3600\"}", 1.0),
        ("lazaret_turns_total{status=\"completed\"}", 1.0),
        ("lazaret_queue_depth", 0.0),
        ("lazaret_store_stopped", 0.0),
    ];
    // Whoever waits for a job may be told a moment before the last of it is counted.
    let (mut after, mut wrong) = (String::new(), Vec::new());
    let is_counted = comes(|| {
        after = get(&address, "/metrics", Some(&token)).1;
        let seen = expected.iter().map(|(series, expect)| (*series, *expect, counted(&after, series)));
        wrong = seen.filter(|(_, expect, seen)| seen.is_none_or(|seen: f64| (seen - expect).abs() > 0.001)).collect();
        wrong.is_empty()
    });
    assert!(is_counted, "{wrong:?}");
    assert!(value(&after, "lazaret_model_calls_total{provider=\"rehearsal\",outcome=\"routed\"}") >= 1.0);
    assert!(value(&after, "lazaret_store_commit_seconds_count") > value(&before, "lazaret_store_commit_seconds_count"));
    assert!(value(&after, "process_resident_memory_bytes") > 1_000_000.0);
    // Every line is a number of a family that was named before.
    for line in after.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().expect("a name");
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(after.contains(&format!("# TYPE {family} ")) || after.contains(&format!("# TYPE {name} ")), "{line}");
        assert!(line.rsplit(' ').next().is_some_and(|n| n.parse::<f64>().is_ok()), "{line}");
    }
}

#[test]
fn numbers_are_for_who_may_see_everything() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let status = lab.ask("GET", "/v1/status", Value::Null).is(200);
    let address = status["listen"].as_str().expect("an address").trim_start_matches("http://").to_owned();
    assert_eq!(get(&address, "/metrics", None).0, 401);
    assert_eq!(get(&address, "/metrics", Some("lzt_0000")).0, 401);
    let (status, body) = get(&address, "/health", None);
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, &body["status"]), (200, &json!("ok")), "{body}");
    assert!(body["checks"].as_array().is_some_and(|checks| checks.len() >= 3), "{body}");
}

/// Nanoseconds of a millisecond.
const MS: u128 = 1_000_000;

/// Every span that a collector was sent.
fn spans(letter: &crate::webhooks::Letter) -> Vec<Value> {
    let body = letter.json();
    assert_eq!(letter.field("content-type"), Some("application/json"));
    if letter.head.starts_with("POST /v1/logs ") {
        return Vec::new();
    }
    let resource = &body["resourceSpans"][0];
    assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "lazaret", "{body}");
    resource["scopeSpans"][0]["spans"].as_array().expect("spans").clone()
}

#[test]
fn a_job_is_one_trace_from_its_request_to_its_webhook() {
    let lab = Lab::new();
    let (collector, hook) = (Mailbox::new(&["200 OK"]), Mailbox::new(&["200 OK"]));
    let base = collector.url.split("/in").next().expect("a base").to_owned();
    lab.run(&["config", "set", "telemetry.otlp_endpoint", &base]).succeeds();
    lab.run(&["config", "set", "webhooks.private_ok", "[\"127.0.0.1\"]"]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let (trace, caller) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let form = json!({ "agent_id": "trace", "prompt": "hello", "webhook_url": hook.url });
    let fields = [("content-type", "application/json"), ("traceparent", &*format!("00-{trace}-{caller}-01"))];
    lab.ask_with("POST", "/v1/jobs", &fields, form.to_string().as_bytes()).is(202);
    let told = hook.next();
    let given = told.field("traceparent").expect("a trace").to_owned();
    assert!(given.starts_with(&format!("00-{trace}-")), "{given}");
    let wanted = ["job", "queue", "turn", "sandbox", "engine", "model call", "webhook"];
    let mut all: Vec<Value> = Vec::new();
    while !wanted.iter().all(|name| all.iter().any(|span| span["name"] == **name)) {
        all.extend(spans(&collector.next()));
    }
    let id = |span: &Value| span["spanId"].as_str().expect("an identity").to_owned();
    let ids: Vec<String> = all.iter().map(id).collect();
    let nanos = |span: &Value, name: &str| span[name].as_str().and_then(|n| n.parse::<u128>().ok()).expect("a time");
    for span in &all {
        assert_eq!(span["traceId"], trace, "{span}");
        let parent = span["parentSpanId"].as_str().expect("a parent");
        assert!(parent == caller || ids.iter().any(|id| id == parent), "{span}\nin {all:#?}");
        let (start, end) = (nanos(span, "startTimeUnixNano"), nanos(span, "endTimeUnixNano"));
        assert!(start <= end, "{span}");
        // What is part of something lies within it, to the millisecond that times are kept to; only what tells of an end comes after it.
        let within = all.iter().find(|other| other["spanId"] == span["parentSpanId"]).filter(|_| span["name"] != "webhook");
        let Some(parent) = within else { continue };
        let (from, to) = (nanos(parent, "startTimeUnixNano"), nanos(parent, "endTimeUnixNano"));
        assert!(from <= start + MS && end <= to + MS, "{span}\nis not within\n{parent}");
    }
    let root = all.iter().find(|span| span["name"] == "job").expect("a job");
    assert_eq!((root["parentSpanId"].as_str(), &root["status"]["code"]), (Some(caller), &json!(1)));
    let hook = all.iter().find(|span| span["name"] == "webhook").map(id).expect("a webhook");
    assert_eq!(given, format!("00-{trace}-{hook}-01"));
}

#[test]
fn a_collector_that_is_gone_holds_up_nothing() {
    let lab = Lab::new();
    let gone = Deaf::new();
    lab.run(&["config", "set", "telemetry.otlp_endpoint", &gone.url()]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let form = json!({ "agent_id": "trace", "prompt": "hello" });
    let job = lab.ask("POST", "/v1/jobs", form).is(202)["id"].as_str().expect("a job").to_owned();
    let over = lab.job_over(&job);
    assert_eq!(over["status"], "completed", "{over}");
    let mut text = String::new();
    let is_dropped = comes(|| {
        text = String::from_utf8(lab.ask("GET", "/metrics", Value::Null).body).expect("text");
        value(&text, "lazaret_spans_dropped_total") >= 4.0
    });
    assert!(is_dropped, "{text}");
}
