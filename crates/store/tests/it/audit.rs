//! The chain of what was decided: whole, or the place where it is not.

use std::path::Path;

use lazaret_store::{AUDIT_BATCH_MAX, AuditCheck, AuditFilter, KeySource, Secrets, Store, StoreError};
use model::{AuditEntry, AuditKind, Code, SessionId, Timestamp};
use serde_json::json;

use crate::common::{NOW, copy_rows, database, home, meddle, open};

fn entry(n: u64) -> AuditEntry {
    AuditEntry {
        time: Timestamp(NOW.0 + n),
        kind: if n.is_multiple_of(2) { AuditKind::Tool } else { AuditKind::Egress },
        session: Some(SessionId::from_bits(u128::from(n % 3))),
        turn: None,
        actor: "agent:default".into(),
        topic: format!("tool.invoke.t{}", n % 5),
        correlation: Some(format!("c{n}")),
        stage: Some(4),
        outcome: if n.is_multiple_of(10) { "rejected" } else { "routed" }.into(),
        code: n.is_multiple_of(10).then_some(Code::RateLimited),
        detail: json!({ "n": n }),
    }
}

/// A store with rows 1 to `count`, closed.
async fn written(home: &Path, count: u64) {
    let store = opened(home).await;
    store.append_audit((1..=count).map(entry).collect()).await.unwrap();
    store.close().await.unwrap();
}

/// A store as the daemon opens it: with the key of the home.
async fn opened(home: &Path) -> Store {
    let store = open(home);
    Secrets::open(&store, home, KeySource::File).await.unwrap();
    store
}

/// What a check finds after somebody did this to the database of ten rows.
async fn after(sql: &str) -> AuditCheck {
    let home = home();
    written(home.path(), 10).await;
    meddle(home.path(), sql);
    let store = opened(home.path()).await;
    let check = store.verify_audit().await.unwrap();
    store.close().await.unwrap();
    check
}

#[tokio::test]
async fn a_chain_that_nobody_touched_is_whole() {
    let home = home();
    written(home.path(), 10).await;
    let store = opened(home.path()).await;
    let first = store.verify_audit().await.unwrap();
    assert_eq!((first.rows, first.seq, first.broken), (10, 10, None));
    assert_eq!(store.append_audit(vec![entry(11)]).await.unwrap(), 11);
    // More than one page.
    for _ in 0..3 {
        store.append_audit((0..AUDIT_BATCH_MAX as u64).map(entry).collect()).await.unwrap();
    }
    let check = store.verify_audit().await.unwrap();
    assert_eq!((check.rows, check.broken.clone()), (11 + 3 * AUDIT_BATCH_MAX as u64, None));
    assert_ne!(check.head, first.head);
    let last = store.audit(AuditFilter::default(), 0, 1, true).await.unwrap();
    assert_eq!((last[0].seq, &last[0].hash), (check.seq, &check.head));
}

#[tokio::test]
async fn every_change_is_found_at_its_place() {
    for column in [
        "time_ms = time_ms + 1", "kind = 'model'", "session = NULL", "turn = 'trn'", "actor = 'owner'", "topic = 'x'",
        "correlation = NULL", "stage = 5", "outcome = 'approved'", "code = 'FORBIDDEN'", "detail = '{}'", "actor = CAST(x'ff' AS TEXT)",
    ] {
        let broken = after(&format!("UPDATE audit SET {column} WHERE seq = 5")).await.broken;
        let fault = broken.unwrap_or_else(|| panic!("{column} was not found"));
        assert!(fault.seq == 5 && fault.why.starts_with("the row was changed"), "{column}: {fault:?}");
    }
    let fault = after("UPDATE audit SET hash = zeroblob(32) WHERE seq = 5").await.broken.unwrap();
    assert_eq!(fault.seq, 5);
    let fault = after("UPDATE audit SET prev = zeroblob(32) WHERE seq = 5").await.broken.unwrap();
    assert_eq!((fault.seq, fault.why.as_str()), (5, "the row does not follow the one before it"));
}

#[tokio::test]
async fn rows_that_are_missing_or_moved_are_found() {
    let why = async |sql: &str| {
        let fault = after(sql).await.broken.unwrap();
        (fault.seq, fault.why)
    };
    assert_eq!(why("DELETE FROM audit WHERE seq = 1").await, (1, "the row is missing".into()));
    assert_eq!(why("DELETE FROM audit WHERE seq BETWEEN 4 AND 6").await, (4, "rows 4 to 6 are missing".into()));
    let closed = "DELETE FROM audit WHERE seq = 4; UPDATE audit SET seq = seq - 1 WHERE seq > 4";
    assert_eq!(why(closed).await.0, 4, "also when the gap is closed");
    let swapped =
        "UPDATE audit SET seq = 100 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 7; UPDATE audit SET seq = 7 WHERE seq = 100";
    assert_eq!(why(swapped).await.0, 3);
    let repeated =
        "INSERT INTO audit SELECT 11, time_ms, kind, session, turn, actor, topic, correlation, stage, outcome, code, detail, prev, hash
                    FROM audit WHERE seq = 10";
    assert_eq!(why(repeated).await.0, 11);
    assert_eq!(why("DELETE FROM audit WHERE seq > 7").await, (8, "the end was cut off: rows 8 to 10 are missing".into()));
    assert_eq!(why("DELETE FROM audit").await, (1, "the end was cut off: rows 1 to 10 are missing".into()));
}

