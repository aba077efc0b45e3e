//! For whom turns are done, and what they are told who decide for them.

use std::sync::Arc;

use lazaret_store::{
    AgentRoleRow, ApprovalAnswer, HeardOut, Hearing, NewApproval, NewOut, OutRow, RouteView, SaidBeside, Store, StoreError,
};
use lazaret_store::{Route, Verdict};
use model::{ApprovalId, ApprovalState, ChatPolicy, Risk, SessionId, Timestamp, TurnEvent, TurnId, TurnState, UserId};
use serde_json::json;

use crate::channels::{Fixed, hearing, out, wired};
use crate::common::{NOW, home, new_session, open};

fn engage(_: &RouteView) -> Route {
    Route::Wired(vec![Verdict::Engage])
}

fn keep(_: &RouteView) -> Route {
    Route::Wired(vec![Verdict::Keep])
}

fn of(message: &str, sender: &str) -> Hearing {
    Hearing { sender: sender.into(), sender_name: format!("Name of {sender}"), ..hearing(message) }
}

/// A turn that somebody asked.
async fn asked(store: &Store, message: &str, sender: &str) -> (TurnId, SessionId) {
    let (heard, router) = (of(message, sender), Arc::new(Fixed(engage)));
    let mut out: HeardOut = store.hear(heard.clone(), Arc::clone(&router)).await.unwrap();
    if let Some(key) = out.needs.first().cloned() {
        let session = new_session();
        store.create_session(session.clone()).await.unwrap();
        store.name_session(key, &session.id).await.unwrap();
        out = store.hear(heard, router).await.unwrap();
    }
    out.turns[0].clone()
}

async fn begin(store: &Store, turn: &TurnId) {
    let lease = store.lease_turn(turn, None, NOW).await.unwrap();
    store.record(lazaret_store::Record::new(turn.clone(), lease.fence, Vec::new(), NOW).change(TurnEvent::Start)).await.unwrap();
}

/// Makes somebody something to the agent, by their handle.
async fn known(store: &Store, handle: &str, role: &str) -> UserId {
    let fresh = UserId::from_bits(u128::from(handle.as_bytes()[0]));
    let user = store.put_member(fresh, "default", &format!("{handle}@example.org"), "viewer", NOW).await.unwrap().user.id;
    store.link_handle("lab", handle, handle, &user, NOW).await.unwrap();
    let row = AgentRoleRow { tenant: "default".into(), agent: "default".into(), user: user.clone(), role: role.into() };
    store.grant_agent(row, "owner", NOW).await.unwrap();
    user
}

#[tokio::test]
async fn who_asked_stands_and_what_they_are_is_what_they_are_now() {
    let home = home();
    let store = open(home.path());
    let chat = wired(&store).await;
    let user = known(&store, "ann", "admin").await;
    let (turn, session) = asked(&store, "m1", "ann").await;
    let now = store.asker_now(&turn).await.unwrap().unwrap();
    assert_eq!((now.row.user.as_ref(), now.state, now.is_public), (Some(&user), TurnState::Queued, true));
    assert_eq!(now.person.as_ref().unwrap().agents["default"], "admin");
    // Roles, links and policies count at once; who asked does not change.
    store.revoke_agent("default", "default", &user).await.unwrap();
    store.set_chat(&chat, Some(ChatPolicy::Strict), None, NOW).await.unwrap();
    let now = store.asker_now(&turn).await.unwrap().unwrap();
    assert!(now.person.unwrap().agents.is_empty() && !now.is_public && now.row.user == Some(user));
    store.unlink_handle("lab", "ann").await.unwrap();
    assert_eq!(store.asker_now(&turn).await.unwrap().unwrap().person, None);
    // Whoever asked before: only turns that were begun count.
    assert_eq!(store.asker_before(&session, 1).await.unwrap(), None);
    assert_eq!(store.asker_before(&session, 2).await.unwrap(), None, "it was never begun");
    begin(&store, &turn).await;
    assert_eq!(store.asker_before(&session, 2).await.unwrap().unwrap().unwrap().row.turn, turn);
    let host = crate::common::session(&store).await;
    let lease = crate::common::running(&store, &host).await;
    assert_eq!(store.asker_now(&lease.turn).await.unwrap(), None);
    assert_eq!(store.asker_before(&host, 2).await.unwrap(), Some(None));
}

#[tokio::test]
async fn words_of_others_and_of_strangers_are_counted() {
    let home = home();
    let store = open(home.path());
    wired(&store).await;
    known(&store, "ann", "admin").await;
    known(&store, "bob", "member").await;
    store.hear(of("k1", "eve"), Arc::new(Fixed(keep))).await.unwrap();
    let (_, session) = asked(&store, "m1", "ann").await;
    asked(&store, "m2", "bob").await;
    asked(&store, "m3", "mallory").await;
    let beside = store.said_beside(&session, "lab", "ann").await.unwrap();
    assert_eq!(beside, SaidBeside { others: 3, strangers: 2 });
    assert_eq!(store.said_beside(&session, "lab", "eve").await.unwrap(), SaidBeside { others: 3, strangers: 1 });
    assert_eq!(store.said_beside(&crate::common::session(&store).await, "", "").await.unwrap(), SaidBeside::default());
}

