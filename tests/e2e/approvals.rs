//! Calls of high risk: nothing happens without a yes, and with one it happens once.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::marks;
use crate::support::{KEY, Lab, Ran, bounded, comes, of_type};
use crate::typed::Typed;
use crate::web::Web;

/// A home with the plugin, and a model that makes marks.
fn lab() -> (Lab, ModelServer) {
    let lab = Lab::new();
    marks::install(&lab);
    let rule = |contains: &str, commands: &[String]| {
        let mut say: Vec<Say> = commands.iter().map(|command| Say::Shell(command.clone())).collect();
        say.push(Say::Text("it is over".to_owned()));
        Rule { contains: contains.to_owned(), say }
    };
    let both = format!("({}) & ({}) & wait", marks::command("left"), marks::command("right"));
    let rules = vec![rule("mark one", &[marks::command("one")]), rule("mark both", &[both])];
    let server = lab.model(Script { key: Some(KEY.to_owned()), rules, ..Script::default() });
    lab.connect("anthropic", &server);
    // The daemon that took the key in may be looking at the plugin just now, and would not make room for another one.
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    (lab, server)
}

/// Starts a turn in a session of its own, in the background; gives the session.
fn begin(lab: &Lab, text: &str) -> String {
    let made = lab.ask("POST", "/v1/sessions", json!({ "engine": "mini" })).is(201);
    let id = made["id"].as_str().expect("an identity").to_owned();
    lab.ask("POST", &format!("/v1/sessions/{id}/messages"), json!({ "text": text })).is(202);
    id
}

/// What the turn's tool printed, once it is over.
fn printed(lab: &Lab, session: &str) -> String {
    marks::is_in(lab, session, "idle");
    let events = lab.ask("GET", &format!("/v1/sessions/{session}/events?limit=1000"), Value::Null).is(200);
    let events = events["events"].as_array().expect("events").clone();
    let result = of_type(&events, "tool_result").first().map(|event| event["output"].clone());
    result.and_then(|output| output.as_str().map(str::to_owned)).unwrap_or_else(|| panic!("no tool has answered: {events:#?}"))
}

fn statuses(lab: &Lab, session: &str) -> Vec<String> {
    let events = lab.ask("GET", &format!("/v1/sessions/{session}/events?limit=1000"), Value::Null).is(200);
    let events = events["events"].as_array().expect("events").clone();
    of_type(&events, "approval").iter().map(|event| event["status"].as_str().expect("a status").to_owned()).collect()
}

fn id_of(view: &Value) -> &str {
    view["id"].as_str().expect("an identity")
}

fn up(lab: &Lab) {
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
}

#[test]
fn a_call_waits_for_a_yes_and_is_made_once() {
    let (lab, _server) = lab();
    up(&lab);
    let session = begin(&lab, "mark one");
    let asked = marks::pending(&lab, 1).remove(0);
    marks::is_in(&lab, &session, "waiting");
    assert_eq!((&asked["tool"], &asked["session"], &asked["risk"]), (&json!("mark_set"), &json!(session), &json!("high")), "{asked}");
    assert_eq!(asked["arguments"], json!({ "text": "one" }));
    assert!(asked["text"].as_str().is_some_and(|t| t.contains("\n  text = \"one\"\n")), "{asked}");
    assert!(marks::made(&lab).is_empty(), "nothing happens without a yes");
    let said = lab.run(&["approvals", "approve", id_of(&asked)]).succeeds();
    assert!(said.err.contains("text = \"one\"") && said.out.contains("approved"), "{}{}", said.err, said.out);
    let printed = printed(&lab, &session);
    assert!(printed.contains("marked 1") && printed.contains("status 0"), "{printed}");
    assert_eq!(marks::made(&lab), ["one"]);
    assert_eq!(statuses(&lab, &session), ["pending", "approved"]);
    // It is over: nothing can be said to it any more, and the same grant makes nothing again.
    let path = format!("/v1/approvals/{}", id_of(&asked));
    let view = lab.ask("GET", &path, Value::Null).is(200);
    assert_eq!((&view["status"], &view["call"], &view["answered_by"]), (&json!("approved"), &json!("made"), &json!("owner")), "{view}");
    for decision in ["approve", "deny"] {
        lab.ask("POST", &path, json!({ "decision": decision, "hash": asked["hash"] })).refused(409, "CONFLICT");
    }
    assert_eq!(marks::made(&lab), ["one"]);
    let rows = lab.run(&["audit", "query", "--json", "--kind", "confirmation"]).succeeds().events();
    let outcomes: Vec<_> = rows.iter().map(|row| row["outcome"].as_str().expect("a word")).collect();
    assert_eq!(outcomes, ["asked", "approved"]);
    // What nobody waits for is written a moment later, together with others.
    for kind in ["tool", "model"] {
        let query = ["audit", "query", "--json", "--kind", kind, "--session", &session];
        assert!(comes(|| !lab.run(&query).succeeds().events().is_empty()), "{kind}");
    }
    assert!(lab.run(&["audit", "verify"]).succeeds().out.contains("the chain is whole"));
}

