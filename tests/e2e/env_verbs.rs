//! What `lazaret env` can do.

use testkit::model_server::{Rule, Say, Script};

use crate::support::{KEY, Lab};

fn lab() -> Lab {
    let lab = Lab::new();
    let rule = |contains: &str, command: &str| Rule { contains: contains.to_owned(), say: vec![Say::Shell(command.to_owned())] };
    let server = lab.model(Script {
        key: Some(KEY.to_owned()),
        rules: vec![rule("write", "echo one > note; pwd"), rule("read", "cat note; ls"), rule("wait", "sleep 600")],
        ..Script::default()
    });
    lab.connect("anthropic", &server);
    // The server lives as long as its runtime, which is the lab's.
    std::mem::forget(server);
    lab
}

#[test]
fn saved_joined_and_deleted() {
    let lab = lab();
    let ran = lab.run_with(&["chat", "--json"], b"write\n").succeeds();
    let session = ran.result()["session"].as_str().expect("a session").to_owned();
    let slug = lab.run(&["env", "save", "--session", &session, "My Project!"]).succeeds().out;
    assert_eq!(slug, "my-project\n");
    for args in [&["env", "join", "my-project"][..], &["chat", "--env", "my-project"]] {
        let joined = lab.run_with(args, b"read\n").succeeds();
        assert!(joined.out.contains("one"), "{}", joined.out);
    }
    let ran = lab.run(&["run", "--env", "my-project", "read"]).succeeds();
    assert!(ran.out.contains("one"), "a run works there too: {}", ran.out);
    let list = lab.run(&["env", "list"]).succeeds().out;
    assert!(list.lines().nth(1).is_some_and(|line| line.starts_with("my-project") && line.ends_with("My Project!")), "{list}");
    lab.run(&["env", "save", "--session", &session, "Other"]).fails("CONFLICT", 1);
    lab.run(&["env", "create", "my project"]).fails("CONFLICT", 1);
    lab.run(&["env", "create", "!!!"]).fails("USAGE", 2);
    lab.run(&["env", "rename", "my-project", "Atlas"]).succeeds();
    assert!(lab.run(&["env", "show", "my-project"]).succeeds().out.contains("Atlas"));
    lab.run(&["env", "clone", "my-project", "Copy"]).succeeds();
    assert_eq!(lab.run(&["env", "files", "copy", "get", "note"]).succeeds().out, "one\n");
    lab.run(&["session", "send", &session, "wait"]).succeeds();
    let ran = lab.run(&["env", "delete", "my-project"]).fails("CONFLICT", 1);
    assert!(ran.err.contains(&session), "it says who works in it: {}", ran.err);
    lab.run(&["env", "delete", "my-project", "--force"]).succeeds();
    lab.run(&["env", "delete", "copy"]).succeeds();
    assert_eq!(lab.run(&["env", "list", "--json"]).succeeds().out, "");
    lab.run(&["env", "show", "my-project"]).fails("NOT_FOUND", 2);
    lab.run(&["env", "show", "../x"]).fails("NOT_FOUND", 2);
}

#[test]
fn memory_is_kept_and_bounded() {
    let lab = lab();
    lab.run(&["env", "create", "lab"]).succeeds();
    lab.run(&["env", "memory", "lab", "The sky is green here."]).succeeds();
    assert_eq!(lab.run(&["env", "memory", "lab"]).succeeds().out, "The sky is green here.\n");
    lab.run_with(&["env", "memory", "lab", "-"], "ä".repeat(4000).as_bytes()).succeeds();
    lab.run_with(&["env", "memory", "lab", "-"], "ä".repeat(4001).as_bytes()).fails("USAGE", 2);
    assert_eq!(lab.run(&["env", "memory", "lab"]).succeeds().out.trim_end(), "ä".repeat(4000));
}

#[test]
fn files_in_and_out() {
    let lab = lab();
    lab.run(&["env", "create", "lab"]).succeeds();
    let files = |args: &[&str]| lab.run(&[&["env", "files", "lab"], args].concat());
    files(&["mkdir", "a/b"]).succeeds();
    lab.run_with(&["env", "files", "lab", "put", "-", "a/b/leaf"], b"green").succeeds();
    assert_eq!(files(&["get", "a/b/leaf"]).succeeds().out, "green");
    let (here, back) = (lab.path("here.bin"), lab.path("back.bin"));
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(&here, &bytes).expect("write");
    files(&["put", here.to_str().expect("utf-8")]).succeeds();
    files(&["get", "here.bin", "-o", back.to_str().expect("utf-8")]).succeeds();
    assert!(std::fs::read(&back).expect("read") == bytes, "the same bytes come back");
    let list = files(&["ls"]).succeeds().out;
    assert!(list.contains("here.bin") && list.lines().any(|l| l.starts_with("dir") && l.ends_with(" a")), "{list}");
    files(&["rm", "a"]).succeeds();
    files(&["get", "a/b/leaf", "-o", back.to_str().expect("utf-8")]).ends_with(2);
    assert!(std::fs::read(&back).expect("read") == bytes, "a failed read leaves the file here as it was");
    for path in ["../x", "/etc/passwd", "a/../../x"] {
        assert!(files(&["get", path]).status != 0, "{path}");
        assert!(files(&["mkdir", path]).status != 0, "{path}");
    }
    lab.run_with(&["env", "files", "lab", "put", "-"], b"x").fails("USAGE", 2);
}

#[test]
fn a_variable_is_no_env() {
    let lab = lab();
    lab.run_with(&["chat", "--env", "nowhere"], b"read\n").fails("NOT_FOUND", 2);
    lab.run_with(&["chat", "--env", "one", "--env", "two"], b"read\n").fails("USAGE", 2);
    let ran = lab.run(&["run", "--env", "COLOUR=green", "--engine", "/usr/bin/env", "--model", "rehearsal", "x"]);
    assert!(!ran.err.contains("NOT_FOUND"), "{}", ran.err);
}
