//! Kept trees: several sandboxes on one, copies of one, and what a tree that means harm can do.

use std::time::{Duration, Instant};

use lazaret_sandbox::{HostFile, Request, Sandbox, SandboxError, Sandboxes, Tree};
use model::TreeId;

use crate::support::{Home, OK, PATIENCE, request, sh};

fn tree(n: u128) -> TreeId {
    TreeId::from_bits(n)
}

fn on(n: u128) -> Request {
    let mut asked = request();
    asked.tree = Tree::Kept { id: tree(n) };
    asked.limits.disk_bytes = 256 << 20;
    asked
}

async fn start(all: &Sandboxes, asked: Request) -> Sandbox {
    all.start(asked).await.expect("started")
}

async fn out(sandbox: &Sandbox, line: &str) -> String {
    let (out, err, exit) = sh(sandbox, line).await;
    assert_eq!((err.as_str(), exit), ("", OK), "{line}: {out}");
    out
}

async fn end(home: &Home, all: Sandboxes) {
    all.shutdown(true).await;
    drop(all);
    home.assert_nothing_left();
}

/// Stops sandboxes; the last handle of one holds the disk image too.
async fn stop<const N: usize>(sandboxes: [Sandbox; N]) {
    for sandbox in sandboxes {
        sandbox.stop().await.expect("stopped");
    }
}

/// Two sandboxes, each a host user of its own, see one file system: files, locks of files, and SQLite's.
#[tokio::test(flavor = "multi_thread")]
async fn two_sandboxes_on_one_tree_share_files_and_locks() {
    let home = Home::new();
    let (all, _) = home.open().await;
    assert!(all.live_checkpoints());
    let (a, b) = (start(&all, on(1)).await, start(&all, on(1)).await);
    let mut users = all.tree_users(&tree(1));
    users.sort();
    let mut wanted = vec![a.id().clone(), b.id().clone()];
    wanted.sort();
    assert_eq!(users, wanted);
    let uid = |s: &Sandbox| s.level().lines.iter().find(|l| l.name == "uid").expect("said").how.clone();
    assert_ne!(uid(&a), uid(&b));
    out(&a, "echo from a > /workspace/f; echo home > ~/h; mkfifo /workspace/p").await;
    let seen = out(&b, "cat /workspace/f ~/h; stat -c '%U %u' /workspace/f; echo more >> /workspace/f; chmod 600 ~/h").await;
    assert_eq!(seen, "from a\nhome\nsandbox 1000\n");
    assert_eq!(out(&a, "cat /workspace/f; stat -c %a ~/h").await, "from a\nmore\n600\n");
    // One holds a lock until the other, that could not have it, has said so through a pipe that both see.
    let holding = "flock -n /workspace/l sh -c 'echo held > /workspace/p; cat /workspace/p'";
    let trying = "cat /workspace/p; flock -n /workspace/l true && echo had; echo refused > /workspace/p";
    let (held, tried) = tokio::join!(out(&a, holding), out(&b, trying));
    assert_eq!((held.as_str(), tried.as_str()), ("refused\n", "held\n"));
    assert_eq!(out(&b, "flock -n /workspace/l echo free").await, "free\n");
    let made = "python3 -c \"import sqlite3; c=sqlite3.connect('/workspace/db'); c.execute('pragma journal_mode=wal'); \
                c.execute('create table t (n integer)')\"";
    out(&a, made).await;
    // Its lock is not fair: one may have to wait for all commits of the other, each of which waits for the disk.
    let count = "import sqlite3\nc = sqlite3.connect('/workspace/db', timeout=600, isolation_level=None)\n\
                 for i in range(100):\n  c.execute('begin immediate')\n  n = c.execute('select count(*) from t').fetchone()[0]\n\
                 \x20 c.execute('insert into t values (?)', (n,))\n  c.execute('commit')\n";
    let line = format!("python3 -c \"{count}\"");
    let (one, two) = tokio::join!(out(&a, &line), out(&b, &line));
    assert_eq!(one + &two, "");
    let told = "python3 -c \"import sqlite3; c=sqlite3.connect('/workspace/db'); \
                print(c.execute('select count(*), count(distinct n), max(n) from t').fetchone(), c.execute('pragma integrity_check').fetchone())\"";
    assert_eq!(out(&a, told).await, "(200, 200, 199) ('ok',)\n");
    assert!(matches!(all.remove_trees(&[tree(1)]).await, Err(SandboxError::TreeInUse { .. })));
    a.stop().await.expect("stopped");
    assert_eq!(all.tree_users(&tree(1)).len(), 1);
    b.stop().await.expect("stopped");
    all.remove_trees(&[tree(1)]).await.expect("removed");
    assert_eq!(all.list_trees().await.expect("list"), []);
    end(&home, all).await;
}

