//! How much harm a tool can do.

use serde::{Deserialize, Serialize};

/// How much harm a tool can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// It is called without asking.
    Low,
    /// A person must confirm each call.
    High,
}

impl Risk {
    /// The word in manifests, the store and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Risk::Low => "low",
            Risk::High => "high",
        }
    }
}
