//! Secrets: what comes back, and every way in which it must not.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use lazaret_store::{KeySource, Secrets, SecretsError, Store, VALUE_BYTES_MAX};
use model::Code;
use zeroize::Zeroizing;

use crate::common::{NOW, home, meddle, open};

const CANARY: &str = "sk-canary-0123456789-not-a-key";

fn phrase(text: &str) -> KeySource {
    KeySource::Passphrase(Zeroizing::new(text.to_owned()))
}

async fn secrets(store: &Store, home: &Path) -> Secrets {
    Secrets::open(store, home, KeySource::File).await.unwrap()
}

async fn set(secrets: &Secrets, name: &str, scope: &str, value: &str) {
    secrets.set(name, scope, Zeroizing::new(value.to_owned()), NOW).await.unwrap();
}

#[tokio::test]
async fn values_come_back_and_are_found_nowhere() {
    let home = home();
    let store = open(home.path());
    let book = secrets(&store, home.path()).await;
    set(&book, "anthropic", "", "old").await;
    set(&book, "anthropic", "", CANARY).await;
    set(&book, "anthropic", "plugin:mail", "other").await;
    assert_eq!(*book.get("anthropic", "").await.unwrap(), CANARY);
    assert_eq!(*book.get("anthropic", "plugin:mail").await.unwrap(), "other");
    let listed: Vec<_> = book.list().await.unwrap().into_iter().map(|e| (e.name, e.scope)).collect();
    assert_eq!(listed, [("anthropic".into(), String::new()), ("anthropic".into(), "plugin:mail".into())]);
    assert!(!format!("{book:?} {:?}", book.list().await.unwrap()).contains(CANARY));
    drop(book);
    let again = secrets(&store, home.path()).await;
    assert_eq!(*again.get("anthropic", "").await.unwrap(), CANARY);
    store.close().await.unwrap();
    let key = fs::read(home.path().join("master.key")).unwrap();
    assert_eq!(key.len(), 32);
    for entry in fs::read_dir(home.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(CANARY.len()).any(|w| w == CANARY.as_bytes()), "{}", path.display());
        if !path.ends_with("master.key") {
            assert!(!bytes.windows(32).any(|w| w == key), "{}", path.display());
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn what_was_removed_or_never_set_is_not_found() {
    let home = home();
    let store = open(home.path());
    let book = secrets(&store, home.path()).await;
    set(&book, "a", "", "x").await;
    for (name, scope) in [("a", "s"), ("b", "")] {
        assert_eq!(book.get(name, scope).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(book.remove(name, scope).await.unwrap_err().code(), Code::NotFound);
    }
    book.remove("a", "").await.unwrap();
    assert!(matches!(book.get("a", "").await, Err(SecretsError::NotFound { .. })));
}

#[tokio::test]
async fn names_and_values_have_bounds() {
    let home = home();
    let store = open(home.path());
    let book = secrets(&store, home.path()).await;
    let long = "n".repeat(129);
    for name in ["", "a b", "a\n", "a'", "\u{e9}", &long] {
        assert_eq!(book.set(name, "", Zeroizing::new("v".into()), NOW).await.unwrap_err().code(), Code::Usage, "{name:?}");
    }
    let large = "v".repeat(VALUE_BYTES_MAX + 1);
    for value in ["", "a\0b", &large] {
        let error = book.set("a", "", Zeroizing::new(value.to_owned()), NOW).await.unwrap_err();
        assert_eq!(error.code(), Code::Usage);
        assert!(value.is_empty() || !error.to_string().contains(value));
    }
    set(&book, "a", "", &large[1..]).await;
    assert_eq!(book.get("a", "").await.unwrap().len(), VALUE_BYTES_MAX);
}

#[tokio::test]
async fn rows_that_were_changed_or_swapped_do_not_open() {
    let tampering = [
        "UPDATE secrets SET name = CASE name WHEN 'one' THEN 'tmp' ELSE name END",
        "UPDATE secrets SET scope = 'plugin:x' WHERE name = 'one'",
        "UPDATE secrets SET sealed = (SELECT sealed FROM secrets WHERE name = 'two') WHERE name = 'one'",
        "UPDATE secrets SET (nonce, sealed) = (SELECT nonce, sealed FROM secrets WHERE name = 'two') WHERE name = 'one'",
        "UPDATE secrets SET sealed = zeroblob(length(sealed)) WHERE name = 'one'",
        "UPDATE secrets SET sealed = substr(sealed, 1, length(sealed) - 1) WHERE name = 'one'",
        "UPDATE secrets SET sealed = x'' WHERE name = 'one'",
        "UPDATE secrets SET nonce = zeroblob(12) WHERE name = 'one'",
        "UPDATE secrets SET nonce = x'' WHERE name = 'one'",
    ];
    for sql in tampering {
        let home = home();
        let store = open(home.path());
        let book = secrets(&store, home.path()).await;
        set(&book, "one", "", CANARY).await;
        set(&book, "two", "", "value-of-two").await;
        meddle(home.path(), sql);
        let (name, scope) = match sql {
            s if s.contains("'tmp'") => ("tmp", ""),
            s if s.contains("plugin") => ("one", "plugin:x"),
            _ => ("one", ""),
        };
        let error = book.get(name, scope).await.unwrap_err();
        assert!(matches!(error, SecretsError::Tampered { .. }), "{sql}: {error}");
        assert_eq!(error.code(), Code::StoreUnusable);
        assert_eq!(*book.get("two", "").await.unwrap(), "value-of-two", "its neighbour still opens");
    }
}

#[tokio::test]
async fn only_the_right_key_file_opens() {
    let home = home();
    let store = open(home.path());
    set(&secrets(&store, home.path()).await, "a", "", CANARY).await;
    let path = home.path().join("master.key");
    let good = fs::read(&path).unwrap();
    let open_now = async || Secrets::open(&store, home.path(), KeySource::File).await;
    let write = |bytes: &[u8]| fs::write(&path, bytes).unwrap();
    let mut wrong = good.clone();
    wrong[0] ^= 1;
    write(&wrong);
    assert!(matches!(open_now().await, Err(SecretsError::WrongKey(_))));
    for bad in [&good[..31], &[&good[..], b"\n"].concat(), b""] {
        write(bad);
        assert!(matches!(open_now().await, Err(SecretsError::KeyFileInvalid { .. })));
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(open_now().await, Err(SecretsError::KeyFileMissing { .. })));
    assert!(!path.exists(), "a lost key is not replaced in silence");
    write(&good);
    assert_eq!(open_now().await.unwrap_err().code(), Code::HomeUnsafe, "made with the usual mode, it can be read by others");
    for mode in [0o640, 0o604, 0o622] {
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        assert_eq!(open_now().await.unwrap_err().code(), Code::HomeUnsafe, "{mode:o}");
    }
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(*open_now().await.unwrap().get("a", "").await.unwrap(), CANARY);
    let elsewhere = home.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert_eq!(open_now().await.unwrap_err().code(), Code::HomeUnsafe);
    fs::remove_file(&path).unwrap();
    fs::hard_link(&elsewhere, &path).unwrap();
    assert_eq!(open_now().await.unwrap_err().code(), Code::HomeUnsafe);
}

#[tokio::test]
async fn a_key_file_that_is_there_is_used_and_none_is_left_half_made() {
    let home = home();
    fs::write(home.path().join("master.key"), [7; 32]).unwrap();
    fs::set_permissions(home.path().join("master.key"), PermissionsExt::from_mode(0o600)).unwrap();
    let store = open(home.path());
    set(&secrets(&store, home.path()).await, "a", "", "x").await;
    assert_eq!(fs::read(home.path().join("master.key")).unwrap(), [7; 32]);
    let drafts =
        fs::read_dir(home.path()).unwrap().filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with("master.key.")).count();
    assert_eq!(drafts, 0);
}

#[tokio::test]
async fn only_the_right_passphrase_opens() {
    let home = home();
    let store = open(home.path());
    let open_with = async |source| Secrets::open(&store, home.path(), source).await;
    assert_eq!(open_with(phrase("short")).await.unwrap_err().code(), Code::Usage);
    set(&open_with(phrase("correct horse")).await.unwrap(), "a", "", CANARY).await;
    assert!(!home.path().join("master.key").exists());
    assert_eq!(*open_with(phrase("correct horse")).await.unwrap().get("a", "").await.unwrap(), CANARY);
    assert!(matches!(open_with(phrase("correct horsf")).await, Err(SecretsError::WrongKey(_))));
    assert!(matches!(open_with(KeySource::File).await, Err(SecretsError::OtherSource { .. })));
    for sql in [
        "UPDATE keyring SET kdf = replace(kdf, '\"passes\":3', '\"passes\":1')",
        "UPDATE keyring SET kdf = replace(kdf, '\"memory_kib\":65536', '\"memory_kib\":4000000000')",
        "UPDATE keyring SET kdf = 'x'",
        "UPDATE keyring SET source = 'key file'",
    ] {
        let copy = crate::common::snapshot(home.path());
        meddle(copy.path(), sql);
        let store = open(copy.path());
        let error = Secrets::open(&store, copy.path(), phrase("correct horse")).await.unwrap_err();
        assert!(matches!(error, SecretsError::WrongKey(_) | SecretsError::OtherSource { .. }), "{sql}: {error}");
    }
}
