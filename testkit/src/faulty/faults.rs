//! What goes wrong, and where.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A way in which a disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// There is no room: nothing new is made and no file grows. What is there can be written over.
    Full,
    /// Reading fails with an I/O error.
    Read,
    /// Writing fails with an I/O error.
    Write,
    /// Writing out what was written fails with an I/O error, though each write went well.
    Sync,
    /// A write takes at most so many bytes, and says so.
    Short(u32),
    /// One bit of the byte at this place of a file is another one whenever it is read.
    Flip(u64),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("full"),
            Self::Read => f.write_str("read"),
            Self::Write => f.write_str("write"),
            Self::Sync => f.write_str("sync"),
            Self::Short(bytes) => write!(f, "short:{bytes}"),
            Self::Flip(at) => write!(f, "flip:{at}"),
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once(':').unwrap_or((text, "0"));
        let number = || value.parse::<u64>().map_err(|e| format!("{text}: {e}"));
        Ok(match name {
            "full" => Self::Full,
            "read" => Self::Read,
            "write" => Self::Write,
            "sync" => Self::Sync,
            "short" => Self::Short(u32::try_from(number()?).map_err(|e| format!("{text}: {e}"))?),
            "flip" => Self::Flip(number()?),
            _ => return Err(format!("{text} is no fault")),
        })
    }
}

/// One fault, and the files that it befalls.
#[derive(Debug, Clone)]
struct Rule {
    fault: Fault,
    /// What the path of a file, from the root of the disk, begins with; empty for all of them.
    prefix: String,
    /// How often it has struck.
    struck: u64,
}

/// The faults that hold just now. Clones are the same faults.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults(Arc<Mutex<Vec<Rule>>>);

impl Faults {
    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, fault: Fault, prefix: &str) {
        self.rules().push(Rule { fault, prefix: prefix.to_owned(), struck: 0 });
    }

    /// Ends all faults, and says how often they struck.
    pub(super) fn clear(&self) -> u64 {
        self.rules().drain(..).map(|rule| rule.struck).sum()
    }

    /// How often the faults that hold now have struck.
    pub(super) fn struck(&self) -> u64 {
        self.rules().iter().map(|rule| rule.struck).sum()
    }

    /// The first fault of a file that `wanted` takes, counted as one more stroke.
    fn strike<T>(&self, path: &Path, wanted: impl Fn(Fault) -> Option<T>) -> Option<T> {
        let mut rules = self.rules();
        let hit = |rule: &mut Rule| {
            let found = path.to_string_lossy().starts_with(&rule.prefix).then(|| wanted(rule.fault)).flatten();
            rule.struck += u64::from(found.is_some());
            found
        };
        rules.iter_mut().find_map(hit)
    }

    /// Whether `fault` holds for a file.
    pub(super) fn hits(&self, fault: Fault, path: &Path) -> bool {
        self.strike(path, |found| (found == fault).then_some(())).is_some()
    }

    /// How much a write takes at most.
    pub(super) fn short(&self, path: &Path) -> Option<u32> {
        self.strike(path, |found| match found {
            Fault::Short(bytes) => Some(bytes),
            _ => None,
        })
    }

    /// Changes what was read at `offset` of a file.
    pub(super) fn flip(&self, path: &Path, offset: u64, bytes: &mut [u8]) {
        let hit = self.strike(path, |found| match found {
            Fault::Flip(at) => usize::try_from(at.checked_sub(offset)?).ok().filter(|at| *at < bytes.len()),
            _ => None,
        });
        if let Some(byte) = hit.and_then(|at| bytes.get_mut(at)) {
            *byte ^= 0x10;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_as_they_are_written() {
        for fault in [Fault::Full, Fault::Read, Fault::Write, Fault::Sync, Fault::Short(7), Fault::Flip(4096)] {
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        assert!("flop".parse::<Fault>().is_err() && "short:x".parse::<Fault>().is_err());
    }

    #[test]
    fn a_fault_holds_for_its_files_and_is_counted() {
        let faults = Faults::default();
        faults.set(Fault::Write, "home/lazaret.db");
        faults.set(Fault::Flip(10), "");
        assert!(faults.hits(Fault::Write, Path::new("home/lazaret.db-wal")));
        assert!(!faults.hits(Fault::Write, Path::new("home/config.toml")) && !faults.hits(Fault::Read, Path::new("home/lazaret.db")));
        let mut bytes = [0; 4];
        faults.flip(Path::new("x"), 11, &mut bytes);
        assert_eq!(bytes, [0; 4]);
        faults.flip(Path::new("x"), 8, &mut bytes);
        assert_eq!((bytes, faults.struck()), ([0, 0, 0x10, 0], 2));
        assert_eq!((faults.clear(), faults.struck()), (2, 0));
    }
}
