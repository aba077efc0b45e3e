//! How often something may happen: token buckets, and who has one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How often one session may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Calls in a minute, in the long run.
    pub per_minute: u32,
    /// Calls at once after a rest.
    pub burst: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self { per_minute: 600, burst: 100 }
    }
}

impl Rate {
    /// As often as this many with that rate.
    pub(crate) fn times(self, factor: u32) -> Self {
        Self { per_minute: self.per_minute.saturating_mul(factor), burst: self.burst.saturating_mul(factor) }
    }

    fn per_second(self) -> f64 {
        f64::from(self.per_minute) / 60.0
    }
}

/// Names that are remembered. One whose bucket is full again is forgotten; when all are busy, a new one must wait.
const BUCKETS_MAX: usize = 10_000;
/// What is said where no time would help.
const WAIT_MAX: Duration = Duration::from_secs(3_600);

/// A bucket for each name.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    // Held for a few steps, never across an await.
    held: Mutex<HashMap<String, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    level: f64,
    at: Instant,
    rate: Rate,
}

impl Bucket {
    /// What is in it now.
    fn now(&self, now: Instant) -> f64 {
        let grown = self.level + now.saturating_duration_since(self.at).as_secs_f64() * self.rate.per_second();
        grown.min(f64::from(self.rate.burst))
    }
}

impl Buckets {
    /// Takes one token, or says how long until there is one.
    pub(crate) fn take(&self, name: &str, rate: Rate, now: Instant) -> Result<(), Duration> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let level = level(&mut held, name, rate, now).ok_or(Duration::from_secs(1))?;
        if level < 1.0 {
            return Err(until(1.0 - level, rate));
        }
        held.insert(name.to_owned(), Bucket { level: level - 1.0, at: now, rate });
        Ok(())
    }

    /// Gives a token back that was taken for nothing.
    pub(crate) fn give_back(&self, name: &str) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = held.get_mut(name) {
            bucket.level += 1.0;
        }
    }

    /// Takes one token in any case, and says how long its taker must wait for it.
    pub(crate) fn owe(&self, name: &str, rate: Rate, now: Instant) -> Duration {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(level) = level(&mut held, name, rate, now) else { return Duration::from_secs(1) };
        held.insert(name.to_owned(), Bucket { level: level - 1.0, at: now, rate });
        if level >= 1.0 { Duration::ZERO } else { until(1.0 - level, rate) }
    }
}

fn until(missing: f64, rate: Rate) -> Duration {
    if rate.per_minute == 0 || rate.burst == 0 {
        return WAIT_MAX;
    }
    Duration::try_from_secs_f64(missing / rate.per_second()).unwrap_or(WAIT_MAX).min(WAIT_MAX)
}

/// What the bucket of `name` holds; `None` when there is no place for another.
fn level(held: &mut HashMap<String, Bucket>, name: &str, rate: Rate, now: Instant) -> Option<f64> {
    if let Some(bucket) = held.get(name) {
        return Some(bucket.now(now).min(f64::from(rate.burst)));
    }
    if held.len() >= BUCKETS_MAX {
        held.retain(|_, bucket| bucket.now(now) < f64::from(bucket.rate.burst));
        if held.len() >= BUCKETS_MAX {
            return None;
        }
    }
    Some(f64::from(rate.burst))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_minute: 60, burst: 2 };

    #[test]
    fn a_burst_then_a_steady_pace() {
        let (buckets, start) = (Buckets::default(), Instant::now());
        assert_eq!(buckets.take("a", RATE, start), Ok(()));
        assert_eq!(buckets.take("a", RATE, start), Ok(()));
        assert_eq!(buckets.take("a", RATE, start), Err(Duration::from_secs(1)));
        assert_eq!(buckets.take("b", RATE, start), Ok(()), "others are not concerned");
        let later = start + Duration::from_millis(1_500);
        assert_eq!(buckets.take("a", RATE, later), Ok(()));
        assert_eq!(buckets.take("a", RATE, later), Err(Duration::from_millis(500)));
        buckets.give_back("a");
        assert_eq!(buckets.take("a", RATE, later), Ok(()));
        assert!(buckets.take("never", Rate { per_minute: 0, burst: 0 }, start).is_err());
    }

    #[test]
    fn names_are_forgotten_when_they_rested_and_bounded_when_not() {
        let (buckets, start) = (Buckets::default(), Instant::now());
        for n in 0..BUCKETS_MAX {
            assert_eq!(buckets.take(&n.to_string(), RATE, start), Ok(()));
        }
        assert!(buckets.take("one more", RATE, start).is_err());
        assert_eq!(buckets.take("one more", RATE, start + Duration::from_secs(2)), Ok(()));
        assert_eq!(buckets.held.lock().unwrap().len(), 1);
    }

    #[test]
    fn debts_are_paid_in_turn() {
        let (buckets, start) = (Buckets::default(), Instant::now());
        let waits: Vec<u64> = (0..5).map(|_| buckets.owe("a", RATE, start).as_secs()).collect();
        assert_eq!(waits, [0, 0, 1, 2, 3]);
    }
}
