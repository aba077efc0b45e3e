//! The event log.

use lazaret_store::{EVENT_BYTES_MAX, Record, Spool, StoreError};
use model::{Code, EventKind, Outcome, TurnEvent};
use serde_json::{Value, json};

use crate::common::{NOW, finish, home, open, result, running, session, text};

#[tokio::test]
async fn numbers_are_dense_whoever_writes() {
    let home = home();
    let store = open(home.path());
    let mut tasks = Vec::new();
    let mut sessions = Vec::new();
    for _ in 0..4 {
        let session = session(&store).await;
        let lease = running(&store, &session).await;
        for task in 0..8 {
            let (store, lease) = (store.clone(), lease.clone());
            tasks.push(spawn(async move {
                for n in 0..10_usize {
                    let events = (0..n % 4).map(|i| text(&format!("{task} {n} {i}"))).collect();
                    store.append_events(&lease.turn, lease.fence, events, NOW).await.unwrap();
                }
            }));
        }
        sessions.push(session);
    }
    for task in tasks {
        task.await.unwrap();
    }
    for session in sessions {
        let events = store.events(&session, 0, 1000).await.unwrap();
        assert_eq!(events.len(), 8 * 13);
        assert!(events.iter().zip(1..).all(|(e, seq)| e.seq == seq));
        assert_eq!(store.session(&session).await.unwrap().last_seq, 8 * 13);
    }
}

