//! Unpacking into a directory, without ever leaving it.
//!
//! Every name is walked component by component from the target's descriptor, never through a link. What stands in the
//! way is replaced when it is a file or link, and refused when it is a directory.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::header::{BLOCK, Header, HeaderError, Kind, NAME_BYTES_MAX, padding};

/// The most bytes of records about one entry.
const EXTENDED_BYTES_MAX: u64 = 64 << 10;

/// Why a tar stream was not unpacked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// The target cannot be opened or made.
    #[error("open the directory to unpack into")]
    Target(#[source] Errno),
    /// The stream is not a tar stream.
    #[error("read the tar stream: {0}")]
    Header(#[from] HeaderError),
    /// The stream ends in the middle.
    #[error("read the tar stream: it ends in the middle of an entry")]
    Cut,
    /// A name is absolute, has `..` or a NUL, or is too long.
    #[error("unpack an entry with an unsafe name {0:?}")]
    Name(String),
    /// An entry cannot be made.
    #[error("unpack {name:?}")]
    Entry {
        /// The entry, for people.
        name: String,
        /// The cause.
        source: Errno,
    },
}

impl UnpackError {
    /// The error number of the operating system, 0 when there is none.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            UnpackError::Target(source) | UnpackError::Entry { source, .. } => source.raw_os_error(),
            _ => 0,
        }
    }
}

/// What the bytes that come next are.
#[derive(Debug)]
enum Expect {
    Header,
    /// The data of a file, or of an entry that is left out.
    Body {
        file: Option<(OwnedFd, Header)>,
        left: u64,
        padding: usize,
    },
    /// A long name, link or records.
    Text {
        kind: Kind,
        text: Vec<u8>,
        left: u64,
        padding: usize,
    },
    Padding(usize),
    /// The closing zero block was seen; the rest does not matter.
    End,
}

/// What earlier entries say about the next one.
#[derive(Debug, Default)]
struct Overrides {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

/// A tar stream that is being unpacked.
#[derive(Debug)]
pub struct Unpack {
    target: OwnedFd,
    expect: Expect,
    overrides: Overrides,
    block: Vec<u8>,
    /// The directory of the last entry, so that a tree is not walked anew for each file.
    last: Option<(Vec<u8>, OwnedFd)>,
    skipped: u64,
}

impl Unpack {
    /// Begins to unpack into `target`, which is made when missing.
    ///
    /// # Errors
    /// [`UnpackError::Target`].
    pub fn new(target: &Path) -> Result<Self, UnpackError> {
        if !target.is_absolute() {
            return Err(UnpackError::Target(Errno::INVAL));
        }
        make_dirs(target).map_err(UnpackError::Target)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let target = rustix::fs::open(target, flags, Mode::empty()).map_err(UnpackError::Target)?;
        let expect = Expect::Header;
        Ok(Self { target, expect, overrides: Overrides::default(), block: Vec::new(), last: None, skipped: 0 })
    }

    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// [`UnpackError`]; nothing more can be pushed after it.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), UnpackError> {
        while !bytes.is_empty() {
            let used = match &mut self.expect {
                Expect::End => bytes.len(),
                Expect::Header => {
                    let used = bytes.len().min(BLOCK - self.block.len());
                    self.block.extend_from_slice(&bytes[..used]);
                    if let Ok(block) = <[u8; BLOCK]>::try_from(self.block.as_slice()) {
                        self.block.clear();
                        self.header(&block)?;
                    }
                    used
                }
                Expect::Body { file, left, .. } => {
                    let used = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    if let Some((fd, header)) = file {
                        write_all(fd.as_fd(), &bytes[..used]).map_err(entry(&header.name))?;
                    }
                    *left -= used as u64;
                    used
                }
                Expect::Text { text, left, .. } => {
                    let used = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    text.extend_from_slice(&bytes[..used]);
                    *left -= used as u64;
                    used
                }
                Expect::Padding(left) => {
                    let used = (*left).min(bytes.len());
                    *left -= used;
                    used
                }
            };
            bytes = &bytes[used..];
            self.settle()?;
        }
        Ok(())
    }

    /// Ends the stream. Returns how many entries were left out because they are no file, directory or link.
    ///
    /// # Errors
    /// [`UnpackError::Cut`] when it ends in the middle of an entry.
    pub fn finish(self) -> Result<u64, UnpackError> {
        match self.expect {
            Expect::End => Ok(self.skipped),
            Expect::Header if self.block.is_empty() => Ok(self.skipped),
            _ => Err(UnpackError::Cut),
        }
    }

