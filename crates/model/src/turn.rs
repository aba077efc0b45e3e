//! The life of a turn.

use serde::{Deserialize, Serialize};

/// Where a turn stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TurnState {
    /// Accepted and durable; nobody works on it.
    Queued,
    /// A runner holds it under a fencing number and prepares a sandbox.
    Leased,
    /// An engine works on it.
    Running,
    /// A person must answer first; the clock stands and the slot is free.
    Waiting,
    /// Ended well.
    Done,
    /// Ended badly; the event log says why.
    Failed,
    /// Ended because somebody said so.
    Cancelled,
}

/// What can happen to a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnEvent {
    /// A runner took it.
    Lease,
    /// The engine started.
    Start,
    /// The engine asked a person.
    Ask,
    /// The person answered.
    Answer,
    /// The runner is gone and the policy allows another try.
    Release,
    /// The engine ended well.
    Finish,
    /// The engine ended badly, or the policy allows no further try.
    Fail,
    /// Somebody stopped it.
    Cancel,
}

/// Why an event was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} is not allowed while the turn is {state:?}")]
pub struct Refused {
    /// Where the turn stands.
    pub state: TurnState,
    /// What was tried.
    pub event: TurnEvent,
}

impl TurnState {
    /// Every state, for tables.
    pub const ALL: [TurnState; 7] = {
        use TurnState::*;
        [Queued, Leased, Running, Waiting, Done, Failed, Cancelled]
    };

    /// The next state. Total, pure, and the only source of what is written to `turns.state`.
    ///
    /// # Errors
    /// [`Refused`] when the event makes no sense in this state; nothing changes.
    pub fn on(self, event: TurnEvent) -> Result<TurnState, Refused> {
        use {TurnEvent::*, TurnState::*};
        match (self, event) {
            (Queued, Lease) => Ok(Leased),
            (Leased, Start) | (Waiting, Answer) => Ok(Running),
            (Running, Ask) => Ok(Waiting),
            (Leased | Running, Release) => Ok(Queued),
            (Running, Finish) => Ok(Done),
            (Queued | Leased | Running | Waiting, Fail) => Ok(Failed),
            (Queued | Leased | Running | Waiting, Cancel) => Ok(TurnState::Cancelled),
            (state, event) => Err(Refused { state, event }),
        }
    }

    /// Whether nothing can happen any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, TurnState::Done | TurnState::Failed | TurnState::Cancelled)
    }

    /// The word in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            TurnState::Queued => "queued",
            TurnState::Leased => "leased",
            TurnState::Running => "running",
            TurnState::Waiting => "waiting",
            TurnState::Done => "done",
            TurnState::Failed => "failed",
            TurnState::Cancelled => "cancelled",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn from_word(word: &str) -> Option<TurnState> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole diagram, one line per pair, so that a change is seen in review.
    #[test]
    fn diagram() {
        use TurnEvent::*;
        let mut lines = Vec::new();
        for state in TurnState::ALL {
            for event in [Lease, Start, Ask, Answer, Release, Finish, Fail, Cancel] {
                if let Ok(next) = state.on(event) {
                    lines.push(format!("{} --{event:?}--> {}", state.as_str(), next.as_str()));
                }
            }
        }
        assert_eq!(
            lines,
            [
                "queued --Lease--> leased", "queued --Fail--> failed", "queued --Cancel--> cancelled", "leased --Start--> running",
                "leased --Release--> queued", "leased --Fail--> failed", "leased --Cancel--> cancelled", "running --Ask--> waiting",
                "running --Release--> queued", "running --Finish--> done", "running --Fail--> failed", "running --Cancel--> cancelled",
                "waiting --Answer--> running", "waiting --Fail--> failed", "waiting --Cancel--> cancelled",
            ]
        );
    }
}
