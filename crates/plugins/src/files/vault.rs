//! The vault as a directory that nothing leads out of: every path is walked part by part, without links.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use serde_json::{Value, json};

use crate::clock::Moment;
use crate::tool::ToolError;

/// Entries that one directory may have.
const ENTRIES_MAX: usize = 50_000;
/// How much of a file is looked at to tell whether it is text.
const PROBE_BYTES: usize = 8 << 10;

/// The vault.
#[derive(Debug)]
pub(super) struct Vault {
    root: PathBuf,
}

/// One entry of a directory.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) kind: &'static str,
    size: u64,
    modified: String,
}

/// An open file.
#[derive(Debug)]
pub(super) struct Opened {
    file: OwnedFd,
    pub(super) size: u64,
    pub(super) modified: String,
}

/// The one form of a path of the vault: no slash at its ends, no `.`, no `..`.
pub(super) fn clean(path: &str) -> Result<String, ToolError> {
    if path.contains('\0') {
        return Err(ToolError::Arguments("a path has no NUL".to_owned()));
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err(ToolError::Arguments("a path of the vault has no `..`".to_owned()));
    }
    Ok(parts.join("/"))
}

impl Entry {
    pub(super) fn json(&self) -> Value {
        json!({"name": self.name, "kind": self.kind, "size": self.size, "modified": self.modified})
    }
}

impl Vault {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Opens each part below the one before, never through a link: so nothing that changes meanwhile leads out either.
    fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd, ToolError> {
        let gone = |error: Errno| match error {
            Errno::NOENT => ToolError::NotFound(format!("there is no `{path}` in the vault")),
            Errno::LOOP | Errno::NOTDIR => ToolError::NotFound(format!("`{path}` is no such thing, or a link; links are not followed")),
            Errno::ACCESS | Errno::PERM => ToolError::NotFound(format!("`{path}` may not be read")),
            other => ToolError::NotFound(format!("`{path}` cannot be opened: {other}")),
        };
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut at = rustix::fs::open(&self.root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|_| ToolError::NotFound("no vault is mounted here: its owner names one in the configuration".to_owned()))?;
        let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
        let last = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | flags;
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rustix::fs::openat(&at, part, last, Mode::empty()).map_err(gone);
            }
            at = rustix::fs::openat(&at, part, directory, Mode::empty()).map_err(gone)?;
        }
        rustix::fs::openat(&at, ".", last, Mode::empty()).map_err(gone)
    }

    /// The entries of a directory, by name. Names that are not text are left out.
    pub(super) fn list(&self, path: &str) -> Result<Vec<Entry>, ToolError> {
        let directory = self.open(path, OFlags::DIRECTORY)?;
        let unread = |_| ToolError::NotFound(format!("`{path}` cannot be read"));
        let mut entries = Vec::new();
        for entry in Dir::read_from(&directory).map_err(unread)? {
            let entry = entry.map_err(unread)?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name == "." || name == ".." {
                continue;
            }
            if entries.len() >= ENTRIES_MAX {
                return Err(ToolError::NotFound(format!("`{path}` has more than {ENTRIES_MAX} entries")));
            }
            // An entry may have gone in the meantime.
            let Ok(stat) = rustix::fs::statat(&directory, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let kind = match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => "file",
                FileType::Directory => "directory",
                FileType::Symlink => "link",
                _ => "other",
            };
            entries.push(Entry { name: name.to_owned(), kind, size: size(&stat), modified: modified(&stat) });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Opens an ordinary file.
    pub(super) fn open_file(&self, path: &str) -> Result<Opened, ToolError> {
        // Without NONBLOCK a pipe would hold the thread until somebody writes to it.
        let file = self.open(path, OFlags::NONBLOCK)?;
        let stat = rustix::fs::fstat(&file).map_err(|e| ToolError::NotFound(format!("`{path}` cannot be read: {e}")))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Opened { file, size: size(&stat), modified: modified(&stat) }),
            FileType::Directory => Err(ToolError::NotFound(format!("`{path}` is a directory: list it"))),
            _ => Err(ToolError::NotFound(format!("`{path}` is no ordinary file"))),
        }
    }
}

impl Opened {
    /// Up to `limit` bytes from `offset` on; fewer only at the end.
    pub(super) fn read_at(&self, offset: u64, limit: usize) -> Result<Vec<u8>, ToolError> {
        let mut bytes = vec![0; limit];
        let mut read = 0;
        while read < limit {
            match rustix::io::pread(&self.file, &mut bytes[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(Errno::INTR) => (),
                Err(error) => return Err(ToolError::NotFound(format!("the file cannot be read: {error}"))),
            }
        }
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Whether the file's beginning is not text.
    pub(super) fn is_binary(&self) -> Result<bool, ToolError> {
        Ok(is_binary(&self.read_at(0, PROBE_BYTES)?))
    }
}

/// Whether bytes are not text: they hold a NUL, or more than a few that are no UTF-8.
pub(super) fn is_binary(bytes: &[u8]) -> bool {
    let probe = &bytes[..bytes.len().min(PROBE_BYTES)];
    let strange = String::from_utf8_lossy(probe).chars().filter(|c| *c == '\u{fffd}').count();
    probe.contains(&0) || strange * 10 > probe.len()
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

fn modified(stat: &Stat) -> String {
    Moment(stat.st_mtime).rfc3339()
}
