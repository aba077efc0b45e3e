//! What agents do through tools: each call has its effect once, the answer of one agent reaches another, and a task is told where it was made.

use lazaret_store::{
    Gate, GateVerdict, Mail, NewOrder, NewTask, NewTaskPlace, NewToolQuestion, NewTurn, Origin, OutPlace, QuestionStatus, Record, Store,
    StoreError, TaskPatch, TaskState, ToolAsked, TurnAbout,
};
use model::{EventKind, Outcome, QuestionId, SessionId, TaskId, Timestamp, TurnEvent, TurnId};
use serde_json::json;

use crate::channels::channel;
use crate::common::{NOW, home, new_turn, open, result, running, session};

pub(crate) fn origin() -> Origin {
    Origin { user: None, channel: "lab".into(), chat: "c1".into(), thread: None, handle: "ann".into(), via: Vec::new() }
}

pub(crate) fn question(session: &SessionId, turn: &TurnId, correlation: &str) -> NewToolQuestion {
    NewToolQuestion {
        id: QuestionId::from_bits(u128::from_be_bytes(*b"question of tool") ^ correlation.len() as u128),
        session: session.clone(),
        turn: turn.clone(),
        correlation: correlation.into(),
        hash: "h".into(),
        text: "Which?".into(),
        options: vec!["red".into(), "blue".into()],
        expires: Timestamp(NOW.0 + 1000),
        now: NOW,
    }
}

pub(crate) fn task_of(n: u128, cause: &str) -> (NewTask, NewTaskPlace) {
    let new = NewTask {
        id: TaskId::from_bits(n),
        tenant: "default".into(),
        name: format!("planned {n}"),
        cron: "0 9 * * *".into(),
        zone: "UTC".into(),
        misfire: "once".into(),
        overlap: "skip".into(),
        action: json!({ "message": { "text": "hello" } }),
        failures_max: 1,
        is_owners: false,
        due: Some(Timestamp(NOW.0 + 1000)),
        now: NOW,
    };
    (new, NewTaskPlace { agent: "default".into(), origin: origin(), cause: cause.into() })
}

pub(crate) fn order_of(session: &SessionId, turn: &TurnId) -> NewOrder {
    NewOrder {
        id: "ord_1".into(),
        tenant: "default".into(),
        agent: "default".into(),
        session: session.clone(),
        turn: turn.clone(),
        cause: "tool:order".into(),
        body: json!({ "packages": ["x"] }),
        now: NOW,
    }
}

/// Ends a turn that runs.
async fn end(store: &Store, turn: &TurnId) {
    let row = store.turn(turn).await.unwrap();
    let events = vec![result(Outcome::Completed, None)];
    store.record(Record::new(turn.clone(), row.fence, events, NOW).change(TurnEvent::Finish)).await.unwrap();
}

async fn begun(store: &Store, new: NewTurn, about: TurnAbout) -> TurnId {
    let turn = store.accept_turn_of(new, about).await.unwrap().turn;
    let lease = store.lease_turn(&turn, None, NOW).await.unwrap();
    store.record(Record::new(turn.clone(), lease.fence, vec![], NOW).change(TurnEvent::Start)).await.unwrap();
    turn
}

#[tokio::test]
async fn a_call_asks_once_and_its_answer_is_found_again() {
    let home = home();
    let store = open(home.path());
    channel(&store).await;
    let session = session(&store).await;
    let about = TurnAbout { origin: Some(origin()), ..TurnAbout::default() };
    let turn = begun(&store, new_turn(&session, "ask me"), about).await;
    let ToolAsked { question: asked, events, .. } = store.ask_for_tool(question(&session, &turn, "c")).await.unwrap();
    assert!(matches!(&events[0].kind, EventKind::Question { text, .. } if text == "Which?"));
    // Asked where the turn was asked, and not among what the engine asked by itself.
    let owed = store.outs_of_turn(&turn).await.unwrap();
    assert!(owed.len() == 1 && owed[0].act["text"].as_str().unwrap().contains("Which?"), "{owed:?}");
    assert!(store.turn_questions(&session, &turn).await.unwrap().is_empty());
    assert_eq!(store.open_questions(&session).await.unwrap().len(), 1);
    assert_eq!(store.open_tool_questions(&turn).await.unwrap(), std::slice::from_ref(&asked.id));
    // The same call again, and then with its answer.
    let again = NewToolQuestion { id: QuestionId::from_bits(9), ..question(&session, &turn, "c") };
    assert_eq!(store.ask_for_tool(again.clone()).await.unwrap().question.id, asked.id);
    store.answer_question(&asked.id, "red".into(), NOW).await.unwrap();
    assert_eq!(store.give_up_question(&asked.id, Timestamp(9)).await.unwrap().answer.as_deref(), Some("red"), "an answer stays");
    assert_eq!(store.ask_for_tool(again).await.unwrap().question.status, QuestionStatus::Answered);
    assert_eq!(store.outs_of_turn(&turn).await.unwrap().len(), 1);
    end(&store, &turn).await;
    let late = NewToolQuestion { id: QuestionId::from_bits(10), ..question(&session, &turn, "other") };
    assert!(matches!(store.ask_for_tool(late).await, Err(StoreError::Conflict(_))));
}

