//! Envs: joining, saving, undoing for all, and deleting.

use lazaret_store::{CORE_MEMORY_CHARS_MAX, NewEnv, NewSession, Record, Store, StoreError, Undo};
use model::{Code, Outcome, SessionId, Timestamp, TurnEvent};
use serde_json::json;

use crate::common::{
    NOW, accept, finish, home, new_env, new_session, new_turn, open, result, running, session, session_in, session_with_tree, tree,
    turn_with_checkpoint,
};

async fn with_env(slug: &str) -> (tempfile::TempDir, Store) {
    let home = home();
    let store = open(home.path());
    store.create_env(new_env(slug, tree())).await.unwrap();
    (home, store)
}

#[tokio::test]
async fn an_env_is_made_listed_and_changed() {
    let (_home, store) = with_env("b").await;
    let new = NewEnv { tenant: "acme".into(), mounts: json!([{"host": "/srv"}]), ..new_env("a", tree()) };
    let made = store.create_env(new.clone()).await.unwrap();
    assert_eq!((made.tree.clone(), made.state.as_str(), made.sessions, made.created), (new.tree.clone(), "live", 0, NOW));
    assert_eq!((made.core_memory.as_str(), &made.mounts), ("", &new.mounts));
    assert_eq!(store.env("a").await.unwrap(), made);
    assert!(matches!(store.create_env(new_env("a", tree())).await, Err(StoreError::Conflict(_))));
    assert!(matches!(store.create_env(new_env("c", new.tree)).await, Err(StoreError::Conflict(_))), "one tree, one env");
    let later = Timestamp(NOW.0 + 1);
    let row = store.update_env("a", Some("New name".into()), Some("a\nb".into()), None, later).await.unwrap();
    assert_eq!((row.name.as_str(), row.core_memory.as_str(), row.mounts, row.updated), ("New name", "a\nb", new.mounts, later));
    let most = "\u{e9}".repeat(CORE_MEMORY_CHARS_MAX);
    store.update_env("a", None, Some(most.clone()), Some(json!([])), NOW).await.unwrap();
    for (name, memory) in [(None, Some(format!("{most}x"))), (None, Some("\0".into())), (Some(String::new()), None)] {
        assert!(matches!(store.update_env("a", name, memory, None, NOW).await, Err(StoreError::Invalid { .. })));
    }
    let row = store.env("a").await.unwrap();
    assert_eq!((row.core_memory, row.name.as_str(), row.mounts), (most, "New name", json!([])));
    assert_eq!(store.update_env("c", None, None, None, NOW).await.unwrap_err().code(), Code::NotFound);
    for bad in ["", "A", "a/b", "..", &"x".repeat(64)] {
        assert!(matches!(store.create_env(new_env(bad, tree())).await, Err(StoreError::Invalid { field: "slug", .. })), "{bad}");
    }
    let slugs = async |tenant: Option<&str>, after: Option<&str>| {
        let page = store.list_envs(tenant.map(Into::into), after.map(Into::into), 1).await.unwrap();
        (page.items.into_iter().map(|e| e.slug).collect::<Vec<_>>(), page.next)
    };
    assert_eq!(slugs(None, None).await, (vec!["a".into()], Some("a".into())));
    assert_eq!(slugs(None, Some("a")).await, (vec!["b".into()], None));
    assert_eq!(slugs(Some("default"), None).await, (vec!["b".into()], None));
    assert!(store.list_envs(None, None, 0).await.is_err());
}

