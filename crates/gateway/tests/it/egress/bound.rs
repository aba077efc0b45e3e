//! Bound secrets, with a host that sends back whatever it was sent.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lazaret_gateway::Keys;
use lazaret_gateway::egress::{Bound, BoundSecrets, Limits, Policy, Refusal, placeholder};
use zeroize::Zeroizing;

use super::world::{Heard, World, ok, with};

const VALUE: &str = "ghp_CANARY/0123456789+abcdefghijKLM";

struct Values(HashMap<&'static str, &'static str>);

impl Keys for Values {
    fn key(&self, name: &str) -> Option<Zeroizing<String>> {
        self.0.get(name).map(|value| Zeroizing::new((*value).to_owned()))
    }
}

fn token() -> String {
    placeholder([3; 32])
}

fn bound(world: &World, rules: &[&str], path: Option<&str>) -> Policy {
    let bound = Bound {
        placeholder: token(),
        name: "TOKEN".to_owned(),
        host: "good.test".to_owned(),
        port: world.tls,
        path: path.map(str::to_owned),
        method: None,
        header: "authorization".to_owned(),
    };
    let secrets = BoundSecrets::new(vec![bound], Arc::new(Values(HashMap::from([("TOKEN", VALUE)])))).unwrap();
    Policy { secrets, ..world.policy(rules) }
}

fn hex(text: &str) -> String {
    text.bytes().map(|b| format!("{b:02x}")).collect()
}

fn percent(text: &str) -> String {
    text.bytes().map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn packed(kind: &str, body: &str) -> Vec<u8> {
    let body = match kind {
        "gzip" => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            out.write_all(body.as_bytes()).unwrap();
            out.finish().unwrap()
        }
        "deflate" => {
            let mut out = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            out.write_all(body.as_bytes()).unwrap();
            out.finish().unwrap()
        }
        _ => body.as_bytes().to_vec(),
    };
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {kind}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend(body);
    answer
}

/// Sends the credential back, as the path says.
fn mirror(heard: &Heard) -> Vec<u8> {
    let got = heard.field("authorization").unwrap_or("none").to_owned();
    let key = got.rsplit(' ').next().unwrap_or("").to_owned();
    let say = |text: String| ok(&format!("you sent {text}, thank you"));
    match heard.line().split(' ').nth(1).unwrap() {
        "/plain" => say(got),
        "/base64" => say(STANDARD.encode(format!("ab{key}"))),
        "/hex" => say(hex(&key)),
        "/url" => say(percent(&key)),
        "/reversed" => say(key.chars().rev().collect()),
        "/cut" => say(key.get(7..).unwrap_or("").to_owned()),
        "/gzip" => packed("gzip", &format!("you sent {got}")),
        "/deflate" => packed("deflate", &format!("you sent {got}")),
        "/br" => packed("br", &got),
        "/header" => format!("HTTP/1.1 200 OK\r\nX-Echo: {got}\r\nContent-Length: 2\r\n\r\nok").into_bytes(),
        "/error" => format!("HTTP/1.1 401 Unauthorized\r\nContent-Length: {}\r\n\r\nbad key {key}", key.len() + 8).into_bytes(),
        "/chunks" => {
            let mut out = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for piece in format!("a{key}b").as_bytes().chunks(3) {
                out.extend(format!("{:x}\r\n", piece.len()).bytes());
                out.extend(piece);
                out.extend(b"\r\n");
            }
            out.extend(b"0\r\n\r\n");
            out
        }
        _ => ok("else"),
    }
}

async fn mirrors() -> World {
    with(Limits::default(), true, mirror).await
}

#[tokio::test]
async fn the_host_gets_the_value_and_the_sandbox_never_does() {
    let world = mirrors().await;
    let policy = bound(&world, &["good.test:T"], None);
    let auth = format!("Authorization: Bearer {}\r\nAccept-Encoding: gzip, br\r\nRange: bytes=0-6\r\n", token());
    for path in ["/plain", "/base64", "/hex", "/url", "/reversed", "/cut", "/gzip", "/deflate", "/header", "/error", "/chunks"] {
        let answer = world.ask(&policy, &format!("GET {path}"), &auth).await;
        let heard = world.heard().pop().unwrap();
        assert_eq!(heard.field("authorization"), Some(format!("Bearer {VALUE}").as_str()), "{path}");
        assert_eq!((heard.field("accept-encoding"), heard.field("range")), (Some("identity"), None));
        let text = format!("{:?} {}", answer.fields, answer.text());
        let spellings =
            [VALUE.to_owned(), STANDARD.encode(format!("ab{VALUE}")), hex(VALUE), percent(VALUE), VALUE.chars().rev().collect()];
        for spelling in spellings {
            for at in 0..spelling.len() - 19 {
                assert!(!text.contains(&spelling[at + 1..at + 19]), "{path}: {text}");
            }
        }
        assert!(text.contains("****") && answer.is_whole, "{path}: {text}");
    }
    // What could hide it is not passed on at all.
    assert_eq!(world.ask(&policy, "GET /br", &auth).await.status, 502);
    assert!(matches!(world.reports().await.pop().unwrap().refusal, Some(Refusal::Encoding(_))));
    // Control: without the binding the mirror shows what was sent.
    let own = world.ask(&world.policy(&["good.test:T/"]), "GET /plain", "Authorization: Bearer shown-as-it-is-0123456789\r\n").await;
    assert!(own.text().contains("shown-as-it-is-0123456789"));
}

