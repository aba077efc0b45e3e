//! Connections to servers inside: `dial PORT` carries one between a loopback port and its own standard streams, and `listening` names the
//! ports. Both run as whoever runs inside, with no more than they have.
//!
//! `dial` prints `+` once it is connected, and then what the server says. Exit status: 0 the connection ended, 2 wrong arguments, 3 nothing
//! listens there.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a connection may take; a server that is busy answers later, one that is not there at once.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Bytes that are carried at once.
const PIECE_BYTES: usize = 64 << 10;
/// Ports that are named.
const PORTS_MAX: usize = 64;
/// What the kernel's tables say of a socket that listens.
const LISTENS: &str = "0A";

/// `dial PORT`.
pub(crate) fn dial(args: &[String]) -> i32 {
    let Some(port) = args.first().and_then(|port| port.parse::<u16>().ok()).filter(|port| *port > 0) else { return 2 };
    let addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))];
    let Some(stream) = addresses.iter().find_map(|at| TcpStream::connect_timeout(at, CONNECT_TIME).ok()) else { return 3 };
    let _ = stream.set_nodelay(true);
    let Ok(to) = stream.try_clone() else { return 1 };
    if !print(b"+") {
        return 0;
    }
    std::thread::spawn(move || {
        carry(std::io::stdin(), |bytes| (&to).write_all(bytes).is_ok());
        let _ = to.shutdown(Shutdown::Write);
    });
    carry(stream, print);
    0
}

/// `listening`: a JSON list of ports on loopback.
pub(crate) fn listening() -> i32 {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let ports = tables.iter().flat_map(|table| ports_of(table)).collect::<std::collections::BTreeSet<u16>>();
    let ports: Vec<u16> = ports.into_iter().take(PORTS_MAX).collect();
    if print(serde_json::json!(ports).to_string().as_bytes()) { 0 } else { 1 }
}

/// The ports of a table that somebody listens on.
fn ports_of(table: &str) -> Vec<u16> {
    let port = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (local, _, state) = (words.next()?, words.next()?, words.next()?);
        let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        (state == LISTENS).then_some(port)
    };
    table.lines().skip(1).filter_map(port).collect()
}

fn carry(mut from: impl Read, mut to: impl FnMut(&[u8]) -> bool) {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return,
            Ok(n) if to(&piece[..n]) => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}

fn print(bytes: &[u8]) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ports_that_listen_are_named() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n   0: 0100007F:1004 00000000:0000 0A 00000000:00000000\n   \
                     1: 0100007F:0BB8 0100007F:D431 01 00000000:00000000\n   2: 00000000:0BB9 00000000:0000 0A 0\nrubbish\n   3: x 0 0A\n";
        assert_eq!(ports_of(table), [4100, 3001]);
        assert!(ports_of("").is_empty());
    }
}
