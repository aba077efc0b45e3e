//! How work ended, and what each surface calls it.

use serde::{Deserialize, Serialize};

use crate::Code;

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The engine came to its end and said so.
    Completed,
    /// The engine, its model or its sandbox failed.
    Failed,
    /// Somebody stopped it.
    Cancelled,
    /// The time limit was reached. In the store this is `failed` with [`Code::Timeout`].
    Timeout,
}

impl Outcome {
    /// The word in `run --json` and job results.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::Failed => "failed",
            Outcome::Cancelled => "cancelled",
            Outcome::Timeout => "timeout",
        }
    }

    /// The exit status of a command that waited for this.
    #[must_use]
    pub fn exit_status(self) -> u8 {
        match self {
            Outcome::Completed => 0,
            Outcome::Failed => 1,
            Outcome::Timeout => 4,
            Outcome::Cancelled => 130,
        }
    }

    /// What a failure with `code` is called.
    #[must_use]
    pub fn of_failure(code: Code) -> Outcome {
        match code {
            Code::Timeout => Outcome::Timeout,
            Code::Cancelled => Outcome::Cancelled,
            _ => Outcome::Failed,
        }
    }
}
