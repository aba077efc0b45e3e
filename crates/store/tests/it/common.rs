//! Homes and the shapes that most tests need.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use lazaret_store::{Accepted, Config, Fence, Lease, NewSession, NewTurn, Record, Store, StoreError};
use model::{Code, EventKind, Level, Outcome, ResultEvent, SessionId, Timestamp, TurnEvent, TurnId, Usage};
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

pub(crate) fn open(home: &Path) -> Store {
    try_open(home).unwrap()
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

pub(crate) async fn finish(store: &Store, turn: &TurnId, fence: Fence) {
    let record = Record::new(turn.clone(), fence, vec![result(Outcome::Completed, None)], NOW).change(TurnEvent::Finish);
    store.record(record).await.unwrap();
}
