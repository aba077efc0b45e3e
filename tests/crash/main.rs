//! The shipped binary, killed: nothing that was accepted is lost, nothing that should be gone is left.
//!
//! Goal: a kill at any instruction of the daemon or of a command is survived. Method: `LAZARET_CRASH_AT` ends the process
//! at each labelled point in turn; kills at seeded random moments cover what lies between the points. `LAZARET_SEED`
//! repeats a random test; every failure names its seed.

#[path = "../e2e/marks.rs"]
#[expect(dead_code, reason = "shared with the tests that need more of it")]
mod marks;
#[path = "../e2e/registry.rs"]
mod registry;
#[path = "../e2e/support.rs"]
#[expect(dead_code, reason = "shared with the tests that need more of it")]
mod support;
#[path = "../e2e/typed.rs"]
#[expect(dead_code, reason = "shared with the tests that need more of it")]
mod typed;

mod chance;
mod log;
mod scene;
mod world;

mod approvals;
mod branches;
mod channels;
mod direct;
mod disk;
mod doors;
mod evals;
mod first;
mod guest;
mod installs;
mod jobs;
mod jobs_load;
mod killed;
mod load;
mod midturn;
mod networks;
mod points;
mod replicas;
mod steps;
mod tasks;
mod terminals;
