//! The programs of chat networks: `lazaret-channels run NETWORK` speaks the channel protocol ([`wire::chat`]) on its standard
//! input and output for one account of that network, and `lazaret-channels about NETWORK` says what it needs for that.
#![expect(clippy::disallowed_methods, reason = "the one file of this program that reads the environment")]

use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use lazaret_channels::Surroundings;

/// A named point at which the process kills itself, and its how manieth time there: for crash tests, from `LAZARET_CRASH_AT`.
static CRASH_AT: OnceLock<(String, usize)> = OnceLock::new();
/// How often that point was come to.
static COME: AtomicUsize = AtomicUsize::new(0);

fn main() -> ExitCode {
    if let Ok(at) = std::env::var("LAZARET_CRASH_AT") {
        let (name, nth) = at.split_once('@').unwrap_or((&at, "1"));
        if CRASH_AT.set((name.to_owned(), nth.parse().unwrap_or(1))).is_ok() {
            model::crash::set(crash);
        }
    }
    let around = Surroundings::read(&|name| std::env::var(name).ok());
    lazaret_channels::main(std::env::args().skip(1).collect(), around)
}

fn crash(name: &'static str) {
    if CRASH_AT.get().is_some_and(|(at, nth)| at == name && COME.fetch_add(1, Ordering::SeqCst) + 1 == *nth) {
        std::process::abort();
    }
}