    /// Goes on from a part of which nothing is left.
    fn settle(&mut self) -> Result<(), UnpackError> {
        loop {
            match &self.expect {
                Expect::Body { left: 0, .. } | Expect::Text { left: 0, .. } => {}
                Expect::Padding(0) => {
                    self.expect = Expect::Header;
                    return Ok(());
                }
                _ => return Ok(()),
            }
            match std::mem::replace(&mut self.expect, Expect::Header) {
                Expect::Body { file, padding, .. } => {
                    if let Some((fd, header)) = file {
                        set_times(&fd, header.mtime);
                    }
                    self.expect = Expect::Padding(padding);
                }
                Expect::Text { kind, text, padding, .. } => {
                    self.text(kind, text)?;
                    self.expect = Expect::Padding(padding);
                }
                _ => return Ok(()),
            }
        }
    }

    fn header(&mut self, block: &[u8; BLOCK]) -> Result<(), UnpackError> {
        let Some(mut header) = Header::parse(block)? else {
            self.expect = Expect::End;
            return Ok(());
        };
        let padding = padding(header.size);
        match header.kind {
            Kind::LongName | Kind::LongLink | Kind::Extended => {
                if header.size > EXTENDED_BYTES_MAX {
                    return Err(unsafe_name(&header.name));
                }
                self.expect = Expect::Text { kind: header.kind, text: Vec::new(), left: header.size, padding };
                return Ok(());
            }
            Kind::Global => {
                self.expect = Expect::Body { file: None, left: header.size, padding };
                return Ok(());
            }
            _ => {}
        }
        let overrides = std::mem::take(&mut self.overrides);
        header.name = overrides.name.unwrap_or(header.name);
        header.link = overrides.link.unwrap_or(header.link);
        header.size = overrides.size.unwrap_or(header.size);
        let has_body = matches!(header.kind, Kind::File | Kind::Other);
        let (left, padding) = if has_body { (header.size, self::padding(header.size)) } else { (0, 0) };
        let name = header.name.clone();
        let file = self.entry(header).map_err(|cause| match cause {
            Cause::Name => unsafe_name(&name),
            Cause::Os(source) => entry(&name)(source),
        })?;
        self.expect = Expect::Body { file, left, padding };
        Ok(())
    }

    /// A long name, a long link or records for the next entry.
    fn text(&mut self, kind: Kind, mut text: Vec<u8>) -> Result<(), UnpackError> {
        match kind {
            Kind::Extended => {
                let mut rest = text.as_slice();
                while let Some(space) = rest.iter().position(|b| *b == b' ') {
                    let len = std::str::from_utf8(&rest[..space]).ok().and_then(|t| t.parse::<usize>().ok());
                    let Some(record) = len.and_then(|len| rest.get(space + 1..len)) else {
                        return Err(HeaderError::Number.into());
                    };
                    rest = &rest[space + 1 + record.len()..];
                    let record = record.strip_suffix(b"\n").unwrap_or(record);
                    let Some(equals) = record.iter().position(|b| *b == b'=') else { continue };
                    let (key, value) = (&record[..equals], &record[equals + 1..]);
                    match key {
                        b"path" => self.overrides.name = Some(value.to_vec()),
                        b"linkpath" => self.overrides.link = Some(value.to_vec()),
                        b"size" => {
                            let size = std::str::from_utf8(value).ok().and_then(|t| t.parse().ok());
                            self.overrides.size = Some(size.ok_or(HeaderError::Number)?);
                        }
                        _ if key.starts_with(b"GNU.sparse") => return Err(HeaderError::Sparse.into()),
                        _ => {}
                    }
                }
            }
            _ => {
                text.truncate(text.iter().position(|b| *b == 0).unwrap_or(text.len()));
                let place = if kind == Kind::LongName { &mut self.overrides.name } else { &mut self.overrides.link };
                *place = Some(text);
            }
        }
        Ok(())
    }

