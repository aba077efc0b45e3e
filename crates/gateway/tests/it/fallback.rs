//! Who is asked when a provider does not answer.

use std::time::Duration;

use lazaret_gateway::{Config, Fallback, Identity, Kind, Limits, ProviderConfig, TapeMode, tape};
use model::{Code, Money};
use testkit::model_server::{Fault, ModelServer, Script};

use crate::support::*;

/// A house with a second provider of each family, at a server of its own.
async fn two(limits: Limits) -> (House, ModelServer) {
    let second = ModelServer::start(Script { key: Some(CANARY.to_owned()), ..Script::default() }).await;
    let at = |kind| ProviderConfig { kind: Some(kind), base_url: Some(second.url()), ..ProviderConfig::default() };
    let entries = [("second-anthropic", Kind::Anthropic), ("second-openai", Kind::OpenAi), ("second-gemini", Kind::Gemini)];
    let providers = entries.into_iter().map(|(name, kind)| (name.to_owned(), at(kind))).collect();
    (House::with(Config { providers, limits, ..Config::default() }, Some(CANARY)).await, second)
}

fn with_second(provider: &str, n: u128) -> Identity {
    let fallback = vec![
        // Of another family: passed over.
        Fallback { provider: if provider == "gemini" { "anthropic" } else { "gemini" }.to_owned(), model: None },
        Fallback { provider: format!("second-{provider}"), model: Some("other-model-1".to_owned()) },
    ];
    Identity { turn: turn(n), fallback, ..identity(provider) }
}

#[tokio::test]
async fn another_one_answers_in_the_place_of_one_that_does_not() {
    let (house, second) = two(Limits::default()).await;
    let faults = [Fault::Status(500), Fault::Status(503), Fault::Close, Fault::Redirect, Fault::Compressed, Fault::Cut(0)];
    let mut n = 1;
    for (provider, path) in WIRES {
        for fault in &faults {
            n += 1;
            house.server.fail_next(1, fault.clone());
            let before = second.requests().len();
            let id = with_second(provider, n);
            let answer = house.call(id.clone(), path, &prompt(path, "say it")).await;
            assert!(answer.status == 200 && !answer.text.contains("scripted failure"), "{path} {fault:?}: {answer:?}");
            let requests = second.requests();
            assert_eq!(requests.len(), before + 1, "{path} {fault:?}");
            let asked = &requests[before];
            let model = if provider == "gemini" { asked.target.clone() } else { asked.json()["model"].to_string() };
            assert!(model.contains("other-model-1"), "{path}: {model}");
            let rows = house.rows(&id.turn).await;
            let shown: Vec<_> = rows.iter().map(|row| (row.provider.clone(), row.code.is_some(), row.instead.is_some())).collect();
            assert_eq!(shown, [(provider.to_owned(), true, true), (format!("second-{provider}"), false, false)], "{path} {fault:?}");
            assert_eq!((rows[0].cost, rows[1].model.as_str()), (Money::ZERO, "other-model-1"));
        }
    }
}

#[tokio::test]
async fn a_busy_one_is_asked_again_before() {
    let (house, second) = two(Limits::default()).await;
    house.server.fail_next(1, Fault::Status(429));
    let answer = house.call(with_second("anthropic", 1), "/v1/messages", &prompt("/v1/messages", "hi")).await;
    assert_eq!((answer.status, second.requests().len()), (200, 0));
    house.server.fail_next(2, Fault::Status(429));
    let answer = house.call(with_second("anthropic", 2), "/v1/messages", &prompt("/v1/messages", "hi")).await;
    assert_eq!((answer.status, second.requests().len()), (200, 1));
}

