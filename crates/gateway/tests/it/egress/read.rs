//! Tunnels that are looked into: each refusal beside the same request with the one thing changed that lets it pass.

use std::sync::Arc;
use std::time::Duration;

use lazaret_gateway::egress::{Budget, Limits, Policy, Refusal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

use super::world::{Answer, Heard, World, ok, with, world};

async fn status(world: &World, policy: &Policy, line: &str) -> u16 {
    world.ask(policy, line, "").await.status
}

#[tokio::test]
async fn a_rule_holds_for_its_path_and_method_alone() {
    let world = world().await;
    let policy = world.policy(&["good.test:T/api,GET", "good.test:T/upload/,POST"]);
    for line in ["GET /api", "GET /api/x?q=/../y", "GET /api/@scope%2fname", "GET /%61pi/x", "POST /upload/a"] {
        let answer = world.ask(&policy, line, "").await;
        assert_eq!((answer.status, answer.text()), (200, format!("{line} HTTP/1.1")), "{line}");
    }
    let refused = [
        "GET /", "GET /apix", "GET /API/x", "POST /api/x", "HEAD /api/x", "GET /upload/a", "POST /upload", "GET /api/../other",
        "GET /api/./x", "GET /api/%2e%2e/other", "GET /api/..%2fother", "GET /api//other", "GET /api/x;y", "GET /api/%5c../x",
        "GET /api/%252e%252e/x", "GET /api/%00", "GET //api/x", "GET /api%2fx",
    ];
    let before = world.heard().len();
    for line in refused {
        let answer = world.ask(&policy, line, "").await;
        assert_eq!((answer.status, answer.text().contains("EGRESS_DENIED")), (403, true), "{line}: {answer:?}");
    }
    assert_eq!(world.heard().len(), before, "the host heard of none of them");
    let open = world.policy(&["good.test:T", "good.test:T/x,WS"]);
    for line in refused {
        assert_eq!(status(&world, &open, line).await, 200, "control: {line}");
    }
}

#[tokio::test]
async fn the_refusal_names_the_line_that_would_allow_it() {
    let world = world().await;
    let policy = world.policy(&["good.test:T/api"]);
    let text = world.ask(&policy, "DELETE /v1/files?secret=1", "").await.text();
    assert!(text.contains(&format!("--allow good.test:{}/v1/files,DELETE", world.tls)) && !text.contains("secret"), "{text}");
    let report = world.reports().await.pop().unwrap();
    let asked = report.request.clone().unwrap();
    assert_eq!((asked.method.as_str(), asked.path.as_str(), asked.status), ("DELETE", "/v1/files", None));
    assert!(matches!(report.refusal, Some(Refusal::NotAllowed { .. })) && report.notice().is_some());
}

#[tokio::test]
async fn each_request_of_a_connection_is_judged() {
    let world = world().await;
    let policy = world.policy(&["good.test:T/api"]);
    let mut stream = world.sealed(&policy, "good.test", "good.test", &["h2", "http/1.1"]).await.unwrap();
    for (path, expect) in [("/api/1", 200), ("/api/2", 200), ("/files", 403)] {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: good.test\r\n\r\n").as_bytes()).await.unwrap();
        assert_eq!(Answer::read(&mut stream).await.status, expect, "{path}");
    }
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "a refusal is the last word");
    assert_eq!(world.heard().iter().map(|h| h.line().to_owned()).collect::<Vec<_>>(), ["GET /api/1 HTTP/1.1", "GET /api/2 HTTP/1.1"]);
    assert_eq!(world.reports().await.iter().filter_map(|r| r.request.as_ref()?.status).collect::<Vec<_>>(), [200, 200]);
}

