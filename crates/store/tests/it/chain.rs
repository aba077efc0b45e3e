//! Random walks through turns, undo, retirement and restarts, against a few lines that say what must come of them.

use std::collections::{BTreeMap, HashSet};

use lazaret_store::{EngineBase, Record, Spool, Store, StoreError, Undo};
use model::{Outcome, SessionId, TreeId, TurnEvent};

use crate::common::{NOW, accept, home, open, result, session_with_tree, text, tree};

/// Numbers that look random and are the same in every run with the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// What should be in the store of one session.
#[derive(Default)]
struct Expected {
    head: u64,
    turns: u64,
    last_seq: u64,
    /// The parent of each turn that was worked on.
    parents: BTreeMap<u64, u64>,
    /// The tree and the engine's name of the conversation of each checkpoint.
    kept: BTreeMap<u64, (TreeId, Option<String>)>,
    engine_session: Option<String>,
    tree: Option<TreeId>,
    /// An engine that lives: its lease and its last frame.
    engine: Option<EngineBase>,
}

#[tokio::test]
async fn any_walk_leaves_head_parents_and_checkpoints_as_they_should_be() {
    let mut walks = tokio::task::JoinSet::new();
    for seed in 1..=6 {
        walks.spawn(walk(seed));
    }
    while let Some(walk) = walks.join_next().await {
        walk.unwrap();
    }
}

async fn walk(seed: u64) {
    let home = home();
    let mut store = open(home.path());
    let session = session_with_tree(&store).await;
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let first = tree();
    store.initial_checkpoint(&session, first.clone(), NOW).await.unwrap();
    let own = store.session(&session).await.unwrap().tree;
    let mut expected = Expected { kept: [(0, (first, None))].into(), tree: own, ..Expected::default() };
    for _ in 0..60 {
        match dice.roll(10) {
            0..=5 => turn(&store, &session, &mut expected, &mut dice).await,
            6 | 7 => undo(&store, &session, &mut expected, &mut dice).await,
            8 => retire(&store, &session, &mut expected, &mut dice).await,
            _ => {
                store.close().await.unwrap();
                store = open(home.path());
            }
        }
        check(&store, &session, &expected, seed).await;
    }
    assert!(expected.turns > 10 && expected.kept.contains_key(&expected.head));
}

async fn turn(store: &Store, session: &SessionId, expected: &mut Expected, dice: &mut Dice) {
    let turn = accept(store, session).await.turn;
    expected.turns += 1;
    let n = expected.turns;
    let mut change = match dice.roll(4) {
        0 => (TurnEvent::Fail, Outcome::Failed),
        1 => (TurnEvent::Cancel, Outcome::Cancelled),
        _ => (TurnEvent::Finish, Outcome::Completed),
    };
    if dice.roll(5) == 0 {
        // Nobody took it.
        let end = Record::new(turn, lazaret_store::Fence(0), vec![result(Outcome::Cancelled, None)], NOW);
        store.record(end.change(TurnEvent::Cancel)).await.unwrap();
        expected.last_seq += 1;
        return;
    }
    let mut lease = store.lease_turn(&turn, expected.engine, NOW).await.unwrap();
    if dice.roll(4) == 0 {
        store.record(Record::new(turn.clone(), lease.fence, vec![], NOW).change(TurnEvent::Release)).await.unwrap();
        lease = store.lease_turn(&turn, None, NOW).await.unwrap();
        expected.engine = None;
    }
    assert_eq!(lease.parent, expected.head);
    let base = expected.engine.unwrap_or(EngineBase { lease: lease.fence.0, spool: 0 });
    assert_eq!((lease.engine_lease, lease.spool, &lease.engine_session), (base.lease, base.spool, &expected.engine_session));
    expected.parents.insert(n, expected.head);
    store.record(Record::new(turn.clone(), lease.fence, vec![], NOW).change(TurnEvent::Start)).await.unwrap();
    let spool = Spool { first: base.spool + 1, last: base.spool + 1 + dice.roll(5) };
    let frames = Record { spool: Some(spool), ..Record::new(turn.clone(), lease.fence, vec![text("x")], NOW) };
    store.record(frames.clone()).await.unwrap();
    assert!(matches!(store.record(frames).await, Err(StoreError::Conflict(_))), "a frame is recorded once");
    if change.1 == Outcome::Completed && dice.roll(2) == 0 {
        expected.engine_session = Some(format!("conversation {n}"));
    }
    if dice.roll(8) == 0 {
        change = (TurnEvent::Fail, Outcome::Timeout);
    }
    let kept = tree();
    let end = Record {
        checkpoint: Some(kept.clone()),
        engine_session: expected.engine_session.clone(),
        ..Record::new(turn, lease.fence, vec![result(change.1, None)], NOW)
    };
    store.record(end.change(change.0)).await.unwrap();
    expected.last_seq += 2;
    expected.head = n;
    expected.kept.insert(n, (kept, expected.engine_session.clone()));
    expected.engine = (change.0 == TurnEvent::Finish).then_some(EngineBase { lease: base.lease, spool: spool.last });
}

