//! The life of a job.

use serde::{Deserialize, Serialize};

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It waits for its time, a place, or another try.
    Queued,
    /// Somebody works on it.
    Running,
    /// It waits for a person.
    Waiting,
    /// It ended well.
    Completed,
    /// It ended badly; `error` says why.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

/// What can happen to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEvent {
    /// A dispatcher took it.
    Claim,
    /// Its turn waits for a person.
    Ask,
    /// The person answered.
    Answer,
    /// It failed through no fault of its own and is tried again.
    Retry,
    /// It ended well.
    Finish,
    /// It ended badly.
    Fail,
    /// Somebody stopped it.
    Cancel,
}

/// Why an event was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} is not allowed while the job is {state:?}")]
pub struct JobRefused {
    /// Where the job stands.
    pub state: JobState,
    /// What was tried.
    pub event: JobEvent,
}

impl JobState {
    /// Every state, for tables.
    pub const ALL: [JobState; 6] = {
        use JobState::*;
        [Queued, Running, Waiting, Completed, Failed, Cancelled]
    };

    /// The next state. Total, pure, and the only source of what is written to `jobs.state`.
    ///
    /// # Errors
    /// [`JobRefused`] when the event makes no sense in this state; nothing changes.
    pub fn on(self, event: JobEvent) -> Result<JobState, JobRefused> {
        use {JobEvent::*, JobState::*};
        match (self, event) {
            (Queued, Claim) | (Waiting, Answer) => Ok(Running),
            (Running, Ask) => Ok(Waiting),
            (Running | Waiting, Retry) => Ok(Queued),
            (Running | Waiting, Finish) => Ok(Completed),
            (Queued | Running | Waiting, Fail) => Ok(Failed),
            (Queued | Running | Waiting, Cancel) => Ok(Cancelled),
            (state, event) => Err(JobRefused { state, event }),
        }
    }

    /// Whether nothing can happen any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, JobState::Completed | JobState::Failed | JobState::Cancelled)
    }

    /// The word in the store and on every surface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Queued => "queued",
            JobState::Running => "running",
            JobState::Waiting => "waiting",
            JobState::Completed => "completed",
            JobState::Failed => "failed",
            JobState::Cancelled => "cancelled",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn from_word(word: &str) -> Option<JobState> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole diagram, one line per pair, so that a change is seen in review.
    #[test]
    fn diagram() {
        use JobEvent::*;
        let mut lines = Vec::new();
        for state in JobState::ALL {
            for event in [Claim, Ask, Answer, Retry, Finish, Fail, Cancel] {
                if let Ok(next) = state.on(event) {
                    lines.push(format!("{} --{event:?}--> {}", state.as_str(), next.as_str()));
                }
            }
        }
        assert_eq!(
            lines,
            [
                "queued --Claim--> running", "queued --Fail--> failed", "queued --Cancel--> cancelled", "running --Ask--> waiting",
                "running --Retry--> queued", "running --Finish--> completed", "running --Fail--> failed", "running --Cancel--> cancelled",
                "waiting --Answer--> running", "waiting --Retry--> queued", "waiting --Finish--> completed", "waiting --Fail--> failed",
                "waiting --Cancel--> cancelled",
            ]
        );
    }
}
