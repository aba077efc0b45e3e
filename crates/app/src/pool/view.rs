//! How the pool stands, for people and for metrics.

use serde::{Deserialize, Serialize};

use crate::live::lock;
use crate::{App, Caller};

/// Sandboxes that are made ahead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PoolView {
    /// Those that answered and that nobody has claimed.
    pub ready: usize,
    /// Those that are being made.
    pub booting: usize,
    /// Jobs that got one since the daemon's start.
    pub claimed: u64,
    /// Jobs that had to wait for a new sandbox although some are kept.
    pub missed: u64,
    /// For which profiles they are kept.
    pub profiles: Vec<PoolShelf>,
}

/// What is kept for one profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PoolShelf {
    /// Whose it is.
    pub tenant: String,
    /// The profile.
    pub profile: String,
    /// How many this daemon is to keep.
    pub target: usize,
    /// Those that answered and that nobody has claimed.
    pub ready: usize,
    /// Those that are being made.
    pub booting: usize,
    /// Why there are fewer than there should be.
    pub trouble: Option<String>,
}

impl App {
    /// How the pool of this daemon stands, as one caller sees it: what is kept for other tenants is not counted.
    #[must_use]
    pub fn pool_view(&self, caller: &Caller) -> PoolView {
        let pool = self.pool();
        let profiles: Vec<PoolShelf> = lock(&pool.shelves)
            .iter()
            .filter(|(kept, _)| caller.sees(&kept.tenant))
            .map(|(kept, shelf)| PoolShelf {
                tenant: kept.tenant.clone(),
                profile: kept.profile.clone(),
                target: shelf.target,
                // One that has just died is not counted, also before it is taken out.
                ready: shelf.ready.iter().filter(|member| member.sandbox.is_alive()).count(),
                booting: shelf.booting,
                trouble: shelf.trouble.clone(),
            })
            .collect();
        let counts = lock(&pool.counts);
        let (claimed, missed) = counts
            .iter()
            .filter(|(tenant, _)| caller.sees(tenant))
            .fold((0, 0), |(claimed, missed), (_, counts)| (claimed + counts.claimed, missed + counts.missed));
        PoolView {
            ready: profiles.iter().map(|shelf| shelf.ready).sum(),
            booting: profiles.iter().map(|shelf| shelf.booting).sum(),
            claimed,
            missed,
            profiles,
        }
    }
}
