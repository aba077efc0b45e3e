//! The programs that do a part of the same work.

mod bubblewrap;
mod crun;
mod docker;
mod floor;
mod skeleton;

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

pub(crate) use self::{bubblewrap::Bubblewrap, crun::Crun, docker::Docker, floor::Floor, skeleton::Skeleton};

/// Runs a command without streams and fails when it fails.
pub(crate) fn quiet(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().with_context(|| format!("failed to start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed ({status})");
    }
    Ok(())
}
