//! Services of the host: on its loopback interface, on its other addresses, on abstract and named Unix sockets.

use std::io::Write as _;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::thread;

use crate::support::each_caller;

/// Greets everybody who connects, until the process ends.
fn tcp_service() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || listener.incoming().flatten().for_each(|mut stream| drop(stream.write_all(b"host"))));
    port
}

fn udp_service() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let port = socket.local_addr().expect("an address").port();
    thread::spawn(move || {
        let mut bytes = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut bytes) {
            drop(socket.send_to(b"host", from));
        }
    });
    port
}

fn abstract_service(name: &str) {
    let address = SocketAddr::from_abstract_name(name).expect("a name");
    let listener = UnixListener::bind_addr(&address).expect("listen");
    thread::spawn(move || listener.incoming().flatten().for_each(|mut stream| drop(stream.write_all(b"host"))));
}

#[test]
fn the_hosts_loopback_is_elsewhere() {
    let (tcp, udp) = (tcp_service(), udp_service());
    each_caller(|caller| {
        let attacks = [format!("tcp=127.0.0.1:{tcp}"), format!("udp=127.0.0.1:{udp}")];
        let attacks: Vec<&str> = attacks.iter().map(String::as_str).collect();
        caller.sandbox().attack(&attacks).all_denied(&attacks, "ECONNREFUSED");
        let open = caller.without("network,landlock").attack(&attacks);
        assert_eq!((open.worked(attacks[0]), open.worked(attacks[1])), (&"host".into(), &"host".into()));
    });
}

#[test]
fn abstract_sockets_of_the_host_are_elsewhere() {
    let name = format!("lazaret-escape-{}", std::process::id());
    abstract_service(&name);
    each_caller(|caller| {
        let attack = format!("abstract={name}");
        let found = caller.sandbox().attack(&[&attack]).denied(&attack).to_owned();
        assert!(["ECONNREFUSED", "EPERM"].contains(&found.as_str()), "{found}");
        assert_eq!(caller.without("network,landlock").attack(&[&attack]).worked(&attack), "host");
    });
}

/// No route leads anywhere: addresses of documentation, of the link, of cloud metadata, in both families.
#[test]
fn no_address_is_reachable() {
    each_caller(|caller| {
        let attacks = ["tcp=192.0.2.1:80", "tcp=169.254.169.254:80", "udp=192.0.2.1:53", "tcp=[2001:db8::1]:443", "tcp=[fe80::1]:80"];
        let report = caller.sandbox().attack(&attacks);
        for attack in attacks {
            assert!(["ENETUNREACH", "EADDRNOTAVAIL", "EINVAL"].contains(&report.denied(attack)), "{attack}: {report:?}");
        }
        assert_eq!(report.denied(attacks[0]), "ENETUNREACH");
    });
}
