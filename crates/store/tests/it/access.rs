//! Agents and tokens.

use lazaret_store::{AGENT_BYTES_MAX, NewSession, NewToken, StoreError};
use model::{Code, Timestamp, TokenId};
use serde_json::json;

use crate::common::{NOW, home, new_session, new_token, open};

#[tokio::test]
async fn an_agent_is_made_changed_and_removed() {
    let home = home();
    let store = open(home.path());
    let later = Timestamp(NOW.0 + 1);
    store.put_agent("writer", json!({"engine": "mini"}), NOW, true).await.unwrap();
    assert!(matches!(store.put_agent("writer", json!({}), later, true).await, Err(StoreError::Conflict(_))));
    let row = store.put_agent("writer", json!({"engine": "codex"}), later, false).await.unwrap();
    assert_eq!((row.body.clone(), row.created, row.updated), (json!({"engine": "codex"}), NOW, later));
    assert_eq!(store.agent("writer").await.unwrap(), row);
    store.put_agent("a", json!({}), NOW, true).await.unwrap();
    let names: Vec<_> = store.list_agents().await.unwrap().into_iter().map(|a| a.name).collect();
    assert_eq!(names, ["a", "writer"]);
    store.remove_agent("a").await.unwrap();
    for code in [store.agent("a").await.unwrap_err().code(), store.remove_agent("a").await.unwrap_err().code()] {
        assert_eq!(code, Code::NotFound);
    }
    for bad in ["", "A", "a b", "../x", &"x".repeat(64)] {
        assert!(matches!(store.put_agent(bad, json!({}), NOW, false).await, Err(StoreError::Invalid { .. })), "{bad}");
    }
    let large = json!("x".repeat(AGENT_BYTES_MAX));
    assert!(matches!(store.put_agent("large", large, NOW, false).await, Err(StoreError::Invalid { .. })));
}

#[tokio::test]
async fn an_agent_stays_while_somebody_talks_to_it() {
    let home = home();
    let store = open(home.path());
    store.put_agent("writer", json!({}), NOW, true).await.unwrap();
    let new = NewSession { agent: "writer".into(), ..new_session() };
    store.create_session(new.clone()).await.unwrap();
    let refused = store.remove_agent("writer").await;
    assert!(matches!(&refused, Err(StoreError::Conflict(why)) if why.contains(new.id.as_str())), "{refused:?}");
    store.update_session(&new.id, None, None, Some(true), NOW).await.unwrap();
    store.remove_agent("writer").await.unwrap();
}

#[tokio::test]
async fn a_token_is_found_by_what_it_hashes_to() {
    let home = home();
    let store = open(home.path());
    let end = Timestamp(NOW.0 + 10);
    let made = store.create_token(NewToken { expires: Some(end), ..new_token(1) }).await.unwrap();
    assert_eq!(store.token_by_hash(new_token(1).hash).await.unwrap(), Some(made.clone()));
    assert_eq!(store.token_by_hash(new_token(2).hash).await.unwrap(), None);
    assert!(made.is_good(NOW) && !made.is_good(end), "it ends at its time");
    let revoked = store.revoke_token(&made.id, NOW).await.unwrap();
    assert_eq!((revoked.revoked, revoked.is_good(NOW)), (Some(NOW), false));
    assert_eq!(store.revoke_token(&made.id, end).await.unwrap().revoked, Some(NOW), "the first time counts");
    assert_eq!(store.token_by_hash(new_token(1).hash).await.unwrap(), Some(revoked), "the caller sees why it is refused");
    assert_eq!(store.revoke_token(&TokenId::from_bits(9), NOW).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn tokens_are_listed_by_tenant_and_are_one_of_a_kind() {
    let home = home();
    let store = open(home.path());
    store.create_token(new_token(1)).await.unwrap();
    store.create_token(NewToken { tenant: "acme".into(), ..new_token(2) }).await.unwrap();
    let listed = async |tenant: Option<&str>| -> Vec<TokenId> {
        store.list_tokens(tenant.map(str::to_owned)).await.unwrap().into_iter().map(|t| t.id).collect()
    };
    assert_eq!(listed(None).await, [TokenId::from_bits(1), TokenId::from_bits(2)]);
    assert_eq!(listed(Some("acme")).await, [TokenId::from_bits(2)]);
    assert!(listed(Some("nobody")).await.is_empty());
    for same in [NewToken { hash: [7; 32], ..new_token(1) }, NewToken { id: TokenId::from_bits(7), ..new_token(1) }] {
        assert!(matches!(store.create_token(same).await, Err(StoreError::Conflict(_))));
    }
    for bad in [
        NewToken { name: String::new(), ..new_token(3) },
        NewToken { scope: String::new(), ..new_token(3) },
        NewToken { scope: "x".repeat(4097), ..new_token(3) },
        NewToken { tenant: "a\nb".into(), ..new_token(3) },
    ] {
        assert!(matches!(store.create_token(bad).await, Err(StoreError::Invalid { .. })));
    }
    assert_eq!(listed(None).await.len(), 2);
}
