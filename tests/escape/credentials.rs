//! A credential of the host, planted wherever a caller may have one, is found nowhere inside.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::json;

use crate::support::{Caller, PROBE, Report, Standing, each_caller, finish, probe_mount};

/// Looks like a key and is none. Made of two halves, so that the search finds no command line with the whole of it.
fn canary(caller: &Caller) -> String {
    format!("sk-fake-canary-{}-{}", caller.uid, std::process::id())
}

#[test]
fn a_planted_key_is_found_nowhere() {
    each_caller(|caller| {
        let key = canary(caller);
        for name in [".netrc", ".npmrc", ".git-credentials", ".bash_history"] {
            caller.file(name, &key);
        }
        caller.dir(".aws");
        caller.file(".aws/credentials", &key);
        let mut command = caller.sandbox().command();
        for name in ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "MY_OWN_NAME"] {
            command.env(name, &key);
        }
        let attack = format!("canary={key}");
        command.args([PROBE, &attack]);
        let report = Report::read(&finish(command, std::process::Stdio::null()), 1);
        assert_eq!(report.worked(&attack), &json!([]));
    });
}

/// The search finds what is really there: a variable and a file that the caller handed over by name.
#[test]
fn a_key_that_was_handed_over_is_found() {
    each_caller(|caller| {
        let key = canary(caller);
        let dir = caller.dir("given");
        caller.file("given/key", &key);
        let trial = caller
            .sandbox()
            .option("--env")
            .option(format!("KEY={key}"))
            .option("--mount")
            .option(format!("{}:/home/sandbox/given", dir.display()));
        let attack = format!("canary={key}");
        let found = trial.attack(&[&attack]).worked(&attack).to_string();
        assert!(found.contains("/home/sandbox/given/key") && found.contains("environ"), "{found}");
    });
}

/// A secret of the store, which the daemon holds, is not in a sandbox of that daemon.
#[test]
fn a_stored_secret_is_found_nowhere() {
    each_caller(|caller| {
        let key = canary(caller);
        store(caller, &key);
        let sandbox = Standing::create(caller, &[]);
        let attack = format!("canary={key}");
        let report = Report::read(&sandbox.exec(&[PROBE, &attack]), 1);
        assert_eq!(report.worked(&attack), &json!([]));
    });
}

/// An upstream that answers each request with what it was sent, the credential included, and tells the test the same.
pub(crate) fn reflecting_upstream() -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("an address").port();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut piece = [0; 4096];
            while !head.windows(4).any(|w| w == b"\r\n\r\n") {
                match stream.read(&mut piece) {
                    Ok(len @ 1..) => head.extend_from_slice(&piece[..len]),
                    _ => break,
                }
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let body = json!({ "data": [], "echo": head }).to_string();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes());
            let _ = sender.send(head);
        }
    });
    (port, receiver)
}

/// A whole run whose model calls need the key: the upstream gets it, and inside it is neither found nor reflected.
#[test]
fn the_key_of_a_run_stays_on_the_host() {
    each_caller(|caller| {
        let (port, requests) = reflecting_upstream();
        let key = canary(caller);
        caller.dir(".lazaret");
        caller.file(".lazaret/config.toml", &format!("[providers.anthropic]\nbase_url = \"http://127.0.0.1:{port}\"\n"));
        store(caller, &key);
        // In two halves, so that the prompt does not hold what is searched for.
        let (first, second) = key.split_at(7);
        let script = format!(
            "{PROBE} canary={first}''{second}\n\
             exec 3<>/dev/tcp/127.0.0.1/${{ANTHROPIC_BASE_URL##*:}}\n\
             printf 'GET /v1/models HTTP/1.1\\r\\nHost: gateway\\r\\nx-api-key: %s\\r\\nConnection: close\\r\\n\\r\\n' \"$ANTHROPIC_API_KEY\" >&3\n\
             cat <&3\n"
        );
        let output = finish(run(caller, &script), Stdio::null());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let sent = requests.recv_timeout(Duration::from_secs(120)).unwrap_or_else(|_| panic!("no request came: {output:?}"));
        assert!(sent.contains(&key), "the upstream got no key: {sent}");
        assert!(said.contains("\"how\":[]"), "{output:?}");
        assert!(said.contains("200 OK") && said.contains("echo"), "{output:?}");
        // The probe's own answer repeats what it was asked for.
        let reflected: Vec<&str> = said.lines().filter(|line| line.contains(&key) && !line.contains("\"attack\"")).collect();
        assert!(reflected.is_empty(), "{reflected:?}");
    });
}

/// `lazaret run` with bash as the engine, which reads its prompt as a script; the home's end stops its daemon.
fn run(caller: &Caller, script: &str) -> Command {
    let mut command = caller.lazaret();
    command.args(["run", "--engine", "/bin/bash", "--mount", &probe_mount(), script]);
    command
}

/// Puts a key into the store.
fn store(caller: &Caller, key: &str) {
    let mut command = caller.lazaret();
    command.args(["secret", "set", "anthropic", "-"]);
    let input = File::open(caller.file("key", key)).expect("open the key");
    let set = finish(command, input.into());
    assert!(set.status.success(), "{set:?}");
    std::fs::remove_file(caller.home.join("key")).expect("remove the key's file");
}
