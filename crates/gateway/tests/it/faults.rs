//! What providers do wrong.

use std::time::Duration;

use http_body_util::BodyExt as _;
use lazaret_gateway::{Basis, Config, Identity, Limits};
use model::Code;
use testkit::model_server::Fault;

use crate::support::*;

/// A prompt that is repeated in a stream of several pieces.
const LONG: &str = "a prompt that is long enough to come back in more than one piece of a stream, whatever the API";

/// Calls every API under a fault and answers with statuses and codes.
async fn all(house: &House, fault: Fault) -> Vec<(Answer, Option<Code>)> {
    let mut out = Vec::new();
    for (n, (provider, path)) in WIRES.into_iter().enumerate() {
        let id = Identity { turn: turn(100 + n as u128), ..identity(provider) };
        house.paper.calls.lock().unwrap().clear();
        house.server.fail_next(1, fault.clone());
        let answer = house.call(id.clone(), path, &prompt(path, LONG)).await;
        let rows = house.rows(&id.turn).await;
        assert_eq!(rows.len(), 1, "{path}");
        out.push((answer, rows[0].code));
    }
    out
}

#[tokio::test]
async fn a_status_passes_and_is_named() {
    let house = House::new().await;
    for (status, code) in [
        (401, Code::CredentialExpired),
        (403, Code::CredentialExpired),
        (429, Code::ProviderLimited),
        (529, Code::ProviderLimited),
        (500, Code::ProviderError),
        (503, Code::ProviderError),
        (400, Code::ProviderError),
    ] {
        for (answer, found) in all(&house, Fault::Status(status)).await {
            assert_eq!((answer.status, found), (status, Some(code)), "{answer:?}");
            assert!(answer.text.contains("a scripted failure"), "the provider's own words pass: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_broken_stream_stays_broken() {
    let house = House::new().await;
    for (answer, code) in all(&house, Fault::Cut(1)).await {
        assert!(answer.status == 200 && answer.text.ends_with("<cut>"), "{answer:?}");
        assert_eq!(code, Some(Code::StreamCut));
    }
    for (answer, code) in all(&house, Fault::Short(1)).await {
        assert!(answer.status == 200 && !answer.text.ends_with("<cut>"), "{answer:?}");
        assert_eq!(code, Some(Code::StreamCut), "{answer:?}");
    }
}

#[tokio::test]
async fn what_is_no_answer_does_not_pass() {
    let house = House::new().await;
    for fault in [Fault::ContentType("text/html"), Fault::ContentType("application/octet-stream"), Fault::Compressed, Fault::Redirect] {
        for (answer, code) in all(&house, fault.clone()).await {
            assert_eq!((answer.status, answer.code().as_str(), code), (502, "PROVIDER_ERROR", Some(Code::ProviderError)), "{fault:?}");
        }
    }
    for (answer, code) in all(&house, Fault::Close).await {
        assert_eq!((answer.status, answer.code().as_str(), code), (502, "STREAM_CUT", Some(Code::StreamCut)));
    }
}

#[tokio::test]
async fn time_and_size_are_limited() {
    let short = Duration::from_millis(400);
    let with = async |limits| House::with(Config { limits, ..Config::default() }, Some(CANARY)).await;
    let house = with(Limits { first_byte: short, ..Limits::default() }).await;
    for (answer, code) in all(&house, Fault::SlowHead(Duration::from_secs(600))).await {
        assert_eq!((answer.status, code), (504, Some(Code::ProviderError)));
    }
    let house = with(Limits { response_bytes: 100_000, ..Limits::default() }).await;
    for (answer, code) in all(&house, Fault::Endless).await {
        assert!(answer.text.ends_with("<cut>") && answer.text.len() <= 100_010, "{}", answer.text.len());
        assert!(matches!(code, Some(Code::ProviderError | Code::StreamCut)));
    }
    for (answer, code) in all(&house, Fault::Oversize(200_000)).await {
        assert!(answer.text.len() <= 100_010 && answer.text.ends_with("<cut>"));
        assert!(matches!(code, Some(Code::ProviderError | Code::StreamCut)));
    }
    let house = with(Limits { idle: short, ..Limits::default() }).await;
    for (answer, code) in all(&house, Fault::Silent).await {
        assert!(answer.text.ends_with("<cut>"));
        assert_eq!(code, Some(Code::StreamCut));
    }
}

#[tokio::test]
async fn a_caller_who_leaves_ends_the_call_at_the_provider() {
    let house = House::new().await;
    house.server.fail(Fault::Silent);
    for (n, (provider, path)) in WIRES.into_iter().enumerate() {
        let id = Identity { turn: turn(n as u128 + 1), ..with_budget(provider, "1") };
        let mut response = house.send(id.clone(), post(path, &prompt(path, LONG))).await;
        // The first piece is here at once although the stream never ends.
        let first = response.body_mut().frame().await.unwrap().unwrap();
        assert!(!first.data_ref().unwrap().is_empty());
        drop(response);
        house.server.until(|server| server.left() == n + 1).await;
        let rows = house.rows(&id.turn).await;
        assert_eq!((rows[0].basis, rows.len()), (Basis::Reserved, 1), "{path}");
    }
}

#[tokio::test]
async fn cancelling_the_door_ends_everything_behind_it() {
    let house = House::new().await;
    house.server.fail(Fault::Silent);
    let mut response = house.send(identity("anthropic"), post("/v1/messages", &prompt("/v1/messages", "x"))).await;
    response.body_mut().frame().await.unwrap().unwrap();
    house.cancel.cancel();
    house.server.until(|server| server.left() == 1).await;
    assert!(response.into_body().collect().await.is_err());
}

#[tokio::test]
async fn a_caller_who_leaves_before_the_head_ends_the_call_too() {
    let house = House::new().await;
    house.server.fail(Fault::SlowHead(Duration::from_secs(600)));
    let mut send = house.dial(with_budget("anthropic", "1")).await;
    let request = send.send_request(post("/v1/messages", &prompt("/v1/messages", "x")));
    tokio::select! {
        _ = request => panic!("the head cannot be here"),
        () = house.server.until(|server| server.requests().len() == 1) => (),
    }
    drop(send);
    let rows = house.rows(&turn(1)).await;
    assert_eq!((rows.len(), rows[0].code), (1, Some(Code::Cancelled)), "the call is in the books");
    assert_eq!(rows[0].basis, Basis::Reserved);
    assert_eq!(house.paper.spent("run"), rows[0].cost.0);
}
