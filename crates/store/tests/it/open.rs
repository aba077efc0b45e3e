//! What is refused at the door, with the code that a user sees. Nothing is ever repaired or changed by a refusal.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use lazaret_store::{Config, Store, StoreError};
use model::Code;
use tempfile::TempDir;

use crate::common::{accept, database, home, open, session, snapshot, try_open};

/// A home with a closed database of several pages.
async fn closed() -> TempDir {
    let home = home();
    let store = open(home.path());
    let session = session(&store).await;
    for _ in 0..50 {
        accept(&store, &session).await;
    }
    store.close().await.unwrap();
    home
}

fn files(home: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(home)
        .unwrap()
        .map(|e| (e.as_ref().unwrap().file_name().into_string().unwrap(), fs::read(e.unwrap().path()).unwrap()))
        .collect();
    files.sort();
    files
}

/// Opens, expects a refusal with this code, and checks that it changed nothing.
fn refused(home: &Path, code: Code) -> StoreError {
    let before = files(home);
    let error = try_open(home).expect_err("it should be refused");
    assert_eq!(error.code(), code, "{error}");
    let after = files(home);
    let kept = |all: &[(String, Vec<u8>)]| {
        // SQLite makes an empty log when it looks for one.
        all.iter()
            .filter(|(name, bytes)| !name.ends_with("-shm") && (!name.ends_with("-wal") || !bytes.is_empty()))
            .cloned()
            .collect::<Vec<_>>()
    };
    let names = |all: &[(String, Vec<u8>)]| all.iter().map(|f| f.0.clone()).collect::<Vec<_>>();
    assert!(kept(&before) == kept(&after), "a refusal changes nothing: {:?} {:?}", names(&before), names(&after));
    error
}

