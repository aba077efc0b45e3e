//! The egress proxy's readers: request heads and the first bytes of TLS.

use gateway::egress::{Gate, HEAD_BYTES_MAX, HELLO_BYTES_MAX, HeadError, HelloError, Target as Goal, parse_head};

use super::{Target, hash};

pub(crate) const EGRESS_HEAD: Target = Target {
    name: "egress_head",
    corpus: "egress_head",
    words: &[
        b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b"CONNECT ", b"GET ", b" HTTP/1.1", b"Host: ", b"host:", b"Content-Length: 1\r\n",
        b"Transfer-Encoding: chunked\r\n", b":443", b"@", b"[::1]", b"%00", b"example.com", b"127.0.0.1", b"\xe3\x80\x82",
    ],
    run: head,
};
pub(crate) const TLS_HELLO: Target = Target {
    name: "egress_tls_hello",
    corpus: "egress_tls_hello",
    words: &[b"\x16\x03\x01", b"\x00\x00", b"example.com", b"\x01\x00", b"\xff\xff", b"\xfe\x0d"],
    run: hello,
};

/// The host that the request named.
const HOST: &str = "example.com";

/// A head is read from its own bytes only, and means one thing.
fn head(input: &[u8]) -> u64 {
    let whole = parse_head(input);
    let step = input.len() / 64 + 1;
    for cut in (0..input.len()).step_by(step) {
        match parse_head(&input[..cut]) {
            Ok(None) => (),
            // What a reader decided early it also decides with all bytes.
            decided => assert_eq!(same(&decided), same(&whole), "more bytes change the decision"),
        }
    }
    if let Ok(Some((goal, len))) = &whole {
        assert!(*len <= input.len() && *len <= HEAD_BYTES_MAX);
        assert!(input[..*len].ends_with(b"\r\n\r\n"));
        assert_eq!(model::canonical_host(&goal.host).as_deref(), Ok(goal.host.as_str()), "the host is not canonical");
        assert_ne!(goal.port, 0);
        let text = String::from_utf8_lossy(&input[..*len]).to_ascii_lowercase();
        assert!(text.starts_with(&format!("connect {}", goal.host)), "the target is not what was written");
        assert!(text.matches("\r\nhost:").count() <= 1, "two hosts");
    }
    hash(&format!("{:?}", whole.as_ref().map(Option::is_some)))
}

fn same(read: &Result<Option<(Goal, usize)>, HeadError>) -> Option<&(Goal, usize)> {
    read.as_ref().ok().and_then(Option::as_ref)
}

/// The first bytes of TLS pass only when they name the host that the request named, and pass unchanged.
fn hello(input: &[u8]) -> u64 {
    let whole = feed(input, input.len().max(1));
    let pieces = feed(input, 7);
    assert_eq!(whole.as_ref().ok(), pieces.as_ref().ok(), "the cut changes what passes");
    assert_eq!(whole.is_err(), pieces.is_err(), "the cut changes the decision");
    match whole {
        Ok((passed, open)) => {
            assert!(input.starts_with(&passed), "other bytes than those that came");
            assert!(passed.is_empty() || names_host(&passed), "bytes pass before the host was named");
            hash(&(open, passed.is_empty(), input.len().min(HELLO_BYTES_MAX).leading_zeros()))
        }
        Err(error) => hash(&format!("{error:?}")),
    }
}

/// Whether the records, put together without a look at their structure, hold the name.
fn names_host(bytes: &[u8]) -> bool {
    let mut message = Vec::new();
    let mut rest = bytes;
    while let [22, 3, _, high, low, after @ ..] = rest {
        let (payload, next) = after.split_at(after.len().min(usize::from(*high) << 8 | usize::from(*low)));
        message.extend_from_slice(payload);
        rest = next;
    }
    message.to_ascii_lowercase().windows(HOST.len()).any(|window| window == HOST.as_bytes())
}

fn feed(input: &[u8], step: usize) -> Result<(Vec<u8>, bool), HelloError> {
    let mut gate = Gate::new(HOST, true);
    let mut passed = Vec::new();
    for piece in input.chunks(step) {
        passed.extend(gate.feed(piece)?);
    }
    Ok((passed, gate.is_open()))
}
