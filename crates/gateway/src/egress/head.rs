//! The one parser of requests, to the proxy and through it.
//!
//! It accepts the plain form that programs send and nothing that two programs could read in two ways.

use super::body::Framing;

/// The longest request head, its empty line included.
pub const HEAD_BYTES_MAX: usize = 16 << 10;
/// Header fields in one head.
const FIELDS_MAX: usize = 64;
/// The longest method that is served.
const METHOD_BYTES_MAX: usize = 16;

/// Where a request wants to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The host, canonical.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aim {
    /// A tunnel: `CONNECT host:port`.
    Tunnel,
    /// A resource: a path that begins with `/`, with its query.
    Resource(String),
}

/// A request head, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The method, in capitals.
    pub method: String,
    /// Where it goes.
    pub target: Target,
    /// What it asks for.
    pub aim: Aim,
    /// Whether it is a request of HTTP/1.0.
    pub is_old: bool,
    /// Its fields but `Host` and those of the connection: names in small letters, values without space around them.
    pub fields: Vec<(String, String)>,
    /// How its body is delimited.
    pub framing: Framing,
    /// Whether the connection may be used for another request.
    pub keep: bool,
    /// Whether the client waits for a word before it sends the body.
    pub expects: bool,
    /// Whether it asks to go on as a WebSocket.
    pub websocket: bool,
}

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// No end within [`HEAD_BYTES_MAX`].
    #[error("the head of the request is longer than {HEAD_BYTES_MAX} bytes")]
    TooLong,
    /// A well-formed request that is never served.
    #[error("{0} is not served here")]
    Method(&'static str),
    /// Anything else.
    #[error("{0}")]
    Malformed(&'static str),
}

/// Reads a request head from the start of `bytes`: what it says and its length, or `None` while it is not whole. `within` is
/// the target of the tunnel that the request came through; without one it is a request to the proxy itself.
///
/// # Errors
/// [`HeadError`] as soon as no further byte can make it right.
pub fn parse_head(bytes: &[u8], within: Option<&Target>) -> Result<Option<(Head, usize)>, HeadError> {
    let window = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    let end = find_end(window)?;
    let Some(end) = end else {
        return if bytes.len() >= HEAD_BYTES_MAX { Err(HeadError::TooLong) } else { Ok(None) };
    };
    // Every byte was checked to be plain ASCII on the way to the end.
    let head = std::str::from_utf8(&window[..end - 4]).map_err(|_| HeadError::Malformed("the head is not ASCII"))?;
    let mut lines = head.split("\r\n");
    let mut head = request_line(lines.next().unwrap_or_default(), within)?;
    let mut read = Fields::default();
    for (n, line) in lines.enumerate() {
        if n >= FIELDS_MAX {
            return Err(HeadError::Malformed("there are more than 64 header fields"));
        }
        read.field(line, &mut head)?;
    }
    read.finish(&mut head)?;
    Ok(Some((head, end)))
}

/// Finds the end of the head, and refuses every byte that has no place in one.
fn find_end(bytes: &[u8]) -> Result<Option<usize>, HeadError> {
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' if at == 0 || bytes[at - 1] != b'\r' => return Err(HeadError::Malformed("a line ends without a carriage return")),
            b'\n' if at >= 3 && bytes[at - 3] == b'\r' && bytes[at - 2] == b'\n' => return Ok(Some(at + 1)),
            b'\n' | b'\t' | b' '..=b'~' => (),
            b'\r' if bytes.get(at + 1).is_none_or(|next| *next == b'\n') => (),
            b'\r' => return Err(HeadError::Malformed("a carriage return stands within a line")),
            _ => return Err(HeadError::Malformed("the head has a byte that is no printable ASCII")),
        }
    }
    Ok(None)
}

