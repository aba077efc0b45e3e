//! Money.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::{BoxFuture, join_all};
use lazaret_gateway::{Basis, BudgetKey, Config, Identity, Patience, ProviderConfig, Unpriced};
use model::{Code, Money, Usage};
use serde_json::json;
use testkit::model_server::{Fault, Script};

use crate::support::*;

#[tokio::test]
async fn two_hundred_calls_at_once_never_overspend() {
    let house = House::new().await;
    // One call costs 0.1 cent; its reservation is a good deal higher.
    let usage = Usage { input_tokens: 500, output_tokens: 100, ..Usage::default() };
    house.server.set_script(Script { key: Some(CANARY.into()), usage, ..Script::default() });
    let body = json!({"model": "claude-haiku-4-5", "max_tokens": 100, "messages": []});
    let calls = (0..200).map(|_| house.call(with_budget("anthropic", "0.01"), "/v1/messages", &body));
    let answers = join_all(calls).await;
    let good = answers.iter().filter(|a| a.status == 200).count();
    assert!(answers.iter().all(|a| a.status == 200 || (a.status == 402 && a.code() == "BUDGET_EXCEEDED")), "{answers:?}");
    let (_, cost) = house.gateway.finish(&turn(1)).await;
    assert!((1..=10).contains(&good), "{good}");
    assert_eq!(cost, Money(good as u64 * 1_000_000));
    assert_eq!(house.paper.spent("run"), cost.0, "what was not spent was given back");
    assert_eq!(house.paper.calls.lock().unwrap().len(), 200);
}

#[tokio::test]
async fn every_api_is_refused_in_its_own_form_and_nothing_leaves() {
    let house = House::new().await;
    for (provider, path) in WIRES {
        let answer = house.call(with_budget(provider, "0.000001"), path, &prompt(path, "x")).await;
        assert_eq!((answer.status, answer.code().as_str()), (402, "BUDGET_EXCEEDED"), "{path}: {answer:?}");
        assert!(answer.head.contains("x-should-retry"));
    }
    assert!(house.server.requests().is_empty());
    assert!(house.rows(&turn(1)).await.iter().all(|row| row.code == Some(Code::BudgetExceeded) && row.cost == Money::ZERO));
}

#[tokio::test]
async fn a_model_without_a_price_is_denied_unless_the_policy_says_otherwise() {
    let house = House::new().await;
    let body = json!({"model": "claude-secret-9", "max_tokens": 10, "messages": []});
    let answer = house.call(with_budget("anthropic", "100"), "/v1/messages", &body).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "PRICE_UNKNOWN"));
    assert!(house.server.requests().is_empty());
    let row = &house.rows(&turn(1)).await[0];
    assert_eq!((row.model.as_str(), row.code), ("claude-secret-9", Some(Code::PriceUnknown)));
    assert_eq!(house.call(identity("anthropic"), "/v1/messages", &body).await.status, 200, "without a budget nothing has to hold");
    let lax = House::with(Config { unpriced: Unpriced::Allow, ..Config::default() }, Some(CANARY)).await;
    assert_eq!(lax.call(with_budget("anthropic", "100"), "/v1/messages", &body).await.status, 200);
    assert_eq!(lax.rows(&turn(1)).await[0].basis, Basis::Unpriced);
    let free = providers(&[("openai", ProviderConfig { free: true, ..ProviderConfig::default() })]);
    let free = House::with(Config { providers: free, ..Config::default() }, Some(CANARY)).await;
    assert_eq!(
        free.call(with_budget("openai", "0"), "/v1/chat/completions", &json!({"model": "local-7b", "messages": []})).await.status,
        200
    );
}

#[tokio::test]
async fn a_fallback_model_counts_at_its_own_price() {
    let house = House::new().await;
    let body = json!({"model": "gpt-5-nano", "models": ["gpt-5-nano", "o1-ultra"], "max_tokens": 1, "messages": []});
    assert_eq!(house.call(with_budget("openai", "1"), "/v1/chat/completions", &body).await.code(), "PRICE_UNKNOWN");
    let body = json!({"model": "gpt-5-nano", "models": ["gpt-5-pro"], "max_tokens": 10_000, "messages": []});
    assert_eq!(house.call(with_budget("openai", "0.1"), "/v1/chat/completions", &body).await.code(), "BUDGET_EXCEEDED");
}

