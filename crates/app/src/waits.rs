//! Calls of one session that wait for a person, and whether its turn waits for them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::ApprovalId;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::live::lock;

/// How long after a start of the daemon a call may take to come again before the turn goes on without it.
const AGAIN_WAIT: Duration = Duration::from_secs(30);

/// What the broker's calls and the turn's runner tell each other. A call waits while somebody is asked; the turn waits while
/// one of its calls does and nothing else of it is under way.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    /// Held for single operations.
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Calls that wait for an answer.
    asked: HashMap<ApprovalId, usize>,
    /// Calls that waited when an earlier daemon ended, and have not come again.
    expected: HashSet<ApprovalId>,
    expected_until: Option<Instant>,
    /// Calls that were answered with yes, and want to be made or are being made.
    wanted: usize,
    /// The turn waits: its clock stands and it has no place.
    stands: bool,
}

impl Waits {
    /// A call waits for an answer until what this gives is dropped.
    pub(crate) fn ask(self: &Arc<Self>, id: &ApprovalId) -> Asking {
        {
            let mut state = lock(&self.state);
            state.expected.remove(id);
            *state.asked.entry(id.clone()).or_default() += 1;
        }
        self.changed.notify_waiters();
        Asking { waits: Arc::clone(self), id: id.clone() }
    }

    /// A call was allowed, and is to be made or is being made, until what this gives is dropped.
    pub(crate) fn want(self: &Arc<Self>) -> Wanting {
        lock(&self.state).wanted += 1;
        self.changed.notify_waiters();
        Wanting(Arc::clone(self))
    }

    /// The calls that an earlier daemon's turn waited for: they come again.
    pub(crate) fn expect(&self, ids: impl IntoIterator<Item = ApprovalId>) {
        let mut state = lock(&self.state);
        let ids: Vec<ApprovalId> = ids.into_iter().filter(|id| !state.asked.contains_key(id)).collect();
        state.expected.extend(ids);
        state.expected_until = Some(Instant::now() + AGAIN_WAIT);
    }

    /// An expected call was answered or is over: it need not come again for the turn to go on.
    pub(crate) fn answered(&self, id: &ApprovalId) {
        let was_expected = lock(&self.state).expected.remove(id);
        if was_expected {
            self.changed.notify_waiters();
        }
    }

    /// Whether the turn is to wait now.
    pub(crate) fn should_stand(&self) -> bool {
        let mut state = lock(&self.state);
        if state.expected_until.is_some_and(|until| until <= Instant::now()) {
            state.expected.clear();
            state.expected_until = None;
        }
        state.wanted == 0 && !(state.asked.is_empty() && state.expected.is_empty())
    }

    /// Until when calls are expected to come again, if any are.
    pub(crate) fn expected_until(&self) -> Option<Instant> {
        let state = lock(&self.state);
        state.expected_until.filter(|_| !state.expected.is_empty())
    }

    /// Says whether the turn waits.
    pub(crate) fn stand(&self, stands: bool) {
        lock(&self.state).stands = stands;
        self.changed.notify_waiters();
    }

    /// Whether the turn waits.
    pub(crate) fn stands(&self) -> bool {
        lock(&self.state).stands
    }

    /// The turn is over.
    pub(crate) fn end(&self) {
        {
            let mut state = lock(&self.state);
            state.expected.clear();
            state.stands = false;
        }
        self.changed.notify_waiters();
    }

    /// Something changed. To be made before looking, and enabled.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }
}

/// A call that waits.
#[derive(Debug)]
pub(crate) struct Asking {
    waits: Arc<Waits>,
    id: ApprovalId,
}

impl Drop for Asking {
    fn drop(&mut self) {
        {
            let mut state = lock(&self.waits.state);
            if let Some(n) = state.asked.get_mut(&self.id) {
                *n -= 1;
                if *n == 0 {
                    state.asked.remove(&self.id);
                }
            }
        }
        self.waits.changed.notify_waiters();
    }
}

/// A call that may be made.
#[derive(Debug)]
pub(crate) struct Wanting(Arc<Waits>);

impl Drop for Wanting {
    fn drop(&mut self) {
        lock(&self.0.state).wanted -= 1;
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_turn_stands_while_a_call_waits_and_none_is_made() {
        let waits = Arc::new(Waits::default());
        let (one, other) = (ApprovalId::from_bits(1), ApprovalId::from_bits(2));
        assert!(!waits.should_stand());
        let (first, second) = (waits.ask(&one), waits.ask(&other));
        assert!(waits.should_stand());
        let made = waits.want();
        drop(first);
        assert!(!waits.should_stand(), "one is made");
        drop(made);
        assert!(waits.should_stand(), "the other still waits");
        drop(second);
        assert!(!waits.should_stand());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_does_not_come_again_is_not_waited_for_for_ever() {
        let waits = Arc::new(Waits::default());
        let (one, other) = (ApprovalId::from_bits(1), ApprovalId::from_bits(2));
        waits.expect([one.clone(), other.clone()]);
        waits.answered(&one);
        assert!(waits.should_stand() && waits.expected_until().is_some());
        tokio::time::advance(AGAIN_WAIT).await;
        assert!(!waits.should_stand() && waits.expected_until().is_none());
        waits.expect([other.clone()]);
        let came = waits.ask(&other);
        tokio::time::advance(AGAIN_WAIT).await;
        assert!(waits.should_stand(), "it came");
        drop(came);
        assert!(!waits.should_stand());
    }
}
