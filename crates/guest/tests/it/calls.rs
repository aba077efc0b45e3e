//! The program `ipc` as it is called inside, with a host that answers.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use wire::{Door, Exit, frame_call};

use crate::support::{Host, command, sh};

const IPC: &str = "/opt/lazaret/bin/ipc";

/// Takes the next call; who asks and what.
fn take(host: &Host) -> (UnixStream, Value) {
    let mut stream = host.accept();
    let mut line = vec![0; Door::Broker.line().len()];
    stream.read_exact(&mut line).expect("a line");
    assert_eq!(line, Door::Broker.line());
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("a length");
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body).expect("a message");
    (stream, serde_json::from_slice(&body).expect("JSON"))
}

fn answer(stream: &mut UnixStream, asked: &Value, result: &Value, error: &Value) {
    let message = json!({ "correlation": asked["correlation"], "result": result, "error": error }).to_string();
    stream.write_all(&frame_call(message.as_bytes()).expect("short")).expect("sent");
}

fn text((out, err, exit): (Vec<u8>, Vec<u8>, Exit)) -> (String, String, Option<i32>) {
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (text(out), text(err), exit.code)
}

#[test]
fn a_result_is_printed_and_an_error_goes_to_standard_error() {
    let mut host = Host::plain();
    host.exec(1, command(&[IPC, "tool.invoke.echo", "{\"a\":\"x\"}"]));
    let (mut stream, asked) = take(&host);
    assert_eq!((&asked["topic"], &asked["arguments"]), (&json!("tool.invoke.echo"), &json!({ "a": "x" })));
    answer(&mut stream, &asked, &json!({ "b": 1 }), &Value::Null);
    assert_eq!(text(host.collect(1)), ("{\"b\":1}\n".to_owned(), String::new(), Some(0)));

    host.exec(2, command(&[IPC, "tool.invoke.echo", "{}"]));
    let (mut stream, asked) = take(&host);
    let error = json!({ "code": "UNAUTHORIZED", "message": "no", "retriable": false, "stage": 4 });
    answer(&mut stream, &asked, &Value::Null, &error);
    let (out, err, code) = text(host.collect(2));
    assert_eq!((out.as_str(), serde_json::from_str::<Value>(&err).expect("JSON"), code), ("", error, Some(1)));
}

/// Arguments that have no room in an argument come on standard input.
#[test]
fn long_arguments_come_on_standard_input() {
    let mut host = Host::plain();
    host.exec(1, sh(&format!("(printf '{{\"a\":\"'; head -c 300000 /dev/zero | tr '\\0' x; printf '\"}}') | {IPC} tool.invoke.long -")));
    let (mut stream, asked) = take(&host);
    assert_eq!(asked["arguments"]["a"].as_str().map(str::len), Some(300_000));
    answer(&mut stream, &asked, &json!("y".repeat(300_000)), &Value::Null);
    let (out, _, code) = text(host.collect(1));
    assert_eq!((out.len(), code), (300_003, Some(0)));
}

#[test]
fn a_wrong_command_line_is_refused_before_anything_is_sent() {
    let mut host = Host::plain();
    let cases: &[&[&str]] = &[&[], &["tool.invoke.x"], &["tool.invoke.x", "[]"], &["tool.invoke.x", "{"], &["tool.invoke.x", "{}", "{}"]];
    for (stream, case) in (1..).zip(cases) {
        host.exec(stream, command(&[&[IPC], *case].concat()));
        let (out, err, code) = text(host.collect(stream));
        let error: Value = serde_json::from_str(&err).unwrap_or_else(|e| panic!("{e}: {err}"));
        assert_eq!(
            (out.as_str(), &error["code"], &error["retriable"], code),
            ("", &json!("CLI_ERROR"), &json!(false), Some(1)),
            "{case:?}"
        );
    }
    host.exec(50, sh(&format!("{IPC} tool.invoke.x \"$(printf '{{\"a\":\"\\377\"}}')\"")));
    assert!(text(host.collect(50)).1.contains("CLI_ERROR"));
    host.exec(51, sh(&format!("head -c 1100000 /dev/zero | tr '\\0' ' ' | {IPC} tool.invoke.x -")));
    assert!(text(host.collect(51)).1.contains("CLI_ERROR"));
    host.exec(52, command(&[IPC, "--help"]));
    assert!(text(host.collect(52)).0.contains("usage: ipc"));
}

/// Several calls of one sandbox at once, each with its own name.
#[test]
fn calls_of_several_processes_do_not_meet() {
    let mut host = Host::plain();
    host.exec(1, sh(&format!("for i in 1 2 3 4; do {IPC} tool.invoke.n \"{{\\\"n\\\":$i}}\" & done; wait")));
    let mut calls: Vec<_> = (0..4).map(|_| take(&host)).collect();
    calls.reverse();
    let names: std::collections::BTreeSet<String> = calls.iter().map(|(_, asked)| asked["correlation"].to_string()).collect();
    assert_eq!(names.len(), 4);
    for (stream, asked) in &mut calls {
        answer(stream, asked, &asked["arguments"]["n"], &Value::Null);
    }
    let mut lines: Vec<String> = text(host.collect(1)).0.lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["1", "2", "3", "4"]);
}

#[test]
fn an_mcp_client_inside_finds_the_hosts_tools() {
    let mut host = Host::plain();
    let lines = [
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "protocolVersion": "2025-06-18" } }),
        json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" }),
        json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": { "name": "echo", "arguments": { "a": 1 } } }),
    ];
    let script: Vec<String> = lines.iter().map(|line| format!("echo '{line}'")).collect();
    host.exec(1, sh(&format!("({}) | {IPC} mcp", script.join("; "))));
    let (mut stream, asked) = take(&host);
    answer(
        &mut stream,
        &asked,
        &json!({ "tools": [{ "name": "echo", "description": "e", "schema": { "type": "object" } }] }),
        &Value::Null,
    );
    let (mut stream, asked) = take(&host);
    assert_eq!(asked["topic"], "tool.invoke.echo");
    answer(&mut stream, &asked, &asked["arguments"], &Value::Null);
    let (out, _, code) = text(host.collect(1));
    let said: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((said.len(), code), (3, Some(0)));
    assert_eq!(said[1]["result"]["tools"][0]["name"], "echo");
    assert_eq!(said[2]["result"]["structuredContent"], json!({ "a": 1 }));
}
