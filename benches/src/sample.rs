//! Samples, taken in turns.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Something whose time is taken.
pub(crate) trait Contender {
    /// As it is printed.
    fn name(&self) -> String;
    /// What it does not do that we do, for the reader of the table.
    fn lacks(&self) -> String;
    /// Does the work once.
    fn once(&mut self) -> Result<()>;
    /// How long the kernel is busy with what it left behind; the next one waits so long.
    fn settles(&self) -> Duration {
        Duration::ZERO
    }
}

/// The times of one contender, sorted.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// Takes the samples in any order.
    pub(crate) fn of(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        Self(samples)
    }

    /// The smallest: what the work costs when nothing disturbs it.
    pub(crate) fn min(&self) -> Duration {
        self.at(0, 1)
    }

    /// The middle one.
    pub(crate) fn median(&self) -> Duration {
        self.at(1, 2)
    }

    /// The one that 99 of 100 are not above.
    pub(crate) fn p99(&self) -> Duration {
        self.at(99, 100)
    }

    fn at(&self, part: usize, of: usize) -> Duration {
        let last = self.0.len().saturating_sub(1);
        self.0.get((self.0.len() * part / of).min(last)).copied().unwrap_or_default()
    }
}

/// How often a contender takes its turn.
#[derive(Clone, Copy)]
pub(crate) struct Rounds {
    /// Rounds whose times are thrown away: caches fill.
    pub(crate) warm: usize,
    /// Rounds that count.
    pub(crate) counted: usize,
}

/// Lets every contender work once in each round, each round beginning with another one, and gives their times in the
/// order of the contenders.
pub(crate) fn interleave(contenders: &mut [Box<dyn Contender>], rounds: Rounds) -> Result<Vec<Times>> {
    let mut samples: Vec<Vec<Duration>> = contenders.iter().map(|_| Vec::with_capacity(rounds.counted)).collect();
    for round in 0..rounds.warm + rounds.counted {
        for turn in 0..contenders.len() {
            let chosen = (round + turn) % contenders.len();
            let contender = &mut contenders[chosen];
            let began = Instant::now();
            contender.once().with_context(|| format!("failed in round {round}: {}", contender.name()))?;
            if round >= rounds.warm {
                samples[chosen].push(began.elapsed());
            }
            std::thread::sleep(contender.settles());
        }
    }
    Ok(samples.into_iter().map(Times::of).collect())
}

/// Milliseconds with two decimals.
pub(crate) fn ms(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e3)
}

/// On what this was measured.
pub(crate) fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split_once(": ")).map_or("unknown processor", |(_, m)| m);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release: String = kernel.trim().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    format!("{model}, {cores} cores, Linux {release}, load {load} at the end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let times = Times::of((1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!((times.min().as_millis(), times.median().as_millis(), times.p99().as_millis()), (1, 101, 199));
        assert_eq!(Times::of(Vec::new()).p99(), Duration::ZERO);
    }

    #[test]
    fn every_contender_works_once_in_each_round() {
        struct Counts(std::rc::Rc<std::cell::Cell<usize>>);
        impl Contender for Counts {
            fn name(&self) -> String {
                String::new()
            }
            fn lacks(&self) -> String {
                String::new()
            }
            fn once(&mut self) -> Result<()> {
                self.0.set(self.0.get() + 1);
                Ok(())
            }
        }
        let count = std::rc::Rc::new(std::cell::Cell::new(0));
        let mut both: Vec<Box<dyn Contender>> = vec![Box::new(Counts(count.clone())), Box::new(Counts(count.clone()))];
        let times = interleave(&mut both, Rounds { warm: 3, counted: 5 }).expect("counts");
        assert_eq!((count.get(), times.len(), times[0].0.len()), (16, 2, 5));
    }
}
