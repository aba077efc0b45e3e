//! What callers do wrong.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use lazaret_gateway::{Config, Limits};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::*;

fn small() -> Config {
    let limits = Limits { request_bytes: 10_000, head_bytes: 8 << 10, ..Limits::default() };
    Config { limits, ..Config::default() }
}

/// The same without patience, for callers who would never come to an end.
fn hasty() -> Config {
    let short = Duration::from_millis(400);
    let config = small();
    Config { limits: Limits { head_time: short, body_idle: short, write_idle: short, ..config.limits }, ..config }
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused() {
    let house = House::with(small(), Some(CANARY)).await;
    let answer = house.call(identity("anthropic"), "/v1/messages", &json!({"model": "m", "pad": "x".repeat(20_000)})).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "USAGE"));
    let encoded = Request::post("/v1/messages").header("host", "x").header("content-encoding", "gzip").body(Full::from("x")).unwrap();
    assert_eq!(house.whole(identity("anthropic"), encoded).await.status, 415);
    assert!(house.server.requests().is_empty());
}

/// Writes raw bytes and reads until the gateway closes.
async fn raw(house: &House, first: &'static [u8], bytes: &[u8]) -> String {
    let (mut near, far) = tokio::io::duplex(1 << 20);
    near.write_all(bytes).await.unwrap();
    let serve = house.gateway.serve(far, Bytes::from_static(first), Arc::new(identity("anthropic")), house.cancel.clone());
    let mut text = Vec::new();
    let (_, read) = tokio::join!(serve, near.read_to_end(&mut text));
    read.unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn slow_callers_are_closed() {
    let house = House::with(hasty(), Some(CANARY)).await;
    assert_eq!(raw(&house, b"", b"POST /v1/messages HTTP/1.1\r\nhost:").await, "", "a head that never ends");
    let text = raw(&house, b"", b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{").await;
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
    assert!(house.server.requests().is_empty());
}

#[tokio::test]
async fn a_caller_who_takes_nothing_is_closed() {
    let house = House::with(hasty(), Some(CANARY)).await;
    house.server.fail(testkit::model_server::Fault::Endless);
    let (mut near, far) = tokio::io::duplex(512);
    let body = prompt("/v1/messages", "x").to_string();
    let head = format!("POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let serve = house.gateway.serve(far, Bytes::from(head), Arc::new(identity("anthropic")), house.cancel.clone());
    serve.await;
    house.server.until(|server| server.left() == 1).await;
    near.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_was_read_already_counts() {
    let house = House::with(small(), Some(CANARY)).await;
    let text = raw(&house, b"HEAD / HTT", b"P/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
}

#[tokio::test]
async fn smuggled_requests_are_refused() {
    let house = House::with(small(), Some(CANARY)).await;
    for bytes in [
        &b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}x"[..],
        b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\nGET /v1/files HTTP/1.1\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ntransfer-encoding: xchunked\r\n\r\n{}",
        b"POST /v1/messages\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let text = raw(&house, b"", bytes).await;
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    }
    assert!(house.server.requests().is_empty());
}

#[tokio::test]
async fn a_turn_cannot_take_all_calls() {
    let mut config = small();
    config.limits.in_flight_per_turn = 2;
    let house = House::with(config, Some(CANARY)).await;
    house.server.fail(testkit::model_server::Fault::Silent);
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(house.send(identity("anthropic"), post("/v1/messages", &prompt("/v1/messages", "x"))).await);
    }
    let answer = house.call(identity("anthropic"), "/v1/messages", &prompt("/v1/messages", "x")).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "BUSY"));
    house.server.heal();
    let mut other = identity("anthropic");
    other.turn = turn(2);
    assert_eq!(house.call(other, "/v1/messages", &prompt("/v1/messages", "x")).await.status, 200);
    drop(held);
}
