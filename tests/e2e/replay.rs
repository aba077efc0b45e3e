//! Recording a run, and running it again without a model.

use testkit::model_server::Script;

use crate::support::{KEY, Lab};

#[test]
fn a_recorded_run_is_run_again_without_a_model() {
    let lab = Lab::new();
    let server = lab.model(Script { key: Some(KEY.to_owned()), ..Script::default() });
    lab.connect("anthropic", &server);
    let tape = lab.path("tape.jsonl");
    let tape = tape.to_str().expect("utf-8");
    let recorded = lab.run(&["run", "--json", "--record", tape, "remember this"]).succeeds();
    let asked = server.requests().len();
    assert!(asked >= 2);
    let text = std::fs::read_to_string(tape).expect("a tape");
    assert!(!text.contains(KEY), "the key stands on the tape");

    drop(server);
    let again = lab.run(&["replay", "--json", tape]).succeeds();
    assert_eq!(again.result()["text"], recorded.result()["text"]);
    let by_flag = lab.run(&["run", "--json", "--replay", tape, "remember this"]).succeeds();
    assert_eq!(by_flag.result()["text"], recorded.result()["text"]);
    let session = recorded.result()["session"].as_str().expect("a session").to_owned();
    lab.run(&["replay", "--json", &session]).succeeds();

    let differs = lab.run(&["run", "--json", "--replay", tape, "remember that"]).ends_with(1);
    assert_eq!(differs.result()["code"], "REPLAY_DIFFERS");
    assert!(differs.out.contains("this") && differs.out.contains("that"), "it says how: {}", differs.out);

    std::fs::write(tape, &text[..text.len() / 2]).expect("cut");
    lab.run(&["replay", tape]).fails("TAPE_INVALID", 2);
    std::fs::write(tape, text.replacen("remember this", "remember thus", 1)).expect("edit");
    lab.run(&["replay", tape]).fails("TAPE_INVALID", 2);
    lab.run(&["replay", "/nonexistent"]).fails("TAPE_INVALID", 2);
    lab.assert_nothing_left();
}

#[test]
fn a_rehearsal_can_be_recorded_and_run_again_too() {
    let lab = Lab::new();
    let tape = lab.path("tape.jsonl");
    let tape = tape.to_str().expect("utf-8");
    lab.run(&["run", "--record", tape, "Count the files."]).succeeds();
    lab.run(&["replay", tape]).succeeds();
}
