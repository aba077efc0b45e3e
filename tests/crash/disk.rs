//! A disk that is full, that fails, or that gives back what was never written.

use std::path::Path;
use std::process::Command;

use model::Outcome;
use testkit::faulty::{Fault, FaultyDisk};
use testkit::model_server::{ModelServer, Script};

use crate::scene::{self, ANSWER, TOOL};
use crate::support::{Lab, Ran};
use crate::{log, world};

/// Pages of the database that are tried; it has more only when it grew.
const PAGES: usize = 60;

/// An argument of this process of the form `name=value`.
fn argument(name: &str) -> Option<String> {
    std::env::args().find_map(|a| a.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
}

/// A disk that this test binary serves, as a process of its own.
pub(crate) fn disk() -> FaultyDisk {
    FaultyDisk::mount(|below, at| {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "disk::server", "--nocapture"]);
        command.arg(format!("below={}", below.display())).arg(format!("at={}", at.display()));
        command
    })
}

/// Serves a disk when the arguments say so. Without, as part of the suite, it shows that each fault is one.
#[test]
fn server() {
    if let (Some(below), Some(at)) = (argument("below"), argument("at")) {
        testkit::faulty::serve(Path::new(&below), Path::new(&at), std::io::stdin(), std::io::stdout()).expect("serve");
        return;
    }
    let mut disk = disk();
    let file = disk.path().join("file");
    std::fs::write(&file, [b'x'; 9000]).expect("write");
    let code = |result: std::io::Result<()>| result.expect_err("it fails").raw_os_error();
    let no_room = Some(rustix::io::Errno::NOSPC.raw_os_error());
    let broken = Some(rustix::io::Errno::IO.raw_os_error());
    disk.set(Fault::Full, "");
    assert_eq!(code(std::fs::write(disk.path().join("other"), "x")), no_room);
    assert_eq!(code(append(&file)), no_room);
    assert!(disk.clear() >= 2);
    disk.set(Fault::Read, "fi");
    assert_eq!(code(std::fs::read(&file).map(drop)), broken);
    disk.clear();
    disk.set(Fault::Write, "file");
    assert_eq!(code(append(&file)), broken);
    std::fs::write(disk.path().join("other"), "x").expect("another file is well");
    disk.clear();
    disk.set(Fault::Sync, "");
    assert_eq!(code(std::fs::File::open(&file).and_then(|f| f.sync_all())), broken);
    disk.clear();
    disk.set(Fault::Short(3), "");
    append(&file).expect("what is short is written on");
    disk.clear();
    disk.set(Fault::Flip(5000), "file");
    let read = std::fs::read(&file).expect("read");
    assert_eq!((read.len(), read.iter().filter(|b| **b != b'x').count(), read[5000]), (9004, 4 + 1, b'x' ^ 0x10));
    disk.clear();
    assert_eq!(std::fs::read(&file).expect("read")[5000], b'x');
}

fn append(file: &Path) -> std::io::Result<()> {
    std::io::Write::write_all(&mut std::fs::File::options().append(true).open(file)?, b"more")
}

/// A home on such a disk whose agent runs one tool and answers. The lab ends before its disk does.
fn lab() -> (Lab, ModelServer, FaultyDisk) {
    let disk = disk();
    let lab = Lab::with_home(Some(disk.path().join("home")));
    let server = lab.model(Script { command: TOOL.to_owned(), ..Script::default() });
    lab.run(&["config", "set", "providers.anthropic.base_url", &server.url()]).succeeds();
    lab.run(&["config", "set", "providers.anthropic.keyless", "true"]).succeeds();
    (lab, server, disk)
}

#[test]
fn a_disk_without_faults_is_one_like_any_other() {
    let (lab, _server, _disk) = lab();
    let ran = lab.run(&["run", "--json", "count"]).succeeds();
    assert_eq!(ran.result()["text"].as_str().map(str::trim), Some(ANSWER), "{}", ran.out);
    world::ends(&lab, "at the end");
}

