//! Commands in a sandbox of root.

use lazaret_sandbox::{Exec, Piece, SandboxError, Size, Stdio};

use crate::support::{Home, OK, exec, finish, request, sh};

/// What a user expects of the image `host`, and every layer in force.
#[tokio::test(flavor = "multi_thread")]
async fn the_tools_of_the_host_work_behind_every_layer() {
    let home = Home::new();
    let (all, _) = home.open().await;
    let sandbox = all.start(request()).await.expect("started");
    let level = sandbox.level();
    assert!(level.lines.iter().all(|l| l.holds), "{level:#?}");
    assert_eq!(level.lines.len(), 18);
    let (out, err, exit) = sh(&sandbox, "id -un; id -u; pwd; echo $HOME; hostname; touch /x 2>&1; ls /sys; ls /home").await;
    assert_eq!((err.as_str(), exit), ("", OK));
    assert_eq!(out, "sandbox\n1000\n/workspace\n/home/sandbox\nsandbox\ntouch: cannot touch '/x': Read-only file system\nsandbox\n");
    let line = "printf 'int main(){return 3;}' > a.c && gcc a.c -o a && { ./a; test $? = 3; } && awk 'BEGIN{print 5}' && \
                python3 -c 'print(2+2)' && git init -q r && node -e 'console.log(6)'";
    let (out, err, exit) = sh(&sandbox, line).await;
    assert_eq!((out.as_str(), err.as_str(), exit), ("5\n4\n6\n", "", OK));
    let (out, ..) = sh(&sandbox, "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'").await;
    assert_eq!(out, "CapEff:0000000000000000\nCapBnd:0000000000000000\nNoNewPrivs:1\nSeccomp:2\n");
    sandbox.stop().await.expect("stopped");
    all.shutdown(true).await;
    home.assert_nothing_left();
}

/// A program that is not there, exit statuses, signals, and a kill of all commands that leaves the sandbox alive.
#[tokio::test(flavor = "multi_thread")]
async fn commands_end_as_they_do_outside() {
    let home = Home::new();
    let (all, _) = home.open().await;
    let sandbox = all.start(request()).await.expect("started");
    let missing = sandbox.exec(exec(&["no-such-program"], false)).await;
    assert!(matches!(missing, Err(SandboxError::Inside { errno: 2, .. })), "{missing:?}");
    assert_eq!(sh(&sandbox, "exit 42").await.2.code, Some(42));
    let mut command = sandbox.exec(exec(&["sleep", "1000"], false)).await.expect("started");
    command.control.signal(15);
    assert_eq!(finish(&mut command).await.expect("ended").2.signal, Some(15));
    let line = "trap '' TERM INT HUP; setsid sleep 1000 & sleep 1000 & echo up; wait";
    let mut stubborn = sandbox.exec(exec(&["/bin/sh", "-c", line], false)).await.expect("started");
    // The killing forbids to fork first, and a shell that is at it ends by itself then: this one forks no more.
    assert_eq!(stubborn.output.next().await.expect("output").expect("more").piece, Piece::Stdout("up\n".into()));
    sandbox.kill_commands().await.expect("killed");
    assert_eq!(finish(&mut stubborn).await.expect("ended").2.signal, Some(9));
    sandbox.ping().await.expect("alive");
    assert_eq!(sh(&sandbox, "echo still").await.0, "still\n");
    all.shutdown(true).await;
    assert!(matches!(sandbox.exec(exec(&["true"], false)).await, Err(SandboxError::Gone(_))));
    home.assert_nothing_left();
}

/// A hundred megabytes through a command and back, which no side could hold.
#[tokio::test(flavor = "multi_thread")]
async fn input_of_any_size_flows_through() {
    const SIZE: usize = 100 << 20;
    let home = Home::new();
    let (all, _) = home.open().await;
    let sandbox = all.start(request()).await.expect("started");
    let command = sandbox.exec(exec(&["cat"], true)).await.expect("started");
    let (mut stdin, mut output, control) = (command.stdin.expect("stdin"), command.output, command.control);
    let piece: Vec<u8> = (0..=250u8).cycle().take(1 << 20).collect();
    let write = async {
        for _ in 0..SIZE >> 20 {
            stdin.write(&piece).await.expect("written");
        }
        stdin.close();
    };
    let read = async {
        let mut got = 0usize;
        while let Some(output) = output.next().await.expect("output") {
            control.ack(output.number);
            if let Piece::Stdout(bytes) = output.piece {
                let wrong = bytes.iter().enumerate().find(|(at, b)| **b != piece[(got + at) % (1 << 20)]);
                assert_eq!(wrong, None, "after {got} bytes");
                got += bytes.len();
            }
        }
        got
    };
    let ((), got) = tokio::join!(write, read);
    assert_eq!(got, SIZE);
    // A command that does not read stops its writer, and nothing else.
    let mut deaf = sandbox.exec(exec(&["sleep", "1000"], true)).await.expect("started");
    let mut stdin = deaf.stdin.take().expect("stdin");
    let stuck = tokio::time::timeout(std::time::Duration::from_millis(300), stdin.write(&vec![0; 4 << 20])).await;
    assert!(stuck.is_err(), "the writer waits");
    sandbox.ping().await.expect("the sandbox does not");
    deaf.control.signal(9);
    finish(&mut deaf).await.expect("ended");
    stdin.write(&vec![0; 4 << 20]).await.expect("dropped");
    all.shutdown(true).await;
    home.assert_nothing_left();
}

