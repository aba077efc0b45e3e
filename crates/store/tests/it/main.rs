//! The public behaviour of the store, on real files.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod budget;
mod common;
mod crash;
mod ledger;
mod log;
mod open;
mod secrets;
mod sessions;
mod speed;
mod turns;
