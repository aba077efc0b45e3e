//! The tools volume: programs and libraries that every sandbox sees read-only at `/opt/lazaret-tools`.

use model::{Failure, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{App, unbuilt};

/// Where it is seen inside.
pub const TOOLS_DIR: &str = "/opt/lazaret-tools";

/// A package that was installed.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ToolView {
    /// As it was asked for: `NAME` (PyPI), `npm:NAME` or `file:NAME`.
    pub name: String,
    /// The version, where there is one.
    pub version: String,
    /// Programs in `bin/` that it brought.
    pub programs: Vec<String>,
    /// When it was installed.
    pub installed: Timestamp,
}

/// The tools volume of an [`App`].
pub struct ToolsOf<'a> {
    pub(crate) app: &'a App,
}

impl ToolsOf<'_> {
    /// Installs `NAME[==VERSION]` from PyPI or `npm:NAME[@VERSION]`, in a sandbox of its own, and swaps it in at once.
    ///
    /// # Errors
    /// The name is none, or the package cannot be had; nothing changes then.
    pub async fn install(&self, _name: &str) -> Result<ToolView, Failure> {
        let _ = self.app;
        Err(unbuilt())
    }

    /// Installs a file that the caller sends, as a program of this name.
    ///
    /// # Errors
    /// The name is none, or the file is too large.
    pub async fn install_file(&self, _name: &str, _bytes: impl tokio::io::AsyncRead + Send + Unpin) -> Result<ToolView, Failure> {
        Err(unbuilt())
    }

    /// What is installed; what the owner put there by hand is not in it.
    ///
    /// # Errors
    /// The volume cannot be read.
    pub async fn list(&self) -> Result<Vec<ToolView>, Failure> {
        Err(unbuilt())
    }

    /// Removes a package.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn remove(&self, _name: &str) -> Result<(), Failure> {
        Err(unbuilt())
    }
}