#[tokio::test]
async fn a_database_that_is_in_order_opens_again() {
    let home = closed().await;
    let store = open(home.path());
    assert_eq!(store.unfinished_turns().await.unwrap().len(), 50);
    for name in ["lazaret.db", "lazaret.db-wal", "lazaret.db-mark"] {
        assert_eq!(fs::metadata(home.path().join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn only_one_process_has_it_open() {
    let home = closed().await;
    let store = open(home.path());
    assert!(matches!(try_open(home.path()), Err(StoreError::InUse { .. })));
    store.close().await.unwrap();
    let next = open(home.path());
    assert_eq!(store.close().await.unwrap_err().code(), Code::StoreUnusable, "the old handle is closed");
    assert_eq!(next.unfinished_turns().await.unwrap().len(), 50);
    // The failed opens above must not have taken the locks of the store that was open.
    accept(&next, &session(&next).await).await;
}

#[tokio::test]
async fn what_others_could_read_or_change_is_refused() {
    let cases: &[(&str, u32)] =
        &[("", 0o750), ("", 0o701), ("lazaret.db", 0o640), ("lazaret.db", 0o604), ("lazaret.db-mark", 0o660), ("lazaret.db-wal", 0o644)];
    for (name, mode) in cases {
        let home = closed().await;
        let path = home.path().join(name);
        if !path.exists() {
            fs::write(&path, "").unwrap();
        }
        let good = fs::metadata(home.path()).unwrap().permissions();
        fs::set_permissions(&path, PermissionsExt::from_mode(*mode)).unwrap();
        refused(home.path(), Code::HomeUnsafe);
        fs::set_permissions(&path, PermissionsExt::from_mode(mode & 0o700)).unwrap();
        fs::set_permissions(home.path(), good).unwrap();
        open(home.path());
    }
}

#[tokio::test]
async fn what_belongs_to_somebody_else_is_refused() {
    for name in ["", "lazaret.db", "lazaret.db-mark"] {
        let home = closed().await;
        let path = home.path().join(name);
        if let Err(error) = std::os::unix::fs::chown(&path, Some(12345), None) {
            // Only root can give files away; whoever cannot is shown one of root's instead.
            assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
            let foreign = Store::open(Path::new("/etc/passwd"), &Config::default()).unwrap_err();
            assert_eq!(foreign.code(), Code::HomeUnsafe);
            return;
        }
        refused(home.path(), Code::HomeUnsafe);
    }
}

#[tokio::test]
async fn links_and_other_things_in_its_place_are_refused() {
    let good = closed().await;
    let home = home();
    symlink(database(good.path()), database(home.path())).unwrap();
    refused(home.path(), Code::HomeUnsafe);
    fs::remove_file(database(home.path())).unwrap();
    fs::hard_link(database(good.path()), database(home.path())).unwrap();
    refused(home.path(), Code::HomeUnsafe);
    fs::remove_file(database(home.path())).unwrap();
    fs::create_dir(database(home.path())).unwrap();
    assert_eq!(try_open(home.path()).unwrap_err().code(), Code::HomeUnsafe);
    open(good.path());
}

#[tokio::test]
async fn what_is_no_database_of_ours_is_refused() {
    for content in [&b"hello"[..], &[0; 8192], b"SQLite format 3\0", &[0xff; 4096]] {
        let home = home();
        fs::write(database(home.path()), content).unwrap();
        fs::set_permissions(database(home.path()), PermissionsExt::from_mode(0o600)).unwrap();
        refused(home.path(), Code::StoreUnusable);
    }
    let home = home();
    let other = rusqlite::Connection::open(database(home.path())).unwrap();
    other.execute_batch("CREATE TABLE diary (day TEXT)").unwrap();
    drop(other);
    fs::set_permissions(database(home.path()), PermissionsExt::from_mode(0o600)).unwrap();
    assert!(matches!(refused(home.path(), Code::StoreUnusable), StoreError::Foreign { .. }));
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let home = closed().await;
    let conn = rusqlite::Connection::open(database(home.path())).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    drop(conn);
    let error = refused(home.path(), Code::StoreUnusable);
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
    assert!(error.failure().hint.is_some());
}

/// Every page of a small database is damaged in turn.
#[tokio::test]
async fn a_damaged_page_is_refused() {
    let home = closed().await;
    let whole = fs::read(database(home.path())).unwrap();
    let page = usize::from(u16::from_be_bytes([whole[16], whole[17]]));
    assert!(whole.len() / page > 10);
    for n in 0..whole.len() / page {
        for fill in [0x00, 0xa5] {
            let mut bytes = whole.clone();
            let from = n * page + if n == 0 { 100 } else { 0 };
            bytes[from..(n + 1) * page].fill(fill);
            fs::write(database(home.path()), &bytes).unwrap();
            refused(home.path(), Code::StoreUnusable);
        }
    }
    fs::write(database(home.path()), &whole[..whole.len() - page / 2]).unwrap();
    refused(home.path(), Code::StoreUnusable);
    fs::write(database(home.path()), &whole[..whole.len() - page]).unwrap();
    refused(home.path(), Code::StoreUnusable);
    fs::write(database(home.path()), &whole).unwrap();
    open(home.path());
}

/// SQLite itself takes a log that was cut for one that ended there, and so forgets what was acknowledged.
#[tokio::test]
async fn a_log_that_was_cut_is_refused() {
    let home = home();
    let store = open(home.path());
    let session = session(&store).await;
    for _ in 0..20 {
        accept(&store, &session).await;
    }
    let crashed = snapshot(home.path());
    assert_eq!(open(crashed.path()).unfinished_turns().await.unwrap().len(), 20, "a crash alone loses nothing");
    let log = fs::read(home.path().join("lazaret.db-wal")).unwrap();
    assert!(log.len() > 10_000);
    for keep in [0, 1, 31, 32, log.len() / 3, log.len() / 2, log.len() - 4097, log.len() - 1] {
        let cut = snapshot(home.path());
        fs::write(cut.path().join("lazaret.db-wal"), &log[..keep]).unwrap();
        let error = refused(cut.path(), Code::StoreUnusable);
        assert!(matches!(error, StoreError::Damaged { .. }), "{keep}: {error}");
    }
    for at in [40, log.len() / 2, log.len() - 10] {
        let changed = snapshot(home.path());
        let mut bytes = log.clone();
        bytes[at] ^= 0x10;
        fs::write(changed.path().join("lazaret.db-wal"), bytes).unwrap();
        assert!(matches!(refused(changed.path(), Code::StoreUnusable), StoreError::Damaged { .. }), "{at}");
    }
    let without = snapshot(home.path());
    fs::remove_file(without.path().join("lazaret.db-wal")).unwrap();
    assert!(matches!(try_open(without.path()), Err(StoreError::Damaged { .. })));
}

#[tokio::test]
async fn an_older_copy_put_in_its_place_is_refused() {
    let home = closed().await;
    let old = fs::read(database(home.path())).unwrap();
    let store = open(home.path());
    accept(&store, &session(&store).await).await;
    store.close().await.unwrap();
    fs::write(database(home.path()), old).unwrap();
    assert!(matches!(refused(home.path(), Code::StoreUnusable), StoreError::Damaged { .. }));
    // The owner who means it takes the mark away as well.
    fs::remove_file(home.path().join("lazaret.db-mark")).unwrap();
    open(home.path());
}

#[tokio::test]
async fn a_database_that_went_missing_is_not_made_anew() {
    let home = closed().await;
    fs::remove_file(database(home.path())).unwrap();
    refused(home.path(), Code::StoreUnusable);
    fs::write(database(home.path()), "").unwrap();
    fs::set_permissions(database(home.path()), PermissionsExt::from_mode(0o600)).unwrap();
    refused(home.path(), Code::StoreUnusable);
    fs::remove_file(home.path().join("lazaret.db-mark")).unwrap();
    open(home.path());
}

#[tokio::test]
async fn long_paths_and_odd_names_are_paths_like_any_other() {
    let home = home();
    let deep = home.path().join("a".repeat(200)).join("b c%20?mode=memory#'\"");
    fs::create_dir_all(&deep).unwrap();
    for dir in [&deep, deep.parent().unwrap()] {
        fs::set_permissions(dir, PermissionsExt::from_mode(0o700)).unwrap();
    }
    let store = open(&deep);
    accept(&store, &session(&store).await).await;
    store.close().await.unwrap();
    assert!(database(&deep).exists());
}
