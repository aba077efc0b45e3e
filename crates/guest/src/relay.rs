//! Loopback ports inside, carried to the doors outside.
//!
//! Each connection to a relayed port becomes a connection to the host's socket that begins with the door's line; bytes
//! then flow both ways, and the end of one direction is carried over without ending the other. What one side does not
//! take yet is the only thing that is held, at most one read of it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketAddrUnix, SocketAddrV4, SocketFlags, SocketType, sockopt};
use wire::Door;

use crate::poll::{Event, Poll, Ready, Token};

/// Connections carried at once; more wait in the backlog of their port.
pub const RELAY_CONNECTIONS_MAX: usize = 128;

/// The backlog of a relayed port.
const BACKLOG: i32 = 256;

/// How long a connection waits for a place in the host's backlog before it is closed.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// How often a place in the host's backlog is tried for; the kernel tells nobody when one is free.
const CONNECT_RETRY: Duration = Duration::from_millis(2);

/// How often a free descriptor is looked for when there was none.
const STARVED_RETRY: Duration = Duration::from_millis(50);

/// Reads in one direction before others get their turn.
const READS_PER_TURN: usize = 8;

/// Why a port could not be relayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("listen on 127.0.0.1:{port}")]
pub struct ListenError {
    /// The port.
    pub port: u16,
    /// The cause.
    pub source: Errno,
}

/// A relayed port.
#[derive(Debug)]
struct Listener {
    fd: OwnedFd,
    door: Door,
    ready: bool,
}

/// One end of a connection.
#[derive(Debug)]
struct End {
    fd: OwnedFd,
    ready: Ready,
    /// What was read from the other end and not taken yet.
    held: Vec<u8>,
    written: usize,
    /// It has said all.
    ended: bool,
    /// It was told that the other end has said all, or takes nothing more.
    shut: bool,
    /// A call failed: it is gone in both directions, but for what it said before.
    broken: bool,
}

/// A client, and the host's end once it is connected.
#[derive(Debug)]
struct Link {
    door: Door,
    client: End,
    host: Option<End>,
    since: Instant,
}

/// All relayed ports and connections.
#[derive(Debug)]
pub(crate) struct Relays {
    socket: PathBuf,
    listeners: Vec<Listener>,
    links: BTreeMap<u32, Link>,
    next: u32,
    /// Nothing could be accepted for want of descriptors.
    starved: bool,
}

impl Relays {
    /// Listens on every port.
    pub(crate) fn listen(relays: &[wire::Relay], socket: PathBuf, poll: &Poll) -> Result<Self, ListenError> {
        let mut listeners = Vec::with_capacity(relays.len());
        for (relay, index) in relays.iter().zip(0..) {
            let listen = || -> Result<OwnedFd, Errno> {
                let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
                let fd = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
                sockopt::set_socket_reuseaddr(&fd, true)?;
                rustix::net::bind(&fd, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, relay.port))?;
                rustix::net::listen(&fd, BACKLOG)?;
                poll.add(&fd, Token::Listener(index))?;
                Ok(fd)
            };
            let fd = listen().map_err(|source| ListenError { port: relay.port, source })?;
            listeners.push(Listener { fd, door: relay.door, ready: true });
        }
        Ok(Self { socket, listeners, links: BTreeMap::new(), next: 0, starved: false })
    }

    /// Notes what a descriptor became ready for.
    pub(crate) fn on(&mut self, event: Event) {
        match event.token {
            Token::Listener(index) => {
                if let Some(listener) = self.listeners.get_mut(index as usize) {
                    listener.ready = true;
                }
            }
            Token::Client(id) => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.client.ready.on(event);
                }
            }
            Token::Host(id) => {
                if let Some(host) = self.links.get_mut(&id).and_then(|l| l.host.as_mut()) {
                    host.ready.on(event);
                }
            }
            _ => {}
        }
    }

    /// Accepts, connects and carries. Returns whether more may be there that it left for fairness.
    pub(crate) fn pump(&mut self, poll: &Poll, scratch: &mut [u8], now: Instant) -> bool {
        self.accept(poll, now);
        let mut more = false;
        let socket = &self.socket;
        self.links.retain(|id, link| {
            let Some(state) = link.pump(*id, socket, poll, scratch, now) else { return false };
            more |= state;
            true
        });
        // A free place lets somebody in who waits.
        more || (self.links.len() < RELAY_CONNECTIONS_MAX && self.listeners.iter().any(|l| l.ready))
    }

    /// When a connection must be tried again.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let connecting = self.links.values().any(|l| l.host.is_none()).then_some(CONNECT_RETRY);
        connecting.or_else(|| self.starved.then_some(STARVED_RETRY)).map(|wait| now + wait)
    }

    fn accept(&mut self, poll: &Poll, now: Instant) {
        let again = std::mem::take(&mut self.starved);
        for listener in &mut self.listeners {
            listener.ready |= again;
            while listener.ready && self.links.len() < RELAY_CONNECTIONS_MAX {
                let fd = match rustix::net::accept_with(&listener.fd, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                    Ok(fd) => fd,
                    Err(Errno::INTR | Errno::CONNABORTED) => continue,
                    Err(error) => {
                        listener.ready = false;
                        self.starved |= error != Errno::AGAIN;
                        break;
                    }
                };
                self.next = self.next.wrapping_add(1);
                let id = self.next;
                // Without it the connection is slower and no less right.
                let _ = sockopt::set_tcp_nodelay(&fd, true);
                if poll.add(&fd, Token::Client(id)).is_ok() {
                    self.links.insert(id, Link { door: listener.door, client: End::new(fd), host: None, since: now });
                }
            }
        }
    }
}

