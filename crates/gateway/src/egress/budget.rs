//! What one session may move altogether, over all its connections.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes and requests that are left. Shared by every policy of a session.
#[derive(Debug)]
pub struct Budget {
    bytes: AtomicU64,
    requests: AtomicU64,
}

/// What is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spent {
    /// Bytes, in both directions together.
    Bytes,
    /// Requests; a tunnel that is not read counts as one.
    Requests,
}

impl Spent {
    /// The word for people, and that of the configuration.
    #[must_use]
    pub fn key(self) -> (&'static str, &'static str) {
        match self {
            Self::Bytes => ("bytes", "bytes_max"),
            Self::Requests => ("requests", "requests_max"),
        }
    }
}

impl Budget {
    /// So many bytes and requests.
    #[must_use]
    pub fn new(bytes: u64, requests: u64) -> Self {
        Self { bytes: AtomicU64::new(bytes), requests: AtomicU64::new(requests) }
    }

    /// Takes one request.
    ///
    /// # Errors
    /// There is none left.
    pub(super) fn request(&self) -> Result<(), Spent> {
        take(&self.requests, 1).ok_or(Spent::Requests)
    }

    /// Takes bytes that were moved.
    ///
    /// # Errors
    /// There are fewer left; then none are.
    pub(super) fn bytes(&self, n: u64) -> Result<(), Spent> {
        take(&self.bytes, n).ok_or_else(|| {
            self.bytes.store(0, Ordering::Relaxed);
            Spent::Bytes
        })
    }

    /// Whether no byte may move any more.
    pub(super) fn is_dry(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) == 0
    }
}

fn take(left: &AtomicU64, n: u64) -> Option<()> {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(n)).ok().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_when_all_is_taken() {
        let budget = Budget::new(10, 2);
        assert_eq!((budget.bytes(6), budget.is_dry()), (Ok(()), false));
        assert_eq!((budget.bytes(5), budget.is_dry()), (Err(Spent::Bytes), true));
        assert_eq!([budget.request(), budget.request(), budget.request()], [Ok(()), Ok(()), Err(Spent::Requests)]);
    }
}
