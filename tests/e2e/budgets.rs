//! Budgets over several runs, and the sums of what was used.

use serde_json::Value;
use testkit::model_server::{ModelServer, Script};

use crate::support::{KEY, Lab};

fn dear(lab: &Lab) -> ModelServer {
    let usage = model::Usage { input_tokens: 10_000, output_tokens: 1_000, ..model::Usage::default() };
    let server = lab.model(Script { key: Some(KEY.to_owned()), usage, ..Script::default() });
    lab.connect("anthropic", &server);
    server
}

#[test]
fn a_budget_holds_for_all_turns_of_its_session_and_for_no_other() {
    let lab = Lab::new();
    let _server = dear(&lab);
    // Each turn is two calls of 4.5 cents.
    let first = lab.run(&["run", "--json", "--budget-usd", "0.15", "one"]).succeeds().result();
    let session = first["session"].as_str().expect("a session").to_owned();
    let mut spent = first["cost_usd"].as_f64().expect("a cost");
    assert!(spent > 0.05 && spent < 0.15, "{spent}");
    let mut turns = 0;
    let refused = loop {
        turns += 1;
        assert!(turns < 10, "the budget never ends");
        let ran = lab.run(&["run", "--json", "--resume", &session, "again"]);
        let result = ran.result();
        spent += result["cost_usd"].as_f64().expect("a cost");
        assert!(spent <= 0.15, "{spent} of 0.15 is spent");
        if ran.status != 0 {
            break ran;
        }
    };
    refused.ends_with(1);
    let other = lab.run(&["run", "--json", "--budget-usd", "0.15", "one"]).succeeds().result();
    assert_ne!(other["session"], session.as_str());
    assert!(other["cost_usd"].as_f64() > Some(0.05), "another session has its own budget: {other}");
}

#[test]
fn a_budget_below_the_smallest_call_stops_the_first() {
    let lab = Lab::new();
    let server = dear(&lab);
    let result = lab.run(&["run", "--json", "--budget-usd", "0.000001", "one"]).ends_with(1).result();
    assert_eq!(result["code"], "BUDGET_EXCEEDED", "{result}");
    assert_eq!(result["cost_usd"], 0.0);
    assert_eq!(server.requests().iter().filter(|r| r.method == "POST").count(), 0, "nothing went out");
}

#[test]
fn usage_sums_by_everything_it_names() {
    let lab = Lab::new();
    let _server = dear(&lab);
    let first = lab.run(&["run", "--json", "one"]).succeeds().result();
    let second = lab.run(&["run", "--json", "--model", "claude-haiku-4-5", "two"]).succeeds().result();
    let rows = |by: &str| lab.run(&["usage", "--json", "--by", by]).succeeds().events();
    let sum =
        |rows: &[Value], pointer: &str| rows.iter().map(|r| r.pointer(pointer).and_then(Value::as_u64).expect("a number")).sum::<u64>();
    let by_session = rows("session");
    assert_eq!(by_session.len(), 2);
    for result in [&first, &second] {
        let row = by_session.iter().find(|r| r["key"] == result["session"]).expect("a row of the session");
        assert_eq!(row.pointer("/usage/input_tokens"), result.pointer("/usage/input_tokens"));
    }
    assert_eq!(rows("model").len(), 2);
    for by in ["session", "model", "provider", "day"] {
        let rows = rows(by);
        assert_eq!(sum(&rows, "/calls"), 4, "by {by}: {rows:?}");
        assert_eq!(sum(&rows, "/usage/output_tokens"), 4_000, "by {by}");
        assert_eq!(sum(&rows, "/cost"), sum(&by_session, "/cost"), "by {by}");
    }
    assert!(lab.run(&["usage"]).succeeds().out.contains("claude-haiku-4-5"));
    lab.run(&["usage", "--by", "colour"]).ends_with(2);
}
