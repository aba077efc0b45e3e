//! Packing a file or a tree, a bounded piece at a time.
//!
//! The tree belongs to whoever runs inside and may change at any moment: nothing is followed, nothing that could block
//! is opened, and a file has the size that its header said, whatever becomes of it.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::header::{BLOCK, Header, Kind, NAME_BYTES_MAX, pad};

/// Directories inside one another; what lies deeper is left out and counted.
const DEPTH_MAX: usize = 128;

/// The most bytes of files in one stream.
const TOTAL_BYTES_MAX: u64 = 64 << 30;

/// A file over this size of which less than a [`SPARSE_PART`]th is on disk is left out and counted: its holes would
/// fill the host.
const SPARSE_BYTES: u64 = 256 << 20;

/// See [`SPARSE_BYTES`].
const SPARSE_PART: u64 = 16;

/// Why a tree was not packed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// The path is not absolute or does not exist.
    #[error("open what is to be packed")]
    Open(#[source] Errno),
    /// The path is no file, directory or link.
    #[error("pack something that is no file, directory or link")]
    Kind,
    /// More than 64 GiB.
    #[error("pack more than {TOTAL_BYTES_MAX} bytes")]
    TooLarge,
}

impl PackError {
    /// The error number of the operating system, 0 when there is none.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            PackError::Open(source) => source.raw_os_error(),
            PackError::Kind => 0,
            PackError::TooLarge => Errno::FBIG.raw_os_error(),
        }
    }
}

/// A directory whose entries are being packed.
#[derive(Debug)]
struct Level {
    dir: Dir,
    /// With a closing slash.
    prefix: Vec<u8>,
}

/// A tree that is being packed.
#[derive(Debug)]
pub struct Pack {
    levels: Vec<Level>,
    /// The file whose data comes next, what is left of it, and its size.
    file: Option<(OwnedFd, u64, u64)>,
    /// What was made and not given out yet.
    ready: Vec<u8>,
    total: u64,
    skipped: u64,
    ended: bool,
}

