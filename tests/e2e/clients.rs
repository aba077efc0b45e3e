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
