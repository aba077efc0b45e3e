//! Commands: streams, signals, terminals, ends, and what they cannot do to the guest.

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::time::Instant;

use wire::{Boot, Exec, Exit, FromGuest, STDIN_WINDOW_BYTES, Size, Stdio, ToGuest};

use crate::support::{Host, PATIENCE, command, sh};

/// Output, error output and status arrive apart, in order and numbered from 1.
#[test]
fn streams_and_statuses() {
    let mut host = Host::plain();
    host.exec(3, sh("echo out; echo err >&2; read x && echo unreachable; exit 7"));
    let (out, err, exit) = host.collect(3);
    assert_eq!((out, err, exit), (b"out\n".to_vec(), b"err\n".to_vec(), Exit { code: Some(7), signal: None }));

    host.exec(4, sh("kill -9 $$"));
    assert_eq!(host.collect(4).2, Exit { code: None, signal: Some(9) });
    assert_eq!(host.sh(3, "echo $PWD"), "/workspace\n", "an acknowledged stream may be used again");
}

/// What cannot start says why, and leaves its stream free.
#[test]
fn commands_that_cannot_start() {
    let mut host = Host::plain();
    let nowhere = Exec { cwd: "/nowhere".into(), ..sh("true") };
    let passed = Exec { stdio: Stdio::Passed { first: 0 }, ..sh("true") };
    for (exec, errno) in [(command(&["no-such"]), 2), (nowhere, 2), (passed, 9), (command(&["a\0b"]), 22), (command(&[]), 2)] {
        host.send(5, 0, &ToGuest::Exec(exec));
        match host.next().1 {
            FromGuest::Trouble(trouble) => assert_eq!(trouble.errno, errno, "{trouble:?}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(host.sh(5, "echo fine"), "fine\n");
}

/// Input far beyond the window flows when the host heeds the window; a command that stops reading blocks nobody.
#[test]
fn input_flows_within_its_window() {
    const TOTAL: usize = 8 << 20;
    let mut host = Host::plain();
    for (stream, script, expected) in [(1, "wc -c", "8388608\n"), (2, "head -c 10 | wc -c; exec 0<&-; sleep 0.1", "10\n")] {
        host.exec(stream, Exec { stdio: Stdio::Pipes { stdin: true }, ..sh(script) });
        let (mut sent, mut taken, mut out) = (0, 0, Vec::new());
        let mut ended = false;
        while !ended {
            while sent < TOTAL && sent - taken < STDIN_WINDOW_BYTES {
                let piece = (STDIN_WINDOW_BYTES - (sent - taken)).min(TOTAL - sent).min(50_000);
                host.send(stream, 0, &ToGuest::Stdin(vec![b'x'; piece]));
                sent += piece;
                if sent == TOTAL {
                    host.send(stream, 0, &ToGuest::StdinEnd);
                }
            }
            match host.next() {
                (_, FromGuest::StdinTaken(n)) => taken = usize::try_from(n).expect("small"),
                (_, FromGuest::Stdout(bytes)) => out.extend(bytes),
                (frame, FromGuest::Exited(_)) => {
                    host.send(stream, frame.number, &ToGuest::Ack);
                    ended = true;
                }
                (_, other) => panic!("{other:?}"),
            }
        }
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}

/// A host that does not heed the window has broken the protocol, and so has one that sends no frame at all.
#[test]
fn a_host_that_breaks_the_protocol_ends_the_sandbox() {
    let mut host = Host::plain();
    host.exec(1, Exec { stdio: Stdio::Pipes { stdin: true }, ..command(&["sleep", "1000"]) });
    host.send(1, 0, &ToGuest::Stdin(vec![0; 2 * STDIN_WINDOW_BYTES]));
    while host.try_next().is_some() {}
    assert_eq!(host.wait(), 1);

    let mut host = Host::plain();
    host.send(0, 0, &ToGuest::Launch(b"{}".to_vec()));
    assert_eq!(host.wait(), 1);
}

/// A process that stays behind with the pipe does not keep its command from ending, and what was written before is
/// there; killing all ends it, and the guest goes on.
#[test]
fn nobody_stays_behind() {
    let mut host = Host::plain();
    let before = Instant::now();
    let pid = host.sh(1, "sleep 1000 & echo $!").trim().to_owned();
    assert!(before.elapsed() >= guest::DRAIN_GRACE && before.elapsed() < PATIENCE);
    assert_eq!(host.sh(2, &format!("kill -0 {pid} && echo alive")), "alive\n");

    host.exec(3, sh("trap '' TERM INT HUP; setsid sleep 1000 & (sleep 1000 &); sleep 1000; true"));
    host.send(0, 0, &ToGuest::KillAll);
    assert_eq!(host.collect(3).2, Exit { code: None, signal: Some(9) });
    let left = host.sh(4, "cd /proc; ls -d [0-9]* | grep -v -e '^1$' -e \"^$$\\$\" | while read p; do cat $p/comm 2>/dev/null; done; true");
    assert!(!left.contains("sleep"), "{left}");
}

/// Signals reach the whole group of a command and nothing else; the guest itself cannot be hurt from inside.
#[test]
fn signals() {
    let mut host = Host::plain();
    host.exec(1, sh("sleep 1000; true"));
    host.send(1, 0, &ToGuest::Signal(15));
    assert_eq!(host.collect(1).2, Exit { code: None, signal: Some(15) });
    host.exec(2, sh("for s in 9 15 19 2 1 10 17; do kill -$s 1; done; kill -9 -1; true"));
    host.collect(2);
    host.send(9, 77, &ToGuest::Ping);
    let (frame, message) = host.next();
    assert_eq!((frame.stream, frame.number, message), (9, 77, FromGuest::Pong));
    host.exec(3, command(&["cat", "/proc/1/environ"]));
    assert_ne!(host.collect(3).2.code, Some(0), "the guest's memory is closed");
}

/// A terminal has its size, is the controlling one, and ends like one.
#[test]
fn terminals() {
    let mut host = Host::plain();
    let stdio = Stdio::Pty(Size { rows: 31, cols: 97 });
    host.exec(1, Exec { stdio, ..sh("stty size; tty; read x; stty size; echo got $x; ps -o tty= -p $$ >/dev/null; cat") });
    let mut text = String::new();
    let mut resized = false;
    loop {
        match host.next() {
            (_, FromGuest::Stdout(bytes)) => text.push_str(&String::from_utf8_lossy(&bytes)),
            (_, FromGuest::Exited(exit)) => {
                assert_eq!(exit, Exit { code: Some(0), signal: None }, "{text}");
                break;
            }
            (_, FromGuest::StdinTaken(_)) => {}
            (_, other) => panic!("{other:?}"),
        }
        if text.contains("/dev/pts/") && !resized {
            resized = true;
            host.send(1, 0, &ToGuest::Resize(Size { rows: 10, cols: 20 }));
            host.send(1, 0, &ToGuest::Stdin(b"word\n".to_vec()));
            host.send(1, 0, &ToGuest::StdinEnd);
        }
    }
    for part in ["31 97", "10 20", "got word"] {
        assert!(text.contains(part), "{text}");
    }
}

/// A flood of output that the host does not acknowledge stops at the limit, the guest still answers, and every byte is
/// there in the end.
#[test]
fn a_flood_waits_for_its_reader() {
    const TOTAL: usize = 24 << 20;
    let mut host = Host::plain();
    host.exec(1, sh("yes | head -c 25165824; echo end >&2"));
    host.send(0, 1, &ToGuest::Ping);
    let (mut got, mut unsafe_bytes, mut last, mut most) = (0, 0, 0, 0);
    let mut pinged = 1;
    loop {
        let (frame, message) = host.next();
        match message {
            FromGuest::Stdout(bytes) => {
                last = frame.number;
                got += bytes.len();
                unsafe_bytes += bytes.len();
                most = most.max(unsafe_bytes);
                // Near the limit: a ping is answered although nothing is acknowledged, then all is.
                if unsafe_bytes > guest::SPOOL_BYTES_MAX * 7 / 8 {
                    pinged += 1;
                    host.send(0, pinged, &ToGuest::Ping);
                    unsafe_bytes = 0;
                }
            }
            FromGuest::Pong => {
                let number = last;
                host.send(1, number, &ToGuest::Ack);
            }
            FromGuest::Stderr(bytes) => assert_eq!(bytes, b"end\n"),
            FromGuest::Exited(exit) => {
                assert_eq!(exit.code, Some(0));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got, TOTAL);
    assert!(most <= guest::SPOOL_BYTES_MAX + (256 << 10), "{most}");
}

/// Passed streams go straight to the command, and the sandbox ends with it.
#[test]
fn a_boot_command_has_the_callers_streams() {
    let (input, mut feed) = std::io::pipe().expect("pipe");
    let (mut output, write) = std::io::pipe().expect("pipe");
    std::io::Write::write_all(&mut feed, b"from outside").expect("written");
    drop(feed);
    // Not through a pipe: the shell itself has an end of it open until the second program runs.
    let exec = Exec { stdio: Stdio::Passed { first: 0 }, ..sh("cat; echo; ls /proc/$$/fd > /tmp/fds; wc -l < /tmp/fds; exit 5") };
    let boot = Boot { exec: Some(exec), ..Boot::default() };
    let mut host = Host::start(boot, &[input.as_fd(), write.as_fd(), write.as_fd()]);
    drop(write);
    let mut text = String::new();
    output.read_to_string(&mut text).expect("text");
    assert_eq!(text, "from outside\n3\n");
    let messages: Vec<FromGuest> = std::iter::from_fn(|| host.try_next()).map(|(_, message)| message).collect();
    assert!(
        matches!(messages[..], [FromGuest::Ready(_), FromGuest::Started(_), FromGuest::Exited(Exit { code: Some(5), .. })]),
        "{messages:?}"
    );
    assert_eq!(host.wait(), 0);
}

/// A boot command that cannot start ends the sandbox at once.
#[test]
fn a_boot_command_that_cannot_start() {
    let boot = Boot { exec: Some(command(&["no-such"])), ..Boot::default() };
    let mut host = Host::start(boot, &[]);
    let messages: Vec<FromGuest> = std::iter::from_fn(|| host.try_next()).map(|(_, message)| message).collect();
    assert!(matches!(&messages[..], [FromGuest::Ready(_), FromGuest::Trouble(t)] if t.errno == 2), "{messages:?}");
    assert_eq!(host.wait(), 0);
}
