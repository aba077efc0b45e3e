//! What jobs work on: files that come with them, and repositories.

use std::path::{Path, PathBuf};

use model::{Code, Failure};

use crate::App;

/// Whether a repository is named by an address, not by a path of this machine.
pub(super) fn is_address(repo: &str) -> bool {
    repo.contains("://") || (repo.contains(':') && !repo.starts_with('/'))
}

impl App {
    /// A repository of this machine, where the configuration lists it or a directory above it.
    pub(super) fn open_repo(&self, repo: &str) -> Result<PathBuf, Failure> {
        let refuse = || {
            Failure::new(Code::Forbidden, "repo: this path lies below no directory that the configuration lists")
                .hint("add its directory to `repos` under [jobs] in the configuration, or name an address")
                .field("repo")
        };
        let path = Path::new(repo);
        if !path.is_absolute() {
            return Err(Failure::new(Code::Usage, "repo: a path on the server is absolute").field("repo"));
        }
        let settings = self.settings();
        // Where nothing is listed, nothing is said of what is there.
        if settings.jobs.repos.is_empty() {
            return Err(refuse());
        }
        let real = std::fs::canonicalize(path).map_err(|_| refuse())?;
        let is_listed = |root: &PathBuf| std::fs::canonicalize(root).is_ok_and(|root| real.starts_with(root));
        if settings.jobs.repos.iter().any(is_listed) { Ok(real) } else { Err(refuse()) }
    }
}
