//! Whether a tenant may have more.

use model::Failure;
use store::Claim;

use crate::{App, Caller};

impl App {
    /// Whether this caller's tenant may have one more of something now. Asked where work is accepted, before anything is made;
    /// what makes the thing looks again in its own transaction.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED` when the tenant has its quota, `FORBIDDEN` when it is suspended.
    pub async fn admit(&self, caller: &Caller, claim: Claim) -> Result<(), Failure> {
        self.store().check_quota(caller.makes_for(), claim, crate::now()).await.map_err(|e| e.failure())
    }

    /// Turns of a tenant that may run at once: its quota, and never more than the configuration has.
    pub(crate) async fn running_max(&self, tenant: &str) -> usize {
        let usual = self.settings().sessions.tenant_running_max;
        let row = self.store().tenant(tenant).await;
        let quota = row.ok().and_then(|row| row.quota.running).map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        usual.min(quota).max(1)
    }
}

/// How often something may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In a minute, in the long run.
    pub per_minute: u32,
    /// At once, after a rest.
    pub burst: u32,
}

/// How often the API may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateSettings {
    /// With one token.
    pub token: Rate,
    /// With all tokens of one tenant, where its quota does not say.
    pub tenant: Rate,
    /// What one address may get wrong without a good token.
    pub unknown: Rate,
}

impl Default for RateSettings {
    fn default() -> Self {
        Self {
            token: Rate { per_minute: 60_000, burst: 6_000 },
            tenant: Rate { per_minute: 120_000, burst: 12_000 },
            unknown: Rate { per_minute: 600, burst: 600 },
        }
    }
}

impl App {
    /// How often the API may be asked.
    #[must_use]
    pub fn rates(&self) -> RateSettings {
        self.settings().rates
    }
}