/// A copy of a tree in use holds what was written, and neither sees what the other does later.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_live_tree_is_complete_and_independent() {
    let home = Home::new();
    let (all, _) = home.open().await;
    let a = start(&all, on(1)).await;
    out(&a, "for i in $(seq 200); do mkdir -p d$i; echo $i > d$i/f; done; ln -s d1 ~/l; touch x; chmod 751 x; echo one > one").await;
    let sum = "(cd / && find workspace home -type f -o -type l | sort | xargs -d '\\n' stat -c '%n %a %s %U'; cat /workspace/d*/f) | cksum";
    let before = out(&a, sum).await;
    all.snapshot(&tree(1), &tree(2), true).await.expect("frozen");
    out(&a, "rm -r d7; echo two > one").await;
    all.snapshot(&tree(2), &tree(3), false).await.expect("forked");
    all.set_tree_limit(&tree(3), 64 << 20).await.expect("limited");
    let b = start(&all, on(3)).await;
    assert_eq!(out(&b, sum).await, before);
    out(&b, "echo three > one").await;
    assert_eq!(out(&a, "cat one; ls -d d7 2>/dev/null; true").await, "two\n");
    let mut asked = on(1);
    asked.trees.push((tree(2), "/mnt/before".into()));
    let c = start(&all, asked).await;
    let told = out(
        &c,
        "cat /mnt/before/workspace/one one; readlink /mnt/before/home/sandbox/l; touch /mnt/before/workspace/no 2>/dev/null || echo sealed",
    )
    .await;
    assert_eq!(told, "one\ntwo\nd1\nsealed\n");
    assert_eq!(out(&b, "cat one").await, "three\n");
    assert!(matches!(all.remove_trees(&[tree(2)]).await, Err(SandboxError::TreeInUse { .. })), "it is read");
    assert!(matches!(all.snapshot(&tree(1), &tree(3), true).await, Err(SandboxError::TreeInUse { .. })));
    stop([a, b, c]).await;
    assert!(matches!(all.snapshot(&tree(1), &tree(3), true).await, Err(SandboxError::TreeExists(_))));
    assert!(matches!(all.snapshot(&tree(8), &tree(9), true).await, Err(SandboxError::TreeMissing(_))));
    assert_eq!(all.list_trees().await.expect("list"), [tree(1), tree(2), tree(3)]);
    all.remove_trees(&[tree(2), tree(1), tree(77)]).await.expect("removed");
    let b = start(&all, on(3)).await;
    assert_eq!(out(&b, "cat one d7/f").await, "three\n7\n", "it needs nothing of what it came from");
    stop([b]).await;
    end(&home, all).await;
}

