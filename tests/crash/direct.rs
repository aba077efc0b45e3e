//! `sandbox run`, killed: its sandbox ends by itself, and the next command of any kind removes what it had.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::chance::Chance;
use crate::scene::{PATIENCE, Running, dies};
use crate::support::Lab;
use crate::world;

/// How many random moments are tried.
const MOMENTS: u64 = 8;

/// The command itself dies at a point.
pub(crate) fn dies_at(point: &str) {
    let lab = Lab::new();
    let mut command = lab.command(&["sandbox", "run", "--", "true"]);
    let mut child = command.env("LAZARET_CRASH_AT", point).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("run");
    dies(&mut child, point);
    lab.run(&["sandbox", "run", "--", "true"]).succeeds();
    world::empties(&lab, world::GONE, point);
}

fn processes(lab: &Lab) -> usize {
    world::traces(lab).values().flatten().filter(|trace| trace.starts_with("process")).count()
}

#[test]
fn its_sandbox_ends_by_itself() {
    let lab = Lab::new();
    let mut run = Running::start(&lab, &["sandbox", "run", "--", "sh", "-c", "trap '' TERM HUP INT; while :; do sleep 1; done"]);
    let began = Instant::now();
    while processes(&lab) == 0 {
        assert!(began.elapsed() < PATIENCE, "the sandbox does not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    run.kill();
    let began = Instant::now();
    while processes(&lab) > 0 {
        assert!(began.elapsed() < world::GONE, "the sandbox goes on: {:#?}", world::traces(&lab));
        std::thread::sleep(Duration::from_millis(10));
    }
    // A daemon is a next start too.
    lab.run(&["sandbox", "list"]).succeeds();
    world::empties(&lab, world::GONE, "after a daemon's start");
}

#[test]
fn at_random_moments() {
    let mut chance = Chance::new(1);
    let lab = Lab::new();
    lab.run(&["sandbox", "run", "--", "true"]).succeeds();
    for moment in 0..MOMENTS {
        let mut run = Running::start(&lab, &["sandbox", "run", "--", "sh", "-c", "sleep 0.05"]);
        std::thread::sleep(chance.wait(0, 80));
        if !run.is_over() {
            run.kill();
        }
        lab.run(&["sandbox", "run", "--", "true"]).succeeds();
        world::empties(&lab, world::GONE, &format!("moment {moment}, seed {}", chance.seed));
    }
}
