//! The one door: who may come through it.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use lazaret_sandbox::{Door, Relay};

use crate::support::{Home, request, sh, wait_for};

/// A program inside comes through and is known; the host's root, who is no part of the sandbox, is not let in.
#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_comes_through_and_a_stranger_does_not() {
    let home = Home::new();
    let (all, seen) = home.open().await;
    let mut asked = request();
    asked.relays.push(Relay { port: 8123, door: Door::Gateway });
    let sandbox = all.start(asked).await.expect("started");
    let line = "python3 -c 'import socket\ns=socket.socket(socket.AF_UNIX);s.connect(\"/run/lazaret/host.sock\")\n\
                s.sendall(b\"lazaret/1 egress\\nhello\");print(s.recv(99))\n\
                t=socket.create_connection((\"127.0.0.1\",8123));t.sendall(b\"GET\");print(t.recv(99))\n\
                u=socket.socket(socket.AF_UNIX);u.connect(\"/run/lazaret/host.sock\");u.sendall(b\"lazaret/1 control\\n\");print(u.recv(9))\n\
                v=socket.socket(socket.AF_UNIX);v.connect(\"/run/lazaret/host.sock\");v.sendall(b\"GET / HTTP/1.1\\r\\n\\r\\n\");print(v.recv(9))'";
    let (out, err, _) = sh(&sandbox, line).await;
    assert_eq!((out.as_str(), err.as_str()), ("b'welcome\\n'\nb'welcome\\n'\nb''\nb''\n", ""));
    let doors = seen.doors.lock().expect("lock").clone();
    let came: Vec<(Door, Vec<u8>)> = doors.iter().map(|(_, door, read)| (*door, read.to_vec())).collect();
    assert!(doors.iter().all(|(id, ..)| id == sandbox.id()));
    assert_eq!(came[0], (Door::Egress, b"hello".to_vec()));
    assert_eq!(came[1].0, Door::Gateway);
    assert_eq!(came.len(), 2);

    let socket = home.path.join("sandboxes").join(sandbox.id().as_str()).join("door/host.sock");
    let mut stranger = UnixStream::connect(socket).expect("root may connect to anything");
    let mut answer = Vec::new();
    // It may be closed before or after the line was written.
    let _ = stranger.write_all(b"lazaret/1 gateway\n");
    let _ = stranger.read_to_end(&mut answer);
    assert_eq!(answer, b"");
    assert_eq!(seen.doors.lock().expect("lock").len(), 2);
    all.shutdown(true).await;
    home.assert_nothing_left();
}

/// A sandbox that opens one connection after another is held to its number, and can go on when it closes some.
#[tokio::test(flavor = "multi_thread")]
async fn connections_of_one_sandbox_are_limited() {
    let home = Home::new();
    let (all, seen) = home.open().await;
    let sandbox = all.start(request()).await.expect("started");
    let line = "python3 -c 'import socket\nok=0\nkeep=[]\nfor i in range(200):\n s=socket.socket(socket.AF_UNIX);s.connect(\"/run/lazaret/host.sock\")\n \
                keep.append(s)\n try:\n  s.sendall(b\"lazaret/1 broker\\n\");ok+=s.recv(9)==b\"welcome\\n\"\n except OSError: pass\nprint(ok)'";
    let (out, err, _) = sh(&sandbox, line).await;
    assert_eq!((out.as_str(), err.as_str()), ("128\n", ""));
    // The last one may be kept only after it was answered.
    wait_for("every connection to be kept", || {
        let held = seen.held.lock().expect("lock").len();
        if held == 128 { Ok(()) } else { Err(format!("{held}")) }
    });
    seen.held.lock().expect("lock").clear();
    let (out, ..) = sh(&sandbox, line).await;
    assert_eq!(out, "128\n");
    all.shutdown(true).await;
    home.assert_nothing_left();
}

/// A home whose path is longer than a socket address may be.
#[tokio::test(flavor = "multi_thread")]
async fn a_home_with_a_long_path_works() {
    let home = Home::at(&"long-".repeat(40), None);
    assert!(home.path.as_os_str().len() > 200);
    let (all, _) = home.open().await;
    let sandbox = all.start(request()).await.expect("started");
    let line = "python3 -c 'import socket\ns=socket.socket(socket.AF_UNIX);s.connect(\"/run/lazaret/host.sock\")\ns.sendall(b\"lazaret/1 broker\\n\");print(s.recv(99))'";
    assert_eq!(sh(&sandbox, line).await.0, "b'welcome\\n'\n");
    all.shutdown(true).await;
    home.assert_nothing_left();
}
