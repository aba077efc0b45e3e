//! `lazaret job`: asking, waiting, looking, stopping, taking home.

use std::io::Read;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Lab, Ran};

/// The one identity that a command printed.
fn id_of(ran: Ran) -> String {
    let id = ran.succeeds().out.trim().to_owned();
    assert!(!id.is_empty() && !id.contains(char::is_whitespace), "{id}");
    id
}

#[test]
fn a_job_is_asked_for_watched_and_taken_home() {
    let lab = Lab::new();
    std::fs::write(lab.path("note.txt"), "by hand").expect("write");
    std::fs::write(lab.path("prompt.txt"), "say hello").expect("write");
    let note = lab.path("note.txt");
    let file = format!("{}:data/note.txt", note.display());
    let id = id_of(lab.run(&[
        "job",
        "create",
        "--agent-id",
        "me",
        "--prompt-file",
        lab.path("prompt.txt").to_str().expect("utf-8"),
        "--file",
        &file,
        "--artifact",
        "data/*",
        "--label",
        "team=red",
        "--priority",
        "7",
        "--retries",
        "1",
        "--timeout",
        "5m",
    ]));
    assert!(id.starts_with("me-"), "{id}");
    let waited = lab.run(&["job", "wait", &id]).succeeds();
    assert!(!waited.out.trim().is_empty() && waited.err.contains("completed"), "{} {}", waited.out, waited.err);
    let shown = lab.run(&["job", "show", &id, "--json"]).succeeds().events().remove(0);
    assert_eq!((&shown["status"], &shown["priority"], &shown["labels"]["team"]), (&json!("completed"), &json!(7), &json!("red")));
    let shown = lab.run(&["job", "show", &id]).succeeds().out;
    assert!(shown.contains("data/note.txt") && shown.contains("completed"), "{shown}");
    assert!(lab.run(&["job", "list", "--label", "team=red"]).succeeds().out.contains(&id));
    assert_eq!(lab.run(&["job", "list", "--status", "failed", "--json"]).succeeds().out, "");
    let log = lab.run(&["job", "logs", &id, "--json"]).succeeds();
    assert_eq!(log.result()["status"], "completed");
    assert_eq!(lab.run(&["job", "logs", &id, "--follow", "--json"]).succeeds().out, log.out);

    assert!(lab.run(&["job", "artifacts", &id]).succeeds().out.contains("data/note.txt"));
    assert_eq!(lab.run(&["job", "artifacts", &id, "data/note.txt"]).succeeds().out, "by hand");
    let home = lab.path("taken");
    let into = home.to_str().expect("utf-8");
    lab.run(&["job", "artifacts", &id, "--out", into]).succeeds();
    assert_eq!(std::fs::read_to_string(home.join("data/note.txt")).expect("read"), "by hand");
    // What is there is not written over, and no link leads elsewhere.
    lab.run(&["job", "artifacts", &id, "--out", into]).fails("PATH_UNUSABLE", 3);
    std::fs::remove_dir_all(home.join("data")).expect("remove");
    std::os::unix::fs::symlink(lab.path(""), home.join("data")).expect("link");
    lab.run(&["job", "artifacts", &id, "--out", into]).fails("PATH_UNUSABLE", 3);
    lab.run(&["job", "artifacts", &id, "data/none"]).fails("NOT_FOUND", 2);

    let again = id_of(lab.run(&["job", "retry", &id]));
    let again = lab.run(&["job", "wait", &again, "--json"]).succeeds().events().remove(0);
    assert_eq!(again["labels"]["retry_of"], id.as_str());
    lab.run(&["job", "remove", &id]).succeeds();
    lab.run(&["job", "show", &id]).fails("NOT_FOUND", 2);
}

#[test]
fn waiting_ends_as_the_job_does() {
    let lab = Lab::new();
    let done = lab.run(&["job", "create", "say hello", "--wait", "--json"]).succeeds().events().remove(0);
    assert_eq!((&done["status"], &done["agent_id"]), (&json!("completed"), &json!("cli")));
    let piped = lab.run_with(&["job", "create", "-", "--wait"], b"say hello").succeeds();
    assert!(!piped.out.trim().is_empty(), "{}", piped.err);

    let held = id_of(lab.run(&["job", "create", "x", "--delay", "1d"]));
    lab.run(&["job", "wait", &held, "--timeout", "1ms"]).fails("TIMEOUT", 4);
    lab.run(&["job", "remove", &held]).fails("CONFLICT", 1);
    lab.run(&["job", "cancel", &held]).succeeds();
    lab.run(&["job", "cancel", &held]).fails("CONFLICT", 1);
    lab.run(&["job", "wait", &held]).ends_with(130);
    let key = ["job", "create", "x", "--delay", "1d", "--key", "once"];
    assert_eq!(id_of(lab.run(&key)), id_of(lab.run(&key)));
}

/// Whoever interrupts `create --wait` stops the job; one who only waits does not.
#[test]
fn an_interrupt_stops_what_was_asked_for_here() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let mut command = lab.command(&["job", "create", "x", "--delay", "1d", "--wait"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run the binary");
    let mut said = Vec::new();
    let mut err = child.stderr.take().expect("a pipe");
    let mut byte = [0u8; 1];
    while said.last() != Some(&b'\n') {
        err.read_exact(&mut byte).expect("a line");
        said.push(byte[0]);
    }
    let id = String::from_utf8(said).expect("utf-8").trim().strip_prefix("job ").expect("an identity").to_owned();
    // It waits, or is about to: both end in the same way.
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("interrupt");
    let status = child.wait().expect("an end");
    assert!(status.code() == Some(130) || status.code().is_none(), "{status}");
    if status.code() == Some(130) {
        let job = lab.ask("GET", &format!("/v1/jobs/{id}"), Value::Null).is(200);
        assert_eq!(job["status"], "cancelled");
    }
}

#[test]
fn what_flags_may_not_say_is_refused_before_it_is_sent() {
    let lab = Lab::new();
    for (words, code, status) in [
        (&["--var", "x"][..], "USAGE", 2),
        (&["--var", "x=1", "--var", "x=2"], "USAGE", 2),
        (&["--label", "=x"], "USAGE", 2),
        (&["--timeout", "5"], "USAGE", 2),
        (&["--allow", "*.example.com"], "USAGE", 2),
        (&["--schema", "/nowhere"], "USAGE", 2),
        (&["--file", "/nowhere"], "PATH_UNUSABLE", 3),
        (&["--file", "/etc/hostname:../x"], "USAGE", 2),
        (&["--ref", "main"], "USAGE", 2),
        (&["--prompt", "y"], "USAGE", 2),
        (&["--output-format", "xml"], "USAGE", 2),
        (&["--max-turns", "101"], "USAGE", 2),
        (&["--agent-id", "a b"], "USAGE", 2),
    ] {
        lab.run(&[&["job", "create", "x"], words].concat()).fails(code, status);
    }
    lab.run(&["job", "create"]).fails("USAGE", 2);
    lab.run(&["job", "show", "../sessions"]).fails("NOT_FOUND", 2);
    lab.run(&["job", "create", "x", "--no-daemon"]).succeeds();
    assert_eq!(lab.run(&["job", "list", "--json"]).succeeds().events().len(), 1);
}
