//! What the sandbox of a branch agent has besides its tree.

use std::path::PathBuf;

use model::{Code, Failure};

use crate::{App, SessionSpec};

impl App {
    /// The mirrors that the clone of a session needs, and where they are seen.
    pub(crate) fn binds_of_branch(&self, spec: &SessionSpec) -> Result<Vec<(PathBuf, PathBuf)>, Failure> {
        let Some(part) = &spec.branch else { return Ok(Vec::new()) };
        let mirrors = self.mirrors();
        for (host, _) in &part.binds {
            let is_ours =
                host.parent() == Some(mirrors.as_path()) || host.starts_with(&mirrors) && !host.components().any(|c| c.as_os_str() == "..");
            if !is_ours {
                return Err(Failure::new(Code::StoreUnusable, "the session names a directory that is no mirror of a repository"));
            }
            if !host.is_dir() {
                return Err(Failure::new(Code::PathUnusable, format!("the mirror {} of the repository is gone", host.display()))
                    .hint("the clone cannot be read without it; restore the home from a backup"));
            }
        }
        Ok(part.binds.clone())
    }
}

impl App {
    /// A repository of this machine, where the configuration lists it or a directory above it.
    pub(super) fn listed_repo(&self, path: &std::path::Path) -> Result<PathBuf, Failure> {
        let text = path.to_str().ok_or_else(|| Failure::new(Code::Usage, "the repository's path is not UTF-8").field("repo"))?;
        self.open_repo(text)
    }
}
