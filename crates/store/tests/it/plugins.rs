//! What is known of plugins.

use lazaret_store::{DEFINITIONS_BYTES_MAX, PluginRow, StoreError};
use model::Timestamp;
use serde_json::{Value, json};

use crate::common::{home, open};

fn row(name: &str) -> PluginRow {
    PluginRow {
        name: name.to_owned(),
        source: "folder".to_owned(),
        folder_hash: "f1".to_owned(),
        is_enabled: true,
        approved: json!({ "tool:a": { "risk": "low" } }),
        approved_hash: "h1".to_owned(),
        seen: json!({ "tool:a": { "risk": "low" } }),
        seen_hash: "h1".to_owned(),
        installed: Timestamp(1),
        approved_at: Timestamp(1),
    }
}

#[tokio::test]
async fn only_what_was_shown_is_approved() {
    let home = home();
    let store = open(home.path());
    store.put_plugin(row("notes")).await.unwrap();
    assert_eq!(store.plugin("notes").await.unwrap(), Some(row("notes")));
    store.see_plugin("notes", json!({ "tool:a": { "risk": "high" } }), "h2").await.unwrap();
    let seen = store.plugin("notes").await.unwrap().unwrap();
    assert_eq!((seen.approved_hash.as_str(), seen.seen_hash.as_str()), ("h1", "h2"));
    // It changed once more while the owner looked.
    let other = store.approve_plugin("notes", "h1", "f2", Timestamp(5)).await;
    assert!(matches!(other, Err(StoreError::Conflict(_))), "{other:?}");
    assert_eq!(store.plugin("notes").await.unwrap().unwrap().approved_hash, "h1");
    store.approve_plugin("notes", "h2", "f2", Timestamp(5)).await.unwrap();
    let row = store.plugin("notes").await.unwrap().unwrap();
    assert_eq!((row.approved, row.folder_hash.as_str(), row.approved_at), (row.seen, "f2", Timestamp(5)));
}

#[tokio::test]
async fn what_is_not_there_is_not_changed() {
    let home = home();
    let store = open(home.path());
    assert_eq!(store.plugin("notes").await.unwrap(), None);
    assert!(matches!(store.see_plugin("notes", Value::Null, "h").await, Err(StoreError::NotFound { .. })));
    assert!(matches!(store.approve_plugin("notes", "h", "f", Timestamp(1)).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(store.enable_plugin("notes", true).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(store.remove_plugin("notes").await, Err(StoreError::NotFound { .. })));
    assert!(matches!(store.put_plugin(row("../notes")).await, Err(StoreError::Invalid { .. })));
    let long = PluginRow { seen: json!("x".repeat(DEFINITIONS_BYTES_MAX)), ..row("notes") };
    assert!(matches!(store.put_plugin(long).await, Err(StoreError::Invalid { .. })));
    store.put_plugin(row("notes")).await.unwrap();
    store.enable_plugin("notes", false).await.unwrap();
    assert!(!store.list_plugins().await.unwrap()[0].is_enabled);
    store.remove_plugin("notes").await.unwrap();
    assert!(store.list_plugins().await.unwrap().is_empty());
}
