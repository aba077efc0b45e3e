//! The image `host`: an empty tree with a synthetic /etc, over which the machine's /usr is bound.
//!
//! A tree is made once for what the host looks like (a fingerprint of its links and of the files that are copied), in a
//! temporary directory that is renamed when it is whole, and is never changed after.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jail::{Mount, Source};
use sha2::{Digest as _, Sha256};

use crate::home::{Home, remove_tree};
use crate::{Image, SandboxError, etc};

/// Changed when the same host would give another tree.
const FORM: u32 = 3;

/// Names at the root that lead into /usr on most hosts, and are bound one by one where they do not.
const SYSTEM_DIRS: [&str; 7] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32"];

/// Directories that exist inside: name and mode.
const DIRS: [(&str, u32); 29] = [
    ("etc", 0o755),
    ("usr", 0o755),
    ("dev", 0o755),
    ("proc", 0o555),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("run", 0o755),
    ("run/lazaret", 0o755),
    ("home", 0o755),
    ("home/sandbox", 0o755),
    ("workspace", 0o755),
    ("root", 0o700),
    ("opt", 0o755),
    ("opt/lazaret", 0o755),
    ("opt/lazaret/bin", 0o755),
    ("opt/lazaret/engine", 0o755),
    ("opt/lazaret-tools", 0o755),
    ("opt/lazaret-agent", 0o755),
    ("mnt", 0o755),
    ("media", 0o755),
    ("srv", 0o755),
    ("var", 0o755),
    ("var/cache", 0o755),
    ("var/lib", 0o755),
    ("var/log", 0o755),
    ("var/mail", 0o755),
    ("var/opt", 0o755),
    ("var/spool", 0o755),
    ("var/empty", 0o755),
];

/// Links that exist inside.
const LINKS: [(&str, &str); 4] =
    [("var/tmp", "../tmp"), ("var/run", "../run"), ("var/lock", "../tmp"), ("opt/parachute-tools", "lazaret-tools")];

/// A root file system that is ready to be laid under a sandbox.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// The tree.
    pub(crate) lower: PathBuf,
    /// What is mounted over it.
    pub(crate) mounts: Vec<Mount>,
}

/// Finds or makes the tree of an image.
pub(crate) fn prepare(home: &Home, image: &Image) -> Result<Prepared, SandboxError> {
    match image {
        Image::Tree(path) => {
            if !path.is_absolute() || !path.is_dir() {
                return Err(SandboxError::Image(format!("{} is not a directory", path.display())));
            }
            Ok(Prepared { lower: path.clone(), mounts: Vec::new() })
        }
        Image::Host { usr_local } => host(home, *usr_local),
    }
}

fn host(home: &Home, usr_local: bool) -> Result<Prepared, SandboxError> {
    let lower = home.images().join(format!("host-{}", fingerprint()));
    if !lower.join("etc/passwd").exists() {
        build(home, &lower)?;
    }
    let bind = |source: PathBuf, target: PathBuf| Mount { source: Source::Path(source), target, read_only: true, owner: None };
    let mut mounts = vec![bind("/usr".into(), "/usr".into())];
    if !usr_local && Path::new("/usr/local").is_dir() {
        mounts.push(bind(lower.join("var/empty"), "/usr/local".into()));
    }
    for name in SYSTEM_DIRS {
        let path = Path::new("/").join(name);
        if fs::symlink_metadata(&path).is_ok_and(|m| m.is_dir()) {
            mounts.push(bind(path.clone(), path));
        }
    }
    Ok(Prepared { lower, mounts })
}

/// Changes when the host's links or the files that are copied change. Looks at about fifty files and reads none.
fn fingerprint() -> String {
    let mut hash = Sha256::new();
    hash.update(FORM.to_le_bytes());
    for name in SYSTEM_DIRS {
        hash.update(name);
        if let Ok(to) = fs::read_link(Path::new("/").join(name)) {
            hash.update(to.as_os_str().as_encoded_bytes());
        }
    }
    for path in etc::sources() {
        hash.update(path.as_os_str().as_encoded_bytes());
        if let Ok(meta) = fs::metadata(&path) {
            hash.update(meta.ino().to_le_bytes());
            hash.update(meta.mtime().to_le_bytes());
            hash.update(meta.mtime_nsec().to_le_bytes());
            hash.update(meta.size().to_le_bytes());
        }
    }
    hash.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect()
}

fn build(home: &Home, lower: &Path) -> Result<(), SandboxError> {
    let _lock = home.lock("images.lock")?;
    if lower.join("etc/passwd").exists() {
        return Ok(());
    }
    let fresh = lower.with_extension("new");
    let failed = || SandboxError::io("make the image of this host");
    remove_tree(&fresh).map_err(failed())?;
    fill(&fresh).map_err(failed())?;
    model::crash::point("sandbox.image.made");
    match fs::rename(&fresh, lower) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(failed()(e)),
        _ => Ok(()),
    }
}

/// Writes a whole tree below `root`, which must not exist.
fn fill(root: &Path) -> std::io::Result<()> {
    make_dir(root, 0o755)?;
    for (name, mode) in DIRS {
        make_dir(&root.join(name), mode)?;
    }
    for (name, to) in LINKS {
        std::os::unix::fs::symlink(to, root.join(name))?;
    }
    for name in SYSTEM_DIRS {
        let path = Path::new("/").join(name);
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            make_dir(&root.join(name), 0o755)?;
        } else if meta.is_symlink() {
            let to = fs::read_link(&path)?;
            if Path::new("/").join(&to).starts_with("/usr") {
                std::os::unix::fs::symlink(to, root.join(name))?;
            }
        }
    }
    etc::fill(&root.join("etc"))
}

/// Makes a directory with exactly this mode, whatever the umask.
pub(crate) fn make_dir(path: &Path, mode: u32) -> std::io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_of_this_host_has_what_programs_look_for_and_no_secret() {
        let dir = tempfile::tempdir().expect("temp dir");
        let root = dir.path().join("image");
        fill(&root).expect("made");
        let passwd = fs::read_to_string(root.join("etc/passwd")).expect("passwd");
        assert!(passwd.contains("\nsandbox:x:1000:1000::/home/sandbox:"), "{passwd}");
        assert_eq!(fs::read(root.join("etc/resolv.conf")).expect("there"), b"");
        for secret in ["shadow", "gshadow", "ssh", "gitconfig", "machine-id", "hostname.host", "ssl/private", "environment", "npmrc"] {
            assert!(!root.join("etc").join(secret).exists(), "{secret}");
        }
        assert!(root.join("etc/ld.so.cache").is_file());
        assert!(fs::metadata(root.join("tmp")).expect("tmp").mode() & 0o1777 == 0o1777);
        assert!(fs::symlink_metadata(root.join("usr")).expect("usr").is_dir());
    }

    #[test]
    fn the_same_host_gives_the_same_fingerprint() {
        assert_eq!(fingerprint(), fingerprint());
        assert_eq!(fingerprint().len(), 16);
    }
}