impl Link {
    /// `None` when it is over, else whether more may be there.
    fn pump(&mut self, id: u32, socket: &PathBuf, poll: &Poll, scratch: &mut [u8], now: Instant) -> Option<bool> {
        if self.host.is_none() {
            match connect(socket) {
                Ok(fd) => {
                    poll.add(&fd, Token::Host(id)).ok()?;
                    let mut host = End::new(fd);
                    host.held = self.door.line().to_vec();
                    self.host = Some(host);
                }
                Err(Errno::AGAIN) if now < self.since + CONNECT_WAIT => return Some(false),
                // No host: the client sees a closed connection.
                Err(_) => return None,
            }
        }
        let host = self.host.as_mut()?;
        let up = carry(&mut self.client, host, scratch);
        let down = carry(host, &mut self.client, scratch);
        // A client that is gone reads no answer; a host that is gone may have answered.
        let over = self.client.broken || (host.ended && self.client.shut && self.client.ended && host.shut);
        (!over).then_some(up || down)
    }
}

impl End {
    fn new(fd: OwnedFd) -> Self {
        Self { fd, ready: Ready::NEW, held: Vec::new(), written: 0, ended: false, shut: false, broken: false }
    }

    fn fail(&mut self) {
        self.shut = true;
        self.broken = true;
    }

    /// Writes what is held; true when nothing is left.
    fn flush(&mut self) -> bool {
        while self.written < self.held.len() {
            if self.shut {
                break;
            }
            if !self.ready.writable {
                return false;
            }
            match rustix::net::send(&self.fd, &self.held[self.written..], SendFlags::NOSIGNAL) {
                Ok(n) => self.written += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.ready.writable = false,
                // It takes nothing more; what it says is still carried.
                Err(_) => self.fail(),
            }
        }
        self.written = 0;
        if self.held.capacity() > 0 {
            self.held = Vec::new();
        }
        true
    }
}

/// Carries bytes from one end to the other until one has to wait. Returns whether more may be there.
fn carry(from: &mut End, to: &mut End, scratch: &mut [u8]) -> bool {
    for _ in 0..READS_PER_TURN {
        if !to.flush() {
            return false;
        }
        if from.ended {
            if !to.shut {
                // An end that is gone cannot be told, and need not.
                let _ = rustix::net::shutdown(&to.fd, Shutdown::Write);
                to.shut = true;
            }
            return false;
        }
        if !from.ready.readable {
            return false;
        }
        match rustix::io::read(&from.fd, &mut *scratch) {
            Ok(0) => from.ended = true,
            Ok(n) => {
                let bytes = &scratch[..n];
                let taken = if to.shut { n } else { send_now(to, bytes) };
                to.held.extend_from_slice(&bytes[taken..]);
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => from.ready.readable = false,
            Err(_) => {
                from.ended = true;
                from.broken = true;
            }
        }
    }
    true
}

/// Sends without holding anything; returns how much need not be held.
fn send_now(to: &mut End, bytes: &[u8]) -> usize {
    match rustix::net::send(&to.fd, bytes, SendFlags::NOSIGNAL) {
        Ok(n) => n,
        Err(Errno::AGAIN) => {
            to.ready.writable = false;
            0
        }
        Err(Errno::INTR) => 0,
        Err(_) => {
            to.fail();
            bytes.len()
        }
    }
}

/// Connects to the host's socket without waiting.
pub(crate) fn connect(socket: &PathBuf) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&fd, &SocketAddrUnix::new(socket)?)?;
    Ok(fd)
}
