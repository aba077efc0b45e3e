//! Merge queues: where one stands, and where each branch in it does.

use serde::{Deserialize, Serialize};

/// Branches that one queue may hold.
pub const MERGE_QUEUE_PLACES_MAX: usize = 100;

/// Where a merge queue stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum QueueState {
    /// It takes one branch after the other, now or when its daemon is there again.
    Working,
    /// A branch did not fit or did not pass, or somebody stopped it.
    Stopped,
    /// Every branch is in the target.
    Done,
}

/// What happens to a merge queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueEvent {
    /// Its last branch is in the target.
    Finish,
    /// A branch stands in its way, or somebody wants it to end.
    Stop,
    /// It is to go on.
    Resume,
}

/// Why an event was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a merge queue that is {} cannot do this", .state.as_str())]
pub struct QueueRefused {
    /// Where it stands.
    pub state: QueueState,
}

impl QueueState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Working, Self::Stopped, Self::Done];

    /// The next state. The only writer of `merge_queues.state`.
    ///
    /// # Errors
    /// The event does not belong to this state.
    pub fn on(self, event: QueueEvent) -> Result<Self, QueueRefused> {
        match (self, event) {
            (Self::Working, QueueEvent::Finish) => Ok(Self::Done),
            (Self::Working | Self::Stopped, QueueEvent::Stop) => Ok(Self::Stopped),
            (Self::Working | Self::Stopped, QueueEvent::Resume) => Ok(Self::Working),
            (state, _) => Err(QueueRefused { state }),
        }
    }

    /// The printed word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Stopped => "stopped",
            Self::Done => "done",
        }
    }
}

/// Where one branch of a merge queue stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PlaceState {
    /// Those before it come first, or its agent is not over.
    #[default]
    Waiting,
    /// Its agent resolves its conflict.
    Resolving,
    /// It passed, and the target is about to be moved.
    Passed,
    /// It is in the target.
    Merged,
    /// The target had all of it already.
    Current,
    /// It does not fit on what is there.
    Conflict,
    /// The check failed on the result.
    Refused,
    /// Something else was in the way.
    Failed,
}

impl PlaceState {
    /// Whether nothing of it is to be done any more.
    #[must_use]
    pub fn is_in(self) -> bool {
        matches!(self, Self::Merged | Self::Current)
    }

    /// Whether it stops the queue.
    #[must_use]
    pub fn is_in_the_way(self) -> bool {
        matches!(self, Self::Conflict | Self::Refused | Self::Failed)
    }

    /// The printed word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Resolving => "resolving",
            Self::Passed => "passed",
            Self::Merged => "merged",
            Self::Current => "current",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_stays_done() {
        for event in [QueueEvent::Finish, QueueEvent::Stop, QueueEvent::Resume] {
            assert_eq!(QueueState::Done.on(event), Err(QueueRefused { state: QueueState::Done }));
        }
        assert_eq!(QueueState::Stopped.on(QueueEvent::Resume), Ok(QueueState::Working));
        assert_eq!(QueueState::Working.on(QueueEvent::Stop), Ok(QueueState::Stopped));
        assert!(QueueState::Stopped.on(QueueEvent::Finish).is_err(), "who was stopped does not finish");
    }
}