async fn undo(store: &Store, session: &SessionId, expected: &mut Expected, dice: &mut Dice) {
    let to = dice.roll(expected.turns + 2);
    let way = Undo { session: session.clone(), to, tree: tree(), env: None, leave_env: false, now: NOW };
    let done = store.undo(way.clone()).await;
    match expected.kept.get(&to) {
        None => assert!(matches!(done, Err(StoreError::NotFound { .. })), "{to}"),
        Some((_, name)) => {
            done.unwrap();
            expected.head = to;
            expected.engine_session.clone_from(name);
            expected.tree = Some(way.tree);
            // Whoever goes back ends the engine: what it knows is not so any more.
            expected.engine = None;
        }
    }
}

async fn retire(store: &Store, session: &SessionId, expected: &mut Expected, dice: &mut Dice) {
    let keep = usize::try_from(dice.roll(12)).unwrap();
    let youngest: HashSet<u64> = expected.kept.keys().rev().take(keep).copied().collect();
    let (head, before) = (expected.head, std::mem::take(&mut expected.kept));
    let (stay, go): (BTreeMap<_, _>, BTreeMap<_, _>) = before.into_iter().partition(|(n, _)| *n == head || youngest.contains(n));
    expected.kept = stay;
    let freed: HashSet<TreeId> = store.retire_checkpoints(session, keep).await.unwrap().into_iter().collect();
    assert_eq!(freed, go.into_values().map(|(tree, _)| tree).collect());
}

async fn check(store: &Store, session: &SessionId, expected: &Expected, seed: u64) {
    let row = store.session(session).await.unwrap();
    assert_eq!((row.head, row.turns, row.last_seq), (expected.head, expected.turns, expected.last_seq), "seed {seed}");
    assert_eq!((&row.engine_session, &row.tree), (&expected.engine_session, &expected.tree), "seed {seed}");
    let kept: BTreeMap<_, _> =
        store.checkpoints(session).await.unwrap().into_iter().map(|c| (c.turn, (c.tree, c.engine_session))).collect();
    assert_eq!(kept, expected.kept, "seed {seed}");
    for turn in store.turns(session, 0, 1000).await.unwrap() {
        assert_eq!(turn.parent, expected.parents.get(&turn.n).copied().unwrap_or(0), "seed {seed}, turn {}", turn.n);
        assert!(turn.parent < turn.n, "the chain ends");
    }
    let named: HashSet<TreeId> = expected.kept.values().map(|(tree, _)| tree.clone()).chain(expected.tree.clone()).collect();
    assert_eq!(store.tree_refs().await.unwrap(), named, "seed {seed}");
    let events = store.events(session, 0, 1000).await.unwrap();
    assert!(events.iter().zip(1..).all(|(e, n)| e.seq == n), "dense");
    assert!(store.open_turns(session).await.unwrap().is_empty());
}
