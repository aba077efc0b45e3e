//! A package registry on loopback that serves the pinned package files which `cargo xtask test` has fetched.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

/// The registry; it lives as long as the test process.
pub(crate) struct Registry {
    pub(crate) port: u16,
}

impl Registry {
    /// Serves `target/test-engines/registry`.
    pub(crate) fn start() -> Self {
        let root = crate::support::project("target/test-engines/registry");
        assert!(root.is_dir(), "the pinned engines are not here: run `cargo xtask test e2e`, which fetches them");
        Self::of(root)
    }

    /// Serves any directory.
    pub(crate) fn of(root: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let root = root.clone();
                std::thread::spawn(move || drop(answer(stream, &root)));
            }
        });
        Self { port }
    }
}

fn answer(stream: TcpStream, root: &std::path::Path) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut path = line.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
    if path.ends_with('/') {
        path.push_str("index.html");
    }
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? <= 2 {
            break;
        }
    }
    let mut stream = stream;
    let file = std::fs::File::open(root.join(&path)).ok().filter(|_| !path.contains(".."));
    let Some(mut file) = file else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let size = file.metadata()?.len();
    let kind = if path.ends_with(".html") { "text/html" } else { "application/octet-stream" };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut piece = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut piece)?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&piece[..n])?;
    }
}
