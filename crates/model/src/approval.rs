//! The life of a confirmation.

use serde::{Deserialize, Serialize};

/// Where a confirmation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApprovalState {
    /// Nobody has answered.
    Pending,
    /// A person said yes; the call is not begun.
    Approved,
    /// The call was begun, and what came of it is not known.
    Begun,
    /// The call was made, and what came of it is kept.
    Finished,
    /// A person said no.
    Denied,
    /// Nobody answered in time, or the yes was not used in time.
    Expired,
    /// Its turn ended first.
    Cancelled,
}

/// What can happen to a confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalEvent {
    /// A person says yes.
    Approve,
    /// A person says no.
    Deny,
    /// Its time is up.
    Expire,
    /// Its turn ended.
    Cancel,
    /// The call begins.
    Begin,
    /// The call ended.
    Finish,
}

/// Why an event was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} is not allowed while the confirmation is {state:?}")]
pub struct ApprovalRefused {
    /// Where the confirmation stands.
    pub state: ApprovalState,
    /// What was tried.
    pub event: ApprovalEvent,
}

impl ApprovalState {
    /// Every state, for tables.
    pub const ALL: [ApprovalState; 7] = {
        use ApprovalState::*;
        [Pending, Approved, Begun, Finished, Denied, Expired, Cancelled]
    };

    /// The next state. Total, pure, and the only source of what is written to `approvals.state`.
    ///
    /// # Errors
    /// [`ApprovalRefused`] when the event makes no sense in this state; nothing changes.
    pub fn on(self, event: ApprovalEvent) -> Result<ApprovalState, ApprovalRefused> {
        use {ApprovalEvent::*, ApprovalState::*};
        match (self, event) {
            (Pending, Approve) => Ok(Approved),
            (Pending, Deny) => Ok(Denied),
            (Pending | Approved, Expire) => Ok(Expired),
            (Pending | Approved, Cancel) => Ok(Cancelled),
            (Approved, Begin) => Ok(Begun),
            (Begun, Finish) => Ok(Finished),
            (state, event) => Err(ApprovalRefused { state, event }),
        }
    }

    /// The word in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ApprovalState::Pending => "pending",
            ApprovalState::Approved => "approved",
            ApprovalState::Begun => "begun",
            ApprovalState::Finished => "finished",
            ApprovalState::Denied => "denied",
            ApprovalState::Expired => "expired",
            ApprovalState::Cancelled => "cancelled",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn from_word(word: &str) -> Option<ApprovalState> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }

    /// How it was answered, as users see it: `pending`, `approved`, `denied`, `expired` or `cancelled`.
    #[must_use]
    pub fn status(self) -> &'static str {
        match self {
            ApprovalState::Begun | ApprovalState::Finished => "approved",
            other => other.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole diagram, one line per pair, so that a change is seen in review.
    #[test]
    fn diagram() {
        use ApprovalEvent::*;
        let mut lines = Vec::new();
        for state in ApprovalState::ALL {
            assert_eq!(ApprovalState::from_word(state.as_str()), Some(state));
            for event in [Approve, Deny, Expire, Cancel, Begin, Finish] {
                if let Ok(next) = state.on(event) {
                    lines.push(format!("{} --{event:?}--> {}", state.as_str(), next.as_str()));
                }
            }
        }
        assert_eq!(
            lines,
            [
                "pending --Approve--> approved", "pending --Deny--> denied", "pending --Expire--> expired",
                "pending --Cancel--> cancelled", "approved --Expire--> expired", "approved --Cancel--> cancelled",
                "approved --Begin--> begun", "begun --Finish--> finished",
            ]
        );
    }
}
