//! The crash test's steps about skills, agents of templates, and when secrets were used.

use lazaret_store::{NewSkill, OriginRow, Secrets, Store};
use model::Timestamp;
use serde_json::json;

use crate::crash::acknowledge;

const NOW: Timestamp = Timestamp(3);

pub(crate) async fn steps(store: &Store, secrets: &Secrets) {
    secrets.note_used(vec![("a".to_owned(), String::new(), NOW)]).await.unwrap();
    acknowledge("secret-use");
    let skill = NewSkill {
        name: "brew".to_owned(),
        hash: "h".to_owned(),
        description: "d".to_owned(),
        source: "path:/x".to_owned(),
        about: json!({ "files": [] }),
        actor: "owner".to_owned(),
        archive: b"files".to_vec(),
        replaces: None,
    };
    store.put_skill(skill, NOW).await.unwrap();
    acknowledge("skill-put");
    store.remove_skill("brew").await.unwrap();
    acknowledge("skill-remove");
    let origin = OriginRow {
        agent: "anna".to_owned(),
        template: "assistant".to_owned(),
        hash: "h".to_owned(),
        made: json!({}),
        variables: json!({}),
        tasks: json!([]),
        actor: "owner".to_owned(),
        made_at: NOW,
    };
    store.put_agent_of_template(json!({}), origin, None).await.unwrap();
    acknowledge("agent-origin");
}

pub(crate) async fn check(store: &Store, secrets: &Secrets, did: &impl Fn(&str) -> bool, point: &str) {
    let skills = store.list_skills().await.unwrap().len();
    assert_eq!(skills, usize::from(did("skill-put") && !did("skill-remove")), "{point}");
    assert_eq!(store.skill_archive("h").await.is_ok(), skills == 1, "{point}: its files come and go with it");
    let made = did("agent-origin");
    assert_eq!((store.agent("anna").await.is_ok(), store.agent_origin("anna").await.unwrap().is_some()), (made, made), "{point}");
    let used = secrets.list().await.unwrap().iter().any(|entry| entry.name == "a" && entry.used.is_some());
    assert_eq!(used, did("secret-use"), "{point}");
}
