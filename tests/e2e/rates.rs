//! How often the API may be asked.

use serde_json::Value;

use crate::http::Answer;
use crate::support::Lab;
use crate::web::Web;

#[track_caller]
fn field(answer: &Answer, name: &str) -> String {
    let lines = answer.head.lines().filter_map(|line| line.split_once(':'));
    let found = lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim().to_owned()).next();
    found.unwrap_or_else(|| panic!("no {name}: {}", answer.head))
}

#[test]
fn who_asks_too_often_is_told_when_to_come_again() {
    let lab = Lab::new();
    lab.run(&["config", "set", "rate.token", "60"]).succeeds();
    let web = Web::start(&lab);
    let (one, _) = web.token("read", None);
    let (other, _) = web.token("read", None);
    let ask = |token: &str| web.ask(token, "GET", "/v1/sessions", Value::Null);
    let first = ask(&one);
    assert_eq!(first.status, 200);
    assert_eq!(field(&first, "RateLimit-Policy"), "\"token\";q=60;w=60");
    assert!(field(&first, "RateLimit").starts_with("\"token\";r=9;t="), "{}", first.head);
    // Ten at once, and one more for each second that this takes.
    let refused = (0..1000).map(|_| ask(&one)).find(|answer| answer.status != 200).expect("an end");
    assert!(field(&refused, "Retry-After").parse::<u64>().is_ok_and(|s| (1..=60).contains(&s)), "{}", refused.head);
    assert!(field(&refused, "RateLimit").starts_with("\"token\";r=0;t="), "{}", refused.head);
    refused.refused(429, "RATE_LIMITED");
    assert_eq!(ask(&other).status, 200, "another token");
    assert!((0..30).all(|_| ask(&web.owner).status == 200), "the owner is not counted");
}

#[test]
fn a_tenants_tokens_are_counted_together() {
    let lab = Lab::new();
    let web = Web::start(&lab);
    lab.run(&["tenant", "add", "crew", "--requests", "20"]).succeeds();
    let (one, _) = web.token("read", Some("crew"));
    let (two, _) = web.token("read", Some("crew"));
    let (other, _) = web.token("read", Some("other"));
    let ask = |token: &str| web.ask(token, "GET", "/v1/sessions", Value::Null);
    let refused = (0..1000).map(|n| ask(if n % 2 == 0 { &one } else { &two })).position(|answer| answer.status == 429);
    assert!(refused.is_some_and(|n| n >= 20), "{refused:?}");
    assert_eq!(ask(&other).status, 200);
}

#[test]
fn wrong_tokens_of_an_address_are_limited_and_good_ones_go_on() {
    let lab = Lab::new();
    lab.run(&["config", "set", "rate.unknown", "60"]).succeeds();
    let web = Web::start(&lab);
    let (good, _) = web.token("read", None);
    // Ten at once, and one more for each second that this takes.
    let status = |n: usize| web.ask(&format!("lzt_{n}"), "GET", "/v1/sessions", Value::Null).status;
    let (first, status) = (0..1000).map(|n| (n, status(n))).find(|(_, status)| *status != 401).expect("an end");
    assert!(first >= 10 && status == 429, "{status} at number {first}");
    assert_eq!(web.ask(&good, "GET", "/v1/sessions", Value::Null).status, 200);
    assert_eq!(web.ask("", "GET", "/health", Value::Null).status, 200, "what is open stays open");
}
