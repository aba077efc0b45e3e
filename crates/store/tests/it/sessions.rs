//! Making, listing and removing sessions.

use lazaret_store::{SessionFilter, StoreError};
use model::Code;
use serde_json::json;

use crate::common::{NOW, accept, finish, home, new_session, open, session};

#[tokio::test]
async fn a_session_is_kept_as_it_was_made() {
    let home = home();
    let store = open(home.path());
    let new = new_session();
    store.create_session(new.clone()).await.unwrap();
    let row = store.session(&new.id).await.unwrap();
    assert_eq!((row.engine, row.model, row.provider), (new.engine.clone(), new.model.clone(), new.provider.clone()));
    assert_eq!((row.labels, row.spec, row.created), (new.labels.clone(), new.spec.clone(), NOW));
    assert_eq!((row.turns, row.last_seq, row.engine_session), (0, 0, None));
    assert!(matches!(store.create_session(new).await, Err(StoreError::Conflict(_))));
    assert_eq!(store.session(&new_session().id).await.unwrap_err().code(), Code::NotFound);
    let large = lazaret_store::NewSession { spec: json!("x".repeat(300 << 10)), ..new_session() };
    assert!(matches!(store.create_session(large).await, Err(StoreError::Invalid { field: "spec", .. })));
}

#[tokio::test]
async fn pages_cover_every_session_once_youngest_first() {
    let home = home();
    let store = open(home.path());
    let mut made = Vec::new();
    for _ in 0..25 {
        made.push(session(&store).await);
    }
    made.reverse();
    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page = store.list_sessions(&SessionFilter::default(), after, 10).await.unwrap();
        assert!(page.items.len() <= 10);
        listed.extend(page.items.into_iter().map(|s| s.id));
        match page.next {
            Some(next) => after = Some(next.parse().unwrap()),
            None => break,
        }
    }
    assert_eq!(listed, made);
    for bad in [0, 1001] {
        assert!(store.list_sessions(&SessionFilter::default(), None, bad).await.is_err());
    }
}

#[tokio::test]
async fn a_session_goes_with_all_it_owns_but_not_while_it_works() {
    let home = home();
    let store = open(home.path());
    let (gone, stays) = (session(&store).await, session(&store).await);
    finish_one(&store, &stays).await;
    let turn = accept(&store, &gone).await.turn;
    assert!(matches!(store.delete_session(&gone).await, Err(StoreError::Conflict(_))));
    let lease = store.lease_turn(&turn, None, NOW).await.unwrap();
    start(&store, &lease).await;
    assert!(matches!(store.delete_session(&gone).await, Err(StoreError::Conflict(_))));
    finish(&store, &turn, lease.fence).await;
    store.delete_session(&gone).await.unwrap();
    for code in [
        store.session(&gone).await.unwrap_err().code(),
        store.turn(&turn).await.unwrap_err().code(),
        store.prompt(&turn).await.unwrap_err().code(),
        store.events(&gone, 0, 10).await.unwrap_err().code(),
        store.delete_session(&gone).await.unwrap_err().code(),
    ] {
        assert_eq!(code, Code::NotFound);
    }
    assert_eq!(store.events(&stays, 0, 10).await.unwrap().len(), 1);
}

async fn start(store: &lazaret_store::Store, lease: &lazaret_store::Lease) {
    let record = lazaret_store::Record::new(lease.turn.clone(), lease.fence, vec![], NOW);
    store.record(record.change(model::TurnEvent::Start)).await.unwrap();
}

async fn finish_one(store: &lazaret_store::Store, session: &model::SessionId) {
    let turn = accept(store, session).await.turn;
    let lease = store.lease_turn(&turn, None, NOW).await.unwrap();
    start(store, &lease).await;
    finish(store, &turn, lease.fence).await;
}