/// Somebody who knows how the chain is made writes all of it anew: only the head tells.
#[tokio::test]
async fn a_chain_that_was_written_anew_is_not_the_one() {
    let (home, other) = (home(), home());
    written(home.path(), 10).await;
    let store = opened(other.path()).await;
    store.append_audit((101..=112).map(entry).collect()).await.unwrap();
    store.close().await.unwrap();
    if crate::SHARED {
        meddle(home.path(), "DELETE FROM audit");
        copy_rows(other.path(), home.path(), &["--data-only", "--table=audit"]);
    } else {
        let other = database(other.path());
        let other = other.display();
        let sql = "DELETE FROM audit; INSERT INTO main.audit SELECT * FROM other.audit";
        meddle(home.path(), &format!("ATTACH '{other}' AS other; {sql}; DETACH other"));
    }
    let store = opened(home.path()).await;
    let fault = store.verify_audit().await.unwrap().broken.unwrap();
    assert!(fault.seq == 10 && fault.why.contains("written anew"), "{fault:?}");
    store.close().await.unwrap();
    // With the other home's head beside it, the key tells.
    let head = |home: &Path| home.join("lazaret.db-audit");
    std::fs::write(head(home.path()), std::fs::read(head(other.path())).unwrap()).unwrap();
    let store = opened(home.path()).await;
    let fault = store.verify_audit().await.unwrap().broken.unwrap();
    assert!(fault.why.contains("was not written by this home"), "{fault:?}");
}

#[tokio::test]
async fn the_chain_goes_on_behind_what_was_cut_off() {
    let home = home();
    written(home.path(), 10).await;
    meddle(home.path(), "DELETE FROM audit WHERE seq > 7");
    let store = opened(home.path()).await;
    assert_eq!(store.append_audit(vec![entry(1)]).await.unwrap(), 11);
    let fault = store.verify_audit().await.unwrap().broken.unwrap();
    assert_eq!((fault.seq, fault.why.as_str()), (8, "rows 8 to 10 are missing"), "new rows do not hide the gap");
}

#[tokio::test]
async fn rows_are_found_by_what_they_say() {
    let home = home();
    let store = open(home.path());
    store.append_audit((1..=60).map(entry).collect()).await.unwrap();
    let count = async |filter: AuditFilter| store.audit(filter, 0, 1000, false).await.unwrap().len();
    let all = AuditFilter::default();
    assert_eq!(count(all.clone()).await, 60);
    assert_eq!(count(AuditFilter { kind: Some(AuditKind::Tool), ..all.clone() }).await, 30);
    assert_eq!(count(AuditFilter { session: Some(SessionId::from_bits(1)), ..all.clone() }).await, 20);
    assert_eq!(count(AuditFilter { topic: Some("tool.invoke.t3".into()), ..all.clone() }).await, 12);
    assert_eq!(count(AuditFilter { outcome: Some("rejected".into()), ..all.clone() }).await, 6);
    assert_eq!(count(AuditFilter { correlation: Some("c7".into()), ..all.clone() }).await, 1);
    let (from, to) = (Some(Timestamp(NOW.0 + 11)), Some(Timestamp(NOW.0 + 21)));
    assert_eq!(count(AuditFilter { from, to, ..all.clone() }).await, 10);
    let rows = store.audit(all.clone(), 57, 10, false).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [58, 59, 60]);
    let rows = store.audit(all, 0, 2, true).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [59, 60]);
    assert_eq!(rows[1].entry, entry(60), "what went in comes out");
    assert_eq!(rows[1].prev, rows[0].hash);
}

#[tokio::test]
async fn what_is_too_much_is_refused() {
    let home = home();
    let store = open(home.path());
    let many = (0..=AUDIT_BATCH_MAX as u64).map(entry).collect();
    assert!(matches!(store.append_audit(many).await, Err(StoreError::Limit { .. })));
    let long = AuditEntry { detail: json!("x".repeat(300 << 10)), ..entry(1) };
    assert!(matches!(store.append_audit(vec![long]).await, Err(StoreError::Invalid { .. })));
    assert_eq!(store.verify_audit().await.unwrap().rows, 0);
}
