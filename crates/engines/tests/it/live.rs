//! Processes that take several turns. `live/claude-code.jsonl` is what the pinned version really wrote in three turns of
//! one process: one with a tool, one with a question, one with a text.

use lazaret_engines as engines;
use model::{Code, EventKind, Outcome};
use serde_json::{Value, json};

use crate::render;

fn engine(name: &str) -> &'static dyn engines::Engine {
    engines::by_name(name).expect("built in")
}

/// One turn: takes bytes until it is over, and gives what is left of them.
fn turn<'a>(name: &str, bytes: &'a [u8], step: usize, carried: engines::Carried) -> (Vec<engines::Parsed>, engines::End, &'a [u8]) {
    let mut feed = engines::Feed::new(engine(name).parser(carried));
    let (mut parsed, mut at) = (Vec::new(), 0);
    while !feed.is_over() {
        assert!(at < bytes.len(), "the turn came to no end");
        let to = (at + step).min(bytes.len());
        parsed.extend(feed.push(&bytes[at..to]));
        at = to;
    }
    let (rest, end) = feed.finish_live();
    parsed.extend(rest);
    (parsed, end, &bytes[at..])
}

fn recorded() -> Vec<u8> {
    std::fs::read(render::tests_dir().join("live/claude-code.jsonl")).expect("readable")
}

fn questions(parsed: &[engines::Parsed]) -> Vec<(&str, &str, &[String])> {
    let mut all = Vec::new();
    for one in parsed {
        if let engines::Parsed::Question { id, text, options } = one {
            all.push((id.as_str(), text.as_str(), options.as_slice()));
        }
    }
    all
}

#[test]
fn turns_of_one_process_are_told_apart() {
    let bytes = recorded();
    let (first, end, rest) = turn("claude-code", &bytes, 1, engines::Carried::default());
    assert!(first.iter().any(|p| matches!(p, engines::Parsed::Event(EventKind::ToolResult { output, .. }) if output == "tool-42")));
    assert_eq!((end.outcome, end.usage.input_tokens), (Outcome::Completed, 200));
    let session = end.engine_session.clone().expect("a session");
    let (second, end, rest) = turn("claude-code", rest, 1, end.carried);
    assert_eq!(questions(&second).len(), 1);
    assert_eq!((end.outcome, end.engine_session.as_ref()), (Outcome::Completed, Some(&session)));
    let cost = end.cost_usd.expect("a cost");
    assert!((cost - 0.0012).abs() < 1e-9, "two calls of this turn: {cost}");
    let (_, end, rest) = turn("claude-code", rest, 1, end.carried);
    assert_eq!((end.text.as_str(), end.engine_session.as_ref()), ("said: hello three | ", Some(&session)));
    assert!(end.cost_usd.is_some_and(|cost| (cost - 0.0006).abs() < 1e-9), "{:?}", end.cost_usd);
    assert!(rest.is_empty());
}

/// What comes in one piece with a turn's end belongs to no turn; nothing of it is told.
#[test]
fn nothing_is_read_beyond_the_end_of_a_turn() {
    let bytes = recorded();
    let (parsed, end, _) = turn("claude-code", &bytes, bytes.len(), engines::Carried::default());
    assert_eq!(questions(&parsed), []);
    assert!(end.text.contains("tool-42") && !end.text.contains("three"));
}

/// A turn that the program began by itself, before it heard of ours, is not taken for ours.
#[test]
fn a_result_that_nobody_asked_for_ends_no_turn() {
    let mut feed = engines::Feed::new(engine("claude-code").parser(engines::Carried::default()));
    let mut push = |line: Value| {
        feed.push(format!("{line}\n").as_bytes());
        feed.is_over()
    };
    let result = |text: &str| json!({ "type": "result", "session_id": "s", "is_error": false, "num_turns": 1, "result": text });
    assert!(!push(result("of a task")));
    assert!(!push(json!({ "type": "user", "isReplay": true, "message": { "content": [{ "type": "text", "text": "hello" }] } })));
    assert!(push(result("ours")));
    assert_eq!(feed.finish_live().1.text, "ours");
}

/// The program answers a command by itself: it repeats nothing of what it was told then, and its words are of a model that is none.
#[test]
fn what_the_program_itself_answers_ends_a_turn() {
    let reply = |error: Value| {
        let mut feed = engines::Feed::new(engine("claude-code").parser(engines::Carried::default()));
        let content = json!([{ "type": "text", "text": "Not enough messages to compact." }]);
        let message = json!({ "type": "assistant", "message": { "model": "<synthetic>", "content": content }, "error": error });
        let result =
            json!({ "type": "result", "session_id": "s", "is_error": false, "num_turns": 0, "result": "Not enough messages to compact." });
        feed.push(format!("{message}\n{result}\n").as_bytes());
        feed.is_over()
    };
    assert!(reply(Value::Null));
    assert!(!reply(json!("rate_limit")), "what tells of an error may be of another turn");
}

#[test]
fn a_question_of_claude_code_is_answered_with_its_input() {
    let bytes = recorded();
    let (_, end, rest) = turn("claude-code", &bytes, 1, engines::Carried::default());
    let (parsed, _, _) = turn("claude-code", rest, 1, end.carried);
    let [(id, text, options)] = questions(&parsed)[..] else { panic!("{parsed:?}") };
    assert_eq!((text, options), ("Which colour?", &["red".to_owned(), "blue".to_owned()][..]));
    let line = engine("claude-code").answer(id, "blue\n\"x\"");
    assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
    let answer: Value = serde_json::from_slice(&line).expect("JSON");
    let response = &answer["response"]["response"];
    assert_eq!((&answer["type"], &response["behavior"]), (&json!("control_response"), &json!("allow")));
    assert_eq!(response["updatedInput"]["answers"], json!({ "Which colour?": "blue\n\"x\"" }));
    assert_eq!(response["updatedInput"]["questions"][0]["options"][1]["label"], "blue");
    assert!(engine("claude-code").answer("not one of ours", "x").is_empty());
}

