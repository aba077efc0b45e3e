//! Taking a hostile file tree over to the host.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;

use crate::SandboxError;
use crate::tarball::{Entries, Entry, Kind, PATH_BYTES_MAX};

/// The most entries of one tree.
const ENTRIES_MAX: u64 = 1_000_000;
/// The most bytes of all files of one tree.
const BYTES_MAX: u64 = 64 << 30;
/// How deep a tree goes.
const DEPTH_MAX: usize = 128;
/// The longest name of one file, as on every file system of Linux.
const NAME_BYTES_MAX: usize = 255;
/// How many left-out entries are named.
const SKIPPED_MAX: usize = 100;
/// A piece of a file while it is copied.
const PIECE_BYTES: usize = 64 << 10;

/// What came over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Regular files.
    pub files: u64,
    /// Bytes of regular files.
    pub bytes: u64,
    /// What was left out, at most a hundred; the count of all is `skipped_total`.
    pub skipped: Vec<Skipped>,
    /// How many entries were left out.
    pub skipped_total: u64,
}

/// An entry that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its name with control characters escaped, cut to 256 characters.
    pub name: String,
    /// Why.
    pub why: &'static str,
}

/// Unpacks a tar stream below `dir` and nowhere else. No link is ever followed, whether it came with the stream or lay
/// there before; links come over only if they point inside; devices, pipes and setuid bits never do. A file that is
/// there already is replaced.
///
/// # Errors
/// The stream is damaged, breaks a limit, or the host cannot write. What came over until then stays.
pub fn unpack(dir: OwnedFd, tar: impl Read) -> Result<Unpacked, SandboxError> {
    unpack_below(dir, tar, 0)
}

/// The same without the first `strip` parts of each name, so that the content of a tree lands in `dir` itself.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_below(dir: OwnedFd, tar: impl Read, strip: usize) -> Result<Unpacked, SandboxError> {
    let mut entries = Entries::new(tar);
    let mut unpacking = Unpacking { dir, strip, parent: None, done: Unpacked::default() };
    let mut count = 0u64;
    while let Some(entry) = entries.next_entry()? {
        count += 1;
        if count > ENTRIES_MAX {
            return Err(SandboxError::Tree(format!("it has more than {ENTRIES_MAX} entries")));
        }
        match unpacking.entry(&entry, &mut entries) {
            Ok(()) => {}
            Err(Left::Out(why)) => unpacking.skip(&entry.name, why),
            Err(Left::Fatal(error)) => return Err(error),
        }
    }
    Ok(unpacking.done)
}

/// Why an entry did not come over.
enum Left {
    /// The rest does.
    Out(&'static str),
    /// Nor does anything after it.
    Fatal(SandboxError),
}

impl From<SandboxError> for Left {
    fn from(error: SandboxError) -> Self {
        Left::Fatal(error)
    }
}

struct Unpacking {
    dir: OwnedFd,
    /// How many parts of each name are left out.
    strip: usize,
    /// The directory of the last entry, opened: most entries share one with their neighbour.
    parent: Option<(Vec<OsString>, OwnedFd)>,
    done: Unpacked,
}

impl Unpacking {
    fn entry(&mut self, entry: &Entry, entries: &mut Entries<impl Read>) -> Result<(), Left> {
        let path = parts(&entry.name)?;
        let path = path.get(self.strip..).unwrap_or_default();
        let Some((name, above)) = path.split_last() else {
            // The root of the tree itself.
            return Ok(());
        };
        if entry.kind == Kind::Other {
            return Err(Left::Out("it is no file, directory or link"));
        }
        match entry.kind {
            Kind::Dir => self.dir(path, entry.mode),
            Kind::File => self.file(above, name, entry, entries),
            Kind::Link => self.link(above, name, &entry.target),
            Kind::HardLink | Kind::Other => self.hard_link(above, name, &entry.target),
        }
    }

    fn dir(&mut self, path: &[OsString], mode: u32) -> Result<(), Left> {
        let fd = self.open_dir(path)?;
        let mode = Mode::from_raw_mode(mode & 0o777 | 0o700);
        rustix::fs::fchmod(fd, mode).map_err(|e| failed("set the mode of a directory", e))
    }

