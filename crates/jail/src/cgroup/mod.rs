//! Control groups: one small driver over the two kinds of hierarchy.
//!
//! Every sandbox has a group `lazaret-<install>.<name>` with two kinds of member: its guest, with no limit but a number
//! of processes, and below it `commands`, which has the limits. The guest sends each command there, so that killing
//! the commands, or their running out of memory, leaves the guest alone.
//!
//! On a v1 host the same names exist in each of the hierarchies pids, memory and cpu, and the guest is in the
//! group itself. In v2 a group that gives limits to others may hold no process, so the guest is in `guest` beside `commands`.

mod driver;
mod files;
mod group;

pub use driver::{Driver, GroupLimits};
pub use files::CgroupError;
pub use group::{Group, KILL_WAIT, REMOVE_WAIT, Stats};