#[tokio::test]
async fn a_placeholder_goes_nowhere_else() {
    let world = mirrors().await;
    let policy = bound(&world, &["good.test:T", "other.test:T/", "good.test:C"], Some("/plain"));
    let (token, mine) = (token(), format!("Authorization: token {}\r\n", token()));
    let theirs = format!("Authorization: token {}\r\n", placeholder([4; 32]));
    let body = format!("name={token}");
    let long = format!("{}{token}", "x".repeat(70_000));
    let cases: [(&str, String, &str); 8] = [
        ("GET /else", mine.clone(), ""),
        ("GET /plain/../else", mine.clone(), ""),
        ("GET /plain", format!("X-Other: {token}\r\n"), ""),
        ("GET /plain", theirs, ""),
        ("POST /plain", format!("Content-Length: {}\r\n", body.len()), &body),
        ("POST /plain", "Transfer-Encoding: chunked\r\n".to_owned(), ""),
        ("GET /plain", format!("Authorization: Basic {}\r\nX-Y: {token}\r\n", STANDARD.encode(format!("a:{token}"))), ""),
        ("GET /plain?access_token=attacker", String::new(), ""),
    ];
    for (line, fields, body) in cases {
        let split = format!("10\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n", &token[..16], token.len() - 16, &token[16..]);
        let body = if fields.starts_with("Transfer-Encoding") { &split } else { body };
        let answer = world.ask_with(&policy, line, &fields, body.as_bytes()).await;
        assert_eq!((answer.status, answer.text().contains("EGRESS_DENIED")), (403, true), "{line} {fields}: {answer:?}");
        assert!(matches!(world.reports().await.pop().unwrap().refusal, Some(Refusal::Secret { .. })), "{line} {fields}");
    }
    let length = format!("Content-Length: {}\r\n", long.len());
    assert!(matches!(world.ask_with(&policy, "POST /plain", &length, long.as_bytes()).await.status, 403 | 0));
    assert_eq!(world.ask(&policy, &format!("GET /plain?x={token}"), "").await.status, 403);
    assert!(world.heard().iter().all(|h| !h.head.contains(VALUE)), "no host got the value");
    // Control: the same request in its place.
    assert_eq!(world.ask(&policy, "GET /plain", &mine).await.status, 200);
    assert!(world.heard().pop().unwrap().head.contains(VALUE));
}

#[tokio::test]
async fn another_host_and_a_way_in_the_clear_get_nothing() {
    use tokio::io::AsyncWriteExt as _;
    let world = mirrors().await;
    let policy = bound(&world, &["other.test:T/", "good.test:C"], None);
    let mut stream = world.sealed(&policy, "other.test", "other.test", &[]).await.unwrap();
    let request = format!("GET /plain HTTP/1.1\r\nHost: other.test\r\nAuthorization: Bearer {}\r\n\r\n", token());
    stream.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(super::world::Answer::read(&mut stream).await.status, 403);
    let mut client = world.open(&policy);
    let request =
        format!("GET http://good.test:{}/plain HTTP/1.1\r\nHost: good.test\r\nAuthorization: Bearer {}\r\n\r\n", world.clear, token());
    client.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(super::world::Answer::read(&mut client).await.status, 403);
    assert!(world.heard().is_empty());
}

#[tokio::test]
async fn credentials_of_the_callers_own_are_left_out_where_one_is_bound() {
    let world = mirrors().await;
    let own =
        "Authorization: Bearer attackers-own-key\r\nX-Api-Key: attackers-own-key\r\nCookie: session=attackers-own-key\r\nAccept: a\r\n";
    world.ask(&bound(&world, &["good.test:T"], None), "GET /plain", own).await;
    let heard = world.heard().pop().unwrap();
    assert!(!heard.head.contains("attackers") && heard.field("accept") == Some("a"), "{}", heard.head);
    world.ask(&world.policy(&["good.test:T/"]), "GET /plain", own).await;
    assert!(world.heard().pop().unwrap().head.contains("attackers"), "control");
}

#[tokio::test]
async fn names_and_passwords_are_swapped_as_git_and_pip_send_them() {
    let world = mirrors().await;
    let policy = bound(&world, &["good.test:T"], None);
    let coded = STANDARD.encode(format!("x-access-token:{}", token()));
    world.ask(&policy, "GET /else", &format!("Authorization: Basic {coded}\r\n")).await;
    let heard = world.heard().pop().unwrap();
    let coded = heard.field("authorization").unwrap().strip_prefix("Basic ").unwrap().to_owned();
    assert_eq!(STANDARD.decode(coded).unwrap(), format!("x-access-token:{VALUE}").into_bytes());
}