#[tokio::test]
async fn events_come_back_as_they_were_in_pages() {
    let home = home();
    let store = open(home.path());
    let session = session(&store).await;
    let lease = running(&store, &session).await;
    let kinds = vec![
        text("a\u{0}b \u{1f600}"),
        EventKind::ToolCall { id: "1".into(), name: "bash".into(), input: json!({"cmd": ["ls", null, 1.5, u64::MAX]}) },
        EventKind::ToolResult { id: "1".into(), output: "x\n".into(), is_error: true },
        EventKind::Usage { model: "m".into(), usage: model::Usage { input_tokens: u64::MAX, ..Default::default() }, cost_usd: 0.1 },
        EventKind::Error { code: Code::ProviderLimited, message: "slow".into(), retriable: true },
    ];
    let written = store.append_events(&lease.turn, lease.fence, kinds.clone(), NOW).await.unwrap();
    assert_eq!(written.iter().map(|e| e.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(store.events(&session, 0, 1000).await.unwrap(), written);
    assert_eq!(store.events(&session, 2, 2).await.unwrap(), written[2..4]);
    assert!(store.events(&session, 5, 10).await.unwrap().is_empty());
    assert!(store.events(&session, u64::MAX, 10).await.unwrap().is_empty());
    let large = vec![text(&"x".repeat(7 << 20)); 5];
    store.append_events(&lease.turn, lease.fence, large, NOW).await.unwrap();
    let page = store.events(&session, 5, 1000).await.unwrap();
    assert_eq!(page.len(), 2, "a page ends early where events are large");
    assert_eq!(store.events(&session, 7, 1000).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_could_not_be_read_again_is_not_written() {
    let home = home();
    let store = open(home.path());
    let session = session(&store).await;
    let lease = running(&store, &session).await;
    let nested = |depth: usize| {
        let input = (0..depth).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
        EventKind::ToolCall { id: "1".into(), name: "t".into(), input }
    };
    let endless = EventKind::Usage { model: "m".into(), usage: Default::default(), cost_usd: f64::NAN };
    for bad in [nested(200), nested(127), endless, text(&"x".repeat(EVENT_BYTES_MAX))] {
        let refused = store.append_events(&lease.turn, lease.fence, vec![text("before"), bad], NOW).await;
        assert!(matches!(refused, Err(StoreError::Invalid { .. })));
    }
    store.append_events(&lease.turn, lease.fence, vec![nested(100)], NOW).await.unwrap();
    assert_eq!(store.events(&session, 0, 10).await.unwrap().len(), 1, "all of a record or nothing");
}

#[tokio::test]
async fn a_turn_ends_with_exactly_one_result() {
    let home = home();
    let store = open(home.path());
    let session = session(&store).await;
    let lease = running(&store, &session).await;
    let record = |events, change: Option<TurnEvent>| Record { change, ..Record::new(lease.turn.clone(), lease.fence, events, NOW) };
    let done = || result(Outcome::Completed, None);
    let bad = [
        record(vec![text("x")], Some(TurnEvent::Finish)),
        record(vec![], Some(TurnEvent::Finish)),
        record(vec![done()], None),
        record(vec![done()], Some(TurnEvent::Ask)),
        record(vec![done(), text("x")], Some(TurnEvent::Finish)),
        record(vec![done(), done()], Some(TurnEvent::Finish)),
        record(vec![done()], Some(TurnEvent::Fail)),
        record(vec![result(Outcome::Timeout, Some(Code::Timeout))], Some(TurnEvent::Finish)),
        record(vec![result(Outcome::Cancelled, None)], Some(TurnEvent::Fail)),
        record(vec![], Some(TurnEvent::Lease)),
    ];
    for bad in bad {
        let shown = format!("{bad:?}");
        assert!(matches!(store.record(bad).await, Err(StoreError::Conflict(_))), "{shown}");
    }
    assert!(store.events(&session, 0, 10).await.unwrap().is_empty());
    store.record(record(vec![text("x"), result(Outcome::Timeout, Some(Code::Timeout))], Some(TurnEvent::Fail))).await.unwrap();
    let row = store.turn(&lease.turn).await.unwrap();
    assert_eq!((row.outcome, row.code), (Some(Outcome::Timeout), Some(Code::Timeout)));
    for late in [record(vec![text("late")], None), record(vec![done()], Some(TurnEvent::Finish)), record(vec![], None)] {
        assert!(matches!(store.record(late).await, Err(StoreError::Conflict(_))));
    }
}

#[tokio::test]
async fn frames_of_a_spool_are_recorded_once_and_without_a_gap() {
    let home = home();
    let store = open(home.path());
    let session = session(&store).await;
    let lease = running(&store, &session).await;
    let frames = async |first, last| {
        let record = Record { spool: Some(Spool { first, last }), ..Record::new(lease.turn.clone(), lease.fence, vec![text("x")], NOW) };
        store.record(record).await
    };
    frames(1, 3).await.unwrap();
    for (first, last) in [(1, 3), (3, 4), (5, 6), (4, 3), (0, 0)] {
        assert!(matches!(frames(first, last).await, Err(StoreError::Conflict(_))), "{first} to {last}");
    }
    frames(4, 4).await.unwrap();
    assert_eq!(store.turn(&lease.turn).await.unwrap().spool, 4);
    assert_eq!(store.events(&session, 0, 10).await.unwrap().len(), 2);
    let release = Record::new(lease.turn.clone(), lease.fence, vec![], NOW).change(TurnEvent::Release);
    store.record(release).await.unwrap();
    store.lease_turn(&lease.turn, None, NOW).await.unwrap();
    assert_eq!(store.turn(&lease.turn).await.unwrap().spool, 0, "a new lease counts from the start");
}

#[tokio::test]
async fn what_the_engine_calls_the_session_is_kept_for_the_next_turn() {
    let home = home();
    let store = open(home.path());
    let session = session(&store).await;
    let lease = running(&store, &session).await;
    let sandbox = model::SandboxId::from_bits(9);
    let named = Record {
        engine_session: Some("abc".into()),
        sandbox: Some(sandbox.clone()),
        ..Record::new(lease.turn.clone(), lease.fence, vec![], NOW)
    };
    store.record(named).await.unwrap();
    assert_eq!(store.turn(&lease.turn).await.unwrap().sandbox, Some(sandbox));
    finish(&store, &lease.turn, lease.fence).await;
    assert_eq!(store.session(&session).await.unwrap().engine_session.as_deref(), Some("abc"));
    assert_eq!(running(&store, &session).await.engine_session.as_deref(), Some("abc"));
}

#[expect(clippy::disallowed_methods, reason = "tests own what they spawn by its handle")]
fn spawn<F: Future<Output = ()> + Send + 'static>(future: F) -> tokio::task::JoinHandle<()> {
    tokio::spawn(future)
}
