//! What the killed program of [`crate::crash`] does with channels, and what must be there afterwards.

use std::sync::Arc;

use lazaret_store::{
    ChatRow, DestinationRow, GateVerdict, HeardOut, NewSession, NewTurn, OutOutcome, PairingRow, Record, Route, RouteView, SessionKey,
    Store, TurnAbout, Verdict, WiringRow,
};
use model::{
    ChatId, ChatPolicy, Engage, Ignored, InboundId, PairingId, Senders, SessionId, SessionMode, Timestamp, TurnEvent, TurnId, WiringId,
};
use serde_json::json;

use crate::agent_tools::{order_of, question};
use crate::channels::{Fixed, channel, hearing, out};
use crate::common::{NOW, new_session};
use crate::crash::acknowledge;

fn chat() -> ChatId {
    ChatId::from_bits(0x51)
}

fn wiring() -> WiringId {
    WiringId::from_bits(0x52)
}

fn session() -> SessionId {
    SessionId::from_bits(0x53)
}

fn key() -> SessionKey {
    SessionKey { tenant: "default".into(), agent: "default".into(), chat: chat().to_string(), thread: String::new() }
}

fn hold(_: &RouteView) -> Route {
    Route::Wired(vec![Verdict::Hold { reason: "somebody has to say yes".into() }])
}

/// Each kind of write about channels, and about what agents do there.
pub(crate) async fn steps(store: &Store) {
    by_agents(store).await;
    channel(store).await;
    acknowledge("channel-put");
    store.channel_ready("lab", json!({ "id": "me" }), json!({})).await.unwrap();
    acknowledge("channel-ready");
    store.channel_cursor("lab", "7".into()).await.unwrap();
    acknowledge("channel-cursor");
    places(store).await;
    let held = people(store).await;
    store.close_inbound(&held, vec![out("closed", "c1")], NOW).await.unwrap();
    acknowledge("inbound-close");
    // What is owed by then comes first.
    store.send(vec![out("owed", "c2")], NOW).await.unwrap();
    acknowledge("outbox-put");
    let claimed = store.claim_out("lab", 10, NOW).await.unwrap();
    acknowledge("outbox-claim");
    let owed = claimed.iter().find(|row| row.cause == "owed").unwrap();
    assert!(store.out_tried(&owed.id, OutOutcome::Sent(vec!["p1".into()], NOW), NOW).await.unwrap());
    acknowledge("outbox-tried");
    assert_eq!(store.forget_chat_log(Timestamp(NOW.0 + 1)).await.unwrap(), 2, "what was heard and what was sent");
    acknowledge("chat-forget");
    store.remove_wiring(&wiring()).await.unwrap();
    acknowledge("wiring-remove");
    store.remove_channel("lab").await.unwrap();
    acknowledge("channel-remove");
}

/// Each kind of write of the tools of agents.
async fn by_agents(store: &Store) {
    let session = SessionId::from_bits(0x61);
    store.create_session(NewSession { id: session.clone(), ..new_session() }).await.unwrap();
    let turn = TurnId::from_bits(0x62);
    let about = TurnAbout { gate: Some("exit 1".into()), ..TurnAbout::default() };
    store.accept_turn_of(NewTurn::new(turn.clone(), session.clone(), "do it", NOW), about).await.unwrap();
    acknowledge("turn-accept-of");
    store.gate_said(&turn, GateVerdict::Shut("no".into())).await.unwrap();
    acknowledge("turn-gate");
    let lease = store.lease_turn(&turn, None, NOW).await.unwrap();
    store.record(Record::new(turn.clone(), lease.fence, vec![], NOW).change(TurnEvent::Start)).await.unwrap();
    store.ask_for_tool(question(&session, &turn, "c")).await.unwrap();
    acknowledge("tool-ask");
    store.make_agent_of("default", "default", "made", json!({ "name": "made" }), NOW).await.unwrap();
    acknowledge("agent-make");
    store.put_order(order_of(&session, &turn)).await.unwrap();
    acknowledge("agent-order");
}

/// What of it must be there, and no more.
async fn check_agents(store: &Store, did: &impl Fn(&str) -> bool, point: &str) {
    let turn = TurnId::from_bits(0x62);
    assert_eq!(store.turn(&turn).await.is_ok(), did("turn-accept-of"), "{point}");
    let gate = store.gate_of(&turn).await.unwrap();
    assert_eq!(gate.is_some_and(|gate| gate.verdict.is_some()), did("turn-gate"), "{point}");
    assert_eq!(store.open_tool_questions(&turn).await.unwrap().len(), usize::from(did("tool-ask")), "{point}");
    assert_eq!(store.agent("made").await.is_ok(), did("agent-make"), "{point}");
    assert_eq!(store.destinations("default", "made").await.unwrap().len(), usize::from(did("agent-make")), "{point}");
    assert_eq!(store.open_orders().await.unwrap().len(), usize::from(did("agent-order")), "{point}");
}

