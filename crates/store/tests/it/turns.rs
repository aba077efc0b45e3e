//! The inbox, leases and states.

use lazaret_store::{EngineBase, Fence, INBOX_MAX, NewTurn, Record, Spool, StoreError};
use model::{Code, Outcome, PROMPT_BYTES_MAX, TurnEvent, TurnState};

use crate::common::{NOW, accept, finish, home, new_session, new_turn, open, result, running, session, text, turn_id};

#[tokio::test]
async fn a_turn_goes_from_its_arrival_to_its_end() {
    let home = home();
    let store = open(home.path());
    let session = session(&store).await;
    let prompt = "say \u{1f600}\nand \"that\"";
    let accepted = store.accept_turn(new_turn(&session, prompt)).await.unwrap();
    assert_eq!((accepted.n, accepted.fresh), (1, true));
    assert_eq!(store.prompt(&accepted.turn).await.unwrap(), prompt);
    let state = async || store.turn(&accepted.turn).await.unwrap().state;
    assert_eq!(state().await, TurnState::Queued);
    let lease = store.lease_turn(&accepted.turn, None, NOW).await.unwrap();
    assert_eq!((lease.fence, lease.tries, state().await), (Fence(1), 1, TurnState::Leased));
    let change = async |change| store.record(Record::new(accepted.turn.clone(), lease.fence, vec![], NOW).change(change)).await;
    for (event, expect) in
        [(TurnEvent::Start, TurnState::Running), (TurnEvent::Ask, TurnState::Waiting), (TurnEvent::Answer, TurnState::Running)]
    {
        change(event).await.unwrap();
        assert_eq!(state().await, expect);
    }
    assert!(matches!(change(TurnEvent::Start).await, Err(StoreError::Transition { .. })));
    finish(&store, &accepted.turn, lease.fence).await;
    let row = store.turn(&accepted.turn).await.unwrap();
    assert_eq!((row.state, row.outcome, row.code, row.ended), (TurnState::Done, Some(Outcome::Completed), None, Some(NOW)));
    assert!(store.unfinished_turns().await.unwrap().is_empty());
}

#[tokio::test]
async fn prompts_out_of_bounds_are_refused() {
    let home = home();
    let store = open(home.path());
    let session = session(&store).await;
    for bad in ["", "a\0b", &"x".repeat(PROMPT_BYTES_MAX + 1)] {
        assert!(matches!(store.accept_turn(new_turn(&session, bad)).await, Err(StoreError::Invalid { field: "prompt", .. })));
    }
    let unknown = new_turn(&new_session().id, "x");
    assert_eq!(store.accept_turn(unknown).await.unwrap_err().code(), Code::NotFound);
    let same = new_turn(&session, "x");
    store.accept_turn(same.clone()).await.unwrap();
    assert!(matches!(store.accept_turn(same).await, Err(StoreError::Conflict(_))));
    assert_eq!(store.session(&session).await.unwrap().turns, 1, "what was refused takes no place");
}

