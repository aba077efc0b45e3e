//! Requests that two programs read in two ways, and tunnels that carry something else than they say.

use serde_json::json;

use crate::internet::{Internet, connect, get, status};
use crate::support::each_caller;

/// A request that hides in another one.
const HIDDEN: &str = "GET http://evil.test/hidden HTTP/1.1\r\nHost: evil.test\r\n\r\n";

#[test]
fn a_host_that_can_be_read_in_two_ways_is_refused() {
    each_caller(|caller| {
        let internet = Internet::new(caller, &["allowed.test:80"], "");
        let sandbox = internet.sandbox(&["allowed.test:80"]);
        let long = format!("{}.allowed.test", "a".repeat(300));
        let hosts = [
            "evil.test\0.allowed.test", "evil.test\0", "evil.test%00.allowed.test", "evil.test\r\nX: .allowed.test",
            "evil.test\n.allowed.test", "evil.test#.allowed.test", "evil.test?.allowed.test", "evil.test/.allowed.test",
            "evil.test\\.allowed.test", "allowed.test@evil.test", "evil.test:80@allowed.test", "evil.test allowed.test", "evil.test\t",
            "allowed.test..", ".allowed.test", "xn--llowed-.test", "al%6cowed.test", "%65vil.test", "\u{430}llowed.test",
            "allowed\u{3002}test", "allowed.test\u{200b}", "*.test", "allowed.test,evil.test", "", "[allowed.test]", &long,
        ];
        let requests: Vec<String> = hosts.iter().flat_map(|host| [connect(&format!("{host}:80")), get(host, "/")]).collect();
        for (request, answer) in requests.iter().zip(internet.knock(&sandbox, &requests)) {
            assert!(["400", "403", "431"].contains(&status(&answer)), "{request:?}: {answer}");
        }
        // SOCKS, in two versions, and TLS to the proxy itself.
        for (bytes, answer) in
            ["\x05\x01\x00", "\x04\x01\x00\x50\x2d\x21\x20\x0b\x00"].map(|b| (b, internet.knock(&sandbox, &[b]).remove(0)))
        {
            assert_eq!(status(&answer), "400", "{bytes:?}: {answer}");
        }
        assert!(internet.heard().is_empty() && internet.asked().is_empty(), "{:?} {:?}", internet.heard(), internet.asked());
        let answers = internet.knock(&sandbox, &[connect("ALLOWED.TEST.:80"), get("allowed.test", "/")]);
        assert!(answers.iter().all(|answer| answer.contains("this is 45.33.32.10")), "the control: {answers:?}");
    });
}