#[tokio::test]
async fn a_session_joins_an_env_of_its_own_tenant_only() {
    let (_home, store) = with_env("shared").await;
    let (one, two) = (session_in(&store, "shared").await, session_in(&store, "shared").await);
    let row = store.session(&one).await.unwrap();
    assert_eq!((row.env.as_deref(), row.tree), (Some("shared"), None));
    assert_eq!(store.env_sessions("shared").await.unwrap(), [one.clone(), two]);
    let foreign = NewSession { tenant: "acme".into(), env: Some("shared".into()), ..new_session() };
    let unknown = NewSession { env: Some("other".into()), ..new_session() };
    for (new, slug) in [(foreign, "shared"), (unknown, "other")] {
        let refused = store.create_session(new).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("no env `{slug}`"), "what is not ours looks as if it were not there");
    }
    store.update_session(&one, None, None, Some(true), NOW).await.unwrap();
    assert_eq!((store.env("shared").await.unwrap().sessions, store.env_sessions("shared").await.unwrap().len()), (1, 1));
}

#[tokio::test]
async fn a_session_is_saved_as_an_env_and_goes_on_in_it() {
    let home = home();
    let store = open(home.path());
    let session = session_with_tree(&store).await;
    turn_with_checkpoint(&store, &session).await;
    let before = store.session(&session).await.unwrap();
    let lease = running(&store, &session).await;
    let env = store.save_env(new_env("kept", tree()), &session).await.unwrap();
    assert_eq!((Some(&env.tree), env.sessions), (before.tree.as_ref(), 1), "the session's own tree, not a copy");
    let row = store.session(&session).await.unwrap();
    assert_eq!((row.env.as_deref(), row.tree), (Some("kept"), None));
    assert_eq!((row.head, row.engine_session, row.turns), (1, before.engine_session, 2));
    let end = Record { checkpoint: Some(tree()), ..Record::new(lease.turn, lease.fence, vec![result(Outcome::Completed, None)], NOW) };
    store.record(end.change(TurnEvent::Finish)).await.unwrap();
    assert_eq!(store.session(&session).await.unwrap().head, 2, "a turn that ran meanwhile ends like any other");
    assert!(matches!(store.save_env(new_env("again", tree()), &session).await, Err(StoreError::Conflict(_))), "in an env");
    let bare = crate::common::session(&store).await;
    assert!(matches!(store.save_env(new_env("bare", tree()), &bare).await, Err(StoreError::Conflict(_))), "without files");
    let other = session_with_tree(&store).await;
    assert!(matches!(store.save_env(new_env("kept", tree()), &other).await, Err(StoreError::Conflict(_))), "the slug is taken");
    let foreign = NewEnv { tenant: "acme".into(), ..new_env("theirs", tree()) };
    assert!(matches!(store.save_env(foreign, &other).await, Err(StoreError::Invalid { field: "tenant", .. })));
    assert!(store.session(&other).await.unwrap().tree.is_some());
    assert_eq!(store.save_env(new_env("x", tree()), &new_session().id).await.unwrap_err().code(), Code::NotFound);
}

fn undo(session: &SessionId, to: u64, leave_env: bool) -> Undo {
    Undo { session: session.clone(), to, tree: tree(), env: Some("shared".into()), leave_env, now: NOW }
}

