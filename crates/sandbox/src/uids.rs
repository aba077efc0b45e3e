//! Host users for sandboxes: each sandbox of root gets its own from a reserved range.
//!
//! A user is taken by making a link `<uid>` whose text says for what, in one directory of the machine: making a link is
//! atomic and carries its text, so two processes, of whatever home, never share a user and a crash leaves nothing
//! half-written. The directory lies in /run and is gone after a boot, as the processes are.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::SandboxError;

/// Where users are taken.
pub(crate) const REGISTRY: &str = "/run/lazaret/uids";

/// The reserved users of the machine.
#[derive(Debug, Clone)]
pub(crate) struct Uids {
    registry: PathBuf,
    install: String,
    home: PathBuf,
    range: (u32, u32),
}

impl Uids {
    /// Makes the registry when it is missing.
    pub(crate) fn open(registry: &Path, install: &str, home: &Path, range: (u32, u32)) -> Result<Self, SandboxError> {
        // Below 1000 are the system's users; the kernel keeps the last for "nobody in this namespace".
        if range.0 < 1000 || range.1 < range.0 || range.1 == u32::MAX {
            return Err(SandboxError::Home(format!("the range of users {}-{} is not usable", range.0, range.1)));
        }
        let made = fs::create_dir_all(registry);
        made.map_err(SandboxError::io(format!("make {}", registry.display())))?;
        Ok(Self { registry: registry.to_owned(), install: install.to_owned(), home: home.to_owned(), range })
    }

    /// Takes a user for `what`. With `keep`, that user if it is free or already taken for the same.
    pub(crate) fn take(&self, what: &str, keep: Option<u32>) -> Result<u32, SandboxError> {
        let text = self.text(what);
        let count = u64::from(self.range.1 - self.range.0) + 1;
        if let Some(uid) = keep.filter(|uid| (self.range.0..=self.range.1).contains(uid))
            && self.link(uid, &text)?
        {
            return Ok(uid);
        }
        let first = spread(what) % count;
        for attempt in 0..2 {
            for step in 0..count {
                let offset = (first + step) % count;
                let uid = self.range.0 + u32::try_from(offset).unwrap_or(0);
                if self.link(uid, &text)? {
                    return Ok(uid);
                }
            }
            if attempt == 0 {
                self.reclaim();
            }
        }
        Err(SandboxError::Busy { what: "reserved users", max: usize::try_from(count).unwrap_or(usize::MAX) })
    }

    /// Gives a user back if it is taken for `what`.
    pub(crate) fn release(&self, uid: u32, what: &str) {
        let path = self.path(uid);
        if fs::read_link(&path).is_ok_and(|held| held.as_os_str() == self.text(what).as_str()) {
            // A link that cannot be removed costs one user of the range until the next boot.
            let _ = fs::remove_file(path);
        }
    }

    /// Gives back the users of homes that somebody removed as a whole: no file of theirs is left.
    fn reclaim(&self) {
        for entry in fs::read_dir(&self.registry).into_iter().flatten().flatten() {
            let held = fs::read_link(entry.path()).unwrap_or_default();
            let home = held.to_str().and_then(|text| text.splitn(3, ':').nth(2)).map(Path::new);
            if home.is_some_and(|home| home.is_absolute() && !home.exists()) {
                // Another process may have done the same.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Gives back every user of this home that `keep` does not want.
    pub(crate) fn sweep(&self, keep: impl Fn(u32, &str) -> bool) {
        let (prefix, suffix) = (format!("{}:", self.install), format!(":{}", self.home.display()));
        let Ok(entries) = fs::read_dir(&self.registry) else { return };
        for entry in entries.flatten() {
            let Some(uid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
            let Ok(held) = fs::read_link(entry.path()) else { continue };
            let Some(what) = held.to_str().and_then(|h| h.strip_prefix(&prefix)?.strip_suffix(&suffix)) else { continue };
            if !keep(uid, what) {
                self.release(uid, what);
            }
        }
    }

    /// Whether the user is now taken for `text`, by this call or before.
    fn link(&self, uid: u32, text: &str) -> Result<bool, SandboxError> {
        let path = self.path(uid);
        match std::os::unix::fs::symlink(text, &path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(fs::read_link(&path).is_ok_and(|held| held.as_os_str() == text)),
            Err(e) => Err(SandboxError::io(format!("take a user in {}", self.registry.display()))(e)),
        }
    }

    fn path(&self, uid: u32) -> PathBuf {
        self.registry.join(uid.to_string())
    }

    fn text(&self, what: &str) -> String {
        format!("{}:{what}:{}", self.install, self.home.display())
    }
}

/// A number that differs for most texts (FNV-1a), so that a search rarely meets a taken user.
fn spread(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_user_is_given_twice_and_only_the_holder_gives_it_back() {
        let dir = tempfile::tempdir().expect("temp dir");
        let a = Uids::open(dir.path(), "aaaaaaaa", dir.path(), (5000, 5002)).expect("open");
        let b = Uids::open(dir.path(), "bbbbbbbb", dir.path(), (5000, 5002)).expect("open");
        let mut taken = vec![a.take("x", None).expect("free"), b.take("x", None).expect("free"), a.take("y", None).expect("free")];
        assert!(matches!(a.take("z", None), Err(SandboxError::Busy { .. })));
        b.release(taken[0], "x");
        assert!(matches!(b.take("z", None), Err(SandboxError::Busy { .. })), "the link of another home stays");
        assert_eq!(a.take("x", Some(taken[0])).expect("mine"), taken[0]);
        a.sweep(|_, what| what == "y");
        assert_eq!(b.take("z", None).expect("free again"), taken[0]);
        taken.sort_unstable();
        assert_eq!(taken, [5000, 5001, 5002]);
        let gone = Uids::open(dir.path(), "dddddddd", Path::new("/no/such/home"), (6000, 6000)).expect("open");
        gone.take("x", None).expect("free");
        let next = Uids::open(dir.path(), "aaaaaaaa", dir.path(), (6000, 6000)).expect("open");
        assert_eq!(next.take("w", None).expect("its home is gone"), 6000);
        assert!(Uids::open(dir.path(), "cccccccc", dir.path(), (0, 10)).is_err());
    }
}
