//! Stage 5: what a person says is what happens, and at most once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lazaret_broker::{CallFailure, Caller};
use model::{Code, Failure};
use serde_json::json;

use crate::fakes::{House, Person, caller, caller_of, error, request};

#[tokio::test]
async fn a_yes_is_used_before_the_call_and_its_outcome_kept_after() {
    let house = House::new();
    house.will(Person::Yes);
    let answer = house.call("high", json!({"n": 7})).await;
    assert_eq!((answer.error, answer.result), (None, json!({"n": 7})));
    let id = "apr_00000000000000000000000000000001";
    assert_eq!(*house.people.steps.lock().unwrap(), [format!("begin {id}"), format!("finish {id} {{\"n\":7}}")]);
    let outcomes: Vec<String> = house.book.entries.lock().unwrap().iter().map(|entry| entry.outcome.clone()).collect();
    assert_eq!(outcomes, ["allowed", "routed"]);
    assert_eq!(house.book.durable.load(Ordering::SeqCst), 1, "the first row is durable before the call");
}

#[tokio::test]
async fn without_a_yes_nothing_happens() {
    let house = House::new();
    let failing = |code, message: &str| Person::Failing(Failure::new(code, message));
    for (person, code, says) in [
        (Person::No(None), "CONFIRMATION_DENIED", "a person refused the call"),
        (Person::No(Some("not\u{202e} today")), "CONFIRMATION_DENIED", "a person refused the call: not\\u{202e} today"),
        (Person::Nothing, "CONFIRMATION_TIMEOUT", "nobody confirmed the call in time"),
        (Person::YesToAnother, "CONFIRMATION_DENIED", "what was confirmed is another call"),
        (Person::Left, "CONFIRMATION_DENIED", "nobody confirmed the call"),
        (Person::Unknown, "HANDLER_ERROR", "the call was begun before and its outcome is unknown; it is not made again"),
        (failing(Code::RateLimited, "too many questions"), "RATE_LIMITED", "too many questions"),
        (
            failing(Code::StoreUnusable, "/home/x/db is gone"),
            "HANDLER_ERROR",
            "the host could not have the call confirmed; it was not made",
        ),
    ] {
        house.will(person);
        let answer = house.call("high", json!({})).await;
        let body = answer.error.unwrap();
        assert_eq!((body.code.as_str(), body.stage, body.message.as_str()), (code, Some(5), says));
        assert_eq!(body.retriable, matches!(code, "CONFIRMATION_TIMEOUT" | "RATE_LIMITED"), "{says}");
        assert_eq!(house.last_entry().outcome, "rejected");
    }
    assert_eq!(house.calls(), 0);
    assert!(house.people.steps.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_was_made_before_is_answered_and_not_made_again() {
    let house = House::new();
    house.will(Person::Made(Ok(json!("sent"))));
    assert_eq!(house.call("high", json!({})).await.result, json!("sent"));
    house.will(Person::Made(Err(CallFailure::new(Code::PluginTimeout, "late"))));
    assert_eq!(error(&house.call("high", json!({})).await).0, "PLUGIN_TIMEOUT");
    assert_eq!(house.calls(), 0);
}

#[tokio::test]
async fn a_grant_that_is_used_up_and_an_audit_that_fails_stop_the_call() {
    let house = House::new();
    *house.people.begin_fails.lock().unwrap() = Some(Failure::new(Code::ConfirmationDenied, "the grant was used"));
    house.will(Person::Yes);
    assert_eq!(error(&house.call("high", json!({})).await), ("CONFIRMATION_DENIED", Some(5), None, None));
    *house.people.begin_fails.lock().unwrap() = None;
    *house.book.fails.lock().unwrap() = true;
    house.will(Person::Yes);
    let answer = house.call("high", json!({})).await;
    assert_eq!(error(&answer), ("HANDLER_ERROR", Some(5), None, None));
    assert!(!answer.error.unwrap().message.contains("/var"), "no path of the host");
    assert!(house.people.steps.lock().unwrap().is_empty(), "the grant is not used");
    assert_eq!(house.calls(), 0);
}

#[tokio::test]
async fn the_hash_is_of_session_tool_and_arguments() {
    let house = House::new();
    let ask = async |caller: std::sync::Arc<Caller>, tool: &'static str, arguments| {
        house.will(Person::No(None));
        house.raw(&caller, &request(tool, "c", arguments)).await;
        house.people.asked.lock().unwrap().last().unwrap().clone()
    };
    let first = ask(caller(), "high", json!({"n": 1, "do": "echo"})).await;
    assert_eq!(first.len(), 64);
    house.will(Person::No(None));
    house.raw(&caller(), br#"{"arguments":{"do":"\u0065cho", "n":1},"correlation":"other","topic":"tool.invoke.high"}"#).await;
    assert_eq!(*house.people.asked.lock().unwrap().last().unwrap(), first, "the way it is written does not matter");
    assert_ne!(ask(caller(), "high", json!({"n": 2, "do": "echo"})).await, first);
    assert_ne!(ask(caller_of(2), "high", json!({"n": 1, "do": "echo"})).await, first);
}

#[tokio::test]
async fn only_the_owner_may_consent_with_the_request() {
    let house = House::new();
    let owner = Arc::new(Caller::owner());
    let answer = house.broker.call_consented(&owner, &request("high", "c", json!({})), &|_| {}).await;
    assert!(answer.error.is_none() && house.people.asked.lock().unwrap().is_empty());
    house.will(Person::No(None));
    assert_eq!(error(&house.raw(&owner, &request("high", "c", json!({}))).await).0, "CONFIRMATION_DENIED", "the owner is asked too");
    house.will(Person::No(None));
    let answer = house.broker.call_consented(&caller(), &request("high", "c", json!({})), &|_| {}).await;
    assert_eq!(error(&answer).0, "CONFIRMATION_DENIED", "for an agent it means nothing");
    assert_eq!(house.calls(), 1);
}

/// The caller is dropped after its confirmed call has begun: the call still ends, and what came of it is kept.
#[tokio::test]
async fn a_confirmed_call_that_has_begun_is_carried_to_its_end() {
    let house = House::new();
    house.will(Person::Yes);
    let (high, who) = (request("high", "c", json!({"do": "wait"})), caller());
    tokio::select! {
        biased;
        _ = house.broker.call(&who, &high, &|_| {}) => panic!("it waits"),
        () = house.doer.began.notified() => (),
    }
    house.doer.go_on.add_permits(1);
    house.broker.drain().await;
    assert_eq!(house.doer.ended.load(Ordering::SeqCst), 1);
    assert!(house.people.steps.lock().unwrap().last().unwrap().ends_with("\"waited\""));
    assert_eq!(house.last_entry().outcome, "routed");
}

/// The same for a call without effect: it ends with its caller, and a row says so.
#[tokio::test]
async fn a_call_without_effect_ends_with_its_caller() {
    let house = House::new();
    let (low, who) = (request("low", "c", json!({"do": "hang"})), caller());
    tokio::select! {
        biased;
        _ = house.broker.call(&who, &low, &|_| {}) => panic!("it hangs"),
        () = house.doer.began.notified() => (),
    }
    house.broker.drain().await;
    let entry = house.last_entry();
    assert_eq!((entry.outcome.as_str(), &entry.detail["handler_code"]), ("error", &json!("CANCELLED")));
    assert_eq!(house.doer.ended.load(Ordering::SeqCst), 0);
}

/// Whoever leaves while a person is asked is not waited for, and nothing is made later.
#[tokio::test]
async fn an_ask_is_dropped_with_its_caller() {
    let house = House::new();
    house.will(Person::Asleep);
    let (high, who) = (request("high", "c", json!({})), caller());
    let asked = tokio::sync::Notify::new();
    let waiting = |_: &_| asked.notify_one();
    tokio::select! {
        biased;
        _ = house.broker.call(&who, &high, &waiting) => panic!("nobody answers"),
        () = asked.notified() => (),
    }
    assert_eq!((house.people.left.load(Ordering::SeqCst), house.calls()), (1, 0));
    house.will(Person::Yes);
    assert!(house.raw(&who, &high).await.error.is_none(), "its correlation is free again");
}
