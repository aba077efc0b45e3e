//! placeholder
use lazaret_store::{Config, Store};

#[tokio::test]
async fn opens_twice() {
    let dir = tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700)).tempdir().unwrap();
    let path = dir.path().join("lazaret.db");
    let store = Store::open(&path, &Config::default()).unwrap();
    assert!(store.unfinished_turns().await.unwrap().is_empty());
    store.close().await.unwrap();
    drop(store);
    let store = Store::open(&path, &Config::default()).unwrap();
    assert!(store.unfinished_turns().await.unwrap().is_empty());
}
