//! The gateway from outside: a caller's connection on one side, a scripted provider on the other.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod budgets;
mod doors;
mod egress;
mod fallback;
mod faults;
mod keys;
mod limits;
mod rehearsal;
mod support;
mod tapes;
mod usage;
