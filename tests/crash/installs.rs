//! An install that is killed leaves no half engine, and the next one works.

use std::time::{Duration, Instant};

use crate::registry::Registry;
use crate::scene::{PATIENCE, Running, daemon, dies, kill_daemon};
use crate::support::Lab;
use crate::{chance::Chance, world};

/// The smallest of the pinned engines.
const ENGINE: &str = "opencode";

fn ready() -> Lab {
    let lab = Lab::new();
    let registry = Registry::start();
    lab.run(&["config", "set", "engines.registry", &format!("http://127.0.0.1:{}", registry.port)]).succeeds();
    lab.run(&["config", "set", "egress.private_ok", "[\"127.0.0.1\"]"]).succeeds();
    lab
}

/// What is in place: nothing, or all of it.
fn check(lab: &Lab, about: &str) {
    let listed = lab.run(&["engine", "list", "--json"]).succeeds();
    world::empties(lab, world::GONE, about);
    let there = listed.events().iter().any(|engine| engine["name"] == ENGINE && engine["installed"] == true);
    if there {
        lab.run(&["engine", "verify", ENGINE]).succeeds();
    }
    let began = Instant::now();
    while std::fs::read_dir(lab.home().join("sessions")).expect("read").flatten().count() > 0 {
        assert!(began.elapsed() < PATIENCE, "{about}: the tree of the install is left");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The daemon dies at a point of an install.
pub(crate) fn dies_at(point: &str) {
    let lab = ready();
    let mut first = daemon(&lab, Some(point));
    let install = Running::start(&lab, &["engine", "install", ENGINE]);
    dies(&mut first, point);
    assert_ne!(install.ends(point).status, 0, "{point}");
    check(&lab, point);
    lab.run(&["engine", "install", ENGINE]).succeeds();
    lab.run(&["engine", "verify", ENGINE]).succeeds();
    world::ends(&lab, point);
}

#[test]
fn at_random_moments() {
    let mut chance = Chance::new(2);
    let lab = ready();
    for _ in 0..3 {
        let install = Running::start(&lab, &["engine", "install", ENGINE]);
        std::thread::sleep(chance.wait(50, 2500));
        kill_daemon(&lab);
        let about = format!("seed {}", chance.seed);
        drop(install.ends(&about));
        check(&lab, &about);
    }
    world::ends(&lab, "at the end");
}
