//! `lazaret doctor --prove`: everything holds in a whole sandbox, and each probe notices when its wall is taken away.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::{Deaf, KEY, Lab};

#[test]
fn all_walls_hold_here() {
    let lab = Lab::new();
    let checks = lab.run(&["doctor", "--prove", "--json"]).succeeds().events();
    let denied: Vec<&Value> = checks.iter().filter(|c| c["label"] == "denied").collect();
    assert!(denied.len() >= 35 && denied.iter().all(|c| c["status"] == "pass"), "{denied:#?}");
    // The egress proxy: what is granted passes, and each of these does not, beside a control.
    let about = |text: &str| checks.iter().find(|c| c["detail"].as_str().is_some_and(|d| d.starts_with(text))).cloned();
    for (text, label) in [
        ("the granted host, by a tunnel", "egress"),
        ("a host that is not granted", "denied"),
        ("another port of the granted host", "denied"),
        ("an address instead of the name", "denied"),
        ("a granted name that leads to a private address", "denied"),
        ("the metadata address itself", "denied"),
        ("two lengths for one body", "denied"),
    ] {
        let check = about(text).unwrap_or_else(|| panic!("`{text}` was not tried: {checks:#?}"));
        assert_eq!((&check["label"], &check["status"]), (&json!(label), &json!("pass")), "{check}");
    }
    lab.assert_nothing_left();
}

/// Beside a daemon that is up the proof leaves it and its sandboxes alone.
#[test]
fn the_proof_disturbs_no_daemon() {
    let lab = Lab::new();
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let sandbox = lab.run(&["sandbox", "create"]).succeeds().out;
    lab.run(&["doctor", "--prove", "--json"]).succeeds();
    assert_eq!(lab.run(&["sandbox", "exec", sandbox.trim(), "--", "echo", "here"]).succeeds().out, "here\n");
}

/// `--live` asks each provider that has a key and each plugin that is ready.
#[test]
fn a_live_look_finds_what_answers_and_what_does_not() {
    let lab = Lab::new();
    let server = lab.model(testkit::model_server::Script { key: Some(KEY.to_owned()), ..Default::default() });
    lab.connect("anthropic", &server);
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    lab.plugin("there", "tools = \"all\"\n", "def tool_there(a, m): return text('yes')\n");
    lab.reload_plugins();
    lab.plugin_is_ready("there");
    let live = |lab: &Lab| lab.run(&["doctor", "--live", "--json"]);
    let of = |checks: &[Value], label: &str| {
        checks.iter().find(|c| c["label"] == label).cloned().unwrap_or_else(|| panic!("{label}: {checks:#?}"))
    };
    let checks = live(&lab).succeeds().events();
    assert_eq!(
        (of(&checks, "live anthropic")["status"].as_str(), of(&checks, "live there")["status"].as_str()),
        (Some("pass"), Some("pass"))
    );
    let gone = Deaf::new();
    lab.run(&["config", "set", "providers.anthropic.base_url", &gone.url()]).succeeds();
    let checks = live(&lab).ends_with(1).events();
    let check = of(&checks, "live anthropic");
    assert!(check["status"] == "fail" && check["fix"].as_str().is_some_and(|fix| fix.contains("base_url")), "{check}");
}

/// What the probes find in a sandbox without one of its walls: the names of those that do not hold.
fn without(lab: &Lab, wall: &str, port: u16) -> Vec<String> {
    let file = lab.home().join("install-id");
    let facts = json!({ "port": port, "socket": "nobody-listens-here", "file": file, "pids": 64 }).to_string();
    let args = ["sandbox", "run", "--pids", "64", "--without", wall, "--", "/opt/lazaret/bin/lazaret-guest", "prove", &facts];
    let ran = lab.run(&args).ends_with(1);
    let broken = ran.events().into_iter().filter(|probe| probe["holds"] == false);
    broken.map(|probe| probe["probe"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_missing_wall_is_noticed() {
    let lab = Lab::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("bound").port();
    for (wall, probe) in [
        ("network", "reach a service on the host's loopback"),
        ("seccomp", "make system calls without a filter"),
        ("pids", "see processes of others"),
        ("proc", "read what the kernel tells of the machine"),
        ("privileges", "gain rights by starting a program"),
    ] {
        let broken = without(&lab, wall, port);
        assert!(broken.iter().any(|name| name == probe), "without {wall} these do not hold: {broken:?}");
    }
}
