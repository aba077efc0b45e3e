//! Kills at random moments: of the client, of the daemon under load, and of both.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use model::Outcome;

use crate::chance::Chance;
use crate::scene::{AWAY, PATIENCE, Running, TOOL, is_up, kill_daemon, lab, tool_runs};
use crate::support::Lab;
use crate::{log, world};

/// A tool that does not want to die.
const STUBBORN: &str =
    "trap '' TERM INT HUP; (setsid sh -c 'trap \"\" TERM INT HUP; while :; do sleep 1; done' &) ; while :; do sleep 1; done";
/// Kills of clients.
const CLIENTS: usize = 8;
/// Kills of the daemon under load.
const DAEMONS: usize = 20;
/// Runs at once under load.
const RUNS: usize = 4;

/// The first start of a home makes its image and its disk, which nothing interrupts and a loaded machine takes its time
/// for.
fn warm_up(lab: &Lab) {
    let id = lab.run(&["sandbox", "create"]).succeeds().out.trim().to_owned();
    lab.run(&["sandbox", "rm", &id]).succeeds();
}

/// Ends the daemon and the turns that it leaves: what a killed client had asked for may be accepted while its daemon ends, and is the
/// next one's then.
#[track_caller]
fn ends(lab: &Lab, about: &str) {
    lab.run(&["stop", "--grace", "0s"]);
    world::idle(lab, about);
    world::ends(lab, about);
}

#[test]
fn a_killed_client_cancels_its_run() {
    let mut chance = Chance::new(3);
    let (lab, _server) = lab(STUBBORN);
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    warm_up(&lab);
    for moment in 0..CLIENTS {
        let mut client = Running::start(&lab, &["run", "--json", "work"]);
        std::thread::sleep(chance.wait(0, 900));
        client.kill();
        world::empties(&lab, world::GONE, &format!("client {moment}, seed {}", chance.seed));
    }
    assert!(is_up(&lab), "the daemon goes on");
    ends(&lab, "at the end");
    let outcomes = log::outcomes(&log::read(&lab, "at the end"));
    assert!(outcomes.iter().all(|o| *o == Outcome::Cancelled), "{outcomes:?}");
}

/// An engine that prints without a pause gives the daemon no quiet moment to notice that nobody listens.
#[test]
fn a_killed_client_of_a_chatty_engine() {
    let lab = Lab::new();
    let program = lab.program("chatty", "#!/bin/sh\nwhile :; do echo word; sleep 0.05; done\n");
    let mut client = Running::start(&lab, &["run", "--json", "--model", "rehearsal", "--engine", &program, "talk"]);
    let began = Instant::now();
    // A sandbox that is started is one of a turn that was accepted.
    while !world::traces(&lab).values().flatten().any(|trace| trace.starts_with("process")) {
        assert!(began.elapsed() < PATIENCE, "no sandbox");
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(300));
    client.kill();
    world::empties(&lab, world::GONE, "chatty");
    world::ends(&lab, "chatty");
    assert_eq!(log::outcomes(&log::read(&lab, "chatty")), [Outcome::Cancelled]);
}

