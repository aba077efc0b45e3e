//! A plugin whose tool has an effect that can be counted: a line in a file that outlives every daemon.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Lab, PATIENCE};

const MANIFEST: &str = r#"
description = "Marks that can be counted."
version = "1.0.0"
command = ["python3", "./marks.py"]
state = true

[[provides.tools]]
name = "mark_set"
description = "Makes a mark."
risk_level = "high"
[provides.tools.arguments_schema]
type = "object"
additionalProperties = false
required = ["text"]
[provides.tools.arguments_schema.properties]
text = { type = "string", maxLength = 90000 }

[[provides.tools]]
name = "mark_list"
description = "The marks that were made."
risk_level = "low"
[provides.tools.arguments_schema]
type = "object"
additionalProperties = false
"#;

const HANDLER: &str = r#"
import json, os, sys

FILE = "/home/sandbox/marks"

def marks():
    try:
        with open(FILE) as f:
            return [line.rstrip("\n") for line in f]
    except FileNotFoundError:
        return []

def call(name, arguments):
    if name == "mark_set":
        with open(FILE, "a") as f:
            f.write(arguments["text"][:40].replace("\n", " ") + "\n")
            f.flush()
            os.fsync(f.fileno())
        return "marked " + str(len(marks()))
    return json.dumps(marks())

TOOLS = [
    {"name": "mark_set", "description": "Makes a mark.", "inputSchema": {"type": "object", "properties": {"text": {"type": "string", "maxLength": 90000}}, "required": ["text"], "additionalProperties": False}},
    {"name": "mark_list", "description": "The marks that were made.", "inputSchema": {"type": "object", "properties": {}, "additionalProperties": False}},
]

for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    method, params = message["method"], message.get("params", {})
    if method == "initialize":
        result = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "marks", "version": "1"}}
    elif method == "tools/list":
        result = {"tools": TOOLS}
    elif method == "tools/call":
        result = {"content": [{"type": "text", "text": call(params["name"], params.get("arguments", {}))}]}
    elif method == "ping":
        result = {}
    else:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "unknown"}}), flush=True)
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"#;

/// Puts the plugin into the home before its first daemon starts.
pub(crate) fn install(lab: &Lab) {
    let dir = lab.home().join("plugins/marks");
    std::fs::create_dir_all(&dir).expect("make");
    for at in [lab.home(), lab.home().join("plugins"), dir.clone()] {
        std::fs::set_permissions(at, std::fs::Permissions::from_mode(0o700)).expect("chmod");
    }
    std::fs::write(dir.join("manifest.toml"), MANIFEST).expect("write");
    std::fs::write(dir.join("marks.py"), HANDLER).expect("write");
    for file in ["manifest.toml", "marks.py"] {
        std::fs::set_permissions(dir.join(file), std::fs::Permissions::from_mode(0o644)).expect("chmod");
    }
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).expect("chmod");
}

/// The command by which an agent makes a mark, and says how that ended.
pub(crate) fn command(text: &str) -> String {
    format!("ipc tool.invoke.mark_set '{{\"text\":\"{text}\"}}' 2>&1; echo status $?")
}

/// The marks that were made, in order.
pub(crate) fn made(lab: &Lab) -> Vec<String> {
    let said = lab.run(&["plugin", "call", "--json", "mark_list", "{}"]).succeeds();
    let value: Value = serde_json::from_str(said.out.trim()).unwrap_or_else(|e| panic!("{e}: {}", said.out));
    texts(&value).unwrap_or_else(|| panic!("no list of marks: {value}"))
}

/// The list that stands somewhere in an answer, as JSON or as the text of it.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => texts(&serde_json::from_str(text).ok()?),
        Value::Array(all) if all.iter().all(Value::is_string) => Some(all.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()),
        Value::Array(all) => all.iter().find_map(texts),
        Value::Object(all) => all.values().find_map(texts),
        _ => None,
    }
}

/// Waits until this many confirmations wait; gives them, the oldest first.
#[track_caller]
pub(crate) fn pending(lab: &Lab, count: usize) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let said = lab.run(&["approvals", "list", "--json"]);
        let mut found = if said.status == 0 { said.events() } else { Vec::new() };
        found.reverse();
        if found.len() == count {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{count} confirmations were to wait: {found:?}\n{}", said.err);
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until a session is in this state.
#[track_caller]
pub(crate) fn is_in(lab: &Lab, session: &str, state: &str) {
    let began = Instant::now();
    loop {
        let said = lab.run(&["session", "show", "--json", session]);
        let shown = if said.status == 0 { said.events() } else { Vec::new() };
        if shown.first().is_some_and(|view| view["state"] == state) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{session} is not {state}: {shown:?}\n{}", said.err);
        std::thread::sleep(Duration::from_millis(50));
    }
}
