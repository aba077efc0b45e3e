//! Whole turns against a server that answers from a script.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use super::*;

/// A server that gives one answer to each request, and what it was asked.
struct Server {
    url: String,
    asked: JoinHandle<Vec<Value>>,
}

impl Server {
    fn start(answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let asked = std::thread::spawn(move || answers.iter().map(|answer| reply(&listener, answer)).collect());
        Self { url, asked }
    }

    fn asked(self) -> Vec<Value> {
        self.asked.join().expect("every answer was asked for")
    }
}

fn reply(listener: &TcpListener, answer: &str) -> Value {
    let (stream, _) = listener.accept().expect("a client");
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a head");
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    reader.get_mut().write_all(answer.as_bytes()).expect("sent");
    serde_json::from_slice(&body).expect("JSON")
}

fn refuse(status: u16, text: &str) -> String {
    format!("HTTP/1.1 {status} x\r\nretry-after-ms: 1\r\ncontent-length: {}\r\n\r\n{text}", text.len())
}

fn stream(lines: &[Value]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| format!("event: x\ndata: {line}\n\n")).collect();
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{}", lines.concat())
}

/// Answers in the form of `wire`: a text, and a command where there is one.
fn say(wire: Wire, text: &str, command: Option<&str>) -> String {
    say_call(wire, text, "bash", command.map(|command| json!({ "command": command })))
}

/// Answers in the form of `wire`: a text, and a call of a tool where there is one.
fn say_call(wire: Wire, text: &str, name: &str, input: Option<Value>) -> String {
    let input = input.map(|input| input.to_string());
    let lines = match wire {
        Wire::Anthropic => {
            let mut lines = vec![
                json!({ "type": "message_start", "message": { "usage": { "input_tokens": 10 } } }),
                json!({ "type": "content_block_start", "content_block": { "type": "text", "text": "" } }),
                json!({ "type": "content_block_delta", "delta": { "type": "text_delta", "text": text } }),
            ];
            if let Some(input) = input {
                lines.push(json!({ "type": "content_block_start", "content_block": { "type": "tool_use", "id": "c1", "name": name, "input": {} } }));
                lines.push(json!({ "type": "content_block_delta", "delta": { "type": "input_json_delta", "partial_json": input } }));
            }
            lines.push(json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 4 } }));
            lines.push(json!({ "type": "message_stop" }));
            lines
        }
        Wire::OpenAi => {
            let calls = input.map(|input| json!([{ "index": 0, "id": "c1", "function": { "name": name, "arguments": input } }]));
            vec![
                json!({ "choices": [{ "delta": { "content": text, "tool_calls": calls } }] }),
                json!({ "choices": [{ "delta": {}, "finish_reason": "stop" }] }),
                json!({ "choices": [], "usage": { "prompt_tokens": 10, "completion_tokens": 4 } }),
            ]
        }
    };
    stream(&lines)
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Turn {
    result: Result<(), Trouble>,
    lines: Vec<Value>,
}

impl Turn {
    fn run(state: &Path, url: &str, wire: Wire, prompt: &str, resume: Option<String>) -> Self {
        let prompt_file = state.join("prompt");
        std::fs::write(&prompt_file, prompt).expect("written");
        let words = ["--base-url", url, "--model", "m", "--max-turns", "5"].map(str::to_owned);
        let mut options = Options::parse(words.into_iter()).expect("complete");
        options.wire = wire;
        options.state = state.to_owned();
        options.prompt_file = Some(prompt_file);
        options.resume = resume;
        let written = Written::default();
        let result = run(&options, &mut Events::to(written.clone()));
        let bytes = written.0.lock().expect("not poisoned").clone();
        let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        Self { result, lines: lines.map(|line| serde_json::from_slice(line).expect("JSON")).collect() }
    }

    fn types(&self) -> Vec<&str> {
        self.lines.iter().filter_map(|line| line["type"].as_str()).collect()
    }
}

