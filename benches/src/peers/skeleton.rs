//! The root that every contender gets: the machine's own /usr, read-only, in an otherwise almost empty tree.

use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Links of a merged /usr, as on the host.
const LINKS: &[&str] = &["bin", "sbin", "lib", "lib64"];

/// A directory tree with the places where things are mounted.
pub(crate) struct Skeleton(PathBuf);

impl Skeleton {
    /// Makes it in `at`, which must not exist.
    pub(crate) fn make(at: &Path) -> Result<Self> {
        for part in ["usr", "proc", "dev", "sys", "tmp", "run/lazaret", "workspace", "home", "etc"] {
            std::fs::create_dir_all(at.join(part)).with_context(|| format!("failed to make {part} in {}", at.display()))?;
        }
        std::fs::write(at.join("guest"), b"")?;
        for link in LINKS {
            if Path::new("/").join(link).is_symlink() {
                symlink(format!("usr/{link}"), at.join(link))?;
            }
        }
        Ok(Self(at.to_path_buf()))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The links in it: name and target.
    pub(crate) fn links(&self) -> Vec<(&'static str, String)> {
        LINKS.iter().copied().filter(|link| self.0.join(link).is_symlink()).map(|link| (link, format!("usr/{link}"))).collect()
    }
}
