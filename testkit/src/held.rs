//! Ports of loopback for what takes none by itself.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A port of loopback that is bound and not listened at for as long as this value is there. The kernel gives it to nobody who asks for any
/// port, and who connects is refused; a server that is told of it takes it all the same, as servers bind addresses that may be used again.
pub(crate) struct Held {
    _socket: TcpSocket,
    pub(crate) port: u16,
}

impl Held {
    pub(crate) fn new() -> std::io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let port = socket.local_addr()?.port();
        Ok(Self { _socket: socket, port })
    }
}
