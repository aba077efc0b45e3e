//! The ledger of model calls.

use lazaret_store::{By, Call};
use model::{Money, SessionId, Timestamp, Usage};

use crate::common::{home, open, session};

const DAY: u64 = 86_400_000;

fn call(session: &SessionId, model: &str, cost: u64, time: u64) -> Call {
    Call {
        session: session.clone(),
        turn: None,
        provider: "anthropic".into(),
        model: model.into(),
        usage: Usage { input_tokens: 10, output_tokens: 5, cache_read_tokens: 2, cache_write_tokens: 1 },
        cost: Money(cost),
        reserved: Money(cost * 2),
        estimated: cost == 7,
        time: Timestamp(time),
    }
}

#[tokio::test]
async fn sums_are_by_what_was_asked() {
    let home = home();
    let store = open(home.path());
    let (one, two) = (session(&store).await, session(&store).await);
    let calls = vec![call(&one, "large", 5, DAY), call(&one, "small", 7, DAY + 1), call(&two, "large", 100, 3 * DAY)];
    store.record_calls(calls).await.unwrap();
    store.record_calls(vec![]).await.unwrap();
    let by = async |by, from, to| {
        let rows = store.usage_by(by, Timestamp(from), Timestamp(to)).await.unwrap();
        rows.into_iter().map(|r| (r.key, r.calls, r.cost.0, r.estimated)).collect::<Vec<_>>()
    };
    let row = |key: &str, calls, cost, estimated| (key.to_owned(), calls, cost, estimated);
    let all = u64::MAX;
    assert_eq!(by(By::Session, 0, all).await, [row(two.as_str(), 1, 100, 0), row(one.as_str(), 2, 12, 1)]);
    assert_eq!(by(By::Model, 0, all).await, [row("anthropic/large", 2, 105, 0), row("anthropic/small", 1, 7, 1)]);
    assert_eq!(by(By::Provider, 0, all).await, [row("anthropic", 3, 112, 1)]);
    assert_eq!(by(By::Day, 0, all).await, [row("1970-01-02", 2, 12, 1), row("1970-01-04", 1, 100, 0)]);
    assert_eq!(by(By::Provider, DAY, DAY + 1).await, [row("anthropic", 1, 5, 0)], "from is within, to is not");
    assert_eq!(store.session_usage(&one).await.unwrap().map(|r| (r.cost, r.usage.input_tokens)), Some((Money(12), 20)));
    assert_eq!(store.session_usage(&session(&store).await).await.unwrap(), None);
}

#[tokio::test]
async fn absurd_counts_neither_fail_nor_overflow() {
    let home = home();
    let store = open(home.path());
    let session = session(&store).await;
    let mut huge = call(&session, "m", u64::MAX / 2, 1);
    huge.usage = Usage { input_tokens: u64::MAX, output_tokens: u64::MAX, cache_read_tokens: u64::MAX, cache_write_tokens: u64::MAX };
    store.record_calls(vec![huge; 10_000]).await.unwrap();
    let row = store.session_usage(&session).await.unwrap().unwrap();
    assert_eq!((row.calls, row.usage.input_tokens), (10_000, 10_000 * 1_000_000_000));
    assert_eq!(row.cost, Money(10_000 * 1_000_000 * Money::PER_USD));
}

#[tokio::test]
async fn what_was_spent_outlives_the_session() {
    let home = home();
    let store = open(home.path());
    let session = session(&store).await;
    store.record_calls(vec![call(&session, "m", 9, 1)]).await.unwrap();
    store.delete_session(&session).await.unwrap();
    assert_eq!(store.session_usage(&session).await.unwrap().map(|r| r.cost), Some(Money(9)));
}