#[tokio::test]
async fn what_is_the_callers_fault_is_the_callers_to_hear() {
    let (house, second) = two(Limits::default()).await;
    for (n, status) in [400u16, 401, 403, 404].into_iter().enumerate() {
        house.server.fail_next(1, Fault::Status(status));
        let answer = house.call(with_second("openai", 1 + n as u128), "/v1/chat/completions", &prompt("/v1/chat/completions", "hi")).await;
        assert_eq!(answer.status, status);
    }
    assert!(second.requests().is_empty());
    // What has begun is not begun again elsewhere: the caller has heard a part of it.
    house.server.fail_next(1, Fault::Cut(2));
    let long = "a prompt that is long enough to come back in more than one piece of a stream";
    let answer = house.call(with_second("anthropic", 20), "/v1/messages", &prompt("/v1/messages", long)).await;
    assert!(answer.text.ends_with("<cut>") && second.requests().is_empty(), "{answer:?}");
}

#[tokio::test]
async fn one_that_is_too_slow_is_left_alone_for_a_while() {
    let (house, second) = two(Limits { first_byte_of_many: Duration::from_secs(2), ..Limits::default() }).await;
    house.server.fail(Fault::SlowHead(Duration::from_secs(600)));
    for n in 1..=3u128 {
        let id = with_second("anthropic", n);
        let answer = house.call(id.clone(), "/v1/messages", &prompt("/v1/messages", "hi")).await;
        assert_eq!(answer.status, 200);
        let rows = house.rows(&id.turn).await;
        assert_eq!(rows[0].code, Some(if n == 1 { Code::ProviderError } else { Code::ProviderDown }), "{rows:?}");
    }
    assert_eq!((house.server.requests().len(), second.requests().len()), (1, 3));
    // Where there is nobody else, it is asked.
    house.server.heal();
    let answer = house.call(Identity { turn: turn(9), ..identity("anthropic") }, "/v1/messages", &prompt("/v1/messages", "hi")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_budget_leads_to_a_cheaper_one_and_a_last_failure_is_told() {
    let second = ModelServer::start(Script { key: Some(CANARY.to_owned()), ..Script::default() }).await;
    let free = ProviderConfig { kind: Some(Kind::Anthropic), base_url: Some(second.url()), free: true, ..ProviderConfig::default() };
    let config = Config { providers: [("local".to_owned(), free)].into(), ..Config::default() };
    let house = House::with(config, Some(CANARY)).await;
    let fallback = vec![Fallback { provider: "local".to_owned(), model: Some("small".to_owned()) }];
    let id = Identity { fallback, ..with_budget("anthropic", "0.0000001") };
    let answer = house.call(id.clone(), "/v1/messages", &prompt("/v1/messages", "hi")).await;
    assert_eq!((answer.status, house.server.requests().len()), (200, 0), "{answer:?}");
    let rows = house.rows(&id.turn).await;
    assert_eq!(rows[0].code, Some(Code::BudgetExceeded));
    assert_eq!(rows[0].instead.as_deref(), Some("local/small"));
    second.fail_next(1, Fault::Status(503));
    let id = Identity { turn: turn(7), ..id };
    let answer = house.call(id.clone(), "/v1/messages", &prompt("/v1/messages", "hi")).await;
    assert_eq!(answer.status, 503);
    assert_eq!(house.rows(&id.turn).await.last().and_then(|row| row.instead.clone()), None);
}

#[tokio::test]
async fn a_tape_says_who_answered() {
    let (house, _second) = two(Limits::default()).await;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("tape");
    let writer = std::sync::Arc::new(tape::Writer::create(std::fs::File::create(&path).expect("make"), "1").expect("a tape"));
    house.server.fail_next(1, Fault::Status(500));
    let id = Identity { tape: Some(TapeMode::Record(writer.clone())), ..with_second("anthropic", 1) };
    let said = house.call(id, "/v1/messages", &prompt("/v1/messages", "hi")).await;
    writer.finish().expect("whole");
    let text = std::fs::read_to_string(&path).expect("read");
    assert!(text.contains("\"by\":\"second-anthropic/other-model-1\""), "{text}");
    let reader = std::sync::Arc::new(tape::Reader::open(std::fs::File::open(&path).expect("open")).expect("a tape"));
    let id = Identity { turn: turn(2), tape: Some(TapeMode::Replay(reader)), ..with_second("anthropic", 2) };
    assert_eq!(house.call(id, "/v1/messages", &prompt("/v1/messages", "hi")).await.text, said.text);
}
