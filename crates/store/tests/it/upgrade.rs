//! A database of an earlier version opens, keeps what it holds, and works on.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use lazaret_store::{Fence, Record, SessionFilter};
use model::{SessionId, TreeId, TurnEvent, TurnId, TurnState};

use crate::common::{NOW, accept, database, finish, home, open, running, text, tree, turn_with_checkpoint};

/// What the first version left: a session whose third turn runs, after one that nobody ever worked on; and one that
/// never had a turn.
const ROWS: &str = "
    INSERT INTO meta (key, value) VALUES ('commits', '41'), ('clean', '0'), ('boot', '');
    INSERT INTO sessions (id, engine, model, provider, engine_session, labels, spec, created_ms, updated_ms, last_fence, last_turn, last_seq)
    VALUES ('ses_0000000000000000000000000000000a', 'mini', 'small', 'rehearsal', 'abc', '{\"who\":\"x\"}', '{\"image\":\"host\"}', 1, 2, 3, 3, 2),
           ('ses_0000000000000000000000000000000b', 'mini', '', 'rehearsal', NULL, '{}', '{}', 1, 1, 0, 0, 0);
    INSERT INTO turns (id, session, n, state, fence, tries, spool, idem, spec, sandbox, outcome, code, accepted_ms, leased_ms, started_ms, ended_ms)
    VALUES ('trn_00000000000000000000000000000001', 'ses_0000000000000000000000000000000a', 1, 'done', 1, 1, 5, 'k', '{}', NULL, 'completed', NULL, 1, 1, 1, 1),
           ('trn_00000000000000000000000000000002', 'ses_0000000000000000000000000000000a', 2, 'cancelled', 0, 0, 0, NULL, '{}', NULL, 'cancelled', NULL, 1, NULL, NULL, 1),
           ('trn_00000000000000000000000000000003', 'ses_0000000000000000000000000000000a', 3, 'running', 3, 2, 7, NULL, '{}', NULL, NULL, NULL, 1, 1, 1, NULL);
    INSERT INTO prompts (turn, body) SELECT id, CAST('say it' AS BLOB) FROM turns;
    INSERT INTO events (session, seq, turn, time_ms, body)
    VALUES ('ses_0000000000000000000000000000000a', 1, 'trn_00000000000000000000000000000001', 1, '{\"type\":\"text\",\"text\":\"a\"}'),
           ('ses_0000000000000000000000000000000a', 2, 'trn_00000000000000000000000000000003', 1, '{\"type\":\"text\",\"text\":\"b\"}');
    INSERT INTO budgets (scope, spent, updated_ms) VALUES ('day', 12, 1);
";

#[tokio::test]
async fn a_database_of_the_first_version_is_carried_over() {
    let home = home();
    let old = rusqlite::Connection::open(database(home.path())).unwrap();
    old.execute_batch(include_str!("../../migrations/0001_start.sql")).unwrap();
    old.execute_batch(ROWS).unwrap();
    old.pragma_update(None, "application_id", 0x4c5a_5254).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    drop(old);
    fs::set_permissions(database(home.path()), PermissionsExt::from_mode(0o600)).unwrap();

    let store = open(home.path());
    let (used, fresh) = (SessionId::from_bits(0xa), SessionId::from_bits(0xb));
    let row = store.session(&used).await.unwrap();
    assert_eq!((row.engine_session.as_deref(), row.turns, row.last_seq, row.head), (Some("abc"), 3, 2, 1));
    assert_eq!((row.agent.as_str(), row.tenant.as_str(), row.priority, row.title.as_str()), ("default", "default", 5, ""));
    assert_eq!((row.env, row.archived, row.parent), (None, None, None));
    let trees = [TreeId::from_bits(0xa), TreeId::from_bits(0xb)];
    assert_eq!((row.tree.as_ref(), store.tree_refs().await.unwrap()), (Some(&trees[0]), HashSet::from(trees.clone())));
    assert_eq!(store.list_sessions(&SessionFilter::default(), None, 10).await.unwrap().items.len(), 2);
    let turns = store.turns(&used, 0, 10).await.unwrap();
    let shape: Vec<_> = turns.iter().map(|t| (t.n, t.state, t.parent, t.engine_lease, t.priority)).collect();
    let expect = [(1, TurnState::Done, 0, 0, 5), (2, TurnState::Cancelled, 0, 0, 5), (3, TurnState::Running, 1, 3, 5)];
    assert_eq!(shape, expect);
    assert_eq!(store.prompt(&turns[0].id).await.unwrap(), "say it");
    assert_eq!(store.events(&used, 0, 10).await.unwrap().len(), 2);
    assert_eq!(store.budget_spent("day").await.unwrap(), model::Money(12));
    assert!(store.checkpoints(&used).await.unwrap().is_empty());

    // The turn that ran goes on under its lease, and the session has checkpoints from then on.
    let third = TurnId::from_bits(3);
    store.append_events(&third, Fence(3), vec![text("c")], NOW).await.unwrap();
    finish(&store, &third, Fence(3)).await;
    assert_eq!(store.session(&used).await.unwrap().head, 3);
    assert!(store.initial_checkpoint(&used, tree(), NOW).await.unwrap());
    let (n, kept) = turn_with_checkpoint(&store, &used).await;
    let checkpoints: Vec<u64> = store.checkpoints(&used).await.unwrap().iter().map(|c| c.turn).collect();
    assert_eq!((n, checkpoints), (4, vec![3, 4]));
    assert!(store.tree_refs().await.unwrap().contains(&kept));
    let lease = running(&store, &fresh).await;
    store.record(Record::new(lease.turn, lease.fence, vec![], NOW).change(TurnEvent::Release)).await.unwrap();
    accept(&store, &fresh).await;
    store.close().await.unwrap();
    drop(store);
    assert_eq!(open(home.path()).session(&used).await.unwrap().head, 4, "and once more, now with nothing to carry over");
}