#[tokio::test]
async fn undo_in_an_env_is_for_all_or_leaves_it() {
    let (_home, store) = with_env("shared").await;
    let (one, two) = (session_in(&store, "shared").await, session_in(&store, "shared").await);
    store.initial_checkpoint(&one, tree(), NOW).await.unwrap();
    turn_with_checkpoint(&store, &one).await;
    let back = undo(&one, 0, false);
    let row = store.undo(back.clone()).await.unwrap();
    assert_eq!((row.head, row.env.as_deref(), row.tree), (0, Some("shared"), None));
    assert_eq!(store.env("shared").await.unwrap().tree, back.tree);
    let before = store.session(&two).await.unwrap();
    let alone = undo(&one, 1, true);
    let row = store.undo(alone.clone()).await.unwrap();
    assert_eq!((row.head, row.env, row.tree), (1, None, Some(alone.tree)));
    assert_eq!(store.env("shared").await.unwrap().tree, back.tree);
    assert_eq!(store.session(&two).await.unwrap(), before);
    assert_eq!(store.env_sessions("shared").await.unwrap(), std::slice::from_ref(&two));
    // Nobody's tree is swapped while they work in it; a turn that only waits its turn will find the new one.
    let third = session_in(&store, "shared").await;
    let lease = running(&store, &third).await;
    store.initial_checkpoint(&two, tree(), NOW).await.unwrap();
    assert!(matches!(store.undo(undo(&two, 0, false)).await, Err(StoreError::Conflict(_))));
    finish(&store, &lease.turn, lease.fence).await;
    let waiting = accept(&store, &third).await.turn;
    store.undo(undo(&two, 0, false)).await.unwrap();
    store.lease_turn(&waiting, None, NOW).await.unwrap();
    assert!(matches!(store.undo(undo(&two, 0, false)).await, Err(StoreError::Conflict(_))));
    store.undo(undo(&two, 0, true)).await.unwrap();
    let stale = store.undo(undo(&one, 0, false)).await;
    assert!(matches!(stale, Err(StoreError::Conflict(_))), "the caller thinks that it is still in the env");
}

#[tokio::test]
async fn who_changed_an_env_since_a_checkpoint_is_known() {
    let (_home, store) = with_env("shared").await;
    let [one, two, three] = [session_in(&store, "shared").await, session_in(&store, "shared").await, session_in(&store, "shared").await];
    turn_with_checkpoint(&store, &two).await;
    turn_with_checkpoint(&store, &one).await;
    let since = async |turn| store.env_changed_since("shared", &one, turn).await.unwrap();
    assert!(since(1).await.is_empty(), "what ended before counts no more, though no clock went on");
    let waits = accept(&store, &three).await.turn;
    assert_eq!(since(1).await, std::slice::from_ref(&three), "a turn that is to come");
    let lease = store.lease_turn(&waits, None, NOW).await.unwrap();
    let cancel = Record::new(waits, lease.fence, vec![result(Outcome::Cancelled, None)], NOW).change(TurnEvent::Cancel);
    store.record(cancel).await.unwrap();
    assert_eq!(since(1).await, std::slice::from_ref(&three), "a turn that was taken back half way");
    turn_with_checkpoint(&store, &two).await;
    assert_eq!(since(1).await, [two.clone(), three.clone()]);
    turn_with_checkpoint(&store, &one).await;
    assert!(since(2).await.is_empty());
    assert_eq!(since(1).await, [two.clone(), three.clone()], "longer ago, more happened");
    // Going back changes files as well; who left or is gone has still done what it did.
    store.undo(undo(&three, 0, false)).await.unwrap_err();
    store.undo(undo(&two, 1, false)).await.unwrap();
    assert_eq!(since(2).await, std::slice::from_ref(&two));
    store.undo(undo(&two, 2, true)).await.unwrap();
    assert_eq!(since(2).await, std::slice::from_ref(&two));
    store.delete_session(&two).await.unwrap();
    assert_eq!(since(2).await, [two]);
    turn_with_checkpoint(&store, &one).await;
    assert!(since(3).await.is_empty());
    let missing = store.env_changed_since("shared", &one, 9).await.unwrap_err();
    assert_eq!(missing.code(), Code::CheckpointMissing);
}

