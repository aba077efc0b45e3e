//! The tools volume: programs and libraries that every sandbox sees read-only at `/opt/lazaret-tools`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use model::{Code, Failure, Timestamp};
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

/// Directories of the volume that the owner may put files into.
const OPEN_DIRS: [&str; 2] = ["bin", "python"];

impl App {
    /// What every session's sandbox sees of the tools: host path and path inside. Made when it is not there.
    pub(crate) fn tools_mounts(&self) -> Result<Vec<(PathBuf, PathBuf)>, Failure> {
        let dir = self.tools_dir();
        for part in OPEN_DIRS {
            make_open(&dir.join(part)).map_err(|e| unusable("make its directories", &e))?;
        }
        Ok(vec![(dir, PathBuf::from(TOOLS_DIR))])
    }

    fn tools_dir(&self) -> PathBuf {
        self.home().join("tools")
    }
}

/// Makes a directory that everybody may look into; one that is there stays as the owner made it.
fn make_open(dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(dir)?;
    for made in [dir.parent().unwrap_or(dir), dir] {
        std::fs::set_permissions(made, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn unusable(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(Code::HomeUnsafe, format!("the tools volume cannot be used: {what}: {error}"))
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
