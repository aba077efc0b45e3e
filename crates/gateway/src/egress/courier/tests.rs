use std::sync::Mutex;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::egress::{Limits, Resolve};

/// Answers every question with the next of its answers, the last one again and again.
struct Told(Mutex<Vec<Vec<IpAddr>>>);

impl Resolve for Told {
    fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let mut answers = self.0.lock().unwrap();
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        Box::pin(async move { Ok(answer) })
    }
}

fn courier(answers: &[&[&str]]) -> Courier {
    let answers = answers.iter().map(|a| a.iter().map(|t| t.parse().unwrap()).collect()).collect();
    Courier::new(Egress::new(Arc::new(Told(Mutex::new(answers))), Limits::default()), None)
}

/// Takes one connection after the other, and answers each with `answer`. Gives the port and what was asked.
async fn server(answer: &'static str) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut text = Vec::new();
            let mut buffer = [0; 4096];
            while !text.windows(3).any(|w| w == b"end") {
                match stream.read(&mut buffer).await {
                    Ok(n) if n > 0 => text.extend_from_slice(&buffer[..n]),
                    _ => break,
                }
            }
            log.lock().unwrap().push(String::from_utf8(text).unwrap());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (port, seen)
}

const LIMIT: Duration = Duration::from_secs(240);

#[test]
fn an_address_has_one_form() {
    let good = |text: &str, host: &str, port: u16, path: &str| {
        let address = Address::parse(text).unwrap();
        assert_eq!((address.target.host.as_str(), address.target.port, address.path.as_str()), (host, port, path), "{text}");
    };
    good("https://Example.COM", "example.com", 443, "/");
    good("http://example.com/a?b=c", "example.com", 80, "/a?b=c");
    good("https://example.com.:8443/x", "example.com", 8443, "/x");
    for bad in [
        "", "example.com", "ftp://example.com", "file:///etc/passwd", "https://", "https://user@example.com", "https://u:p@example.com/",
        "https://example.com:0", "https://example.com:", "https://example.com:99999", "https://exa mple.com", "http://2130706433/",
        "http://0x7f.1/", "http://127.1/", "http://[::1]/", "http://example.com/#x", "http://example.com\\@evil.example/",
        "http://ex\u{e4}mple.com", "http://example.com/\r\nX: y",
    ] {
        assert!(Address::parse(bad).is_err(), "{bad}");
    }
    assert!(Address::parse(&format!("https://example.com/{}", "x".repeat(ADDRESS_BYTES_MAX))).is_err());
}

#[test]
fn a_private_address_is_seen_at_once() {
    let refused = |text: &str, ok: &[IpAddr]| Address::parse(text).unwrap().refused(ok).is_some();
    for text in
        ["http://127.0.0.1/", "http://10.1.2.3/", "http://169.254.169.254/latest/meta-data", "https://192.168.0.1:8443/", "http://0.0.0.0/"]
    {
        assert!(refused(text, &[]), "{text}");
    }
    assert!(!refused("http://1.1.1.1/", &[]) && !refused("http://127.0.0.1/", &["127.0.0.1".parse().unwrap()]));
}

#[tokio::test]
async fn it_posts_and_reads_the_answer() {
    let (port, seen) = server("HTTP/1.1 202 Accepted\r\ncontent-length: 5\r\n\r\nthank").await;
    let courier = courier(&[&["127.0.0.1"]]);
    let to = Address::parse(&format!("http://hooks.example:{port}/in?x=1")).unwrap();
    let mut fields = HeaderMap::new();
    fields.insert("x-mark", "one".parse().unwrap());
    let reach = Reach::Open(vec!["127.0.0.1".parse().unwrap()]);
    let answer = courier.post(&to, &reach, fields, Bytes::from_static(b"the end"), LIMIT).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (202, &b"thank"[..]));
    let seen = seen.lock().unwrap();
    assert!(seen[0].starts_with("POST /in?x=1 HTTP/1.1\r\n") && seen[0].contains("x-mark: one"), "{seen:?}");
    assert!(seen[0].contains(&format!("host: hooks.example:{port}\r\n")) && seen[0].ends_with("\r\n\r\nthe end"), "{seen:?}");
}

#[tokio::test]
async fn names_that_lead_inside_are_not_dialled() {
    let (port, seen) = server("HTTP/1.1 200 OK\r\n\r\n").await;
    let to = Address::parse(&format!("http://hooks.example:{port}/")).unwrap();
    let none = Reach::Open(Vec::new());
    for answers in [&["127.0.0.1"][..], &["1.1.1.1", "127.0.0.1"], &["169.254.169.254"], &["::1"], &["::ffff:127.0.0.1"], &["10.0.0.8"]] {
        let refused = courier(&[answers]).post(&to, &none, HeaderMap::new(), Bytes::new(), LIMIT).await;
        assert!(matches!(refused, Err(CourierError::Refused(Refusal::Address { .. }))), "{answers:?}: {refused:?}");
    }
    // One private address that is allowed does not open the others.
    let one = Reach::Open(vec!["10.0.0.8".parse().unwrap()]);
    let refused = courier(&[&["127.0.0.1"]]).post(&to, &one, HeaderMap::new(), Bytes::new(), LIMIT).await;
    assert!(matches!(refused, Err(CourierError::Refused(Refusal::Address { .. }))), "{refused:?}");
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_name_is_asked_for_once() {
    let (port, seen) = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    // Whoever answers for the name says something else the second time: nobody asks.
    let courier = courier(&[&["127.0.0.1"], &["10.0.0.1"]]);
    let to = Address::parse(&format!("http://hooks.example:{port}/")).unwrap();
    let reach = Reach::Open(vec!["127.0.0.1".parse().unwrap()]);
    assert!(courier.post(&to, &reach, HeaderMap::new(), Bytes::from_static(b"end"), LIMIT).await.is_ok());
    let again = courier.post(&to, &reach, HeaderMap::new(), Bytes::from_static(b"end"), LIMIT).await;
    assert!(matches!(again, Err(CourierError::Refused(Refusal::Address { .. }))), "{again:?}");
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let (port, seen) = server("HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await;
    let to = Address::parse(&format!("http://127.0.0.1:{port}/")).unwrap();
    let answer = courier(&[&["127.0.0.1"]]).post(&to, &Reach::Anywhere, HeaderMap::new(), Bytes::from_static(b"end"), LIMIT).await.unwrap();
    assert_eq!((answer.status.as_u16(), seen.lock().unwrap().len()), (307, 1));
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let flood = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        while stream.write_all(b"400\r\n").await.is_ok()
            && stream.write_all(&[b'x'; 1024]).await.is_ok()
            && stream.write_all(b"\r\n").await.is_ok()
        {}
    });
    let to = Address::parse(&format!("http://127.0.0.1:{port}/")).unwrap();
    let answer = courier(&[&["127.0.0.1"]]).post(&to, &Reach::Anywhere, HeaderMap::new(), Bytes::new(), LIMIT).await.unwrap();
    assert_eq!(answer.body.len(), ANSWER_BYTES_MAX);
    flood.await.unwrap();
}

#[tokio::test]
async fn a_silent_host_costs_no_more_than_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = Address::parse(&format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port())).unwrap();
    let slow = courier(&[&["127.0.0.1"]]).post(&to, &Reach::Anywhere, HeaderMap::new(), Bytes::new(), Duration::from_millis(50)).await;
    assert!(matches!(slow, Err(CourierError::Slow(_))), "{slow:?}");
}
