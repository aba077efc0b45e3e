//! As much HTTP/1.1 as asking a model needs: one POST on one connection, and the body of the answer line by line.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::Trouble;

/// The largest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// The longest line of a stream, in bytes. A whole tool input can stand in one.
const LINE_BYTES_MAX: usize = 16 << 20;
/// The longest answer, in bytes. A model's longest is far below it.
const ANSWER_BYTES_MAX: u64 = 128 << 20;
/// The largest body of a refusal that is read, in bytes.
const REFUSAL_BYTES_MAX: u64 = 64 << 10;
/// How long a connection may take.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long the model may be silent within an answer.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// Where requests go.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// `host:port`.
    authority: String,
    prefix: String,
}

impl Address {
    /// Reads `http://HOST[:PORT][/PREFIX]`. There is no TLS here: the way out is a loopback port of the sandbox.
    pub(super) fn parse(url: &str) -> Result<Self, Trouble> {
        let wrong = || Trouble::new("the base URL is not http://HOST[:PORT][/PATH]");
        let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
        let (authority, prefix) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
        if authority.is_empty() || authority.contains('@') || !plain(rest) {
            return Err(wrong());
        }
        let authority = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
        Ok(Self { authority, prefix: prefix.trim_end_matches('/').to_owned() })
    }
}

/// Why there is no answer, or not a whole one.
#[derive(Debug)]
pub(super) struct HttpError {
    /// The status, when there was an answer.
    pub(super) status: Option<u16>,
    /// For a person; holds the body of a refusal.
    pub(super) message: String,
    /// Whether the same request may succeed later.
    pub(super) retriable: bool,
    /// How long the other side wants us to wait.
    pub(super) wait: Option<Duration>,
    /// Whether nothing was heard at all: who passes requests on is away, and comes back.
    pub(super) away: bool,
}

impl HttpError {
    /// The connection failed or the answer makes no sense as HTTP.
    pub(super) fn broken(message: impl Into<String>) -> Self {
        Self { status: None, message: message.into(), retriable: true, wait: None, away: false }
    }

    /// No connection, or one that ended before the answer began.
    fn unheard(message: String) -> Self {
        Self { away: true, ..Self::broken(message) }
    }
}

/// The body of an answer that is a success.
pub(super) struct Body {
    reader: BufReader<TcpStream>,
    framing: Framing,
    /// The whole body was read.
    ended: bool,
    /// Decoded bytes so far.
    taken: u64,
    /// Decoded bytes that no line was made of yet.
    held: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// Sends `body` and gives the body of the answer.
pub(super) fn post(address: &Address, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Body, HttpError> {
    let stream = connect(address).map_err(|error| HttpError::unheard(format!("failed to reach the model: {error}")))?;
    let mut head = format!("POST {}{path} HTTP/1.1\r\nhost: {}\r\n", address.prefix, address.authority);
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!(
        "content-type: application/json\r\naccept: text/event-stream\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    ));
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    // A server may refuse and close before it has read all; its answer still counts, so this error waits.
    let sent = (&stream).write_all(&bytes);
    let mut reader = BufReader::with_capacity(64 << 10, stream);
    let head = match (read_head(&mut reader), sent) {
        (Ok(head), _) => head,
        (Err(_), Err(error)) => return Err(HttpError::unheard(format!("failed to send to the model: {error}"))),
        (Err(error), Ok(())) => {
            let away = matches!(error.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset);
            return Err(HttpError { away, ..HttpError::broken(format!("failed to read from the model: {error}")) });
        }
    };
    let body = Body { reader, framing: head.framing, ended: false, taken: 0, held: Vec::new() };
    if head.status == 200 { Ok(body) } else { Err(refusal(&head, body)) }
}

fn connect(address: &Address) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the host has no address");
    for target in address.authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&target, CONNECT_WAIT_MAX) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(SILENCE_MAX))?;
                stream.set_write_timeout(Some(SILENCE_MAX))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[derive(Debug)]
struct Head {
    status: u16,
    framing: Framing,
    wait: Option<Duration>,
    /// The other side says whether to try again.
    should_retry: Option<bool>,
}

fn bad(what: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned())
}