#[tokio::test]
async fn an_env_in_use_is_deleted_by_force_only() {
    let (_home, store) = with_env("shared").await;
    let (idle, busy) = (session_in(&store, "shared").await, session_in(&store, "shared").await);
    let lease = running(&store, &busy).await;
    let waiting = accept(&store, &busy).await.turn;
    let refused = store.mark_env_deleting("shared", false, NOW).await.unwrap_err();
    assert!(refused.code() == Code::Conflict && refused.to_string().contains(busy.as_str()), "{refused}");
    assert!(!refused.to_string().contains(idle.as_str()));
    assert!(matches!(store.delete_env("shared").await, Err(StoreError::Conflict(_))), "it is live");
    assert_eq!(store.mark_env_deleting("shared", true, NOW).await.unwrap(), [idle.clone(), busy.clone()]);
    assert_eq!(store.mark_env_deleting("shared", false, NOW).await.unwrap().len(), 2, "once more changes nothing");
    let join = NewSession { env: Some("shared".into()), ..new_session() };
    assert!(matches!(store.create_session(join.clone()).await, Err(StoreError::Conflict(_))));
    for session in [&idle, &busy] {
        assert!(matches!(store.accept_turn(new_turn(session, "x")).await, Err(StoreError::Conflict(_))));
    }
    assert!(matches!(store.update_env("shared", None, None, None, NOW).await, Err(StoreError::Conflict(_))));
    // What ran ends; what waits is not taken, but can be ended.
    let cancel = |turn, fence| Record::new(turn, fence, vec![result(Outcome::Cancelled, None)], NOW).change(TurnEvent::Cancel);
    store.record(cancel(lease.turn, lease.fence)).await.unwrap();
    assert!(matches!(store.lease_turn(&waiting, None, NOW).await, Err(StoreError::Conflict(_))));
    let tree = store.env("shared").await.unwrap().tree;
    assert_eq!(store.delete_env("shared").await.unwrap(), tree);
    assert!(!store.tree_refs().await.unwrap().contains(&tree));
    assert!(matches!(store.lease_turn(&waiting, None, NOW).await, Err(StoreError::Conflict(_))));
    store.record(cancel(waiting, lazaret_store::Fence(0))).await.unwrap();
    for code in [store.env("shared").await.unwrap_err().code(), store.delete_env("shared").await.unwrap_err().code()] {
        assert_eq!(code, Code::NotFound);
    }
}

/// A name that is free again must not lead anybody into the files of whoever takes it next.
#[tokio::test]
async fn the_sessions_of_a_deleted_env_are_not_in_the_next_of_its_name() {
    let (_home, store) = with_env("shared").await;
    let old = session_in(&store, "shared").await;
    turn_with_checkpoint(&store, &old).await;
    store.mark_env_deleting("shared", false, NOW).await.unwrap();
    store.delete_env("shared").await.unwrap();
    let theirs = tree();
    store.create_env(NewEnv { tenant: "acme".into(), ..new_env("shared", theirs.clone()) }).await.unwrap();
    let row = store.session(&old).await.unwrap();
    let name = row.env.unwrap();
    assert_eq!(name, "shared (deleted)");
    assert_eq!(store.env(&name).await.unwrap_err().code(), Code::NotFound);
    assert!(store.create_env(new_env(&name, tree())).await.is_err(), "nobody can take the name");
    assert!(store.create_session(NewSession { env: Some(name.clone()), ..new_session() }).await.is_err());
    assert!(matches!(store.accept_turn(new_turn(&old, "x")).await, Err(StoreError::Conflict(_))));
    let own = |leave_env| Undo { env: Some(name.clone()), ..undo(&old, 1, leave_env) };
    for bad in [undo(&old, 1, false), undo(&old, 1, true), own(false)] {
        assert!(matches!(store.undo(bad).await, Err(StoreError::Conflict(_))));
    }
    assert_eq!((store.env("shared").await.unwrap().sessions, store.env_sessions("shared").await.unwrap()), (0, vec![]));
    assert!(store.env_changed_since("shared", &session(&store).await, 0).await.is_err());
    assert_eq!(store.env("shared").await.unwrap().tree, theirs);
    // With a checkpoint it can go on alone.
    let row = store.undo(own(true)).await.unwrap();
    assert_eq!((row.env, row.tree.is_some()), (None, true));
    accept(&store, &old).await;
    store.mark_env_deleting("shared", false, NOW).await.unwrap();
    store.delete_env("shared").await.unwrap();
    assert_eq!(store.session(&old).await.unwrap().env, None);
}
