//! Homes and the shapes that most tests need.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lazaret_store::{
    Accepted, Config, Fence, Imported, ImportedEvent, ImportedTurn, Lease, NewEnv, NewSession, NewToken, NewTurn, Record, Store, StoreError,
};
use model::{Code, EventKind, Level, Outcome, ResultEvent, SessionId, Timestamp, TokenId, TreeId, TurnEvent, TurnId, TurnState, Usage};
use serde_json::json;
use tempfile::TempDir;
use testkit::postgres::Server;

/// A time for all tests; the store has no clock.
pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// A home that only this user can enter, with an empty database.
pub(crate) fn home() -> TempDir {
    let home = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o700)).tempdir().unwrap();
    if crate::SHARED {
        share(home.path(), &server().database().unwrap());
    }
    home
}

/// Lets the daemon of a home use this database.
pub(crate) fn share(home: &Path, url: &str) {
    std::fs::write(home.join(ADDRESS), url).unwrap();
    std::fs::set_permissions(home.join(ADDRESS), PermissionsExt::from_mode(0o600)).unwrap();
}

/// The address of a home's database.
pub(crate) fn address(home: &Path) -> String {
    std::fs::read_to_string(home.join(ADDRESS)).unwrap()
}

/// Where a home of these tests keeps the address of its database.
const ADDRESS: &str = "address";

/// The server of all tests of this process. It ends with the process.
pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(false).unwrap())
}

/// A copy of a home and its database as they are now, while a store may have it open.
pub(crate) fn snapshot(from: &Path) -> TempDir {
    let to = home();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        // The index of the log is shared memory and does not outlive the machine. Who a home is, and where its database is,
        // is its own.
        if !name.to_string_lossy().ends_with("-shm") && name != ADDRESS && name != "replica" {
            std::fs::copy(entry.path(), to.path().join(name)).unwrap();
        }
    }
    if crate::SHARED {
        copy_rows(from, to.path(), &[]);
    }
    to
}

/// Copies what is in one home's database on PostgreSQL into that of another.
pub(crate) fn copy_rows(from: &Path, to: &Path, what: &[&str]) {
    let dump = std::process::Command::new("pg_dump").args(["--no-owner"]).args(what).arg(address(from)).output().unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let mut load = std::process::Command::new("psql");
    load.args(["-X", "-q", "-v", "ON_ERROR_STOP=1"]).arg(address(to));
    let mut load = load.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    load.stdin.take().unwrap().write_all(&dump.stdout).unwrap();
    assert!(load.wait().unwrap().success());
}

/// Changes a database behind the store's back.
pub(crate) fn meddle(home: &Path, sql: &str) {
    if crate::SHARED {
        let zeros =
            "CREATE OR REPLACE FUNCTION zeroblob(n INTEGER) RETURNS BYTEA LANGUAGE SQL AS $$ SELECT decode(repeat('00', n), 'hex') $$";
        // No text can be kept there that is none, so it becomes another one.
        let sql = sql.replace("CAST(x'ff' AS TEXT)", "'none'").replace("x''", "CAST('' AS BYTEA)");
        let mut psql = std::process::Command::new("psql");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", zeros, "-c", &sql]).arg(address(home));
        let done = psql.output().unwrap();
        assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
        return;
    }
    let raw = rusqlite::Connection::open(database(home)).unwrap();
    raw.execute_batch(sql).unwrap();
    raw.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

pub(crate) fn database(home: &Path) -> PathBuf {
    home.join("lazaret.db")
}

pub(crate) fn try_open(home: &Path) -> Result<Store, StoreError> {
    if crate::SHARED {
        return Store::open_shared(&address(home), lazaret_store::Access::default(), home, &Config::default());
    }
    Store::open(&database(home), &Config::default())
}

/// Opens a store that must open. A process that another test is just starting holds a copy of every open file, and so
/// the lock of a store that was closed, until its program begins; that is waited for.
pub(crate) fn open(home: &Path) -> Store {
    let end = Instant::now() + Duration::from_secs(120);
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