/// A copy takes no longer for a large tree. Shown by the medians of both, far apart from a copy of the bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_takes_no_longer_for_a_large_tree() {
    const ROUNDS: u128 = 9;
    let home = Home::new();
    let (all, _) = home.open().await;
    let mut copied = Vec::new();
    for (n, mib) in [(1u128, 1), (2, 1024)] {
        let mut asked = on(n);
        asked.limits.disk_bytes = 2 << 30;
        let sandbox = start(&all, asked).await;
        out(&sandbox, &format!("head -c {mib}M /dev/zero | tr '\\0' x > big; sync; for i in $(seq 500); do echo $i > f$i; done")).await;
        all.snapshot(&tree(n), &tree(n * 100), true).await.expect("what was just written goes to the disk with the first");
        copied.push((n, mib, sandbox, Vec::new()));
    }
    // In turn, so that whatever else the machine does holds up the copies of both alike.
    for round in 1..=ROUNDS {
        for (n, _, sandbox, times) in &mut copied {
            out(sandbox, "echo changed > f1").await;
            let at = Instant::now();
            all.snapshot(&tree(*n), &tree(*n * 100 + round), false).await.expect("copied");
            times.push(at.elapsed());
        }
    }
    let mut quickest = Vec::new();
    for (_, mib, sandbox, mut times) in copied {
        times.sort();
        println!("copy of {mib} MiB in use: {:?} at least, {:?} in the middle", times[0], times[times.len() / 2]);
        quickest.push(times[0]);
        sandbox.stop().await.expect("stopped");
    }
    // A thousand times the bytes. Others may hold up every copy but the quickest, and that a little.
    assert!(quickest[1] < quickest[0] * 20 + Duration::from_millis(200), "{quickest:?}");
    end(&home, all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_a_tree_bites_and_follows_the_last_start() {
    let home = Home::new();
    let (all, _) = home.open().await;
    all.make_tree(&tree(1), 48 << 20).await.expect("made");
    all.make_tree(&tree(1), 48 << 20).await.expect("again");
    let limited = |mib: u64| {
        let mut asked = on(1);
        asked.limits.disk_bytes = mib << 20;
        asked
    };
    let a = start(&all, limited(48)).await;
    let fill = "dd if=/dev/zero of=big bs=1M count=200 2>&1 | grep -ci quota; stat -c %s big";
    let said = out(&a, fill).await;
    let size: u64 = said.lines().nth(1).expect("size").parse().expect("number");
    assert!(said.starts_with("1\n") && (24 << 20..=48 << 20).contains(&size), "{said}");
    let (_, err, exit) = sh(&a, "echo x > ~/also").await;
    assert_ne!(exit, OK, "both halves are one tree: {err}");
    // A full tree can be mounted, with a place made in it, and tidied.
    let mut asked = limited(48);
    asked.files.push(HostFile { target: "/home/sandbox/.engine/settings.json".into(), bytes: b"{}".to_vec() });
    let b = start(&all, asked).await;
    assert_eq!(out(&b, "cat ~/.engine/settings.json; rm big; echo y > ~/y; cat ~/y").await, "{}y\n");
    assert!(b.stats().disk_bytes.is_some());
    all.set_tree_limit(&tree(1), 8 << 20).await.expect("limited");
    assert!(out(&a, fill).await.starts_with("1\n"));
    assert!(all.tree_bytes(&tree(1)).await.is_some());
    stop([a, b]).await;
    end(&home, all).await;
}

/// Nothing inside makes a subvolume, which no quota would count and no copy would hold.
#[tokio::test(flavor = "multi_thread")]
async fn the_requests_of_btrfs_are_refused_inside() {
    let home = Home::new();
    let (all, _) = home.open().await;
    let line = "python3 -c 'import fcntl, os\ntry:\n  fcntl.ioctl(os.open(\".\", 0), 0x5000940e, bytearray(bytes(8) + b\"sub\" + bytes(4085)))\n  \
                print(\"done\")\nexcept OSError as e:\n  print(e.errno)'; echo x > f; cp --reflink=always f g && cat g; ls";
    let sandbox = start(&all, on(1)).await;
    assert_eq!(out(&sandbox, line).await, "1\nx\nf\ng\n");
    let mut open = on(1);
    open.walls.seccomp = false;
    let free = start(&all, open).await;
    assert!(out(&free, line).await.starts_with("done\n"), "without the filter it works");
    stop([sandbox, free]).await;
    end(&home, all).await;
}

/// Files of the host are what they are: whatever is tried inside, and whatever the tree held before.
#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_host_stay_what_the_host_wrote() {
    let home = Home::new();
    let (all, _) = home.open().await;
    for kept in [true, false] {
        let files = |mut asked: Request| {
            for target in ["/home/sandbox/.claude/settings.json", "/workspace/AGENTS.md", "/opt/lazaret/engine.json"] {
                asked.files.push(HostFile { target: target.into(), bytes: b"first version\n".to_vec() });
            }
            asked
        };
        let sandbox = start(&all, files(if kept { on(1) } else { request() })).await;
        let attack = "for f in ~/.claude/settings.json /workspace/AGENTS.md /opt/lazaret/engine.json; do
            (echo no > $f) 2>/dev/null && echo wrote $f; rm -f $f 2>/dev/null && echo removed $f; mv $f $f.x 2>/dev/null && echo moved $f
            chmod 777 $f 2>/dev/null && echo chmod $f; ln -f $f /tmp/x 2>/dev/null && echo linked $f; cp /etc/passwd $f 2>/dev/null && echo over $f
            (mount --bind /etc/passwd $f || umount $f || mount -o remount,rw,bind $f) 2>/dev/null && echo mounted $f; truncate -s 0 $f 2>/dev/null && echo cut $f; done
            mv ~/.claude ~/.c 2>/dev/null && echo moved the directory; rm -rf ~/.claude 2>/dev/null && echo removed the directory
            mv /home/sandbox /home/s 2>/dev/null && echo moved home; mv /home/sandbox/.claude /workspace/ 2>/dev/null; ls ~/.claude
            cat ~/.claude/settings.json /workspace/AGENTS.md /opt/lazaret/engine.json";
        let (said, ..) = sh(&sandbox, attack).await;
        assert_eq!(said, "settings.json\nfirst version\nfirst version\nfirst version\n", "kept: {kept}");
        let target = std::path::Path::new("/home/sandbox/.claude/settings.json");
        sandbox.rewrite_file(target, b"2nd\n").await.expect("rewritten");
        assert_eq!(out(&sandbox, "cat ~/.claude/settings.json").await, "2nd\n");
        let refused = sandbox.rewrite_file("/etc/passwd".as_ref(), b"x").await;
        assert!(matches!(refused, Err(SandboxError::Path { .. })));
        out(&sandbox, "echo mine > ~/.claude/mine").await;
        sandbox.stop().await.expect("stopped");
    }
    // What stands in the way is kept under another name, and a link leads nowhere.
    let a = start(&all, on(1)).await;
    out(
        &a,
        "cd; mv .claude .c; ln -s /opt/lazaret .claude; cd /workspace; rm AGENTS.md; mkdir AGENTS.md; ln -s /etc Vault; mkdir -m 0 closed",
    )
    .await;
    a.stop().await.expect("stopped");
    let mut asked = on(1);
    for target in ["/home/sandbox/.claude/settings.json", "/workspace/AGENTS.md", "/workspace/closed/by/me"] {
        asked.files.push(HostFile { target: target.into(), bytes: b"again\n".to_vec() });
    }
    asked.extra_ro.push(("/usr/share".into(), "/workspace/Vault".into()));
    let b = start(&all, asked).await;
    let line = "cat ~/.claude/settings.json AGENTS.md closed/by/me; readlink ~/.claude.moved-0 Vault.moved-0; ls -d AGENTS.md.moved-0; \
                ls -A /opt/lazaret; test -f /etc/passwd && ls -d Vault/doc; cat ~/.c/mine";
    let told = out(&b, line).await;
    assert_eq!(told, "again\nagain\nagain\n/opt/lazaret\n/etc\nAGENTS.md.moved-0\nbin\nengine\nVault/doc\nmine\n");
    stop([b]).await;
    end(&home, all).await;
}

