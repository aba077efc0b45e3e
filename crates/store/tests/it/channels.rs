//! Chats: what is heard is noted and asked once, and what is owed leaves once and in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lazaret_store::{
    ChannelRow, ChatRow, HeardOut, Hearing, KeptMessage, NewOut, OutOutcome, OutRow, PairingRow, Reply, Route, RouteView, Router, Store,
    StoreError, Verdict, WiringRow,
};
use model::{ChatId, ChatPolicy, Engage, Ignored, InboundId, Outcome, PairingId, Senders, SessionMode, Timestamp, TurnEvent, WiringId};
use serde_json::{Value, json};

use crate::common::{NOW, home, new_session, open, result};

/// Says what it is told to.
pub(crate) struct Fixed(pub(crate) fn(&RouteView) -> Route);

fn fresh() -> u128 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    u128::from(NEXT.fetch_add(1, Ordering::Relaxed)) << 8
}

impl Router for Fixed {
    fn route(&self, view: &RouteView) -> Route {
        (self.0)(view)
    }
    fn prompt(&self, _: &RouteView, id: &InboundId, before: &[KeptMessage], dead: &[OutRow]) -> String {
        format!("{id} after {} and {} dead", before.len(), dead.len())
    }
    fn element(&self, id: &InboundId, body: &Value) -> String {
        format!("{id} {}", body["text"])
    }
    fn reply(&self, _: &RouteView, about: Reply<'_>) -> Option<String> {
        Some(format!("{about:?}"))
    }
    fn fresh_bits(&self) -> u128 {
        fresh()
    }
}

pub(crate) fn hearing(message: &str) -> Hearing {
    Hearing {
        id: InboundId::from_bits(fresh()),
        channel: "lab".into(),
        fresh_chat: ChatId::from_bits(fresh()),
        chat: "c1".into(),
        chat_name: "Chat".into(),
        is_group: false,
        thread: None,
        message: message.into(),
        kind: "message".into(),
        sender: "ann".into(),
        sender_name: "Ann".into(),
        code: None,
        body: json!({ "text": message }),
        now: NOW,
    }
}

pub(crate) async fn channel(store: &Store) {
    let row = ChannelRow {
        name: "lab".into(),
        tenant: "default".into(),
        network: "lab".into(),
        program: None,
        print: None,
        config: json!({}),
        about: json!({}),
        is_on: true,
        cursor: None,
        me: None,
        abilities: None,
        host: None,
        created: NOW,
    };
    store.put_channel(row.clone(), true).await.unwrap();
    assert!(matches!(store.put_channel(row, true).await, Err(StoreError::Conflict(_))));
}

pub(crate) async fn wired(store: &Store) -> ChatId {
    channel(store).await;
    let chat = ChatRow {
        id: ChatId::from_bits(fresh()),
        channel: "lab".into(),
        chat: "c1".into(),
        name: "Chat".into(),
        is_group: false,
        policy: ChatPolicy::Public,
        denied: None,
        created: NOW,
        heard: NOW,
    };
    let chat = store.put_chat(chat).await.unwrap().id;
    let wiring = WiringRow {
        id: WiringId::from_bits(fresh()),
        chat: chat.clone(),
        agent: "default".into(),
        engage: Engage::Pattern,
        pattern: Some(".".into()),
        senders: Senders::All,
        ignored: Ignored::Accumulate,
        mode: SessionMode::Shared,
        priority: 0,
        bots: false,
        created: NOW,
    };
    store.put_wiring(wiring).await.unwrap();
    chat
}

fn engage(_: &RouteView) -> Route {
    Route::Wired(vec![Verdict::Engage])
}

fn keep(_: &RouteView) -> Route {
    Route::Wired(vec![Verdict::Keep])
}

