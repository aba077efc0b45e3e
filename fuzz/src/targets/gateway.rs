//! The doors' readers: request heads and first bytes of TLS at the egress proxy, usage in replies and tapes at the gateway.

use std::io::{Seek as _, Write as _};

use gateway::egress::{
    Aim, Body, Framing as Frames, Gate, HEAD_BYTES_MAX, HELLO_BYTES_MAX, Head, HeadError, HelloError, Target as Goal, canonical_path,
    parse_head,
};
use gateway::{
    Wire,
    meter::{Framing, Meter},
    tape,
};

use sha2::{Digest as _, Sha256};

use super::{Target, hash};

pub(crate) const EGRESS_HEAD: Target = Target {
    name: "egress_head",
    corpus: "egress_head",
    recorded: None,
    words: &[
        b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b"CONNECT ", b"GET ", b" HTTP/1.1", b"Host: ", b"host:", b"Content-Length: 1\r\n",
        b"Transfer-Encoding: chunked\r\n", b":443", b"@", b"[::1]", b"%00", b"example.com", b"127.0.0.1", b"\xe3\x80\x82", b"http://",
        b"Connection: ", b"Upgrade: websocket\r\n", b"Expect: 100-continue\r\n", b"/../", b"?", b"#", b"\\",
    ],
    run: head,
};
pub(crate) const BODY: Target = Target {
    name: "egress_body",
    corpus: "egress_body",
    recorded: None,
    words: &[b"\r\n", b"0\r\n\r\n", b"4\r\ndata\r\n", b"\n", b"\r", b";", b" ", b"f", b"F", b"0", b"ffffffffffffffff", b"X: y\r\n"],
    run: body,
};
pub(crate) const PATH: Target = Target {
    name: "egress_path",
    corpus: "egress_path",
    recorded: None,
    words: &[b"/", b"//", b"/../", b"/./", b"%2e", b"%2F", b"%5c", b"%25", b"%00", b";", b"?", b"%c0%ae", b"%3b", b"\\", b"..", b"%"],
    run: path,
};
pub(crate) const TLS_HELLO: Target = Target {
    name: "egress_tls_hello",
    corpus: "egress_tls_hello",
    recorded: None,
    words: &[b"\x16\x03\x01", b"\x00\x00", b"example.com", b"\x01\x00", b"\xff\xff", b"\xfe\x0d"],
    run: hello,
};

pub(crate) const METER: Target = Target {
    name: "gateway_meter",
    corpus: "gateway_meter",
    recorded: None,
    words: &[
        b"data:", b"\n\n", b"\r\n", b"\r", b"[DONE]", b"{", b"}", b"[", b"]", b"\\u0075", b"\\\"", b"\"", b"null", b"-1", b"1e3", b"0.5",
        b"18446744073709551616", b"\"usage\":{", b"\"input_tokens\":7", b"\"output_tokens\":7", b"\"prompt_tokens\":7",
        b"\"completion_tokens\":7", b"\"usageMetadata\":{", b"\"promptTokenCount\":7", b"\"candidatesTokenCount\":7", b"\"message\":{",
        b"\"response\":{", b"\"error\":{",
    ],
    run: meter,
};
pub(crate) const TAPE: Target = Target {
    name: "gateway_tape",
    corpus: "gateway_tape",
    recorded: None,
    words: &[b"\n", b"{", b"}", b"\"e\":", b"\"hash\":", b"null", b"[]", b"\xff"],
    run: tape_file,
};

/// The host that the request named.
const HOST: &str = "example.com";

/// A head is read from its own bytes only, and means one thing: to the proxy and within a tunnel.
fn head(input: &[u8]) -> u64 {
    let goal = Goal { host: HOST.to_owned(), port: 443 };
    hash(&[head_within(input, None), head_within(input, Some(&goal))])
}

