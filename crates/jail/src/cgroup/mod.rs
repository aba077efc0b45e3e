//! Control groups: one small driver over the two kinds of hierarchy.
//!
//! Every sandbox has a group `lazaret-<install>/<name>` for its guest, with no limit but a number of processes, and in
//! it `commands`, which has the limits. On a v1 host the same names exist in each of the hierarchies pids, memory and
//! cpu. The guest enters the first and sends each command into the second, so that killing the commands, or their
//! running out of memory, leaves the guest alone.

mod driver;
mod group;

pub use driver::{CgroupError, Driver, GroupLimits};
pub use group::{Group, Stats};
