//! What `lazaret session` can do with a session.

use serde_json::Value;
use testkit::model_server::{Rule, Say, Script};

use crate::support::{KEY, Lab, Ran, comes};

/// A lab whose model runs whatever command a message holds between `$(` and `)`, and says what it printed.
fn lab() -> Lab {
    let lab = Lab::new();
    let rule = |contains: &str, say: Vec<Say>| Rule { contains: contains.to_owned(), say };
    let shell = |command: &str| vec![Say::Shell(command.to_owned())];
    let server = lab.model(Script {
        key: Some(KEY.to_owned()),
        rules: vec![
            rule("write one", shell("echo one > note; cat note")),
            rule("write two", shell("echo two >> note; echo x > other; cat note")),
            rule("read", shell("cat note; ls")),
            rule("wait", shell("sleep 600")),
            rule("draw lots", vec![Say::Shell("od -An -N8 -tx1 /dev/urandom > lot; cat lot".to_owned())]),
        ],
        ..Script::default()
    });
    lab.connect("anthropic", &server);
    // The server lives as long as its runtime, which is the lab's.
    std::mem::forget(server);
    lab
}

/// Says this in a new session and gives its identity.
fn begin(lab: &Lab, lines: &str) -> String {
    let ran = lab.run_with(&["chat", "--json"], lines.as_bytes()).succeeds();
    ran.events()[0]["session"].as_str().expect("a session").to_owned()
}

fn text_of(ran: &Ran) -> String {
    ran.result()["text"].as_str().expect("a text").to_owned()
}

#[test]
fn lists_and_logs() {
    let lab = lab();
    let session = begin(&lab, "write one\nwrite two\n");
    let other = begin(&lab, "read\n");
    let list = lab.run(&["session", "list"]).succeeds().out;
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines[0].starts_with("session") && lines[1].starts_with(&other) && lines[2].starts_with(&session), "{list}");
    let show = lab.run(&["session", "show", &session]).succeeds().out;
    assert!(show.contains("2, now at the end of turn 2") && show.contains("idle"), "{show}");
    let turns = lab.run(&["session", "turns", "--json", &session]).succeeds().events();
    assert_eq!(turns.iter().map(|t| t["n"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(2)]);
    assert!(turns.iter().all(|t| t["checkpoint"] == true && t["in_history"] == true && t["outcome"] == "completed"), "{turns:?}");
    assert!(lab.run(&["session", "turns", &session]).succeeds().out.contains("write two"));
    let events = lab.run(&["session", "events", "--json", &session]).succeeds().events();
    assert!(events.iter().enumerate().all(|(n, e)| e["seq"] == n as u64 + 1), "dense");
    assert_eq!(events.iter().filter(|e| e["type"] == "result").count(), 2);
    let last = events.len().to_string();
    assert_eq!(lab.run(&["session", "events", "--json", &session, "--after", &last]).succeeds().out, "");
    for args in [["session", "show", "ses_x"], ["session", "turns", "../x"], ["session", "delete", ""]] {
        lab.run(&args).fails("NOT_FOUND", 2);
    }
    lab.run(&["session", "delete", &session, &other]).succeeds();
    assert_eq!(lab.run(&["session", "list", "--json"]).succeeds().out, "");
}

#[test]
fn sending_cancelling_and_archiving() {
    let lab = lab();
    let session = begin(&lab, "write one\n");
    let waited = lab.run(&["session", "send", "--json", "--wait", &session, "read"]).succeeds();
    assert!(text_of(&waited).contains("one"));
    std::fs::write(lab.path("leaf.txt"), "green").expect("write");
    let leaf = lab.path("leaf.txt");
    lab.run(&["session", "send", "--json", "--wait", "--file", leaf.to_str().expect("utf-8"), &session, "read"]).succeeds();
    let turn = lab.run(&["session", "send", &session, "wait"]).succeeds().out;
    assert!(turn.starts_with("trn_"), "{turn}");
    lab.run(&["session", "archive", &session]).fails("CONFLICT", 1);
    lab.run(&["session", "cancel", &session]).succeeds();
    let turns = || lab.run(&["session", "turns", "--json", &session]).succeeds().events();
    assert!(comes(|| turns().last().is_some_and(|t| t["state"] == "cancelled")), "{:?}", turns().last());
    lab.run(&["session", "archive", &session]).succeeds();
    lab.run(&["session", "send", &session, "read"]).fails("CONFLICT", 1);
    assert!(!lab.run(&["session", "list"]).succeeds().out.contains(&session));
    assert!(lab.run(&["session", "list", "--archived"]).succeeds().out.contains(&session));
    lab.run(&["session", "unarchive", &session]).succeeds();
    // The first one learns that the command before it was cut off.
    lab.run(&["session", "send", "--wait", &session, "read"]).succeeds();
    let again = lab.run(&["session", "send", "--json", "--wait", &session, "read"]).succeeds();
    assert!(text_of(&again).contains("one"), "the files are there: {}", again.out);
}

