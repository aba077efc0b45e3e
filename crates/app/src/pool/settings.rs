//! What the configuration says of sandboxes that are made ahead.

use std::time::Duration;

/// Sandboxes that may be kept ready for one profile.
pub const POOL_SIZE_MAX: usize = 50;

/// Sandboxes that are kept ready for profiles of all tenants but the owner's, together.
pub const POOL_TENANTS_MAX: usize = 100;

/// How many sandboxes are kept ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    /// For jobs of the profile `default`, where that does not say itself; all daemons of one database together.
    pub size: usize,
    /// For the profiles of each tenant but the owner's that ask for some, together.
    pub tenant_size: usize,
    /// How often it is looked whether what is kept is what would be made now, besides at each change.
    pub check: Duration,
    /// How long one stays unclaimed before it is made anew.
    pub idle: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self { size: 0, tenant_size: 2, check: Duration::from_secs(10), idle: Duration::from_secs(3600) }
    }
}
