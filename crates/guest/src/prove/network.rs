//! No way out but the host's socket.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, ipproto, socket};

use super::{Facts, Found, Probe, denied, denied_io, none};

pub(super) const ALL: &[Probe] = &[
    Probe { name: "reach a service on the host's loopback", run: host_loopback },
    Probe { name: "reach an abstract socket of the host", run: abstract_socket },
    Probe { name: "reach the metadata address of clouds", run: metadata },
    Probe { name: "reach private and public networks", run: networks },
    Probe { name: "see a network interface besides loopback", run: interfaces },
    Probe { name: "open raw and packet sockets", run: raw_sockets },
    Probe { name: "open sockets of the kernel's rarer families", run: rare_families },
];

/// The kernel's cryptography, from the outside of it.
const AF_ALG: u16 = 38;

fn host_loopback(facts: &Facts) -> Found {
    denied_io(std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, facts.port)), &[Errno::CONNREFUSED])
}

fn abstract_socket(facts: &Facts) -> Found {
    let address = SocketAddr::from_abstract_name(&facts.socket).map_err(|e| e.to_string())?;
    denied_io(UnixStream::connect_addr(&address), &[Errno::CONNREFUSED, Errno::PERM, Errno::ACCESS])
}

/// Whether there is a route, which is found out without a packet.
fn route(to: [u8; 4]) -> Found {
    let open = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(|e| format!("no socket: {e}"))?;
    denied_io(open.connect(SocketAddrV4::new(to.into(), 80)), &[Errno::NETUNREACH, Errno::HOSTUNREACH])
}

fn metadata(_: &Facts) -> Found {
    route([169, 254, 169, 254])
}

fn networks(_: &Facts) -> Found {
    // The last two are reserved for documentation.
    none([[10, 0, 0, 1], [172, 17, 0, 1], [192, 168, 0, 1], [192, 0, 2, 1], [203, 0, 113, 1]].map(|to| (Ipv4Addr::from(to), route(to))))
}

fn interfaces(_: &Facts) -> Found {
    let text = std::fs::read_to_string("/proc/net/dev").map_err(|e| format!("/proc/net/dev: {e}"))?;
    let names: Vec<&str> = text.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
    let others: Vec<&str> = names.iter().copied().filter(|name| *name != "lo" && !is_idle_tunnel(name)).collect();
    if others.is_empty() { Ok("only lo".to_owned()) } else { Err(others.join(", ")) }
}

/// The kernel puts one of each loaded tunnel driver into every network namespace; down, and unusable without rights.
fn is_idle_tunnel(name: &str) -> bool {
    ["tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"].contains(&name)
}

fn raw_sockets(_: &Facts) -> Found {
    let refused = [Errno::PERM, Errno::ACCESS, Errno::AFNOSUPPORT];
    none([
        ("raw", denied(socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)), &refused)),
        ("packet", denied(socket(AddressFamily::PACKET, SocketType::RAW, None), &refused)),
    ])
}

fn rare_families(_: &Facts) -> Found {
    let refused = [Errno::PERM, Errno::ACCESS, Errno::AFNOSUPPORT];
    none([
        ("vsock", denied(socket(AddressFamily::VSOCK, SocketType::STREAM, None), &refused)),
        ("alg", denied(socket(AddressFamily::from_raw(AF_ALG), SocketType::SEQPACKET, None), &refused)),
        ("bluetooth", denied(socket(AddressFamily::BLUETOOTH, SocketType::RAW, None), &refused)),
    ])
}
