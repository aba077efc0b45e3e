//! Conversations: line by line, and on a terminal.

use serde_json::json;
use testkit::model_server::{Rule, Say, Script};

use crate::support::{KEY, Lab};
use crate::typed::Typed;

/// A model that answers to the words in a message.
fn script(rules: &[(&str, &[Say])]) -> Script {
    let rules = rules.iter().map(|(contains, say)| Rule { contains: (*contains).to_owned(), say: say.to_vec() }).collect();
    Script { key: Some(KEY.to_owned()), rules, ..Script::default() }
}

fn shell(command: &str) -> Say {
    Say::Shell(command.to_owned())
}

fn text(text: &str) -> Say {
    Say::Text(text.to_owned())
}

/// The session that a command says how to go on with.
fn session_of(said: &str) -> String {
    let at = said.rfind("--session ses_").expect("how to go on") + "--session ".len();
    said[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

#[test]
fn each_line_is_a_turn_of_one_session() {
    let lab = Lab::new();
    let server =
        lab.model(script(&[("write it", &[shell("echo kept > note; pwd"), text("it is written")]), ("read it", &[shell("cat note")])]));
    lab.connect("anthropic", &server);
    let ran = lab.run_with(&["chat"], b"write it\n\nread it\n").succeeds();
    assert!(ran.out.starts_with("it is written\n") && ran.out.contains("kept"), "{}", ran.out);
    assert!(ran.err.contains("/home/sandbox") && ran.err.contains("$0.0"), "{}", ran.err);
    let session = session_of(&ran.err);
    // Another daemon, the same session.
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    let again = lab.run_with(&["chat", "--json", "--session", &session], b"read it\n").succeeds();
    let result = again.result();
    assert!(result["text"].as_str().is_some_and(|t| t.contains("kept")), "{result}");
    assert_eq!(result["session"], session.as_str());
    let shown = lab.run(&["session", "show", "--json", &session]).succeeds().events();
    assert_eq!((shown[0]["turns"].as_u64(), shown[0]["workdir"].as_str()), (Some(3), Some("/home/sandbox")));
}

#[test]
fn it_ends_at_the_first_turn_that_fails() {
    let lab = Lab::new();
    let program = lab.program("picky", "#!/bin/sh\nread line || true\ncase \"$line$*\" in *bad*) exit 3;; esac\necho fine\n");
    let ran = lab.run_with(&["chat", "--json", "--model", "rehearsal", "--engine", &program], b"good\nbad\ngood\n").ends_with(1);
    let results: Vec<_> = ran.events().into_iter().filter(|e| e["type"] == "result").map(|e| e["status"].clone()).collect();
    assert_eq!(results, ["completed", "failed"]);
}

#[test]
fn a_conversation_without_a_word_leaves_no_session() {
    let lab = Lab::new();
    lab.run_with(&["chat"], b"").succeeds();
    lab.run_with(&["chat"], b"\n  \n").succeeds();
    assert_eq!(lab.run(&["session", "list", "--json"]).succeeds().out, "");
    lab.run_with(&["chat", "--session", "ses_00000000000000000000000000000000"], b"x\n").fails("NOT_FOUND", 2);
}

#[test]
fn a_session_keeps_what_it_was_made_with() {
    let lab = Lab::new();
    lab.run_with(&["chat", "--title", "A \x1b]0;x\x07 title"], b"hello\n").fails("USAGE", 2);
    let session = session_of(&lab.run_with(&["chat", "--title", "A title"], b"hello \x1b]0;x\x07\n").succeeds().err);
    lab.run_with(&["chat", "--session", &session, "--model", "other"], b"x\n").fails("USAGE", 2);
    lab.run_with(&["chat", "--session", &session, "--env", "K=V"], b"x\n").fails("USAGE", 2);
    lab.run_with(&["chat", "--session", &session, "--memory", "1g"], b"x\n").fails("USAGE", 2);
    assert!(lab.run(&["session", "list"]).succeeds().out.contains("A title"));
    let turns = lab.run(&["session", "turns", &session]).succeeds().out;
    assert!(!turns.contains('\x1b') && turns.contains("\\u{1b}]0;x"), "{turns}");
}

#[test]
fn a_question_is_answered_by_the_next_line() {
    let lab = Lab::new();
    let ask = Say::Tool { name: "ask_user".to_owned(), input: json!({ "question": "which colour?", "options": ["red", "blue"] }) };
    let server = lab.model(script(&[("paint", &[ask])]));
    lab.connect("anthropic", &server);
    let ran = lab.run_with(&["chat"], b"paint it\n2\n").succeeds();
    assert!(ran.err.contains("? which colour?") && ran.err.contains("2. blue"), "{}", ran.err);
    assert!(ran.out.contains("blue"), "the answer reached the model: {}", ran.out);
    // Without a line that answers, the turn waits for whoever comes.
    let ran = lab.run_with(&["chat"], b"paint it\n").ends_with(1);
    let session = session_of(&ran.err);
    lab.run(&["session", "answer", &session, "red"]).succeeds();
    lab.run_with(&["chat", "--json", "--session", &session], b"hello\n").succeeds();
    let events = lab.run(&["session", "events", "--json", &session]).succeeds().events();
    let heard = events.iter().any(|e| e["type"] == "tool_result" && e["output"].as_str().is_some_and(|o| o.contains("red")));
    assert!(heard, "{events:?}");
}

#[test]
fn directories_of_this_machine_are_opened_again() {
    let lab = Lab::new();
    let server = lab
        .model(script(&[("look", &[shell("pwd; cat /home/sandbox/books/leaf; cat note; echo kept > note; touch /home/sandbox/books/x")])]));
    lab.connect("anthropic", &server);
    for dir in ["work", "books"] {
        std::fs::create_dir(lab.path(dir)).expect("make");
    }
    std::fs::write(lab.path("books/leaf"), "green\n").expect("write");
    let (work, books) = (lab.path("work"), format!("{}:books", lab.path("books").display()));
    let args = ["chat", "--workspace", work.to_str().expect("utf-8"), "--mount", &books];
    let ran = lab.run_with(&args, b"look\n").succeeds();
    assert!(ran.out.contains("/workspace\ngreen") && ran.out.contains("Read-only"), "{}", ran.out);
    assert_eq!(std::fs::read_to_string(lab.path("work/note")).expect("written"), "kept\n");
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    let again = lab.run_with(&["chat", "--session", &session_of(&ran.err)], b"look\n").succeeds();
    assert!(again.out.contains("green\nkept"), "another daemon has the same directories: {}", again.out);
}

#[test]
fn on_a_terminal() {
    let lab = Lab::new();
    let server = lab.model(script(&[
        ("write it", &[shell("echo one > note"), text("it \x1b]52;c;eA==\x07 is written")]),
        ("wait", &[shell("sleep 600")]),
        ("upload/leaf.txt", &[shell("cat upload/leaf.txt")]),
        ("read it", &[shell("cat note")]),
    ]));
    lab.connect("anthropic", &server);
    std::fs::write(lab.path("leaf.txt"), "green").expect("write");
    let mut chat = Typed::start(&lab, &["chat"]);
    chat.expect("/help lists the commands");
    chat.line("/help");
    chat.expect("/undo [TURN]");
    chat.line("/nonsense");
    chat.expect("no command /nonsense");
    chat.line("write it");
    chat.expect("is written");
    chat.expect("completed in");
    chat.line("/diff");
    chat.expect("/home/sandbox/note");
    chat.line("/diff 1 /home/sandbox/note");
    chat.expect("+one");
    chat.line("look at @leaf.txt please");
    chat.expect("attached upload/leaf.txt");
    chat.expect("green");
    chat.expect("completed in");
    // A daemon that ends between two turns is not noticed.
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    chat.line("read it");
    chat.expect("one");
    chat.expect("completed in");
    chat.line("wait");
    chat.expect("sleep 600");
    chat.keys("\x03");
    chat.expect("cancelled in");
    chat.line("read it");
    chat.expect("completed in");
    chat.line("/undo 0");
    chat.expect("at its beginning");
    chat.line("read it");
    chat.expect("No such file");
    chat.expect("completed in");
    // Before the prompt is there the terminal itself takes this key.
    chat.expect("> ");
    chat.keys("\x04");
    assert_eq!(chat.ends(), 0, "{}", chat.all());
    let all = chat.all();
    assert!(all.contains("to go on: lazaret chat --session ses_"), "{all}");
    assert!(!all.contains("\x1b]52;"), "no model steers the terminal");
    let history = std::fs::read_to_string(lab.home().join("chat-history")).expect("a history");
    assert!(history.lines().any(|line| line == "write it"), "{history}");
}

#[test]
fn interrupts_questions_and_other_ways_on() {
    let lab = Lab::new();
    let ask = Say::Tool { name: "ask_user".to_owned(), input: json!({ "question": "which colour?", "options": ["red", "blue"] }) };
    let server = lab.model(script(&[
        ("paint", &[ask]),
        ("write it", &[shell("echo one > note"), text("it is written")]),
        ("read it", &[shell("cat note")]),
        ("wait", &[shell("sleep 600")]),
    ]));
    lab.connect("anthropic", &server);
    let mut chat = Typed::start(&lab, &["chat"]);
    chat.expect("/help lists the commands");
    chat.line("write it");
    chat.expect("completed in");
    chat.line("paint it");
    chat.expect("? which colour?");
    chat.expect("answer> ");
    chat.line("2");
    chat.expect("blue");
    chat.expect("completed in");
    chat.line("/env save My Tree");
    chat.expect("my-tree");
    chat.line("/fork");
    chat.expect("stays as it is; going on in ses_");
    chat.line("read it");
    chat.expect("one");
    chat.expect("completed in");
    chat.line("wait");
    chat.expect("sleep 600");
    chat.keys("\x03");
    chat.expect("cancelled in");
    chat.expect("> ");
    chat.keys("\x03");
    assert_eq!(chat.ends(), 130, "the second interrupt leaves: {}", chat.all());
    let sessions = lab.run(&["session", "list", "--json"]).succeeds().events();
    let envs: Vec<_> = sessions.iter().map(|s| s["env"].clone()).collect();
    assert_eq!(sessions.len(), 2);
    assert!(envs.contains(&json!("my-tree")) && envs.contains(&json!(null)), "a fork is private: {envs:?}");
}
