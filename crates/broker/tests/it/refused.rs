//! Stages 1 to 4 say no, with their code and number, and nothing is carried out.

use std::collections::BTreeSet;
use std::sync::Arc;

use lazaret_broker::{Caller, Catalogue, Rate};
use model::Risk;
use serde_json::json;

use crate::fakes::{House, caller, caller_of, error, request, tool};

#[tokio::test]
async fn each_stage_refuses_with_its_code_and_number() {
    let house = House::new();
    let deep = format!(r#"{{"topic":"tool.invoke.low","correlation":"c","arguments":{{"a":{}1{}}}}}"#, "[".repeat(63), "]".repeat(63));
    for (raw, expect) in [
        (
            r#"{"topic":"tool.invoke.low","correlation":"c","arguments":{},"session":"x"}"#.to_owned(),
            ("VALIDATION_FAILED", Some(1), Some("session"), None),
        ),
        (
            r#"{"topic":"tool.invoke.low","correlation":"c","arguments":{"__proto__":{}}}"#.to_owned(),
            ("VALIDATION_FAILED", Some(1), Some("__proto__"), None),
        ),
        (deep, ("VALIDATION_FAILED", Some(1), None, None)),
        (r#"{"topic":"tool.invoke.low","correlation":"c","arguments":{"n":1"#.to_owned(), ("VALIDATION_FAILED", Some(1), None, None)),
        (r#"{"topic":"low","correlation":"c","arguments":{}}"#.to_owned(), ("UNKNOWN_TOOL", Some(2), None, None)),
        (r#"{"topic":"tool.invoke.","correlation":"c","arguments":{}}"#.to_owned(), ("UNKNOWN_TOOL", Some(2), None, None)),
        (r#"{"topic":"tool.invoke.Low","correlation":"c","arguments":{}}"#.to_owned(), ("UNKNOWN_TOOL", Some(2), None, None)),
        (r#"{"topic":"message.inbound","correlation":"c","arguments":{}}"#.to_owned(), ("UNKNOWN_TOOL", Some(2), None, None)),
        (
            r#"{"topic":"tool.invoke.low","correlation":"c","arguments":{"n":"x"}}"#.to_owned(),
            ("VALIDATION_FAILED", Some(3), Some("n"), None),
        ),
        (
            r#"{"topic":"tool.invoke.low","correlation":"c","arguments":{"approved":true}}"#.to_owned(),
            ("VALIDATION_FAILED", Some(3), Some("approved"), None),
        ),
        (
            r#"{"topic":"tool.invoke.low","correlation":"c","arguments":{"to":["ok","longer"]}}"#.to_owned(),
            ("VALIDATION_FAILED", Some(3), Some("to.1"), None),
        ),
        (r#"{"topic":"tool.invoke.shy","correlation":"c","arguments":{}}"#.to_owned(), ("UNAUTHORIZED", Some(4), None, None)),
    ] {
        let answer = house.raw(&caller(), raw.as_bytes()).await;
        assert_eq!(error(&answer), expect, "{raw}");
        assert_eq!(answer.correlation, "c", "{raw}");
        let entry = house.last_entry();
        assert_eq!((entry.outcome.as_str(), entry.stage, entry.code.map(|c| c.as_str())), ("rejected", expect.1, Some(expect.0)), "{raw}");
        assert_eq!(entry.correlation.as_deref(), Some("c"));
    }
    assert_eq!(house.calls(), 0);
    assert_eq!(error(&house.raw(&caller(), b"\xff").await).1, Some(1));
    let answer = house.call("low", json!({"n": 1})).await;
    assert_eq!((answer.error, answer.result), (None, json!({"n": 1})));
    assert_eq!(house.calls(), 1, "and what is right is carried out");
}

#[tokio::test]
async fn a_message_over_a_mebibyte_is_refused_before_it_is_read() {
    let house = House::new();
    let answer = house.raw(&caller(), &vec![b' '; (1 << 20) + 1]).await;
    assert_eq!(error(&answer), ("VALIDATION_FAILED", Some(1), None, None));
    assert_eq!(answer.correlation, "");
}

#[tokio::test]
async fn what_does_not_fit_is_named_and_not_repeated() {
    let house = House::new();
    let items: Vec<String> = (0..40).map(|n| format!("value-{n}")).collect();
    let answer = house.call("low", json!({"to": items, "x\u{202e}y": 1})).await;
    let message = answer.error.unwrap().message;
    assert!(!message.contains("value-") && !message.contains('\u{202e}'), "{message}");
    assert_eq!(message.matches("/to/").count() + message.matches("arguments:").count(), 20, "{message}");
    assert!(message.contains("and 21 more"), "{message}");
}

#[tokio::test]
async fn groups_lists_and_scopes_decide_who_may() {
    let house = House::new();
    let with = |change: fn(&mut Caller)| {
        let mut caller = Caller::clone(&caller());
        change(&mut caller);
        Arc::new(caller)
    };
    for (caller, tool, is_allowed) in [
        (with(|c| c.group = "inner".to_owned()), "shy", true),
        (with(|c| c.group = "Inner".to_owned()), "shy", false),
        (with(|c| c.tools = Some(BTreeSet::new())), "low", false),
        (with(|c| c.tools = Some(BTreeSet::from(["low".to_owned()]))), "low", true),
        (with(|c| c.tools = Some(BTreeSet::from(["shy".to_owned()]))), "shy", false),
        (with(|c| c.denied = BTreeSet::from(["low".to_owned()])), "low", false),
        (with(|c| c.tools = Some(BTreeSet::new())), "list_tools", true),
        (Arc::new(Caller::owner()), "shy", true),
    ] {
        let answer = house.raw(&caller, &request(tool, "c", json!({}))).await;
        assert_eq!(answer.error.is_none(), is_allowed, "{tool} {caller:?}");
        let sees = house.broker.catalogue().visible(&caller).iter().any(|seen| seen.name == tool);
        assert_eq!(sees, is_allowed, "what is seen is what may be called: {tool}");
    }
}

#[tokio::test(start_paused = true)]
async fn rates_hold_for_a_session_and_refusals_cost_nothing() {
    let house = House::new();
    house.broker.set_rate(Rate { per_minute: 60, burst: 2 }, [("inner".to_owned(), Rate { per_minute: 60, burst: 3 })].into());
    for _ in 0..5 {
        assert_eq!(error(&house.call("shy", json!({})).await).0, "UNAUTHORIZED");
        assert_eq!(error(&house.call("low", json!({"bad": 1})).await).0, "VALIDATION_FAILED");
    }
    assert!(house.call("low", json!({})).await.error.is_none());
    assert!(house.call("low", json!({})).await.error.is_none());
    let answer = house.call("low", json!({})).await;
    assert_eq!(error(&answer), ("RATE_LIMITED", Some(4), None, Some(1)));
    assert!(answer.error.unwrap().retriable);
    assert!(house.raw(&caller_of(2), &request("low", "c", json!({}))).await.error.is_none(), "another session has its own");
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    assert!(house.call("low", json!({})).await.error.is_none());
    assert_eq!(house.calls(), 4);
}

#[tokio::test(start_paused = true)]
async fn many_sessions_of_one_agent_share_a_rate() {
    let house = House::new();
    house.broker.set_rate(Rate { per_minute: 60, burst: 1 }, [].into());
    let mut refused = 0;
    for n in 0..15 {
        let answer = house.raw(&caller_of(n), &request("low", "c", json!({}))).await;
        refused += usize::from(answer.error.is_some());
    }
    assert_eq!((house.calls(), refused), (10, 5));
}

#[tokio::test]
async fn a_catalogue_takes_only_what_can_be_checked() {
    let house = House::new();
    let handler = || house.doer.clone() as Arc<dyn lazaret_broker::Handler>;
    let mut open = tool("open", Risk::Low, handler());
    open.schema = json!({"type": "object", "properties": {"x": {"type": "object"}}, "additionalProperties": false});
    let tools = vec![
        tool("good", Risk::Low, handler()),
        tool("good", Risk::High, handler()),
        tool("list_tools", Risk::Low, handler()),
        tool("Bad", Risk::Low, handler()),
        tool("a-b", Risk::Low, handler()),
        tool(&"a".repeat(65), Risk::Low, handler()),
        open,
    ];
    let (catalogue, refused) = Catalogue::new(tools);
    assert_eq!(catalogue.iter().map(|tool| (tool.name.as_str(), tool.risk)).collect::<Vec<_>>(), [("good", Risk::Low)]);
    assert_eq!(refused.len(), 6);
    assert!(refused.iter().any(|(name, why)| name == "open" && why.contains("/properties/x")), "{refused:?}");
}
