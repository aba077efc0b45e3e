//! MCP servers that other people wrote, from PyPI and npm, as plugins with a manifest of a few lines.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Lab, project};

/// What `cargo xtask test` has installed of these packages.
fn servers(part: &str) -> PathBuf {
    let place = project("target/test-servers").join(part);
    assert!(place.is_dir(), "{} is not here: run `cargo xtask test e2e`, which installs it", place.display());
    place
}

/// The manifest that the cookbook shows for a plugin.
fn manifest(name: &str) -> String {
    let page = fs::read_to_string(project("docs/cookbook/use-an-mcp-server.md")).expect("read the cookbook");
    let after = page.split(&format!("`{name}/manifest.toml`")).nth(1).expect("the page shows it");
    let text = after.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a manifest");
    assert!(text.lines().count() <= 10, "ten lines are enough");
    text.to_owned()
}

/// A daemon whose tools volume holds the package, put there by hand, and the plugin of the cookbook.
fn lab(name: &str, fill: impl FnOnce(&Path)) -> Lab {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    // The tools volume is made when it is first looked at.
    lab.run(&["tools", "list"]).succeeds();
    fill(&lab.home().join("tools"));
    let dir = lab.path(name);
    fs::create_dir(&dir).expect("make");
    fs::write(dir.join("manifest.toml"), manifest(name)).expect("write");
    lab.run(&["plugin", "check", dir.to_str().expect("utf-8")]).succeeds();
    lab.run(&["plugin", "install", dir.to_str().expect("utf-8")]).succeeds();
    lab
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["-rT", "--no-preserve=ownership"]).arg(from).arg(to).status();
    assert!(copied.is_ok_and(|status| status.success()), "copy {}", from.display());
}

fn program(tools: &Path, name: &str, text: &str) {
    let path = tools.join("bin").join(name);
    fs::write(&path, text).expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
}

#[track_caller]
fn call(lab: &Lab, tool: &str, arguments: Value, words: &[&str]) -> Value {
    let arguments = arguments.to_string();
    let ran = lab.run(&[&["plugin", "call", tool, &arguments, "--json"], words].concat()).succeeds();
    ran.events().first().cloned().expect("a result")
}

/// An agent calls a tool through its shell.
#[track_caller]
fn by_an_agent(lab: &Lab, tool: &str, arguments: &Value) -> Value {
    let session = lab.session(json!({ "engine": "mini", "model": "rehearsal" }));
    let turn = lab.send(&session, &format!("call {tool} {arguments}"));
    assert_eq!(lab.result_of(&session, &turn)["status"], "completed");
    lab.log(&session).into_iter().find(|event| event["turn"] == turn.as_str() && event["type"] == "tool_result").expect("a result")
}

#[test]
fn a_server_from_pypi() {
    let lab = lab("clock", |tools| {
        copy(&servers("tools-python"), &tools.join("python"));
        program(tools, "mcp-server-time", "#!/usr/bin/python3\nfrom mcp_server_time import main\nmain()\n");
    });
    let arguments = json!({ "source_timezone": "Asia/Tokyo", "time": "12:00", "target_timezone": "Etc/UTC" });
    let converted = call(&lab, "convert_time", arguments.clone(), &[]).to_string();
    assert!(converted.contains("03:00"), "{converted}");
    let result = by_an_agent(&lab, "convert_time", &arguments).to_string();
    assert!(result.contains("03:00"), "{result}");
    lab.run(&["plugin", "call", "convert_time", r#"{"source_timezone":"Nowhere/At_all","time":"12:00","target_timezone":"Etc/UTC"}"#])
        .fails("HANDLER_ERROR", 1);
    lab.run(&["plugin", "call", "convert_time", r#"{"more":1}"#]).fails("VALIDATION_FAILED", 2);
}

#[test]
fn a_server_from_npm_that_keeps_a_file() {
    let lab = lab("graph", |tools| {
        copy(&servers("node/node_modules"), &tools.join("node_modules"));
        let run = "#!/bin/sh\nexec node /opt/lazaret-tools/node_modules/@modelcontextprotocol/server-memory/dist/index.js \"$@\"\n";
        program(tools, "mcp-server-memory", run);
    });
    let made = json!({ "entities": [{ "name": "Ada", "entityType": "person", "observations": ["likes engines"] }] });
    lab.run(&["plugin", "call", "graph_create_entities", &made.to_string()]).fails("FORBIDDEN", 3);
    call(&lab, "graph_create_entities", made, &["--yes"]);
    // Its process ends with the daemon, its file stays.
    lab.run(&["stop"]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let found = call(&lab, "graph_search_nodes", json!({ "query": "Ada" }), &[]).to_string();
    assert!(found.contains("likes engines"), "{found}");
    let result = by_an_agent(&lab, "graph_read_graph", &json!({})).to_string();
    assert!(result.contains("likes engines"), "{result}");
}

#[test]
fn a_server_over_http() {
    let server = testkit::servers::Everything::start();
    let lab = Lab::with_plugins();
    let url = format!("http://127.0.0.1:{}/mcp", server.port);
    lab.run(&["plugin", "add-remote", "every", "notes.example", "--low", "echo"]).fails("USAGE", 2);
    lab.run(&["plugin", "add-remote", "every", &url, "--token", "abc"]).fails("USAGE", 2);
    lab.run(&["plugin", "add-remote", "every", &url, "--low", "echo"]).succeeds();
    assert!(call(&lab, "echo", json!({ "message": "ahoy" }), &[]).to_string().contains("ahoy"));
    lab.run(&["plugin", "call", "get_sum", r#"{"a":1,"b":2}"#]).fails("FORBIDDEN", 3);
    assert!(call(&lab, "get_sum", json!({ "a": 1, "b": 2 }), &["--yes"]).to_string().contains('3'));
    // One that wants a token is offered as soon as it has one, and no longer once that is taken away.
    lab.run(&["plugin", "remove", "every"]).succeeds();
    lab.run_with(&["plugin", "add-remote", "every", &url, "--low", "echo", "--token", "-"], b"a-token-of-the-server").succeeds();
    assert!(call(&lab, "echo", json!({ "message": "again" }), &[]).to_string().contains("again"));
    lab.run(&["secret", "remove", "plugin.every.token"]).succeeds();
    lab.run(&["plugin", "reload", "every"]).succeeds();
    let shown = lab.run(&["plugin", "show", "every", "--json"]).succeeds();
    assert_eq!(shown.events()[0]["plugin"]["category"], "AUTH", "{}", shown.out);
    lab.run(&["plugin", "call", "echo", r#"{"message":"no"}"#]).fails("UNKNOWN_TOOL", 2);
}
