//! `lazaret doctor --prove`: everything holds in a whole sandbox, and each probe notices when its wall is taken away.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::Lab;

#[test]
fn all_walls_hold_here() {
    let lab = Lab::new();
    let checks = lab.run(&["doctor", "--prove", "--json"]).succeeds().events();
    let denied: Vec<&Value> = checks.iter().filter(|c| c["label"] == "denied").collect();
    assert!(denied.len() >= 25 && denied.iter().all(|c| c["status"] == "pass"), "{denied:#?}");
    lab.assert_nothing_left();
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