#[test]
fn only_who_may_answers_and_only_to_what_was_seen() {
    let (lab, _server) = lab();
    let web = Web::start(&lab);
    let session = begin(&lab, "mark one");
    let asked = marks::pending(&lab, 1).remove(0);
    let path = format!("/v1/approvals/{}", id_of(&asked));
    let yes = json!({ "decision": "approve", "hash": asked["hash"] });
    lab.ask("POST", &path, json!({ "decision": "approve", "hash": "0".repeat(64) })).refused(409, "CONFLICT");
    lab.ask("POST", &path, json!({ "decision": "approve" })).refused(422, "USAGE");
    let answer = |scope: &str, tenant: Option<&str>| web.ask(&web.token(scope, tenant).0, "POST", &path, yes.clone());
    answer("read", None).refused(403, "FORBIDDEN");
    // To work is not to have the say.
    answer("write", None).refused(403, "FORBIDDEN");
    // Another tenant's is not seen.
    answer("approve", Some("team")).refused(404, "NOT_FOUND");
    assert!(marks::made(&lab).is_empty());
    answer("approve", Some("default")).is(200);
    assert!(printed(&lab, &session).contains("marked 1"));
    let by = lab.ask("GET", &path, Value::Null).is(200)["answered_by"].clone();
    assert!(by.as_str().is_some_and(|by| by.starts_with("token:tok_")), "{by}");
}

#[test]
fn a_no_is_told_with_its_word_and_silence_is_a_no() {
    let (lab, _server) = lab();
    up(&lab);
    let session = begin(&lab, "mark one");
    let asked = marks::pending(&lab, 1).remove(0);
    lab.run(&["approvals", "deny", "--note", "not today", id_of(&asked)]).succeeds();
    let said = printed(&lab, &session);
    assert!(said.contains("CONFIRMATION_DENIED") && said.contains("not today") && said.contains("status 1"), "{said}");
    lab.run(&["config", "set", "approvals.ttl", "1s"]).succeeds();
    lab.ask("POST", "/v1/reload", Value::Null).is(200);
    let session = begin(&lab, "mark one");
    let said = printed(&lab, &session);
    assert!(said.contains("CONFIRMATION_TIMEOUT") && said.contains("status 1"), "{said}");
    assert_eq!(statuses(&lab, &session), ["pending", "expired"]);
    let late = lab.run(&["approvals", "list", "--status", "expired", "--json"]).succeeds().events().remove(0);
    lab.run(&["approvals", "approve", id_of(&late)]).fails("CONFLICT", 1);
    assert!(marks::made(&lab).is_empty());
}