#[tokio::test]
async fn no_second_request_is_smuggled_in() {
    let world = world().await;
    let policy = world.policy(&["good.test:T/api"]);
    let hidden = "GET /files HTTP/1.1\r\nHost: good.test\r\n\r\n";
    let length = hidden.len();
    for (fields, body) in [
        (format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"), format!("0\r\n\r\n{hidden}")),
        (format!("Content-Length: 0\r\nContent-Length: {length}\r\n"), hidden.to_owned()),
        (format!("Content-Length: 0, {length}\r\n"), hidden.to_owned()),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned(), format!("0\r\n\r\n{hidden}")),
        ("Transfer-Encoding: xchunked\r\n".to_owned(), format!("0\r\n\r\n{hidden}")),
        (" Transfer-Encoding: chunked\r\n".to_owned(), hidden.to_owned()),
        (format!("X: y\r\n folded: {length}\r\n"), hidden.to_owned()),
        ("Host: evil.test\r\n".to_owned(), String::new()),
    ] {
        let answer = world.ask_with(&policy, "POST /api/x", &fields, body.as_bytes()).await;
        assert_eq!(answer.status, 400, "{fields:?}");
    }
    assert!(world.heard().is_empty());
    // Control: the hidden one is a body when it is said to be one.
    let answer = world.ask_with(&policy, "POST /api/x", &format!("Content-Length: {length}\r\n"), hidden.as_bytes()).await;
    assert_eq!((answer.status, world.heard().len(), world.heard()[0].body == hidden.as_bytes()), (200, 1, true));
}

#[tokio::test]
async fn a_tunnel_is_for_the_host_that_it_names() {
    let world = world().await;
    let policy = world.policy(&["good.test:T/", "other.test:T/"]);
    assert!(world.sealed(&policy, "good.test", "other.test", &[]).await.is_err(), "another name in the hello");
    assert!(world.sealed(&policy, "good.test", "good.test", &["h2"]).await.is_err(), "HTTP/2 could go on to another host");
    assert!(world.tunnel(&policy, "evil.test", world.tls).await.unwrap_err().starts_with("HTTP/1.1 403 "));
    let send = async |bytes: String| {
        let mut stream = world.sealed(&policy, "good.test", "good.test", &["http/1.1"]).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        Answer::read(&mut stream).await.status
    };
    assert_eq!(send("GET / HTTP/1.1\r\nHost: other.test\r\n\r\n".into()).await, 400);
    assert_eq!(send("GET https://other.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n".into()).await, 400);
    assert_eq!(send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()).await, 400);
    let nested = format!("CONNECT other.test:{p} HTTP/1.1\r\nHost: other.test:{p}\r\n\r\n", p = world.tls);
    assert_eq!(send(nested).await, 405);
    assert!(world.heard().is_empty());
    assert_eq!(send("GET / HTTP/1.1\r\nHost: good.test\r\n\r\n".into()).await, 200);
}

#[tokio::test]
async fn a_host_that_nobody_vouches_for_is_not_asked() {
    for (is_trusted, expect) in [(false, 502), (true, 200)] {
        let world = with(Limits::default(), is_trusted, |heard| ok(heard.line())).await;
        let answer = world.ask(&world.policy(&["good.test:T/"]), "GET /", "").await;
        assert_eq!((answer.status, world.heard().len()), (expect, usize::from(is_trusted)), "{answer:?}");
    }
}

#[tokio::test]
async fn redirects_are_passed_on_and_hints_to_other_ways_are_not() {
    let answers = |_: &Heard| {
        b"HTTP/1.1 302 Found\r\nLocation: https://evil.test/\r\nAlt-Svc: h3=\":443\"\r\nConnection: X-Hop\r\nX-Hop: 1\r\nContent-Length: 0\r\n\r\n".to_vec()
    };
    let world = with(Limits::default(), true, answers).await;
    let answer = world.ask(&world.policy(&["good.test:T/"]), "GET /", "").await;
    assert_eq!((answer.status, answer.fields["location"].as_str(), world.heard().len()), (302, "https://evil.test/", 1));
    assert!(!answer.fields.contains_key("alt-svc") && !answer.fields.contains_key("x-hop"), "{answer:?}");
}

