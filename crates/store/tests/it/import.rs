//! Sessions that come from another store.

use lazaret_store::{Imported, NewSession, StoreError};
use model::{EventKind, Outcome, TurnState};

use crate::common::{NOW, accept, home, imported, new_session, open, result, session_with_tree, text, tree};

fn some() -> Imported {
    imported(new_session().id)
}

#[tokio::test]
async fn an_imported_session_is_a_session_like_any_other() {
    let home = home();
    let store = open(home.path());
    let new = some();
    let id = new.session.id.clone();
    store.import_session(new.clone()).await.unwrap();
    let row = store.session(&id).await.unwrap();
    assert_eq!((row.head, row.turns, row.last_seq, row.engine_session), (1, 2, 3, new.engine_session.clone()));
    let turns = store.turns(&id, 0, 10).await.unwrap();
    let shape: Vec<_> = turns.iter().map(|t| (t.n, t.parent, t.state, t.outcome)).collect();
    let expect = [(1, 0, TurnState::Done, Some(Outcome::Completed)), (2, 1, TurnState::Cancelled, Some(Outcome::Cancelled))];
    assert_eq!(shape, expect);
    assert_eq!(store.prompt(&turns[1].id).await.unwrap(), "do it");
    let kinds: Vec<EventKind> = store.events(&id, 0, 10).await.unwrap().into_iter().map(|e| e.kind).collect();
    assert_eq!(kinds, new.events.into_iter().map(|e| e.kind).collect::<Vec<_>>());
    assert!(store.initial_checkpoint(&id, tree(), NOW).await.unwrap());
    assert_eq!(store.checkpoint(&id, 1).await.unwrap().engine_session, row_name(&store, &id).await, "of its head");
    let next = accept(&store, &id).await;
    assert_eq!((next.n, store.lease_turn(&next.turn, None, NOW).await.unwrap().parent), (3, 1));
}

async fn row_name(store: &lazaret_store::Store, id: &model::SessionId) -> Option<String> {
    store.session(id).await.unwrap().engine_session
}

#[tokio::test]
async fn what_breaks_a_rule_is_not_taken_over() {
    let home = home();
    let store = open(home.path());
    let spoil = |change: fn(&mut Imported)| {
        let mut new = some();
        change(&mut new);
        new
    };
    let bad = [
        spoil(|i| i.session.tree = None),
        spoil(|i| i.head = 3),
        spoil(|i| i.turns[0].parent = 1),
        spoil(|i| i.turns[1].state = TurnState::Running),
        spoil(|i| i.turns[0].state = TurnState::Failed),
        spoil(|i| i.turns[0].outcome = Some(Outcome::Failed)),
        spoil(|i| i.turns[0].outcome = None),
        spoil(|i| i.turns[0].prompt = String::new()),
        spoil(|i| i.events.swap(0, 1)),
        spoil(|i| drop(i.events.pop())),
        spoil(|i| i.events[0].turn = 0),
        spoil(|i| i.events[0].turn = 9),
        spoil(|i| i.events[0].kind = result(Outcome::Completed, None)),
        spoil(|i| i.events.push(lazaret_store::ImportedEvent { turn: 2, time: NOW, kind: text("late") })),
        spoil(|i| i.engine_session = Some("--dangerous".into())),
        spoil(|i| i.engine_session = Some("a b".into())),
        spoil(|i| i.engine_session = Some(String::new())),
    ];
    for bad in bad {
        let id = bad.session.id.clone();
        let said = format!("{bad:?}");
        assert!(matches!(store.import_session(bad).await, Err(StoreError::Invalid { .. })), "{said}");
        assert!(store.session(&id).await.is_err());
    }
}

#[tokio::test]
async fn nothing_that_is_there_is_overwritten() {
    let home = home();
    let store = open(home.path());
    let there = session_with_tree(&store).await;
    let turn = accept(&store, &there).await.turn;
    let own = store.session(&there).await.unwrap();
    let same_id = Imported { session: NewSession { id: there.clone(), ..some().session }, ..some() };
    let same_tree = Imported { session: NewSession { tree: own.tree.clone(), ..some().session }, ..some() };
    let mut same_turn = some();
    same_turn.turns[1].id = turn;
    for bad in [same_id, same_tree, same_turn] {
        let said = format!("{bad:?}");
        assert!(matches!(store.import_session(bad).await, Err(StoreError::Conflict(_))), "{said}");
    }
    assert_eq!(store.session(&there).await.unwrap(), own);
    assert_eq!(store.list_sessions(&lazaret_store::SessionFilter::default(), None, 10).await.unwrap().items.len(), 1);
}