    fn file(&mut self, above: &[OsString], name: &OsStr, entry: &Entry, entries: &mut Entries<impl Read>) -> Result<(), Left> {
        if entry.size > BYTES_MAX - self.done.bytes {
            return Err(Left::Fatal(SandboxError::Tree(format!("its files have more than {BYTES_MAX} bytes"))));
        }
        let parent = self.open_dir(above)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        clear(parent, name)?;
        let file = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600)).map_err(|e| failed("make a file", e))?;
        let mut piece = vec![0u8; PIECE_BYTES.min(usize::try_from(entry.size).unwrap_or(PIECE_BYTES))];
        loop {
            let got = entries.read_data(&mut piece)?;
            if got == 0 {
                break;
            }
            let mut rest = &piece[..got];
            while !rest.is_empty() {
                let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest));
                rest = &rest[written.map_err(|e| failed("write a file", e))?..];
            }
        }
        rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode & 0o777 | 0o600)).map_err(|e| failed("set the mode of a file", e))?;
        let time = Timespec { tv_sec: entry.modified, tv_nsec: 0 };
        // A file system that cannot hold this time is no reason to lose the file.
        let _ = rustix::fs::futimens(&file, &Timestamps { last_access: time, last_modification: time });
        self.done.files += 1;
        self.done.bytes += entry.size;
        Ok(())
    }

    fn link(&mut self, above: &[OsString], name: &OsStr, target: &[u8]) -> Result<(), Left> {
        if !stays_inside(above.len(), target) {
            return Err(Left::Out("it is a link that could lead outside"));
        }
        let parent = self.open_dir(above)?;
        clear(parent, name)?;
        rustix::fs::symlinkat(OsStr::from_bytes(target), parent, name).map_err(|e| failed("make a link", e))
    }

    fn hard_link(&mut self, above: &[OsString], name: &OsStr, target: &[u8]) -> Result<(), Left> {
        let path = parts(target)?;
        let path = path.get(self.strip..).unwrap_or_default();
        let Some((old, old_above)) = path.split_last() else { return Err(Left::Out("it is a hard link to a directory")) };
        let source = open_beneath(&self.dir, old_above, OFlags::PATH | OFlags::DIRECTORY);
        let source = source.map_err(|_| Left::Out("it is a hard link to what did not come over"))?;
        let stat = rustix::fs::statat(&source, old, AtFlags::SYMLINK_NOFOLLOW);
        if !stat.is_ok_and(|s| rustix::fs::FileType::from_raw_mode(s.st_mode).is_file()) {
            return Err(Left::Out("it is a hard link to what did not come over"));
        }
        let same = old_above == above && old == name;
        let parent = self.open_dir(above)?;
        if same {
            return Ok(());
        }
        clear(parent, name)?;
        rustix::fs::linkat(&source, old, parent, name, AtFlags::empty()).map_err(|e| failed("make a hard link", e))
    }

    /// Opens a directory below the root, making what is missing, without ever passing through a link.
    fn open_dir(&mut self, path: &[OsString]) -> Result<&OwnedFd, Left> {
        if path.is_empty() {
            return Ok(&self.dir);
        }
        if self.parent.as_ref().is_none_or(|(open, _)| open != path) {
            let fd = make_beneath(&self.dir, path)?;
            self.parent = Some((path.to_vec(), fd));
        }
        Ok(self.parent.as_ref().map_or(&self.dir, |(_, fd)| fd))
    }

    fn skip(&mut self, name: &[u8], why: &'static str) {
        self.done.skipped_total += 1;
        if self.done.skipped.len() < SKIPPED_MAX {
            let text = String::from_utf8_lossy(name);
            let name = text.chars().take(256).flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect();
            self.done.skipped.push(Skipped { name, why });
        }
    }
}

/// The parts of a name that lies inside: no `..`, not absolute, within the limits.
fn parts(name: &[u8]) -> Result<Vec<OsString>, Left> {
    if name.len() > PATH_BYTES_MAX {
        return Err(Left::Out("its name is too long"));
    }
    if name.is_empty() || name[0] == b'/' || name.contains(&0) {
        return Err(Left::Out("its name is not relative"));
    }
    let mut parts = Vec::new();
    for part in name.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(Left::Out("its name leads upwards")),
            part if part.len() > NAME_BYTES_MAX => return Err(Left::Out("its name is too long")),
            part => parts.push(OsStr::from_bytes(part).to_owned()),
        }
    }
    if parts.len() > DEPTH_MAX {
        return Err(Left::Out("it lies too deep"));
    }
    Ok(parts)
}

/// Whether a link in a directory `depth` below the root can only lead inside, whatever other links there are: it goes
/// up first, not further than the root, and then only down. A `..` after a name could go up from where another link led.
fn stays_inside(depth: usize, target: &[u8]) -> bool {
    if target.is_empty() || target.len() > PATH_BYTES_MAX || target[0] == b'/' || target.contains(&0) {
        return false;
    }
    let (mut up, mut down) = (0, false);
    for part in target.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if down => return false,
            b".." => up += 1,
            _ => down = true,
        }
    }
    up <= depth
}

fn open_beneath(root: impl AsFd, path: &[OsString], flags: OFlags) -> Result<OwnedFd, Errno> {
    let joined = path.iter().fold(std::path::PathBuf::from("."), |all, part| all.join(part));
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::io::retry_on_intr(|| rustix::fs::openat2(&root, &joined, flags | OFlags::CLOEXEC, Mode::empty(), resolve))
}

fn make_beneath(root: &OwnedFd, path: &[OsString]) -> Result<OwnedFd, Left> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let refused = |e: Errno| match e {
        Errno::LOOP | Errno::NOTDIR => Left::Out("its directory is a link or a file"),
        e => failed("open a directory", e),
    };
    match open_beneath(root, path, flags) {
        Ok(fd) => return Ok(fd),
        Err(Errno::NOENT) => {}
        Err(e) => return Err(refused(e)),
    }
    for end in 1..=path.len() {
        let parent = open_beneath(root, &path[..end - 1], OFlags::PATH | OFlags::DIRECTORY).map_err(refused)?;
        match rustix::fs::mkdirat(&parent, &path[end - 1], Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(failed("make a directory", e)),
        }
    }
    open_beneath(root, path, flags).map_err(refused)
}

/// Takes away what is there under this name unless it is a directory.
fn clear(parent: &OwnedFd, name: &OsStr) -> Result<(), Left> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => Err(Left::Out("a directory of this name is there")),
        Err(e) => Err(failed("replace a file", e)),
    }
}

fn failed(what: &str, error: Errno) -> Left {
    Left::Fatal(SandboxError::io(what)(error.into()))
}

#[cfg(test)]
mod tests;