#[test]
fn no_second_request_hides_in_the_first() {
    each_caller(|caller| {
        let internet = Internet::new(caller, &["allowed.test:80", "evil.test:80"], "");
        let sandbox = internet.sandbox(&["allowed.test:80"]);
        let post = |fields: &str, body: &str| format!("POST http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n{fields}\r\n{body}");
        let length = HIDDEN.len();
        let twofold = [
            post(&format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"), &format!("0\r\n\r\n{HIDDEN}")),
            post(&format!("Content-Length: 0\r\nContent-Length: {length}\r\n"), HIDDEN),
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", &format!("0\r\n\r\n{HIDDEN}")),
            post("Transfer-Encoding: xchunked\r\n", &format!("0\r\n\r\n{HIDDEN}")),
            post("Transfer-Encoding : chunked\r\n", &format!("0\r\n\r\n{HIDDEN}")),
            post("Host: evil.test\r\n", ""),
            "GET http://allowed.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n".to_owned(),
            "GET http://evil.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n".to_owned(),
            "CONNECT allowed.test:80 HTTP/1.1\r\nHost: evil.test:80\r\n\r\n".to_owned(),
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        ];
        for (request, answer) in twofold.iter().zip(internet.knock(&sandbox, &twofold)) {
            assert!(["400", "403"].contains(&status(&answer)), "{request:?}: {answer}");
        }
        assert!(internet.heard().is_empty(), "{:?}", internet.heard());
        // A second request on the connection is judged by itself.
        let pipelined = format!("GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n{HIDDEN}");
        let answer = internet.knock(&sandbox, std::slice::from_ref(&pipelined)).remove(0);
        assert!(answer.contains("this is 45.33.32.10") && !answer.contains("this is 45.33.32.11"), "{answer}");
        assert!(internet.heard().iter().all(|line| line["at"] == "45.33.32.10"), "{:?}", internet.heard());
        // As a body it is a body, and where it is granted it is an ordinary request.
        let carried = internet.knock(&sandbox, &[post(&format!("Content-Length: {length}\r\nConnection: close\r\n"), HIDDEN)]).remove(0);
        assert!(carried.contains("this is 45.33.32.10"), "{carried}");
        let open = internet.sandbox(&["allowed.test:80", "evil.test:80"]);
        assert!(internet.knock(&open, &[HIDDEN])[0].contains("this is 45.33.32.11"), "the control");
    });
}

/// The first bytes of TLS for a name, as Python's own client makes them; an empty name is none at all.
const HELLO: &str = r#"
import json, socket, ssl, sys
def hello(name):
    context = ssl.create_default_context(); context.check_hostname = False
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    try: context.wrap_bio(into, out, server_hostname=name or None).do_handshake()
    except ssl.SSLWantReadError: pass
    return out.read()
def encrypted(name):
    # An encrypted name beside an innocent one: the extension 0xfe0d, appended to those that are there.
    raw = bytearray(hello(name)); extra = b"\xfe\x0d" + (40).to_bytes(2, "big") + b"\x00" + bytes(39)
    at = 5 + 4 + 2 + 32; at += 1 + raw[at]; at += 2 + int.from_bytes(raw[at:at + 2], "big"); at += 1 + raw[at]
    for where, width in [(3, 2), (6, 3), (at, 2)]:
        value = int.from_bytes(raw[where:where + width], "big") + len(extra); raw[where:where + width] = value.to_bytes(width, "big")
    return bytes(raw + extra)
def tunnel(target, first):
    s = socket.create_connection(("127.0.0.1", 4101), 20); s.settimeout(20)
    s.sendall(("CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (target, target)).encode())
    f = s.makefile("rb"); status = f.readline().decode()
    while f.readline().strip(): pass
    s.sendall(first)
    try: got = f.read(12)
    except OSError: got = b""
    return [status.split()[1], got.decode("latin-1")]
t = "allowed.test:443"
print(json.dumps([tunnel(t, hello("evil.test")), tunnel(t, hello("")), tunnel(t, hello("allowed.test.evil.test")), tunnel(t, encrypted("allowed.test")),
    tunnel(t, b"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n"), tunnel(t, b"SSH-2.0-x\r\n"), tunnel("45.33.32.10:443", hello("allowed.test")),
    tunnel(t, hello("allowed.test"))]))
"#;

/// A tunnel for TLS carries TLS to the host that it was asked for: no other name, no hidden one, none at all, and no other protocol.
#[test]
fn a_tunnel_is_for_the_host_that_its_first_bytes_name() {
    each_caller(|caller| {
        let internet = Internet::new(caller, &["allowed.test:443"], "");
        let sandbox = internet.sandbox(&["allowed.test:443"]);
        let ran = internet.exec(&sandbox, &["python3", "-c", HELLO]);
        let said: Vec<(String, String)> = serde_json::from_slice(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
        // The last, the control, is carried: the service, which speaks no TLS, answers it.
        let (control, denied) = said.split_last().expect("answers");
        assert_eq!((control.0.as_str(), control.1.as_str()), ("200", "HTTP/1.1 200"), "{said:?}");
        for (n, (status, got)) in denied.iter().enumerate() {
            assert!(status == "403" || !got.contains("HTTP"), "{n}: {status} {got:?}");
        }
        let heard = internet.heard();
        assert_eq!(heard.len(), 1, "only the right one went out: {heard:?}");
        assert_eq!(heard[0]["port"], json!(443));
    });
}