fn head_within(input: &[u8], within: Option<&Goal>) -> u64 {
    let whole = parse_head(input, within);
    let step = input.len() / 64 + 1;
    for cut in (0..input.len()).step_by(step) {
        match parse_head(&input[..cut], within) {
            Ok(None) => (),
            // What a reader decided early it also decides with all bytes.
            decided => assert_eq!(same(&decided), same(&whole), "more bytes change the decision"),
        }
    }
    if let Ok(Some((head, len))) = &whole {
        let goal = &head.target;
        assert!(*len <= input.len() && *len <= HEAD_BYTES_MAX);
        assert!(input[..*len].ends_with(b"\r\n\r\n"));
        assert_eq!(model::canonical_host(&goal.host).as_deref(), Ok(goal.host.as_str()), "the host is not canonical");
        assert_ne!(goal.port, 0);
        let text = String::from_utf8_lossy(&input[..*len]).to_ascii_lowercase();
        match (&head.aim, within) {
            (Aim::Tunnel, within) => {
                assert!(within.is_none(), "a tunnel within a tunnel");
                assert!(text.starts_with(&format!("connect {}", goal.host)), "the target is not what was written");
            }
            (Aim::Resource(resource), Some(within)) => {
                assert_eq!(goal, within);
                assert!(resource.starts_with('/') && input[head.method.len() + 1..].starts_with(resource.as_bytes()));
            }
            (Aim::Resource(_), None) => assert!(text.contains(&format!(" http://{}", goal.host)), "the target is not what was written"),
        }
        assert!(text.matches("\r\nhost:").count() <= 1, "two hosts");
        let named = |name: &str| head.fields.iter().any(|(n, _)| n == name);
        assert!(
            !["host", "connection", "upgrade", "te", "content-length", "transfer-encoding"].into_iter().any(named),
            "a field of the connection goes on"
        );
        assert!(head.fields.iter().all(|(n, v)| !n.contains(['\r', '\n', ':']) && !v.contains(['\r', '\n'])));
    }
    hash(&format!(
        "{:?}",
        whole.as_ref().map(|found| found.as_ref().map(|(head, _)| (head.framing == Frames::Chunked, head.keep, head.websocket)))
    ))
}

fn same(read: &Result<Option<(Head, usize)>, HeadError>) -> Option<&(Head, usize)> {
    read.as_ref().ok().and_then(Option::as_ref)
}

/// A body is the same however it was cut, and what is read of it in chunks is what a second reader finds.
fn body(input: &[u8]) -> u64 {
    let Some((&first, bytes)) = input.split_first() else { return 0 };
    let framing = if first & 1 == 0 { Frames::Chunked } else { Frames::Length(u64::from(first >> 1)) };
    let whole = decoded(framing, bytes, bytes.len().max(1));
    assert_eq!(decoded(framing, bytes, usize::from(first >> 1).max(1)), whole, "the cut changes the body");
    if let Some((data, true, rest)) = &whole {
        let again: Vec<u8> = match framing {
            Frames::Chunked => bytes[..bytes.len() - rest].to_vec(),
            _ => data.clone(),
        };
        assert!(framing != Frames::Chunked || again.ends_with(b"0\r\n\r\n"), "the body ends in the middle");
    }
    hash(&whole.map(|(data, done, rest)| (data.len().min(8), done, rest.min(4))))
}

fn decoded(framing: Frames, input: &[u8], step: usize) -> Option<(Vec<u8>, bool, usize)> {
    let (mut body, mut buffer, mut data) = (Body::new(framing), bytes::BytesMut::new(), Vec::new());
    for piece in input.chunks(step) {
        buffer.extend_from_slice(piece);
        while let Some(piece) = body.next(&mut buffer).ok()? {
            data.extend_from_slice(&piece);
        }
    }
    Some((data, body.is_done(), buffer.len()))
}

