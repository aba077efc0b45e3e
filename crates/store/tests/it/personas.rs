//! Skills in force, and what agents came of.

use lazaret_store::{NewSkill, OriginRow, SKILL_ARCHIVE_BYTES_MAX, StoreError};
use model::Timestamp;
use serde_json::json;

use crate::common::{home, open};

fn skill(name: &str, hash: &str, replaces: Option<u64>) -> NewSkill {
    NewSkill {
        name: name.to_owned(),
        hash: hash.to_owned(),
        description: "d".to_owned(),
        source: "path:/x".to_owned(),
        about: json!({ "files": [] }),
        actor: "owner".to_owned(),
        archive: hash.as_bytes().to_vec(),
        replaces,
    }
}

#[tokio::test]
async fn one_version_of_a_skill_is_in_force_with_its_files() {
    let home = home();
    let store = open(home.path());
    let row = store.put_skill(skill("brew", "h1", None), Timestamp(1)).await.unwrap();
    assert_eq!((row.version, row.created, row.approved), (1, Timestamp(1), Timestamp(1)));
    let twice = store.put_skill(skill("brew", "h2", None), Timestamp(2)).await;
    assert!(matches!(twice, Err(StoreError::Conflict(_))), "{twice:?}");
    let row = store.put_skill(skill("brew", "h2", Some(1)), Timestamp(2)).await.unwrap();
    assert_eq!((row.version, row.created, row.approved), (2, Timestamp(1), Timestamp(2)));
    assert!(
        matches!(store.put_skill(skill("brew", "h3", Some(1)), Timestamp(3)).await, Err(StoreError::Conflict(_))),
        "somebody was quicker"
    );
    assert_eq!(store.skill_archive("h2").await.unwrap(), b"h2");
    assert!(matches!(store.skill_archive("h1").await, Err(StoreError::NotFound { .. })), "what is not in force goes");
    let versions = store.skill_versions("brew").await.unwrap();
    assert_eq!(versions.iter().map(|v| (v.version, v.hash.as_str())).collect::<Vec<_>>(), [(2, "h2"), (1, "h1")]);
    store.put_skill(skill("other", "h2", None), Timestamp(3)).await.unwrap();
    store.remove_skill("brew").await.unwrap();
    assert_eq!(store.skill_archive("h2").await.unwrap(), b"h2", "another one has the same files");
    assert!(store.skill_versions("brew").await.unwrap().is_empty());
    assert!(matches!(store.remove_skill("brew").await, Err(StoreError::NotFound { .. })));
    assert_eq!(store.list_skills().await.unwrap().len(), 1);
    assert!(matches!(store.put_skill(skill("../x", "h", None), Timestamp(1)).await, Err(StoreError::Invalid { .. })));
    let long = NewSkill { archive: vec![0; SKILL_ARCHIVE_BYTES_MAX + 1], ..skill("long", "h", None) };
    assert!(matches!(store.put_skill(long, Timestamp(1)).await, Err(StoreError::Invalid { .. })));
}

fn origin(agent: &str, hash: &str) -> OriginRow {
    OriginRow {
        agent: agent.to_owned(),
        template: "assistant".to_owned(),
        hash: hash.to_owned(),
        made: json!({ "model": hash }),
        variables: json!({ "owner": "Ann" }),
        tasks: json!([]),
        actor: "owner".to_owned(),
        made_at: Timestamp(5),
    }
}

#[tokio::test]
async fn an_agent_and_what_it_came_of_go_together() {
    let home = home();
    let store = open(home.path());
    assert_eq!(store.agent_origin("anna").await.unwrap(), None);
    store.put_agent_of_template(json!({ "model": "a" }), origin("anna", "1"), None).await.unwrap();
    assert_eq!(store.agent_origin("anna").await.unwrap(), Some(origin("anna", "1")));
    let again = store.put_agent_of_template(json!({}), origin("anna", "2"), None).await;
    assert!(matches!(again, Err(StoreError::Conflict(_))), "{again:?}");
    // It changed while the plan was looked at.
    let late = store.put_agent_of_template(json!({}), origin("anna", "2"), Some(json!({ "model": "other" }))).await;
    assert!(matches!(late, Err(StoreError::Conflict(_))), "{late:?}");
    assert_eq!(store.agent_origin("anna").await.unwrap().unwrap().hash, "1");
    store.put_agent_of_template(json!({ "model": "b" }), origin("anna", "2"), Some(json!({ "model": "a" }))).await.unwrap();
    store.note_origin_tasks("anna", json!(["anna-briefing"])).await.unwrap();
    assert_eq!(store.agent_origin("anna").await.unwrap().unwrap().tasks, json!(["anna-briefing"]));
    assert!(matches!(store.note_origin_tasks("eve", json!([])).await, Err(StoreError::NotFound { .. })));
    store.remove_agent("anna").await.unwrap();
    assert_eq!(store.agent_origin("anna").await.unwrap(), None);
}
