//! Where control groups can be made, and how.

use std::io;
use std::path::{Path, PathBuf};

use super::Group;

/// The limits of a sandbox's commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupLimits {
    /// Bytes of memory, swap included.
    pub memory_bytes: Option<u64>,
    /// Processors, in thousandths.
    pub cpu_millis: Option<u32>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

/// Why a control group could not be made, entered or removed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A file or directory of the hierarchy could not be used.
    #[error("{operation} `{path}`")]
    File {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A limit was asked for whose controller is not there.
    #[error("limit {controller}: no such controller can be used by this user here")]
    Controller {
        /// `memory`, `cpu` or `pids`.
        controller: &'static str,
    },
    /// The group still holds processes after every attempt.
    #[error("empty the control group `{path}`")]
    Busy {
        /// The group.
        path: PathBuf,
    },
    /// The name is not a plain file name.
    #[error("name a control group")]
    Name,
}

/// What this host offers.
#[derive(Debug, Clone)]
pub struct Driver {
    root: PathBuf,
}

impl Driver {
    /// Looks at /sys/fs/cgroup and at the caller's own groups. `install` tells this installation's groups from others'.
    #[must_use]
    pub fn detect(install: &str) -> Self {
        Self::at(Path::new("/sys/fs/cgroup"), install)
    }

    /// The same for another root directory: a tree that stands in, in tests.
    #[must_use]
    pub fn at(root: &Path, _install: &str) -> Self {
        Self { root: root.to_owned() }
    }

    /// Whether groups with a limit of this controller (`memory`, `cpu`, `pids`) can be made.
    #[must_use]
    pub fn has(&self, _controller: &str) -> bool {
        false
    }

    /// Makes the groups of a sandbox.
    ///
    /// # Errors
    /// [`CgroupError`]; nothing is left then.
    pub fn create(&self, _name: &str, _limits: &GroupLimits) -> Result<Group, CgroupError> {
        Err(CgroupError::Busy { path: self.root.clone() })
    }

    /// The groups of a sandbox that was made earlier, perhaps by a daemon that is gone.
    #[must_use]
    pub fn open(&self, _name: &str) -> Option<Group> {
        None
    }

    /// The names of all groups of this installation.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        Vec::new()
    }
}