/// What a tree brings from one sandbox is inert in the next (C5), and what is read-only stays so (C3).
#[tokio::test(flavor = "multi_thread")]
async fn set_id_bits_devices_and_remounts_do_nothing() {
    let home = Home::new();
    let (all, _) = home.open().await;
    let mut open = on(1);
    // With the filter not even the bit can be set.
    open.walls.seccomp = false;
    let a = start(&all, open).await;
    let said =
        sh(&a, "cp /usr/bin/id . && chmod 6755 id; stat -c %a id; (mknod n c 1 3 || mknod n b 7 0) 2>/dev/null && echo made").await.0;
    assert_eq!(said, "6755\n");
    a.stop().await.expect("stopped");
    let mut asked = on(1);
    asked.trees.push((tree(1), "/mnt/old".into()));
    let b = start(&all, asked).await;
    let line = "./id -u; ./id -ru; grep -c ' /workspace .*nosuid,nodev' /proc/self/mountinfo; \
                for m in /mnt/old/workspace / /usr; do mount -o remount,bind,rw $m 2>/dev/null && echo remounted $m; done; \
                (: > /mnt/old/workspace/x) 2>/dev/null || echo sealed";
    assert_eq!(out(&b, line).await, "1000\n1000\n1\nsealed\n");
    stop([b]).await;
    end(&home, all).await;
}

