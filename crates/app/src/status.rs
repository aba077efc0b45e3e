//! What the daemon is doing.

use model::Failure;
use serde::{Deserialize, Serialize};

use crate::App;

/// What `status` shows.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The daemon's process.
    pub pid: u32,
    /// Seconds since its start.
    pub uptime_s: u64,
    /// Sandboxes that run.
    pub sandboxes: usize,
    /// Those of them that somebody works in: neither made ahead nor of a plugin.
    pub sandboxes_at_work: usize,
    /// The most that may run.
    pub sandboxes_max: usize,
    /// Sandboxes that are made ahead.
    pub pool: crate::PoolView,
    /// Sessions at work or a moment after it.
    pub sessions: usize,
    /// Whether a model's key is stored.
    pub providers: Vec<String>,
    /// Secrets that the owner exposed, each to one agent.
    pub exposed: Vec<crate::ExposedView>,
    /// Where hosts are looked into, how long sandboxes take the install's certificate authority for good.
    pub authority: Option<AuthorityView>,
}

/// How long a certificate authority is good.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AuthorityView {
    /// From when on.
    pub from: model::Timestamp,
    /// Until when.
    pub until: model::Timestamp,
    /// The daemon's own time.
    pub now: model::Timestamp,
}

impl App {
    /// What the daemon is doing.
    ///
    /// # Errors
    /// None today; the answer may come to read the store.
    pub async fn status(&self) -> Result<Status, Failure> {
        let providers = self.providers();
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: self.uptime().as_secs(),
            sandboxes: self.sandboxes().list().len(),
            sandboxes_at_work: self.sandboxes_at_work(),
            sandboxes_max: self.sandboxes().sandboxes_max(),
            // For which profiles they are is not everybody's to know.
            pool: crate::PoolView { profiles: Vec::new(), ..self.pool_view(&crate::Caller::OWNER) },
            sessions: self.live_sessions().len(),
            providers: providers.into_iter().filter(|(_, p)| p.is_usable).map(|(name, _)| name).collect(),
            exposed: self.exposed().list(),
            authority: self.authority(),
        })
    }

    fn authority(&self) -> Option<AuthorityView> {
        let (from, until) = self.doors().egress().inspection()?.valid()?;
        Some(AuthorityView { from: model::Timestamp(from), until: model::Timestamp(until), now: crate::now() })
    }
}
