//! Going back, going forward, forking, and giving checkpoints up.

use std::collections::HashSet;

use lazaret_store::{NewSession, Record, SessionFilter, Store, StoreError, Undo};
use model::{Code, Outcome, SessionId, TreeId, TurnEvent};

use crate::common::{
    NOW, accept, finish, home, new_env, new_session, open, result, running, session_with_tree, text, tree, turn_with_checkpoint,
};

fn undo(session: &SessionId, to: u64) -> Undo {
    Undo { session: session.clone(), to, tree: tree(), env: None, leave_env: false, now: NOW }
}

async fn turns_kept(store: &Store, session: &SessionId) -> Vec<u64> {
    store.checkpoints(session).await.unwrap().iter().map(|c| c.turn).collect()
}

#[tokio::test]
async fn every_turn_that_was_worked_on_is_the_head_after_it() {
    let home = home();
    let store = open(home.path());
    let session = session_with_tree(&store).await;
    assert!(store.initial_checkpoint(&session, tree(), NOW).await.unwrap());
    assert!(!store.initial_checkpoint(&session, tree(), NOW).await.unwrap(), "there is one");
    let head = async || store.session(&session).await.unwrap().head;
    let (first, kept) = turn_with_checkpoint(&store, &session).await;
    let lease = running(&store, &session).await;
    assert_eq!((first, head().await, lease.parent), (1, 1, 1));
    // A turn behind it that is cancelled before anybody took it changes no file.
    let behind = accept(&store, &session).await.turn;
    let cancelled = |turn, fence| Record::new(turn, fence, vec![result(Outcome::Cancelled, None)], NOW).change(TurnEvent::Cancel);
    let with_files = Record { checkpoint: Some(tree()), ..cancelled(behind.clone(), lazaret_store::Fence(0)) };
    assert!(matches!(store.record(with_files).await, Err(StoreError::Conflict(_))));
    store.record(cancelled(behind, lazaret_store::Fence(0))).await.unwrap();
    assert_eq!(head().await, 1);
    let failed = Record {
        checkpoint: Some(tree()),
        ..Record::new(lease.turn.clone(), lease.fence, vec![result(Outcome::Failed, None)], NOW).change(TurnEvent::Fail)
    };
    store.record(failed).await.unwrap();
    assert_eq!((head().await, turns_kept(&store, &session).await), (2, vec![0, 1, 2]), "a turn that failed has changed files too");
    // So has one that was given back and that nobody took again.
    let lease = running(&store, &session).await;
    store.record(Record::new(lease.turn.clone(), lease.fence, vec![], NOW).change(TurnEvent::Release)).await.unwrap();
    let fence = store.turn(&lease.turn).await.unwrap().fence;
    store.record(cancelled(lease.turn, fence)).await.unwrap();
    assert_eq!(head().await, 4);
    let row = store.checkpoint(&session, 1).await.unwrap();
    assert_eq!((row.tree, row.turn, row.seq, row.created), (kept, 1, 1, NOW));
    assert_eq!(store.checkpoint(&session, 0).await.unwrap().seq, 0);
    for missing in [4, 99, u64::MAX] {
        assert_eq!(store.checkpoint(&session, missing).await.unwrap_err().code(), Code::CheckpointMissing);
    }
}

