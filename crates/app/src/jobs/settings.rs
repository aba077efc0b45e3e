//! What the configuration says of jobs.

use std::path::PathBuf;
use std::time::Duration;

/// Jobs of one tenant that may wait.
pub const JOBS_QUEUED_MAX: u64 = 1_000_000;
/// How often a job is tried again when it does not say.
pub(super) const RETRIES_DEFAULT: u8 = 2;
/// Bytes of all artifacts of one job together, as a multiple of the limit of its result.
pub(super) const ARTIFACTS_TIMES: u64 = 10;

/// How many jobs run, and what is kept of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSettings {
    /// How long a job that is over is kept.
    pub ttl: Duration,
    /// Jobs of one tenant that are kept when they are over.
    pub keep: u64,
    /// How often old ones are looked for.
    pub cleanup: Duration,
    /// Jobs that run at once.
    pub running_max: usize,
    /// Of one tenant.
    pub tenant_running_max: usize,
    /// Of one `agent_id`.
    pub agent_running_max: usize,
    /// Bytes that a job's text, its output, and each of its artifacts may have.
    pub result_max: u64,
    /// Directories below which repositories of jobs may lie on this machine.
    pub repos: Vec<PathBuf>,
}

impl Default for JobSettings {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(24 * 3600),
            keep: 1000,
            cleanup: Duration::from_secs(600),
            running_max: 10,
            tenant_running_max: 100,
            agent_running_max: 100,
            result_max: 10 << 20,
            repos: Vec::new(),
        }
    }
}