/// A tool call and an answer, then a second turn of the same session, over both forms.
#[test]
fn a_tool_is_run_and_a_session_goes_on() {
    for wire in [Wire::Anthropic, Wire::OpenAi] {
        let state = tempfile::tempdir().expect("a directory");
        let server = Server::start(vec![say(wire, "Looking.", Some("echo found")), say(wire, "Done.", None), say(wire, "Again.", None)]);
        let first = Turn::run(state.path(), &server.url, wire, "go", None);
        first.result.as_ref().expect("ended well");
        assert_eq!(first.types(), ["session", "text", "tool_call", "tool_result", "text", "result"]);
        assert_eq!(first.lines[3]["output"], "found\n");
        let result = json!({ "type": "result", "text": "Done.", "turns": 2, "usage": { "input_tokens": 20, "output_tokens": 8, "cache_read_tokens": 0, "cache_write_tokens": 0 } });
        assert_eq!(first.lines[5], result);
        let id = first.lines[0]["id"].as_str().map(str::to_owned);
        let second = Turn::run(state.path(), &server.url, wire, "and now?", id.clone());
        second.result.as_ref().expect("ended well");
        assert_eq!(second.lines[0]["id"].as_str().map(str::to_owned), id);
        let asked = server.asked();
        let said = asked[2]["messages"].to_string();
        for part in ["go", "Looking.", "echo found", "found\\n", "Done.", "and now?"] {
            assert!(said.contains(part), "{part} is missing in {said}");
        }
    }
}

#[test]
fn what_may_pass_is_tried_again() {
    let state = tempfile::tempdir().expect("a directory");
    let cut = say(Wire::Anthropic, "Half", None).replace("message_stop", "ping").replace("end_turn", "");
    let cut = cut.split("event: x\ndata: {\"delta\":{\"stop").next().expect("a beginning").to_owned();
    let server = Server::start(vec![refuse(429, "slow"), refuse(503, "down"), cut, say(Wire::Anthropic, "Whole.", None)]);
    let turn = Turn::run(state.path(), &server.url, Wire::Anthropic, "go", None);
    turn.result.as_ref().expect("ended well");
    assert_eq!(turn.types(), ["session", "retry", "retry", "text", "retry", "text", "result"]);
    assert_eq!(turn.lines[1]["status"], 429);
    server.asked();
}

#[test]
fn what_will_not_pass_ends_the_turn_with_its_reason() {
    for (status, text) in [(401, "invalid key"), (400, "bad"), (429, "BUDGET_EXCEEDED")] {
        let state = tempfile::tempdir().expect("a directory");
        let server = Server::start(vec![refuse(status, text)]);
        let turn = Turn::run(state.path(), &server.url, Wire::Anthropic, "go", None);
        let trouble = turn.result.expect_err(text);
        assert_eq!(trouble.status, Some(status));
        assert!(trouble.message.contains(text));
        server.asked();
    }
}

#[test]
fn a_provider_that_stays_down_ends_the_turn() {
    let state = tempfile::tempdir().expect("a directory");
    let server = Server::start((0..=RETRIES_MAX).map(|_| refuse(503, "down")).collect());
    let turn = Turn::run(state.path(), &server.url, Wire::OpenAi, "go", None);
    assert_eq!(turn.result.expect_err("down").status, Some(503));
    assert_eq!(server.asked().len(), 5);
}

#[test]
fn a_model_that_never_ends_is_stopped() {
    let state = tempfile::tempdir().expect("a directory");
    let server = Server::start((0..5).map(|_| say(Wire::Anthropic, "", Some("true"))).collect());
    let turn = Turn::run(state.path(), &server.url, Wire::Anthropic, "go", None);
    assert!(turn.result.expect_err("too often").message.contains("5 times"));
    server.asked();
}

#[test]
fn bad_prompts_and_sessions_are_refused_before_anything_is_sent() {
    let state = tempfile::tempdir().expect("a directory");
    for (prompt, resume) in [(" \n", None), ("go", Some("mini_1".to_owned()))] {
        let turn = Turn::run(state.path(), "http://127.0.0.1:1", Wire::Anthropic, prompt, resume);
        assert!(turn.result.is_err() && turn.lines.is_empty());
    }
}

/// A process that takes several turns, seen from the other end of its pipes.
struct Process {
    input: Option<std::io::PipeWriter>,
    lines: std::io::Lines<BufReader<std::io::PipeReader>>,
    thread: JoinHandle<Result<(), Trouble>>,
}

