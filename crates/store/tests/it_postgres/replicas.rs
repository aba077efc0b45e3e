//! Several daemons on one database: one writer at a time, everybody hears of it, and what a lost one leaves is known.

use std::collections::HashSet;
use std::time::Duration;

use lazaret_store::{Access, Change, Changes, Config, KeySource, PoolAsk, Record, Secrets, Store, StoreError, Topic};
use model::{Code, TurnEvent, TurnState};
use tempfile::TempDir;

use crate::common::{
    NOW, accept, address, finish, home, meddle, new_env, new_session, new_turn, open, running, session, share, text, tree,
};

/// How long a test waits for what must come. Nothing waits so long unless it fails.
const WAIT: Duration = Duration::from_secs(240);

/// A home whose daemon uses the database of another one.
fn beside(first: &TempDir) -> TempDir {
    let second = home();
    share(second.path(), &address(first.path()));
    second
}

async fn next(changes: &mut Changes, wanted: impl Fn(&Change) -> bool) {
    let found = async {
        while let Some(change) = changes.next().await {
            if wanted(&change) {
                return;
            }
        }
        panic!("the store was closed");
    };
    tokio::time::timeout(WAIT, found).await.expect("the change is told of");
}

#[tokio::test]
async fn what_one_writes_the_other_reads_and_hears_of() {
    let first = home();
    let second = beside(&first);
    let (a, b) = (open(first.path()), open(second.path()));
    assert_ne!(a.replica(), b.replica());
    let names: HashSet<String> = a.replicas().await.unwrap().into_iter().map(|r| r.id).collect();
    assert_eq!(names, [&a, &b].map(|s| s.replica().unwrap().to_owned()).into());
    let (mut heard, mut own) = (b.changes().unwrap(), a.changes().unwrap());

    let id = session(&a).await;
    next(&mut heard, |c| *c == Change::Topic(Topic::Sessions)).await;
    assert_eq!(b.session_elsewhere(&id).await.unwrap().as_deref(), a.replica());
    assert_eq!(a.session_elsewhere(&id).await.unwrap(), None);
    let lease = running(&a, &id).await;
    next(&mut heard, |c| *c == Change::Inbox(id.clone())).await;
    a.append_events(&lease.turn, lease.fence, vec![text("hello")], NOW).await.unwrap();
    next(&mut heard, |c| *c == Change::Session(id.clone())).await;
    assert!(b.events(&id, 0, 10).await.unwrap().iter().any(|e| e.kind == text("hello")), "what is told of can be read");

    // The other way: a message and a cancellation from where the files are not.
    let turn = accept(&b, &id).await.turn;
    next(&mut own, |c| *c == Change::Inbox(id.clone())).await;
    assert_eq!(a.turn(&turn).await.unwrap().state, TurnState::Queued);
    b.signal_cancel(&id).await.unwrap();
    next(&mut own, |c| *c == Change::Cancel(id.clone())).await;

    // A write that fails is not told of, and those of its batch are.
    assert!(matches!(b.create_session(lazaret_store::NewSession { id: id.clone(), ..new_session() }).await, Err(StoreError::Conflict(_))));
    a.close().await.unwrap();
    assert!(a.changes().is_none(), "a closed store tells nothing");
    assert!(own.next().await.is_none() || own.next().await.is_none());
}

#[tokio::test]
async fn each_takes_up_its_own_turns_and_a_lost_ones_are_known() {
    let first = home();
    let second = beside(&first);
    let (a, b) = (open(first.path()), open(second.path()));
    let (mine, yours) = (session(&a).await, session(&b).await);
    let lease = running(&a, &mine).await;
    let waiting = accept(&a, &mine).await.turn;
    let other = accept(&b, &yours).await.turn;
    let ids = async |store: &Store| store.unfinished_turns().await.unwrap().into_iter().map(|t| t.id).collect::<Vec<_>>();
    assert_eq!(ids(&a).await, [lease.turn.clone(), waiting.clone()]);
    assert_eq!(ids(&b).await, std::slice::from_ref(&other));
    let agent = a.session(&mine).await.unwrap().agent;
    let at_work: Vec<_> = b.turns_at_work(&agent).await.unwrap().into_iter().map(|t| t.id).collect();
    assert_eq!(at_work, std::slice::from_ref(&lease.turn), "wherever it is, and none that waits for its turn");
    assert!(b.turns_at_work("another").await.unwrap().is_empty());
    assert!(b.lost_turns().await.unwrap().is_empty(), "it lives");

    let lost = a.replica().unwrap().to_owned();
    a.close().await.unwrap();
    drop(a);
    // Its last sign of life was long ago.
    meddle(first.path(), &format!("UPDATE replicas SET heartbeat_ms = 1 WHERE id = '{lost}'"));
    let found: Vec<_> = b.lost_turns().await.unwrap().into_iter().map(|t| (t.id, t.fence)).collect();
    assert_eq!(found.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), [lease.turn.clone(), waiting.clone()]);
    assert!(!b.replicas().await.unwrap().iter().any(|r| r.id == lost && r.is_alive));
    for (turn, fence) in found {
        let end = vec![crate::common::result(model::Outcome::Failed, Some(Code::HostLost))];
        b.record(Record::new(turn, fence, end, NOW).change(TurnEvent::Fail)).await.unwrap();
    }
    // The lost one comes back with the same name, and may not write what is over.
    let back = open(first.path());
    assert_eq!(back.replica(), Some(lost.as_str()));
    assert!(back.unfinished_turns().await.unwrap().is_empty());
    let late = back.append_events(&lease.turn, lease.fence, vec![text("late")], NOW).await;
    assert!(matches!(late, Err(StoreError::Conflict(_))), "{late:?}");
    assert!(back.lost_turns().await.unwrap().is_empty());
}

