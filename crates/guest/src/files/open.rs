//! Opening what lies below the root, one component at a time and no link among them.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;

use super::path::Path;
use super::trouble::Trouble;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A file that turns into a pipe or a terminal before it is opened neither blocks nor becomes ours.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// The root, as the host names it.
pub(super) fn root(path: &CStr) -> Result<OwnedFd, Trouble> {
    rustix::fs::open(path, DIRECTORY, Mode::empty()).map_err(|errno| Trouble::os("open the root", errno))
}

/// A directory below `from`.
pub(super) fn directory(from: impl AsFd, parts: &[CString]) -> Result<OwnedFd, Trouble> {
    let again = openat(&from, c".", DIRECTORY, Mode::empty());
    let mut at = again.map_err(|errno| Trouble::os("open a directory", errno))?;
    for part in parts {
        at = child(&at, part)?;
    }
    Ok(at)
}

/// The directory of this name in `at`.
pub(super) fn child(at: impl AsFd, name: &CStr) -> Result<OwnedFd, Trouble> {
    openat(&at, name, DIRECTORY, Mode::empty()).map_err(|errno| match errno {
        // What a link is answered with differs between file systems.
        Errno::LOOP | Errno::NOTDIR => match kind_at(&at, name) {
            Some(FileType::Symlink) => is_link(),
            Some(FileType::Directory) => Trouble::new("CONFLICT", "a part of the path was exchanged while it was opened"),
            _ => Trouble::new("CONFLICT", "a part of the path is not a directory"),
        },
        errno => Trouble::os("open a directory", errno),
    })
}

/// What stands at a path, a link as itself.
pub(super) fn stat(from: impl AsFd, path: &Path) -> Result<Stat, Trouble> {
    let Ok((before, last)) = path.split() else {
        return fstat(from).map_err(|errno| Trouble::os("look at the root", errno));
    };
    let at = directory(from, before)?;
    statat(&at, last, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| Trouble::os("look at the path", errno))
}

/// A regular file, open for reading, and what it is.
pub(super) fn file(at: impl AsFd, name: &CStr) -> Result<(OwnedFd, Stat), Trouble> {
    // Asked first: to open a device can have an effect.
    let looked = statat(&at, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| Trouble::os("look at the path", errno))?;
    is_regular(&looked)?;
    let opened = openat(&at, name, FILE, Mode::empty()).map_err(|errno| match errno {
        Errno::LOOP => is_link(),
        Errno::NXIO => is_special(),
        errno => Trouble::os("open the file", errno),
    })?;
    let found = fstat(&opened).map_err(|errno| Trouble::os("look at the file", errno))?;
    is_regular(&found)?;
    Ok((opened, found))
}

fn is_regular(stat: &Stat) -> Result<(), Trouble> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(Trouble::new("CONFLICT", "this is a directory")),
        FileType::Symlink => Err(is_link()),
        _ => Err(is_special()),
    }
}

pub(super) fn is_link() -> Trouble {
    Trouble::new("FORBIDDEN", "a part of the path is a link")
}

pub(super) fn is_special() -> Trouble {
    Trouble::new("FORBIDDEN", "this is neither a file nor a directory")
}

/// What kind of thing has this name, if there is one.
pub(super) fn kind_at(at: impl AsFd, name: &CStr) -> Option<FileType> {
    statat(at, name, AtFlags::SYMLINK_NOFOLLOW).ok().map(|stat| FileType::from_raw_mode(stat.st_mode))
}