impl Process {
    fn start(state: &Path, url: &str, resume: Option<&str>) -> Self {
        let words = ["--base-url", url, "--model", "m", "--stream"].map(str::to_owned);
        let mut options = Options::parse(words.into_iter()).expect("complete");
        options.state = state.to_owned();
        options.resume = resume.map(str::to_owned);
        let (stdin, input) = std::io::pipe().expect("a pipe");
        let (output, stdout) = std::io::pipe().expect("a pipe");
        let thread = std::thread::spawn(move || serve(&options, &mut Events::to(stdout), Input::of(BufReader::new(stdin))));
        Self { input: Some(input), lines: BufReader::new(output).lines(), thread }
    }

    fn write(&mut self, line: &Value) {
        writeln!(self.input.as_mut().expect("open"), "{line}").expect("written");
    }

    /// The next line of this type; those before it are passed over.
    fn wait(&mut self, kind: &str) -> Value {
        loop {
            let line = self.lines.next().expect("more lines").expect("readable");
            let line: Value = serde_json::from_str(&line).expect("JSON");
            if line["type"] == kind {
                return line;
            }
        }
    }

    /// Closes the input and gives what is still printed, and how it ended.
    fn end(mut self) -> (Vec<String>, Result<(), Trouble>) {
        self.input = None;
        let lines = self.lines.map(|line| line.expect("readable")).collect();
        (lines, self.thread.join().expect("no panic"))
    }
}

fn user(text: &str) -> Value {
    json!({ "type": "user", "text": text })
}

/// Turns follow one another in one process, a failed one among them, and a question is answered in between.
#[test]
fn a_process_takes_turn_after_turn_and_asks() {
    let wire = Wire::Anthropic;
    let state = tempfile::tempdir().expect("a directory");
    let asks = say_call(wire, "", "ask_user", Some(json!({ "question": "Which?", "options": ["red", "blue"] })));
    let server = Server::start(vec![asks, say(wire, "Blue then.", None), refuse(401, "no"), say(wire, "Third.", None)]);
    let mut process = Process::start(state.path(), &server.url, None);
    process.write(&user("one"));
    let session = process.wait("session")["id"].clone();
    assert_eq!(process.wait("tool_call")["name"], "ask_user");
    let question = process.wait("question");
    assert_eq!((&question["text"], &question["options"]), (&json!("Which?"), &json!(["red", "blue"])));
    process.write(&user("two"));
    process.write(&json!({ "type": "answer", "id": "another", "text": "red" }));
    process.write(&json!({ "type": "answer", "id": question["id"], "text": "blue" }));
    assert_eq!(process.wait("tool_result")["output"], "blue");
    assert_eq!(process.wait("result")["text"], "Blue then.");
    assert_eq!(process.wait("session")["id"], session);
    assert_eq!(process.wait("error")["status"], 401);
    process.write(&user(" "));
    process.wait("error");
    process.write(&user("three"));
    assert_eq!(process.wait("result")["text"], "Third.");
    let (rest, done) = process.end();
    done.expect("the end of the input is a good end");
    assert!(rest.is_empty(), "{rest:?}");
    let said = server.asked()[3]["messages"].to_string();
    for part in ["one", "Which?", "blue", "Blue then.", "two", "three"] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
}

/// A process that loses its host while it asks goes on without an answer; a killed one is resumed with its transcript.
#[test]
fn a_question_that_nobody_answers_does_not_hold_the_turn() {
    let wire = Wire::Anthropic;
    let state = tempfile::tempdir().expect("a directory");
    let asks = || say_call(wire, "Hm.", "ask_user", Some(json!({ "question": "Which?" })));
    let server = Server::start(vec![asks(), say(wire, "Alone.", None), asks(), say(wire, "Alone again.", None)]);
    let mut process = Process::start(state.path(), &server.url, None);
    process.write(&user("one"));
    let session = process.wait("session")["id"].as_str().expect("an identity").to_owned();
    process.wait("question");
    let (rest, done) = process.end();
    done.expect("the end of the input is a good end");
    assert!(rest[0].contains("Nobody is there") && rest[1..].iter().any(|line| line.contains("Alone.")), "{rest:?}");
    let turn = Turn::run(state.path(), &server.url, wire, "two", Some(session));
    turn.result.as_ref().expect("ended well");
    assert_eq!(turn.types(), ["session", "text", "tool_call", "tool_result", "text", "result"]);
    assert!(turn.lines[3]["is_error"] == true && turn.lines[3]["output"].as_str().is_some_and(|o| o.starts_with("Nobody")));
    assert!(server.asked()[2]["messages"].to_string().contains("Alone."));
}