/// One line without its end, within what is left of `room`.
fn head_line(reader: &mut impl BufRead, room: &mut usize) -> std::io::Result<String> {
    let mut line = Vec::new();
    let count = reader.take(*room as u64).read_until(b'\n', &mut line)?;
    *room -= count;
    if line.pop() != Some(b'\n') {
        return Err(if *room == 0 { bad("the head of the answer is too long") } else { std::io::ErrorKind::UnexpectedEof.into() });
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn read_head(reader: &mut impl BufRead) -> std::io::Result<Head> {
    let mut room = HEAD_BYTES_MAX;
    loop {
        let line = head_line(reader, &mut room)?;
        let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|s| s.parse::<u16>().ok());
        let status = status.ok_or_else(|| bad("the answer is not HTTP/1.1"))?;
        let mut head = Head { status, framing: Framing::UntilClose, wait: None, should_retry: None };
        loop {
            let line = head_line(reader, &mut room)?;
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else { return Err(bad("a header has no colon")) };
            head.take(&name.to_ascii_lowercase(), value.trim())?;
        }
        // 100 Continue and the like come before the answer itself.
        if status >= 200 {
            return Ok(head);
        }
    }
}

impl Head {
    fn take(&mut self, name: &str, value: &str) -> std::io::Result<()> {
        match name {
            "content-length" if !matches!(self.framing, Framing::Chunked) => {
                self.framing = Framing::Length(value.parse().map_err(|_| bad("the length of the answer is no number"))?);
            }
            "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => self.framing = Framing::Chunked,
            "transfer-encoding" => return Err(bad("the answer is encoded in an unknown way")),
            "retry-after" => self.wait = value.parse().ok().map(Duration::from_secs),
            "retry-after-ms" => self.wait = value.parse().ok().map(Duration::from_millis),
            "x-should-retry" => self.should_retry = value.parse().ok(),
            _ => (),
        }
        Ok(())
    }
}

fn refusal(head: &Head, mut body: Body) -> HttpError {
    let text = body.read_text(REFUSAL_BYTES_MAX);
    let by_status = matches!(head.status, 408 | 409 | 429 | 500..=504 | 529);
    // A budget that is used up is answered like too much traffic by some gateways; waiting does not help there.
    let retriable = head.should_retry.unwrap_or_else(|| by_status && !text.contains("BUDGET_EXCEEDED"));
    HttpError {
        status: Some(head.status),
        message: format!("the model answered with status {}: {}", head.status, text.trim()),
        retriable,
        wait: head.wait,
        away: false,
    }
}

impl Body {
    /// The next line without its end; `None` at the end of the body.
    ///
    /// # Errors
    /// When the connection ends before the body does, or is silent for too long, or a line is too long.
    pub(super) fn next_line(&mut self) -> Result<Option<String>, HttpError> {
        let mut seen = 0;
        loop {
            if let Some(at) = self.held[seen..].iter().position(|b| *b == b'\n') {
                let rest = self.held.split_off(seen + at + 1);
                let mut line = std::mem::replace(&mut self.held, rest);
                while matches!(line.last(), Some(b'\n' | b'\r')) {
                    line.pop();
                }
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
            seen = self.held.len();
            if seen > LINE_BYTES_MAX {
                return Err(HttpError::broken(format!("a line of the answer is longer than {LINE_BYTES_MAX} bytes")));
            }
            let count = self.fill().map_err(|error| HttpError::broken(format!("the answer of the model was cut: {error}")))?;
            if count == 0 {
                let line = std::mem::take(&mut self.held);
                return Ok((!line.is_empty()).then(|| String::from_utf8_lossy(&line).into_owned()));
            }
        }
    }

    /// At most `max` bytes of the body, as far as they come.
    fn read_text(&mut self, max: u64) -> String {
        while (self.held.len() as u64) < max && self.fill().is_ok_and(|count| count > 0) {}
        self.held.truncate(usize::try_from(max).unwrap_or(usize::MAX));
        String::from_utf8_lossy(&self.held).into_owned()
    }

    /// Adds decoded bytes to `held`; 0 at the end of the body.
    fn fill(&mut self) -> std::io::Result<usize> {
        if self.ended {
            return Ok(0);
        }
        let count = match self.framing {
            Framing::UntilClose => self.take(u64::MAX)?,
            Framing::Length(0) => 0,
            Framing::Length(left) => {
                let count = self.take(left)?;
                if count == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                self.framing = Framing::Length(left - count as u64);
                count
            }
            Framing::Chunked => self.chunk()?,
        };
        self.ended = count == 0;
        self.taken += count as u64;
        if self.taken > ANSWER_BYTES_MAX {
            return Err(bad("it is longer than any answer"));
        }
        Ok(count)
    }

    /// One read of at most `max` bytes.
    fn take(&mut self, max: u64) -> std::io::Result<usize> {
        let available = self.reader.fill_buf()?;
        let count = available.len().min(usize::try_from(max).unwrap_or(usize::MAX));
        self.held.extend_from_slice(&available[..count]);
        self.reader.consume(count);
        Ok(count)
    }

    /// One whole chunk, or 0 for the last one.
    fn chunk(&mut self) -> std::io::Result<usize> {
        let mut room = HEAD_BYTES_MAX;
        let line = head_line(&mut self.reader, &mut room)?;
        let size = line.split(';').next().unwrap_or("").trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| bad("a chunk has no size"))?;
        if size > LINE_BYTES_MAX {
            return Err(bad("a chunk is too large"));
        }
        if size == 0 {
            return Ok(0);
        }
        let before = self.held.len();
        let count = (&mut self.reader).take(size as u64).read_to_end(&mut self.held)?;
        if count < size || self.held.len() - before != size {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let end = head_line(&mut self.reader, &mut room)?;
        if end.is_empty() { Ok(size) } else { Err(bad("a chunk is longer than it says")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves one connection with exactly these bytes, in pieces of `step`, and gives what `post` made of it.
    fn answer(bytes: &[u8], step: usize) -> Result<Vec<String>, HttpError> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = Address::parse(&format!("http://{}", listener.local_addr().expect("bound"))).expect("well formed");
        let bytes = bytes.to_vec();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\nhello") {
                let mut piece = [0; 512];
                let count = stream.read(&mut piece).expect("a request");
                seen.extend_from_slice(&piece[..count]);
            }
            for piece in bytes.chunks(step) {
                // Who has the whole body may leave before the last bytes of its frame.
                if stream.write_all(piece).is_err() {
                    break;
                }
            }
        });
        let lines = post(&address, "/x", &[("a", "b")], b"hello").and_then(|mut body| {
            let mut lines = Vec::new();
            while let Some(line) = body.next_line()? {
                lines.push(line);
            }
            Ok(lines)
        });
        server.join().expect("served");
        lines
    }

    #[test]
    fn every_framing_gives_the_same_lines() {
        for step in [1, 7, 4096] {
            for bytes in [
                "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\na\r\nb\n\nc",
                "HTTP/1.1 200 OK\r\n\r\na\r\nb\n\nc",
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\na\r\n\r\n4\r\nb\n\nc\r\n0\r\n\r\n",
            ] {
                assert_eq!(answer(bytes.as_bytes(), step).expect("whole"), ["a", "b", "", "c"], "{step} {bytes}");
            }
        }
    }

    #[test]
    fn what_was_cut_or_makes_no_sense_is_an_error() {
        for bytes in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffff\r\nabc",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        ] {
            let error = answer(bytes.as_bytes(), 4096).expect_err(bytes);
            assert!(error.retriable && error.status.is_none(), "{bytes}");
        }
    }

    #[test]
    fn refusals_say_whether_to_wait() {
        let check = |head: &str, body: &str, retriable: bool, wait: Option<u64>| {
            let error = answer(format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes(), 4096);
            let error = error.expect_err(head);
            assert_eq!((error.retriable, error.wait), (retriable, wait.map(Duration::from_secs)), "{head}");
            assert!(error.message.contains(body));
        };
        check("401 no", "bad key", false, None);
        check("429 no\r\nretry-after: 3", "slow down", true, Some(3));
        check("429 no", "BUDGET_EXCEEDED: spent", false, None);
        check("503 no\r\nx-should-retry: false", "down", false, None);
        check("500 no", "oops", true, None);
    }

    #[test]
    fn only_plain_addresses_are_taken() {
        let address = |url: &str| Address::parse(url).ok();
        assert_eq!(address("http://127.0.0.1:8/a/"), Some(Address { authority: "127.0.0.1:8".into(), prefix: "/a".into() }));
        for bad in ["", "https://x", "http://", "http:///x", "http://u@h", "http://h/a b", "http://h\r\nx: y"] {
            assert_eq!(address(bad), None, "{bad:?}");
        }
    }
}
