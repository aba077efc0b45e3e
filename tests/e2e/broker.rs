//! The broker's refusals through the shipped binary: what an agent writes on its door is answered with code and stage, and
//! nothing of it is carried out.

use serde_json::{Value, json};
use testkit::model_server::{ModelServer, Rule, Say, Script};

use crate::support::{KEY, Lab, of_type};

/// A client that can write what `ipc` never would: frames of any bytes on one connection; prints each answer on a line.
const CLIENT: &str = r#"
import json, socket, struct
class Door:
    def __init__(self):
        self.s = socket.socket(socket.AF_UNIX); self.s.connect("/run/lazaret/host.sock"); self.s.sendall(b"lazaret/1 broker\n"); self.held = b""
    def send(self, raw): self.s.sendall(struct.pack(">I", len(raw)) + raw)
    def read(self, n):
        while len(self.held) < n:
            piece = self.s.recv(65536)
            if not piece: raise EOFError("the host hung up")
            self.held += piece
        out, self.held = self.held[:n], self.held[n:]
        return out
    def next(self): return json.loads(self.read(struct.unpack(">I", self.read(4))[0]))
    def call(self, tool, arguments, name="c"):
        self.send(json.dumps({"topic": "tool.invoke." + tool, "correlation": name, "arguments": arguments}).encode())
        return self.next()
def told(answer):
    e = answer["error"] or {}
    print(json.dumps([answer["correlation"], e.get("code"), e.get("stage"), e.get("field"), answer["result"]]), flush=True)
"#;

/// A home with a plugin that counts its calls, and an agent that runs these programs, one for each text.
fn lab(programs: &[(&str, &str)]) -> (Lab, ModelServer) {
    let lab = Lab::with_plugins();
    lab.plugin(
        "counter",
        "tools = \"all\"\nlow = [\"add\", \"count\", \"leak\", \"fail\"]\n",
        "N = [0]\n\
         def tool_add(a, m): N[0] += 1; return value(N[0])\n\
         def tool_count(a, m): return value(N[0])\n\
         def tool_boom(a, m): N[0] += 1000; return value(N[0])\n\
         def tool_fail(a, m): raise ValueError('it is broken')\n\
         def tool_leak(a, m): return text('the key is ' + 'abcdef' + '-0123456789-vwxyz' + ', Bearer ' + 'abcdef123456')\n",
    );
    lab.plugin(
        "private",
        "tools = \"all\"\nlow = [\"hidden\"]\nallowed_groups = [\"inner\"]\n",
        "def tool_hidden(a, m): return text('seen')\n",
    );
    lab.reload_plugins();
    let rule = |(contains, program): &(&str, &str)| Rule {
        contains: (*contains).to_owned(),
        say: vec![Say::Shell(format!("python3 - <<'PROGRAM'\n{CLIENT}\n{program}\nPROGRAM\n")), Say::Text("done".to_owned())],
    };
    let script = Script { key: Some(KEY.to_owned()), rules: programs.iter().map(rule).collect(), ..Script::default() };
    let server = lab.model(script);
    lab.connect("anthropic", &server);
    (lab, server)
}

/// The lines that a program printed in a turn of a new session, as JSON.
#[track_caller]
fn lines(lab: &Lab, text: &str) -> Vec<Value> {
    let ran = lab.run(&["run", "--json", "--engine", "mini", text]).succeeds();
    let events = ran.events();
    let output = of_type(&events, "tool_result")[0]["output"].as_str().expect("text").to_owned();
    let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {output}"));
    output.lines().filter(|line| line.starts_with('[')).map(read).collect()
}