fn call(n: u128, session: &SessionId) -> NewApproval {
    NewApproval {
        id: ApprovalId::from_bits(n),
        session: Some(session.clone()),
        tenant: "default".into(),
        agent: "default".into(),
        tool: "mail_send".into(),
        plugin: "email".into(),
        correlation: format!("c{n}"),
        arguments: json!({}),
        text: "mail_send".into(),
        hash: "h".into(),
        risk: Risk::High,
        actor: "agent:default".into(),
        expires: Timestamp(NOW.0 + 300_000),
        now: NOW,
    }
}

fn card(id: &ApprovalId, place: &str) -> NewOut {
    let act = json!({ "do": "send", "text": "wants to call mail_send\nmore", "buttons": [] });
    NewOut { act, ..out(&format!("approval:{id}:{place}"), place) }
}

async fn owed(store: &Store, place: &str) -> Vec<OutRow> {
    let mut rows: Vec<OutRow> = store.list_out(Default::default(), None, 100).await.unwrap().items;
    rows.retain(|row| row.chat == place);
    rows.sort_by_key(|row| row.id.clone());
    rows
}

#[tokio::test]
async fn what_comes_of_a_card_is_written_to_it_with_the_answer() {
    let home = home();
    let store = open(home.path());
    wired(&store).await;
    store.channel_ready("lab", json!({ "id": "me" }), json!({ "edit": true, "text_max": 400 })).await.unwrap();
    let (turn, session) = asked(&store, "m1", "ann").await;
    begin(&store, &turn).await;
    let (first, second) = (ApprovalId::from_bits(1), ApprovalId::from_bits(2));
    store.ask_approval(call(1, &session)).await.unwrap();
    store.ask_approval(call(2, &session)).await.unwrap();
    assert_eq!(store.send_card(vec![card(&first, "d1")], NOW).await.unwrap().len(), 1);
    assert_eq!(store.send_card(vec![card(&first, "d2")], NOW).await.unwrap().len(), 1);
    assert!(store.send_card(vec![card(&first, "d1")], NOW).await.unwrap().is_empty(), "once each");
    let by = known(&store, "ann", "admin").await;
    let yes = ApprovalAnswer {
        approve: true,
        hash: "h".into(),
        by: format!("user:{by}"),
        note: None,
        usable_until: Timestamp(NOW.0 + 1000),
        now: NOW,
    };
    store.answer_approval(&first, yes.clone()).await.unwrap();
    for place in ["d1", "d2"] {
        let rows = owed(&store, place).await;
        let edit = rows.iter().find(|row| row.act["do"] == "edit").unwrap();
        let sent = rows.iter().find(|row| row.act["do"] == "send").unwrap();
        assert_eq!((rows.len(), &edit.act["message"]), (2, &json!(format!("out:{}", sent.id))));
        let text = edit.act["text"].as_str().unwrap();
        assert!(text.starts_with("wants to call mail_send\n\nmail_send: approved by ") && edit.act["buttons"] == json!([]), "{text}");
    }
    // A second answer is none, and changes nothing.
    assert!(matches!(store.answer_approval(&first, yes).await, Err(StoreError::Conflict(_))));
    assert_eq!(owed(&store, "d1").await.len(), 2);
    // One that is decided is not shown any more; one that ends with its turn says so.
    assert!(store.send_card(vec![card(&first, "d3")], NOW).await.unwrap().is_empty());
    store.send_card(vec![card(&second, "d3")], NOW).await.unwrap();
    let fence = store.turn(&turn).await.unwrap().fence;
    crate::common::finish(&store, &turn, fence).await;
    assert_eq!(store.approval(&second).await.unwrap().state, ApprovalState::Cancelled);
    let rows = owed(&store, "d3").await;
    assert!(rows.len() == 2 && rows.iter().any(|row| row.act["text"].as_str().unwrap().ends_with("mail_send: cancelled.")), "{rows:#?}");
}

#[tokio::test]
async fn a_chat_is_not_flooded_with_cards() {
    let home = home();
    let store = open(home.path());
    wired(&store).await;
    for n in 0..20 {
        let one = NewOut { act: json!({ "do": "send", "text": "x", "buttons": [] }), ..out(&format!("question:{n}:d1"), "d1") };
        store.send(vec![one], NOW).await.unwrap();
    }
    let (turn, session) = asked(&store, "m1", "ann").await;
    begin(&store, &turn).await;
    let mut shown = 0;
    for n in 1..20_u128 {
        let at = Timestamp(NOW.0 + 61_000 * u64::try_from(n / 4).unwrap());
        store.ask_approval(NewApproval { now: at, expires: Timestamp(at.0 + 86_400_000), ..call(n, &session) }).await.unwrap();
        // All of them are shown within one minute.
        let ids = store.send_card(vec![card(&ApprovalId::from_bits(n), "d1")], NOW).await.unwrap();
        shown += ids.len();
    }
    assert_eq!(shown, 19);
    let rows = owed(&store, "d1").await;
    let told = rows.iter().filter(|row| row.cause.starts_with("cards:")).count();
    assert_eq!((rows.iter().filter(|row| row.cause.starts_with("approval:")).count(), told), (6, 1), "six, and one line of the rest");
}
