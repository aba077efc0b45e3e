//! Stage 6: what handlers do wrong never becomes a result, and no credential leaves.

use serde_json::json;

use crate::fakes::{House, Person, SECRET, error};

#[tokio::test(start_paused = true)]
async fn what_a_handler_does_wrong_is_an_error() {
    let house = House::new();
    for (does, code, own) in [
        ("hang", "PLUGIN_TIMEOUT", None),
        ("panic", "HANDLER_ERROR", Some("INTERNAL")),
        ("large", "HANDLER_ERROR", None),
        ("PLUGIN_UNAVAILABLE", "PLUGIN_UNAVAILABLE", None),
        ("PLUGIN_ERROR", "PLUGIN_ERROR", None),
        ("UNKNOWN_TOOL", "HANDLER_ERROR", Some("UNKNOWN_TOOL")),
        ("VALIDATION_FAILED", "HANDLER_ERROR", Some("VALIDATION_FAILED")),
        ("UNAUTHORIZED", "HANDLER_ERROR", Some("UNAUTHORIZED")),
        ("RATE_LIMITED", "HANDLER_ERROR", Some("RATE_LIMITED")),
        ("CONFIRMATION_DENIED", "HANDLER_ERROR", Some("CONFIRMATION_DENIED")),
        ("CONFIRMATION_TIMEOUT", "HANDLER_ERROR", Some("CONFIRMATION_TIMEOUT")),
        ("STORE_UNUSABLE", "HANDLER_ERROR", Some("STORE_UNUSABLE")),
    ] {
        let answer = house.call("low", json!({"do": does})).await;
        assert_eq!(error(&answer), (code, Some(6), None, None), "{does}");
        assert_eq!(answer.result, json!(null));
        let message = &answer.error.as_ref().unwrap().message;
        assert!(!message.contains("/home"), "{message}");
        assert_eq!(own.is_some() && does != "panic", message == "its own words" && !does.starts_with("PLUGIN"), "{does}: {message}");
        let entry = house.last_entry();
        assert_eq!((entry.outcome.as_str(), entry.code.map(|c| c.as_str())), ("error", Some(code)));
        assert_eq!(entry.detail["handler_code"].as_str(), own, "{does}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_before_the_clients() {
    let house = House::new();
    let began = tokio::time::Instant::now();
    assert_eq!(error(&house.call("low", json!({"do": "hang"})).await).0, "PLUGIN_TIMEOUT");
    assert_eq!(began.elapsed(), lazaret_broker::DEADLINE_MAX, "a tool that wants longer does not get it");
    house.will(Person::Yes);
    assert_eq!(error(&house.call("high", json!({"do": "hang"})).await).0, "PLUGIN_TIMEOUT");
    assert!(house.people.steps.lock().unwrap().last().unwrap().ends_with("PLUGIN_TIMEOUT"), "and it is kept");
}

#[tokio::test]
async fn credentials_are_taken_out_of_results_and_errors() {
    let house = House::new();
    let answer = house.call("low", json!({"do": "leak"})).await;
    assert_eq!(answer.result, json!({"key": "[REDACTED]", "[REDACTED]": 1}));
    let entry = house.last_entry();
    assert_eq!((entry.outcome.as_str(), &entry.detail["redactions"]), ("sanitized", &json!(2)));
    assert_eq!(entry.detail["paths"], json!(["/[REDACTED]", "/key"]));
    let answer = house.call("low", json!({"do": "leak_error"})).await;
    assert_eq!(answer.error.unwrap().message, "bad token [REDACTED]");
    house.will(Person::Yes);
    house.call("high", json!({"do": "leak"})).await;
    assert!(!house.people.steps.lock().unwrap().concat().contains(SECRET), "nor is one kept with the outcome");
    house.raw(&crate::fakes::caller(), &crate::fakes::request(SECRET, "c", json!({}))).await;
    let all = serde_json::to_string(&*house.book.entries.lock().unwrap()).unwrap();
    assert!(!all.contains(SECRET), "nor in the audit");
}

#[tokio::test]
async fn a_row_names_the_call_and_hashes_its_arguments() {
    let house = House::new();
    house.call("low", json!({"n": 1})).await;
    let entry = house.last_entry();
    assert_eq!((entry.topic.as_str(), entry.correlation.as_deref(), entry.actor.as_str()), ("tool.invoke.low", Some("c"), "agent:tester"));
    assert_eq!(entry.detail["arguments_sha256"].as_str().map(str::len), Some(64));
    assert_eq!(entry.detail["plugin"], json!("test"));
    assert!(entry.session.is_some() && entry.detail["source"].as_str().is_some_and(|s| s.starts_with("sbx_")));
}

#[tokio::test]
async fn the_host_says_whose_words_an_answer_holds() {
    let house = House::new();
    let origin = |tool: &str| Some(wire::Origin { tool: tool.to_owned(), plugin: "test".to_owned(), untrusted: true });
    assert_eq!(house.call("low", json!({"n": 1})).await.origin, origin("low"));
    assert_eq!(house.call("low", json!({"do": "PLUGIN_ERROR"})).await.origin, origin("low"), "a failure's words are the tool's too");
    // The host's own words: its own tools, and a stage's no.
    assert_eq!(house.call("list_tools", json!({})).await.origin, None);
    house.will(Person::No(None));
    assert_eq!(house.call("high", json!({})).await.origin, None);
}
