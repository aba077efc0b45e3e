//! Homes and the shapes that most tests need.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lazaret_store::{
    Accepted, Config, Fence, Imported, ImportedEvent, ImportedTurn, Lease, NewEnv, NewSession, NewToken, NewTurn, Record, Store, StoreError,
};
use model::{Code, EventKind, Level, Outcome, ResultEvent, SessionId, Timestamp, TokenId, TreeId, TurnEvent, TurnId, TurnState, Usage};
use serde_json::json;
use tempfile::TempDir;

/// A time for all tests; the store has no clock.
pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// A home that only this user can enter.
pub(crate) fn home() -> TempDir {
    tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o700)).tempdir().unwrap()
}

pub(crate) fn database(home: &Path) -> PathBuf {
    home.join("lazaret.db")
}

pub(crate) fn try_open(home: &Path) -> Result<Store, StoreError> {
    Store::open(&database(home), &Config::default())
}

/// Opens a store that must open. A process that another test is just starting holds a copy of every open file, and so
/// the lock of a store that was closed, until its program begins; that is waited for.
pub(crate) fn open(home: &Path) -> Store {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match try_open(home) {
            Err(StoreError::InUse { .. }) if Instant::now() < end => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

/// An identity that no other test of this process has.
fn bits() -> u128 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    u128::from(std::process::id()) << 64 | u128::from(NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn turn_id() -> TurnId {
    TurnId::from_bits(bits())
}

pub(crate) fn new_session() -> NewSession {
    NewSession {
        labels: [("who".into(), "a test".into())].into(),
        ..NewSession::new(SessionId::from_bits(bits()), "mini", "small", "rehearsal", json!({"image": "host"}), NOW)
    }
}

/// A tree that nothing names yet.
pub(crate) fn tree() -> TreeId {
    TreeId::from_bits(bits())
}

/// A session with a tree of its own.
pub(crate) async fn session_with_tree(store: &Store) -> SessionId {
    let new = NewSession { tree: Some(tree()), ..new_session() };
    let id = new.id.clone();
    store.create_session(new).await.unwrap();
    id
}

pub(crate) fn new_env(slug: &str, tree: TreeId) -> NewEnv {
    NewEnv { slug: slug.into(), name: "An env".into(), tenant: "default".into(), tree, mounts: json!([]), now: NOW }
}

/// A session in an env.
pub(crate) async fn session_in(store: &Store, env: &str) -> SessionId {
    let new = NewSession { env: Some(env.into()), ..new_session() };
    let id = new.id.clone();
    store.create_session(new).await.unwrap();
    id
}

/// A session from elsewhere: a turn that said something, and one that was cancelled and undone.
pub(crate) fn imported(id: SessionId) -> Imported {
    let turn = |parent, state, outcome| ImportedTurn {
        id: turn_id(),
        parent,
        state,
        outcome: Some(outcome),
        code: None,
        prompt: "do it".into(),
        accepted: NOW,
        started: Some(NOW),
        ended: Some(NOW),
    };
    let event = |turn, kind| ImportedEvent { turn, time: NOW, kind };
    Imported {
        session: NewSession { id, tree: Some(tree()), ..new_session() },
        engine_session: Some("abc-1".into()),
        head: 1,
        turns: vec![turn(0, TurnState::Done, Outcome::Completed), turn(1, TurnState::Cancelled, Outcome::Cancelled)],
        events: vec![
            event(1, text("hello")),
            event(1, result(Outcome::Completed, None)),
            event(2, result(Outcome::Cancelled, Some(Code::Cancelled))),
        ],
    }
}

/// A token that hashes to `n` and nothing.
pub(crate) fn new_token(n: u8) -> NewToken {
    let mut hash = [0; 32];
    hash[0] = n;
    NewToken {
        id: TokenId::from_bits(u128::from(n)),
        name: "laptop".into(),
        tenant: "default".into(),
        scope: "all".into(),
        member: None,
        hash,
        expires: None,
        now: NOW,
    }
}

pub(crate) async fn session(store: &Store) -> SessionId {
    let new = new_session();
    let id = new.id.clone();
    store.create_session(new).await.unwrap();
    id
}

pub(crate) fn new_turn(session: &SessionId, prompt: &str) -> NewTurn {
    NewTurn::new(turn_id(), session.clone(), prompt, NOW)
}

pub(crate) async fn accept(store: &Store, session: &SessionId) -> Accepted {
    store.accept_turn(new_turn(session, "do it")).await.unwrap()
}

/// A turn that runs.
pub(crate) async fn running(store: &Store, session: &SessionId) -> Lease {
    let turn = accept(store, session).await.turn;
    let lease = store.lease_turn(&turn, None, NOW).await.unwrap();
    store.record(Record::new(turn, lease.fence, vec![], NOW).change(TurnEvent::Start)).await.unwrap();
    lease
}

pub(crate) fn text(text: &str) -> EventKind {
    EventKind::Text { text: text.into() }
}

pub(crate) fn result(status: Outcome, code: Option<Code>) -> EventKind {
    let (usage, level) = (Usage::default(), Level::default());
    EventKind::Result(ResultEvent { status, text: "done".into(), usage, cost_usd: 0.5, duration_ms: 7, level, code })
}

/// A turn that ends well and leaves a checkpoint; gives the place of the turn and the tree.
pub(crate) async fn turn_with_checkpoint(store: &Store, session: &SessionId) -> (u64, TreeId) {
    let lease = running(store, session).await;
    let kept = tree();
    let record = Record {
        checkpoint: Some(kept.clone()),
        engine_session: Some(format!("after {}", lease.turn)),
        ..Record::new(lease.turn.clone(), lease.fence, vec![result(Outcome::Completed, None)], NOW)
    };
    store.record(record.change(TurnEvent::Finish)).await.unwrap();
    (store.turn(&lease.turn).await.unwrap().n, kept)
}

pub(crate) async fn finish(store: &Store, turn: &TurnId, fence: Fence) {
    let record = Record::new(turn.clone(), fence, vec![result(Outcome::Completed, None)], NOW).change(TurnEvent::Finish);
    store.record(record).await.unwrap();
}
