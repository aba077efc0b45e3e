//! The broker's own three tools.

use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lazaret_broker::{Caller, Diagnostics, Health, Wanted};
use model::{AuditEntry, Failure, Timestamp};
use serde_json::{Value, json};

use crate::fakes::{House, error, request};

#[derive(Default)]
struct Told(Mutex<Vec<Wanted>>);

impl Diagnostics for Told {
    fn recent<'a>(&'a self, caller: &'a Caller, wanted: &'a Wanted) -> BoxFuture<'a, Result<Vec<AuditEntry>, Failure>> {
        assert!(caller.session.is_some());
        self.0.lock().expect("no test panicked with it").push(wanted.clone());
        async { Ok(Vec::new()) }.boxed()
    }

    fn began<'a>(&'a self, _: &'a Caller) -> BoxFuture<'a, Option<Timestamp>> {
        async { Some(Timestamp(5)) }.boxed()
    }
}

#[tokio::test]
async fn tools_are_listed_as_far_as_they_may_be_called() {
    let house = House::new();
    let names = |value: &Value| -> Vec<String> {
        value["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    };
    let answer = house.call("list_tools", json!({})).await;
    assert_eq!(names(&answer.result), ["get_diagnostics", "get_session_info", "high", "list_tools", "low"]);
    let high = &answer.result["tools"][2];
    assert_eq!((&high["risk"], &high["schema"]["type"], &high["description"]), (&json!("high"), &json!("object"), &json!("for tests")));
    let owner = house.raw(&Arc::new(Caller::owner()), &request("list_tools", "c", json!({}))).await;
    assert!(names(&owner.result).contains(&"shy".to_owned()));
    assert_eq!(error(&house.call("list_tools", json!({"group": "inner"})).await), ("VALIDATION_FAILED", Some(3), Some("group"), None));
}

#[tokio::test]
async fn a_session_learns_about_itself() {
    let house = House::new();
    let health = |plugin: &str, category: Option<&str>, group: Option<&str>| Health {
        plugin: plugin.to_owned(),
        category: category.map(str::to_owned),
        groups: group.map(|group| [group.to_owned()].into()),
    };
    house.broker.set_health(vec![
        health("a", None, None),
        health("b", Some("AUTH"), Some("outer")),
        health("c", Some("CONFIG"), Some("inner")),
    ]);
    let info = house.call("get_session_info", json!({})).await.result;
    assert_eq!((&info["group"], &info["start"]), (&json!("outer"), &json!(null)));
    assert_eq!((&info["healthy"], &info["failed"]), (&json!(["a"]), &json!([{"name": "b", "category": "AUTH"}])));
    house.broker.set_diagnostics(Arc::new(Told::default()));
    assert_eq!(house.call("get_session_info", json!({})).await.result["start"], json!(5));
}

#[tokio::test]
async fn diagnostics_are_asked_for_by_call_number_and_outcome() {
    let house = House::new();
    assert_eq!(house.call("get_diagnostics", json!({})).await.result, json!({"entries": []}));
    let told = Arc::new(Told::default());
    house.broker.set_diagnostics(told.clone());
    house.call("get_diagnostics", json!({})).await;
    house.call("get_diagnostics", json!({"correlation": "x", "last_n": 100, "filter_outcome": "error"})).await;
    let wanted = |correlation: Option<&str>, outcome: Option<&str>, last| Wanted {
        correlation: correlation.map(str::to_owned),
        outcome: outcome.map(str::to_owned),
        last,
    };
    assert_eq!(*told.0.lock().unwrap(), [wanted(None, None, 20), wanted(Some("x"), Some("error"), 100)]);
    for bad in [json!({"last_n": 101}), json!({"last_n": 0}), json!({"filter_outcome": "all"}), json!({"session": "ses_x"})] {
        assert_eq!(error(&house.call("get_diagnostics", bad).await).1, Some(3));
    }
}
