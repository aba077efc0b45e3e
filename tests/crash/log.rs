//! What the store says once no daemon has it open.

use std::time::{Duration, Instant};

use model::{Event, EventKind, Outcome, TurnState};
use store::{Config, SessionFilter, Store, StoreError, TurnRow};

use crate::support::Lab;

/// One session with its turns and its whole log.
pub(crate) struct Kept {
    pub(crate) id: model::SessionId,
    pub(crate) turns: Vec<TurnRow>,
    pub(crate) events: Vec<Event>,
}

/// Opens the store. A process that another test starts just now may hold the lock of an earlier look until it has become
/// its program.
#[track_caller]
pub(crate) fn open(lab: &Lab) -> Store {
    let began = Instant::now();
    loop {
        match Store::open(&lab.home().join("lazaret.db"), &Config::default()) {
            Err(StoreError::InUse { .. }) if began.elapsed() < crate::scene::PATIENCE => std::thread::sleep(Duration::from_millis(5)),
            opened => return opened.expect("the store opens"),
        }
    }
}

/// Reads every session, and holds what must be true of each: every turn is over, with one result that says what the turn
/// says; events are numbered from 1 without a gap.
#[track_caller]
pub(crate) fn read(lab: &Lab, about: &str) -> Vec<Kept> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let all = runtime.block_on(async {
        let store = open(lab);
        let sessions = store.list_sessions(&SessionFilter::default(), None, 1000).await.expect("sessions").items;
        let mut all = Vec::new();
        for session in sessions {
            let turns = store.turns(&session.id, 0, 1000).await.expect("turns");
            let mut events: Vec<Event> = Vec::new();
            loop {
                let after = events.last().map_or(0, |e| e.seq);
                let page = store.events(&session.id, after, 500).await.expect("events");
                if page.is_empty() {
                    break;
                }
                events.extend(page);
            }
            assert_eq!(events.last().map_or(0, |e| e.seq), session.last_seq, "{about}");
            all.push(Kept { id: session.id, turns, events });
        }
        store.close().await.expect("the store closes");
        all
    });
    for session in &all {
        session.check(about);
    }
    all
}

impl Kept {
    #[track_caller]
    fn check(&self, about: &str) {
        let numbers: Vec<u64> = self.events.iter().map(|e| e.seq).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{about}");
        for turn in &self.turns {
            let results: Vec<Outcome> = self.results(turn).collect();
            assert!(turn.state.is_final(), "{about}: turn {} is {:?}", turn.id, turn.state);
            assert_eq!(results, turn.outcome.into_iter().collect::<Vec<_>>(), "{about}: one result, as the turn says");
            assert_eq!(turn.state == TurnState::Done, results == [Outcome::Completed], "{about}");
        }
    }

    /// The results of a turn.
    pub(crate) fn results<'a>(&'a self, turn: &'a TurnRow) -> impl Iterator<Item = Outcome> + 'a {
        self.events.iter().filter(|e| e.turn == turn.id).filter_map(|e| match &e.kind {
            EventKind::Result(result) => Some(result.status),
            _ => None,
        })
    }
}

/// How every turn of every session ended.
pub(crate) fn outcomes(sessions: &[Kept]) -> Vec<Outcome> {
    sessions.iter().flat_map(|s| s.turns.iter().flat_map(|turn| s.results(turn).collect::<Vec<_>>())).collect()
}
