//! A daemon that is killed, and the one after it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::Instant;

use lazaret_sandbox::Piece;
use model::SandboxId;

use crate::support::{Home, OK, PATIENCE, finish, request, sh};

struct Owner {
    child: Child,
    id: SandboxId,
    stream: u32,
}

/// Starts an owner with one sandbox and one command, as another process.
fn serve(home: &Home, settings: &[&str], line: &str) -> Owner {
    let args: Vec<&str> = settings.iter().copied().chain(["--", "/bin/sh", "-c", line]).collect();
    let mut child = home.owner("serve", &args).stdout(Stdio::piped()).spawn().expect("owner");
    let mut said = String::new();
    BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut said).expect("said");
    let mut words = said.split_whitespace();
    let id = words.next().expect("id").parse().expect("id");
    let stream = words.nth(1).expect("stream").parse().expect("stream");
    Owner { child, id, stream }
}

/// A sandbox outlives its daemon; the next one finds it, with everything that its command said, and its door works.
#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_is_taken_over_with_its_commands() {
    let home = Home::new();
    let line = "echo before; while ! test -e /workspace/go; do sleep 0.01; done; echo after; exit 5";
    for settings in [&["memory=128m", "disk=16m"][..], &["memory=128m", "tree=tre_0000000000000000000000000000000a"]] {
        let mut owner = serve(&home, settings, line);
        owner.child.kill().expect("kill -9");
        owner.child.wait().expect("gone");
        let at = Instant::now();
        let (all, seen) = home.open().await;
        let adopted = all.adopt().await.expect("adopt");
        assert!(at.elapsed() < PATIENCE, "{:?}", at.elapsed());
        assert_eq!((adopted.sandboxes.len(), adopted.removed), (1, 0), "{:?}", adopted.trouble);
        let (sandbox, commands) = &adopted.sandboxes[0];
        assert_eq!(sandbox.id(), &owner.id);
        let tree = model::TreeId::from_bits(10);
        if settings.iter().any(|setting| setting.starts_with("tree=")) {
            assert_eq!(all.tree_users(&tree), [owner.id.clone()]);
            assert!(all.remove_trees(std::slice::from_ref(&tree)).await.is_err(), "its sandbox lives");
        }
        assert_eq!(commands.iter().map(|c| (c.0, c.1)).collect::<Vec<_>>(), [(owner.stream, 1)]);
        assert!(sandbox.attach(owner.stream, 7, 0).await.expect("asked").output.next().await.is_err(), "another lease");
        let mut command = sandbox.attach(owner.stream, 1, 0).await.expect("attached");
        let first = command.output.next().await.expect("output").expect("more");
        assert_eq!(first.piece, Piece::Stdout("before\n".into()));
        let line = "touch /workspace/go; python3 -c 'import socket\ns=socket.socket(socket.AF_UNIX)\ns.connect(\"/run/lazaret/host.sock\")\n\
                    s.sendall(b\"lazaret/1 broker\\n\");print(s.recv(99))'";
        assert_eq!(sh(sandbox, line).await.0, "b'welcome\\n'\n");
        assert_eq!(seen.doors.lock().expect("lock").len(), 1);
        let (out, _, exit) = finish(&mut command).await.expect("ended");
        assert_eq!((out.as_str(), exit.code), ("after\n", Some(5)));
        assert_eq!(sh(sandbox, "true").await.2, OK);
        adopted.sandboxes[0].0.clone().stop().await.expect("stopped");
        all.remove_trees(&[model::TreeId::from_bits(10)]).await.expect("removed");
        all.shutdown(true).await;
        drop((command, adopted, all));
        home.assert_nothing_left();
    }
}

/// A daemon that leaves on purpose does not end its sandboxes, and the next one may go on with them or not.
#[tokio::test(flavor = "multi_thread")]
async fn sandboxes_live_on_when_a_daemon_leaves() {
    let home = Home::new();
    let (first, _) = home.open().await;
    let sandbox = first.start(request()).await.expect("started");
    sh(&sandbox, "echo x > /workspace/x").await;
    first.shutdown(false).await;
    drop((sandbox, first));
    let (second, _) = home.open().await;
    let adopted = second.adopt().await.expect("adopt");
    assert_eq!(adopted.sandboxes.len(), 1, "{:?}", adopted.trouble);
    assert_eq!(sh(&adopted.sandboxes[0].0, "cat x").await.0, "x\n");
    second.shutdown(true).await;
    home.assert_nothing_left();
}

/// What is dead, half-made or damaged is removed; what belongs to another home is not touched.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_live_is_removed_and_strangers_are_left_alone() {
    let (home, other) = (Home::new(), Home::new());
    let (others, _) = other.open().await;
    let stranger = others.start(request()).await.expect("started");
    let mut owner = serve(&home, &[], "sleep 1000");
    owner.child.kill().expect("kill -9");
    owner.child.wait().expect("gone");
    let dir = home.path.join("sandboxes");
    // Its record is lost: only the search by label and control group can find it.
    std::fs::write(dir.join(owner.id.as_str()).join("record.json"), "{").expect("damage");
    std::fs::create_dir(dir.join("sbx_0000000000000000000000000000000a")).expect("dir");
    std::fs::create_dir(dir.join("rubbish")).expect("dir");
    let groups = jail::cgroup::Driver::detect(&home.install);
    groups
        .create("sbx_0000000000000000000000000000000b", &jail::cgroup::GroupLimits { pids: Some(4), ..Default::default() })
        .expect("group");
    let (all, _) = home.open().await;
    let adopted = all.adopt().await.expect("adopt");
    assert_eq!((adopted.sandboxes.len(), adopted.removed), (0, 3), "{:?}", adopted.trouble);
    assert_eq!(adopted.trouble, Vec::<String>::new());
    all.shutdown(true).await;
    drop(all);
    home.assert_nothing_left();
    stranger.ping().await.expect("alive");
    others.shutdown(true).await;
    other.assert_nothing_left();
}