/// A run that works, whose log is held against what the store says at the end.
pub(crate) fn counts(lab: &Lab) -> String {
    let ran = lab.run(&["run", "--json", "count"]).succeeds();
    let result = ran.result();
    assert_eq!(result["text"].as_str().map(str::trim), Some(ANSWER), "{}", ran.out);
    result["session"].as_str().expect("a session").to_owned()
}

/// Every session of `sessions` has one turn that completed, and every other one ended somehow.
pub(crate) fn nothing_lost(lab: &Lab, sessions: &[String], about: &str) {
    // A turn that could not be ended for want of room is tried again after a pause.
    world::idle(lab, about);
    world::ends(lab, about);
    let kept = log::read(lab, about);
    for id in sessions {
        let session = kept.iter().find(|kept| kept.id.as_str() == id).unwrap_or_else(|| panic!("{about}: {id} is lost"));
        assert_eq!(log::outcomes(std::slice::from_ref(session)), [Outcome::Completed], "{about}");
    }
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let (lab, _server, mut disk) = lab();
    let mut daemon = scene::daemon(&lab, None);
    let mut sessions = vec![counts(&lab)];
    for prefix in ["home/lazaret.db", "home"] {
        disk.set(Fault::Full, prefix);
        let ran = lab.run(&["run", "--json", "count"]);
        assert_ne!(ran.status, 0, "{prefix}: {}", ran.out);
        assert!(tells(&ran, &["STORE_UNUSABLE", "HOME_UNSAFE", "SANDBOX_FAILED", "DISK_FULL"]), "{prefix}: {} {}", ran.out, ran.err);
        // What needs no room works.
        lab.run(&["status"]).succeeds();
        lab.run(&["sandbox", "list"]).succeeds();
        assert!(disk.clear() > 0, "{prefix}");
        sessions.push(counts(&lab));
        assert!(daemon.try_wait().expect("wait").is_none(), "{prefix}: the same daemon goes on");
    }
    nothing_lost(&lab, &sessions, "a full disk");
    scene::ends(&mut daemon, "stopped");
}

/// Whether a command that failed names one of these codes.
pub(crate) fn tells(ran: &Ran, codes: &[&str]) -> bool {
    codes.iter().any(|code| ran.err.contains(code) || ran.out.contains(code))
}

/// A fault of the store's files while the daemon runs: nothing is promised any more, and a new daemon goes on.
fn store_fails(fault: Fault, prefix: &str) {
    let about = format!("{fault} of {prefix}");
    let (lab, _server, mut disk) = lab();
    let mut daemon = scene::daemon(&lab, None);
    let first = counts(&lab);
    disk.set(fault, prefix);
    let ran = lab.run(&["run", "--json", "count"]);
    assert_ne!(ran.status, 0, "{about}: {}", ran.out);
    assert!(tells(&ran, &["STORE_UNUSABLE"]), "{about}: {} {}", ran.out, ran.err);
    assert!(disk.clear() > 0, "{about}");
    // What a flush that failed has left on a disk cannot be known, so this daemon takes nothing more.
    let ran = lab.run(&["--no-daemon", "run", "--json", "count"]);
    assert!(ran.status != 0 && tells(&ran, &["STORE_UNUSABLE"]), "{about}: {} {}", ran.out, ran.err);
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    scene::ends(&mut daemon, &about);
    let second = counts(&lab);
    nothing_lost(&lab, &[first, second], &about);
}

#[test]
fn writes_of_the_store_that_fail() {
    store_fails(Fault::Write, "home/lazaret.db");
}

#[test]
fn flushes_of_the_store_that_fail() {
    store_fails(Fault::Sync, "home/lazaret.db");
}

#[test]
fn writes_that_take_less_than_they_were_given() {
    let (lab, _server, mut disk) = lab();
    disk.set(Fault::Short(700), "home");
    let session = counts(&lab);
    nothing_lost(&lab, &[session], "short writes");
    assert!(disk.clear() > 0);
}