/// Reads `CONNECT host:port HTTP/1.x`, `METHOD http://host/path HTTP/1.x`, or within a tunnel `METHOD /path HTTP/1.x`.
fn request_line(line: &str, within: Option<&Target>) -> Result<Head, HeadError> {
    let mut words = line.split(' ');
    let (Some(method), Some(asked), Some(version), None) = (words.next(), words.next(), words.next(), words.next()) else {
        return Err(HeadError::Malformed("the request line is not `METHOD target HTTP/1.1`"));
    };
    if method.is_empty() || method.len() > METHOD_BYTES_MAX || !method.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(HeadError::Malformed("the method is not written in up to 16 capitals"));
    }
    let is_old = match version {
        "HTTP/1.1" => false,
        "HTTP/1.0" => true,
        _ => return Err(HeadError::Malformed("the version is neither HTTP/1.1 nor HTTP/1.0")),
    };
    let (target, aim) = match (method, within) {
        // What it sends back holds the whole request, also what was put in on the way.
        ("TRACE" | "TRACK", _) => return Err(HeadError::Method("TRACE")),
        ("CONNECT", Some(_)) => return Err(HeadError::Method("a tunnel within a tunnel")),
        ("CONNECT", None) => {
            let (host, port) = authority(asked)?;
            let port = port.ok_or(HeadError::Malformed("the target has no port"))?;
            (Target { host, port }, Aim::Tunnel)
        }
        (_, Some(target)) => (target.clone(), Aim::Resource(resource(asked)?)),
        (_, None) => absolute(asked)?,
    };
    Ok(Head {
        method: method.to_owned(),
        target,
        aim,
        is_old,
        fields: Vec::new(),
        framing: Framing::Empty,
        keep: !is_old,
        expects: false,
        websocket: false,
    })
}

/// Reads `http://host[:port][/path][?query]`.
fn absolute(text: &str) -> Result<(Target, Aim), HeadError> {
    let rest = match text.split_at_checked(7) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http://") => rest,
        _ if text.get(..8).is_some_and(|s| s.eq_ignore_ascii_case("https://")) => {
            return Err(HeadError::Malformed("https:// is reached by CONNECT, which clients send by themselves"));
        }
        _ => return Err(HeadError::Malformed("the target is not `http://host/path`")),
    };
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (name, path) = rest.split_at(at);
    let (host, port) = authority(name)?;
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok((Target { host, port: port.unwrap_or(80) }, Aim::Resource(resource(&path)?)))
}

/// Checks a path and query.
fn resource(text: &str) -> Result<String, HeadError> {
    if !text.starts_with('/') {
        return Err(HeadError::Malformed("the path does not begin with `/`"));
    }
    if text.contains(['\\', '#', '\t']) {
        return Err(HeadError::Malformed("the path has a character that servers read differently"));
    }
    Ok(text.to_owned())
}

/// Reads `host` or `host:port`.
fn authority(text: &str) -> Result<(String, Option<u16>), HeadError> {
    if text.contains('[') {
        return Err(HeadError::Malformed("addresses of IPv6 are not served: ask for a name"));
    }
    if text.contains('@') {
        return Err(HeadError::Malformed("a user name has no place in the target"));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(number(port)?)),
        None => (text, None),
    };
    Ok((model::canonical_host(host).map_err(HeadError::Malformed)?, port))
}

fn number(port: &str) -> Result<u16, HeadError> {
    let plain = !port.starts_with('0') && port.bytes().all(|b| b.is_ascii_digit());
    let number = if plain { port.parse::<u16>().ok() } else { None };
    number.ok_or(HeadError::Malformed("the port is not a number from 1 to 65535"))
}

/// What the fields of one head say about the connection.
#[derive(Default)]
struct Fields {
    hosts: usize,
    length: Option<u64>,
    is_chunked: bool,
    /// What `Connection` names.
    named: Vec<String>,
    upgrade: Option<String>,
}

/// Fields between two neighbours, which go no further.
const HOP: &[&str] = &["proxy-connection", "proxy-authorization", "proxy-authenticate", "keep-alive", "te", "trailer", "http2-settings"];

