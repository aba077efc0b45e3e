//! Whether the daemon is well.

use serde::{Deserialize, Serialize};

use crate::App;

/// Whether the daemon is well, as everybody may know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HealthView {
    /// `ok` or `degraded`.
    pub status: String,
    /// What was looked at.
    pub checks: Vec<Check>,
}

impl HealthView {
    /// Whether everything that was looked at is well.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }
}

/// One thing that was looked at. It says no more than whether it is well: anybody may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Check {
    /// `store-read`, `store-write` or `sandboxes`.
    pub name: String,
    /// Whether it is well.
    pub ok: bool,
}

impl App {
    /// Looks at what the daemon needs to do its work.
    pub async fn health(&self) -> HealthView {
        let sandboxes = self.sandboxes();
        let checks = [
            ("store-read", self.ready().await.is_ok()),
            ("store-write", !self.store().health().is_stopped),
            ("sandboxes", sandboxes.list().len() < sandboxes.sandboxes_max().max(1)),
        ];
        let checks: Vec<Check> = checks.into_iter().map(|(name, ok)| Check { name: name.to_owned(), ok }).collect();
        let status = if checks.iter().all(|check| check.ok) { "ok" } else { "degraded" };
        HealthView { status: status.to_owned(), checks }
    }
}
