//! Making, listing and removing sessions.

use lazaret_store::{LIST_MAX, NAME_CHARS_MAX, NewSession, SessionFilter, Store, StoreError};
use model::{Code, SessionId, Timestamp};
use serde_json::json;

use crate::common::{NOW, accept, finish, home, new_env, new_session, new_turn, open, session, tree};

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

#[tokio::test]
async fn what_a_session_is_made_with_comes_back() {
    let home = home();
    let store = open(home.path());
    let own = tree();
    let parent = (new_session().id, 3);
    let new = NewSession {
        agent: "writer".into(),
        tenant: "acme".into(),
        tree: Some(own.clone()),
        title: "Über alles \u{1f600}".into(),
        priority: 9,
        parent: Some(parent.clone()),
        ..new_session()
    };
    store.create_session(new.clone()).await.unwrap();
    let row = store.session(&new.id).await.unwrap();
    assert_eq!((row.agent, row.tenant, row.title, row.priority), ("writer".into(), "acme".into(), new.title.clone(), 9));
    assert_eq!((row.tree, row.parent, row.env), (Some(own.clone()), Some(parent), None));
    assert_eq!((row.head, row.archived), (0, None));
    let plain = NewSession::new(new_session().id, "mini", "", "rehearsal", json!({}), NOW);
    store.create_session(plain.clone()).await.unwrap();
    let row = store.session(&plain.id).await.unwrap();
    assert_eq!((row.agent.as_str(), row.tenant.as_str(), row.priority), ("default", "default", 5));
    assert_eq!((row.title.as_str(), row.tree, row.parent), ("", None, None));
    for bad in [
        NewSession { title: "x".repeat(NAME_CHARS_MAX + 1), ..new_session() },
        NewSession { title: "a\u{1b}[2J".into(), ..new_session() },
        NewSession { agent: String::new(), ..new_session() },
        NewSession { tenant: " ".into(), ..new_session() },
        NewSession { env: Some("e".into()), tree: Some(tree()), ..new_session() },
    ] {
        assert!(matches!(store.create_session(bad).await, Err(StoreError::Invalid { .. })));
    }
    let same_tree = NewSession { tree: Some(own), ..new_session() };
    assert!(matches!(store.create_session(same_tree).await, Err(StoreError::Conflict(_))), "two would write one tree");
}

async fn listed(store: &Store, filter: SessionFilter) -> Vec<SessionId> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        // Pages of one find what a wrong cursor loses.
        let page = store.list_sessions(&filter, after, 1).await.unwrap();
        all.extend(page.items.into_iter().map(|s| s.id));
        match page.next {
            Some(next) => after = Some(next.parse().unwrap()),
            None => break,
        }
    }
    let whole = store.list_sessions(&filter, None, LIST_MAX).await.unwrap();
    assert_eq!(whole.items.into_iter().map(|s| s.id).collect::<Vec<_>>(), all);
    all
}

#[tokio::test]
async fn a_list_holds_those_to_which_all_that_is_asked_applies() {
    let home = home();
    let store = open(home.path());
    store.create_env(new_env("shared", tree())).await.unwrap();
    let label = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    let make = async |new: NewSession| {
        store.create_session(new.clone()).await.unwrap();
        new.id
    };
    let acme = make(NewSession { tenant: "acme".into(), labels: label("who", "ann"), ..new_session() }).await;
    let writer = make(NewSession { agent: "writer".into(), labels: label("ann", "who"), ..new_session() }).await;
    let shared = make(NewSession { env: Some("shared".into()), labels: label("who", "ann"), ..new_session() }).await;
    store.update_session(&writer, None, None, Some(true), NOW).await.unwrap();
    let all = SessionFilter::default;
    let default = || Some("default".to_owned());
    let ann = Some(("who".to_owned(), "ann".to_owned()));
    let cases = [
        (all(), vec![&shared, &writer, &acme]),
        (SessionFilter { tenant: Some("acme".into()), ..all() }, vec![&acme]),
        (SessionFilter { tenant: default(), ..all() }, vec![&shared, &writer]),
        (SessionFilter { env: Some("shared".into()), ..all() }, vec![&shared]),
        (SessionFilter { agent: Some("writer".into()), ..all() }, vec![&writer]),
        (SessionFilter { label: ann.clone(), ..all() }, vec![&shared, &acme]),
        (SessionFilter { label: ann.clone(), tenant: default(), ..all() }, vec![&shared]),
        (SessionFilter { label: Some(("who".into(), "' OR 1=1".into())), ..all() }, vec![]),
        (SessionFilter { archived: Some(true), ..all() }, vec![&writer]),
        (SessionFilter { archived: Some(false), ..all() }, vec![&shared, &acme]),
        (SessionFilter { archived: Some(false), agent: Some("writer".into()), ..all() }, vec![]),
        (SessionFilter { forked: Some(true), ..all() }, vec![]),
        (SessionFilter { forked: Some(false), agent: Some("writer".into()), ..all() }, vec![&writer]),
        (SessionFilter { tenant: Some("nobody".into()), ..all() }, vec![]),
    ];
    for (filter, expect) in cases {
        let shown = format!("{filter:?}");
        assert_eq!(listed(&store, filter).await.iter().collect::<Vec<_>>(), expect, "{shown}");
    }
}

