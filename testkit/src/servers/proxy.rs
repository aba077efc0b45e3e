//! A proxy that knows `CONNECT` and a list of targets, each with the port of loopback where it really is. So names need no
//! resolver, and what is not on the list is refused as the egress door refuses it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// The longest head of a request.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// The proxy. It carries as long as the test process lives.
#[derive(Clone)]
pub struct Proxy {
    /// Where it listens.
    pub port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Starts it with targets such as `example.test:443` and their ports.
    ///
    /// # Panics
    /// When loopback has no port left.
    #[must_use]
    pub fn start(targets: &[(&str, u16)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let targets: Vec<(String, u16)> = targets.iter().map(|(name, port)| ((*name).to_owned(), *port)).collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let proxy = Self { port, asked: Arc::clone(&asked) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (targets, asked) = (targets.clone(), Arc::clone(&asked));
                std::thread::spawn(move || drop(carry(stream, &targets, &asked)));
            }
        });
        proxy
    }

    /// The targets that were asked for so far, allowed or not.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn carry(mut client: TcpStream, targets: &[(String, u16)], asked: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(target.to_owned());
    let port = targets.iter().find(|(name, _)| method == "CONNECT" && name == target).map(|(_, port)| *port);
    let Some(port) = port else {
        let body = r#"{"error":{"code":"EGRESS_DENIED","message":"it is not on the list"}}"#;
        let answer = format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        return client.write_all(answer.as_bytes());
    };
    let server = TcpStream::connect(("127.0.0.1", port))?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    let up = std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut from, mut to) = (server, client);
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
    let _ = up.join();
    Ok(())
}
