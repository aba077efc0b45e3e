//! Versions of profiles, engines, templates and hooks.

use lazaret_store::{CONFIG_BYTES_MAX, CONFIG_VERSIONS_MAX, ConfigKey, ConfigRule, NewConfig, StoreError};

use crate::common::{NOW, home, open};

fn key(tenant: &str, name: &str) -> ConfigKey {
    ConfigKey { tenant: tenant.to_owned(), kind: "profile".to_owned(), name: name.to_owned() }
}

fn new(tenant: &str, content: &str, rule: ConfigRule) -> NewConfig {
    NewConfig {
        key: key(tenant, "review"),
        content: content.to_owned(),
        description: None,
        removed: false,
        after: 0,
        rule,
        actor: "owner".to_owned(),
        now: NOW,
    }
}

#[tokio::test]
async fn a_change_is_a_new_version_and_only_under_its_rule() {
    let home = home();
    let store = open(home.path());
    assert!(matches!(store.put_config(new("red", "a", ConfigRule::There)).await, Err(StoreError::NotFound { .. })));
    let first = store.put_config(NewConfig { description: Some("mine".to_owned()), ..new("red", "a", ConfigRule::New) }).await.unwrap();
    assert_eq!((first.version, first.description.as_str()), (1, "mine"));
    assert!(matches!(store.put_config(new("red", "b", ConfigRule::New)).await, Err(StoreError::Conflict(_))));
    assert!(matches!(store.put_config(new("red", "b", ConfigRule::At(7))).await, Err(StoreError::Conflict(_))));
    let second = store.put_config(new("red", "b", ConfigRule::At(1))).await.unwrap();
    assert_eq!((second.version, second.description.as_str()), (2, "mine"), "what is not said stays");
    let gone = store.put_config(NewConfig { removed: true, ..new("red", "", ConfigRule::There) }).await.unwrap();
    assert!(gone.removed);
    assert!(matches!(store.put_config(new("red", "c", ConfigRule::There)).await, Err(StoreError::NotFound { .. })));
    assert_eq!(store.put_config(new("red", "c", ConfigRule::New)).await.unwrap().version, 4);
    assert_eq!(store.config_version(&key("red", "review"), 2).await.unwrap().content, "b");
    assert!(matches!(store.config_version(&key("red", "review"), 9).await, Err(StoreError::NotFound { .. })));
    let versions: Vec<u64> = store.config_history(&key("red", "review")).await.unwrap().iter().map(|row| row.version).collect();
    assert_eq!(versions, [4, 3, 2, 1]);
}

#[tokio::test]
async fn tenants_have_their_own_and_old_versions_go() {
    let home = home();
    let store = open(home.path());
    // One that the program ships with counts as a version.
    let first = store.put_config(NewConfig { after: 1, ..new("red", "a", ConfigRule::There) }).await.unwrap();
    assert_eq!(first.version, 2);
    assert_eq!(store.config(&key("blue", "review")).await.unwrap(), None);
    assert!(store.list_configs("blue", "profile").await.unwrap().is_empty());
    for n in 0..CONFIG_VERSIONS_MAX + 3 {
        store.put_config(new("red", &n.to_string(), ConfigRule::Any)).await.unwrap();
    }
    let history = store.config_history(&key("red", "review")).await.unwrap();
    assert_eq!(history.len() as u64, CONFIG_VERSIONS_MAX);
    let listed = store.list_configs("red", "profile").await.unwrap();
    assert_eq!((listed.len(), &listed[0]), (1, &history[0]));
    assert!(store.list_configs("red", "hook").await.unwrap().is_empty());
    let long = "x".repeat(CONFIG_BYTES_MAX + 1);
    assert!(matches!(store.put_config(new("red", &long, ConfigRule::Any)).await, Err(StoreError::Invalid { .. })));
}