async fn asked(store: &Store, message: &str) -> HeardOut {
    let router = Arc::new(Fixed(engage));
    let heard = hearing(message);
    let out = store.hear(heard.clone(), Arc::clone(&router)).await.unwrap();
    let Some(key) = out.needs.into_iter().next() else { return HeardOut { needs: Vec::new(), ..out } };
    let session = new_session();
    store.create_session(session.clone()).await.unwrap();
    assert_eq!(store.name_session(key.clone(), &session.id).await.unwrap(), session.id);
    assert_eq!(store.name_session(key, &new_session().id).await.unwrap(), session.id, "the first one stays");
    store.hear(heard, router).await.unwrap()
}

#[tokio::test]
async fn a_message_is_asked_once_with_what_was_said_before_it() {
    let home = home();
    let store = open(home.path());
    wired(&store).await;
    assert_eq!(store.destinations("default", "default").await.unwrap()[0].name, "chat", "a wired chat is a destination");
    let kept = store.hear(hearing("k1"), Arc::new(Fixed(keep))).await.unwrap();
    assert!(kept.fresh && kept.turns.is_empty());
    let out = asked(&store, "m1").await;
    let (turn, session) = out.turns[0].clone();
    assert!(store.prompt(&turn).await.unwrap().ends_with("after 1 and 0 dead"));
    let again = asked(&store, "m1").await;
    assert!(!again.fresh && again.turns.is_empty() && again.id == out.id);
    assert_eq!(store.open_turns(&session).await.unwrap().len(), 1);
    assert!(store.prompt(&asked(&store, "m2").await.turns[0].0).await.unwrap().ends_with("after 0 and 0 dead"), "told once");
    let asker = store.asker(&turn).await.unwrap().unwrap();
    assert_eq!((asker.chat.as_str(), asker.handle.as_str(), asker.user), ("c1", "ann", None));
    // The end of the turn and the answer that it owes are one commit.
    let lease = store.lease_turn(&turn, None, NOW).await.unwrap();
    let mut record = lazaret_store::Record::new(turn.clone(), lease.fence, Vec::new(), NOW).change(TurnEvent::Start);
    store.record(record.clone()).await.unwrap();
    record.events = vec![result(Outcome::Completed, None)];
    record.change = Some(TurnEvent::Finish);
    store.record(record).await.unwrap();
    let owed = store.outs_of_turn(&turn).await.unwrap();
    assert_eq!((owed.len(), &owed[0].act["text"], owed[0].chat.as_str()), (1, &json!("done"), "c1"));
}

pub(crate) fn out(cause: &str, chat: &str) -> NewOut {
    NewOut {
        channel: "lab".into(),
        chat: chat.into(),
        thread: None,
        act: json!({ "do": "send", "text": cause }),
        cause: cause.into(),
        agent: None,
        session: None,
        turn: None,
    }
}

