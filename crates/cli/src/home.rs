//! The home: one directory of the user's own that holds everything.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use model::{Code, Failure};

/// The static guest program that this build carries.
static GUEST: &[u8] = include_bytes!(env!("LAZARET_GUEST_PROGRAM"));

/// The directories of a home.
const PARTS: &[&str] = &["bin", "engines", "images", "logs", "run", "sandboxes", "sessions"];

/// A home that was checked.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    path: PathBuf,
    /// Eight hex digits that label everything of this install on the machine.
    pub(crate) install: String,
}

impl Home {
    /// Opens the home, making it when missing. A home of another user, or one that others may read, is refused.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|e| unsafe_home(path, &format!("it cannot be made: {e}"), "name another directory in LAZARET_HOME"))?;
        check(path)?;
        for part in PARTS {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path.join(part))
                .map_err(|e| unsafe_home(path, &format!("`{part}` cannot be made: {e}"), "free some space, or make the home writable"))?;
        }
        let install = install_label(path)?;
        Ok(Self { path: path.to_owned(), install })
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The guest program on disk, written when it is missing or differs from the one in this build.
    pub(crate) fn guest(&self) -> Result<PathBuf, Failure> {
        let name = concat!("lazaret-guest-", env!("LAZARET_GUEST_TAG"));
        let path = self.path.join("bin").join(name);
        let fail = |e: std::io::Error| {
            unsafe_home(&self.path, &format!("the guest program cannot be written: {e}"), "free some space in the home")
        };
        if let Ok(meta) = std::fs::symlink_metadata(&path)
            && meta.is_file()
            && meta.len() == GUEST.len() as u64
            && meta.permissions().mode() & 0o7777 == 0o555
        {
            return Ok(path);
        }
        let fresh = self.path.join("bin").join(format!(".fresh-{}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o700).open(&fresh).map_err(fail)?;
        file.write_all(GUEST).map_err(fail)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o555)).map_err(fail)?;
        file.sync_all().map_err(fail)?;
        drop(file);
        std::fs::rename(&fresh, &path).map_err(fail)?;
        Ok(path)
    }

    /// Where sockets and the daemon's lock are.
    pub(crate) fn run_dir(&self) -> PathBuf {
        self.path.join("run")
    }

    /// The daemon's lock: held exclusively by the daemon as long as it lives.
    pub(crate) fn lock(&self) -> Result<Option<OwnedFd>, Failure> {
        let path = self.run_dir().join("daemon.lock");
        let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = open.map_err(|e| unsafe_home(&self.path, &format!("its lock cannot be opened: {e}"), "make the home writable"))?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file.into())),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(unsafe_home(&self.path, &format!("its lock cannot be taken: {error}"), "use a local file system")),
        }
    }

    /// The owner's API token, made at the first use.
    pub(crate) fn token(&self) -> Result<String, Failure> {
        let path = self.path.join("token");
        let fail =
            |why: String| unsafe_home(&self.path, &format!("the file `token` is unusable: {why}"), "remove the file; a new one is made");
        match std::fs::symlink_metadata(&path) {
            Ok(meta) if !meta.is_file() || meta.mode() & 0o077 != 0 => return Err(fail("others may read it".to_owned())),
            Ok(_) => {
                let text = std::fs::read_to_string(&path).map_err(|e| fail(e.to_string()))?;
                let token = text.trim().to_owned();
                let whole = token.len() == TOKEN_CHARS && token.starts_with(TOKEN_PREFIX);
                return if whole { Ok(token) } else { Err(fail("it does not hold a token".to_owned())) };
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(fail(e.to_string())),
        }
        let token = format!("{TOKEN_PREFIX}{}", random_hex::<32>()?);
        write_new(&path, format!("{token}\n").as_bytes()).map_err(|e| fail(e.to_string()))?;
        Ok(token)
    }
}

/// What the owner's token begins with, so that scanners of leaked secrets can know it.
const TOKEN_PREFIX: &str = "lzt_";
/// The prefix and 32 random bytes in hex.
const TOKEN_CHARS: usize = 4 + 64;

fn check(path: &Path) -> Result<(), Failure> {
    let meta = std::fs::metadata(path).map_err(|e| unsafe_home(path, &e.to_string(), "check its path"))?;
    let me = rustix::process::geteuid().as_raw();
    if !meta.is_dir() {
        return Err(unsafe_home(path, "it is not a directory", "name another in LAZARET_HOME"));
    }
    if meta.uid() != me {
        let why = format!("it belongs to user {} and you are user {me}", meta.uid());
        return Err(unsafe_home(path, &why, "name a directory of your own in LAZARET_HOME"));
    }
    if meta.mode() & 0o077 != 0 {
        let why = format!("its mode {:o} lets others in", meta.mode() & 0o7777);
        return Err(unsafe_home(path, &why, &format!("run: chmod 700 {}", path.display())));
    }
    Ok(())
}

fn install_label(home: &Path) -> Result<String, Failure> {
    let path = home.join("install-id");
    let fail = |why: String| {
        unsafe_home(home, &format!("the file `install-id` is unusable: {why}"), "restore the home from a backup, or use a new one")
    };
    for _ in 0..2 {
        match File::open(&path) {
            Ok(file) => {
                let mut text = String::new();
                file.take(64).read_to_string(&mut text).map_err(|e| fail(e.to_string()))?;
                let text = text.trim();
                let plain = text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
                return if plain { Ok(text.to_owned()) } else { Err(fail("it does not hold 8 hex digits".to_owned())) };
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => match write_new(&path, format!("{}\n", random_hex::<4>()?).as_bytes()) {
                Ok(()) => {}
                // Another process made it first; it is read in the next round.
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(fail(e.to_string())),
            },
            Err(e) => return Err(fail(e.to_string())),
        }
    }
    Err(fail("it vanishes".to_owned()))
}

/// Writes a file that did not exist, whole or not at all, readable by the owner alone.
fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let fresh = path.with_extension(format!("fresh-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    // A hard link fails when the name is taken, where a rename would replace it.
    let linked = std::fs::hard_link(&fresh, path);
    let _ = std::fs::remove_file(&fresh);
    linked
}

/// `N` random bytes in hex.
pub(crate) fn random_hex<const N: usize>() -> Result<String, Failure> {
    let mut bytes = [0u8; N];
    getrandom::fill(&mut bytes).map_err(|e| Failure::new(Code::Internal, format!("the kernel gives no random numbers: {e}")))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

fn unsafe_home(path: &Path, why: &str, hint: &str) -> Failure {
    Failure::new(Code::HomeUnsafe, format!("the home {} is not usable: {why}", path.display())).hint(hint)
}
