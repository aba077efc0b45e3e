//! What the configuration decides.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use model::EgressRule;

use crate::installs::RegistryFinder;

/// What the configuration decides and may change while the daemon runs.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The engine when nothing says which.
    pub engine: Option<String>,
    /// The gateway's part.
    pub gateway: gateway::Config,
    /// What sandboxes may be allowed at most.
    pub egress_max: Vec<EgressRule>,
    /// Private or reserved addresses that names may resolve to all the same.
    pub private_ok: Vec<IpAddr>,
    /// What else is said of the egress proxy.
    pub egress: crate::EgressSettings,
    /// The package registry that engines come from.
    pub registry: RegistryFinder,
    /// The index that Python tools come from, and after it the hosts that files come from besides.
    pub tools_index: RegistryFinder,
    /// How long a session's sandbox stays up after a turn.
    pub sandbox_idle: Duration,
    /// US dollars that a session may cost when it does not say.
    pub budget: Option<model::Money>,
    /// What a session's sandbox may use when neither it nor its agent says.
    pub limits: model::Limits,
    /// How many turns run and are kept.
    pub sessions: SessionSettings,
    /// How long people are asked.
    pub approvals: crate::ApprovalSettings,
    /// How often sessions may call tools.
    pub calls: crate::CallRates,
    /// Roots below which host directories may be mounted by name.
    pub mount_roots: Vec<crate::MountRoot>,
    /// The directory of the user's notes, read-only in every session.
    pub vault: Option<PathBuf>,
    /// What the owner configured for plugins, by their names.
    pub plugins: BTreeMap<String, serde_json::Map<String, serde_json::Value>>,
    /// What agents remember.
    pub memory: crate::MemorySettings,
    /// How the ends of jobs are told.
    pub webhooks: crate::WebhookSettings,
    /// How tasks are kept.
    pub tasks: crate::TaskSettings,
    /// Who is told of traces.
    pub telemetry: crate::TelemetrySettings,
    /// How many jobs run, and what is kept of them.
    pub jobs: crate::JobSettings,
    /// How branch agents commit, and how long they stay.
    pub branches: crate::BranchSettings,
    /// How many sandboxes are kept ready for them.
    pub pool: crate::PoolSettings,
    /// How chat networks are heard.
    pub channels: crate::ChannelSettings,
    /// How often the API may be asked.
    pub rates: crate::RateSettings,
    /// How people log in, if by an issuer.
    pub oidc: Option<crate::OidcSettings>,
}

/// How many turns run at once, and what is kept of them.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// Turns that run at once.
    pub running_max: usize,
    /// Turns of one agent that run at once.
    pub agent_running_max: usize,
    /// Turns of one tenant that run at once.
    pub tenant_running_max: usize,
    /// How long an engine's process waits for a further turn.
    pub engine_idle: Duration,
    /// Whether every turn is a checkpoint.
    pub checkpoints: bool,
    /// Checkpoints that are kept of one session.
    pub checkpoints_keep: usize,
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            running_max: 64,
            agent_running_max: 64,
            tenant_running_max: 64,
            engine_idle: Duration::from_secs(60),
            checkpoints: true,
            checkpoints_keep: 50,
        }
    }
}