/// What a chat shows of a question is changed to what came of it, once, on whatever surface it was answered, and only where there is
/// something to change.
#[tokio::test]
async fn what_a_chat_shows_of_a_question_is_changed_when_it_is_over() {
    let home = home();
    let store = open(home.path());
    channel(&store).await;
    store.channel_ready("lab", json!({ "id": "me" }), json!({ "text_max": 40, "edit": true, "buttons": true })).await.unwrap();
    let session = session(&store).await;
    for (n, over) in (20..).zip(["late", "answered", "ended"]) {
        let about = TurnAbout { origin: Some(origin()), ..TurnAbout::default() };
        let turn = begun(&store, new_turn(&session, "ask me"), about).await;
        let new =
            NewToolQuestion { id: QuestionId::from_bits(n), options: vec!["red".into(), "blue".into()], ..question(&session, &turn, over) };
        let asked = store.ask_for_tool(new).await.unwrap().question.id;
        let card = store.outs_of_turn(&turn).await.unwrap().pop().unwrap();
        assert_eq!(card.act["buttons"].as_array().map(Vec::len), Some(2), "{card:?}");
        let expect = match over {
            "late" => {
                for _ in 0..2 {
                    store.give_up_question(&asked, NOW).await.unwrap();
                }
                "(Nobody answered in time.)"
            }
            "answered" => {
                store.answer_question(&asked, "red".into(), NOW).await.unwrap();
                store.give_up_question(&asked, NOW).await.unwrap();
                "red"
            }
            _ => "(This is not asked any more.)",
        };
        end(&store, &turn).await;
        let owed: Vec<_> = store.outs_of_turn(&turn).await.unwrap().into_iter().filter(|out| out.act["do"] == "edit").collect();
        assert_eq!(owed.len(), 1, "{over}: {owed:?}");
        let text = owed[0].act["text"].as_str().unwrap();
        assert!(text.ends_with(expect) && text.chars().count() <= 40, "{over}: {text}");
        assert_eq!((&owed[0].act["message"], &owed[0].act["buttons"]), (&json!(format!("out:{}", card.id)), &json!([])), "{over}");
    }
}

#[tokio::test]
async fn an_answer_goes_where_it_was_to_go() {
    let home = home();
    let store = open(home.path());
    channel(&store).await;
    let session = session(&store).await;
    let place = |chat: &str| OutPlace { channel: "lab".into(), chat: chat.into(), thread: None };
    let about =
        TurnAbout { origin: Some(origin()), places: vec![place("c2"), place("c3")], gate: Some("exit 1".into()), ..TurnAbout::default() };
    let new = NewTurn { key: Some("k".into()), ..new_turn(&session, "tell them") };
    let turn = begun(&store, new.clone(), about.clone()).await;
    let again = NewTurn { id: TurnId::from_bits(77), ..new };
    assert_eq!(store.accept_turn_of(again, about).await.unwrap().turn, turn, "the same key is the same turn");
    assert_eq!(store.gate_of(&turn).await.unwrap(), Some(Gate { script: "exit 1".into(), verdict: None }));
    store.gate_said(&turn, GateVerdict::Open("news".into())).await.unwrap();
    assert_eq!(store.gate_of(&turn).await.unwrap().unwrap().verdict, Some(GateVerdict::Open("news".into())));
    end(&store, &turn).await;
    let mut chats: Vec<String> = store.outs_of_turn(&turn).await.unwrap().into_iter().map(|row| row.chat).collect();
    chats.sort();
    assert_eq!(chats, ["c2", "c3"], "and not to where it was asked");
}

#[tokio::test]
async fn the_answer_of_an_agent_becomes_a_turn_of_the_one_that_asked() {
    let home = home();
    let store = open(home.path());
    channel(&store).await;
    let (first, second) = (session(&store).await, session(&store).await);
    let asking = begun(&store, new_turn(&first, "ask the other"), TurnAbout { origin: Some(origin()), ..TurnAbout::default() }).await;
    let mail = Mail { hops: 1, from: Some(("default".into(), first.clone(), asking.clone())) };
    let about =
        TurnAbout { origin: Some(Origin { via: vec!["default".into()], ..origin() }), mail: Some(mail.clone()), ..TurnAbout::default() };
    let asked = begun(&store, new_turn(&second, "how many?"), about).await;
    assert_eq!(store.mail_of(&asked).await.unwrap(), Some(mail));
    assert_eq!(store.said_in_turn(&asking).await.unwrap(), 1);
    assert_eq!(store.asker(&asked).await.unwrap().unwrap().via, ["default"]);
    end(&store, &asked).await;
    // Nothing of it goes to the chat; the one that asked goes on, for the same person.
    assert!(store.outs_of_turn(&asked).await.unwrap().is_empty());
    let (reply, session) = store.reply_of(&asked).await.unwrap().unwrap();
    assert_eq!(session, first);
    assert!(store.prompt(&reply).await.unwrap().contains("done"));
    assert_eq!(store.asker(&reply).await.unwrap().unwrap().via, Vec::<String>::new());
    assert_eq!(store.mail_of(&reply).await.unwrap(), Some(Mail { hops: 2, from: None }));
    end(&store, &asking).await;
    let lease = store.lease_turn(&reply, None, NOW).await.unwrap();
    store.record(Record::new(reply.clone(), lease.fence, vec![], NOW).change(TurnEvent::Start)).await.unwrap();
    end(&store, &reply).await;
    assert_eq!(store.outs_of_turn(&reply).await.unwrap().len(), 1, "its own answer goes to the chat");
}

