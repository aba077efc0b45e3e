//! What stays of a session after its run.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::model_server::{Fault, Rule, Say, Script};

use crate::agent_tools::until;
use crate::support::{KEY, Lab};

/// Waits until it is so.
#[track_caller]
fn comes(mut so: impl FnMut() -> bool) {
    until(|| if so() { Ok(()) } else { Err(Value::Null) });
}

fn dirs(lab: &Lab) -> Vec<String> {
    let names = |dir: &str| {
        std::fs::read_dir(lab.home().join(dir)).into_iter().flatten().flatten().map(|e| e.file_name().to_string_lossy().into_owned())
    };
    names("sessions").chain(names("sandboxes")).filter(|name| name.starts_with("ses_") || name.starts_with("sbx_")).collect()
}

#[test]
fn a_session_stays_with_its_files_and_answers_again() {
    let lab = Lab::new();
    let server = lab.model(Script {
        key: Some(KEY.to_owned()),
        command: "echo kept >> /workspace/note; cat /workspace/note".to_owned(),
        ..Script::default()
    });
    lab.connect("anthropic", &server);
    for keep in [&["--keep"][..], &[]] {
        let mut args = vec!["run", "--json"];
        args.extend(keep);
        args.push("write a note");
        let result = lab.run(&args).succeeds().result();
        let session = result["session"].as_str().expect("a session").to_owned();
        lab.assert_nothing_left();
        lab.run(&["stop", "--grace", "0s"]).succeeds();
        let again = lab.run(&["run", "--json", "--resume", &session, "and again"]).succeeds();
        assert!(again.out.contains("kept\\nkept"), "the file of the first turn is there: {}", again.out);
        let seqs: Vec<u64> = again.events().iter().filter_map(|e| e["seq"].as_u64()).collect();
        assert!(seqs[0] > 1 && seqs.windows(2).all(|w| w[1] == w[0] + 1), "one log for all turns: {seqs:?}");
        lab.assert_nothing_left();
    }
}

#[test]
fn without_keep_nothing_stays() {
    let lab = Lab::new();
    lab.run(&["run", "--json", "a first one that stays"]).succeeds();
    let before = dirs(&lab);
    let result = lab.run(&["run", "--json", "--no-keep", "a secret errand"]).succeeds().result();
    let session = result["session"].as_str().expect("a session").to_owned();
    lab.run(&["run", "--resume", &session, "more"]).fails("NOT_FOUND", 2);
    assert_eq!(dirs(&lab), before, "its directory is gone");
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    for file in ["lazaret.db", "lazaret.db-wal"] {
        let bytes = std::fs::read(lab.home().join(file)).unwrap_or_default();
        assert!(!bytes.windows(15).any(|w| w == b"a secret errand"), "the prompt still stands in {file}");
    }
    lab.run(&["run", "--keep", "--no-keep", "x"]).ends_with(2);
}

#[test]
fn a_failed_run_without_keep_is_gone_too() {
    let lab = Lab::new();
    let program = lab.program("fails", "#!/bin/sh\nexit 3\n");
    let ran = lab.run(&["run", "--json", "--no-keep", "--model", "rehearsal", "--engine", &program, "x"]).ends_with(1);
    let session = ran.result()["session"].as_str().expect("a session").to_owned();
    lab.run(&["run", "--resume", &session, "more"]).fails("NOT_FOUND", 2);
    assert_eq!(dirs(&lab), [""; 0]);
}

#[test]
fn a_message_is_worked_on_also_when_it_meets_its_session_on_the_way_out() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let sessions: Vec<String> = (0..16).map(|_| lab.session(json!({}))).collect();
    for session in &sessions {
        let is_sent = AtomicBool::new(false);
        let turn = std::thread::scope(|scope| {
            // Over and over: one of them comes between the moment in which the message finds the session and that in which it is kept.
            scope.spawn(|| {
                while !is_sent.load(Ordering::SeqCst) {
                    lab.ask("POST", &format!("/v1/sessions/{session}/release"), Value::Null).is(200);
                }
            });
            let turn = lab.send(session, "hello");
            is_sent.store(true, Ordering::SeqCst);
            turn
        });
        assert_eq!(lab.result_of(session, &turn)["status"], "completed");
    }
    lab.run(&["stop", "--grace", "0s"]).succeeds();
}

#[test]
fn a_change_of_the_settings_leaves_the_calls_alone_that_are_under_way() {
    let lab = Lab::new();
    let said = Rule { contains: "hello".to_owned(), say: vec![Say::Text("good day".to_owned())] };
    let server = lab.model(Script { key: Some(KEY.to_owned()), rules: vec![said], ..Script::default() });
    lab.connect("anthropic", &server);
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let cost = |session: &str| lab.turn(session, "hello")["cost_usd"].clone();
    let plain = cost(&lab.session(json!({})));
    let calls = server.count();
    // The reply begins when the settings have been read anew.
    server.fail_next(1, Fault::SlowHead(Duration::from_secs(3)));
    let session = lab.session(json!({}));
    let turn = lab.send(&session, "hello");
    comes(|| server.count() > calls);
    for _ in 0..2 {
        lab.ask("POST", "/v1/reload", Value::Null).is(200);
    }
    let result = lab.result_of(&session, &turn);
    assert_eq!((&result["status"], &result["text"], &result["cost_usd"]), (&json!("completed"), &json!("good day"), &plain), "{result}");
    assert_eq!(server.count(), calls + 1, "it was not asked again");
    lab.run(&["stop", "--grace", "0s"]).succeeds();
}

#[test]
fn files_that_go_in_slowly_are_not_cut_off_for_having_nothing_to_do() {
    let lab = Lab::new();
    lab.run(&["config", "set", "sandbox.idle", "1s"]).succeeds();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let [slow, idle] = [(); 2].map(|()| lab.session(json!({})));
    let mut header = tar::Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o644);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, "note", &b"kept"[..]).expect("an archive");
    let tar = tar.into_inner().expect("an archive");
    let mut stream = UnixStream::connect(lab.home().join("run").join(api::OWNER_SOCKET)).expect("a daemon");
    let head = format!(
        "PUT /v1/sessions/{slow}/files?path=/workspace HTTP/1.1\r\nhost: lazaret\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        tar.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    stream.write_all(&tar[..600]).expect("sent");
    let alive = |session: &str| {
        let all = lab.ask("GET", "/v1/sandboxes", Value::Null).is(200);
        all["items"].as_array().expect("sandboxes").iter().any(|sandbox| sandbox["label"] == session)
    };
    comes(|| alive(&slow));
    // Another one that comes later has nothing to do for the same time, and goes.
    lab.turn(&idle, "hello");
    comes(|| !alive(&idle));
    assert!(alive(&slow));
    stream.write_all(&tar[600..]).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    // Now it has nothing to do either.
    comes(|| !alive(&slow));
    lab.run(&["stop", "--grace", "0s"]).succeeds();
}
