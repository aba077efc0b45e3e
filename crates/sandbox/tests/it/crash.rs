//! The owner dies at every named place; the next one leaves nothing of it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Home, wait_for};

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
            assert!(at.elapsed() < Duration::from_secs(4), "{point}: {:?}", at.elapsed());
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
