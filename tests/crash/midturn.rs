//! A disk that begins to fail in the middle of a turn: what was there before stays, the turn tells what became of it, and when
//! the disk is well again the next one works.

use std::path::PathBuf;
use std::time::Instant;

use testkit::faulty::{Fault, FaultyDisk};
use testkit::model_server::{ModelServer, Script};

use crate::disk::{counts, disk, nothing_lost, tells};
use crate::scene::{self, PATIENCE, Running, TOOL};
use crate::support::Lab;

/// A tool that says that it has begun, and ends when it is told.
const HELD: &str = "touch /workspace/begun; until [ -e /workspace/go ]; do sleep 0.05; done; echo through";

/// A home on a disk that can fail, and a directory beside it that the turn works in.
struct Stage {
    lab: Lab,
    server: ModelServer,
    disk: FaultyDisk,
    work: PathBuf,
}

impl Stage {
    fn new() -> Self {
        let disk = disk();
        let lab = Lab::with_home(Some(disk.path().join("home")));
        let server = lab.model(Script { command: TOOL.to_owned(), ..Script::default() });
        lab.run(&["config", "set", "providers.anthropic.base_url", &server.url()]).succeeds();
        lab.run(&["config", "set", "providers.anthropic.keyless", "true"]).succeeds();
        let work = lab.path("work");
        std::fs::create_dir(&work).expect("make a directory");
        Self { lab, server, disk, work }
    }

    /// Starts a turn and waits until its tool runs.
    fn begin(&self) -> Running {
        self.server.set_script(Script { command: HELD.to_owned(), ..Script::default() });
        let run = Running::start(&self.lab, &["run", "--json", "--workspace", self.work.to_str().expect("a path"), "work"]);
        let began = Instant::now();
        while !self.work.join("begun").exists() {
            assert!(began.elapsed() < PATIENCE, "the tool does not begin");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        run
    }

    fn go(&self) {
        std::fs::write(self.work.join("go"), "").expect("tell the tool");
        self.server.set_script(Script { command: TOOL.to_owned(), ..Script::default() });
    }
}

/// Waits until the fault that holds has met something, and takes it away.
fn met(disk: &mut FaultyDisk, fault: Fault, prefix: &str) {
    let began = Instant::now();
    while disk.struck() == 0 {
        assert!(began.elapsed() < PATIENCE, "{fault} of {prefix} meets nothing");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    disk.clear();
}

/// The turn waits for room and goes on when there is some.
#[test]
fn a_disk_that_fills_up_in_a_turn() {
    let mut stage = Stage::new();
    let mut daemon = scene::daemon(&stage.lab, None);
    let first = counts(&stage.lab);
    let run = stage.begin();
    stage.disk.set(Fault::Full, "home/lazaret.db");
    stage.go();
    met(&mut stage.disk, Fault::Full, "home/lazaret.db");
    let ran = run.ends("full in a turn");
    let codes = ["STORE_UNUSABLE", "DISK_FULL", "SANDBOX_FAILED", "DISK_LIMIT"];
    assert!(ran.status == 0 || tells(&ran, &codes), "{} {}", ran.out, ran.err);
    let second = counts(&stage.lab);
    assert!(daemon.try_wait().expect("wait").is_none(), "the same daemon goes on");
    nothing_lost(&stage.lab, &[first, second], "full in a turn");
    scene::ends(&mut daemon, "stopped");
}

/// A disk that stays full: who waits is told within a bounded time, and when there is room again the daemon ends the turn.
#[test]
fn whoever_waits_is_told_of_a_disk_that_stays_full() {
    let mut stage = Stage::new();
    let mut daemon = scene::daemon(&stage.lab, None);
    let first = counts(&stage.lab);
    let run = stage.begin();
    stage.disk.set(Fault::Full, "home/lazaret.db");
    stage.go();
    // It ends while the disk is full.
    let ran = run.ends("a disk that stays full");
    assert!(tells(&ran, &["STORE_UNUSABLE"]) && ran.err.contains("full"), "{} {}", ran.out, ran.err);
    assert_eq!(ran.status, 3, "{} {}", ran.out, ran.err);
    assert!(stage.disk.clear() > 0, "it was in the way");
    let second = counts(&stage.lab);
    assert!(daemon.try_wait().expect("wait").is_none(), "the same daemon goes on");
    nothing_lost(&stage.lab, &[first, second], "a disk that stayed full");
    scene::ends(&mut daemon, "stopped");
}

/// After a fault of the store's files this daemon writes nothing more; the next one takes the turn up where it stood, or ends it
/// with a code.
fn store_fails(fault: Fault) {
    let about = format!("{fault} in a turn");
    let mut stage = Stage::new();
    let mut daemon = scene::daemon(&stage.lab, None);
    let first = counts(&stage.lab);
    let run = stage.begin();
    stage.disk.set(fault, "home/lazaret.db");
    stage.go();
    met(&mut stage.disk, fault, "home/lazaret.db");
    daemon.kill().expect("kill");
    daemon.wait().expect("wait");
    let ran = run.ends(&about);
    // An engine that ended meanwhile is not found again, and one that the daemon ended when it could keep nothing more is found to have
    // been; then the turn says so. Where the kill comes late, whoever waits was told before it that nothing can be kept.
    assert!(ran.status == 0 || tells(&ran, &["SANDBOX_FAILED", "ENGINE_FAILED", "STORE_UNUSABLE"]), "{about}: {} {}", ran.out, ran.err);
    let second = counts(&stage.lab);
    nothing_lost(&stage.lab, &[first, second], &about);
}

#[test]
fn writes_that_fail_in_a_turn() {
    store_fails(Fault::Write);
}

#[test]
fn flushes_that_fail_in_a_turn() {
    store_fails(Fault::Sync);
}
