//! The groups of one sandbox.

use std::time::Duration;

use super::CgroupError;
use crate::CgroupJoin;

/// What the commands of a sandbox have used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Bytes of memory now.
    pub memory_bytes: u64,
    /// The most bytes of memory at any time.
    pub memory_peak_bytes: u64,
    /// How many processes were ended for want of memory.
    pub oom_kills: u64,
    /// Processes and threads now.
    pub pids: u64,
    /// How often a new process was refused.
    pub pids_refused: u64,
    /// Processor time.
    pub cpu: Duration,
}

/// The groups of one sandbox, in every hierarchy.
#[derive(Debug)]
pub struct Group {}

impl Group {
    /// What the launcher needs to enter them.
    #[must_use]
    pub fn join(&self) -> CgroupJoin {
        CgroupJoin { guest: Vec::new(), commands: Vec::new() }
    }

    /// Kills every command and all that they started; the guest lives on. Returns when none is left.
    ///
    /// # Errors
    /// [`CgroupError::Busy`] when some do not end.
    pub fn kill_commands(&self) -> Result<(), CgroupError> {
        Ok(())
    }

    /// Kills everything, the guest too. Returns when none is left.
    ///
    /// # Errors
    /// [`CgroupError::Busy`] when some do not end.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        Ok(())
    }

    /// Removes the groups, which must be empty or emptying: it tries for a bounded time.
    ///
    /// # Errors
    /// [`CgroupError::Busy`] when processes are still in them.
    pub fn remove(&self) -> Result<(), CgroupError> {
        Ok(())
    }

    /// What the commands have used. What the host does not count is 0.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::default()
    }
}
