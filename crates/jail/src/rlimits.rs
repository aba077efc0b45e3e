//! Limits of the kernel on each process, clamped to what this process may set.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::Rlimits;

/// A limit that was lowered to the hard limit of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clamped {
    /// For example `nofile`.
    pub name: String,
    /// What was asked for.
    pub asked: u64,
    /// What is in force.
    pub got: u64,
}

/// Sets the limits of the calling process, soft and hard, and no core files. Returns what had to be clamped.
///
/// # Errors
/// The kernel's.
pub fn apply(limits: &Rlimits) -> io::Result<Vec<Clamped>> {
    let wanted = [
        ("nofile", Resource::Nofile, Some(limits.nofile)),
        ("nproc", Resource::Nproc, limits.nproc),
        ("fsize", Resource::Fsize, limits.fsize),
        ("core", Resource::Core, Some(0)),
    ];
    let mut clamped = Vec::new();
    for (name, resource, asked) in wanted {
        let Some(asked) = asked else { continue };
        let got = getrlimit(resource).maximum.map_or(asked, |hard| hard.min(asked));
        setrlimit(resource, Rlimit { current: Some(got), maximum: Some(got) })?;
        if got < asked {
            clamped.push(Clamped { name: name.to_owned(), asked, got });
        }
    }
    Ok(clamped)
}

/// The highest number of open files that a sandbox can be given here.
#[must_use]
pub fn nofile_max() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}
