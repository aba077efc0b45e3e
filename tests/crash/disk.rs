//! A disk that is full, that fails, or that gives back what was never written.

use std::path::Path;
use std::process::Command;

use testkit::faulty::{Fault, FaultyDisk};
use testkit::model_server::{ModelServer, Script};

use crate::scene::{ANSWER, TOOL};
use crate::support::Lab;
use crate::world;

/// An argument of this process of the form `name=value`.
fn argument(name: &str) -> Option<String> {
    std::env::args().find_map(|a| a.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
}

/// A disk that this test binary serves, as a process of its own.
fn disk() -> FaultyDisk {
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
