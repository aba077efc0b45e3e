//! The log as lines of JSON, in the file and at a collector, and traces that a killed daemon does not cut.

use serde_json::{Value, json};

use crate::support::{Lab, Ran, comes};
use crate::webhooks::Mailbox;

fn start(lab: &Lab) {
    let mut command = lab.command(&["start", "--listen", "127.0.0.1:0"]);
    command.env("LAZARET_LOG", "info,lazaret_app=debug");
    Ran::of(command, None).succeeds();
}

fn base(collector: &Mailbox) -> String {
    collector.url.split("/in").next().expect("a base").to_owned()
}

/// What a collector knows of a field.
fn attribute<'a>(record: &'a Value, name: &str) -> Option<&'a str> {
    let all = record["attributes"].as_array()?;
    all.iter().find(|a| a["key"] == name)?["value"]["stringValue"].as_str()
}

#[test]
fn every_line_says_what_it_belongs_to() {
    let lab = Lab::new();
    let collector = Mailbox::new(&["200 OK"]);
    lab.run(&["config", "set", "telemetry.otlp_endpoint", &base(&collector)]).succeeds();
    lab.run(&["config", "set", "log.format", "json"]).succeeds();
    start(&lab);
    let job = lab.ask("POST", "/v1/jobs", json!({ "agent_id": "logs", "prompt": "hello" })).is(202)["id"].clone();
    let job = job.as_str().expect("a job");
    let (record, span) = loop {
        let letter = collector.next();
        if !letter.head.starts_with("POST /v1/logs ") {
            continue;
        }
        let body = letter.json();
        let records = body["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().expect("records").clone();
        if let Some(found) = records.into_iter().find(|r| attribute(r, "job") == Some(job) && attribute(r, "turn").is_some()) {
            let span = found["spanId"].clone();
            break (found, span);
        }
    };
    assert!(record["traceId"].as_str().is_some_and(|id| id.len() == 32) && span.as_str().is_some_and(|id| id.len() == 16), "{record}");
    // The file and the collector are written each for itself, and the last line may not be whole yet.
    let mut of_job = None;
    let is_there = comes(|| {
        let text = std::fs::read_to_string(lab.home().join("logs/daemon.log")).expect("the log");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let read = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let lines: Vec<Value> = whole.lines().map(read).collect();
        assert!(lines.iter().all(|line| line["time"].is_string() && line["level"].is_string() && line["message"].is_string()), "{text}");
        of_job = lines.into_iter().find(|line| line["job"] == job && line["turn"].is_string());
        of_job.is_some()
    });
    assert!(is_there, "no line of the job");
    let of_job = of_job.expect("a line of the job");
    assert!(of_job["session"].as_str().is_some_and(|id| id.starts_with("ses_")), "{of_job}");
    // A format that there is not is refused before it is written.
    lab.run(&["config", "set", "log.format", "xml"]).fails("CONFIG_INVALID", 2);
}

/// The request of a job named a trace; the daemon is killed before the job runs; its spans are of that trace all the same.
#[test]
fn a_trace_goes_on_after_a_killed_daemon() {
    let lab = Lab::new();
    let collector = Mailbox::new(&["200 OK"]);
    lab.run(&["config", "set", "telemetry.otlp_endpoint", &base(&collector)]).succeeds();
    start(&lab);
    let (trace, caller) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let form = json!({ "agent_id": "trace", "prompt": "hello", "delay_s": 6 });
    let fields = [("content-type", "application/json"), ("traceparent", &*format!("00-{trace}-{caller}-01"))];
    lab.ask_with("POST", "/v1/jobs", &fields, form.to_string().as_bytes()).is(202);
    lab.kill_daemon();
    start(&lab);
    let root = loop {
        let letter = collector.next();
        let body = letter.json();
        let spans = body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().cloned().unwrap_or_default();
        if let Some(root) = spans.into_iter().find(|span| span["name"] == "job") {
            break root;
        }
    };
    assert_eq!((root["traceId"].as_str(), root["parentSpanId"].as_str()), (Some(trace), Some(caller)), "{root}");
}