#[tokio::test]
async fn what_is_owed_leaves_in_order_one_at_a_time_and_once() {
    let home = home();
    let store = open(home.path());
    channel(&store).await;
    let first = store.send(vec![out("a1", "a"), out("a2", "a"), out("b1", "b")], NOW).await.unwrap();
    assert_eq!(store.send(vec![out("a1", "a")], NOW).await.unwrap(), first[..1], "the same cause owes one");
    let causes = |rows: &[OutRow]| rows.iter().map(|row| row.cause.clone()).collect::<Vec<_>>();
    let claimed = store.claim_out("lab", 10, NOW).await.unwrap();
    let mut now = causes(&claimed);
    now.sort();
    assert_eq!(now, ["a1", "b1"], "one of each chat");
    assert!(store.claim_out("lab", 10, NOW).await.unwrap().is_empty() && store.next_out("lab").await.unwrap().is_none());
    // The channel ended over them: they come again under the same identity.
    assert_eq!(store.release_out("lab", NOW).await.unwrap(), 2);
    let again = store.claim_out("lab", 10, NOW).await.unwrap();
    assert!(again.iter().all(|row| row.attempts == 2 && first.contains(&row.id)));
    let later = Timestamp(NOW.0 + 1000);
    let sent = OutOutcome::Sent(vec!["p1".into()], later);
    assert!(store.out_tried(&first[0], sent.clone(), NOW).await.unwrap());
    assert!(!store.out_tried(&first[0], sent, NOW).await.unwrap(), "settled once");
    assert!(store.claim_out("lab", 10, NOW).await.unwrap().is_empty(), "the rate of the chat");
    assert_eq!(store.next_out("lab").await.unwrap(), Some(later));
    assert_eq!(causes(&store.claim_out("lab", 10, later).await.unwrap()), ["a2"]);
    assert!(store.out_tried(&first[1], OutOutcome::Dead("no".into()), later).await.unwrap());
    assert!(matches!(store.resend_out(&first[0], later).await, Err(StoreError::Conflict(_))));
    assert_eq!(store.resend_out(&first[1], later).await.unwrap().state, "waiting");
    assert_eq!(store.out(&first[0]).await.unwrap().messages, ["p1"]);
    // The chat of a file that will never come is told of it, once; what tells of it has no file.
    let act = json!({ "do": "send", "text": "", "files": [{ "id": "f", "name": "plan.zip" }] });
    let filed = store.send(vec![NewOut { act, ..out("filed", "c") }], NOW).await.unwrap().remove(0);
    for _ in 0..2 {
        assert_eq!(causes(&store.claim_out("lab", 10, later).await.unwrap()).iter().filter(|cause| *cause == "filed").count(), 1);
        assert!(store.out_tried(&filed, OutOutcome::Dead("no room".into()), later).await.unwrap());
        let told = store.claim_out("lab", 10, later).await.unwrap();
        if let [told] = &told[..] {
            assert_eq!((told.chat.as_str(), &told.act["text"]), ("c", &json!("(Not sent: `plan.zip`. no room)")));
            assert!(store.out_tried(&told.id, OutOutcome::Dead("gone".into()), later).await.unwrap());
        }
        store.resend_out(&filed, later).await.unwrap();
    }
    let refused = store.out_of(&format!("refused:{filed}")).await.unwrap().expect("told");
    assert_eq!((refused.state.as_str(), refused.attempts), ("dead", 1));
    store.remove_channel("lab").await.unwrap();
    assert!(store.out(&first[0]).await.is_err());
}

#[tokio::test]
async fn a_code_is_used_once_and_guesses_are_counted() {
    let home = home();
    let store = open(home.path());
    channel(&store).await;
    let code = |n: u128, expires: u64| PairingRow {
        id: PairingId::from_bits(n),
        tenant: "default".into(),
        hash: format!("hash{n}"),
        user: None,
        agent: Some("default".into()),
        role: Some("admin".into()),
        channel: None,
        expires: Timestamp(expires),
        used: None,
        used_by: None,
        created: NOW,
    };
    store.put_pairing(code(1, NOW.0 + 1000)).await.unwrap();
    assert!(matches!(
        store.put_pairing(PairingRow { id: PairingId::from_bits(9), ..code(1, NOW.0 + 1000) }).await,
        Err(StoreError::Conflict(_))
    ));
    let pair = |message: &str, hash: &str| Hearing { code: Some(hash.into()), ..hearing(message) };
    let by_code = |view: &RouteView| if view.pairing.is_some() { Route::Pair } else { Route::WrongCode };
    store.hear(pair("w", "hash7"), Arc::new(Fixed(by_code))).await.unwrap();
    let used = store.hear(pair("p", "hash1"), Arc::new(Fixed(by_code))).await.unwrap();
    assert!(used.fresh && used.owes);
    let person = store.person("default", "lab", "ann").await.unwrap().unwrap();
    assert_eq!(person.agents.get("default").map(String::as_str), Some("admin"));
    let counted = |view: &RouteView| {
        assert_eq!((view.guesses, view.pairing.is_some(), view.is_pairing), (1, false, false), "it was used");
        Route::WrongCode
    };
    store.hear(pair("again", "hash1"), Arc::new(Fixed(counted))).await.unwrap();
    assert_eq!(store.answerable("default", "default").await.unwrap()[0].dm.as_deref(), Some("c1"));
    assert_eq!(store.list_wirings(None, None).await.unwrap().len(), 1);
}