#[test]
fn several_are_answered_together_each_by_its_own_hash() {
    let (lab, _server) = lab();
    up(&lab);
    let session = begin(&lab, "mark both");
    let asked = marks::pending(&lab, 2);
    lab.run(&["approvals", "approve", "--all"]).fails("USAGE", 2);
    let said = lab.run(&["approvals", "approve", id_of(&asked[0]), id_of(&asked[1])]).succeeds();
    assert_eq!(said.out.matches("approved").count(), 2, "{}", said.out);
    let printed = printed(&lab, &session);
    assert_eq!(printed.matches("status 0").count(), 2, "{printed}");
    let mut made = marks::made(&lab);
    made.sort();
    assert_eq!(made, ["left", "right"]);
}

/// The daemon dies while a call waits: the question stays, and the call comes again to the next one.
#[test]
fn a_question_outlives_the_daemon() {
    let (lab, _server) = lab();
    up(&lab);
    let session = begin(&lab, "mark one");
    let before = marks::pending(&lab, 1).remove(0);
    marks::is_in(&lab, &session, "waiting");
    lab.kill_daemon();
    up(&lab);
    let after = marks::pending(&lab, 1).remove(0);
    assert_eq!((id_of(&after), &after["hash"]), (id_of(&before), &before["hash"]), "it is the same one");
    lab.run(&["approvals", "approve", id_of(&after)]).succeeds();
    let said = printed(&lab, &session);
    assert!(said.contains("marked 1") && said.contains("status 0"), "{said}");
    assert_eq!(marks::made(&lab), ["one"]);
    assert_eq!(statuses(&lab, &session), ["pending", "approved"]);
}

/// The daemon is stopped in order: it does not wait for the person, and does not give the turn up.
#[test]
fn a_question_outlives_an_orderly_stop() {
    let (lab, _server) = lab();
    up(&lab);
    let session = begin(&lab, "mark one");
    let before = marks::pending(&lab, 1).remove(0);
    marks::is_in(&lab, &session, "waiting");
    // Whoever waited for the person would be ended before this is over.
    lab.run(&["stop", "--grace", "1h"]).succeeds();
    up(&lab);
    lab.run(&["approvals", "approve", id_of(&before)]).succeeds();
    let said = printed(&lab, &session);
    assert!(said.contains("marked 1") && said.contains("status 0"), "{said}");
    assert_eq!(marks::made(&lab), ["one"]);
}

#[test]
fn a_cancelled_turn_takes_its_question_along() {
    let (lab, _server) = lab();
    up(&lab);
    let session = begin(&lab, "mark one");
    let asked = marks::pending(&lab, 1).remove(0);
    lab.ask("POST", &format!("/v1/sessions/{session}/cancel"), Value::Null).is(200);
    marks::is_in(&lab, &session, "idle");
    assert_eq!(statuses(&lab, &session), ["pending", "cancelled"]);
    lab.run(&["approvals", "approve", id_of(&asked)]).fails("CONFLICT", 1);
    assert!(marks::made(&lab).is_empty());
}

