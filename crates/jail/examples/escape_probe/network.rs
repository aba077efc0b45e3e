//! Reaching anything but the sandbox's own loopback.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::sys::{Errno, call};
use crate::{Attack, Outcome};

/// On an unreachable host a connection that neither works nor fails within this is counted as stopped.
const PATIENCE: Duration = Duration::from_millis(400);

pub(crate) const ATTACKS: &[(&str, Attack)] = &[
    ("socket", socket),
    ("tcp", tcp),
    ("udp", udp),
    ("abstract", |name| greeting(UnixStream::connect_addr(&std::os::unix::net::SocketAddr::from_abstract_name(name)?)?)),
    ("unix", |path| greeting(UnixStream::connect(path)?)),
    ("door", door),
    ("interfaces", interfaces),
];

/// `domain,type,protocol` as numbers.
fn socket(argument: &str) -> Outcome {
    let numbers: Vec<i64> = argument.split(',').filter_map(|n| n.parse().ok()).collect();
    call(libc::SYS_socket, &numbers).map(Value::from)
}

fn tcp(address: &str) -> Outcome {
    let address: SocketAddr = address.parse().map_err(|_| Errno(libc::EINVAL))?;
    let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(timeout)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    greeting(stream)
}

/// A timeout of the library has no number of its own.
fn timeout(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno(libc::ETIMEDOUT), Errno)
}

fn udp(address: &str) -> Outcome {
    let address: SocketAddr = address.parse().map_err(|_| Errno(libc::EINVAL))?;
    let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(address)?;
    socket.send(b"probe")?;
    let mut bytes = [0; 64];
    let len =
        socket.recv(&mut bytes).map_err(|e| if e.kind() == std::io::ErrorKind::WouldBlock { Errno(libc::ETIMEDOUT) } else { e.into() })?;
    Ok(json!(String::from_utf8_lossy(&bytes[..len])))
}

/// Asks for a door by name. One that closes at once is no find, one that waits for more or answers is.
fn door(name: &str) -> Outcome {
    let mut stream = UnixStream::connect("/run/lazaret/host.sock")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("lazaret/1 {name}\n").as_bytes())?;
    let mut bytes = [0; 64];
    match stream.read(&mut bytes) {
        Ok(0) => Err(Errno(libc::ENODATA)),
        Ok(len) => Ok(json!(String::from_utf8_lossy(&bytes[..len]))),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(json!("waits for more")),
        Err(error) => Err(error.into()),
    }
}

/// What the listener says first; an empty answer still means that it was reached.
fn greeting(mut stream: impl std::io::Read + std::io::Write) -> Outcome {
    let _ = stream.write_all(b"probe\n");
    let mut bytes = [0; 64];
    let len = stream.read(&mut bytes).unwrap_or(0);
    Ok(json!(String::from_utf8_lossy(&bytes[..len])))
}

fn interfaces(_: &str) -> Outcome {
    let text = std::fs::read_to_string("/proc/net/dev")?;
    let names: Vec<&str> = text.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
    Ok(json!(names))
}
