//! The first process of a sandbox is killed from outside while a turn runs.

use rustix::process::{Pid, Signal, kill_process};
use testkit::model_server::Script;

use crate::scene::{Running, TOOL, lab, tool_runs};
use crate::world;

#[test]
fn its_turn_fails_and_says_so() {
    let (lab, server) = lab("sleep 1000");
    let run = Running::start(&lab, &["run", "--json", "wait"]);
    tool_runs(&lab, "sleep 1000");
    let listed = lab.run(&["sandbox", "list", "--json"]).succeeds().events();
    let pid = listed[0]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw).expect("a process");
    kill_process(pid, Signal::KILL).expect("kill");
    let ran = run.ends("the guest was killed").ends_with(1);
    assert_eq!((&ran.result()["status"], &ran.result()["code"]), (&"failed".into(), &"SANDBOX_FAILED".into()));
    world::empties(&lab, world::GONE, "the guest was killed");
    // The session goes on in a new sandbox.
    server.set_script(Script { command: TOOL.to_owned(), ..Script::default() });
    let session = ran.result()["session"].as_str().expect("a session").to_owned();
    lab.run(&["run", "--resume", &session, "again"]).succeeds();
}
