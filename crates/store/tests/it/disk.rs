//! A disk that is full, or broken: what does not fit is refused, and nothing that is in doubt is promised.
//!
//! The program is this test binary once more; see [`crate::crash`].

use std::path::Path;
use std::process::{Command, Stdio};

use lazaret_store::{Store, StoreError};
use model::{TurnId, TurnState};

use crate::common::{accept, home, new_turn, open, session};
use crate::crash::{acknowledge, acknowledged};

/// Fills the disk that the home stands on, and goes on when there is room again.
pub(crate) async fn full(store: &Store, home: &Path) {
    let session = session(store).await;
    let prompt = "x".repeat(20 << 10);
    let mut accepted = Vec::new();
    let error = loop {
        match store.accept_turn(new_turn(&session, &prompt)).await {
            Ok(turn) => accepted.push(turn.turn),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::DiskFull) && accepted.len() > 5, "{error} {}", accepted.len());
    assert_eq!(store.turns(&session, 0, 1000).await.unwrap().len(), accepted.len(), "reading goes on, and nothing is half there");
    std::fs::remove_file(home.join("filler")).unwrap();
    accept(store, &session).await;
    for turn in accepted {
        assert_eq!(store.prompt(&turn).await.unwrap(), prompt);
    }
    store.close().await.unwrap();
    acknowledge("done");
}

/// Writes until the system refuses: an error that says nothing about what is on the disk.
pub(crate) async fn broken(store: &Store) {
    let session = session(store).await;
    let prompt = "x".repeat(20 << 10);
    let error = loop {
        match store.accept_turn(new_turn(&session, &prompt)).await {
            Ok(turn) => acknowledge(&format!("turn {}", turn.turn)),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), model::Code::StoreUnusable, "{error}");
    let next = store.accept_turn(new_turn(&session, "small")).await;
    assert!(matches!(next, Err(StoreError::Stopped(_))), "{next:?}");
    assert!(store.session(&session).await.is_ok(), "reading goes on");
    acknowledge("done");
}

/// Runs a child from a shell that changes its surroundings first, and gives what it acknowledged.
fn surrounded(by: &str, home: &Path, role: &str) -> Vec<String> {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", by, "sh"]).arg(home).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "crash::child", "--nocapture", role]).arg(format!("home={}", home.display()));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let said: Vec<String> = acknowledged(&mut child).collect();
    assert!(child.wait().unwrap().success(), "{role}: {said:?}");
    assert_eq!(said.last().map(String::as_str), Some("done"));
    said
}

#[test]
fn a_full_disk_refuses_what_does_not_fit_and_nothing_else() {
    let home = home();
    let by = r#"mount -t tmpfs -o size=2m,mode=700 tmpfs "$1" && head -c 500000 /dev/zero > "$1/filler" && shift && exec "$@""#;
    surrounded(by, home.path(), "work=full");
}

#[tokio::test]
async fn after_an_error_of_the_disk_nothing_more_is_promised() {
    let home = home();
    // A limit on the size of files is an error that SQLite does not know as a full disk.
    let said = surrounded(r#"shift; trap '' XFSZ; ulimit -f 4000; exec "$@""#, home.path(), "work=broken");
    let store = open(home.path());
    let turns: Vec<TurnId> = said.iter().filter_map(|s| s.strip_prefix("turn ")).map(|id| id.parse().unwrap()).collect();
    assert!(turns.len() > 5);
    for turn in turns {
        assert_eq!(store.turn(&turn).await.unwrap().state, TurnState::Queued);
    }
}