impl Fields {
    fn field(&mut self, line: &str, head: &mut Head) -> Result<(), HeadError> {
        let (name, value) = line.split_once(':').ok_or(HeadError::Malformed("a header field has no colon"))?;
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(token) {
            return Err(HeadError::Malformed("the name of a header field is not one, or is folded onto a second line"));
        }
        let value = value.trim_matches([' ', '\t']);
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "host" => {
                let (host, port) = authority(value)?;
                if host != head.target.host || port.is_some_and(|p| p != head.target.port) {
                    return Err(HeadError::Malformed("the Host field names another host than the request line"));
                }
                self.hosts += 1;
            }
            "content-length" => {
                let plain = !value.is_empty() && value.len() <= 18 && value.bytes().all(|b| b.is_ascii_digit());
                let length = value.parse().ok().filter(|_| plain && self.length.is_none());
                self.length = Some(length.ok_or(HeadError::Malformed("Content-Length is no number, or stands twice"))?);
            }
            "transfer-encoding" => {
                if !value.eq_ignore_ascii_case("chunked") || self.is_chunked || head.is_old {
                    return Err(HeadError::Malformed("Transfer-Encoding is not `chunked`, or stands twice"));
                }
                self.is_chunked = true;
            }
            "connection" => self.named.extend(value.split(',').map(|t| t.trim_matches([' ', '\t']).to_ascii_lowercase())),
            "upgrade" if self.upgrade.is_some() => return Err(HeadError::Malformed("Upgrade stands twice")),
            "upgrade" => self.upgrade = Some(value.to_ascii_lowercase()),
            "expect" if value.eq_ignore_ascii_case("100-continue") => head.expects = true,
            "expect" => return Err(HeadError::Malformed("Expect is not `100-continue`")),
            name if HOP.contains(&name) => {}
            _ => head.fields.push((name, value.to_owned())),
        }
        Ok(())
    }

    /// Puts together what the fields say.
    fn finish(self, head: &mut Head) -> Result<(), HeadError> {
        match self.hosts {
            1 => {}
            0 if head.is_old => {}
            0 => return Err(HeadError::Malformed("the Host field is missing")),
            _ => return Err(HeadError::Malformed("there is more than one Host field")),
        }
        head.framing = match (self.length, self.is_chunked) {
            (Some(_), true) => return Err(HeadError::Malformed("there are both Content-Length and Transfer-Encoding")),
            (None, true) => Framing::Chunked,
            (Some(0) | None, false) => Framing::Empty,
            (Some(length), false) => Framing::Length(length),
        };
        let says = |word: &str| self.named.iter().any(|name| name == word);
        if head.aim == Aim::Tunnel {
            return match (head.framing, self.upgrade) {
                (Framing::Empty, None) => Ok(()),
                _ => Err(HeadError::Malformed("CONNECT has no body and no upgrade")),
            };
        }
        head.keep = if head.is_old { says("keep-alive") } else { !says("close") };
        head.websocket = self.upgrade.as_deref() == Some("websocket") && says("upgrade");
        if head.websocket && (head.method != "GET" || head.is_old || head.framing != Framing::Empty) {
            return Err(HeadError::Malformed("a WebSocket is asked for with GET, HTTP/1.1 and no body"));
        }
        head.fields.retain(|(name, _)| !self.named.contains(name));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(head: &[u8]) -> Result<Option<String>, HeadError> {
        parse_head(head, None).map(|found| found.map(|(h, n)| format!("{}:{} {}", h.target.host, h.target.port, head.len() - n)))
    }

    #[test]
    fn plain_requests_are_read_from_any_split() {
        let check = |head: &str, expect: &str| {
            assert_eq!(target(head.as_bytes()), Ok(Some(expect.to_owned())), "{head:?}");
            for cut in 0..head.find("\r\n\r\n").unwrap() + 4 {
                assert_eq!(target(&head.as_bytes()[..cut]), Ok(None), "{cut} bytes of {head:?}");
            }
        };
        check("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n", "example.com:443 0");
        check("CONNECT example.com:443 HTTP/1.1\r\nhost:example.com\r\nUser-Agent: x\r\n\r\nmore", "example.com:443 4");
        check("CONNECT EXAMPLE.com.:8443 HTTP/1.0\r\n\r\n", "example.com:8443 0");
        check("CONNECT 93.184.216.34:443 HTTP/1.0\r\nProxy-Connection: keep-alive\r\nContent-Length: 0\r\n\r\n", "93.184.216.34:443 0");
    }

    #[test]
    fn whatever_can_be_read_in_two_ways_is_refused() {
        let bad_target = [
            "evil\0.example.com:443", "example.com\t:443", "example.com:443\u{b}", "user@example.com:443", "user:pw@example.com:443",
            "example.com", "example.com:", "example.com:0", "example.com:0443", "example.com:+443", "example.com:443:443",
            "example.com:65536", "example.com:4e2", "http://example.com:443", "http://example.com/", "/", "*", ":443", ".:443", "..:443",
            "example..com:443", "[::1]:443", "[::ffff:127.0.0.1]:443", "[fe80::1%25eth0]:443", "::1:443", "2130706433:443",
            "0x7f000001:443", "0x7f.1:443", "127.1:443", "0177.0.0.1:443", "127.0.0.01:443", "1.2.3.4.5:443", "example.com%00:443",
            "example%2ecom:443", "b\u{fc}cher.de:443", "exam\u{200b}ple.com:443", "*.example.com:443", "example.com#:443",
            "example.com?:443", "example.com\\:443", "-example.com:443",
        ];
        for text in bad_target {
            let head = format!("CONNECT {text} HTTP/1.1\r\nHost: example.com\r\n\r\n");
            assert!(matches!(target(head.as_bytes()), Err(HeadError::Malformed(_))), "{text:?}");
        }
        let long = format!("CONNECT {}.com:443 HTTP/1.0\r\n\r\n", "a".repeat(300));
        assert!(matches!(target(long.as_bytes()), Err(HeadError::Malformed(_))));
    }

    #[test]
    fn heads_that_smuggle_are_refused() {
        let line = "CONNECT example.com:443 HTTP/1.1\r\n";
        let bad = [
            format!("{line}\r\n"),
            format!("{line}Host: example.com\r\nHost: example.com\r\n\r\n"),
            format!("{line}Host: evil.com\r\n\r\n"),
            format!("{line}Host: example.com:444\r\n\r\n"),
            format!("{line}Host: example.com, evil.com\r\n\r\n"),
            format!("{line}Host : example.com\r\n\r\n"),
            format!("{line} Host: example.com\r\n\r\n"),
            format!("{line}Host: example.com\r\n folded\r\n\r\n"),
            format!("{line}Host: example.com\r\nContent-Length: 5\r\n\r\n"),
            format!("{line}Host: example.com\r\nContent-Length: 0, 0\r\n\r\n"),
            format!("{line}Host: example.com\r\nTransfer-Encoding: chunked\r\n\r\n"),
            format!("{line}Host: example.com\r\nUpgrade: h2c\r\n\r\n"),
            format!("{line}Host: example.com\nX: y\r\n\r\n"),
            format!("{line}Host: example.com\rX: y\r\n\r\n"),
            format!("{line}Host: example.com\r\nX: a\0b\r\n\r\n"),
            format!("{line}Host: example.com\r\nX\r\n\r\n"),
            format!("{line}Host: example.com\r\n{}\r\n", "A: b\r\n".repeat(65)),
            "CONNECT  example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n".into(),
            "CONNECT example.com:443  HTTP/1.1\r\nHost: example.com\r\n\r\n".into(),
            "CONNECT example.com:443 HTTP/1.1 \r\nHost: example.com\r\n\r\n".into(),
            "CONNECT\texample.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n".into(),
            "connect example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n".into(),
            "CONNECT example.com:443 HTTP/2.0\r\nHost: example.com\r\n\r\n".into(),
            "CONNECT example.com:443\r\nHost: example.com\r\n\r\n".into(),
            "\r\n\r\n".into(),
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
        ];
        for head in bad {
            assert!(matches!(target(head.as_bytes()), Err(HeadError::Malformed(_))), "{head:?}");
        }
        assert_eq!(target(b"TRACE http://example.com/ HTTP/1.0\r\n\r\n"), Err(HeadError::Method("TRACE")));
        assert_eq!(target(&[b'A'; HEAD_BYTES_MAX]), Err(HeadError::TooLong));
        // A byte that has no place is refused at once, not when the head is whole.
        assert!(target(b"\x05\x01\x00").is_err(), "a greeting of SOCKS");
        assert!(target(b"\x16\x03\x01").is_err(), "TLS to the proxy");
    }

    fn read(text: &str, within: Option<&Target>) -> Result<Head, HeadError> {
        parse_head(text.as_bytes(), within).map(|found| found.unwrap().0)
    }

    #[test]
    fn resources_are_asked_for_by_their_whole_address() {
        let check = |asked: &str, host: &str, port: u16, resource: &str| {
            let head = read(&format!("GET {asked} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n"), None).unwrap();
            assert_eq!((head.target, head.aim), (Target { host: host.to_owned(), port }, Aim::Resource(resource.to_owned())), "{asked}");
            assert_eq!(head.fields, [("accept".to_owned(), "*/*".to_owned())]);
        };
        check("http://example.com", "example.com", 80, "/");
        check("HTTP://EXAMPLE.com.:8080/a?b", "example.com", 8080, "/a?b");
        check("http://example.com?x", "example.com", 80, "/?x");
        for bad in [
            "https://example.com/", "ftp://example.com/", "/", "*", "example.com/", "http:///", "http://user@example.com/",
            "http://[::1]/", "http://2130706433/", "http://example.com:0/", "http://example.com\\@evil.test/", "http://example.com/#x",
            "http://evil.test/", "http:/example.com/", "//example.com/",
        ] {
            let read = read(&format!("GET {bad} HTTP/1.1\r\nHost: example.com\r\n\r\n"), None);
            assert!(matches!(read, Err(HeadError::Malformed(_))), "{bad}: {read:?}");
        }
    }

    #[test]
    fn within_a_tunnel_only_its_own_host_is_asked() {
        let target = Target { host: "example.com".to_owned(), port: 443 };
        let ask = |line: &str, host: &str| read(&format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n"), Some(&target));
        assert_eq!(ask("GET /a", "Example.com").unwrap().target, target);
        assert!(ask("GET /a", "example.com:443").is_ok());
        for (line, host) in [
            ("GET /a", "evil.test"),
            ("GET /a", "example.com:80"),
            ("GET https://evil.test/", "evil.test"),
            ("GET https://example.com/a", "example.com"),
            ("CONNECT evil.test:443", "evil.test:443"),
            ("CONNECT example.com:443", "example.com:443"),
            ("OPTIONS *", "example.com"),
        ] {
            assert!(ask(line, host).is_err(), "{line} {host}");
        }
    }

    #[test]
    fn a_body_is_delimited_in_one_way() {
        let with = |fields: &str| read(&format!("POST http://example.com/ HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n\r\n"), None);
        assert_eq!(with("Content-Length: 5").unwrap().framing, Framing::Length(5));
        assert_eq!(with("Transfer-Encoding: Chunked").unwrap().framing, Framing::Chunked);
        assert_eq!(with("X: y").unwrap().framing, Framing::Empty);
        for bad in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 0",
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 5, 5",
            "Content-Length: +5",
            "Content-Length: -1",
            "Content-Length: 0x5",
            "Content-Length: ",
            "Content-Length: 5 5",
            "Content-Length: 99999999999999999999",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding:\r\n chunked",
            "Transfer-Encoding : chunked",
            "Expect: something",
        ] {
            assert!(matches!(with(bad), Err(HeadError::Malformed(_))), "{bad:?}");
        }
        let old = "POST http://example.com/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(read(old, None).is_err(), "HTTP/1.0 knows no chunks");
    }

    #[test]
    fn fields_of_the_connection_go_no_further() {
        let text = "GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n\
            Proxy-Authorization: Basic eA==\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nX-End: 2\r\n\r\n";
        let head = read(text, None).unwrap();
        assert_eq!(head.fields, [("x-end".to_owned(), "2".to_owned())]);
        assert!(!head.keep && !head.websocket);
    }

    #[test]
    fn a_websocket_is_asked_for_in_one_way() {
        let ask = |line: &str, fields: &str| read(&format!("{line}\r\nHost: example.com\r\n{fields}\r\n\r\n"), None);
        let (line, both) = ("GET http://example.com/s HTTP/1.1", "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket");
        assert!(ask(line, both).unwrap().websocket);
        assert!(!ask(line, "Upgrade: websocket").unwrap().websocket);
        assert!(!ask(line, "Connection: upgrade\r\nUpgrade: h2c").unwrap().websocket);
        assert!(ask("POST http://example.com/s HTTP/1.1", both).is_err());
        assert!(ask(line, &format!("{both}\r\nContent-Length: 3")).is_err());
        assert!(ask(line, &format!("{both}\r\nUpgrade: h2c")).is_err());
    }
}