#[tokio::test]
async fn what_is_said_of_a_session_changes_and_the_rest_stays() {
    let home = home();
    let store = open(home.path());
    let session = session(&store).await;
    let later = Timestamp(NOW.0 + 5);
    let row = store.update_session(&session, Some("Named".into()), None, None, later).await.unwrap();
    assert_eq!((row.title.as_str(), row.labels.len(), row.updated), ("Named", 1, later));
    let row = store.update_session(&session, None, Some([].into()), None, NOW).await.unwrap();
    assert_eq!((row.title.as_str(), row.labels.len(), row.updated), ("Named", 0, later), "a clock that is set back changes nothing");
    assert_eq!(store.session(&session).await.unwrap(), row);
    store.update_spec(&session, json!({"image": "other"}), NOW).await.unwrap();
    assert_eq!(store.session(&session).await.unwrap().spec, json!({"image": "other"}));
    let unknown = new_session().id;
    assert_eq!(store.update_session(&unknown, None, None, None, NOW).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(store.update_spec(&unknown, json!({}), NOW).await.unwrap_err().code(), Code::NotFound);
    let long = "x".repeat(NAME_CHARS_MAX + 1);
    assert!(matches!(store.update_session(&session, Some(long), None, None, NOW).await, Err(StoreError::Invalid { .. })));
    let large = store.update_spec(&session, json!("x".repeat(300 << 10)), NOW).await;
    assert!(matches!(large, Err(StoreError::Invalid { field: "spec", .. })));
}

#[tokio::test]
async fn an_archived_session_rests_until_it_is_fetched_back() {
    let home = home();
    let store = open(home.path());
    let session = session(&store).await;
    let with_key = lazaret_store::NewTurn { key: Some("k".into()), ..new_turn(&session, "x") };
    let turn = store.accept_turn(with_key.clone()).await.unwrap().turn;
    let archive = async |on| store.update_session(&session, None, None, Some(on), NOW).await;
    assert!(matches!(archive(true).await, Err(StoreError::Conflict(_))), "a turn is open");
    let lease = store.lease_turn(&turn, None, NOW).await.unwrap();
    start(&store, &lease).await;
    assert!(matches!(archive(true).await, Err(StoreError::Conflict(_))), "a turn runs");
    finish(&store, &turn, lease.fence).await;
    assert_eq!(archive(true).await.unwrap().archived, Some(NOW));
    let again = store.update_session(&session, None, None, Some(true), Timestamp(NOW.0 + 9)).await.unwrap();
    assert_eq!(again.archived, Some(NOW), "since the first time");
    assert!(matches!(store.accept_turn(new_turn(&session, "x")).await, Err(StoreError::Conflict(_))));
    assert_eq!(store.accept_turn(with_key).await.unwrap().turn, turn, "what was accepted before is known");
    assert_eq!(store.session(&session).await.unwrap().turns, 1, "what was refused takes no place");
    assert_eq!(archive(false).await.unwrap().archived, None);
    accept(&store, &session).await;
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