/// What an agent tries that wants to answer for the person: tools of that name, every door, and the daemon's port.
const TRIES: &str = r#"
cat > /tmp/try.py <<'END'
import json, socket, subprocess, sys
port, wanted = int(sys.argv[1]), []
asked = subprocess.Popen(["ipc", "tool.invoke.mark_set", '{"text":"forged"}'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
for tool in ["approvals_approve", "approve", "confirm", "approval_answer"]:
    said = subprocess.run(["ipc", "tool.invoke." + tool, '{"decision":"approve"}'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wanted.append(said.stdout.decode().find("UNKNOWN_TOOL") >= 0)
request = b"GET /v1/approvals?status=pending HTTP/1.1\r\nhost: lazaret\r\nconnection: close\r\n\r\n"
def reach(stream, first):
    stream.settimeout(2)
    try:
        stream.sendall(first + request)
        got = b""
        while True:
            piece = stream.recv(4096)
            if not piece:
                return got
            got += piece
    except OSError:
        return b""
for door in [b"lazaret/1 gateway", b"lazaret/1 broker", b"lazaret/1 egress", b"lazaret/1 control", b"lazaret/1 api", b""]:
    stream = socket.socket(socket.AF_UNIX)
    stream.connect("/run/lazaret/host.sock")
    first = door + b"\n" if door else b""
    wanted.append(b"apr_" not in reach(stream, first))
try:
    wanted.append(b"apr_" not in reach(socket.create_connection(("127.0.0.1", port), 2), b""))
except OSError:
    wanted.append(True)
asked.wait()
print("kept out" if all(wanted) else "got through: " + json.dumps(wanted))
END
python3 /tmp/try.py PORT 2>&1"#;

#[test]
fn nothing_inside_can_answer() {
    let lab = Lab::new();
    marks::install(&lab);
    let web = Web::start(&lab);
    let port = web.address.rsplit(['/', ':']).next().expect("a port");
    let say = vec![Say::Shell(TRIES.replace("PORT", port)), Say::Text("it is over".to_owned())];
    let rules = vec![Rule { contains: "answer it yourself".to_owned(), say }];
    let server = lab.model(Script { key: Some(KEY.to_owned()), rules, ..Script::default() });
    lab.connect("anthropic", &server);
    lab.ask("POST", "/v1/reload", Value::Null).is(200);
    let session = begin(&lab, "answer it yourself");
    let asked = marks::pending(&lab, 1).remove(0);
    // The owner reads by the same request what the agent could not.
    let seen = web.ask(&web.owner, "GET", "/v1/approvals?status=pending", Value::Null).is(200);
    assert_eq!(seen["items"][0]["id"], asked["id"]);
    lab.run(&["approvals", "deny", id_of(&asked)]).succeeds();
    let said = printed(&lab, &session);
    assert!(said.contains("kept out"), "{said}");
    assert!(marks::made(&lab).is_empty());
}

fn run_in_background(lab: &Lab, args: &[&str]) -> Child {
    lab.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run")
}

#[test]
fn a_run_without_a_terminal_says_how_it_is_answered() {
    let (lab, _server) = lab();
    let mut child = run_in_background(&lab, &["run", "--json", "--engine", "mini", "mark one"]);
    let _bound = bounded(&child);
    let asked = marks::pending(&lab, 1).remove(0);
    // It says so once it has looked at the question itself: one that was answered by then needs no answer any more.
    let hint = format!("lazaret approvals approve {}", id_of(&asked));
    let (mut err, mut said) = (BufReader::new(child.stderr.take().expect("a pipe")), String::new());
    while !said.contains(&hint) {
        assert!(err.read_line(&mut said).expect("read") > 0, "it does not say how it is answered: {said}");
    }
    lab.run(&["approvals", "approve", id_of(&asked)]).succeeds();
    let ran = Ran::wait(child).succeeds();
    assert_eq!(ran.result()["status"], "completed");
    assert_eq!(marks::made(&lab), ["one"]);
}

#[test]
fn a_conversation_asks_in_its_course() {
    let (lab, _server) = lab();
    let mut typed = Typed::start(&lab, &["chat", "--engine", "mini"]);
    typed.expect("> ");
    typed.line("mark one");
    typed.expect("text = \"one\"");
    typed.expect("approve? [y/N] ");
    typed.line("y");
    typed.expect("approved");
    typed.expect("it is over");
    typed.expect("> ");
    assert_eq!(marks::made(&lab), ["one"]);
    typed.line("now mark one again");
    typed.expect("approve? [y/N] ");
    typed.line("");
    typed.expect("denied");
    typed.expect("it is over");
    typed.expect("> ");
    typed.line("/quit");
    assert_eq!(typed.ends(), 0);
    assert_eq!(marks::made(&lab), ["one"]);
}