/// Numbers stay dense and nothing is done twice, however many write at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_that_write_at_once_keep_every_rule() {
    const EACH: usize = 40;
    let first = home();
    let homes = [first, TempDir::new().unwrap(), TempDir::new().unwrap()];
    for other in &homes[1..] {
        std::fs::set_permissions(other.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        share(other.path(), &address(homes[0].path()));
    }
    let stores: Vec<Store> = homes.iter().map(|home| open(home.path())).collect();
    let id = session(&stores[0]).await;
    let lease = running(&stores[0], &id).await;
    let mut tasks = tokio::task::JoinSet::new();
    for store in &stores {
        for n in 0..EACH {
            let (store, id, lease) = (store.clone(), id.clone(), lease.clone());
            tasks.spawn(async move {
                let mut new = new_turn(&id, "the same");
                // The same request comes to all of them.
                new.key = Some(format!("key {n}"));
                let accepted = store.accept_turn(new).await.unwrap();
                store.append_events(&lease.turn, lease.fence, vec![text("x")], NOW).await.unwrap();
                accepted
            });
        }
    }
    let accepted = tasks.join_all().await;
    assert_eq!(accepted.iter().filter(|a| a.fresh).count(), EACH, "each was accepted once");
    let events = stores[2].events(&id, 0, 1000).await.unwrap();
    assert_eq!(events.iter().filter(|e| e.kind == text("x")).count(), 3 * EACH);
    assert!(events.iter().zip(1..).all(|(e, n)| e.seq == n), "dense");
    let places: Vec<u64> = stores[1].turns(&id, 0, 1000).await.unwrap().iter().map(|t| t.n).collect();
    assert_eq!(places, (1..=EACH as u64 + 1).collect::<Vec<_>>());
    finish(&stores[0], &lease.turn, lease.fence).await;
    // Of many runners one gets the turn.
    let turn = stores[0].open_turns(&id).await.unwrap()[0].id.clone();
    let mut tasks = tokio::task::JoinSet::new();
    for store in stores.iter().cycle().take(12) {
        let (store, turn) = (store.clone(), turn.clone());
        tasks.spawn(async move { store.lease_turn(&turn, None, NOW).await.is_ok() });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|got| *got).count(), 1);
}

#[tokio::test]
async fn a_home_has_one_daemon_and_all_have_one_key() {
    let first = home();
    let second = beside(&first);
    let a = open(first.path());
    let again = Store::open_shared(&address(first.path()), Access::default(), first.path(), &Config::default());
    assert!(matches!(again, Err(StoreError::InUse { .. })));
    let secrets = Secrets::open(&a, first.path(), KeySource::File).await.unwrap();
    secrets.set("a", "", zeroize::Zeroizing::new("value".into()), NOW).await.unwrap();
    let b = open(second.path());
    let error = Secrets::open(&b, second.path(), KeySource::File).await.unwrap_err();
    assert!(error.to_string().contains("master.key"), "without the key: {error}");
    let key = second.path().join("master.key");
    std::fs::write(&key, [7; 32]).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert!(Secrets::open(&b, second.path(), KeySource::File).await.is_err(), "with another key");
    std::fs::copy(first.path().join("master.key"), &key).unwrap();
    let theirs = Secrets::open(&b, second.path(), KeySource::File).await.unwrap();
    assert_eq!(theirs.get("a", "").await.unwrap().as_str(), "value");
    // An env's files are with its own daemon.
    a.create_env(new_env("shared", tree())).await.unwrap();
    let member = lazaret_store::NewSession { env: Some("shared".into()), ..new_session() };
    let error = b.create_session(member).await.unwrap_err();
    assert!(matches!(&error, StoreError::Conflict(why) if why.contains("another machine")), "{error}");
}

