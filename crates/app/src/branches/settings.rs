//! What the configuration says of branch agents.

use std::time::Duration;

use super::forms::BranchAuthor;

/// What the configuration says of branch agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchSettings {
    /// Whose name the commits of agents carry; the user's when `None`.
    pub author: Option<BranchAuthor>,
    /// The trailer in which commits name the program that made them; none when `None`.
    pub trailer: Option<String>,
    /// How long agents stay whose work is merged; for ever when `None`.
    pub keep_merged: Option<Duration>,
    /// How long agents stay that nobody asked anything of; for ever when `None`. One whose work would be lost stays all the same.
    pub keep_idle: Option<Duration>,
}

impl Default for BranchSettings {
    fn default() -> Self {
        Self { author: None, trailer: Some("Co-authored-by".to_owned()), keep_merged: None, keep_idle: None }
    }
}
