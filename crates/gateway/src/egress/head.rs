//! The one parser of requests to the proxy.
//!
//! It accepts the plain form that programs send and nothing that two programs could read in two ways.

/// The longest request head, its empty line included.
pub const HEAD_BYTES_MAX: usize = 8 << 10;
/// Header fields in one head.
const FIELDS_MAX: usize = 64;

/// Where a request wants to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The host, canonical.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// No end within [`HEAD_BYTES_MAX`].
    #[error("the head of the request is longer than {HEAD_BYTES_MAX} bytes")]
    TooLong,
    /// A well-formed request of another method.
    #[error("only CONNECT is served: reach the host by HTTPS, for which clients send CONNECT by themselves")]
    NotConnect,
    /// Anything else.
    #[error("{0}")]
    Malformed(&'static str),
}

/// Reads a request head from the start of `bytes`: the target and the length of the head, or `None` while it is not whole.
///
/// # Errors
/// [`HeadError`] as soon as no further byte can make it right.
pub fn parse_head(bytes: &[u8]) -> Result<Option<(Target, usize)>, HeadError> {
    let window = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    let end = find_end(window)?;
    let Some(end) = end else {
        return if bytes.len() >= HEAD_BYTES_MAX { Err(HeadError::TooLong) } else { Ok(None) };
    };
    // Every byte was checked to be plain ASCII on the way to the end.
    let head = std::str::from_utf8(&window[..end - 4]).map_err(|_| HeadError::Malformed("the head is not ASCII"))?;
    let mut lines = head.split("\r\n");
    let (target, minor) = request_line(lines.next().unwrap_or_default())?;
    let mut hosts = 0;
    for (n, line) in lines.enumerate() {
        if n >= FIELDS_MAX {
            return Err(HeadError::Malformed("there are more than 64 header fields"));
        }
        hosts += usize::from(field(line, &target)?);
    }
    match (hosts, minor) {
        (1, _) | (0, 0) => Ok(Some((target, end))),
        (0, _) => Err(HeadError::Malformed("the Host field is missing")),
        _ => Err(HeadError::Malformed("there is more than one Host field")),
    }
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

/// Reads `CONNECT host:port HTTP/1.x`; gives the target and x.
fn request_line(line: &str) -> Result<(Target, u8), HeadError> {
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next()) else {
        return Err(HeadError::Malformed("the request line is not `CONNECT host:port HTTP/1.1`"));
    };
    if method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(HeadError::Malformed("the method is not written in capitals"));
    }
    let minor = match version {
        "HTTP/1.1" => 1,
        "HTTP/1.0" => 0,
        _ => return Err(HeadError::Malformed("the version is neither HTTP/1.1 nor HTTP/1.0")),
    };
    if method != "CONNECT" {
        return Err(HeadError::NotConnect);
    }
    let (host, port) = authority(target)?;
    let port = port.ok_or(HeadError::Malformed("the target has no port"))?;
    Ok((Target { host, port }, minor))
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

/// Checks one header field; says whether it is the Host.
fn field(line: &str, target: &Target) -> Result<bool, HeadError> {
    let (name, value) = line.split_once(':').ok_or(HeadError::Malformed("a header field has no colon"))?;
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(HeadError::Malformed("the name of a header field is not one, or is folded onto a second line"));
    }
    let value = value.trim_matches([' ', '\t']);
    if name.eq_ignore_ascii_case("host") {
        let (host, port) = authority(value)?;
        if host != target.host || port.is_some_and(|p| p != target.port) {
            return Err(HeadError::Malformed("the Host field names another host than the request line"));
        }
        return Ok(true);
    }
    let sized = name.eq_ignore_ascii_case("content-length") && value != "0";
    if sized || name.eq_ignore_ascii_case("transfer-encoding") || name.eq_ignore_ascii_case("upgrade") {
        return Err(HeadError::Malformed("CONNECT has no body and no upgrade"));
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(head: &[u8]) -> Result<Option<String>, HeadError> {
        parse_head(head).map(|found| found.map(|(t, n)| format!("{}:{} {}", t.host, t.port, head.len() - n)))
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
        for other in ["GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n", "POST / HTTP/1.0\r\n\r\n"] {
            assert_eq!(target(other.as_bytes()), Err(HeadError::NotConnect));
        }
        assert_eq!(target(&[b'A'; HEAD_BYTES_MAX]), Err(HeadError::TooLong));
        // A byte that has no place is refused at once, not when the head is whole.
        assert!(target(b"\x05\x01\x00").is_err(), "a greeting of SOCKS");
        assert!(target(b"\x16\x03\x01").is_err(), "TLS to the proxy");
    }
}