#[tokio::test]
async fn a_checkpoint_comes_with_the_end_of_its_turn_or_not_at_all() {
    let home = home();
    let store = open(home.path());
    let session = session_with_tree(&store).await;
    let own = store.session(&session).await.unwrap().tree.unwrap();
    let lease = running(&store, &session).await;
    let record = |events, tree: TreeId| Record { checkpoint: Some(tree), ..Record::new(lease.turn.clone(), lease.fence, events, NOW) };
    let done = || vec![result(Outcome::Completed, None)];
    for bad in [
        record(vec![text("x")], tree()),
        record(vec![], tree()).change(TurnEvent::Ask),
        record(vec![], tree()).change(TurnEvent::Release),
        record(done(), own).change(TurnEvent::Finish),
    ] {
        let said = format!("{bad:?}");
        assert!(matches!(store.record(bad).await, Err(StoreError::Conflict(_))), "{said}");
    }
    assert!(store.events(&session, 0, 10).await.unwrap().is_empty());
    assert!(store.checkpoints(&session).await.unwrap().is_empty());
    let end = Record { engine_session: Some("new".into()), ..record(vec![text("x"), done().remove(0)], tree()) };
    store.record(end.change(TurnEvent::Finish)).await.unwrap();
    let row = store.checkpoint(&session, 1).await.unwrap();
    assert_eq!((row.engine_session.as_deref(), row.seq), (Some("new"), 2), "as the record itself leaves the session");
}

