//! The owner dies at every named place; the next one leaves nothing of it.

use std::process::Stdio;
use std::time::Instant;

use crate::support::{Home, PATIENCE, wait_for};

/// Every named place on the way to a sandbox and back.
const POINTS: [&str; 10] = [
    "sandbox.image.made", "sandbox.disk.made", "sandbox.dir.made", "sandbox.record.written", "sandbox.group.made",
    "sandbox.launcher.started", "sandbox.process.recorded", "sandbox.killed", "sandbox.group.removed", "sandbox.user.released",
];

/// Runs one sandbox in an owner that dies at `point`, as `verb`, and tells whether it died there.
fn died(home: &Home, verb: &str, point: &str, settings: &[&str]) -> bool {
    let crash = format!("crash={point}");
    let args: Vec<&str> = settings.iter().copied().chain([crash.as_str(), "--", "true"]).collect();
    let status = home.owner(verb, &args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("owner");
    std::os::unix::process::ExitStatusExt::signal(&status) == Some(9)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_dies_anywhere_leaves_nothing_to_the_next() {
    for point in POINTS {
        for settings in [&["memory=64m", "disk=16m"][..], &["memory=64m", "disk=128m"]] {
            let home = Home::new();
            let expected = point != "sandbox.disk.made" || settings[1] == "disk=128m";
            assert_eq!(died(&home, "exec", point, settings), expected, "{point} {settings:?}");
            let at = Instant::now();
            let (all, _) = home.open().await;
            let adopted = all.adopt().await.expect("adopt");
            assert!(at.elapsed() < PATIENCE, "{point}: {:?}", at.elapsed());
            assert_eq!(adopted.trouble, Vec::<String>::new(), "{point}");
            // Only a sandbox that stood may live on.
            assert!(adopted.sandboxes.is_empty() || point == "sandbox.process.recorded", "{point}");
            let sandbox = all.start(crate::support::request()).await.expect("the next one starts");
            sandbox.ping().await.expect("alive");
            all.shutdown(true).await;
            drop((adopted, sandbox, all));
            home.assert_nothing_left();
        }
    }
}

#[test]
fn a_run_without_a_daemon_that_dies_anywhere_leaves_nothing_to_the_next() {
    for home in [Home::new(), Home::of_user()] {
        for point in POINTS.iter().filter(|p| **p != "sandbox.disk.made") {
            let expected = *point != "sandbox.image.made" || !home.path.join("images").exists();
            assert_eq!(died(&home, "direct", point, &[]), expected || *point == "sandbox.image.made", "{point}");
            // A launcher that was just started may hold the lock of the dead for a moment: then the run after removes it.
            wait_for(point, || {
                let status = home.owner("direct", &["--", "true"]).status().expect("owner");
                assert_eq!(status.code(), Some(0), "{point}");
                let left = std::fs::read_dir(home.path.join("direct")).expect("list").count();
                if left == 0 { Ok(()) } else { Err(format!("{:#?}", home.left())) }
            });
            home.assert_nothing_left();
        }
    }
}

/// Every named place on the way to a tree, a copy of it, and back: what was asked, the place, and whether it is passed in
/// a disk image and in the home.
const TREE_POINTS: [(&str, &str, bool, bool); 8] = [
    ("make", "tree:filled", true, true),
    ("make", "tree:made", true, true),
    ("freeze", "tree:layer.named", false, true),
    ("freeze", "tree:layer.made", false, true),
    ("freeze", "tree:filled", false, true),
    ("freeze", "tree:snapshot", true, true),
    ("remove", "tree:unnamed", false, true),
    ("remove", "tree:removed", true, true),
];

/// A tree is whole or not there, whatever the owner died of, and the same can be asked again.
#[test]
fn a_tree_is_whole_or_not_there() {
    let id = |n: u8| format!("tre_{n:032x}");
    for (home, image) in [(Home::new(), true), (Home::of_user(), false)] {
        let run = |words: &[&str]| home.owner("tree", words).stdin(Stdio::null()).stderr(Stdio::null()).output().expect("owner");
        let list = || String::from_utf8(run(&["list"]).stdout).expect("text");
        let exec = |tree: &str, line: &str| {
            let out = home.owner("exec", &[&format!("tree={tree}"), "--", "/bin/sh", "-c", line]).output().expect("owner");
            String::from_utf8(out.stdout).expect("text")
        };
        assert_eq!(exec(&id(1), "echo kept > f; mkdir d; echo deep > d/f; echo $?"), "0\n");
        for (verb, point, in_image, in_home) in TREE_POINTS {
            let (from, to) = (id(1), id(2));
            let words: Vec<&str> = if verb == "freeze" { vec![verb, &from, &to] } else { vec![verb, &to] };
            if verb == "remove" {
                assert_eq!(run(&["copy", &from, &to]).status.code(), Some(0), "{point}");
            }
            let crash = format!("crash={point}");
            let status = run(&[&[crash.as_str()], words.as_slice()].concat()).status;
            // At once again, before anything else has looked at the tree.
            assert_eq!(run(&["copy", &from, &id(9)]).status.code(), Some(0), "{verb} {point} {image}");
            assert_eq!(run(&["remove", &id(9)]).status.code(), Some(0), "{verb} {point} {image}");
            let expected = if image { in_image } else { in_home };
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status) == Some(9), expected, "{verb} {point} {image}");
            assert_eq!(exec(&from, "cat f d/f"), "kept\ndeep\n", "{verb} {point} {image}");
            let there = list().contains(&to);
            if there {
                let mut read = vec![format!("read={to}")];
                read.extend(["--", "/bin/sh", "-c", "ls /mnt/old/workspace"].map(str::to_owned));
                let out = home.owner("exec", &read.iter().map(String::as_str).collect::<Vec<_>>()).output().expect("owner");
                let expect = if verb == "make" { "" } else { "d\nf\n" };
                assert_eq!(String::from_utf8_lossy(&out.stdout), expect, "{verb} {point} {image}");
            } else {
                assert_eq!(run(&words).status.code(), Some(0), "again: {verb} {point} {image}");
            }
            assert_eq!(run(&["remove", &to]).status.code(), Some(0));
            assert_eq!(list(), format!("{from}\n"));
        }
        assert_eq!(run(&["remove", &id(1)]).status.code(), Some(0));
        for left in ["trees", "layers"] {
            assert_eq!(std::fs::read_dir(home.path.join(left)).expect("list").count(), 0, "{left}");
        }
        home.assert_nothing_left();
    }
}
