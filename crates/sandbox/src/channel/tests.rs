//! A guest that means harm, at the other end of a socket pair.

use super::*;

use tokio::io::AsyncReadExt as _;
use wire::{Exit, Started};

/// A channel, the guest's end of it, and what ends it.
fn pair() -> (Arc<Channel>, UnixStream, TaskTracker) {
    let (ours, theirs) = UnixStream::pair().expect("pair");
    let tasks = TaskTracker::new();
    (Channel::open(ours, Decoder::default(), 0, &tasks, CancellationToken::new()), theirs, tasks)
}

fn bytes(message: &FromGuest, stream: u32, number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    message.frame(stream, number).expect("small").encode(&mut out).expect("small");
    out
}

fn exec() -> Exec {
    Exec { argv: vec!["x".into()], env: Vec::new(), cwd: "/".into(), stdio: Stdio::Pipes { stdin: true }, lease: 0 }
}

/// Reads what the host sends until a frame of this kind comes.
async fn next_of_kind(guest: &mut UnixStream, kind: u8) -> Frame {
    let mut decoder = Decoder::default();
    loop {
        while let Some(frame) = decoder.next_frame().expect("the host is honest") {
            if frame.kind == kind {
                return frame;
            }
        }
        let mut buffer = [0; 4096];
        let got = guest.read(&mut buffer).await.expect("read");
        assert!(got > 0, "the host closed the channel");
        decoder.push(&buffer[..got]);
    }
}

async fn running(channel: &Arc<Channel>, guest: &mut UnixStream) -> Command {
    let answer = async {
        let asked = next_of_kind(guest, 2).await;
        let started = bytes(&FromGuest::Started(Started { pid: 5, lease: 0 }), asked.stream, 0);
        guest.write_all(&started).await.expect("written");
    };
    tokio::join!(channel.exec(exec()), answer).0.expect("started")
}

/// Every breach of the rules ends the channel, and with it everything that waits on it.
#[tokio::test(flavor = "current_thread")]
async fn a_guest_that_breaks_the_rules_is_cut_off() {
    let out = |number| bytes(&FromGuest::Stdout(vec![1]), 1, number);
    let exited = |number| bytes(&FromGuest::Exited(Exit { code: Some(0), signal: None }), 1, number);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a length beyond the limit", vec![0xff; 17]),
        (
            "a kind that does not exist",
            bytes(&FromGuest::Pong, 0, 0).iter().enumerate().map(|(at, b)| if at == 4 { 200 } else { *b }).collect(),
        ),
        ("a kind of the host", encode_host()),
        ("a gap", [out(1), out(3)].concat()),
        ("the same number twice", [out(1), out(1)].concat()),
        ("number 0", out(0)),
        ("a stream that was never used", bytes(&FromGuest::Stdout(vec![1]), 99, 1)),
        ("the control stream", bytes(&FromGuest::Stdout(vec![1]), 0, 1)),
        ("a piece of a tree for a command", bytes(&FromGuest::Data(vec![1]), 1, 0)),
        ("a second first message", bytes(&FromGuest::Ready(Ready { version: 1, commands: Vec::new() }), 1, 0)),
    ];
    for (what, hostile) in cases {
        let (channel, mut guest, _tasks) = pair();
        let mut command = running(&channel, &mut guest).await;
        guest.write_all(&hostile).await.expect("written");
        let why = channel.closed().await;
        assert!(why.contains("protocol"), "{what}: {why}");
        while let Ok(Some(_)) = command.output.next().await {}
        assert!(command.output.next().await.is_err(), "{what}");
        assert!(command.stdin.expect("stdin").write(&[0; 10]).await.is_err(), "{what}");
        assert!(matches!(channel.exec(exec()).await, Err(SandboxError::Gone(_))), "{what}");
        assert!(channel.ping().await.is_err(), "{what}");
    }
    // Nothing after the end of a command is an error of its own: the stream is forgotten.
    let (channel, mut guest, _tasks) = pair();
    let _command = running(&channel, &mut guest).await;
    guest.write_all(&[exited(1), out(2)].concat()).await.expect("written");
    let pong = async {
        let ping = next_of_kind(&mut guest, 13).await;
        guest.write_all(&bytes(&FromGuest::Pong, 0, ping.number)).await.expect("written");
        guest
    };
    assert!(tokio::join!(channel.ping(), pong).0.is_ok());
}