/// Output that nobody reads stops the command, not the host; then all of it comes.
#[tokio::test(flavor = "multi_thread")]
async fn output_that_is_not_read_waits() {
    let home = Home::new();
    let (all, _) = home.open().await;
    let sandbox = all.start(request()).await.expect("started");
    let mut command = sandbox.exec(exec(&["/bin/sh", "-c", "head -c 60000000 /dev/zero; echo end >&2"], false)).await.expect("started");
    let (out, err, exit) = finish(&mut command).await.expect("ended");
    assert_eq!((out.len(), err.as_str(), exit), (60_000_000, "end\n", OK));
    // A reader that goes away lets the command run on and end.
    let dropped = sandbox.exec(exec(&["/bin/sh", "-c", "head -c 60000000 /dev/zero; touch done"], false)).await.expect("started");
    drop(dropped);
    let (out, ..) = sh(&sandbox, "for i in $(seq 12000); do test -e done && echo yes && exit; sleep 0.01; done").await;
    assert_eq!(out, "yes\n");
    all.shutdown(true).await;
    home.assert_nothing_left();
}

/// A terminal with a size that can be changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_one() {
    let home = Home::new();
    let (all, _) = home.open().await;
    let sandbox = all.start(request()).await.expect("started");
    let line = "test -t 0 && stty size; trap 'stty size; exit 4' WINCH; echo ready; while :; do sleep 0.01; done";
    let exec = Exec { stdio: Stdio::Pty(Size { rows: 11, cols: 99 }), ..exec(&["/bin/sh", "-c", line], false) };
    let mut command = sandbox.exec(exec).await.expect("started");
    let mut seen = String::new();
    let exit = loop {
        let output = command.output.next().await.expect("output").expect("more");
        command.control.ack(output.number);
        match output.piece {
            Piece::Stdout(bytes) => {
                seen.push_str(&String::from_utf8_lossy(&bytes));
                if seen.ends_with("ready\r\n") {
                    command.control.resize(Size { rows: 33, cols: 44 });
                }
            }
            Piece::Stderr(_) => panic!("a terminal has one output"),
            Piece::Exited(exit) => break exit,
        }
    };
    assert_eq!((seen.as_str(), exit.code), ("11 99\r\nready\r\n33 44\r\n", Some(4)));
    all.shutdown(true).await;
    home.assert_nothing_left();
}

/// Two sandboxes at once do not share a user, a tree or a process; a caller that gives up leaves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn sandboxes_are_apart() {
    let home = Home::new();
    let (all, _) = home.open().await;
    let (one, two) = tokio::join!(all.start(request()), all.start(request()));
    let (one, two) = (one.expect("started"), two.expect("started"));
    let user = |s: &lazaret_sandbox::Sandbox| s.level().lines.iter().find(|l| l.name == "uid").expect("uid").how.clone();
    assert_ne!(user(&one), user(&two));
    sh(&one, "echo secret > /workspace/s; echo secret > /tmp/s; echo x > /dev/shm/s").await;
    let (out, ..) = sh(&two, "ls /workspace /tmp /dev/shm; ls /proc | grep -c '^[0-9]'").await;
    assert!(!out.contains('s') || !out.lines().any(|l| l == "s"), "{out}");
    assert_eq!(all.list().len(), 2);
    let given_up = tokio::time::timeout(std::time::Duration::from_micros(200), all.start(request())).await;
    assert!(given_up.is_err() || given_up.is_ok_and(|s| s.is_ok()));
    all.shutdown(true).await;
    home.assert_nothing_left();
}
