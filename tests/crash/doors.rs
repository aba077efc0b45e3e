//! A sandbox that was started before the kill reaches every door after it.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::scene::{Running, TOOL, asked, daemon_pid, first, kill_daemon, lab, tool_runs};
use crate::support::{Lab, comes};
use crate::{log, world};

/// Answers every request on loopback with one word.
fn host() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Whoever asks may go away.
            let _ = stream.read(&mut [0; 512]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nreached");
        }
    });
    port
}

fn fetch(port: u16) -> String {
    format!(
        "import http.client; c = http.client.HTTPConnection('127.0.0.1', 4101); c.set_tunnel('127.0.0.1', {port}); c.request('GET', '/'); print(c.getresponse().read())"
    )
}

#[test]
fn exec_files_and_hosts() {
    let lab = Lab::new();
    let (port, other) = (host(), host());
    let rule = format!("127.0.0.1:{port}");
    lab.run(&["config", "set", "egress.max", &format!("[\"{rule}\"]")]).succeeds();
    lab.run(&["config", "set", "egress.private_ok", "[\"127.0.0.1\"]"]).succeeds();
    let open = lab.run(&["sandbox", "create", "--allow", &rule]).succeeds().out.trim().to_owned();
    let closed = lab.run(&["sandbox", "create"]).succeeds().out.trim().to_owned();
    lab.run(&["sandbox", "exec", &open, "--", "sh", "-c", "echo before > /workspace/kept"]).succeeds();
    for round in 0..2 {
        let (before, had) = (daemon_pid(&lab), world::traces(&lab));
        assert!(kill_daemon(&lab));
        let exec = |id: &str, script: &str| lab.run(&["sandbox", "exec", id, "--", "python3", "-c", script]);
        assert_eq!(lab.run(&["sandbox", "exec", &open, "--", "cat", "/workspace/kept"]).succeeds().out, "before\n", "round {round}");
        assert_ne!(daemon_pid(&lab), before);
        assert!(exec(&open, &fetch(port)).succeeds().out.contains("reached"), "round {round}");
        // What was closed stays closed: another place, and a sandbox without a rule.
        let refused = exec(&open, &fetch(other));
        assert!(refused.status != 0 && !refused.out.contains("reached"), "{}", refused.out);
        let refused = exec(&closed, &fetch(port));
        assert!(refused.status != 0 && !refused.out.contains("reached"), "{}", refused.out);
        let (from, to) = (format!("{open}:/workspace/kept"), lab.path(&format!("out-{round}")));
        lab.run(&["sandbox", "cp", &from, to.to_str().expect("utf-8")]).succeeds();
        std::fs::write(lab.path("in"), "from outside").expect("write");
        lab.run(&["sandbox", "cp", lab.path("in").to_str().expect("utf-8"), &format!("{open}:/workspace/")]).succeeds();
        assert_eq!(lab.run(&["sandbox", "exec", &open, "--", "cat", "/workspace/in"]).succeeds().out, "from outside");
        world::settles(&lab, &had, "after a kill");
    }
    lab.run(&["sandbox", "rm", &open, &closed]).succeeds();
    world::empties(&lab, world::GONE, "after they were removed");
}

#[test]
fn models_and_hosts_of_a_session() {
    let (lab, server) = lab(TOOL);
    let port = host();
    let rule = format!("127.0.0.1:{port}");
    lab.run(&["config", "set", "egress.max", &format!("[\"{rule}\"]")]).succeeds();
    lab.run(&["config", "set", "egress.private_ok", "[\"127.0.0.1\"]"]).succeeds();
    // The tool asks its host only after the file is there, which is put there after the kill.
    let marked = format!("while ! test -e /workspace/go; do sleep 0.05; done; python3 -c \"{}\"", fetch(port));
    server.set_script(first(&marked));
    let run = Running::start(&lab, &["run", "--json", "--allow", &rule, "reach out"]);
    tool_runs(&lab, "/workspace/go");
    assert_eq!(asked(&server), 1);
    // The first call is entered in the ledger a moment after its answer has ended.
    let entered = || lab.run(&["usage", "--json"]).succeeds().events().iter().any(|row| row["calls"] == 1);
    assert!(comes(entered), "the first call is not entered");
    let id = lab.run(&["sandbox", "list", "--json"]).succeeds().events()[0]["id"].as_str().expect("an id").to_owned();
    assert!(kill_daemon(&lab));
    lab.run(&["sandbox", "exec", &id, "--", "touch", "/workspace/go"]).succeeds();
    let ran = run.ends("a kill in the middle").succeeds();
    let result = ran.result();
    assert!(result["text"].as_str().is_some_and(|text| text.contains("reached")), "{}", ran.out);
    // The second call went through the gateway's door of the same sandbox, and the first one still counts.
    assert_eq!((asked(&server), &result["usage"]["input_tokens"]), (2, &200.into()), "{}", ran.out);
    world::ends(&lab, "at the end");
    log::read(&lab, "at the end");
}