    /// Makes an entry; a file comes back open for its data.
    fn entry(&mut self, header: Header) -> Result<Option<(OwnedFd, Header)>, Cause> {
        let parts = components(&header.name)?;
        let Some((last, parents)) = parts.split_last() else {
            // The target itself, which stands already.
            return if header.kind == Kind::Directory { Ok(None) } else { Err(Cause::Name) };
        };
        if header.kind == Kind::Other {
            self.skipped += 1;
            return Ok(None);
        }
        let parent = self.parent(parents)?;
        let mode = Mode::from_raw_mode(header.mode & 0o777);
        match header.kind {
            Kind::Directory => {
                // Writable for its owner, or nothing could be unpacked into it.
                directory(parent.as_fd(), last, mode | Mode::RWXU)?;
            }
            Kind::Symlink => {
                clear(parent.as_fd(), last)?;
                rustix::fs::symlinkat(OsStr::from_bytes(&header.link), &parent, *last)?;
            }
            Kind::Hardlink => {
                let parts = components(&header.link)?;
                let (from, dirs) = parts.split_last().ok_or(Cause::Name)?;
                let source = walk(self.target.as_fd(), dirs, false)?;
                clear(parent.as_fd(), last)?;
                rustix::fs::linkat(&source, *from, &parent, *last, AtFlags::empty())?;
            }
            _ => {
                clear(parent.as_fd(), last)?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(&parent, *last, flags, Mode::RUSR | Mode::WUSR)?;
                // Not at open, where the umask would take bits away.
                rustix::fs::fchmod(&fd, mode)?;
                return Ok(Some((fd, header)));
            }
        }
        Ok(None)
    }

    /// The directory of an entry, made when missing.
    fn parent(&mut self, parts: &[&OsStr]) -> Result<OwnedFd, Cause> {
        let key = parts.iter().flat_map(|p| [p.as_bytes(), b"/"].concat()).collect::<Vec<u8>>();
        if let Some((last, fd)) = &self.last
            && *last == key
        {
            return Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?);
        }
        let fd = walk(self.target.as_fd(), parts, true)?;
        self.last = Some((key, rustix::io::fcntl_dupfd_cloexec(&fd, 3)?));
        Ok(fd)
    }
}

enum Cause {
    Name,
    Os(Errno),
}

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Self {
        Cause::Os(errno)
    }
}

/// The components of a name that stays inside: no `..`, not absolute, no NUL.
fn components(name: &[u8]) -> Result<Vec<&OsStr>, Cause> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name[0] == b'/' || name.contains(&0) {
        return Err(Cause::Name);
    }
    let parts = name.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.map(|part| if part == b".." { Err(Cause::Name) } else { Ok(OsStr::from_bytes(part)) }).collect()
}

/// Goes down from `root` without following a link.
fn walk(root: BorrowedFd<'_>, parts: &[&OsStr], make: bool) -> Result<OwnedFd, Errno> {
    let mut at = rustix::io::fcntl_dupfd_cloexec(root, 3)?;
    for part in parts {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        at = match rustix::fs::openat(&at, *part, flags, Mode::empty()) {
            Err(Errno::NOENT) if make => {
                directory(at.as_fd(), part, Mode::from_raw_mode(0o755))?;
                rustix::fs::openat(&at, *part, flags, Mode::empty())?
            }
            other => other?,
        };
    }
    Ok(at)
}

/// Makes a directory, or sets the mode of the one that stands there.
fn directory(parent: BorrowedFd<'_>, name: &OsStr, mode: Mode) -> Result<(), Errno> {
    match rustix::fs::mkdirat(parent, name, mode) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::Directory {
                return Err(Errno::NOTDIR);
            }
        }
        Err(error) => return Err(error),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    rustix::fs::fchmod(&fd, mode)
}

/// Removes a file or link that stands in the way.
fn clear(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a path of directories. Links in it are followed: it is the host's word, not the stream's.
fn make_dirs(path: &Path) -> Result<(), Errno> {
    for dir in path.ancestors().collect::<Vec<_>>().into_iter().rev() {
        let name = CString::new(dir.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
        match rustix::fs::mkdir(name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            // What stands on a read-only file system cannot be made, and need not.
            Err(_) if dir.is_dir() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A time that cannot be set is no reason to refuse a file.
fn set_times(fd: &OwnedFd, mtime: i64) {
    let time = Timespec { tv_sec: mtime, tv_nsec: 0 };
    let _ = rustix::fs::futimens(fd, &Timestamps { last_access: time, last_modification: time });
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().take(200).collect()
}

fn unsafe_name(name: &[u8]) -> UnpackError {
    UnpackError::Name(shown(name))
}

fn entry(name: &[u8]) -> impl Fn(Errno) -> UnpackError {
    move |source| UnpackError::Entry { name: shown(name), source }
}