#[test]
fn a_killed_daemon_under_load() {
    let mut chance = Chance::new(4);
    let seed = chance.seed;
    let (lab, _server) = lab(TOOL);
    let (kills, completed, failed) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..RUNS {
            scope.spawn(|| {
                while kills.load(Ordering::SeqCst) < DAEMONS {
                    one_run(&lab, seed, &completed, &failed);
                }
            });
        }
        while kills.load(Ordering::SeqCst) < DAEMONS {
            if !is_up(&lab) {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            std::thread::sleep(chance.wait(0, 700));
            // Every other daemon sees a run come to its end, so that some do where a run takes longer than that.
            let (before, began) = (completed.load(Ordering::SeqCst), Instant::now());
            while kills.load(Ordering::SeqCst) % 2 == 1 && completed.load(Ordering::SeqCst) == before {
                assert!(began.elapsed() < PATIENCE, "seed {seed}: no run completes");
                std::thread::sleep(Duration::from_millis(5));
            }
            if kill_daemon(&lab) {
                kills.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let about = format!("seed {seed}");
    ends(&lab, &about);
    let outcomes = log::outcomes(&log::read(&lab, &about));
    let done = outcomes.iter().filter(|o| **o == Outcome::Completed).count();
    let (completed, failed) = (completed.into_inner(), failed.into_inner());
    eprintln!("{completed} runs completed, {failed} failed");
    assert!(done >= completed, "{about}: clients saw {completed} results and the store has {done}");
    assert!(completed >= DAEMONS / 2, "{about}: {completed} completed, {failed} failed");
}

/// A run that is disturbed completes once, or fails and says why.
fn one_run(lab: &Lab, seed: u64, completed: &AtomicUsize, failed: &AtomicUsize) {
    let ran = Running::start(lab, &["run", "--json", "count"]).ends(&format!("seed {seed}"));
    if ran.status == 0 {
        let result = ran.result();
        assert_eq!(result["text"].as_str().map(str::trim), Some(crate::scene::ANSWER), "seed {seed}: {}", ran.out);
        completed.fetch_add(1, Ordering::SeqCst);
        return;
    }
    failed.fetch_add(1, Ordering::SeqCst);
    // The last: a kill met each of the tries that an engine has.
    let mut clear = ["DAEMON_MISSING", "SANDBOX_FAILED"].iter().chain(&AWAY);
    let clear = clear.any(|why| ran.err.contains(why) || ran.out.contains(why));
    assert!(clear, "seed {seed}: status {}: {} {}", ran.status, ran.out, ran.err);
}

#[test]
fn a_killed_daemon_and_its_client() {
    let mut chance = Chance::new(5);
    let (lab, _server) = lab(STUBBORN);
    warm_up(&lab);
    for moment in 0..CLIENTS {
        let about = format!("moment {moment}, seed {}", chance.seed);
        lab.run(&["sandbox", "list"]).succeeds();
        let mut client = Running::start(&lab, &["run", "--json", "work"]);
        std::thread::sleep(chance.wait(0, 900));
        // In this order the client may start another daemon, in the other one the daemon may see the client go: both happen.
        if chance.below(2) == 0 {
            client.kill();
            kill_daemon(&lab);
        } else {
            kill_daemon(&lab);
            client.kill();
        }
        lab.run(&["sandbox", "list"]).succeeds();
        world::empties(&lab, world::GONE, &about);
    }
    ends(&lab, "at the end");
    let outcomes = log::outcomes(&log::read(&lab, "at the end"));
    assert!(outcomes.iter().all(|o| *o == Outcome::Cancelled), "{outcomes:?}");
}

/// What is promised for a machine with nothing else to do: what a killed daemon left is adopted or gone two seconds after the
/// next one's start, and what worked for a killed client is gone.
#[test]
fn what_killed_ones_left_is_settled_in_two_seconds() {
    let (lab, _server) = lab(STUBBORN);
    let left_by = |kill: &dyn Fn(Running)| {
        let client = Running::start(&lab, &["run", "--json", "work"]);
        tool_runs(&lab, "sleep 1; done");
        // Looked at before the kill: a daemon that lives on may have removed all of it a moment later.
        let before = world::traces(&lab);
        assert!(!before.is_empty(), "there is something to leave");
        kill(client);
        before
    };
    once_within_two_seconds(|| {
        left_by(&|mut client| client.kill());
        let began = Instant::now();
        world::empties(&lab, world::GONE, "after a client");
        began.elapsed()
    });
    once_within_two_seconds(|| {
        let before = left_by(&|mut client| {
            client.kill();
            kill_daemon(&lab);
        });
        lab.run(&["sandbox", "list"]).succeeds();
        let began = Instant::now();
        world::settles(&lab, &before, "after a start");
        let took = began.elapsed();
        world::empties(&lab, world::GONE, "after a while");
        took
    });
    world::ends(&lab, "at the end");
}

/// A neighbour's work may spoil a round, but not each of them.
fn once_within_two_seconds(round: impl Fn() -> Duration) {
    const PROMISE: Duration = Duration::from_secs(2);
    const ROUNDS: usize = 20;
    let mut took = Vec::new();
    while took.iter().all(|round| *round > PROMISE) {
        assert!(took.len() < ROUNDS, "{took:?}");
        took.push(round());
    }
}

/// A clone that was on its way into a sandbox goes with the next start, and one whose command lives stays.
#[test]
fn a_killed_client_that_clones() {
    let lab = Lab::new();
    lab.run(&["sandbox", "list"]).succeeds();
    // It clones as long as the file is there.
    let (hold, begun) = (lab.path("hold"), lab.path("begun"));
    std::fs::write(&hold, "").expect("write");
    let script = format!("#!/bin/sh\n: > {}\nwhile [ -e {} ]; do sleep 0.1; done\n", begun.display(), hold.display());
    let git = lab.program("git", &script);
    let tools = std::path::Path::new(&git).parent().expect("a directory").display().to_string();
    let clones = || {
        std::fs::read_dir(lab.home().join("run"))
            .expect("read")
            .flatten()
            .filter(|e| e.file_name().to_string_lossy().starts_with("clone-"))
            .count()
    };
    let mut command = lab.command(&["run", "--repo", ".", "x"]);
    command.env("PATH", format!("{tools}:/usr/bin:/bin")).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut client = command.spawn().expect("run");
    let began = Instant::now();
    while !begun.exists() {
        assert!(began.elapsed() < PATIENCE, "no clone");
        std::thread::sleep(Duration::from_millis(5));
    }
    kill_daemon(&lab);
    lab.run(&["sandbox", "list"]).succeeds();
    assert_eq!(clones(), 1, "its command lives");
    client.kill().expect("kill");
    client.wait().expect("wait");
    kill_daemon(&lab);
    lab.run(&["sandbox", "list"]).succeeds();
    assert_eq!(clones(), 0);
    std::fs::remove_file(hold).expect("remove");
}
