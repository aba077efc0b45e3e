//! Hosts that leave, come back, or never do.

use std::time::{Duration, Instant};

use wire::{Attach, Boot, FromGuest, ToGuest};

use crate::support::{Host, PATIENCE, command, sh};

fn living(orphan: Duration) -> Host {
    let orphan_ms = u64::try_from(orphan.as_millis()).expect("small");
    let mut host = Host::start(Boot { orphan_ms, ..Boot::default() }, &[]);
    assert!(matches!(host.next().1, FromGuest::Ready(_)));
    host
}

/// Without an orphan time, and after it, everything ends with the channel.
#[test]
fn a_sandbox_ends_when_its_host_stays_away() {
    let mut host = Host::plain();
    host.exec(1, command(&["sleep", "1000"]));
    host.leave();
    assert_eq!(host.wait(), 0);

    let orphan = Duration::from_millis(300);
    let mut host = living(orphan);
    host.exec(1, command(&["sleep", "1000"]));
    let left = Instant::now();
    host.leave();
    assert_eq!(host.wait(), 0);
    assert!(left.elapsed() >= orphan && left.elapsed() < PATIENCE);
}

/// A host that comes back gets what it lacks: nothing twice, nothing lost, and only under the command's own lease.
#[test]
fn a_host_that_comes_back_goes_on_where_it_was() {
    let mut host = living(PATIENCE);
    host.exec(7, sh("echo one; while ! test -e /tmp/go; do sleep 0.01; done; echo two; echo three >&2; exit 4"));
    let (frame, message) = host.next();
    assert_eq!((frame.number, message), (1, FromGuest::Stdout(b"one\n".to_vec())));
    host.leave();

    host.take_back();
    match host.next().1 {
        FromGuest::Ready(ready) => assert_eq!((ready.version, ready.commands), (wire::VERSION, vec![(7, 1, 1)])),
        other => panic!("{other:?}"),
    }
    host.exec(8, sh("touch /tmp/go"));
    assert_eq!(host.collect(8).2.code, Some(0));
    for attach in [Attach { lease: 2, after: 0 }, Attach { lease: 1, after: 100 }] {
        host.send(7, 0, &ToGuest::Attach(attach));
        assert!(matches!(host.next().1, FromGuest::Trouble(_)));
    }
    host.send(7, 0, &ToGuest::Attach(Attach { lease: 1, after: 0 }));
    let (out, err, exit) = host.collect(7);
    assert_eq!((out, err, exit.code), (b"one\ntwo\n".to_vec(), b"three\n".to_vec(), Some(4)));
}

/// What a host does not read fills the channel; its end is seen all the same.
#[test]
fn a_host_that_leaves_in_a_flood_is_looked_for() {
    let mut host = living(PATIENCE);
    host.exec(7, sh("yes"));
    host.flooded();
    host.leave();
    host.take_back();
    match host.next().1 {
        FromGuest::Ready(ready) => assert_eq!(ready.commands.len(), 1),
        other => panic!("{other:?}"),
    }
}

/// A host that takes the connection and drops it is asked again, but not without a pause, and the time of the orphan
/// goes on.
#[test]
fn a_host_that_says_nothing_is_no_host() {
    let mut host = living(Duration::from_millis(1500));
    host.door.set_nonblocking(true).expect("set");
    let left = Instant::now();
    host.leave();
    let (mut taken, mut is_alive) = (0, true);
    loop {
        // Looked at first: what it asked before its end is still there to be taken.
        is_alive = is_alive && host.is_alive();
        match host.door.accept() {
            Ok(_) => taken += 1,
            Err(_) if !is_alive => break,
            Err(_) => std::thread::yield_now(),
        }
        assert!(left.elapsed() < PATIENCE, "it waits for ever");
    }
    assert!(left.elapsed() >= Duration::from_millis(1500));
    // Twice a second, and once before that.
    let most = left.elapsed().as_millis() / 500 + 2;
    assert!((1..=most).contains(&taken), "{taken} of {most}");
}