/// Each message that is wrong in one way is refused by its stage; at the end the plugin has done one thing: the right one.
#[test]
fn each_stage_refuses_with_its_code_and_nothing_is_done() {
    let program = r#"
d = Door()
def request(**more): return json.dumps({"topic": "tool.invoke.add", "correlation": "c", "arguments": {}, **more}).encode()
for raw in [
    request(session="ses_1"), request(approved=True), request(Topic="x"),
    b'{"topic":"tool.invoke.add","topic":"tool.invoke.boom","correlation":"c","arguments":{}}',
    b'{"topic":"tool.invoke.add","correlation":"c","arguments":{"__proto__":{}}}',
    b'{"topic":"tool.invoke.add","correlation":"c","arguments":{"text":"' + b"x" * 102500 + b'"}}',
    b'{"topic":"tool.invoke.add","correlation":"c","arguments":{"text":' + b"[" * 64 + b"]" * 64 + b'}}',
    b'{"topic":"tool.invoke.add","correlation":"c","arguments":{"text":"\xff"}}',
    b'{"topic":"tool.invoke.add","correlation":"c","arguments":{"text":NaN}}',
    request(topic="tool.invoke.nowhere"), request(topic="message.inbound"),
    request(arguments={"risk": "low"}), request(topic="tool.invoke.hidden"), request(topic="tool.invoke.fail"),
    request(), request(topic="tool.invoke.count"),
]:
    d.send(raw); told(d.next())
"#;
    let (lab, _server) = lab(&[("knock", program)]);
    let refused = |code: &str, stage: u8, field: Value| json!(["c", code, stage, field, null]);
    let none = Value::Null;
    let expect = [
        refused("VALIDATION_FAILED", 1, json!("session")),
        refused("VALIDATION_FAILED", 1, json!("approved")),
        refused("VALIDATION_FAILED", 1, json!("Topic")),
        refused("VALIDATION_FAILED", 1, json!("topic")),
        refused("VALIDATION_FAILED", 1, json!("__proto__")),
        refused("VALIDATION_FAILED", 1, json!("text")),
        refused("VALIDATION_FAILED", 1, none.clone()),
        refused("VALIDATION_FAILED", 1, none.clone()),
        refused("VALIDATION_FAILED", 1, none.clone()),
        refused("UNKNOWN_TOOL", 2, none.clone()),
        refused("UNKNOWN_TOOL", 2, none.clone()),
        refused("VALIDATION_FAILED", 3, json!("risk")),
        refused("UNAUTHORIZED", 4, none.clone()),
        refused("HANDLER_ERROR", 6, none),
        json!(["c", null, null, null, {"value": 1}]),
        json!(["c", null, null, null, {"value": 1}]),
    ];
    assert_eq!(lines(&lab, "knock"), expect);
}

/// Stage 5: a call that a person refuses is not made, and the audit knows all of it.
#[test]
fn a_refused_call_is_not_made_and_all_is_in_the_audit() {
    let program = "d = Door()\nd.send(json.dumps({'topic': 'tool.invoke.boom', 'correlation': 'c', 'arguments': {}}).encode())\n\
                   assert 'waiting' in d.next()\ntold(d.next())\ntold(d.call('count', {}))\ntold(d.call('get_diagnostics', {'last_n': 1}))\n";
    let (lab, _server) = lab(&[("ask first", program)]);
    let made = lab.ask("POST", "/v1/sessions", json!({ "engine": "mini" })).is(201);
    let session = made["id"].as_str().expect("an identity").to_owned();
    let turn = lab.send(&session, "ask first");
    let asked = crate::marks::pending(&lab, 1).remove(0);
    lab.run(&["approvals", "deny", asked["id"].as_str().expect("an identity")]).succeeds();
    assert_eq!(lab.result_of(&session, &turn)["status"], "completed");
    let log = lab.log(&session);
    let output = of_type(&log, "tool_result")[0]["output"].as_str().expect("text").to_owned();
    let said: Vec<Value> = output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(said[..2], [json!(["c", "CONFIRMATION_DENIED", 5, null, null]), json!(["c", null, null, null, {"value": 0}])], "{output}");
    assert!(said[2][4]["entries"].is_array(), "{output}");
    lab.run(&["stop"]).succeeds();
    let rows = lab.run(&["--json", "audit", "query", "--session", &session]).succeeds().events();
    let row = |topic: &str| {
        rows.iter().find(|row| row["topic"] == topic && row["kind"] == "tool").cloned().unwrap_or_else(|| panic!("{rows:#?}"))
    };
    let denied = row("tool.invoke.boom");
    assert_eq!((&denied["outcome"], &denied["stage"], &denied["code"]), (&json!("rejected"), &json!(5), &json!("CONFIRMATION_DENIED")));
    assert_eq!(row("tool.invoke.count")["outcome"], "routed");
}

/// One session cannot call without end, and what its tools give is cleaned.
#[test]
fn a_flood_is_limited_and_credentials_are_taken_out() {
    let flood = "d = Door()\nrefused = None\nfor round in range(100):\n    for n in range(60):\n        \
                 d.send(json.dumps({'topic': 'tool.invoke.list_tools', 'correlation': str(n), 'arguments': {}}).encode())\n    \
                 for n in range(60):\n        a = d.next()\n        if a['error']: refused = a['error']\n    if refused: break\n\
                 print(json.dumps([refused['code'], refused['stage'], refused['retry_after'] >= 1]))\n";
    let leak = "told(Door().call('leak', {}))\n";
    let (lab, _server) = lab(&[("flood it", flood), ("leak it", leak)]);
    assert_eq!(lines(&lab, "flood it"), [json!(["RATE_LIMITED", 4, true])]);
    lab.run_with(&["secret", "set", "plugin.other.token", "-"], b"abcdef-0123456789-vwxyz").succeeds();
    assert_eq!(lines(&lab, "leak it"), [json!(["c", null, null, null, "the key is [REDACTED], Bearer [REDACTED]"])]);
}