/// The state of every file of the store, below the disk.
fn files(disk: &FaultyDisk) -> Vec<(String, Vec<u8>)> {
    let read = |name: &str| (name.to_owned(), std::fs::read(disk.below().join("home").join(name)).unwrap_or_default());
    ["lazaret.db", "lazaret.db-wal", "lazaret.db-mark"].map(read).into()
}

#[test]
fn a_store_that_cannot_be_read_is_refused_and_left_as_it_is() {
    let (lab, _server, mut disk) = lab();
    let session = counts(&lab);
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    let before = files(&disk);
    disk.set(Fault::Read, "home/lazaret.db");
    lab.run(&["status"]).ends_with(1);
    lab.run(&["run", "count"]).fails("STORE_UNUSABLE", 3);
    assert!(disk.clear() > 0);
    assert!(files(&disk) == before, "a refusal changes nothing");
    let again = counts(&lab);
    nothing_lost(&lab, &[session, again], "a disk that could not be read");
}

#[test]
fn a_wrong_bit_in_any_page_is_found_at_the_next_start() {
    let (lab, _server, mut disk) = lab();
    let session = counts(&lab);
    lab.run(&["stop", "--grace", "0s"]).succeeds();
    let before = files(&disk);
    let database = &before[0].1;
    let page = usize::from(u16::from_be_bytes([database[16], database[17]]));
    let mut refused = 0;
    for n in 0..(database.len() / page).min(PAGES) {
        // The first byte of a page's header says what kind of page it is; the first page begins with the file's.
        let at = n * page + if n == 0 { 100 } else { 0 };
        disk.set(Fault::Flip(at as u64), "home/lazaret.db");
        let ran = lab.run(&["--no-daemon", "status"]);
        assert_ne!(ran.status, 0, "page {n}");
        let ran = lab.run(&["run", "count"]);
        refused += usize::from(ran.status == 3 && tells(&ran, &["STORE_UNUSABLE"]));
        assert!(disk.clear() > 0, "page {n} is read");
        assert!(files(&disk) == before, "page {n}: a refusal changes nothing");
    }
    assert_eq!(refused, (database.len() / page).min(PAGES));
    nothing_lost(&lab, &[session], "wrong bits");
}

#[test]
fn a_wrong_bit_in_the_log_of_a_killed_daemon_is_found() {
    let (lab, _server, mut disk) = lab();
    let session = counts(&lab);
    assert!(scene::kill_daemon(&lab));
    let log = files(&disk)[1].1.len();
    assert!(log > 4096, "what was acknowledged stands in the log");
    for at in [40, log / 2, log - 10] {
        disk.set(Fault::Flip(at as u64), "home/lazaret.db-wal");
        lab.run(&["run", "count"]).fails("STORE_UNUSABLE", 3);
        assert!(disk.clear() > 0);
    }
    let again = counts(&lab);
    nothing_lost(&lab, &[session, again], "wrong bits in the log");
}

/// What is not the store's may fail as well: then the turn at hand does, and no other.
#[test]
fn a_disk_that_fails_below_the_sandboxes() {
    for fault in [Fault::Full, Fault::Write] {
        let about = format!("{fault} beside the store");
        let (lab, _server, mut disk) = lab();
        let first = counts(&lab);
        let daemon = scene::daemon_pid(&lab);
        for part in ["home/sandboxes", "home/turns", "home/run"] {
            disk.set(fault, part);
        }
        let ran = lab.run(&["run", "--json", "count"]);
        assert_ne!(ran.status, 0, "{about}: {}", ran.out);
        assert!(tells(&ran, &["SANDBOX_FAILED", "HOME_UNSAFE", "INTERNAL", "DISK_FULL"]), "{about}: {} {}", ran.out, ran.err);
        assert!(disk.clear() > 0, "{about}");
        let second = counts(&lab);
        assert_eq!(scene::daemon_pid(&lab), daemon, "{about}: the same daemon goes on");
        nothing_lost(&lab, &[first, second], &about);
    }
}
