//! Limits bite, and the sandbox outlives what they end.

use std::time::Instant;

use lazaret_sandbox::{SandboxError, Tree};
use model::{TreeId, Want};

use crate::support::{Home, OK, PATIENCE, request, sh};

#[tokio::test(flavor = "multi_thread")]
async fn memory_pids_and_processor_time_are_limited() {
    let home = Home::new();
    let (all, _) = home.open().await;
    let mut asked = request();
    asked.limits.memory_bytes = 96 << 20;
    asked.limits.disk_bytes = 16 << 20;
    asked.limits.pids = 40;
    asked.limits.cpu_millis = 200;
    let sandbox = all.start(asked).await.expect("started");

    let (_, _, exit) = sh(&sandbox, "python3 -c 'x = bytearray(300 << 20); x[::4096] = x[::4096]'").await;
    assert!(exit.signal == Some(9) || exit.code == Some(137), "{exit:?}");
    assert!(sandbox.stats().oom_kills.expect("counted") >= 1);
    sandbox.ping().await.expect("the guest is no part of it");

    let (out, ..) = sh(&sandbox, "n=0; for i in $(seq 100); do sleep 100 & n=$((n+1)); done 2>/dev/null; echo $n").await;
    assert!(out.trim().parse::<u32>().unwrap_or(0) < 40, "{out}");
    sandbox.kill_commands().await.expect("killed");

    let before = sandbox.stats().cpu_micros;
    let at = Instant::now();
    let (.., exit) = sh(&sandbox, "i=0; end=$(($(date +%s)+2)); while [ $(date +%s) -lt $end ]; do i=$((i+1)); done").await;
    let share = at.elapsed().as_micros();
    assert_eq!(exit, OK);
    if let (Some(before), Some(after)) = (before, sandbox.stats().cpu_micros) {
        assert!(u128::from(after - before) * 100 < share * 40, "{} of {share} us", after - before);
    }
    all.shutdown(true).await;
    home.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_is_limited_in_memory_and_in_a_session_which_keeps_its_files() {
    let home = Home::new();
    let (all, _) = home.open().await;
    let fill = "dd if=/dev/zero of=big bs=1M count=200 2>&1 | grep -ci -e 'no space' -e quota; stat -c %s big";
    let sandbox = all.start(request()).await.expect("started");
    let (out, ..) = sh(&sandbox, fill).await;
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some("1"), "{out}");
    let size: u64 = lines.next().expect("size").parse().expect("number");
    assert!((32 << 20..=64 << 20).contains(&size), "{size}");
    sandbox.stop().await.expect("stopped");

    let session = || {
        let mut asked = request();
        asked.tree = Tree::Kept { id: TreeId::from_bits(1) };
        asked.limits.disk_bytes = 48 << 20;
        asked
    };
    let sandbox = all.start(session()).await.expect("started");
    sh(&sandbox, "echo kept > /workspace/k; echo home > /home/sandbox/h; echo gone > /tmp/t").await;
    let (out, ..) = sh(&sandbox, fill).await;
    let size: u64 = out.lines().nth(1).expect("size").parse().expect("number");
    assert!(out.starts_with("1\n") && size <= 48 << 20, "{out}");
    assert!(sandbox.stats().disk_bytes.is_some());
    sandbox.stop().await.expect("stopped");
    let sandbox = all.start(session()).await.expect("started again");
    let (out, err, _) = sh(&sandbox, "rm big; cat /workspace/k /home/sandbox/h; ls /tmp; echo more >> /workspace/k && echo ok").await;
    assert_eq!((out.as_str(), err.as_str()), ("kept\nhome\nok\n", ""));
    assert!(all.remove_trees(&[TreeId::from_bits(1)]).await.is_err(), "it is in use");
    sandbox.stop().await.expect("stopped");
    all.remove_trees(&[TreeId::from_bits(1)]).await.expect("removed");
    all.remove_trees(&[TreeId::from_bits(1)]).await.expect("gone already");
    all.shutdown(true).await;
    drop(all);
    home.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_refuses_the_start_and_leaves_nothing() {
    let home = Home::new();
    let (all, _) = home.open().await;
    let mut tiny = request();
    tiny.limits.memory_bytes = 1;
    assert!(matches!(all.start(tiny).await, Err(SandboxError::Start(_))));
    let mut no_tree = request();
    no_tree.trees.push((TreeId::from_bits(404), "/mnt/old".into()));
    assert!(matches!(all.start(no_tree).await, Err(SandboxError::TreeMissing(_))));
    let mut covering = request();
    covering.extra_ro.push(("/usr".into(), "/proc".into()));
    assert!(matches!(all.start(covering).await, Err(SandboxError::Path { .. })));
    let mut missing = request();
    missing.extra_ro.push(("/no/such/tree".into(), "/mnt/x".into()));
    let error = all.start(missing).await.expect_err("nothing there").failure();
    assert!(error.hint.is_some(), "{error:?}");
    let mut no_image = request();
    no_image.image = lazaret_sandbox::Image::Tree("/no/such/image".into());
    assert!(matches!(all.start(no_image).await, Err(SandboxError::Image(_))));
    let mut off = request();
    off.wants.memory = Want::Off;
    let sandbox = all.start(off).await.expect("started");
    assert!(sandbox.level().lines.iter().any(|l| l.name == "memory" && !l.holds));
    assert_eq!(all.list().len(), 1);
    all.shutdown(true).await;
    home.assert_nothing_left();
}

/// As many as are allowed, and no more.
#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_sandboxes_is_limited() {
    let home = Home::new();
    let mut config = home.config();
    config.sandboxes_max = Some(2);
    let seen = std::sync::Arc::new(crate::support::Seen::default());
    let all = lazaret_sandbox::Sandboxes::open(config, seen).await.expect("open");
    let one = all.start(request()).await.expect("started");
    let _two = all.start(request()).await.expect("started");
    assert!(matches!(all.start(request()).await, Err(SandboxError::Busy { max: 2, .. })));
    one.stop().await.expect("stopped");
    let three = all.start(request()).await.expect("a place is free again");
    tokio::time::timeout(PATIENCE, three.ping()).await.expect("in time").expect("alive");
    all.shutdown(true).await;
    home.assert_nothing_left();
}
