//! Loopback ports inside, carried to the door.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use wire::{Boot, Door, FromGuest, Relay};

use crate::support::{Host, sh};

fn relayed() -> Host {
    let relays = vec![Relay { port: 8001, door: Door::Gateway }, Relay { port: 8002, door: Door::Egress }];
    let mut host = Host::start(Boot { relays, ..Boot::default() }, &[]);
    assert!(matches!(host.next().1, FromGuest::Ready(_)));
    host
}

fn accept(host: &Host, door: Door) -> UnixStream {
    let mut stream = host.accept();
    let mut line = vec![0; door.line().len()];
    stream.read_exact(&mut line).expect("a line");
    assert_eq!(line, door.line());
    stream
}

/// The end of what a client says is carried over, and the answer still comes back.
#[test]
fn each_port_leads_to_its_door_and_half_closes() {
    let mut host = relayed();
    for (stream, (port, door)) in (1..).zip([(8001, Door::Gateway), (8002, Door::Egress)]) {
        let script = format!(
            "perl -MSocket -e 'socket(S,AF_INET,SOCK_STREAM,0); connect(S,sockaddr_in({port},inet_aton(\"127.0.0.1\"))) or die $!; \
             syswrite(S,\"question\"); shutdown(S,1); print while <S>'"
        );
        host.exec(stream, sh(&script));
        let mut connection = accept(&host, door);
        let mut question = String::new();
        connection.read_to_string(&mut question).expect("to its end");
        assert_eq!(question, "question");
        connection.write_all(b"answer\n").expect("written");
        drop(connection);
        let (out, _, exit) = host.collect(stream);
        assert_eq!((out, exit.code), (b"answer\n".to_vec(), Some(0)));
    }
}

/// Megabytes both ways arrive whole although neither side reads while it writes.
#[test]
fn large_bodies_arrive_whole() {
    const BYTES: usize = 16 << 20;
    let mut host = relayed();
    host.exec(1, sh("exec 3<>/dev/tcp/127.0.0.1/8001; head -c 16777216 /dev/zero >&3; head -c 16777216 <&3 | wc -c"));
    let mut connection = accept(&host, Door::Gateway);
    let mut body = vec![1; BYTES];
    connection.read_exact(&mut body).expect("whole");
    assert!(body.iter().all(|b| *b == 0));
    connection.write_all(&body).expect("written");
    assert_eq!(host.collect(1).0, b"16777216\n");
}

/// A door that nobody opens closes the client's connection; a host that is full or slow stops nobody else.
#[test]
fn a_closed_door_and_too_many_clients() {
    let mut host = relayed();
    let many = guest::RELAY_CONNECTIONS_MAX + 20;
    // More than fit are opened and held; the rest wait in the backlog, and the guest answers meanwhile.
    host.exec(1, sh(&format!("for i in $(seq {many}); do exec {{fd}}<>/dev/tcp/127.0.0.1/8001; done; echo held; read x; sleep 1000")));
    let held: Vec<UnixStream> = (0..guest::RELAY_CONNECTIONS_MAX).map(|_| accept(&host, Door::Gateway)).collect();
    assert!(matches!(host.next().1, FromGuest::Stdout(_)));
    host.send(0, 5, &wire::ToGuest::Ping);
    while host.next().1 != FromGuest::Pong {}
    host.send(0, 0, &wire::ToGuest::KillAll);
    host.collect_rest(1);
    drop(held);

    let socket = host.door.local_addr().expect("address");
    std::fs::remove_file(socket.as_pathname().expect("a path")).expect("removed");
    assert_eq!(host.sh(2, "exec 3<>/dev/tcp/127.0.0.1/8002; cat <&3 2>&1; echo closed").lines().last(), Some("closed"));
}
