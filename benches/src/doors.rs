//! What the doors cost an engine in a real sandbox of a real daemon: the program `ipc`, and a tool of a plugin over MCP.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::native::built;
use crate::peers::quiet;
use crate::sample::{self, Times, ms};

/// A plugin with a tool that does nothing.
const PLUGIN: &str = "description = \"Does nothing\"\nversion = \"1.0.0\"\ncommand = [\"python3\", \"-u\", \"./server.py\"]\ntools = \"all\"\nlow = [\"nothing\"]\n";
/// Its handler.
const HANDLER: &str = r#"
import json, sys
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m: continue
    if m["method"] == "initialize":
        r = {"protocolVersion": m["params"]["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "nothing", "version": "1"}}
    elif m["method"] == "tools/list":
        r = {"tools": [{"name": "nothing", "description": "Does nothing", "inputSchema": {"type": "object", "properties": {}}}]}
    else:
        r = {"content": [{"type": "text", "text": "nothing"}]}
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": r}) + "\n"); sys.stdout.flush()
"#;
/// An engine that takes the times, and says them as one line of JSON. Everything is taken in turns, so that whatever else
/// the machine does meets all alike.
const ENGINE: &str = r#"
import json, subprocess, sys, time
sys.stdin.read()
ROUNDS = 1000
out = {"true": [], "ipc": [], "own": [], "plugin": []}
def timed(name, what):
    began = time.perf_counter_ns(); what(); out[name].append(time.perf_counter_ns() - began)
def spawn(*argv):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, done
mcp = subprocess.Popen(["ipc", "mcp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
count = 0
def ask(method, params):
    global count
    count += 1
    mcp.stdin.write((json.dumps({"jsonrpc": "2.0", "id": count, "method": method, "params": params}) + "\n").encode()); mcp.stdin.flush()
    while True:
        answer = json.loads(mcp.stdout.readline())
        if answer.get("id") == count: break
    assert "error" not in answer and not answer["result"].get("isError"), answer
    return answer["result"]
ask("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}})
mcp.stdin.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n'); mcp.stdin.flush()
for n in range(ROUNDS + 50):
    timed("own", lambda: ask("tools/call", {"name": "get_session_info", "arguments": {}}))
    timed("plugin", lambda: ask("tools/call", {"name": "nothing", "arguments": {}}))
for n in range(ROUNDS // 4 + 50):
    timed("true", lambda: spawn("/bin/true"))
    timed("ipc", lambda: spawn("ipc", "tool.invoke.get_session_info", "{}"))
print(json.dumps({"text": json.dumps({name: times[50:] for name, times in out.items()})}), flush=True)
"#;
/// Calls that one session may make here in a minute: more than are made.
const CALLS: &str = "1000000";

pub(crate) fn run() -> Result<String> {
    let dir = tempfile::Builder::new().prefix("lazaret-bench-").tempdir().context("failed to make a directory")?;
    let plugin = dir.path().join("home/plugins/nothing");
    prepare(&plugin)?;
    let daemon = Daemon::start_with(dir.path(), &[("tools.calls_per_minute", CALLS), ("tools.calls_burst", CALLS)])?;
    let engine = dir.path().join("measure.toml");
    fs::write(&engine, engine_file())?;
    quiet(Command::new(built("profile", "lazaret")?).env("LAZARET_HOME", &daemon.home).args(["engine", "add"]).arg(&engine))?;
    let mut asks = daemon.connect()?;
    let plugin = asks.ask("GET", "/v1/plugins/nothing", &Value::Null)?;
    ensure!(plugin["plugin"]["state"] == "ready", "the plugin is not ready: {plugin}");
    let session = asks.ask("POST", "/v1/sessions", &json!({ "engine": "measure" }))?["id"].as_str().context("a session")?.to_owned();
    let mut follow = daemon.connect()?.follow(&session)?;
    asks.ask("POST", &format!("/v1/sessions/{session}/messages"), &json!({ "text": "measure" }))?;
    follow.until("result")?;
    let log = asks.ask("GET", &format!("/v1/sessions/{session}/events?after=0&limit=1000"), &Value::Null)?;
    let said = log["events"].as_array().into_iter().flatten().find(|e| e["type"] == "text");
    let said = said.and_then(|e| e["text"].as_str()).with_context(|| format!("the engine measured nothing: {log}"))?;
    let times: Value = serde_json::from_str(said).context("what the engine measured")?;
    Ok(table(&times))
}

fn prepare(plugin: &Path) -> Result<()> {
    fs::create_dir_all(plugin)?;
    for private in [plugin.parent().and_then(Path::parent), plugin.parent()].into_iter().flatten() {
        fs::set_permissions(private, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    }
    fs::write(plugin.join("manifest.toml"), PLUGIN)?;
    Ok(fs::write(plugin.join("server.py"), HANDLER)?)
}

fn engine_file() -> String {
    let script = toml_text(ENGINE);
    format!(
        "name = \"measure\"\ndescription = \"Measures its doors\"\ncommand = [\"/usr/bin/python3\", \"-c\", {script}]\nprompt = \"stdin\"\noutput = \"json-lines\"\n\n[json]\ntext = \"/text\"\n"
    )
}

/// A string of TOML, in the form that JSON has too.
fn toml_text(text: &str) -> String {
    Value::from(text).to_string()
}

fn table(times: &Value) -> String {
    let of = |name: &str| {
        let taken = times[name].as_array().into_iter().flatten().filter_map(Value::as_u64);
        Times::of(taken.map(Duration::from_nanos).collect())
    };
    let mut text = format!(
        "Taken by a Python program in a session's sandbox, in turns, of a daemon with its audit on. {}.\n\n| | min ms | median ms | p99 ms |\n|---|---|---|---|\n",
        sample::machine()
    );
    for (name, key) in [
        ("`true`, from spawn to exit", "true"),
        ("`ipc tool.invoke.get_session_info '{}'`, from spawn to exit", "ipc"),
        ("a tool of the daemon's own through `ipc mcp`", "own"),
        ("a plugin's tool that does nothing, through `ipc mcp`", "plugin"),
    ] {
        let times = of(key);
        text.push_str(&format!("| {name} | {} | {} | {} |\n", ms(times.min()), ms(times.median()), ms(times.p99())));
    }
    let (own, plugin) = (of("own"), of("plugin"));
    let more = |a: Duration, b: Duration| ms(a.saturating_sub(b));
    text.push_str(&format!("| the plugin adds | {} | {} | - |\n", more(plugin.min(), own.min()), more(plugin.median(), own.median())));
    text
}