#[tokio::test]
async fn a_websocket_is_carried_only_where_a_rule_says_so() {
    let answers = |_: &Heard| {
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n".to_vec()
    };
    let world = with(Limits::default(), true, answers).await;
    let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let begin = async |policy: &Policy| {
        let mut stream = world.sealed(policy, "good.test", "good.test", &[]).await.unwrap();
        stream.write_all(format!("GET /socket HTTP/1.1\r\nHost: good.test\r\n{fields}").as_bytes()).await.unwrap();
        (Answer::read(&mut stream).await.status, stream)
    };
    for rules in [&["good.test:T/socket"][..], &["good.test:T/socket,GET"], &["good.test:T/other,WS"]] {
        assert_eq!(begin(&world.policy(rules)).await.0, 403, "{rules:?}");
    }
    assert!(world.heard().is_empty());
    let (status, mut stream) = begin(&world.policy(&["good.test:T/socket,WS"])).await;
    assert_eq!((status, world.heard()[0].field("upgrade")), (101, Some("websocket")));
    stream.write_all(b"frames").await.unwrap();
    let mut back = [0; 6];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"frames");
    // Frames count like everything else.
    let small = Policy { budget: Some(Arc::new(Budget::new(10, 10))), ..world.policy(&["good.test:T/socket,WS"]) };
    let (_, mut stream) = begin(&small).await;
    stream.write_all(&[b'x'; 100]).await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(matches!(world.reports().await.pop().unwrap().refusal, Some(Refusal::Spent(_))));
}

#[tokio::test]
async fn a_budget_holds_over_all_connections() {
    let world = world().await;
    let budget = |bytes, requests| Policy { budget: Some(Arc::new(Budget::new(bytes, requests))), ..world.policy(&["good.test:T/"]) };
    let few = budget(1 << 20, 2);
    assert_eq!(
        [status(&world, &few, "GET /").await, status(&world, &few, "GET /").await, status(&world, &few, "GET /").await],
        [200, 200, 429]
    );
    let notice = world.reports().await.pop().unwrap().notice();
    assert!(format!("{notice:?}").contains("requests_max"), "{notice:?}");
    let little = budget(20, 100);
    assert_eq!(status(&world, &little, "GET /").await, 200);
    let cut = world.ask(&little, "GET /", "").await;
    assert!(!cut.is_whole || cut.status == 0, "{cut:?}");
    assert_eq!(status(&world, &little, "GET /").await, 429);
    let unread = Policy { budget: little.budget.clone(), ..world.policy(&["good.test:T"]) };
    assert!(world.tunnel(&unread, "good.test", world.tls).await.unwrap_err().starts_with("HTTP/1.1 429 "));
}

#[tokio::test]
async fn what_the_owner_takes_back_ends_at_once() {
    let world = world().await;
    let (set, ceiling) = watch::channel(Arc::new(world.policy(&["good.test:T", "good.test:C"]).rules));
    let policy = Policy { ceiling: Some(ceiling), ..world.policy(&["good.test:T/api", "good.test:C"]) };
    let mut read = world.sealed(&policy, "good.test", "good.test", &[]).await.unwrap();
    let mut unread = world.tunnel(&policy, "good.test", world.clear).await.unwrap();
    let request = b"GET /api HTTP/1.1\r\nHost: good.test\r\n\r\n";
    for stream in [&mut read as &mut (dyn tokio::io::AsyncWrite + Unpin + Send), &mut unread] {
        stream.write_all(request).await.unwrap();
    }
    assert_eq!([Answer::read(&mut read).await.status, Answer::read(&mut unread).await.status], [200, 200]);
    set.send_replace(Arc::new(world.policy(&["good.test:T/other"]).rules));
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(240), unread.read_to_end(&mut rest)).await;
    assert!(ended.is_ok() && rest.is_empty(), "the open tunnel ends");
    read.write_all(request).await.unwrap();
    assert_eq!(Answer::read(&mut read).await.status, 403, "the next request is refused");
    assert!(world.tunnel(&policy, "good.test", world.clear).await.is_err());
    set.send_replace(Arc::new(world.policy(&["good.test:T"]).rules));
    assert_eq!(status(&world, &policy, "GET /api").await, 200, "control");
}