/// A canonical path has no part that leads elsewhere, and is its own canonical form where nothing in it is encoded.
fn path(input: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(input);
    match canonical_path(&text) {
        Ok(path) => {
            assert!(path.starts_with('/') && !path.contains("//") && !path.contains(['\\', ';', '\0']));
            assert!(path.split('/').all(|part| part != "." && part != ".."));
            if !path.contains('%') {
                assert_eq!(canonical_path(&path).as_deref(), Ok(path.as_str()), "canonical twice");
            }
            hash(&(path.len().min(8), path.ends_with('/'), text.contains('%')))
        }
        Err(why) => hash(&why),
    }
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

/// Usage is the same however the reply was cut, and where there is a count it is never less than a strict reader of the
/// same JSON finds.
fn meter(input: &[u8]) -> u64 {
    let Some((&first, reply)) = input.split_first() else { return 0 };
    let wire = [Wire::Messages, Wire::Chat, Wire::Responses, Wire::Generate][usize::from(first & 3)];
    let framing = if first & 4 == 0 { Framing::Json } else { Framing::Events };
    let whole = metered(wire, framing, reply, reply.len().max(1));
    assert_eq!(metered(wire, framing, reply, usize::from(first >> 3).max(1)), whole, "the cut changes the count");
    let (count, ended, error) = whole;
    // A reply without a count settles at its reservation. Names with escapes are not looked for: no provider writes them,
    // and one that wanted to could as well name a smaller number.
    let plain = framing == Framing::Json && !reply.contains(&b'\\');
    if let (true, Some(count), Some(strict)) = (plain, count, strict(wire, reply)) {
        let usage = count.usage;
        let found = usage.input_tokens.saturating_add(usage.output_tokens).saturating_add(usage.cache_read_tokens);
        assert!(found >= strict, "{found} tokens were counted, {strict} were used");
    }
    hash(&(count.map(|c| [c.usage.input_tokens > 0, c.usage.output_tokens > 0, c.usage.cache_read_tokens > 0]), ended, error))
}

fn metered(wire: Wire, framing: Framing, reply: &[u8], step: usize) -> (Option<gateway::meter::Count>, bool, Option<model::Code>) {
    let mut meter = Meter::new(wire, framing);
    reply.chunks(step).for_each(|piece| meter.feed(piece));
    (meter.count(), meter.has_ended(), meter.error())
}

/// The tokens that a parser of whole JSON texts finds in one reply object.
fn strict(wire: Wire, reply: &[u8]) -> Option<u64> {
    let reply: serde_json::Value = serde_json::from_slice(reply).ok()?;
    let (usage, sent, received) = match wire {
        Wire::Messages | Wire::Responses => ("usage", "input_tokens", "output_tokens"),
        Wire::Chat => ("usage", "prompt_tokens", "completion_tokens"),
        Wire::Generate => ("usageMetadata", "promptTokenCount", "candidatesTokenCount"),
    };
    let usage = reply.as_object()?.get(usage)?.as_object()?;
    let number = |key| usage.get(key).and_then(serde_json::Value::as_u64).unwrap_or(0);
    Some(number(sent).saturating_add(number(received)))
}

/// Each line of the input becomes an entry of a tape with a right hash, so that what is behind the hash is tried too.
fn tape_file(input: &[u8]) -> u64 {
    let mut chained = Vec::new();
    let mut before = String::new();
    for entry in input.split(|b| *b == b'\n') {
        before = hex(&Sha256::new().chain_update(&before).chain_update(entry).finalize());
        chained.extend_from_slice(format!("{{\"hash\":\"{before}\",\"entry\":").as_bytes());
        chained.extend_from_slice(entry);
        chained.extend_from_slice(b"}\n");
    }
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&chained).and_then(|()| file.rewind()).expect("written");
    match tape::Reader::open(file) {
        Ok(reader) => hash(&reader.left().min(4)),
        Err(tape::TapeError::Invalid { line, why }) => hash(&(line.min(8), why)),
        Err(error) => panic!("{error}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
