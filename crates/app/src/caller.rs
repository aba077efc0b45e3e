//! Who asks.

/// Who asks, as the HTTP face found out. It decides what is seen, never what a field of a request says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Only what belongs to this tenant is seen; `None` is the owner, who sees everything.
    pub tenant: Option<String>,
}

/// The tenant of what the owner makes.
pub const OWN_TENANT: &str = "default";

impl Caller {
    /// The owner of the home.
    pub const OWNER: Caller = Caller { tenant: None };

    /// The tenant of what this caller makes.
    #[must_use]
    pub fn makes_for(&self) -> &str {
        self.tenant.as_deref().unwrap_or(OWN_TENANT)
    }

    /// Whether something of this tenant is seen.
    #[must_use]
    pub fn sees(&self, tenant: &str) -> bool {
        self.tenant.as_deref().is_none_or(|own| own == tenant)
    }
}
