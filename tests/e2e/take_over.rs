//! What comes for a turn while a new daemon takes it up from one that was killed: it finds the turn in memory and not at work yet.

use serde_json::{Value, json};

use crate::support::{Lab, comes, of_type};

/// Questions of the turn, each answered at another moment.
const QUESTIONS: usize = 8;

/// A program that speaks as Claude Code does: it says so much that it takes a while to read that again, asks one question after the other,
/// and ends with what it was answered.
const PROGRAM: &str = r#"#!/usr/bin/python3
import json, sys
def say(value):
    sys.stdout.write(json.dumps(dict(value, session_id="s")) + "\n")
    sys.stdout.flush()
say(dict(json.loads(sys.stdin.readline()), isReplay=True))
for n in range(400):
    say({"type": "assistant", "message": {"model": "m", "content": [{"type": "text", "text": "x" * 20000}]}})
heard = []
for n in range(QUESTIONS):
    asked = {"questions": [{"question": f"Number {n}?"}]}
    request = {"subtype": "can_use_tool", "tool_name": "AskUserQuestion", "input": asked}
    say({"type": "control_request", "request_id": f"r{n}", "request": request})
    while True:
        response = json.loads(sys.stdin.readline()).get("response", {})
        if response.get("request_id") == f"r{n}":
            heard += response["response"]["updatedInput"]["answers"].values()
            break
say({"type": "result", "is_error": False, "num_turns": 1, "result": " ".join(heard)})
"#;

/// A home with a daemon, and a session of the program.
fn lab() -> (Lab, String) {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    lab.ask("POST", "/v1/envs", json!({ "name": "den" })).is(201);
    let form = |engine: &str, program: &str| json!({ "env": "den", "engine": engine, "program": program, "model": "rehearsal" });
    let writer = lab.session(form("program:/bin/bash", "/bin/bash"));
    let text = PROGRAM.replace("QUESTIONS", &QUESTIONS.to_string());
    let script = format!("cat > /home/sandbox/asks <<'END'\n{text}END\nchmod +x /home/sandbox/asks");
    assert_eq!(lab.turn(&writer, &script)["status"], "completed");
    let session = lab.session(form("claude-code", "/home/sandbox/asks"));
    (lab, session)
}

/// Waits until a question stands.
#[track_caller]
fn asked(lab: &Lab, session: &str, n: usize) {
    let view = || lab.ask("GET", &format!("/v1/sessions/{session}"), Value::Null).is(200);
    assert!(comes(|| view()["questions"][0]["text"] == format!("Number {n}?")), "{}", view());
}

#[test]
fn an_answer_counts_at_whichever_moment_it_comes() {
    let (lab, session) = lab();
    let turn = lab.send(&session, "ask me");
    for n in 0..QUESTIONS {
        asked(&lab, &session, n);
        lab.kill_daemon();
        lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
        // Each a little later than the one before.
        for _ in 0..4 * n {
            lab.ask("GET", "/v1/status", Value::Null).is(200);
        }
        lab.ask("POST", &format!("/v1/sessions/{session}/answer"), json!({ "text": format!("answer-{n}") })).is(200);
    }
    let answers: Vec<String> = (0..QUESTIONS).map(|n| format!("answer-{n}")).collect();
    assert_eq!(lab.result_of(&session, &turn)["text"], answers.join(" "));
    assert_eq!(of_type(&lab.log(&session), "question").len(), QUESTIONS, "each is asked once");
}

#[test]
fn what_is_cancelled_is_ended_at_whichever_moment_it_is_said() {
    let (lab, session) = lab();
    for n in 0..4 {
        let turn = lab.send(&session, "ask me");
        asked(&lab, &session, 0);
        lab.kill_daemon();
        lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
        for _ in 0..4 * n {
            lab.ask("GET", "/v1/status", Value::Null).is(200);
        }
        lab.ask("POST", &format!("/v1/sessions/{session}/cancel"), json!({})).is(200);
        assert_eq!(lab.result_of(&session, &turn)["status"], "cancelled");
    }
}