async fn places(store: &Store) {
    let row = ChatRow {
        id: chat(),
        channel: "lab".into(),
        chat: "c1".into(),
        name: "Chat".into(),
        is_group: false,
        policy: ChatPolicy::Request,
        denied: None,
        created: NOW,
        heard: NOW,
    };
    store.put_chat(row).await.unwrap();
    acknowledge("chat-put");
    let row = WiringRow {
        id: wiring(),
        chat: chat(),
        agent: "default".into(),
        engage: Engage::Pattern,
        pattern: Some(".".into()),
        senders: Senders::Known,
        ignored: Ignored::Drop,
        mode: SessionMode::Shared,
        priority: 0,
        bots: false,
        created: NOW,
    };
    store.put_wiring(row).await.unwrap();
    acknowledge("wiring-put");
    let row = DestinationRow {
        tenant: "default".into(),
        agent: "default".into(),
        name: "ops".into(),
        chat: Some(chat()),
        thread: None,
        target: None,
    };
    store.put_destination(row, NOW).await.unwrap();
    acknowledge("destination-put");
    store.remove_destination("default", "default", "ops").await.unwrap();
    acknowledge("destination-remove");
    store.create_session(lazaret_store::NewSession { id: session(), ..new_session() }).await.unwrap();
    store.name_session(key(), &session()).await.unwrap();
    acknowledge("chat-session");
}

/// Somebody asks to be let in, and is. Gives the message that waits for it.
async fn people(store: &Store) -> InboundId {
    let code = PairingRow {
        id: PairingId::from_bits(0x54),
        tenant: "default".into(),
        hash: "hash".into(),
        user: None,
        agent: Some("default".into()),
        role: Some("admin".into()),
        channel: None,
        expires: Timestamp(NOW.0 + 1000),
        used: None,
        used_by: None,
        created: NOW,
    };
    store.put_pairing(code).await.unwrap();
    acknowledge("pairing");
    let heard: HeardOut = store.hear(hearing("m1"), Arc::new(Fixed(hold))).await.unwrap();
    acknowledge("inbound-hear");
    store.answer_admission(&heard.admission.unwrap(), true, "owner", NOW).await.unwrap();
    acknowledge("admission");
    store.keep_dm("lab", "ann", "c1").await.unwrap();
    acknowledge("people-change");
    heard.id.unwrap()
}

/// What must be there after these steps, and nothing else.
pub(crate) async fn check(store: &Store, did: &impl Fn(&str) -> bool, point: &str) {
    check_agents(store, did, point).await;
    let is_gone = did("channel-remove");
    let row = store.channel("lab").await.ok();
    assert_eq!(row.is_some(), did("channel-put") && !is_gone, "{point}");
    if let Some(row) = row {
        assert_eq!((row.me.is_some(), row.cursor.is_some()), (did("channel-ready"), did("channel-cursor")), "{point}");
    }
    let there = |kind: &str| did(kind) && !is_gone;
    assert_eq!(store.chat(&chat()).await.is_ok(), there("chat-put"), "{point}");
    assert_eq!(store.wiring(&wiring()).await.is_ok(), there("wiring-put") && !did("wiring-remove"), "{point}");
    let names = store.destinations("default", "default").await.unwrap();
    let has = |name: &str| names.iter().any(|row| row.name == name);
    assert_eq!(has("chat"), there("wiring-put"), "{point}: a wiring and its destination come together");
    assert_eq!(has("ops"), there("destination-put") && !did("destination-remove"), "{point}");
    assert_eq!(store.keys_of(&session()).await.unwrap().len(), usize::from(there("chat-session")), "{point}");
    assert_eq!(store.list_pairings(None).await.unwrap().len(), usize::from(did("pairing")), "{point}");
    let (heard, forgotten) = (there("inbound-hear"), did("chat-forget"));
    let message = store.inbound_named(None, "m1").await.unwrap();
    assert_eq!(message.is_some(), heard && !forgotten, "{point}");
    assert!(message.is_none_or(|row| row.is_open == (did("admission") && !did("inbound-close"))), "{point}");
    let person = store.person("default", "lab", "ann").await.unwrap();
    assert_eq!(person.is_some(), there("admission"), "{point}: the yes and what follows from it come together");
    let dm = store.list_handles(None, None).await.unwrap().iter().any(|row| row.dm.is_some());
    assert_eq!(dm, there("people-change"), "{point}");
    let state = async |cause: &str| store.out_of(cause).await.unwrap().map(|row| row.state);
    assert_eq!(state("closed").await.is_some(), there("inbound-close"), "{point}: the end of a message and its answer come together");
    let expect = match (there("outbox-put"), did("outbox-claim"), did("outbox-tried")) {
        (false, ..) => None,
        (_, false, _) => Some("waiting"),
        (.., false) => Some("sending"),
        _ if forgotten => None,
        _ => Some("sent"),
    };
    assert_eq!(state("owed").await.as_deref(), expect, "{point}");
}
