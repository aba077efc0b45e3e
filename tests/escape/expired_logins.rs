//! A credential that ends while an engine is at work: the turn says so plainly, the owner is told what to do, nothing of the
//! credential comes inside with the error, and nothing inside can put another one in its place.

use serde_json::Value;
use testkit::model_server::{Fault, ModelServer, Say, Script};

use crate::agent::Agent;
use crate::support::{each_caller, finish, within};

const KEY: &str = "sk-ant-api03-canary-of-an-expired-login-0000000000";

#[test]
fn a_login_that_ends_at_work_is_said_and_leaves_nothing() {
    each_caller(|caller| {
        let held = "echo begun > begun; until [ -e go ]; do sleep 0.05; done; env; cat /proc/self/environ; grep -rsl canary-o[f]-an /home /tmp /workspace; echo looked";
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let server = runtime.block_on(ModelServer::start(Script {
            key: Some(KEY.to_owned()),
            replies: vec![Say::Shell(held.to_owned())],
            ..Script::default()
        }));
        caller.dir(".lazaret");
        caller.file(".lazaret/config.toml", &format!("[providers.anthropic]\nbase_url = \"{}\"\n", server.url()));
        let agent = Agent { caller };
        agent.secret("anthropic", KEY);
        let run = |expires: bool| {
            let dir = caller.dir(if expires { "ends" } else { "lasts" });
            let mut command = caller.lazaret();
            command.args(["run", "--json", "--workspace", dir.to_str().expect("utf-8"), "work"]);
            let child = std::thread::scope(|scope| {
                let work = scope.spawn(|| finish(command, std::process::Stdio::null()));
                assert!(within(crate::support::PATIENCE, || dir.join("begun").exists()), "the tool runs");
                if expires {
                    server.fail(Fault::ReflectKey(401));
                }
                std::fs::write(dir.join("go"), "").expect("write");
                work.join().expect("joined")
            });
            (child.status.code(), String::from_utf8_lossy(&child.stdout).into_owned(), String::from_utf8_lossy(&child.stderr).into_owned())
        };
        // The control: with a login that lasts the same work is done.
        let (status, out, _) = run(false);
        assert!(status == Some(0) && out.contains("looked"), "{out}");
        let (status, out, err) = run(true);
        let result: Value = out.lines().rev().find_map(|line| serde_json::from_str(line).ok()).expect("a result");
        assert_eq!(
            (status, result["code"].as_str(), result["status"].as_str()),
            (Some(1), Some("CREDENTIAL_EXPIRED"), Some("failed")),
            "{out}"
        );
        let said = format!("{out}{err}");
        assert!(said.contains("anthropic"), "it names what has ended: {said}");
        for word in ["canary-of-an", "EROFS", "Read-only file system", ".credentials.json"] {
            assert!(!said.contains(word), "{word}: {said}");
        }
        // The owner puts another one in its place, and only the owner can.
        server.heal();
        agent.secret("anthropic", KEY);
        let (status, out, _) = run(false);
        assert!(status == Some(0) && out.contains("\"completed\""), "{out}");
    });
}