/// A connection that the server ends is made again, and nobody is told that something stands which does not.
#[tokio::test]
async fn a_lost_connection_is_made_again() {
    let first = home();
    let second = beside(&first);
    let (a, b) = (open(first.path()), open(second.path()));
    let mut heard = b.changes().unwrap();
    let id = session(&a).await;
    let mut kept = 0;
    for round in 0..5u64 {
        meddle(
            first.path(),
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
        next(&mut heard, |c| *c == Change::Any).await;
        // The first may fail, since nobody knows of the loss before it is tried; what is said to stand does.
        let mut last = None;
        for _ in 0..20 {
            match a.accept_turn(new_turn(&id, "again")).await {
                Ok(accepted) => {
                    kept += 1;
                    last = Some(accepted.n);
                    break;
                }
                Err(error) => assert_eq!(error.code(), Code::StoreUnusable, "{error}"),
            }
        }
        assert_eq!(last, Some(round + 1), "and nothing else was written");
        let mut turns = a.turns(&id, 0, 100).await;
        for _ in 0..20 {
            if turns.is_ok() {
                break;
            }
            turns = a.turns(&id, 0, 100).await;
        }
        assert_eq!(turns.unwrap().len(), kept);
    }
}

#[tokio::test]
async fn what_leads_nowhere_or_over_a_network_is_refused() {
    let first = home();
    let try_url = |url: &str| Store::open_shared(url, Access::default(), first.path(), &Config::default()).map(drop);
    for url in ["", "mysql://x", "postgresql://", "postgresql://u:secret@localhost/x"] {
        let error = try_url(url).unwrap_err();
        assert!(matches!(error, StoreError::Invalid { field: "store.url", .. }), "{url}: {error}");
        assert!(!error.to_string().contains("secret"));
    }
    let nowhere = try_url(&format!("{}_no", address(first.path()))).unwrap_err();
    assert_eq!(nowhere.code(), Code::StoreUnusable, "{nowhere}");
    let foreign = home();
    meddle(foreign.path(), "CREATE TABLE diary (day TEXT)");
    assert!(matches!(
        Store::open_shared(&address(foreign.path()), Access::default(), foreign.path(), &Config::default()),
        Err(StoreError::Foreign { .. })
    ));
    let newer = home();
    open(newer.path()).close().await.unwrap();
    meddle(newer.path(), "UPDATE meta SET value = '99' WHERE key = 'schema'");
    let found = Store::open_shared(&address(newer.path()), Access::default(), newer.path(), &Config::default());
    assert!(matches!(found, Err(StoreError::Newer { found: 99, .. })), "{found:?}");
}

/// Those that keep sandboxes ready share what is asked for, and what a newcomer gets was given up before.
#[tokio::test]
async fn together_they_keep_no_more_than_is_asked_for() {
    let first = home();
    let second = beside(&first);
    let (a, b) = (open(first.path()), open(second.path()));
    let ask = |target, held| vec![PoolAsk { profile: "default".to_owned(), target, held }];
    let share = async |store: &Store, target, held| store.share_pool(ask(target, held)).await.unwrap()["default"];
    assert_eq!(share(&a, 5, 0).await, 5, "alone it has all");
    assert_eq!(share(&b, 5, 0).await, 0, "the other one has them still");
    let less = share(&a, 5, 5).await;
    assert!(less == 2 || less == 3, "{less}");
    assert_eq!(share(&b, 5, 0).await, 0, "they are not gone yet");
    assert_eq!(share(&a, 5, less).await, less);
    assert_eq!(share(&b, 5, 0).await, 5 - less);
    // Who takes no part any more leaves all to the others, once it has none.
    assert_eq!(share(&a, 0, less).await, 0);
    assert_eq!(share(&b, 5, 5 - less).await, 5 - less);
    assert_eq!(share(&a, 0, 0).await, 0);
    assert_eq!(share(&b, 5, 5 - less).await, 5);
}

/// One that was killed says nothing any more, and never said that it ended.
#[tokio::test]
async fn a_neighbour_that_was_killed_is_known_from_one_that_ended() {
    let first = home();
    let second = beside(&first);
    let a = open(first.path());
    let b = open(second.path());
    // It says that it lives, as soon as the machine gives it the time to.
    let says_so = async {
        while !a.killed_neighbours().await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(WAIT, says_so).await.expect("it says that it lives");
    // Ended in order: whatever time passes, nobody is missing.
    b.close().await.unwrap();
    drop(b);
    let silent = "UPDATE replicas SET heartbeat_ms = heartbeat_ms - 60000 WHERE home LIKE '%'";
    meddle(first.path(), silent);
    assert!(a.killed_neighbours().await.unwrap().is_empty());
    // As a killed one leaves it.
    meddle(first.path(), "UPDATE replicas SET stopped_ms = NULL");
    meddle(first.path(), silent);
    let home = second.path().to_path_buf();
    assert_eq!(a.killed_neighbours().await.unwrap(), std::slice::from_ref(&home));
    // A row is no proof: what is not that replica's home is left alone.
    std::fs::write(home.join("replica"), format!("rep_{}", "0".repeat(32))).unwrap();
    assert!(a.killed_neighbours().await.unwrap().is_empty());
    a.close().await.unwrap();
}
