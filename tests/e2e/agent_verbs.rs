//! What `lazaret agent`, `token`, `tools` and the new settings can do.

use testkit::model_server::{Rule, Say, Script};

use crate::support::{KEY, Lab};

#[test]
fn an_agent_has_instructions() {
    let lab = Lab::new();
    let server = lab.model(Script {
        key: Some(KEY.to_owned()),
        rules: vec![Rule { contains: "hello".to_owned(), say: vec![Say::Text("hello too".to_owned())] }],
        ..Script::default()
    });
    lab.connect("anthropic", &server);
    std::fs::write(lab.path("words.md"), "Speak like a harbour pilot.\n").expect("write");
    let file = format!("@{}", lab.path("words.md").display());
    lab.run(&["agent", "add", "pilot", "--instructions", &file, "--engine", "mini", "--memory", "1g"]).succeeds();
    lab.run(&["agent", "add", "pilot"]).fails("CONFLICT", 1);
    lab.run(&["agent", "add", "Not A Name"]).fails("USAGE", 2);
    let shown = lab.run(&["agent", "show", "--json", "pilot"]).succeeds().events();
    assert_eq!(shown[0]["instructions"], "Speak like a harbour pilot.");
    assert_eq!(shown[0]["limits"]["memory_bytes"], 1u64 << 30);
    lab.run_with(&["chat", "--agent", "pilot"], b"hello\n").succeeds();
    let asked = server.requests().iter().any(|r| String::from_utf8_lossy(&r.body).contains("harbour pilot"));
    assert!(asked, "the instructions reach the model");
    lab.run_with(&["agent", "set", "pilot", "--instructions", "-"], b"Be brief.").succeeds();
    let shown = lab.run(&["agent", "show", "pilot"]).succeeds().out;
    assert!(shown.contains("Be brief.") && shown.contains("mini") && !shown.contains("harbour"), "{shown}");
    let list = lab.run(&["agent", "list"]).succeeds().out;
    assert!(list.contains("pilot"), "{list}");
    lab.run_with(&["chat", "--agent", "nobody"], b"hello\n").fails("NOT_FOUND", 2);
    lab.run(&["agent", "remove", "pilot"]).fails("CONFLICT", 1);
    let sessions = lab.run(&["session", "list", "--json", "--agent", "pilot"]).succeeds().events();
    assert_eq!(sessions.len(), 1);
    lab.run(&["session", "delete", sessions[0]["id"].as_str().expect("a session")]).succeeds();
    lab.run(&["agent", "remove", "pilot"]).succeeds();
    lab.run(&["agent", "show", "pilot"]).fails("NOT_FOUND", 2);
}

#[test]
fn the_wrong_word_names_the_right_one() {
    let lab = Lab::new();
    let ran = lab.run(&["agent", "merge", "x"]).fails("USAGE", 2);
    assert!(ran.err.contains("lazaret agents merge"), "{}", ran.err);
    let ran = lab.run(&["agents", "add", "--instructions", "x"]).fails("USAGE", 2);
    assert!(ran.err.contains("lazaret agent add"), "{}", ran.err);
    let ran = lab.run(&["agents"]).fails("USAGE", 2);
    assert!(ran.err.contains("Agents on branches"), "{}", ran.err);
}

#[test]
fn tokens_are_shown_once() {
    let lab = Lab::new();
    let made = lab.run(&["token", "add", "laptop", "--scope", "read", "--expires", "30d"]).succeeds();
    let token = made.out.trim().to_owned();
    assert!(token.starts_with("lzt_") && token.len() == 68, "{token}");
    let list = lab.run(&["token", "list"]).succeeds().out;
    assert!(list.contains("laptop") && list.contains("read") && !list.contains(&token), "{list}");
    assert!(!lab.run(&["token", "list", "--json"]).succeeds().out.contains(&token));
    lab.run(&["token", "add", "x", "--scope", "everything"]).fails("USAGE", 2);
    lab.run(&["token", "add", "x", "--scope", "read", "--expires", "soon"]).fails("USAGE", 2);
    lab.run(&["token", "revoke", "laptop"]).succeeds();
    assert!(lab.run(&["token", "list"]).succeeds().out.contains("revoked"));
    lab.run(&["token", "revoke", "laptop"]).fails("NOT_FOUND", 2);
}

#[test]
fn a_file_becomes_a_tool() {
    let lab = Lab::new();
    std::fs::write(lab.path("greet"), "#!/bin/sh\necho hello from a tool\n").expect("write");
    let file = format!("file:{}", lab.path("greet").display());
    lab.run(&["tools", "install", &file]).succeeds();
    let list = lab.run(&["tools", "list"]).succeeds().out;
    assert!(list.contains("file:greet"), "{list}");
    let ran = lab.run_with(&["shell"], b"greet\n");
    assert!(ran.out.contains("hello from a tool"), "{} {}", ran.out, ran.err);
    lab.run(&["tools", "remove", "file:greet"]).succeeds();
    assert_eq!(lab.run(&["tools", "list", "--json"]).succeeds().out, "");
    lab.run(&["tools", "remove", "file:greet"]).fails("NOT_FOUND", 2);
}

#[test]
fn settings_of_sessions() {
    let lab = Lab::new();
    lab.run(&["config", "set", "sessions.running_max", "3"]).succeeds();
    lab.run(&["config", "set", "sessions.running_max", "0"]).fails("CONFIG_INVALID", 2);
    lab.run(&["config", "set", "mounts.roots", "[{ path = \"/\" }]"]).fails("CONFIG_INVALID", 2);
    lab.run(&["config", "set", "vault", "notes"]).fails("CONFIG_INVALID", 2);
    let shown = lab.run(&["config", "show"]).succeeds().out;
    assert!(shown.contains("running_max = 3") && shown.contains("checkpoints = \"turn\""), "{shown}");
    lab.run(&["run", "hello"]).succeeds();
    assert!(lab.run(&["status"]).succeeds().out.contains("at most 3 turns at once"));
    assert_eq!(lab.run(&["status", "--json"]).succeeds().events()[0]["running_max"], 3);
}