/// As root without a disk image: plain directories that several sandboxes have, and layers that one at a time has.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_disk_image_trees_are_directories_and_layers() {
    let home = Home::new();
    let mut config = home.config();
    // Too small for any file system.
    config.disk_image_bytes = 1;
    let all = Sandboxes::open(config, std::sync::Arc::new(crate::support::Seen::default())).await.expect("open");
    assert!(!all.live_checkpoints());
    let required = all.start(on(1)).await.expect_err("no quota");
    assert!(matches!(required, SandboxError::Layer { .. }), "{required}");
    let on = |n: u128| {
        let mut asked = on(n);
        asked.wants.disk = model::Want::Prefer;
        asked
    };
    let (a, b) = (start(&all, on(1)).await, start(&all, on(1)).await);
    assert!(a.level().lines.iter().any(|l| l.name == "disk" && !l.holds));
    out(&a, "echo one > f; echo h > ~/h").await;
    assert_eq!(out(&b, "cat f ~/h; stat -c %U f; echo more >> f").await, "one\nh\nsandbox\n");
    assert!(matches!(all.snapshot(&tree(1), &tree(2), true).await, Err(SandboxError::TreeInUse { .. })));
    stop([a, b]).await;
    all.snapshot(&tree(1), &tree(2), true).await.expect("frozen");
    all.snapshot(&tree(2), &tree(3), false).await.expect("forked");
    let mut asked = on(1);
    asked.trees.push((tree(2), "/mnt/old".into()));
    asked.files.push(HostFile { target: "/home/sandbox/.e/f".into(), bytes: b"host\n".to_vec() });
    let a = start(&all, asked).await;
    let told = out(&a, "cat f ~/h ~/.e/f; stat -c '%U %u' f; rm f; echo two > g; cat /mnt/old/workspace/f; chmod 700 ~/h").await;
    assert_eq!(told, "one\nmore\nh\nhost\nsandbox 1000\none\nmore\n");
    let second = all.start(on(1)).await;
    assert!(matches!(second, Err(SandboxError::TreeInUse { .. })), "layers are one sandbox's at a time");
    let c = start(&all, on(3)).await;
    assert_eq!(out(&c, "cat f; ls").await, "one\nmore\nf\n");
    stop([a, c]).await;
    all.snapshot(&tree(1), &tree(4), false).await.expect("copied");
    let (a, d) = (start(&all, on(1)).await, start(&all, on(4)).await);
    assert_eq!(out(&d, "ls; cat g; echo four > g").await, "g\ntwo\n");
    assert_eq!(out(&a, "cat g").await, "two\n");
    stop([a, d]).await;
    assert_eq!(all.list_trees().await.expect("list"), [tree(1), tree(2), tree(3), tree(4)]);
    all.remove_trees(&[tree(1), tree(2), tree(3), tree(4)]).await.expect("removed");
    assert_eq!(std::fs::read_dir(home.path.join("layers")).expect("list").count(), 0);
    end(&home, all).await;
}

/// Each write in a shared tree is told as the sandbox's that wrote.
#[tokio::test(flavor = "multi_thread")]
async fn writes_are_told_apart_by_sandbox() {
    use lazaret_sandbox::Written;
    let home = Home::new();
    let (all, _) = home.open().await;
    let mut asked = on(1);
    asked.files.push(HostFile { target: "/home/sandbox/.e/f".into(), bytes: b"x".to_vec() });
    let (a, b) = (start(&all, asked).await, start(&all, on(1)).await);
    let (mut from_a, mut from_b) = (all.watch_writes(a.id()).await.expect("watched"), all.watch_writes(b.id()).await.expect("watched"));
    out(&a, "mkdir d; echo 1 > d/f; cat d/f > /tmp/no; echo 2 > ~/h; echo 3 > ~/.e/mine; echo end > end-a").await;
    out(&b, "echo more >> /workspace/d/f; cat ~/h > /dev/null; echo end > end-b").await;
    let mut told = Vec::new();
    for (writes, last) in [(&mut from_a, "/workspace/end-a"), (&mut from_b, "/workspace/end-b")] {
        let mut paths = Vec::new();
        while paths.last().is_none_or(|path| path != last) {
            match writes.next().await.expect("more") {
                Written::Path(path) => paths.push(path.to_str().expect("text").to_owned()),
                Written::Lost => panic!("lost"),
            }
        }
        told.push(paths);
    }
    assert_eq!(told[0], ["/workspace/d/f", "/home/sandbox/h", "/home/sandbox/.e/mine", "/workspace/end-a"]);
    assert_eq!(told[1], ["/workspace/d/f", "/workspace/end-b"]);
    // More than anybody waits for: what is left out is said to be.
    out(&b, "python3 -c 'for i in range(40000): open(\"m%d\" % (i % 3000), \"w\").close()'").await;
    let (mut lost, mut number) = (false, 0);
    // What was left out may be the end itself, which is said after it: then another end is written, until one is told. Nothing is after it.
    'ends: loop {
        number += 1;
        out(&b, &format!("echo end > last-{number}")).await;
        loop {
            match tokio::time::timeout(PATIENCE, from_b.next()).await.expect("in time").expect("more") {
                Written::Lost => {
                    lost = true;
                    break;
                }
                Written::Path(path) if path == std::path::Path::new(&format!("/workspace/last-{number}")) => break 'ends,
                Written::Path(_) => {}
            }
        }
    }
    assert!(lost);
    b.stop().await.expect("stopped");
    assert_eq!(from_b.next().await, None, "it has ended");
    // A watch that ends still tells what was written before.
    out(&a, "echo 4 > last").await;
    from_a.end();
    assert_eq!(from_a.next().await, Some(Written::Path("/workspace/last".into())));
    assert_eq!(from_a.next().await, None, "nothing is watched any more");
    stop([a]).await;
    assert!(matches!(all.watch_writes(&request().id).await, Err(SandboxError::Unknown(_))));
    drop((from_a, from_b));
    end(&home, all).await;
}
