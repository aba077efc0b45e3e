//! Record, then replay without a network.

use std::io::{Read as _, Seek as _};
use std::sync::Arc;

use lazaret_gateway::tape::{Reader, Writer};
use lazaret_gateway::{Config, Identity, TapeMode};
use testkit::model_server::{Fault, dead_url};

use crate::support::*;

#[tokio::test]
async fn a_run_is_answered_again_byte_for_byte() {
    let house = House::new().await;
    let mut file = tempfile::tempfile().unwrap();
    let writer = Arc::new(Writer::create(file.try_clone().unwrap(), "0.1.0").unwrap());
    let recording = |provider: &str| Identity { tape: Some(TapeMode::Record(writer.clone())), ..identity(provider) };
    let mut expected = Vec::new();
    for (provider, path) in WIRES {
        expected.push(house.call(recording(provider), path, &prompt(path, "one")).await);
        house.server.fail_next(1, Fault::ReflectKey(429));
        expected.push(house.call(recording(provider), path, &prompt(path, "two")).await);
        house.server.fail_next(1, Fault::Cut(1));
        expected.push(house.call(recording(provider), path, &prompt(path, "three")).await);
    }
    house.gateway.finish(&turn(1)).await;
    writer.finish().unwrap();
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    assert!(!text.contains("CANARY"), "no credential is on a tape");
    assert_eq!(text.lines().count(), 14);

    file.rewind().unwrap();
    let reader = Arc::new(Reader::open(file).unwrap());
    let dead = dead_url().await;
    let replay = House::at(Config::default(), None, house.server, &dead);
    let replaying = |provider: &str| Identity { tape: Some(TapeMode::Replay(reader.clone())), ..identity(provider) };
    let mut expected = expected.into_iter();
    for (provider, path) in WIRES {
        for text in ["one", "two", "three"] {
            let (was, is) = (expected.next().unwrap(), replay.call(replaying(provider), path, &prompt(path, text)).await);
            assert_eq!((was.status, was.text), (is.status, is.text), "{path} {text}");
        }
    }
    assert_eq!(reader.left(), 0);
    let more = replay.call(replaying("anthropic"), "/v1/messages", &prompt("/v1/messages", "four")).await;
    assert_eq!((more.status, more.code().as_str()), (400, "REPLAY_DIFFERS"));
    assert!(more.text.contains("the tape is at its end"));
    let rows = replay.rows(&turn(1)).await;
    assert!(rows.iter().all(|row| row.cost == model::Money::ZERO));
}

#[tokio::test]
async fn a_request_that_differs_is_shown() {
    let house = House::new().await;
    let file = tempfile::tempfile().unwrap();
    let writer = Arc::new(Writer::create(file.try_clone().unwrap(), "0.1.0").unwrap());
    let id = Identity { tape: Some(TapeMode::Record(writer.clone())), ..identity("anthropic") };
    house.call(id, "/v1/messages", &prompt("/v1/messages", "say one")).await;
    house.gateway.finish(&turn(1)).await;
    writer.finish().unwrap();
    let mut file = file;
    file.rewind().unwrap();
    let id = Identity { tape: Some(TapeMode::Replay(Arc::new(Reader::open(file).unwrap()))), ..identity("anthropic") };
    let before = house.server.requests().len();
    let answer = house.call(id, "/v1/messages", &prompt("/v1/messages", "say two")).await;
    assert_eq!(answer.code(), "REPLAY_DIFFERS");
    assert!(
        answer.text.contains("/messages/0/content") && answer.text.contains("say one") && answer.text.contains("say two"),
        "{answer:?}"
    );
    assert_eq!(house.server.requests().len(), before);
}
