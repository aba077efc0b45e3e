//! How the writer is doing, for who watches.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The upper ends of the ranges that commits are counted in, in microseconds.
pub const COMMIT_BUCKETS_US: [u64; 9] = [250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000];

/// What the writer's thread notes as it goes.
#[derive(Debug, Default)]
pub(crate) struct Health {
    is_stopped: AtomicBool,
    buckets: [AtomicU64; COMMIT_BUCKETS_US.len()],
    commits: AtomicU64,
    sum_us: AtomicU64,
    writes: AtomicU64,
}

impl Health {
    /// A commit of so many writes took so long.
    pub(crate) fn committed(&self, writes: usize, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = COMMIT_BUCKETS_US.iter().position(|end| us <= *end).and_then(|at| self.buckets.get(at)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
        self.writes.fetch_add(writes as u64, Ordering::Relaxed);
    }

    /// Nothing is written any more.
    pub(crate) fn stopped(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> StoreHealth {
        StoreHealth {
            is_stopped: self.is_stopped.load(Ordering::Relaxed),
            buckets: std::array::from_fn(|at| self.buckets.get(at).map_or(0, |n| n.load(Ordering::Relaxed))),
            commits: self.commits.load(Ordering::Relaxed),
            sum_us: self.sum_us.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
            waiting: 0,
        }
    }
}

/// How the writer is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreHealth {
    /// Whether it takes no more writes, since one failed in a way that leaves the disk in doubt.
    pub is_stopped: bool,
    /// Commits by how long they took; those above the last range are in none.
    pub buckets: [u64; COMMIT_BUCKETS_US.len()],
    /// Commits since the start.
    pub commits: u64,
    /// How long they took altogether, in microseconds.
    pub sum_us: u64,
    /// Writes that they carried.
    pub writes: u64,
    /// Writes that wait now.
    pub waiting: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_counted_by_their_time() {
        let health = Health::default();
        for us in [1, 250, 251, 9_999, 2_000_000] {
            health.committed(2, Duration::from_micros(us));
        }
        let read = health.read();
        assert_eq!((read.buckets, read.commits, read.writes), ([2, 1, 0, 0, 0, 1, 0, 0, 0], 5, 10));
        assert!(!read.is_stopped);
        health.stopped();
        assert!(health.read().is_stopped);
    }
}
