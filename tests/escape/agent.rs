//! An agent that a test writes itself: a program in a session's sandbox, behind all of its doors, beside a plugin whose
//! effects can be counted.

use std::fs::File;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Caller, ended, finish, within};

/// Whatever is waited for comes within this time, or the test fails.
const PATIENCE: Duration = Duration::from_secs(240);

const MANIFEST: &str = "description = \"Marks.\"\nversion = \"1\"\ncommand = [\"python3\", \"./server.py\"]\nstate = true\n\
    tools = \"all\"\nlow = [\"mark_list\", \"mark_free\", \"mark_fail\", \"mark_say\"]\n";

const SERVER: &str = r#"
import json, sys
FILE = "/home/sandbox/marks"
def add(text):
    with open(FILE, "a") as f: f.write(text + "\n")
    return "marked"
def marks():
    try: return open(FILE).read().split()
    except FileNotFoundError: return []
def fail(text): raise ValueError("cannot open " + __file__ + " " + text)
tools = {"mark_set": add, "mark_free": add, "mark_list": lambda _: json.dumps(marks()), "mark_fail": fail, "mark_say": lambda text: text}
schema = {"type": "object", "properties": {"text": {"type": "string"}}}
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m: continue
    r = {}
    if m["method"] == "initialize": r = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "marks", "version": "1"}}
    elif m["method"] == "tools/list": r = {"tools": [{"name": n, "description": n, "inputSchema": schema} for n in tools]}
    elif m["method"] == "tools/call":
        try: r = {"content": [{"type": "text", "text": tools[m["params"]["name"]](m["params"]["arguments"].get("text", ""))}]}
        except Exception as e: r = {"content": [{"type": "text", "text": repr(e)}], "isError": True}
    print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": r}), flush=True)
"#;

/// What every program begins with: the broker's door, byte by byte if need be.
const CLIENT: &str = r#"
import json, os, socket, struct, sys, time
class Door:
    def __init__(self, name=b"broker"):
        self.s = socket.socket(socket.AF_UNIX); self.s.settimeout(50); self.s.connect("/run/lazaret/host.sock"); self.s.sendall(b"lazaret/1 " + name + b"\n")
    def send(self, raw): self.s.sendall(struct.pack(">I", len(raw)) + raw)
    def read(self, n):
        out = b""
        while len(out) < n:
            piece = self.s.recv(n - len(out))
            if not piece: raise EOFError
            out += piece
        return out
    def next(self): return json.loads(self.read(struct.unpack(">I", self.read(4))[0]))
    def end(self):
        while True:
            answer = self.next()
            if "waiting" not in answer: return answer
    def call(self, tool, text="", name="c"):
        self.send(json.dumps({"topic": "tool.invoke." + tool, "correlation": name, "arguments": {"text": text}}).encode())
def told(answer):
    e = answer["error"]
    print(json.dumps(answer["result"] if not e else [e["code"], e.get("stage")]), flush=True)
"#;

/// A home with a daemon and the plugin `marks`.
pub(crate) struct Agent<'a> {
    pub(crate) caller: &'a Caller,
}

impl<'a> Agent<'a> {
    pub(crate) fn new(caller: &'a Caller) -> Self {
        let agent = Self { caller };
        caller.dir(".lazaret");
        caller.dir(".lazaret/plugins");
        caller.dir(".lazaret/plugins/marks");
        caller.file(".lazaret/plugins/marks/manifest.toml", MANIFEST);
        caller.file(".lazaret/plugins/marks/server.py", SERVER);
        agent.ok(&["plugin", "reload"]);
        agent
    }

    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let mut command = self.caller.lazaret();
        command.args(args);
        let ran = finish(command, Stdio::null());
        assert!(ran.status.success(), "{args:?}: {ran:?}");
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    }

    /// Stores a secret.
    #[track_caller]
    pub(crate) fn secret(&self, name: &str, value: &str) {
        let file = self.caller.file("value", value);
        let mut command = self.caller.lazaret();
        command.args(["secret", "set", name, "-"]);
        let ran = finish(command, File::open(&file).expect("open").into());
        assert!(ran.status.success(), "{ran:?}");
        std::fs::remove_file(file).expect("remove");
    }

    /// A program in Python with the broker's door at hand, in a session of its own. It ends when the child does.
    pub(crate) fn start(&self, program: &str) -> Child {
        let script = format!("exec 2>&1\npython3 -u - <<'PROGRAM'\n{CLIENT}\n{program}\nPROGRAM\n");
        let mut command = self.caller.lazaret();
        command.args(["run", "--engine", "/bin/bash", "--model", "rehearsal", &script]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run the binary")
    }

    /// The lines that such a program printed.
    #[track_caller]
    pub(crate) fn lines(&self, program: &str) -> Vec<Value> {
        let child = self.start(program);
        self.printed(child)
    }

    /// The lines of JSON that a program printed, once it is over.
    #[track_caller]
    pub(crate) fn printed(&self, child: Child) -> Vec<Value> {
        let output = ended(child, "a program of the agent");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && !text.contains("Traceback"), "{output:?}");
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The calls that wait for a yes, once there are so many.
    #[track_caller]
    pub(crate) fn pending(&self, count: usize) -> Vec<Value> {
        let list = || -> Vec<Value> {
            self.ok(&["--json", "approvals", "list"]).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
        };
        assert!(within(PATIENCE, || list().len() >= count), "{:?}", list());
        list()
    }

    /// The marks that were made.
    #[track_caller]
    pub(crate) fn marks(&self) -> Vec<String> {
        let said: Value = serde_json::from_str(&self.ok(&["--json", "plugin", "call", "mark_list", "{}"])).expect("JSON");
        let text = said.as_str().map_or_else(|| said.to_string(), str::to_owned);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }
}