/// The program never waits for a word that nobody will say.
#[test]
fn what_is_no_question_to_a_person_is_answered_at_once() {
    let reply = |request: Value| {
        let line = json!({ "type": "control_request", "request_id": "r1", "request": request });
        let parsed = engine("claude-code").parser(engines::Carried::default()).line(&line.to_string());
        let [engines::Parsed::Reply(bytes)] = &parsed[..] else { panic!("{parsed:?}") };
        serde_json::from_slice::<Value>(bytes).expect("JSON")["response"].clone()
    };
    let allowed = reply(json!({ "subtype": "can_use_tool", "tool_name": "Write", "input": { "file_path": "/x" } }));
    assert_eq!((&allowed["response"]["behavior"], &allowed["response"]["updatedInput"]["file_path"]), (&json!("allow"), &json!("/x")));
    assert_eq!(reply(json!({ "subtype": "hook_callback" }))["subtype"], "error");
    let long = json!({ "questions": [{ "question": "x".repeat(engines::QUESTION_ID_BYTES_MAX) }] });
    for input in [long, json!({}), json!({ "questions": [] })] {
        let denied = reply(json!({ "subtype": "can_use_tool", "tool_name": "AskUserQuestion", "input": input }));
        assert_eq!(denied["response"]["behavior"], "deny");
    }
}

#[test]
fn mini_takes_turns_and_asks() {
    let lines = [
        json!({ "type": "session", "id": "mini_1", "model": "m" }),
        json!({ "type": "question", "id": "ask_1", "text": "Which?", "options": ["a", 1, "", "b"] }),
        json!({ "type": "result", "text": "one", "usage": { "input_tokens": 3 } }),
        json!({ "type": "session", "id": "mini_1", "model": "m" }),
        json!({ "type": "error", "status": 401, "message": "no" }),
    ];
    let bytes: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let (parsed, end, rest) = turn("mini", bytes.as_bytes(), 1, engines::Carried::default());
    assert_eq!(questions(&parsed), [("ask_1", "Which?", &["a".to_owned(), "b".to_owned()][..])]);
    assert_eq!((end.outcome, end.text.as_str()), (Outcome::Completed, "one"));
    let (_, end, _) = turn("mini", rest, 1, end.carried);
    assert_eq!((end.outcome, end.code), (Outcome::Failed, Some(Code::CredentialExpired)));
    let input: Value = serde_json::from_slice(&engine("mini").input("go\non").expect("a prompt")).expect("JSON");
    assert_eq!(input, json!({ "type": "user", "text": "go\non" }));
    let answer: Value = serde_json::from_slice(&engine("mini").answer("ask_1", "b")).expect("JSON");
    assert_eq!(answer, json!({ "type": "answer", "id": "ask_1", "text": "b" }));
}

/// Who writes a prompt may not write another line, nor a command.
#[test]
fn an_input_is_one_line_and_no_command() {
    for engine in engines::ALL {
        if !engine.live() {
            assert_eq!(engine.input("go").map_err(|f| f.code), Err(Code::Usage), "{}", engine.name());
            continue;
        }
        let line = engine.input("/clear\n{\"type\":\"user\"}\r\u{2028}").expect("a prompt");
        assert!(line.ends_with(b"\n") && line.iter().filter(|b| **b == b'\n').count() == 1, "{}", engine.name());
        for bad in ["", " \n", "a\0b"] {
            assert_eq!(engine.input(bad).map_err(|f| f.code), Err(Code::PromptInvalid));
        }
    }
    // Summing up is the one command that it takes.
    for (said, told) in [("/clear", " /clear"), ("/compact", "/compact"), ("/compact all", " /compact all")] {
        let line: Value = serde_json::from_slice(&engine("claude-code").input(said).expect("a prompt")).expect("JSON");
        assert_eq!(line["message"]["content"][0]["text"], told);
    }
}

/// An engine that was killed before it kept its session says so, and the host can begin anew.
#[test]
fn an_unknown_session_is_told_apart() {
    let exit = engines::Exit { code: Some(1), signal: None };
    let play = |name: &str, line: Value| {
        let mut feed = engines::Feed::new(engine(name).parser(engines::Carried::default()));
        let parsed = feed.push(format!("{line}\n").as_bytes());
        assert!(!parsed.iter().any(|p| matches!(p, engines::Parsed::SessionId(_))), "{parsed:?}");
        feed.finish(exit, "").1
    };
    let error = "No conversation found with session ID: 11111111-1111-4111-8111-111111111111";
    let line = json!({ "type": "result", "subtype": "error_during_execution", "is_error": true, "num_turns": 0, "session_id": "s", "errors": [error] });
    assert!(play("claude-code", line).is_unknown_session);
    let other = json!({ "type": "result", "is_error": true, "num_turns": 1, "errors": ["other"] });
    assert!(!play("claude-code", other).is_unknown_session);
    let line = json!({ "type": "error", "status": null, "message": "there is no session mini_1 to resume" });
    assert!(play("mini", line).is_unknown_session);
}
