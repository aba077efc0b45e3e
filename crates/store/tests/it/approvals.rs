//! Confirmations: asked once, answered once, used once.

use lazaret_store::{
    APPROVALS_MINUTE_MAX, APPROVALS_PENDING_MAX, ApprovalAnswer, ApprovalChange, ApprovalFilter, AuditFilter, NewApproval, Record, Store,
    StoreError,
};
use model::{ApprovalId, ApprovalState, EventKind, Outcome, Risk, SessionId, Timestamp, TurnEvent, TurnState};
use serde_json::json;

use crate::common::{NOW, home, open, result, running, session};

fn at(ms: u64) -> Timestamp {
    Timestamp(NOW.0 + ms)
}

fn call(n: u128, session: Option<&SessionId>) -> NewApproval {
    NewApproval {
        id: ApprovalId::from_bits(n),
        session: session.cloned(),
        tenant: "default".into(),
        agent: "default".into(),
        tool: "mail_send".into(),
        plugin: "email".into(),
        correlation: format!("c{n}"),
        arguments: json!({ "to": "a@example.org" }),
        text: "mail_send".into(),
        hash: "h".into(),
        risk: Risk::High,
        actor: "agent:default".into(),
        expires: at(300_000),
        now: NOW,
    }
}

fn yes(ms: u64) -> ApprovalAnswer {
    ApprovalAnswer { approve: true, hash: "h".into(), by: "owner".into(), note: None, usable_until: at(ms + 300_000), now: at(ms) }
}

async fn ask(store: &Store, new: NewApproval) -> ApprovalChange {
    store.ask_approval(new).await.unwrap()
}

#[tokio::test]
async fn a_grant_is_used_once() {
    let home = home();
    let store = open(home.path());
    let id = ask(&store, call(1, None)).await.row.id;
    let early = store.begin_approval(&id, "h", NOW).await;
    assert!(matches!(early, Err(StoreError::Conflict(_))), "nobody has answered: {early:?}");
    store.answer_approval(&id, yes(0)).await.unwrap();
    let other = store.begin_approval(&id, "other", NOW).await;
    assert!(matches!(other, Err(StoreError::Conflict(_))), "it is for another call: {other:?}");
    // Many at once, all asked before any is waited for: one of them is it.
    let tries = futures_util::future::join_all((0..20).map(|_| store.begin_approval(&id, "h", NOW))).await;
    let begun = tries.into_iter().filter(Result::is_ok).count();
    assert_eq!(begun, 1);
    let unfinished = store.approval(&id).await.unwrap();
    assert_eq!((unfinished.state, unfinished.used, unfinished.state.status()), (ApprovalState::Begun, Some(NOW), "approved"));
    store.finish_approval(&id, &json!({ "ok": 7 }), at(1)).await.unwrap();
    for late in [store.begin_approval(&id, "h", NOW).await, store.finish_approval(&id, &json!({ "ok": 8 }), at(2)).await] {
        assert!(matches!(late, Err(StoreError::Conflict(_))), "{late:?}");
    }
    assert_eq!(store.approval(&id).await.unwrap().outcome, Some(json!({ "ok": 7 })));
}

#[tokio::test]
async fn an_answer_names_what_was_seen_and_counts_once() {
    let home = home();
    let store = open(home.path());
    let id = ask(&store, call(1, None)).await.row.id;
    let refused = |answer: ApprovalAnswer| {
        let (store, id) = (store.clone(), id.clone());
        async move { assert!(matches!(store.answer_approval(&id, answer).await, Err(StoreError::Conflict(_)))) }
    };
    refused(ApprovalAnswer { hash: "other".into(), ..yes(0) }).await;
    assert_eq!(store.approval(&id).await.unwrap().state, ApprovalState::Pending);
    let denied = store.answer_approval(&id, ApprovalAnswer { approve: false, note: Some("no".into()), ..yes(5) }).await.unwrap().row;
    assert_eq!((denied.state, denied.note.as_deref(), denied.answered_by.as_deref()), (ApprovalState::Denied, Some("no"), Some("owner")));
    refused(yes(6)).await;
    assert!(store.begin_approval(&id, "h", NOW).await.is_err());
    assert!(matches!(store.answer_approval(&ApprovalId::from_bits(9), yes(0)).await, Err(StoreError::NotFound { .. })));
    let long = ApprovalAnswer { note: Some("x".repeat(1001)), ..yes(0) };
    assert!(matches!(store.answer_approval(&id, long).await, Err(StoreError::Invalid { .. })));
}

