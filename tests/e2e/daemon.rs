//! The daemon's life and its HTTP port.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use serde_json::Value;

use crate::marks;
use crate::support::{Lab, PATIENCE, bounded, comes, first_line};

pub(crate) fn http(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.write_all(request.as_bytes()).expect("write");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read");
    answer
}

pub(crate) fn get(address: &str, path: &str, headers: &str) -> String {
    http(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n"))
}

#[test]
fn up_status_stop() {
    let lab = Lab::new();
    lab.run(&["status"]).ends_with(1);
    lab.run(&["--no-daemon", "run", "x"]).fails("DAEMON_MISSING", 3);
    let mut up = lab.command(&["up", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().expect("up");
    let line = first_line(&mut up);
    let address = line.split("http://").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address").to_owned();
    lab.run(&["status"]).succeeds();
    lab.run(&["up"]).fails("CONFLICT", 1);
    lab.run(&["start"]).fails("CONFLICT", 1);

    assert!(get(&address, "/health", "").starts_with("HTTP/1.1 200"));
    assert!(get(&address, "/ready", "").starts_with("HTTP/1.1 200"));
    let refused = get(&address, "/v1/sandboxes", "");
    assert!(refused.starts_with("HTTP/1.1 401") && refused.contains("UNAUTHORIZED"), "{refused}");
    let token = std::fs::read_to_string(lab.home().join("token")).expect("a token");
    let bearer = format!("Authorization: Bearer {}\r\n", token.trim());
    assert!(get(&address, "/v1/sandboxes", &bearer).starts_with("HTTP/1.1 200"));
    assert!(get(&address, "/v1/sandboxes", "Authorization: Bearer lzt_wrong\r\n").starts_with("HTTP/1.1 401"));
    assert!(get(&address, "/v1/sandboxes", &format!("{bearer}Origin: http://evil.example\r\n")).starts_with("HTTP/1.1 403"));
    let rebound = http(&address, &format!("GET /v1/sandboxes HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n{bearer}\r\n"));
    assert!(rebound.starts_with("HTTP/1.1 403"), "{rebound}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(lab.home().join("token")).expect("there").permissions());
    assert_eq!(mode & 0o777, 0o600);

    lab.run(&["stop", "--grace", "1s"]).succeeds();
    let _bound = bounded(&up);
    assert!(up.wait().expect("wait").success());
    lab.run(&["status"]).ends_with(1);
}

#[test]
fn every_route_but_the_open_ones_wants_a_token() {
    let lab = Lab::new();
    let ready = lab.run(&["start", "--listen", "127.0.0.1:0", "--json"]).succeeds().events();
    let address = ready[0]["address"].as_str().expect("an address").to_owned();
    let id = "0".repeat(32);
    for (method, path) in [
        ("GET", "/v1/status".to_owned()),
        ("POST", "/v1/reload".to_owned()),
        ("POST", "/v1/shutdown".to_owned()),
        ("GET", "/v1/engines".to_owned()),
        ("POST", "/v1/engines/codex/install".to_owned()),
        ("POST", "/v1/engines/codex/verify".to_owned()),
        ("DELETE", "/v1/engines/codex".to_owned()),
        ("GET", "/v1/secrets".to_owned()),
        ("PUT", "/v1/secrets/x".to_owned()),
        ("DELETE", "/v1/secrets/x".to_owned()),
        ("GET", "/v1/usage".to_owned()),
        ("GET", "/v1/sandboxes".to_owned()),
        ("POST", "/v1/sandboxes".to_owned()),
        ("GET", format!("/v1/sandboxes/sbx_{id}")),
        ("DELETE", format!("/v1/sandboxes/sbx_{id}")),
        ("GET", format!("/v1/sandboxes/sbx_{id}/files?path=/")),
        ("PUT", format!("/v1/sandboxes/sbx_{id}/files?path=/")),
        ("POST", format!("/v1/sandboxes/sbx_{id}/exec")),
        ("POST", "/v1/sessions".to_owned()),
        ("GET", format!("/v1/sessions/ses_{id}")),
        ("DELETE", format!("/v1/sessions/ses_{id}")),
        ("POST", format!("/v1/sessions/ses_{id}/messages")),
        ("GET", format!("/v1/sessions/ses_{id}/events")),
        ("POST", format!("/v1/sessions/ses_{id}/cancel")),
        ("POST", format!("/v1/sessions/ses_{id}/release")),
        ("POST", format!("/v1/sessions/ses_{id}/resume")),
        ("POST", format!("/v1/sessions/ses_{id}/replay")),
        ("GET", format!("/v1/sessions/ses_{id}/files?path=/")),
        ("PUT", format!("/v1/sessions/ses_{id}/files?path=/")),
        ("GET", format!("/v1/sessions/ses_{id}/tape")),
        ("PUT", format!("/v1/sessions/ses_{id}/tape")),
        ("POST", "/v1/replays".to_owned()),
        ("POST", "/v1/login/link".to_owned()),
        ("GET", "/v1/nonsense".to_owned()),
    ] {
        let answer =
            http(&address, &format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 401"), "{method} {path}: {answer}");
    }
    lab.run(&["status"]).succeeds();
}

#[test]
fn listening_for_others_needs_tls() {
    let lab = Lab::new();
    lab.run(&["up", "--listen", "0.0.0.0:0"]).fails("FORBIDDEN", 3);
    lab.run(&["up", "--listen", "nonsense"]).fails("USAGE", 2);
}

#[test]
fn two_commands_at_once_share_one_daemon() {
    let lab = Lab::new();
    std::thread::scope(|scope| {
        for n in 0..4 {
            let lab = &lab;
            scope.spawn(move || {
                let said = format!("run number {n}");
                assert!(lab.run(&["run", &said]).succeeds().out.contains(&said));
            });
        }
    });
}

#[test]
fn an_idle_daemon_on_demand_ends() {
    let lab = Lab::new();
    lab.run(&["config", "set", "daemon.idle", "1s"]).succeeds();
    lab.run(&["run", "and then rest"]).succeeds();
    assert!(comes(|| lab.run(&["status"]).status != 0), "the daemon stays");
}

#[test]
fn start_takes_the_place_of_an_idle_daemon_that_a_command_started() {
    let lab = Lab::new();
    lab.run(&["run", "leave a daemon behind"]).succeeds();
    lab.run(&["status"]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let id = lab.run(&["sandbox", "create"]).succeeds().out.trim().to_owned();
    lab.run(&["start"]).fails("CONFLICT", 1);
    lab.run(&["sandbox", "rm", &id]).succeeds();
}

#[test]
fn start_takes_the_place_of_a_daemon_whose_plugin_idles() {
    let lab = Lab::new();
    marks::install(&lab);
    lab.run(&["run", "leave a daemon behind"]).succeeds();
    let status = || lab.ask("GET", "/v1/status", Value::Null).is(200);
    assert!(comes(|| status()["sessions"] == 0 && status()["sandboxes"] == 1), "the plugin was asked what it offers: {}", status());
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
}