impl Pack {
    /// Begins to pack `path`. Links before its last component are followed, the last one is not.
    ///
    /// # Errors
    /// [`PackError`].
    pub fn new(path: &Path) -> Result<Self, PackError> {
        if !path.is_absolute() {
            return Err(PackError::Open(Errno::INVAL));
        }
        let mut pack = Self { levels: Vec::new(), file: None, ready: Vec::new(), total: 0, skipped: 0, ended: false };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            let root = rustix::fs::open("/", flags, Mode::empty()).map_err(PackError::Open)?;
            let stat = rustix::fs::fstat(&root).map_err(PackError::Open)?;
            pack.enter(root, b".".to_vec(), &stat).map_err(PackError::Open)?;
            return Ok(pack);
        };
        let parent = rustix::fs::open(parent, flags, Mode::empty()).map_err(PackError::Open)?;
        match pack.entry(parent.as_fd(), name, name.as_bytes().to_vec())? {
            Entry::Packed => Ok(pack),
            Entry::Unfit => Err(PackError::Kind),
            Entry::Failed(errno) => Err(PackError::Open(errno)),
        }
    }

    /// Appends bytes to `out` until at least `want` are added or the tree is done: `true` when it is.
    ///
    /// # Errors
    /// [`PackError::TooLarge`].
    pub fn next(&mut self, out: &mut Vec<u8>, want: usize) -> Result<bool, PackError> {
        let goal = out.len() + want;
        loop {
            out.append(&mut self.ready);
            if out.len() >= goal {
                return Ok(false);
            }
            if self.file.is_some() {
                self.data(out, goal);
            } else if !self.levels.is_empty() {
                self.step()?;
            } else if self.ended {
                return Ok(true);
            } else {
                self.ready.resize(2 * BLOCK, 0);
                self.ended = true;
            }
        }
    }

    /// How many entries were left out: no file, directory or link, too deep, unreadable, or almost all holes.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Data of the current file, or zeros for what it does not have any more.
    fn data(&mut self, out: &mut Vec<u8>, goal: usize) {
        let Some((fd, left, size)) = &mut self.file else { return };
        if *left == 0 {
            pad(out, *size);
            self.file = None;
            return;
        }
        let from = out.len();
        let room = usize::try_from(*left).unwrap_or(usize::MAX).min(goal.saturating_sub(from).max(BLOCK));
        out.resize(from + room, 0);
        let got = match rustix::io::read(fd, &mut out[from..]) {
            Err(Errno::INTR) => 0,
            Ok(n) if n > 0 => n,
            // Shorter than it was, or unreadable: the rest is zeros.
            _ => room,
        };
        out.truncate(from + got);
        *left -= got as u64;
    }

    /// The next entry of the deepest directory.
    fn step(&mut self) -> Result<(), PackError> {
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        let name = match level.dir.read() {
            None => {
                self.levels.pop();
                return Ok(());
            }
            Some(Err(_)) => {
                self.skipped += 1;
                self.levels.pop();
                return Ok(());
            }
            Some(Ok(entry)) => entry.file_name().to_owned(),
        };
        if [c".", c".."].contains(&name.as_c_str()) {
            return Ok(());
        }
        let full = [&level.prefix, name.to_bytes()].concat();
        let Ok(fd) = level.dir.fd().and_then(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 3)) else {
            self.skipped += 1;
            return Ok(());
        };
        match self.entry(fd.as_fd(), os(&name), full)? {
            Entry::Packed => {}
            Entry::Unfit | Entry::Failed(_) => self.skipped += 1,
        }
        Ok(())
    }

    fn entry(&mut self, parent: BorrowedFd<'_>, name: &OsStr, full: Vec<u8>) -> Result<Entry, PackError> {
        match self.try_entry(parent, name, full) {
            Ok(()) => Ok(Entry::Packed),
            Err(Fault::TooLarge) => Err(PackError::TooLarge),
            Err(Fault::Unfit) => Ok(Entry::Unfit),
            Err(Fault::Os(errno)) => Ok(Entry::Failed(errno)),
        }
    }

    fn try_entry(&mut self, parent: BorrowedFd<'_>, name: &OsStr, full: Vec<u8>) -> Result<(), Fault> {
        if full.len() > NAME_BYTES_MAX {
            return Err(Fault::Unfit);
        }
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        // Another thing may stand there by the time it is opened; what is opened is looked at again.
        let open = |extra| {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | extra;
            rustix::fs::openat(parent, name, flags, Mode::empty())
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                let link = rustix::fs::readlinkat(parent, name, Vec::new())?.into_bytes();
                header(Kind::Symlink, full, link, &stat, 0).write(&mut self.ready);
            }
            FileType::Directory => {
                let fd = open(OFlags::DIRECTORY)?;
                let stat = rustix::fs::fstat(&fd)?;
                self.enter(fd, full, &stat)?;
            }
            FileType::RegularFile => {
                let fd = open(OFlags::empty())?;
                let stat = rustix::fs::fstat(&fd)?;
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                let stored = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
                let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
                if !is_file || (size > SPARSE_BYTES && stored < size / SPARSE_PART) {
                    return Err(Fault::Unfit);
                }
                self.total += size;
                if self.total > TOTAL_BYTES_MAX {
                    return Err(Fault::TooLarge);
                }
                header(Kind::File, full, Vec::new(), &stat, size).write(&mut self.ready);
                self.file = Some((fd, size, size));
            }
            _ => return Err(Fault::Unfit),
        }
        Ok(())
    }

    fn enter(&mut self, fd: OwnedFd, name: Vec<u8>, stat: &Stat) -> Result<(), Errno> {
        if self.levels.len() >= DEPTH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let mut prefix = name;
        prefix.push(b'/');
        let dir = Dir::new(fd)?;
        header(Kind::Directory, prefix.clone(), Vec::new(), stat, 0).write(&mut self.ready);
        self.levels.push(Level { dir, prefix });
        Ok(())
    }
}

/// What became of one entry.
enum Entry {
    Packed,
    Unfit,
    Failed(Errno),
}

enum Fault {
    Unfit,
    TooLarge,
    Os(Errno),
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Fault::Os(errno)
    }
}

fn header(kind: Kind, name: Vec<u8>, link: Vec<u8>, stat: &Stat, size: u64) -> Header {
    Header { kind, name, link, mode: stat.st_mode & 0o777, size, mtime: stat.st_mtime }
}

fn os(name: &CStr) -> &OsStr {
    OsStr::from_bytes(name.to_bytes())
}
