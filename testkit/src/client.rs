//! A blocking client of the HTTP interface over a Unix socket: nothing in it waits or tries again by itself, so a test
//! sees a broken connection as one.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// The longest head of an answer, in lines.
const HEAD_LINES_MAX: usize = 200;
/// The longest answer that is read whole.
const BODY_BYTES_MAX: usize = 256 << 20;

/// A connection, used for one request after another.
pub struct Connection {
    stream: BufReader<UnixStream>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The code of an error, empty when it is none.
    #[must_use]
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The body of a reply with a good status.
    ///
    /// # Errors
    /// The status is another one; the error says which, with the body.
    pub fn good(self) -> io::Result<Value> {
        if (200..300).contains(&self.status) {
            return Ok(self.json());
        }
        Err(io::Error::other(format!("{}: {}", self.status, String::from_utf8_lossy(&self.body))))
    }
}

/// What the head of an answer says.
struct Head {
    status: u16,
    length: Option<usize>,
    is_chunked: bool,
}

impl Connection {
    /// Connects. Answers that take longer than `patience` are errors.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn open(socket: &Path, patience: Duration) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Asks, and reads the whole answer.
    ///
    /// # Errors
    /// The connection breaks, or what comes is no HTTP.
    pub fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> io::Result<Reply> {
        let body = body.map(Value::to_string).unwrap_or_default();
        self.send(method, path, headers, "application/json", body.as_bytes())?;
        self.reply()
    }

    /// Sends any bytes, and reads the whole answer.
    ///
    /// # Errors
    /// As [`Connection::ask`].
    pub fn put(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> io::Result<Reply> {
        self.send(method, path, &[], kind, body)?;
        self.reply()
    }

    /// Asks for an answer with a good status.
    ///
    /// # Errors
    /// The connection breaks, or the status is another one; the error says which, with the body.
    pub fn good(&mut self, method: &str, path: &str, body: Option<&Value>) -> io::Result<Value> {
        self.ask(method, path, &[], body)?.good()
    }

    /// Asks for something without an end, and gives its lines as they come.
    ///
    /// # Errors
    /// The connection breaks, or the status is no good one.
    pub fn follow(mut self, path: &str, accept: &str) -> io::Result<Lines> {
        self.send("GET", path, &[("accept", accept)], "application/json", b"")?;
        let head = self.head()?;
        if head.status != 200 {
            let body = self.body(&head)?;
            return Err(io::Error::other(format!("{}: {}", head.status, String::from_utf8_lossy(&body))));
        }
        Ok(Lines { stream: self.stream, is_chunked: head.is_chunked, ready: Vec::new() })
    }

    fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], kind: &str, body: &[u8]) -> io::Result<()> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: lazaret\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut whole = head.into_bytes();
        whole.extend_from_slice(body);
        self.stream.get_mut().write_all(&whole)
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let head = self.head()?;
        Ok(Reply { status: head.status, body: self.body(&head)? })
    }

    fn head(&mut self) -> io::Result<Head> {
        let status = line(&mut self.stream)?;
        let status = status.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| malformed(&status))?;
        let mut head = Head { status, length: None, is_chunked: false };
        for _ in 0..HEAD_LINES_MAX {
            let line = line(&mut self.stream)?;
            if line.is_empty() {
                return Ok(head);
            }
            let (name, value) = line.split_once(':').ok_or_else(|| malformed(&line))?;
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.length = Some(value.trim().parse().map_err(|_| malformed(&line))?),
                "transfer-encoding" => head.is_chunked = value.trim() == "chunked",
                _ => {}
            }
        }
        Err(malformed("a head without an end"))
    }

    fn body(&mut self, head: &Head) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if head.is_chunked {
            while chunk(&mut self.stream, &mut body)? {}
        } else {
            let length = head.length.unwrap_or(0);
            if length > BODY_BYTES_MAX {
                return Err(malformed("a body that is too long"));
            }
            body.resize(length, 0);
            self.stream.read_exact(&mut body)?;
        }
        Ok(body)
    }
}

/// The lines of an answer without an end.
pub struct Lines {
    stream: BufReader<UnixStream>,
    is_chunked: bool,
    ready: Vec<u8>,
}

impl Iterator for Lines {
    type Item = io::Result<String>;

    fn next(&mut self) -> Option<io::Result<String>> {
        loop {
            if let Some(end) = self.ready.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.ready.drain(..=end).collect();
                return Some(Ok(String::from_utf8_lossy(&line).trim_end().to_owned()));
            }
            let more = if self.is_chunked { chunk(&mut self.stream, &mut self.ready) } else { raw(&mut self.stream, &mut self.ready) };
            match more {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn raw(stream: &mut BufReader<UnixStream>, into: &mut Vec<u8>) -> io::Result<bool> {
    let bytes = stream.fill_buf()?;
    let read = bytes.len();
    into.extend_from_slice(bytes);
    stream.consume(read);
    Ok(read > 0)
}

/// Reads a chunk; false at the last one.
fn chunk(stream: &mut BufReader<UnixStream>, into: &mut Vec<u8>) -> io::Result<bool> {
    let size = line(stream)?;
    let size = usize::from_str_radix(size.split(';').next().unwrap_or_default(), 16).map_err(|_| malformed(&size))?;
    if size > BODY_BYTES_MAX {
        return Err(malformed("a chunk that is too long"));
    }
    let from = into.len();
    into.resize(from + size, 0);
    stream.read_exact(into.get_mut(from..).unwrap_or_default())?;
    line(stream)?;
    Ok(size > 0)
}

fn line(stream: &mut BufReader<UnixStream>) -> io::Result<String> {
    let mut text = String::new();
    if stream.read_line(&mut text)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(text.trim_end().to_owned())
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no HTTP: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each request with the next of `answers`.
    fn server(answers: &'static [&'static str]) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("bind");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            for answer in answers {
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).expect("a request");
                    asked.push(byte[0]);
                }
                stream.write_all(answer.as_bytes()).expect("write");
            }
        });
        (dir, path)
    }

    #[test]
    fn one_answer_after_another() {
        let (_dir, path) = server(&[
            "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":1}",
            "HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"err\r\n17\r\nor\":{\"code\":\"MISSING\"}}\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n5\r\ntwo\nt\r\n5\r\nhree\n\r\n0\r\n\r\n",
        ]);
        let mut connection = Connection::open(&path, Duration::from_secs(240)).expect("connect");
        assert_eq!(connection.ask("GET", "/", &[], None).expect("a reply").good().expect("good")["a"], 1);
        let reply = connection.ask("GET", "/", &[], None).expect("a reply");
        assert_eq!((reply.status, reply.code().as_str()), (404, "MISSING"));
        let lines: Vec<String> = connection.follow("/", "text/plain").expect("follow").map(|l| l.expect("a line")).collect();
        assert_eq!(lines, ["one", "two", "three"]);
    }
}