#[tokio::test]
async fn the_longest_prompt_is_accepted_and_comes_back() {
    let home = home();
    let store = open(home.path());
    let session = session(&store).await;
    let prompt = "0123456789abcdef".repeat(PROMPT_BYTES_MAX / 16);
    let turn = store.accept_turn(new_turn(&session, &prompt)).await.unwrap().turn;
    assert!(store.prompt(&turn).await.unwrap() == prompt);
    assert_eq!(store.turns(&session, 0, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_same_key_is_the_same_turn() {
    let home = home();
    let store = open(home.path());
    let (one, two) = (session(&store).await, session(&store).await);
    let with_key = |session, prompt| NewTurn { key: Some("k".into()), ..new_turn(session, prompt) };
    let first = store.accept_turn(with_key(&one, "x")).await.unwrap();
    let again = store.accept_turn(with_key(&one, "x")).await.unwrap();
    assert_eq!((again.turn, again.n, again.fresh), (first.turn.clone(), 1, false));
    assert!(matches!(store.accept_turn(with_key(&one, "y")).await, Err(StoreError::Conflict(_))));
    let other = store.accept_turn(with_key(&two, "y")).await.unwrap();
    assert!(other.fresh && other.turn != first.turn, "a key is for one session");
    // Many at once are one turn as well.
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let (store, new) = (store.clone(), NewTurn { key: Some("race".into()), ..new_turn(&one, "z") });
            spawn(async move { store.accept_turn(new).await })
        })
        .collect();
    let mut turns = Vec::new();
    for call in calls {
        turns.push(call.await.unwrap().unwrap());
    }
    assert_eq!(turns.iter().filter(|a| a.fresh).count(), 1);
    assert!(turns.iter().all(|a| a.turn == turns[0].turn));
}

#[tokio::test]
async fn one_runner_per_session_and_in_order() {
    let home = home();
    let store = open(home.path());
    let session = session(&store).await;
    let (first, second) = (accept(&store, &session).await.turn, accept(&store, &session).await.turn);
    assert!(matches!(store.lease_turn(&second, None, NOW).await, Err(StoreError::Conflict(_))), "the first comes first");
    let lease = store.lease_turn(&first, None, NOW).await.unwrap();
    assert!(matches!(store.lease_turn(&first, None, NOW).await, Err(StoreError::Transition { .. })));
    assert!(matches!(store.lease_turn(&second, None, NOW).await, Err(StoreError::Conflict(_))), "the first is being worked on");
    let record = Record::new(first.clone(), lease.fence, vec![], NOW);
    store.record(record.clone().change(TurnEvent::Start)).await.unwrap();
    finish(&store, &first, lease.fence).await;
    assert_eq!(store.lease_turn(&second, None, NOW).await.unwrap().fence, Fence(2));
    assert_eq!(store.lease_turn(&turn_id(), None, NOW).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn only_one_of_many_runners_gets_a_turn() {
    let home = home();
    let store = open(home.path());
    let session = session(&store).await;
    let turn = accept(&store, &session).await.turn;
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let (store, turn) = (store.clone(), turn.clone());
            spawn(async move { store.lease_turn(&turn, None, NOW).await })
        })
        .collect();
    let mut won = 0;
    for call in calls {
        won += usize::from(call.await.unwrap().is_ok());
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn whoever_lost_the_lease_writes_nothing() {
    let home = home();
    let store = open(home.path());
    let session = session(&store).await;
    let old = running(&store, &session).await;
    let release = Record::new(old.turn.clone(), old.fence, vec![], NOW).change(TurnEvent::Release);
    store.record(release).await.unwrap();
    let fail = Record::new(old.turn.clone(), old.fence, vec![result(Outcome::Failed, None)], NOW).change(TurnEvent::Fail);
    assert!(matches!(store.record(fail).await, Err(StoreError::StaleFence { .. })), "not even before somebody else has it");
    let new = store.lease_turn(&old.turn, None, NOW).await.unwrap();
    assert_eq!((new.fence > old.fence, new.tries), (true, 2));
    let stale = store.append_events(&old.turn, old.fence, vec![text("late")], NOW).await;
    assert!(matches!(stale, Err(StoreError::StaleFence { given: 1, held: 3, .. })));
    let cancel = Record::new(old.turn.clone(), old.fence, vec![result(Outcome::Cancelled, None)], NOW).change(TurnEvent::Cancel);
    assert!(matches!(store.record(cancel).await, Err(StoreError::StaleFence { .. })));
    assert!(store.events(&session, 0, 10).await.unwrap().is_empty());
    store.append_events(&new.turn, new.fence, vec![text("in time")], NOW).await.unwrap();
}

#[tokio::test]
async fn what_is_not_over_is_found_again_after_a_restart() {
    let home = home();
    let store = open(home.path());
    let (one, two) = (session(&store).await, session(&store).await);
    let lease = running(&store, &one).await;
    let queued = accept(&store, &two).await.turn;
    let done = running(&store, &session(&store).await).await;
    finish(&store, &done.turn, done.fence).await;
    store.close().await.unwrap();
    drop(store);
    let store = open(home.path());
    let found = store.unfinished_turns().await.unwrap();
    assert_eq!(found.len(), 2);
    let state = |id| found.iter().find(|t| t.id == id).map(|t| (t.state, t.fence));
    assert_eq!(state(lease.turn), Some((TurnState::Running, Fence(1))));
    assert_eq!(state(queued), Some((TurnState::Queued, Fence(0))));
}

#[tokio::test]
async fn a_turn_that_nobody_works_on_can_be_cancelled() {
    let home = home();
    let store = open(home.path());
    let session = session(&store).await;
    let turn = accept(&store, &session).await.turn;
    assert!(matches!(store.append_events(&turn, Fence(0), vec![text("x")], NOW).await, Err(StoreError::Conflict(_))));
    let cancel =
        Record::new(turn.clone(), Fence(0), vec![result(Outcome::Cancelled, Some(Code::Cancelled))], NOW).change(TurnEvent::Cancel);
    store.record(cancel).await.unwrap();
    let row = store.turn(&turn).await.unwrap();
    assert_eq!((row.state, row.outcome, row.code), (TurnState::Cancelled, Some(Outcome::Cancelled), Some(Code::Cancelled)));
}

#[tokio::test]
async fn the_inbox_has_an_end() {
    let home = home();
    let store = open(home.path());
    let session = session(&store).await;
    let calls: Vec<_> = (0..INBOX_MAX).map(|_| accept_apart(&store, &session)).collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let full = store.accept_turn(new_turn(&session, "one more")).await;
    assert!(matches!(full, Err(StoreError::Limit { max: INBOX_MAX, .. })));
    assert_eq!(full.unwrap_err().code(), Code::Busy);
    let turns = store.turns(&session, 0, 1000).await.unwrap();
    assert!(turns.iter().zip(1..).all(|(t, n)| t.n == n), "places are dense");
    let first = store.lease_turn(&turns[0].id, None, NOW).await.unwrap();
    let fail = Record::new(first.turn, first.fence, vec![result(Outcome::Failed, Some(Code::EngineFailed))], NOW).change(TurnEvent::Fail);
    store.record(fail).await.unwrap();
    store.accept_turn(new_turn(&session, "one more")).await.unwrap();
}

#[tokio::test]
async fn an_engine_that_lives_on_counts_its_frames_on() {
    let home = home();
    let store = open(home.path());
    let session = session(&store).await;
    let first = running(&store, &session).await;
    assert_eq!((first.spool, first.engine_lease, first.parent), (0, first.fence.0, 0));
    let frames = async |lease: &lazaret_store::Lease, first, last| {
        let spool = Some(Spool { first, last });
        store.record(Record { spool, ..Record::new(lease.turn.clone(), lease.fence, vec![text("x")], NOW) }).await
    };
    frames(&first, 1, 7).await.unwrap();
    finish(&store, &first.turn, first.fence).await;
    let turn = accept(&store, &session).await.turn;
    let base = |lease, spool| Some(EngineBase { lease, spool });
    for bad in [base(first.fence.0, 6), base(first.fence.0 + 1, 7), base(0, 7), base(99, 99)] {
        assert!(matches!(store.lease_turn(&turn, bad, NOW).await, Err(StoreError::Conflict(_))), "{bad:?}");
    }
    assert_eq!(store.turn(&turn).await.unwrap().state, TurnState::Queued, "what was refused changes nothing");
    // Frames between the turns belong to none and need not be recorded.
    let second = store.lease_turn(&turn, base(first.fence.0, 9), NOW).await.unwrap();
    assert_eq!((second.spool, second.engine_lease, second.parent), (9, first.fence.0, 1));
    assert!(second.fence > first.fence);
    let row = store.turn(&turn).await.unwrap();
    assert_eq!((row.spool, row.spool_base, row.engine_lease, row.parent), (9, 9, first.fence.0, 1));
    store.record(Record::new(turn.clone(), second.fence, vec![], NOW).change(TurnEvent::Start)).await.unwrap();
    assert!(matches!(frames(&second, 7, 10).await, Err(StoreError::Conflict(_))));
    frames(&second, 10, 12).await.unwrap();
    let row = store.turn(&turn).await.unwrap();
    assert_eq!((row.spool, row.spool_base), (12, 9));
    finish(&store, &turn, second.fence).await;
    // A third turn of the same engine knows the first lease; one with a new engine begins anew.
    let third = store.lease_turn(&accept(&store, &session).await.turn, base(first.fence.0, 12), NOW).await.unwrap();
    assert_eq!((third.engine_lease, third.parent), (first.fence.0, 2));
    store.record(Record::new(third.turn.clone(), third.fence, vec![], NOW).change(TurnEvent::Release)).await.unwrap();
    let again = store.lease_turn(&third.turn, None, NOW).await.unwrap();
    assert_eq!((again.spool, again.engine_lease, again.parent), (0, again.fence.0, 2));
    assert_eq!(store.turn(&third.turn).await.unwrap().spool_base, 0);
}

#[tokio::test]
async fn a_turn_keeps_its_priority_and_open_turns_are_those_of_the_session() {
    let home = home();
    let store = open(home.path());
    let (one, two) = (session(&store).await, session(&store).await);
    let urgent = store.accept_turn(NewTurn { priority: 9, ..new_turn(&one, "x") }).await.unwrap().turn;
    let usual = accept(&store, &one).await.turn;
    accept(&store, &two).await;
    let open_turns = async || store.open_turns(&one).await.unwrap();
    let found: Vec<_> = open_turns().await.into_iter().map(|t| (t.id, t.priority)).collect();
    assert_eq!(found, [(urgent.clone(), 9), (usual.clone(), 5)]);
    let lease = store.lease_turn(&urgent, None, NOW).await.unwrap();
    assert_eq!(open_turns().await.len(), 2);
    let cancel = Record::new(urgent, lease.fence, vec![result(Outcome::Cancelled, None)], NOW).change(TurnEvent::Cancel);
    store.record(cancel).await.unwrap();
    assert_eq!(open_turns().await.into_iter().map(|t| t.id).collect::<Vec<_>>(), [usual]);
    assert!(store.open_turns(&new_session().id).await.unwrap().is_empty());
}

type Task<T> = tokio::task::JoinHandle<T>;

#[expect(clippy::disallowed_methods, reason = "tests own what they spawn by its handle")]
fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future)
}

fn accept_apart(store: &lazaret_store::Store, session: &model::SessionId) -> Task<Result<lazaret_store::Accepted, StoreError>> {
    let (store, new) = (store.clone(), new_turn(session, "x"));
    spawn(async move { store.accept_turn(new).await })
}
