//! What a person is asked, and what becomes of it.

use lazaret_store::{ANSWER_BYTES_MAX, Lease, QuestionStatus, Record, Store, StoreError};
use model::{Code, EventKind, Outcome, QuestionId, TurnEvent, TurnState};

use crate::common::{NOW, finish, home, open, result, running, session, text};

fn shown(id: &QuestionId) -> EventKind {
    EventKind::Question { id: id.clone(), text: "which?".into(), options: vec!["a".into(), "b".into()] }
}

fn asking(lease: &Lease, id: &QuestionId) -> Record {
    Record {
        question: Some((id.clone(), "which?".into(), vec!["a".into(), "b".into()])),
        ..Record::new(lease.turn.clone(), lease.fence, vec![text("hm"), shown(id)], NOW).change(TurnEvent::Ask)
    }
}

async fn status(store: &Store, id: &QuestionId) -> QuestionStatus {
    store.question(id).await.unwrap().status
}

#[tokio::test]
async fn a_question_is_asked_and_answered_once() {
    let home = home();
    let store = open(home.path());
    let session = session(&store).await;
    let lease = running(&store, &session).await;
    let id = QuestionId::from_bits(1);
    store.record(asking(&lease, &id)).await.unwrap();
    assert_eq!(store.turn(&lease.turn).await.unwrap().state, TurnState::Waiting);
    let row = store.question(&id).await.unwrap();
    assert_eq!((&row.session, &row.turn, row.text.as_str()), (&session, &lease.turn, "which?"));
    assert_eq!((row.options.len(), row.status, row.asked, row.answered), (2, QuestionStatus::Open, NOW, None));
    assert_eq!(store.open_questions(&session).await.unwrap(), [row]);
    let long = "x".repeat(ANSWER_BYTES_MAX + 1);
    assert!(matches!(store.answer_question(&id, long, NOW).await, Err(StoreError::Invalid { field: "answer", .. })));
    let row = store.answer_question(&id, "b".into(), NOW).await.unwrap();
    assert_eq!((row.status, row.answer.as_deref(), row.answered), (QuestionStatus::Answered, Some("b"), Some(NOW)));
    assert!(store.open_questions(&session).await.unwrap().is_empty());
    assert!(matches!(store.answer_question(&id, "a".into(), NOW).await, Err(StoreError::Conflict(_))));
    assert_eq!(store.question(&id).await.unwrap().answer.as_deref(), Some("b"), "the first answer stands");
    store.record(Record::new(lease.turn.clone(), lease.fence, vec![], NOW).change(TurnEvent::Answer)).await.unwrap();
    finish(&store, &lease.turn, lease.fence).await;
    assert_eq!(status(&store, &id).await, QuestionStatus::Answered, "the end of the turn takes no answer away");
    let unknown = store.answer_question(&QuestionId::from_bits(9), "x".into(), NOW).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
    store.delete_session(&session).await.unwrap();
    assert_eq!(store.question(&id).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn only_one_of_many_answers_counts() {
    let home = home();
    let store = open(home.path());
    let lease = running(&store, &session(&store).await).await;
    let id = QuestionId::from_bits(1);
    store.record(asking(&lease, &id)).await.unwrap();
    let (one, two) = tokio::join!(store.answer_question(&id, "a".into(), NOW), store.answer_question(&id, "b".into(), NOW));
    assert!(one.is_ok() != two.is_ok());
}

#[tokio::test]
async fn nobody_is_asked_without_an_event_and_without_waiting() {
    let home = home();
    let store = open(home.path());
    let session = session(&store).await;
    let lease = running(&store, &session).await;
    let (id, other) = (QuestionId::from_bits(1), QuestionId::from_bits(2));
    let bad = [
        Record { change: None, ..asking(&lease, &id) },
        Record { events: vec![text("hm")], ..asking(&lease, &id) },
        Record { events: vec![shown(&other)], ..asking(&lease, &id) },
        Record { change: Some(TurnEvent::Finish), events: vec![shown(&id), result(Outcome::Completed, None)], ..asking(&lease, &id) },
    ];
    for bad in bad {
        let said = format!("{bad:?}");
        assert!(matches!(store.record(bad).await, Err(StoreError::Conflict(_))), "{said}");
    }
    assert!(store.events(&session, 0, 10).await.unwrap().is_empty());
    assert!(store.open_questions(&session).await.unwrap().is_empty());
    store.record(asking(&lease, &id)).await.unwrap();
    store.record(Record::new(lease.turn.clone(), lease.fence, vec![], NOW).change(TurnEvent::Answer)).await.unwrap();
    assert!(matches!(store.record(asking(&lease, &id)).await, Err(StoreError::Conflict(_))), "an identity is used once");
    assert_eq!(store.turn(&lease.turn).await.unwrap().state, TurnState::Running);
}

#[tokio::test]
async fn a_question_goes_with_whoever_asked() {
    let home = home();
    let store = open(home.path());
    for change in [TurnEvent::Cancel, TurnEvent::Fail] {
        let session = session(&store).await;
        let lease = running(&store, &session).await;
        let id = QuestionId::from_bits(if change == TurnEvent::Fail { 1 } else { 2 });
        store.record(asking(&lease, &id)).await.unwrap();
        let outcome = if change == TurnEvent::Fail { Outcome::Failed } else { Outcome::Cancelled };
        store.record(Record::new(lease.turn.clone(), lease.fence, vec![result(outcome, None)], NOW).change(change)).await.unwrap();
        assert_eq!(status(&store, &id).await, QuestionStatus::Gone);
        assert!(matches!(store.answer_question(&id, "late".into(), NOW).await, Err(StoreError::Conflict(_))));
    }
    // A turn that is given back is asked anew by its next engine.
    let lease = running(&store, &session(&store).await).await;
    let id = QuestionId::from_bits(3);
    store.record(asking(&lease, &id)).await.unwrap();
    for change in [TurnEvent::Answer, TurnEvent::Release] {
        store.record(Record::new(lease.turn.clone(), lease.fence, vec![], NOW).change(change)).await.unwrap();
    }
    assert_eq!(status(&store, &id).await, QuestionStatus::Gone);
}
