//! Plain requests: `GET http://host/`.

use lazaret_gateway::egress::Limits;
use tokio::io::AsyncWriteExt as _;

use super::world::{Answer, Heard, World, ok, with, world};

async fn send(world: &World, rules: &[&str], text: &str) -> Answer {
    let mut client = world.open(&world.policy(rules));
    client.write_all(text.as_bytes()).await.unwrap();
    Answer::read(&mut client).await
}

#[tokio::test]
async fn a_request_goes_out_in_one_form() {
    let world = world().await;
    let port = world.clear;
    let text = format!(
        "POST http://GOOD.test.:{port}/a?b=c HTTP/1.1\r\nHost: good.test\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\n\
         Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nTE: trailers\r\nAccept: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndata\r\n3\r\nend\r\n0\r\n\r\n"
    );
    let answer = send(&world, &["good.test:C"], &text).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "POST /a?b=c HTTP/1.1"));
    let heard = &world.heard()[0];
    assert_eq!((heard.field("host").unwrap(), heard.body.as_slice()), (format!("good.test:{port}").as_str(), &b"dataend"[..]));
    for gone in ["proxy-connection", "proxy-authorization", "connection", "x-hop", "te"] {
        assert_eq!(heard.field(gone), None, "{gone}");
    }
    assert_eq!(heard.field("accept"), Some("a"));
}

#[tokio::test]
async fn every_request_of_a_connection_is_judged_by_its_own_host() {
    let world = world().await;
    let port = world.clear;
    let mut client = world.open(&world.policy(&["good.test:C/api", "other.test:C"]));
    let ask = async |client: &mut tokio::io::DuplexStream, host: &str, path: &str| {
        client.write_all(format!("GET http://{host}:{port}{path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n").as_bytes()).await.unwrap();
        Answer::read(client).await.status
    };
    assert_eq!(ask(&mut client, "good.test", "/api").await, 200);
    assert_eq!(ask(&mut client, "other.test", "/any").await, 200);
    assert_eq!(ask(&mut client, "good.test", "/api/2").await, 200);
    assert_eq!(ask(&mut client, "good.test", "/any").await, 403);
    let hosts: Vec<String> = world.heard().iter().map(|h| h.field("host").unwrap().to_owned()).collect();
    assert_eq!(hosts, [format!("good.test:{port}"), format!("other.test:{port}"), format!("good.test:{port}")]);
    assert_eq!(send(&world, &[], &format!("GET http://good.test:{port}/ HTTP/1.0\r\n\r\n")).await.status, 403);
    let evil = format!("GET http://evilgood.test:{port}/ HTTP/1.0\r\n\r\n");
    assert_eq!(send(&world, &["good.test:C"], &evil).await.status, 403);
}

#[tokio::test]
async fn a_body_waits_for_the_word_that_it_may_come() {
    let world = world().await;
    let port = world.clear;
    let mut client = world.open(&world.policy(&["good.test:C"]));
    let head =
        format!("PUT http://good.test:{port}/ HTTP/1.1\r\nHost: good.test\r\nExpect: 100-continue\r\nContent-Length: 300000\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(Answer::read(&mut client).await.status, 100);
    client.write_all(&vec![b'x'; 300_000]).await.unwrap();
    assert_eq!(Answer::read(&mut client).await.status, 200);
    assert_eq!(world.heard()[0].body.len(), 300_000);
    // A refusal comes before the body.
    let refused = send(&world, &["good.test:C/api"], &head).await;
    assert_eq!(refused.status, 403);
}

#[tokio::test]
async fn answers_are_carried_whole_in_each_of_their_forms() {
    let answers = |heard: &Heard| match heard.line().split(' ').nth(1).unwrap() {
        "/chunks" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n".to_vec(),
        "/empty" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        "/head" => b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec(),
        "/early" => b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(),
        "/large" => ok(&"y".repeat(1 << 20)),
        _ => ok("x"),
    };
    let world = with(Limits::default(), true, answers).await;
    let port = world.clear;
    let ask = async |method: &str, path: &str, version: &str| {
        send(&world, &["good.test:C"], &format!("{method} http://good.test:{port}{path} HTTP/{version}\r\nHost: good.test\r\n\r\n")).await
    };
    assert_eq!(ask("GET", "/chunks", "1.1").await.text(), "abcdefg");
    let old = ask("GET", "/chunks", "1.0").await;
    assert_eq!((old.text().as_str(), old.fields["connection"].as_str()), ("abcdefg", "close"), "HTTP/1.0 knows no chunks");
    assert_eq!(ask("GET", "/empty", "1.1").await.status, 204);
    assert_eq!(ask("GET", "/early", "1.1").await.text(), "ok");
    assert_eq!(ask("GET", "/large", "1.1").await.body.len(), 1 << 20);
    let mut client = world.open(&world.policy(&["good.test:C"]));
    client.write_all(format!("HEAD http://good.test:{port}/head HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
    let mut all = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut client, &mut all).await.unwrap();
    assert!(all.contains("content-length: 1000\r\n") && all.ends_with("\r\n\r\n"), "{all}");
}
