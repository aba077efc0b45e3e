//! Clients that hang up in the middle of what they asked for: nothing stays that was made for them alone.

use std::io::Write;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::branches::{Project, commits, spawn, status};
use crate::support::{Lab, comes};

/// Asks for something and waits for no answer.
fn begin(lab: &Lab, path: &str, body: &Value) -> UnixStream {
    let mut stream = UnixStream::connect(lab.home().join("run").join(api::OWNER_SOCKET)).expect("a daemon");
    let body = body.to_string();
    let head = "host: lazaret\r\ncontent-type: application/json\r\n";
    write!(stream, "POST {path} HTTP/1.1\r\n{head}content-length: {}\r\n\r\n{body}", body.len()).expect("ask");
    stream
}

/// How many sandboxes there are whose label begins so.
fn sandboxes(lab: &Lab, label: &str) -> usize {
    let list = lab.ask("GET", "/v1/sandboxes", Value::Null).is(200);
    let labels = list["items"].as_array().expect("a list").iter().filter_map(|one| one["label"].as_str());
    labels.filter(|known| known.starts_with(label)).count()
}

/// Whether a command runs, inside of whichever sandbox.
fn runs(command: &str) -> bool {
    let line = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
    let all = std::fs::read_dir("/proc").expect("processes").flatten().map(line);
    all.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).any(|line| line.trim_end() == command)
}

#[test]
fn the_sandbox_of_a_check_ends_with_whoever_wanted_to_know() {
    let lab = Lab::new();
    let project = Project::new(&lab, "project");
    spawn(&lab, &project, "one", &commits("one.txt", "1", "one"), &[]).succeeds();
    assert!(comes(|| sandboxes(&lab, "look:") == 0), "what brought the branch home is over");
    let id = status(&lab, &project, "one")["id"].as_str().expect("an identity").to_owned();
    // No other process of this machine sleeps so long.
    let sleep = format!("sleep {}", 1_000_000 + std::process::id());
    let waits = begin(&lab, &format!("/v1/branches/{id}/check"), &json!({ "command": sleep }));
    assert!(comes(|| runs(&sleep)), "the check is at work");
    assert_eq!(sandboxes(&lab, "look:"), 1);
    drop(waits);
    assert!(comes(|| sandboxes(&lab, "look:") == 0), "nobody wants to know any more");
    assert!(!runs(&sleep));
    // The next one finds everything as it was.
    let check = lab.ask("POST", &format!("/v1/branches/{id}/check"), json!({ "command": "test -f one.txt" })).is(200);
    assert_eq!(check["passed"], json!(true));
}
