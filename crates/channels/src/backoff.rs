//! How long to wait before the next try.

use std::time::Duration;

use crate::link::Link;
use tokio_util::sync::CancellationToken;
use wire::chat::Health;

/// The first wait.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait for a connection.
const LONGEST: Duration = Duration::from_secs(60);
/// How long a credential that was refused is left alone: its owner has to act, and platforms lock out who keeps asking.
const REFUSED: Duration = Duration::from_secs(300);

/// Waits that double, each with a part left to chance.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// It worked: the next wait is the first one again.
    pub(crate) fn well(&mut self) {
        self.tries = 0;
    }

    /// The next wait: half of it fixed, half by chance, so that many do not come back at once.
    pub(crate) fn next(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.tries.min(10)).min(LONGEST);
        self.tries = self.tries.saturating_add(1);
        whole / 2 + jitter(whole / 2)
    }

    /// Says what went wrong and waits, at least as long as the platform asked for. False when it is over.
    pub(crate) async fn pause(&mut self, trouble: &Trouble, link: &Link, cancel: &CancellationToken) -> bool {
        let (state, wait) = match trouble {
            Trouble::Credential(_) => (Health::Credential, REFUSED),
            Trouble::Passing(_, after) => (Health::Connecting, self.next().max(after.unwrap_or_default())),
        };
        link.health(state, &trouble.to_string()).await;
        tokio::select! {
            biased;
            () = cancel.cancelled() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }
}

/// Why a network does not listen now.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Trouble {
    /// The credential is not accepted.
    #[error("{0}")]
    Credential(String),
    /// It may pass; the platform may have said when.
    #[error("{0}")]
    Passing(String, Option<Duration>),
}

impl Trouble {
    /// One that may pass at any time.
    pub(crate) fn passing(why: impl std::fmt::Display) -> Self {
        Self::Passing(why.to_string(), None)
    }
}

/// A part of `whole`, by chance.
pub(crate) fn jitter(whole: Duration) -> Duration {
    let mut bytes = [0; 2];
    // Without chance nothing is less safe, only less spread.
    let _ = getrandom::fill(&mut bytes);
    whole.mul_f64(f64::from(u16::from_le_bytes(bytes)) / f64::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit() {
        let mut backoff = Backoff::default();
        for n in 0..100 {
            let wait = backoff.next();
            let whole = FIRST.saturating_mul(1 << n.min(10)).min(LONGEST);
            assert!(wait >= whole / 2 && wait <= whole, "{n}: {wait:?}");
        }
        backoff.well();
        assert!(backoff.next() <= FIRST);
    }
}
