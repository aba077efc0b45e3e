//! What one session may move altogether, over all its connections and over restarts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Bytes and requests that are left. Shared by every policy of a session.
pub struct Budget {
    bytes: AtomicU64,
    requests: AtomicU64,
    max: Used,
    keeper: Option<Keeper>,
}

/// What was moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Bytes.
    pub bytes: u64,
    /// Requests.
    pub requests: u64,
}

/// Keeps what is used, in steps and ahead: what was kept is never less than what was used.
struct Keeper {
    keep: Box<dyn Fn(Used) + Send + Sync>,
    /// What was kept last. Held while more is kept.
    kept: Mutex<Used>,
    /// How much of each may be left before more must be kept.
    until: (AtomicU64, AtomicU64),
}

/// Steps in which use is kept, where the budget is large; of a smaller one it is a sixteenth.
const STEP: Used = Used { bytes: 64 << 20, requests: 1000 };
const STEP_PART: u64 = 16;

impl std::fmt::Debug for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budget").field("max", &self.max).field("used", &self.used()).finish_non_exhaustive()
    }
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
        let max = Used { bytes, requests };
        Self { bytes: AtomicU64::new(bytes), requests: AtomicU64::new(requests), max, keeper: None }
    }

    /// The same, less what was `used` before. `keep` is told what to give as `used` the next time: before it is used, in steps,
    /// and exactly at the end, if there is one.
    #[must_use]
    pub fn kept(bytes: u64, requests: u64, used: Used, keep: Box<dyn Fn(Used) + Send + Sync>) -> Self {
        let left = Used { bytes: bytes.saturating_sub(used.bytes), requests: requests.saturating_sub(used.requests) };
        let until = (AtomicU64::new(left.bytes), AtomicU64::new(left.requests));
        let keeper = Keeper { keep, kept: Mutex::new(used), until };
        let (now, max) = ((AtomicU64::new(left.bytes), AtomicU64::new(left.requests)), Used { bytes, requests });
        Self { bytes: now.0, requests: now.1, max, keeper: Some(keeper) }
    }

    /// What was used so far.
    #[must_use]
    pub fn used(&self) -> Used {
        let (bytes, requests) = (self.bytes.load(Ordering::Relaxed), self.requests.load(Ordering::Relaxed));
        Used { bytes: self.max.bytes.saturating_sub(bytes), requests: self.max.requests.saturating_sub(requests) }
    }

    /// Keeps another step when what is left has reached the end of the last one.
    fn keep(&self) {
        let Some(keeper) = &self.keeper else { return };
        let is_due = || {
            self.bytes.load(Ordering::Relaxed) < keeper.until.0.load(Ordering::Relaxed)
                || self.requests.load(Ordering::Relaxed) < keeper.until.1.load(Ordering::Relaxed)
        };
        if !is_due() {
            return;
        }
        let mut kept = keeper.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_due() {
            return;
        }
        let used = self.used();
        let step = |used: u64, max: u64, step: u64| used.saturating_add(step.min(max / STEP_PART)).min(max);
        *kept =
            Used { bytes: step(used.bytes, self.max.bytes, STEP.bytes), requests: step(used.requests, self.max.requests, STEP.requests) };
        (keeper.keep)(*kept);
        keeper.until.0.store(self.max.bytes - kept.bytes, Ordering::Relaxed);
        keeper.until.1.store(self.max.requests - kept.requests, Ordering::Relaxed);
    }

    /// Takes one request.
    ///
    /// # Errors
    /// There is none left.
    pub(super) fn request(&self) -> Result<(), Spent> {
        take(&self.requests, 1).ok_or(Spent::Requests)?;
        self.keep();
        Ok(())
    }

    /// Takes bytes that were moved.
    ///
    /// # Errors
    /// There are fewer left; then none are.
    pub(super) fn bytes(&self, n: u64) -> Result<(), Spent> {
        let taken = take(&self.bytes, n).ok_or_else(|| {
            self.bytes.store(0, Ordering::Relaxed);
            Spent::Bytes
        });
        self.keep();
        taken
    }

    /// Whether no byte may move any more.
    pub(super) fn is_dry(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) == 0
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        let used = self.used();
        if let Some(keeper) = &self.keeper {
            let kept = *keeper.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept != used {
                (keeper.keep)(used);
            }
        }
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

    #[test]
    fn what_is_used_is_kept_before_it_is_used_and_exactly_at_the_end() {
        use std::sync::Arc;
        let kept = Arc::new(Mutex::new(Used::default()));
        let open = || {
            let (keep, used) = (Arc::clone(&kept), *kept.lock().unwrap());
            Budget::kept(1600, 32, used, Box::new(move |used| *keep.lock().unwrap() = used))
        };
        let budget = open();
        budget.bytes(10).unwrap();
        assert_eq!(*kept.lock().unwrap(), Used { bytes: 110, requests: 2 });
        for _ in 0..5 {
            budget.request().unwrap();
            let (kept, used) = (*kept.lock().unwrap(), budget.used());
            assert!(kept.bytes >= used.bytes && kept.requests >= used.requests, "{kept:?} {used:?}");
        }
        // A kill: nothing is said at the end, and no less than what was used counts.
        std::mem::forget(budget);
        let again = open();
        assert!(again.used().bytes >= 10 && again.used().bytes <= 110 && again.used().requests >= 5, "{again:?}");
        let before = again.used();
        again.bytes(1).unwrap();
        drop(again);
        assert_eq!(*kept.lock().unwrap(), Used { bytes: before.bytes + 1, ..before });
        let last = open();
        assert_eq!(last.bytes(1600), Err(Spent::Bytes));
        drop(last);
        assert!(open().is_dry(), "what is used up stays used up");
    }
}
