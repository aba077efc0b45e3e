//! The one place of this crate that reads clocks.

use model::Timestamp;

/// Now, by the host's clock.
#[must_use]
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Now, by a clock that nobody sets while this daemon lives: the host's at the daemon's first look, and from there on as much
/// as time went by. For deadlines that are kept, and that neither come early nor late when the host's clock is set.
#[must_use]
pub(crate) fn steady() -> Timestamp {
    static BEGAN: std::sync::OnceLock<(tokio::time::Instant, Timestamp)> = std::sync::OnceLock::new();
    let (began, at) = BEGAN.get_or_init(|| (tokio::time::Instant::now(), now()));
    Timestamp(at.0.saturating_add(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)))
}

/// 128 bits that sort by time: the material of identities.
pub(crate) fn fresh_bits() -> u128 {
    uuid::Uuid::now_v7().as_u128()
}

/// The longest that is slept before the clock is looked at again: it may have been set meanwhile.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(2);

/// Returns when the host's clock shows `at` or later, also when it is set.
pub(crate) async fn wait_until(at: Timestamp) {
    loop {
        let left = at.0.saturating_sub(now().0);
        if left == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(left).min(LOOK_EVERY)).await;
    }
}
