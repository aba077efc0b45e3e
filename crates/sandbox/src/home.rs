//! The directories of a home, and who may touch them.

use std::fs;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::{Config, SandboxError};

/// Kept trees, relative to the home.
pub(crate) const TREES: &str = "trees";
/// Frozen layers of trees, relative to the home.
pub(crate) const LAYERS: &str = "layers";

/// The parts of the home that this crate owns.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    root: PathBuf,
}

impl Home {
    /// Checks the home and makes what is missing in it.
    pub(crate) fn open(config: &Config) -> Result<Self, SandboxError> {
        let root = config.home.clone();
        if !root.is_absolute() {
            return Err(SandboxError::Home("its path is not absolute".into()));
        }
        if config.install.len() != 8 || !config.install.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(SandboxError::Home("its label is not eight hexadecimal digits".into()));
        }
        let meta = fs::symlink_metadata(&root).map_err(SandboxError::io("look at the home"))?;
        if !meta.is_dir() {
            return Err(SandboxError::Home("it is not a directory".into()));
        }
        if meta.uid() != rustix::process::geteuid().as_raw() {
            return Err(SandboxError::Home("it belongs to another user".into()));
        }
        if meta.mode() & 0o077 != 0 {
            return Err(SandboxError::Home(format!("its mode is {:o}, so others can enter it; it must be 0700", meta.mode() & 0o7777)));
        }
        let home = Self { root };
        for dir in [home.sandboxes(), home.direct(), home.images(), home.trees(), home.layers()] {
            make_dir(&dir)?;
        }
        Ok(home)
    }

    /// The home itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the daemon's sandboxes have their directories.
    pub(crate) fn sandboxes(&self) -> PathBuf {
        self.root.join("sandboxes")
    }

    /// Where sandboxes without a daemon have theirs: each holds a lock while its owner lives.
    pub(crate) fn direct(&self) -> PathBuf {
        self.root.join("direct")
    }

    /// Prepared root file systems.
    pub(crate) fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Kept trees that do not lie in the disk image.
    pub(crate) fn trees(&self) -> PathBuf {
        self.root.join(TREES)
    }

    /// Frozen layers of those trees.
    pub(crate) fn layers(&self) -> PathBuf {
        self.root.join(LAYERS)
    }

    /// Held while something is made or removed that processes of one home share.
    pub(crate) fn lock(&self, name: &str) -> Result<OwnedFd, SandboxError> {
        let file = open_lock(&self.root.join(name))?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive).map_err(|e| SandboxError::io("lock the home")(e.into()))?;
        Ok(file)
    }
}

/// Makes a directory that only the caller can enter; fine when it is there.
pub(crate) fn make_dir(path: &Path) -> Result<(), SandboxError> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(SandboxError::io(format!("make {}", path.display()))(e)),
        _ => Ok(()),
    }
}

/// Opens a file to lock, made when missing.
pub(crate) fn open_lock(path: &Path) -> Result<OwnedFd, SandboxError> {
    rustix::fs::open(path, OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::from_raw_mode(0o600))
        .map_err(|e| SandboxError::io(format!("open {}", path.display()))(e.into()))
}

/// Replaces a file so that a reader sees the old bytes or the new ones.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), SandboxError> {
    let fresh = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(bytes)?;
        drop(file);
        fs::rename(&fresh, path)
    };
    write().map_err(SandboxError::io(format!("write {}", path.display())))
}

/// Removes a tree that may hold anything a sandbox left: directories without rights for their owner, links, pipes. Never
/// follows a link, never crosses into another file system.
pub(crate) fn remove_tree(path: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => return Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
    }
    // Without root a directory of mode 000 stops the first attempt: give its owner the rights back, then again.
    open_up(path, 0)?;
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// How deep [`open_up`] goes; deeper trees cannot have been made by unpacking and stay for a person to look at.
const DEPTH_MAX: usize = 1024;

fn open_up(path: &Path, depth: usize) -> std::io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_dir() || depth > DEPTH_MAX {
        return Ok(());
    }
    if meta.mode() & 0o700 != 0o700 {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    }
    for entry in fs::read_dir(path)? {
        open_up(&entry?.path(), depth + 1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn config(home: &Path) -> Config {
        Config::new(home.to_owned(), "/bin/true".into(), "0123abcd".into())
    }

    #[test]
    fn a_home_that_others_can_enter_is_refused() {
        let dir = tempfile::tempdir().expect("temp dir");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o750)).expect("chmod");
        assert!(matches!(Home::open(&config(dir.path())), Err(SandboxError::Home(_))));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).expect("chmod");
        assert!(Home::open(&config(dir.path())).is_ok());
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).expect("link");
        assert!(matches!(Home::open(&config(&link)), Err(SandboxError::Home(_))));
        assert!(matches!(Home::open(&config(Path::new("relative"))), Err(SandboxError::Home(_))));
    }

    #[test]
    fn a_tree_with_closed_directories_goes() {
        let dir = tempfile::tempdir().expect("temp dir");
        let tree = dir.path().join("t");
        fs::create_dir_all(tree.join("a/b")).expect("dirs");
        fs::write(tree.join("a/b/f"), "x").expect("file");
        fs::set_permissions(tree.join("a"), fs::Permissions::from_mode(0o000)).expect("chmod");
        remove_tree(&tree).expect("removed");
        assert!(!tree.exists());
        remove_tree(&tree).expect("already gone");
    }
}
