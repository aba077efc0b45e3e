//! What stays of a session after its run.

use testkit::model_server::Script;

use crate::support::{KEY, Lab};

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
