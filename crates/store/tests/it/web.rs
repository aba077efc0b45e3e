//! Conversations that are read back from the store: in order, page by page, and nobody else's.

use lazaret_store::{ChatRow, HeardFilter, NewOut, Route, Store, Talk, WiringRow};
use model::{ChatId, ChatPolicy, Engage, Ignored, Senders, SessionMode, Timestamp, WiringId};
use serde_json::json;

use crate::channels::{Fixed, channel, hearing};
use crate::common::{NOW, home, open};

fn chat(bits: u128, of: &str) -> ChatRow {
    ChatRow {
        id: ChatId::from_bits(bits),
        channel: "lab".into(),
        chat: of.into(),
        name: "Ann".into(),
        is_group: false,
        policy: ChatPolicy::Strict,
        denied: None,
        created: NOW,
        heard: NOW,
    }
}

fn wiring(bits: u128) -> WiringRow {
    WiringRow {
        id: WiringId::from_bits(bits),
        chat: ChatId::from_bits(0),
        agent: "default".into(),
        engage: Engage::Pattern,
        pattern: Some(".".into()),
        senders: Senders::Known,
        ignored: Ignored::Drop,
        mode: SessionMode::Shared,
        priority: 0,
        bots: false,
        created: NOW,
    }
}

async fn owe(store: &Store, chat: &str, agent: Option<&str>, text: &str, at: u64) {
    let out = NewOut {
        channel: "lab".into(),
        chat: chat.into(),
        thread: None,
        act: json!({ "do": "send", "text": text }),
        cause: text.into(),
        agent: agent.map(str::to_owned),
        session: None,
        turn: None,
    };
    store.send(vec![out], Timestamp(NOW.0 + at)).await.unwrap();
}

#[tokio::test]
async fn a_chat_is_opened_with_who_hears_it_and_left_as_it_is_then() {
    let dir = home();
    let store = open(dir.path());
    channel(&store).await;
    let made = store.open_chat(chat(1, "u1.andy"), wiring(1)).await.unwrap();
    assert_eq!(store.heard_by(&made.id).await.unwrap(), 1);
    let wired = store.list_wirings(None, Some(made.id.clone())).await.unwrap();
    store.remove_wiring(&wired[0].id).await.unwrap();
    let again = store.open_chat(chat(2, "u1.andy"), wiring(2)).await.unwrap();
    assert_eq!((again.id, store.heard_by(&made.id).await.unwrap()), (made.id, 0), "what somebody took away stays away");
    store.open_chat(chat(3, "u12.andy"), wiring(3)).await.unwrap();
    let own = store.chats_beginning("lab", "u1.").await.unwrap();
    assert_eq!(own.iter().map(|row| row.chat.as_str()).collect::<Vec<_>>(), ["u1.andy"]);
    assert!(store.open_chat(ChatRow { channel: "none".into(), ..chat(4, "u1.bob") }, wiring(4)).await.is_err());
}

#[tokio::test]
async fn a_conversation_is_read_page_by_page_and_holds_nobody_elses() {
    let dir = home();
    let store = open(dir.path());
    channel(&store).await;
    let router = std::sync::Arc::new(Fixed(|_| Route::Drop { gate: "wiring", reason: "none".to_owned(), notes: true }));
    let mut ids = Vec::new();
    for (message, of) in [("m1", "u1.andy"), ("m2", "u2.andy"), ("m3", "u1.andy")] {
        let hearing = lazaret_store::Hearing { chat: of.into(), ..hearing(message) };
        ids.push(hearing.id.clone());
        store.hear(hearing, router.clone()).await.unwrap();
    }
    for (of, agent, text) in [
        ("u1.andy", Some("andy"), "one"),
        ("u1", Some("andy"), "card"),
        ("u1", Some("bob"), "of bob"),
        ("u1", None, "host"),
        ("u2.andy", Some("andy"), "two"),
    ] {
        owe(&store, of, agent, text, 1).await;
    }
    let talk = |before: Option<&str>| Talk {
        channel: "lab".into(),
        chat: "u1.andy".into(),
        beside: Some(("u1".into(), "andy".into())),
        before: before.map(str::to_owned),
    };
    let heard = store.heard_in(talk(None), 10).await.unwrap();
    let mut messages: Vec<&str> = heard.iter().map(|told| told.row.message.as_str()).collect();
    messages.sort_unstable();
    assert_eq!(messages, ["m1", "m3"]);
    let mut said: Vec<String> = store.said_in(talk(None), 10).await.unwrap().iter().map(|out| out.cause.clone()).collect();
    said.sort_unstable();
    assert_eq!(said, ["card", "one"]);
    assert_eq!(store.heard_in(talk(None), 1).await.unwrap().len(), 1);
    let bits = ids[2].as_str().rsplit('_').next().unwrap().to_owned();
    let older = store.heard_in(talk(Some(&bits)), 10).await.unwrap();
    assert_eq!(older.iter().map(|told| told.row.message.as_str()).collect::<Vec<_>>(), ["m1"]);
    let page = store.list_heard(HeardFilter { channel: Some("lab".into()), ..HeardFilter::default() }, None, 2).await.unwrap();
    assert_eq!((page.items.len(), page.items[0].message.as_str(), page.next.is_some()), (2, "m3", true));
    let none = HeardFilter { tenant: Some("other".into()), ..HeardFilter::default() };
    assert!(store.list_heard(none, None, 10).await.unwrap().items.is_empty());
    let dropped = HeardFilter { outcome: Some("held".into()), ..HeardFilter::default() };
    assert_eq!(store.list_heard(dropped, None, 10).await.unwrap().items.len(), 3);
}
