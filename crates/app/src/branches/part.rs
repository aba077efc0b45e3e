//! What the session of a branch agent is told besides.

use std::path::PathBuf;

use model::BranchId;
use serde::{Deserialize, Serialize};

/// What the session of a branch agent keeps of its branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BranchPart {
    /// The agent.
    pub id: BranchId,
    /// Host directories that the clone needs beside its files, and where they are seen inside: read-only.
    #[serde(default)]
    pub binds: Vec<(PathBuf, PathBuf)>,
    /// Whether what is left uncommitted after a turn becomes a last commit.
    #[serde(default)]
    pub commit: bool,
    /// What the repositories beside the first one are called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<String>,
}