#[tokio::test]
async fn what_is_late_expires() {
    let home = home();
    let store = open(home.path());
    let id = ask(&store, call(1, None)).await.row.id;
    assert!(!store.expire_approval(&id, at(299_999)).await.unwrap().changed, "not yet");
    let late = store.answer_approval(&id, yes(300_000)).await.unwrap().row;
    assert_eq!((late.state, late.answered), (ApprovalState::Expired, None), "a late yes is none");
    // A yes that nobody uses ends too.
    let id = ask(&store, call(2, None)).await.row.id;
    store.answer_approval(&id, yes(1000)).await.unwrap();
    assert!(store.begin_approval(&id, "h", at(301_000)).await.is_err());
    assert_eq!(store.overdue_approvals(at(301_000)).await.unwrap(), std::slice::from_ref(&id));
    assert!(store.expire_approval(&id, at(301_000)).await.unwrap().changed);
    assert_eq!(store.approval(&id).await.unwrap().state, ApprovalState::Expired);
    assert!(store.overdue_approvals(at(301_000)).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_same_call_is_asked_about_once_and_another_is_another() {
    let home = home();
    let store = open(home.path());
    let (one, other) = (session(&store).await, session(&store).await);
    let (first, _) = (running(&store, &one).await, running(&store, &other).await);
    let asked = ask(&store, call(1, Some(&one))).await;
    assert_eq!((asked.row.turn.as_ref(), asked.changed), (Some(&first.turn), true), "the host knows which turn runs");
    let shown = EventKind::Approval { id: asked.row.id.to_string(), status: "pending".into(), tool: "mail_send".into() };
    assert_eq!(asked.events.iter().map(|e| &e.kind).collect::<Vec<_>>(), [&shown]);
    let again = ask(&store, NewApproval { correlation: "c1".into(), ..call(2, Some(&one)) }).await;
    assert_eq!((again.row.id, again.changed, again.events.len()), (asked.row.id.clone(), false, 0));
    let changed = ask(&store, NewApproval { correlation: "c1".into(), hash: "other".into(), ..call(3, Some(&one)) }).await;
    let elsewhere = ask(&store, NewApproval { correlation: "c1".into(), ..call(4, Some(&other)) }).await;
    assert!(changed.changed && elsewhere.changed);
    store.answer_approval(&asked.row.id, yes(0)).await.unwrap();
    for id in [changed.row.id, elsewhere.row.id] {
        assert_eq!(store.approval(&id).await.unwrap().state, ApprovalState::Pending, "a yes is for one call");
    }
}

#[tokio::test]
async fn floods_are_held_up() {
    let home = home();
    let store = open(home.path());
    let mut n = 0;
    let mut made = 0;
    for minute in 0..5 {
        for _ in 0..APPROVALS_MINUTE_MAX + 1 {
            n += 1;
            let now = at(minute * 60_001);
            let new = NewApproval { now, expires: at(86_400_000), ..call(n, None) };
            match store.ask_approval(new).await {
                Ok(_) => made += 1,
                Err(error) => assert!(matches!(error, StoreError::Limit { .. }), "{error}"),
            }
        }
    }
    assert_eq!(made, APPROVALS_PENDING_MAX);
    let session = session(&store).await;
    running(&store, &session).await;
    assert!(ask(&store, call(1000, Some(&session))).await.changed, "another session is not held up");
}

#[tokio::test]
async fn a_turn_takes_its_confirmations_along() {
    let home = home();
    let store = open(home.path());
    let id = session(&store).await;
    let idle = store.ask_approval(call(1, Some(&id))).await;
    assert!(matches!(idle, Err(StoreError::Conflict(_))), "nothing runs: {idle:?}");
    let lease = running(&store, &id).await;
    let (pending, granted, used) = (call(2, Some(&id)), call(3, Some(&id)), call(4, Some(&id)));
    let ids = [pending.id.clone(), granted.id.clone(), used.id.clone()];
    for new in [pending, granted, used] {
        ask(&store, new).await;
    }
    for id in &ids[1..] {
        store.answer_approval(id, yes(0)).await.unwrap();
    }
    store.begin_approval(&ids[2], "h", NOW).await.unwrap();
    let end = Record::new(lease.turn.clone(), lease.fence, vec![result(Outcome::Cancelled, None)], NOW).change(TurnEvent::Cancel);
    let events = store.record(end).await.unwrap();
    let shown: Vec<_> =
        events.iter().map(|e| if let EventKind::Approval { status, .. } = &e.kind { status.as_str() } else { "result" }).collect();
    assert_eq!(shown, ["cancelled", "cancelled", "result"]);
    assert!(events.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq));
    let states = [ApprovalState::Cancelled, ApprovalState::Cancelled, ApprovalState::Begun];
    for (id, state) in ids.iter().zip(states) {
        assert_eq!(store.approval(id).await.unwrap().state, state);
    }
    // What was begun is still finished.
    store.finish_approval(&ids[2], &json!({ "ok": 1 }), NOW).await.unwrap();
    let kinds = AuditFilter { kind: Some(model::AuditKind::Confirmation), ..AuditFilter::default() };
    let rows = store.audit(kinds, 0, 100, false).await.unwrap();
    let outcomes: Vec<_> = rows.iter().map(|row| row.entry.outcome.as_str()).collect();
    assert_eq!(outcomes, ["asked", "asked", "asked", "approved", "approved", "cancelled", "cancelled"]);
    assert_eq!(store.verify_audit().await.unwrap().broken, None);
    store.delete_session(&id).await.unwrap();
    assert!(matches!(store.approval(&ids[0]).await, Err(StoreError::NotFound { .. })));
}

#[tokio::test]
async fn a_list_is_by_status_session_and_tenant() {
    let home = home();
    let store = open(home.path());
    let session = session(&store).await;
    running(&store, &session).await;
    ask(&store, call(1, None)).await;
    ask(&store, NewApproval { tenant: "team".into(), ..call(2, Some(&session)) }).await;
    ask(&store, call(3, Some(&session))).await;
    store.answer_approval(&ApprovalId::from_bits(1), yes(0)).await.unwrap();
    store.begin_approval(&ApprovalId::from_bits(1), "h", NOW).await.unwrap();
    let ids = async |filter: ApprovalFilter| -> Vec<u128> {
        let page = store.approvals(&filter, None, 10).await.unwrap();
        page.items.iter().map(|row| u128::from_str_radix(&row.id.as_str()[4..], 16).unwrap()).collect()
    };
    assert_eq!(ids(ApprovalFilter::default()).await, [3, 2, 1]);
    assert_eq!(ids(ApprovalFilter { status: Some("pending".into()), ..Default::default() }).await, [3, 2]);
    assert_eq!(ids(ApprovalFilter { status: Some("approved".into()), ..Default::default() }).await, [1], "one that was used too");
    assert_eq!(ids(ApprovalFilter { tenant: Some("team".into()), ..Default::default() }).await, [2]);
    assert_eq!(ids(ApprovalFilter { session: Some(session), ..Default::default() }).await, [3, 2]);
    let first = store.approvals(&ApprovalFilter::default(), None, 2).await.unwrap();
    let rest = store.approvals(&ApprovalFilter::default(), first.next.map(|n| n.parse().unwrap()), 2).await.unwrap();
    assert_eq!((first.items.len(), rest.items.len(), rest.next), (2, 1, None));
}

#[tokio::test]
async fn the_time_that_a_turn_waits_is_counted() {
    let home = home();
    let store = open(home.path());
    let id = session(&store).await;
    let lease = running(&store, &id).await;
    let change = async |event, ms| {
        let record = Record::new(lease.turn.clone(), lease.fence, vec![], at(ms)).change(event);
        store.record(record).await.unwrap();
        store.turn(&lease.turn).await.unwrap()
    };
    let waits = change(TurnEvent::Ask, 1000).await;
    assert_eq!((waits.state, waits.waited_ms, waits.waiting), (TurnState::Waiting, 0, Some(at(1000))));
    let goes = change(TurnEvent::Answer, 4000).await;
    assert_eq!((goes.waited_ms, goes.waiting), (3000, None));
    change(TurnEvent::Ask, 5000).await;
    // A clock that was set back takes nothing away.
    assert_eq!(change(TurnEvent::Answer, 4500).await.waited_ms, 3000);
}