#[tokio::test]
async fn a_task_is_made_once_and_its_maker_hears_when_it_is_stopped() {
    let home = home();
    let store = open(home.path());
    channel(&store).await;
    let (new, place) = task_of(1, "tool:a");
    let row = store.create_task_at(new, place).await.unwrap();
    let (again, place) = task_of(2, "tool:a");
    assert_eq!(store.create_task_at(again, place).await.unwrap().id, row.id, "the same call makes one");
    let all = store.tasks_of_agent("default", "default").await.unwrap();
    assert_eq!((all.len(), all[0].1.origin.clone()), (1, origin()));
    assert!(store.tasks_of_agent("default", "other").await.unwrap().is_empty());
    let when = Some(("0 10 * * *".to_owned(), "UTC".to_owned(), Some(Timestamp(NOW.0 + 5000))));
    let changed =
        store.patch_task(&row.id, TaskPatch { when, action: Some(json!({ "message": { "text": "other" } })) }, NOW).await.unwrap();
    assert_eq!(
        (changed.cron.as_str(), changed.due, &changed.action["message"]["text"]),
        ("0 10 * * *", Some(Timestamp(NOW.0 + 5000)), &json!("other"))
    );
    // It fails as often as it may.
    let run = store.ask_run(&row.id, model::TaskRunId::from_bits(5), NOW).await.unwrap();
    assert_eq!(store.ask_run(&row.id, run.id.clone(), Timestamp(NOW.0 + 9)).await.unwrap().due, run.due, "one run for one call");
    store.begin_runs(NOW).await.unwrap();
    store.end_task_run(&run.id, false, Some("no".into()), NOW).await.unwrap();
    assert_eq!(store.task(&row.id).await.unwrap().state, TaskState::Broken);
    let told = |rows: Vec<lazaret_store::OutRow>| {
        rows.into_iter().map(|row| row.act["text"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let page = store.list_out(lazaret_store::OutFilter::default(), None, 10).await.unwrap();
    let said = told(page.items);
    assert!(said.len() == 1 && said[0].contains("is stopped"), "{said:?}");
    // Stopped for another reason, it says that; a second time nothing.
    let (new, place) = task_of(3, "tool:b");
    let row = store.create_task_at(new, place).await.unwrap();
    for _ in 0..2 {
        assert_eq!(store.stop_task(&row.id, "gone".into(), Timestamp(NOW.0 + 1)).await.unwrap().state, TaskState::Paused);
    }
    assert_eq!(store.list_out(lazaret_store::OutFilter::default(), None, 10).await.unwrap().items.len(), 2);
}

#[tokio::test]
async fn an_agent_is_made_whole_and_an_order_ends_once() {
    let home = home();
    let store = open(home.path());
    let made = store.make_agent_of("default", "default", "helper", json!({ "name": "helper" }), NOW).await.unwrap();
    assert_eq!((made.0.name.as_str(), made.1.as_str(), made.2.as_str()), ("helper", "parent", "helper"));
    assert!(matches!(store.make_agent_of("default", "default", "helper", json!({}), NOW).await, Err(StoreError::Conflict(_))));
    let to = store.destinations("default", "helper").await.unwrap();
    assert_eq!((to.len(), to[0].target.as_deref()), (1, Some("default")));
    assert_eq!(store.destinations("default", "default").await.unwrap()[0].target.as_deref(), Some("helper"));
    let session = session(&store).await;
    let lease = running(&store, &session).await;
    let row = store.put_order(order_of(&session, &lease.turn)).await.unwrap();
    let again = store.put_order(NewOrder { id: "ord_2".into(), ..order_of(&session, &lease.turn) }).await.unwrap();
    assert_eq!(again.id, row.id, "the same call orders once");
    assert_eq!(store.open_orders().await.unwrap().len(), 1);
    assert!(store.end_order(&row.id, true, "x 1".into(), NOW).await.unwrap());
    assert!(!store.end_order(&row.id, false, "no".into(), NOW).await.unwrap());
    assert_eq!(store.done_orders("default").await.unwrap()[0].note.as_deref(), Some("x 1"));
}
