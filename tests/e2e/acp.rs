//! Engines that are spoken with over the Agent Client Protocol: real ones, from a description alone, and hostile ones.

use std::process::Stdio;

use serde_json::{Value, json};
use testkit::model_server::{Rule, Say, Script};

use crate::engines::install;
use crate::support::{KEY, Lab, bounded, of_type};

/// What a shell is told to print.
const PRINTED: &str = "tide-table-0815";

fn script() -> Script {
    let first = Rule {
        contains: "first question".to_owned(),
        say: vec![Say::Shell(format!("echo {PRINTED} > /workspace/tide; cat /workspace/tide")), Say::Text("the first answer".to_owned())],
    };
    let answer = |to: &str, text: &str| Rule { contains: to.to_owned(), say: vec![Say::Text(text.to_owned()); 3] };
    let others = [answer("third question", "the third answer"), answer("second question", "the second answer")];
    Script { key: Some(KEY.to_owned()), rules: others.into_iter().chain([first]).collect(), ..Script::default() }
}

/// A whole turn with a tool, a further one of the same process, and one of a process that goes on after another's end.
fn whole_turns(engine: &str, program: &str, provider: &str) {
    let lab = Lab::new();
    install(&lab, program);
    let server = lab.model(script());
    lab.connect(provider, &server);
    let told = |before: usize, both: [&str; 2]| {
        let requests = server.requests();
        let mut bodies = requests[before..].iter().map(|request| String::from_utf8_lossy(&request.body).into_owned());
        bodies.any(|body| both.iter().all(|text| body.contains(text)))
    };

    let ran = lab.run(&["run", "--json", "--engine", engine, "--budget-usd", "5", "first question"]).succeeds();
    let result = ran.result();
    assert!(result["text"].as_str().is_some_and(|text| text.contains("the first answer")), "{result}");
    assert!(!of_type(&ran.events(), "tool_call").is_empty() && !of_type(&ran.events(), "tool_result").is_empty(), "{}", ran.out);
    assert!(told(0, [PRINTED, "first question"]), "the tool did not do what it was asked");
    assert!(result["cost_usd"].as_f64() > Some(0.0), "{result}");
    let session = result["session"].as_str().expect("a session").to_owned();

    let before = server.requests().len();
    let ran = lab.run(&["run", "--json", "--resume", &session, "second question"]).succeeds();
    assert!(ran.result()["text"].as_str().is_some_and(|text| text.contains("the second answer")), "{}", ran.out);
    assert!(told(before, ["first question", "second question"]), "{engine} forgot the first turn");

    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let session = lab.session(json!({ "engine": engine }));
    let turn = lab.send(&session, "first question");
    assert_eq!(lab.result_of(&session, &turn)["status"], "completed");
    let before = server.requests().len();
    let turn = lab.send(&session, "second question");
    let result = lab.result_of(&session, &turn);
    assert!(result["text"].as_str().is_some_and(|text| text.contains("the second answer")), "{result}");
    assert!(told(before, ["first question", "second question"]), "{engine} forgot the first turn");
    // A daemon that comes after ends nothing.
    lab.kill_daemon();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let before = server.requests().len();
    let turn = lab.send(&session, "third question");
    assert_eq!(lab.result_of(&session, &turn)["status"], "completed");
    assert!(told(before, ["second question", "third question"]), "{engine} forgot the turns before");
    for request in server.requests() {
        let text = format!("{:?} {}", request.headers, String::from_utf8_lossy(&request.body));
        assert!(!text.contains("lazaret-placeholder"), "the placeholder went out: {}", request.target);
    }
}

#[test]
fn gemini_speaks_the_protocol() {
    whole_turns("gemini-acp", "gemini", "gemini");
}

#[test]
fn opencode_speaks_the_protocol() {
    whole_turns("opencode-acp", "opencode", "anthropic");
}

/// What every agent of these tests begins with: it answers, and does what `work` says.
const AGENT: &str = r#"#!/usr/bin/python3
import json, sys, time
SELF = {"n": 0}
def out(value): sys.stdout.write(json.dumps(value) + "\n"); sys.stdout.flush()
def answer(id, result): out({"jsonrpc": "2.0", "id": id, "result": result})
def update(kind, **more): out({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "s-1", "update": {"sessionUpdate": kind, **more}}})
def say(text): update("agent_message_chunk", content={"type": "text", "text": text})
def loop(work):
    for line in sys.stdin:
        asked = json.loads(line)
        method, id = asked.get("method"), asked.get("id")
        if method == "initialize": answer(id, {"protocolVersion": 1, "agentCapabilities": {"loadSession": False}})
        elif method == "session/new": answer(id, {"sessionId": "s-1"})
        elif method is not None: work(method, id, asked.get("params"))
"#;

/// Describes an agent that does this, and gives its name.
fn describe(lab: &Lab, name: &str, work: &str) -> String {
    let program = lab.program(name, &format!("{AGENT}\n{work}\nloop(work)\n"));
    let dir = std::path::Path::new(&program).parent().expect("a directory").display().to_string();
    let text = format!("name = \"{name}\"\ncommand = [\"/usr/bin/python3\", \"/home/sandbox/{name}/{name}\"]\nprotocol = \"acp\"\n");
    let file = lab.path(&format!("{name}.toml"));
    std::fs::write(&file, text).expect("write");
    lab.run(&["engine", "add", file.to_str().expect("utf-8")]).succeeds();
    dir
}

