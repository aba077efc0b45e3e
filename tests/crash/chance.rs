//! Random moments that can be repeated.

use std::time::Duration;

/// A stream of random numbers from a seed.
pub(crate) struct Chance {
    pub(crate) seed: u64,
    state: u64,
}

impl Chance {
    /// The seed of the environment, else one of the clock. `salt` keeps tests with one seed apart.
    #[expect(clippy::disallowed_methods, reason = "a test's own setting, not the program's")]
    #[expect(clippy::print_stderr, reason = "a failed test shows its seed")]
    pub(crate) fn new(salt: u64) -> Self {
        let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.subsec_nanos().into());
        let seed = std::env::var("LAZARET_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(now);
        eprintln!("LAZARET_SEED={seed}");
        Self { seed, state: seed.wrapping_add(salt.wrapping_mul(0x9e37_79b9_7f4a_7c15)) }
    }

    /// The next number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    /// A time of `from` to `to` milliseconds.
    pub(crate) fn wait(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}
