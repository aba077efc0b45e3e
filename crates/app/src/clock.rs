//! The one place of this crate that reads clocks.

use model::Timestamp;

/// Now, by the host's clock.
#[must_use]
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// 128 bits that sort by time: the material of identities.
pub(crate) fn fresh_bits() -> u128 {
    uuid::Uuid::now_v7().as_u128()
}