fn run(lab: &Lab, name: &str, dir: &str, more: &[&str]) -> crate::support::Ran {
    let mount = format!("{dir}:/home/sandbox/{name}");
    let mut args = vec!["run", "--json", "--engine", name, "--mount", &mount];
    args.extend(more);
    args.push("go");
    lab.run(&args)
}

#[test]
fn an_agent_that_keeps_to_nothing_harms_only_its_turn() {
    let lab = Lab::new();
    // Lines without end, answers to questions that nobody asked, the same answer twice, wrong names, then a right answer.
    let work = r#"
def work(method, id, params):
    sys.stdout.write("x" * (9 << 20) + "\n")
    for wrong in [0, 3, 999, None, "1001", {"a": 1}]: answer(wrong, {"stopReason": "end_turn", "sessionId": "../../etc"})
    out([1, 2]); out("text"); out(None)
    say("here I am")
    answer(id, {"stopReason": "end_turn"}); answer(id, {"stopReason": "refusal"}); say("and again")
"#;
    let dir = describe(&lab, "liar", work);
    let ran = run(&lab, "liar", &dir, &[]).succeeds();
    let result = ran.result();
    assert_eq!((&result["status"], &result["text"]), (&json!("completed"), &json!("here I am")), "{result}");
    assert!(
        of_type(&ran.events(), "notice").iter().any(|n| n["text"].as_str().is_some_and(|t| t.contains("was passed over"))),
        "{}",
        ran.out
    );
}

#[test]
fn an_agent_that_never_answers_runs_out_of_time() {
    let lab = Lab::new();
    let dir = describe(&lab, "mute", "def work(method, id, params): say('hm')");
    let ran = run(&lab, "mute", &dir, &["--timeout", "5s"]).ends_with(4);
    assert_eq!(ran.result()["status"], "timeout");
}

#[test]
fn an_agent_of_another_version_is_told_apart() {
    let lab = Lab::new();
    let dir = describe(
        &lab,
        "future",
        "def work(*_): pass\ndef loop(work):\n    answer(json.loads(sys.stdin.readline())['id'], {'protocolVersion': 7})\n    time.sleep(600)",
    );
    let ran = run(&lab, "future", &dir, &[]).ends_with(1);
    let error = of_type(&ran.events(), "error").pop().cloned().unwrap_or_default();
    assert!(error["message"].as_str().is_some_and(|m| m.contains("version 7")), "{}", ran.out);
}

/// It asks for what it may not have, and hears no; for permission, and hears yes.
#[test]
fn an_agent_gets_no_file_of_the_host() {
    let lab = Lab::new();
    let work = r#"
HEARD = []
def work(method, id, params):
    ask = [("fs/read_text_file", {"sessionId": "s-1", "path": "/etc/shadow"}), ("terminal/create", {"sessionId": "s-1", "command": "id"}),
        ("session/request_permission", {"sessionId": "s-1", "toolCall": {"toolCallId": "t"}, "options": [{"optionId": "y", "kind": "allow_once", "name": "y"}]})]
    for n, (name, params) in enumerate(ask):
        out({"jsonrpc": "2.0", "id": n, "method": name, "params": params})
        heard = json.loads(sys.stdin.readline())
        HEARD.append(heard["error"]["code"] if "error" in heard else heard["result"]["outcome"]["optionId"])
    say(json.dumps(HEARD)); answer(id, {"stopReason": "end_turn"})
"#;
    let dir = describe(&lab, "asker", work);
    let result = run(&lab, "asker", &dir, &[]).succeeds().result();
    assert_eq!(result["text"], "[-32601, -32601, \"y\"]");
}

/// Who cancels waits for an agent that has its last word, and not for one that has none.
#[test]
fn a_turn_is_cancelled_with_a_word() {
    let lab = Lab::new();
    let work = r#"
def work(method, id, params):
    if method == "session/prompt": SELF["id"] = id; say("at work\n")
    elif method == "session/cancel": say("I stop"); answer(SELF["id"], {"stopReason": "cancelled"}); answer(SELF["id"], {"stopReason": "end_turn"})
"#;
    let dir = describe(&lab, "polite", work);
    // Who cancels does not wait for long: on a machine that stands still for that time there is no last word. One that is never heard is
    // not heard in any of these.
    assert!((0..10).any(|_| has_last_word(&lab, &dir)), "its last word is not heard");
}

/// Cancels a turn, and says whether the agent had its last word.
fn has_last_word(lab: &Lab, dir: &str) -> bool {
    let mount = format!("{dir}:/home/sandbox/polite");
    let mut command = lab.command(&["run", "--json", "--engine", "polite", "--mount", &mount, "go"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    let _bound = bounded(&child);
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().expect("a pipe")));
    let mut next = || lines.next().map(|line| serde_json::from_str::<Value>(&line.expect("text")).expect("JSON"));
    while next().expect("a line")["type"] != "text" {}
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("interrupted");
    let said: Vec<Value> = std::iter::from_fn(next).collect();
    assert_eq!(child.wait().expect("ended").code(), Some(130));
    let result = said.iter().find(|event| event["type"] == "result");
    assert!(result.is_none_or(|result| result["status"] == "cancelled"), "{said:?}");
    result.is_some() && said.iter().any(|event| event["text"] == "I stop")
}