#[tokio::test]
async fn a_failing_ledger_closes_the_door_until_it_is_well() {
    let house = House::new().await;
    let body = prompt("/v1/messages", "x");
    house.paper.broken.store(true, Ordering::SeqCst);
    let answer = house.call(with_budget("anthropic", "1"), "/v1/messages", &body).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "STORE_UNUSABLE"));
    assert!(house.server.requests().is_empty());
    // The row of that refusal cannot be written either: now also calls without a budget are refused.
    loop {
        if house.call(identity("anthropic"), "/v1/messages", &body).await.status == 503 {
            break;
        }
        tokio::task::yield_now().await;
    }
    let before = house.server.requests().len();
    assert_eq!(house.call(identity("anthropic"), "/v1/messages", &body).await.code(), "STORE_UNUSABLE");
    assert_eq!(house.server.requests().len(), before);
    house.paper.broken.store(false, Ordering::SeqCst);
    house.gateway.finish(&turn(1)).await;
    assert_eq!(house.call(with_budget("anthropic", "1"), "/v1/messages", &body).await.status, 200);
}

#[tokio::test]
async fn a_stream_that_ends_without_a_count_costs_its_reservation() {
    let house = House::new().await;
    for (n, fault) in [Fault::Cut(2), Fault::Short(2)].into_iter().enumerate() {
        let id = Identity { turn: turn(10 + n as u128), ..with_budget("anthropic", "1") };
        house.server.fail_next(1, fault.clone());
        house.call(id.clone(), "/v1/messages", &prompt("/v1/messages", "x")).await;
        let rows = house.rows(&id.turn).await;
        assert_eq!((rows[0].basis, rows[0].code), (Basis::Reserved, Some(Code::StreamCut)), "{fault:?}");
        assert!(rows[0].cost > Money(5_000_000), "a thousand tokens of output at the least: {}", rows[0].cost);
    }
}

#[tokio::test]
async fn an_error_costs_nothing_and_a_call_that_never_left_neither() {
    let house = House::new().await;
    house.server.fail_next(1, Fault::Status(500));
    house.call(with_budget("anthropic", "1"), "/v1/messages", &prompt("/v1/messages", "x")).await;
    assert_eq!(house.gateway.finish(&turn(1)).await.1, Money::ZERO);
    assert_eq!(house.paper.spent("run"), 0);
    let dead = testkit::model_server::dead_url().await;
    let house = House::at(Config::default(), Some(CANARY), house.server, &dead);
    let answer = house.call(with_budget("anthropic", "1"), "/v1/messages", &prompt("/v1/messages", "x")).await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "PROVIDER_DOWN"));
    house.gateway.finish(&turn(1)).await;
    assert_eq!(house.paper.spent("run"), 0);
}

#[tokio::test]
async fn a_small_budget_lowers_the_output_instead_of_refusing() {
    let house = House::new().await;
    let body = json!({"model": "claude-haiku-4-5", "max_tokens": 64_000, "messages": []});
    assert_eq!(house.call(with_budget("anthropic", "0.05"), "/v1/messages", &body).await.status, 200);
    let sent = house.server.requests()[0].json()["max_tokens"].as_u64().unwrap();
    assert!((5_000..10_000).contains(&sent), "{sent}");
    let thinking = json!({"model": "claude-haiku-4-5", "max_tokens": 64_000, "thinking": {"type": "enabled", "budget_tokens": 30_000}, "messages": []});
    assert_eq!(house.call(with_budget("anthropic", "0.05"), "/v1/messages", &thinking).await.code(), "BUDGET_EXCEEDED");
}

/// Says yes so often, and counts how often it was asked.
struct Yes {
    left: AtomicUsize,
    asked: AtomicUsize,
}

impl Patience for Yes {
    fn exceeded<'a>(&'a self, key: &'a BudgetKey, worst: Money) -> BoxFuture<'a, bool> {
        assert!(key.0 == "run" && worst > Money::ZERO);
        self.asked.fetch_add(1, Ordering::SeqCst);
        let is_yes = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        Box::pin(async move { is_yes })
    }
}

#[tokio::test]
async fn a_call_waits_for_money_as_long_as_somebody_says_so_and_not_for_ever() {
    let house = House::new().await;
    for (yes, asked) in [(0, 1), (2, 3), (usize::MAX, 8)] {
        let patience = Arc::new(Yes { left: AtomicUsize::new(yes), asked: AtomicUsize::new(0) });
        let id = Identity { patience: Some(patience.clone()), ..with_budget("anthropic", "0.000001") };
        let answer = house.call(id, "/v1/messages", &prompt("/v1/messages", "x")).await;
        assert_eq!((answer.status, answer.code().as_str()), (402, "BUDGET_EXCEEDED"));
        assert_eq!(patience.asked.load(Ordering::SeqCst), asked, "{yes}");
    }
    assert!(house.server.requests().is_empty(), "nothing left meanwhile");
}