fn encode_host() -> Vec<u8> {
    crate::outbox::encode(&ToGuest::KillAll, 1, 0).expect("small")
}

/// Gives the runtime so many turns. In each it looks at what can be read and written, and lets everybody run who can.
async fn turns() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

/// A flood that nobody reads is not held: the host stops reading the channel.
#[tokio::test(flavor = "current_thread")]
async fn a_flood_stays_with_the_guest() {
    let (channel, mut guest, _tasks) = pair();
    let mut command = running(&channel, &mut guest).await;
    let mut sent = 0u64;
    for number in 1..=100_000u64 {
        let kind = if number % 2 == 0 { FromGuest::Stdout(vec![0; 200]) } else { FromGuest::Stderr(vec![0; 200]) };
        let piece = bytes(&kind, 1, number);
        // Whoever can go on does so in one of these turns, however long each takes.
        tokio::select! {
            biased;
            written = guest.write_all(&piece) => written.expect("written"),
            () = turns() => break,
        }
        sent = number;
    }
    assert!((1000..60_000).contains(&sent), "{sent} pieces were taken");
    // Its other users are stopped with it until somebody reads; then all goes on.
    let first = command.output.next().await.expect("output").expect("more");
    assert_eq!(first.number, 1);
}

/// What comes of work that is looked at once and then dropped.
async fn once<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = std::future::ready(()) => None,
    }
}

/// What is given up before the guest could hear of it takes no place of those that come later.
#[tokio::test(flavor = "current_thread")]
async fn what_was_never_sent_takes_no_place() {
    let (channel, mut guest, _tasks) = pair();
    // The guest does not read, until nothing more can be queued.
    let piece = ToGuest::Data(vec![0; 64 << 10]);
    loop {
        tokio::select! {
            biased;
            sent = channel.outbox().send(&piece, 0, 0) => sent.expect("sent"),
            () = turns() => break,
        }
    }
    for round in 0..=STREAMS_MAX {
        assert!(once(channel.exec(exec())).await.is_none(), "a command, round {round}");
        assert!(once(channel.attach(u32::MAX, 1, 0)).await.is_none(), "a command again, round {round}");
        assert!(once(channel.put("/x", &mut tokio::io::empty())).await.is_none(), "a tree in, round {round}");
        assert!(once(channel.get("/x")).await.is_none(), "a tree out, round {round}");
        assert!(once(channel.ping()).await.is_none(), "a ping, round {round}");
    }
    running(&channel, &mut guest).await;
}

/// Input for a command that has ended goes nowhere, however much it is.
#[tokio::test(flavor = "current_thread")]
async fn input_for_a_command_that_has_ended_is_dropped() {
    let (channel, mut guest, _tasks) = pair();
    let mut command = running(&channel, &mut guest).await;
    let mut stdin = command.stdin.take().expect("stdin");
    guest.write_all(&bytes(&FromGuest::Exited(Exit { code: Some(0), signal: None }), 1, 1)).await.expect("written");
    command.output.next().await.expect("output").expect("its end");
    once(stdin.write(&vec![0; 4 * wire::STDIN_WINDOW_BYTES])).await.expect("at once").expect("dropped");
}

/// What the guest sends for a tree whose reader went away is dropped; what ends too early is an error.
#[tokio::test(flavor = "current_thread")]
async fn trees_end_or_fail() {
    let (channel, mut guest, _tasks) = pair();
    let mut pieces = channel.get("/x").await.expect("asked");
    guest.write_all(&bytes(&FromGuest::Data(vec![7]), 1, 0)).await.expect("written");
    assert_eq!(pieces.recv().await.expect("piece").expect("data"), Bytes::from_static(&[7]));
    drop(pieces);
    guest.write_all(&bytes(&FromGuest::Data(vec![7; 1 << 20]), 1, 0)).await.expect("written");
    let mut second = channel.get("/y").await.expect("asked");
    guest.write_all(&bytes(&FromGuest::End, 2, 0)).await.expect("written");
    assert_eq!(second.recv().await.expect("end").expect("no error"), Bytes::new());
    let mut third = channel.get("/z").await.expect("asked");
    drop(guest);
    assert!(third.recv().await.is_none_or(|piece| piece.is_err()), "no end was seen");
    assert_eq!(channel.closed().await, "the guest ended");
}