#[test]
fn undo_goes_back_and_forward() {
    let lab = lab();
    let session = begin(&lab, "write one\nwrite two\n");
    let read = || text_of(&lab.run(&["session", "send", "--json", "--wait", &session, "read"]).succeeds());
    let diff = lab.run(&["session", "diff", &session, "2"]).succeeds().out;
    assert!(diff.contains("changed  /home/sandbox/note") && diff.contains("added    /home/sandbox/other"), "{diff}");
    let patch = lab.run(&["session", "diff", &session, "2", "--patch", "/home/sandbox/note"]).succeeds().out;
    assert!(patch.contains("+two") && !patch.contains("+one"), "{patch}");
    let undone = lab.run(&["session", "undo", &session]).succeeds().out;
    assert!(undone.contains("at the end of turn 1"), "{undone}");
    let text = read();
    assert!(text.contains("one") && !text.contains("two") && !text.contains("other"), "{text}");
    lab.run(&["session", "undo", &session, "--to", "2"]).succeeds();
    let text = read();
    assert!(text.contains("two") && text.contains("other"), "{text}");
    lab.run(&["session", "undo", &session, "--to", "99"]).fails("CHECKPOINT_MISSING", 2);
    lab.run(&["session", "undo", &session, "--private", "--force"]).ends_with(2);
}

#[test]
fn the_best_of_four() {
    let lab = lab();
    let session = begin(&lab, "write one\n");
    let args = ["session", "fork", "--json", "-n", "4", "--prompt", "draw lots", &session];
    let forks = lab.run(&args).succeeds().events();
    assert_eq!(forks.len(), 4);
    let texts: std::collections::HashSet<&str> = forks.iter().filter_map(|f| f["text"].as_str()).collect();
    let ids: std::collections::HashSet<&str> = forks.iter().filter_map(|f| f["session"].as_str()).collect();
    assert!(texts.len() == 4 && ids.len() == 4 && !ids.contains(session.as_str()), "each drew its own: {forks:?}");
    assert!(forks.iter().all(|f| f["status"] == "completed" && f["cost_usd"].is_number()), "{forks:?}");
    let one = forks[0]["session"].as_str().expect("a session");
    let read = text_of(&lab.run(&["session", "send", "--json", "--wait", one, "read"]).succeeds());
    assert!(read.contains("one") && read.contains("lot"), "it began where the other stood: {read}");
    let own = text_of(&lab.run(&["session", "send", "--json", "--wait", &session, "read"]).succeeds());
    assert!(!own.contains("lot"), "the original is untouched: {own}");
    let table = lab.run(&["session", "fork", "-n", "2", "--prompt", "read", &session]).succeeds().out;
    assert_eq!(table.lines().filter(|line| line.starts_with("ses_") && line.contains("completed")).count(), 2, "{table}");
    lab.run(&["session", "fork", "-n", "0", &session]).fails("USAGE", 2);
    lab.run(&["session", "fork", "-n", "17", &session]).fails("USAGE", 2);
    let plain = lab.run(&["session", "fork", "--at", "0", &session]).succeeds().out;
    let read = text_of(&lab.run(&["session", "send", "--json", "--wait", plain.trim(), "read"]).succeeds());
    assert!(read.contains("No such file"), "it began at the beginning: {read}");
}

#[test]
fn out_of_one_home_and_into_another() {
    let (lab, elsewhere) = (lab(), lab());
    let session = begin(&lab, "write one\n");
    let file = lab.path("session.tar");
    let file = file.to_str().expect("utf-8");
    lab.run(&["session", "export", &session, "-o", file]).succeeds();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file).expect("written").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let id = elsewhere.run(&["session", "import", file]).succeeds().out.trim().to_owned();
    assert!(id.starts_with("ses_") && id != session, "{id}");
    let read = text_of(&elsewhere.run(&["session", "send", "--json", "--wait", &id, "read"]).succeeds());
    assert!(read.contains("one"), "{read}");
    let turns: Vec<Value> = elsewhere.run(&["session", "turns", "--json", &id]).succeeds().events();
    assert_eq!(turns.len(), 2, "the old turn and the new one: {turns:?}");
    let mut bytes = std::fs::read(file).expect("read");
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(file, bytes).expect("write");
    assert!(elsewhere.run(&["session", "import", file]).status != 0, "a changed archive is refused");
    assert_eq!(elsewhere.run(&["session", "list", "--json"]).succeeds().events().len(), 1, "and leaves nothing");
    lab.run(&["session", "import", "/nowhere"]).fails("PATH_UNUSABLE", 3);
}
