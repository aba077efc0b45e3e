//! The one place where this program reads the clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds of the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|d| i64::try_from(d.as_millis()).ok()).unwrap_or(0)
}
