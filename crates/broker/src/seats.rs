//! Calls under way: how many a session has, and under which names.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use model::Code;

use crate::refusal::Refusal;

/// Calls of one session that are under way or whose answer is on its way; more are refused.
pub const CALLS_MAX: usize = 64;

/// The calls of all sessions.
#[derive(Debug, Default)]
pub(crate) struct Seats {
    // Held for a few steps, never across an await.
    sessions: Mutex<HashMap<String, Sitting>>,
}

#[derive(Debug, Default)]
struct Sitting {
    taken: usize,
    names: HashSet<String>,
}

/// The place of one call. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    session: String,
    name: Option<String>,
}

impl Seats {
    /// Takes a place for a call.
    pub(crate) fn take(self: &Arc<Self>, session: &str, correlation: &str) -> Result<Seat, Refusal> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let sitting = sessions.entry(session.to_owned()).or_default();
        if sitting.names.contains(correlation) {
            let message = "a call with this correlation is under way already";
            return Err(Refusal::new(1, Code::ValidationFailed, message).field("correlation"));
        }
        if sitting.taken >= CALLS_MAX {
            let message = format!("{CALLS_MAX} calls of this session are under way already");
            return Err(Refusal::new(1, Code::RateLimited, message).retry_after(1));
        }
        sitting.taken += 1;
        sitting.names.insert(correlation.to_owned());
        Ok(Seat { seats: Arc::clone(self), session: session.to_owned(), name: Some(correlation.to_owned()) })
    }
}

impl Seat {
    /// The call is made: its name may be used again, though its answer still takes up the place.
    pub(crate) fn made(&mut self) {
        let Some(name) = self.name.take() else { return };
        let mut sessions = self.seats.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sitting) = sessions.get_mut(&self.session) {
            sitting.names.remove(&name);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.made();
        let mut sessions = self.seats.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sitting) = sessions.get_mut(&self.session) {
            sitting.taken = sitting.taken.saturating_sub(1);
            if sitting.taken == 0 {
                sessions.remove(&self.session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_belong_to_a_session_and_places_are_counted() {
        let seats = Arc::new(Seats::default());
        let mut first = seats.take("s", "c").unwrap();
        assert_eq!(seats.take("s", "c").unwrap_err().field.as_deref(), Some("correlation"));
        let other = seats.take("t", "c").unwrap();
        first.made();
        let again = seats.take("s", "c").unwrap();
        let rest: Vec<Seat> = (2..CALLS_MAX).map(|n| seats.take("s", &n.to_string()).unwrap()).collect();
        let refused = seats.take("s", "too many").unwrap_err();
        assert_eq!((refused.code, refused.retry_after), (Code::RateLimited, Some(1)));
        drop((first, other, again, rest));
        assert!(seats.sessions.lock().unwrap().is_empty());
    }
}