#[tokio::test]
async fn undo_goes_back_and_forward_again() {
    let home = home();
    let store = open(home.path());
    let session = session_with_tree(&store).await;
    store.initial_checkpoint(&session, tree(), NOW).await.unwrap();
    for _ in 0..3 {
        turn_with_checkpoint(&store, &session).await;
    }
    let named = async |turn| store.checkpoint(&session, turn).await.unwrap().engine_session;
    for to in [1, 3, 0, 2, 2] {
        let way = undo(&session, to);
        let row = store.undo(way.clone()).await.unwrap();
        assert_eq!((row.head, row.tree.as_ref(), &row.engine_session), (to, Some(&way.tree), &named(to).await));
        assert_eq!(store.session(&session).await.unwrap(), row);
    }
    assert!(named(0).await.is_none() && named(2).await.is_some());
    let before = store.events(&session, 0, 100).await.unwrap();
    let (next, _) = turn_with_checkpoint(&store, &session).await;
    let turn = store.turns(&session, next - 1, 1).await.unwrap().remove(0);
    assert_eq!((next, turn.parent), (4, 2), "it goes on from where the session stands");
    let after = store.events(&session, 0, 100).await.unwrap();
    assert_eq!(after[..before.len()], before, "the log only grows");
    store.undo(undo(&session, 3)).await.unwrap();
    assert_eq!(turns_kept(&store, &session).await, [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn undo_is_refused_where_it_would_lose_something() {
    let home = home();
    let store = open(home.path());
    let session = session_with_tree(&store).await;
    store.initial_checkpoint(&session, tree(), NOW).await.unwrap();
    let (_, kept) = turn_with_checkpoint(&store, &session).await;
    let before = store.session(&session).await.unwrap();
    let own = before.tree.clone().unwrap();
    let other = session_with_tree(&store).await;
    let others = store.session(&other).await.unwrap().tree.unwrap();
    for bad in [own, kept, others] {
        let bad = Undo { tree: bad, ..undo(&session, 0) };
        assert!(matches!(store.undo(bad).await, Err(StoreError::Conflict(_))), "a tree that has a use");
    }
    assert_eq!(store.undo(undo(&session, 9)).await.unwrap_err().code(), Code::CheckpointMissing);
    assert_eq!(store.undo(undo(&new_session().id, 0)).await.unwrap_err().code(), Code::NotFound);
    let elsewhere = Undo { env: Some("shared".into()), ..undo(&session, 0) };
    assert!(matches!(store.undo(elsewhere).await, Err(StoreError::Conflict(_))));
    assert_eq!(store.session(&session).await.unwrap(), before);
    let turn = accept(&store, &session).await.turn;
    assert!(matches!(store.undo(undo(&session, 0)).await, Err(StoreError::Conflict(_))), "a turn waits");
    let lease = store.lease_turn(&turn, None, NOW).await.unwrap();
    assert!(matches!(store.undo(undo(&session, 0)).await, Err(StoreError::Conflict(_))), "a turn is worked on");
    store.record(Record::new(turn.clone(), lease.fence, vec![], NOW).change(TurnEvent::Start)).await.unwrap();
    finish(&store, &turn, lease.fence).await;
    assert_eq!(store.undo(undo(&session, 0)).await.unwrap().head, 0);
}

#[tokio::test]
async fn a_fork_goes_on_from_a_checkpoint_and_shares_nothing() {
    let home = home();
    let store = open(home.path());
    let session = session_with_tree(&store).await;
    store.initial_checkpoint(&session, tree(), NOW).await.unwrap();
    turn_with_checkpoint(&store, &session).await;
    let before = store.session(&session).await.unwrap();
    let mut forks = Vec::new();
    for turn in [1, 1, 0] {
        let new = NewSession { tree: Some(tree()), ..new_session() };
        store.fork_session(new.clone(), (session.clone(), turn)).await.unwrap();
        let row = store.session(&new.id).await.unwrap();
        assert_eq!((row.parent, row.tree, row.head, row.turns, row.last_seq), (Some((session.clone(), turn)), new.tree, 0, 0, 0));
        assert_eq!(row.engine_session, store.checkpoint(&session, turn).await.unwrap().engine_session);
        assert!(store.checkpoints(&new.id).await.unwrap().is_empty());
        forks.push(new.id);
    }
    let filter = SessionFilter { forked: Some(true), ..SessionFilter::default() };
    let listed = store.list_sessions(&filter, None, 10).await.unwrap().items;
    assert!(listed.len() == 3 && listed.iter().all(|row| forks.contains(&row.id)), "{listed:?}");
    // Its own first checkpoint is of the conversation that it took over.
    store.initial_checkpoint(&forks[0], tree(), NOW).await.unwrap();
    assert_eq!(store.checkpoint(&forks[0], 0).await.unwrap().engine_session, before.engine_session);
    turn_with_checkpoint(&store, &forks[0]).await;
    let back = store.undo(undo(&forks[0], 0)).await.unwrap();
    assert_eq!(back.engine_session, before.engine_session);
    assert_eq!(store.session(&session).await.unwrap(), before);
    let fork = |new| store.fork_session(new, (session.clone(), 1));
    let own = || Some(tree());
    assert!(matches!(fork(new_session()).await, Err(StoreError::Invalid { .. })), "without a tree");
    let foreign = NewSession { tenant: "acme".into(), tree: own(), ..new_session() };
    assert!(matches!(fork(foreign).await, Err(StoreError::Invalid { field: "tenant", .. })));
    assert!(matches!(fork(NewSession { tree: before.tree, ..new_session() }).await, Err(StoreError::Conflict(_))));
    let missing = store.fork_session(NewSession { tree: own(), ..new_session() }, (session.clone(), 7)).await;
    assert_eq!(missing.unwrap_err().code(), Code::CheckpointMissing);
    store.delete_session(&session).await.unwrap();
    assert_eq!(store.session(&forks[1]).await.unwrap().parent, Some((session, 1)), "a fork outlives what it comes from");
}

#[tokio::test]
async fn old_checkpoints_are_given_up_but_never_that_of_the_head() {
    let home = home();
    let store = open(home.path());
    let session = session_with_tree(&store).await;
    let first = tree();
    store.initial_checkpoint(&session, first.clone(), NOW).await.unwrap();
    let mut trees = vec![first];
    for _ in 0..5 {
        trees.push(turn_with_checkpoint(&store, &session).await.1);
    }
    assert!(store.retire_checkpoints(&session, 6).await.unwrap().is_empty());
    assert_eq!(store.retire_checkpoints(&session, 4).await.unwrap(), trees[..2], "the oldest, also the very first");
    assert_eq!(turns_kept(&store, &session).await, [2, 3, 4, 5]);
    store.undo(undo(&session, 2)).await.unwrap();
    assert_eq!(store.retire_checkpoints(&session, 1).await.unwrap(), trees[3..5]);
    assert_eq!(turns_kept(&store, &session).await, [2, 5], "the head and the youngest");
    assert_eq!(store.retire_checkpoints(&session, 0).await.unwrap(), trees[5..]);
    assert_eq!(turns_kept(&store, &session).await, [2]);
    assert!(matches!(store.undo(undo(&session, 5)).await, Err(StoreError::NotFound { .. })));
    assert_eq!(store.retire_checkpoints(&new_session().id, 0).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_tree_that_another_checkpoint_names_is_not_garbage() {
    let home = home();
    let store = open(home.path());
    let session = session_with_tree(&store).await;
    let same = tree();
    store.initial_checkpoint(&session, same.clone(), NOW).await.unwrap();
    // Turns that change nothing may share a frozen tree.
    for _ in 0..2 {
        let lease = running(&store, &session).await;
        let record = Record::new(lease.turn, lease.fence, vec![result(Outcome::Completed, None)], NOW);
        store.record(Record { checkpoint: Some(same.clone()), ..record }.change(TurnEvent::Finish)).await.unwrap();
    }
    assert!(store.retire_checkpoints(&session, 1).await.unwrap().is_empty());
    assert_eq!(turns_kept(&store, &session).await, [2]);
    assert!(store.tree_refs().await.unwrap().contains(&same));
}

#[tokio::test]
async fn every_tree_that_is_named_is_known() {
    let home = home();
    let store = open(home.path());
    let (gone, stays) = (session_with_tree(&store).await, session_with_tree(&store).await);
    let (_, kept) = turn_with_checkpoint(&store, &stays).await;
    turn_with_checkpoint(&store, &gone).await;
    let env = tree();
    store.create_env(new_env("shared", env.clone())).await.unwrap();
    assert_eq!(store.tree_refs().await.unwrap().len(), 5);
    store.delete_session(&gone).await.unwrap();
    let own = store.session(&stays).await.unwrap().tree.unwrap();
    assert_eq!(store.tree_refs().await.unwrap(), HashSet::from([own, kept.clone(), env.clone()]));
    let back = undo(&stays, 1);
    store.undo(back.clone()).await.unwrap();
    assert_eq!(store.tree_refs().await.unwrap(), HashSet::from([back.tree, kept, env]), "the tree before is garbage");
}

#[tokio::test]
async fn files_that_are_left_as_they_are_become_a_checkpoint_before_anything_takes_them() {
    let home = home();
    let store = open(home.path());
    let session = session_with_tree(&store).await;
    assert!(store.initial_checkpoint(&session, tree(), NOW).await.unwrap());
    let lease = running(&store, &session).await;
    let ends = Record::new(lease.turn.clone(), lease.fence, vec![result(Outcome::Completed, None)], NOW).change(TurnEvent::Finish);
    let both = Record { checkpoint: Some(tree()), is_left: true, ..ends.clone() };
    assert!(matches!(store.record(both).await, Err(StoreError::Conflict(_))), "a checkpoint or none, not both");
    let running_still = Record { is_left: true, ..Record::new(lease.turn.clone(), lease.fence, vec![text("x")], NOW) };
    assert!(matches!(store.record(running_still).await, Err(StoreError::Conflict(_))), "it is not over");
    store.record(Record { is_left: true, ..ends }).await.unwrap();
    let row = store.session(&session).await.unwrap();
    assert_eq!((row.head, row.left, turns_kept(&store, &session).await), (1, Some(1), vec![0]));
    // What would take the only copy away is refused until it is kept.
    assert!(matches!(store.undo(undo(&session, 0)).await, Err(StoreError::Conflict(_))));
    assert!(matches!(store.save_env(new_env("e", tree()), &session).await, Err(StoreError::Conflict(_))));
    assert!(store.initial_checkpoint(&session, tree(), NOW).await.unwrap());
    assert_eq!((store.session(&session).await.unwrap().left, turns_kept(&store, &session).await), (None, vec![0, 1]));
    store.undo(undo(&session, 0)).await.unwrap();
    store.undo(undo(&session, 1)).await.unwrap();
    // A further turn that keeps its files says nothing of those before it.
    let (last, _) = turn_with_checkpoint(&store, &session).await;
    assert_eq!((store.session(&session).await.unwrap().left, last), (None, 2));
}
