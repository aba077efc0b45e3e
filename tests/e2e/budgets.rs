//! Budgets over several runs, and the sums of what was used.

use serde_json::{Value, json};
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
    for by in ["session", "model", "provider", "day", "tenant", "agent"] {
        let rows = rows(by);
        assert_eq!(sum(&rows, "/calls"), 4, "by {by}: {rows:?}");
        assert_eq!(sum(&rows, "/usage/output_tokens"), 4_000, "by {by}");
        assert_eq!(sum(&rows, "/cost"), sum(&by_session, "/cost"), "by {by}");
    }
    assert_eq!((&rows("tenant")[0]["key"], &rows("agent")[0]["key"]), (&json!("default"), &json!("default")));
    assert!(rows("job").is_empty() && rows("profile").is_empty(), "no job made a call");
    let none = |args: &[&str]| lab.run(&[&["usage", "--json", "--by", "day"], args].concat()).succeeds().events().is_empty();
    assert!(none(&["--to", "2026-01-01"]) && !none(&["--from", "2026-01-01"]));
    lab.run(&["usage", "--from", "yesterday"]).ends_with(2);
    assert!(lab.run(&["usage"]).succeeds().out.contains("claude-haiku-4-5"));
    lab.run(&["usage", "--by", "colour"]).ends_with(2);
}

/// A session whose budget covers no call, asked something; gives it, its turn, and the confirmation that it waits for.
fn poor(lab: &Lab) -> (String, String, Value) {
    let session = lab.session(json!({ "engine": "mini", "model": "claude-sonnet-4-5", "budget": 1_000_000 }));
    let turn = lab.send(&session, "one");
    lab.state_is(&session, "waiting");
    let asked = lab.ask("GET", "/v1/approvals?status=pending", Value::Null).is(200);
    let asked = asked["items"].as_array().expect("items").iter().find(|a| a["session"] == session.as_str()).expect("a question").clone();
    (session, turn, asked)
}

#[test]
fn a_session_waits_for_money_and_goes_on_with_a_yes() {
    let lab = Lab::new();
    let server = dear(&lab);
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let (session, turn, asked) = poor(&lab);
    assert_eq!((&asked["tool"], &asked["arguments"]["budget"]), (&json!("budget.raise"), &json!(format!("session:{session}"))), "{asked}");
    assert_eq!(server.requests().iter().filter(|r| r.method == "POST").count(), 0, "nothing went out");
    let yes = json!({ "decision": "approve", "hash": asked["hash"] });
    lab.ask("POST", &format!("/v1/approvals/{}", asked["id"].as_str().expect("an identity")), yes).is(200);
    assert_eq!(lab.result_of(&session, &turn)["status"], "completed");
    let budgets = lab.run(&["budget", "list", "--json"]).succeeds().events();
    assert_eq!(budgets[0]["name"], format!("session:{session}"));
    assert!(budgets[0]["spent_usd"].as_f64() <= budgets[0]["limit_usd"].as_f64(), "{budgets:?}");
    assert!(lab.run(&["audit", "query", "--limit", "500", "--json"]).succeeds().out.contains("budget.raise"));
}

#[test]
fn a_no_ends_the_turn_and_a_raise_by_hand_needs_no_answer() {
    let lab = Lab::new();
    let _server = dear(&lab);
    lab.run(&["start", "--listen", "127.0.0.1:0"]).succeeds();
    let (session, turn, asked) = poor(&lab);
    let no = json!({ "decision": "deny", "hash": asked["hash"] });
    lab.ask("POST", &format!("/v1/approvals/{}", asked["id"].as_str().expect("an identity")), no).is(200);
    let result = lab.result_of(&session, &turn);
    assert_eq!((&result["status"], &result["code"]), (&json!("failed"), &json!("BUDGET_EXCEEDED")), "{result}");
    let (session, turn, _) = poor(&lab);
    lab.run(&["budget", "raise", &format!("session:{session}"), "1"]).succeeds();
    assert_eq!(lab.result_of(&session, &turn)["status"], "completed");
    lab.run(&["budget", "raise", "tenant:default", "1"]).fails("NOT_FOUND", 2);
    lab.run(&["budget", "set", "everything", "1"]).fails("USAGE", 2);
    lab.run(&["budget", "set", "all", "--", "-1"]).fails("USAGE", 2);
}

#[test]
fn a_day_an_agent_and_a_tenant_have_budgets_too() {
    let lab = Lab::new();
    let _server = dear(&lab);
    for name in ["all@day", "agent:default", "tenant:default@day"] {
        lab.run(&["budget", "set", name, "0.000001"]).succeeds();
        let result = lab.run(&["run", "--json", "one"]).ends_with(1).result();
        assert_eq!(result["code"], "BUDGET_EXCEEDED", "{name}: {result}");
        lab.run(&["budget", "raise", name, "5"]).succeeds();
        lab.run(&["run", "--json", "one"]).succeeds();
        lab.run(&["budget", "remove", name]).succeeds();
    }
    lab.run(&["tenant", "quota", "default", "--usd-per-day", "0.000001"]).succeeds();
    let result = lab.run(&["run", "--json", "one"]).ends_with(1).result();
    assert_eq!(result["code"], "BUDGET_EXCEEDED", "a quota: {result}");
    lab.run(&["tenant", "quota", "default", "--clear"]).succeeds();
    lab.run(&["run", "--json", "one"]).succeeds();
}

#[test]
fn a_file_of_prices_counts_at_once_and_a_wrong_one_changes_nothing() {
    let lab = Lab::new();
    let _server = dear(&lab);
    let dream = ["run", "--json", "--model", "claude-dream-9", "--budget-usd", "5", "one"];
    let result = lab.run(&dream).ends_with(3).result();
    assert_eq!(result["code"], "PRICE_UNKNOWN", "{result}");
    let file = lab.path("prices.toml");
    std::fs::write(&file, "[[price]]\nmodel = [\"claude-dream-9\"]\ninput = \"1\"\noutput = \"2\"\n").expect("write");
    lab.run(&["budget", "prices", file.to_str().expect("utf-8")]).succeeds();
    // Two calls of 10,000 tokens in and 1,000 out.
    assert_eq!(lab.run(&dream).succeeds().result()["cost_usd"], 0.024);
    std::fs::write(&file, "[[price]]\nmodel = [\"claude-dream-9\"]\ninput = \"free\"\noutput = \"2\"\n").expect("write");
    lab.run(&["budget", "prices", file.to_str().expect("utf-8")]).fails("CONFIG_INVALID", 2);
    assert_eq!(lab.run(&dream).succeeds().result()["cost_usd"], 0.024);
}
