//! Trees in and out, with a guest that means harm.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use lazaret_sandbox::HostMount;

use crate::support::{Home, OK, request, sh};

fn open(path: &std::path::Path) -> OwnedFd {
    fs::File::open(path).expect("open").into()
}

#[tokio::test(flavor = "multi_thread")]
async fn trees_go_in_and_come_out_as_they_were() {
    let home = Home::new();
    let (all, _) = home.open().await;
    let sandbox = all.start(request()).await.expect("started");
    let from = tempfile::tempdir().expect("temp dir");
    fs::create_dir_all(from.path().join("d/e")).expect("dirs");
    fs::write(from.path().join("d/e/big"), vec![5u8; 30 << 20]).expect("file");
    fs::write(from.path().join("run.sh"), "#!/bin/sh\necho ran").expect("file");
    fs::set_permissions(from.path().join("run.sh"), fs::Permissions::from_mode(0o755)).expect("chmod");
    std::os::unix::fs::symlink("d/e", from.path().join("l")).expect("link");
    let mut tar = tar::Builder::new(Vec::new());
    tar.follow_symlinks(false);
    tar.append_dir_all("t", from.path()).expect("packed");
    let tar = tar.into_inner().expect("packed");
    sandbox.put("/workspace/in", tar.as_slice()).await.expect("put");
    let (out, err, exit) = sh(&sandbox, "cd in/t && ./run.sh && stat -c '%s %U' l/big && touch mine").await;
    assert_eq!((out.as_str(), err.as_str(), exit), ("ran\n31457280 sandbox\n", "", OK));
    let into = tempfile::tempdir().expect("temp dir");
    let done = sandbox.copy_out("/workspace/in", open(into.path())).await.expect("out");
    assert_eq!((done.files, done.skipped_total), (3, 0), "{:?}", done.skipped);
    assert_eq!(fs::read(into.path().join("in/t/l/big")).expect("file"), vec![5u8; 30 << 20]);
    assert_eq!(fs::metadata(into.path().join("in/t/run.sh")).expect("file").mode() & 0o777, 0o755);
    let missing = sandbox.copy_out("/workspace/none", open(into.path())).await;
    assert!(missing.is_err());
    let damaged = sandbox.put("/workspace/x", &tar[..tar.len() / 2]).await;
    assert!(damaged.is_err(), "half a tree is no tree");
    sandbox.ping().await.expect("alive");
    all.shutdown(true).await;
    home.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_guest_leaves_leads_the_host_astray() {
    let home = Home::new();
    let (all, _) = home.open().await;
    let sandbox = all.start(request()).await.expect("started");
    let line = "mkdir -p out/d && cd out && ln -s /etc/shadow s && ln -s ../../../../etc up && ln -s d/../../../x mid && \
                ln -s /proc/self/root root && mkfifo pipe && echo ok > d/f && ln d/f hard && ln -s d/f fine && \
                chmod 4755 d/f; printf x > $(printf 'a\\n\\033[31m'); truncate -s 8E sparse 2>/dev/null; rm -f sparse; chmod 0 d";
    sh(&sandbox, line).await;
    let into = tempfile::tempdir().expect("temp dir");
    let done = sandbox.copy_out("/workspace/out", open(into.path())).await.expect("out");
    let out = into.path().join("out");
    for link in ["s", "up", "mid", "root"] {
        assert!(fs::symlink_metadata(out.join(link)).is_err(), "{link}");
    }
    assert!(fs::symlink_metadata(out.join("pipe")).is_err());
    assert!(done.skipped_total >= 4, "{:?}", done.skipped);
    for entry in walk(&out) {
        let meta = fs::symlink_metadata(&entry).expect("there");
        assert_eq!(meta.mode() & 0o7000, 0, "{}", entry.display());
    }
    // Links inside that lead to where the guest may not write do not help `put` either.
    sh(&sandbox, "ln -s /usr /workspace/trap; ln -s /workspace/out /workspace/ok").await;
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, "f", &b"x"[..]).expect("packed");
    let tar = tar.into_inner().expect("packed");
    assert!(sandbox.put("/workspace/trap", tar.as_slice()).await.is_err());
    sandbox.ping().await.expect("alive");
    all.shutdown(true).await;
    home.assert_nothing_left();
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).expect("list").flatten() {
        if entry.file_type().expect("type").is_dir() {
            all.extend(walk(&entry.path()));
        }
        all.push(entry.path());
    }
    all
}

/// A directory of a host user is seen as the sandbox's own, and what is written belongs to that user.
#[tokio::test(flavor = "multi_thread")]
async fn a_mounted_directory_keeps_its_owner() {
    let home = Home::new();
    let (all, _) = home.open().await;
    let work = tempfile::tempdir_in("/tmp").expect("temp dir");
    std::os::unix::fs::chown(work.path(), Some(12345), Some(12345)).expect("chown");
    fs::write(work.path().join("f"), "host").expect("file");
    let mut asked = request();
    asked.mounts.push(HostMount { fd: open(work.path()), target: "/workspace".into(), read_only: false });
    asked.mounts.push(HostMount { fd: open(work.path()), target: "/mnt/ro".into(), read_only: true });
    let sandbox = all.start(asked).await.expect("started");
    let (out, err, _) = sh(&sandbox, "cat f; echo new > g; stat -c %U g; (echo x > /mnt/ro/h) 2>/dev/null || echo refused").await;
    assert_eq!((out.as_str(), err.as_str()), ("hostsandbox\nrefused\n", ""));
    assert_eq!(fs::metadata(work.path().join("g")).expect("there").uid(), 12345);
    all.shutdown(true).await;
    home.assert_nothing_left();
}
