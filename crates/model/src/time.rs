//! Points in time, as callers pass them in.

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01 UTC, from the host's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Timestamp(pub u64);
