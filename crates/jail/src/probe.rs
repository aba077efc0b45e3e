//! Which layers can be had on this host.

use crate::Layer;

/// What a layer rests on here, or why it cannot be had and what would give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The layer.
    pub layer: Layer,
    /// How it is enforced, or what is missing and the remedy.
    pub found: Result<String, Missing>,
}

/// Why a layer cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What was found.
    pub why: String,
    /// What would give it.
    pub remedy: String,
}

/// Looks at this host, with the rights of the caller. Changes nothing and takes a few milliseconds.
#[must_use]
pub fn probe() -> Vec<Probe> {
    Vec::new()
}
