//! Files in and out, and directories.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fchmod, fsync, mkdirat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::open;
use super::path::Path;
use super::trouble::Trouble;

/// What a file and a directory are made with.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;
/// How many names are tried for the file beside the one that is written.
const NAMES_MAX: u32 = 16;

/// Writes the bytes of a regular file: as many as it has when it is opened, or fewer when it shrinks meanwhile.
pub(super) fn read(root: impl AsFd, path: &Path, out: &mut impl Write) -> Result<(), Trouble> {
    let (before, last) = path.split().map_err(|_| Trouble::new("CONFLICT", "this is a directory"))?;
    let (file, stat) = open::file(open::directory(root, before)?, last)?;
    let mut bytes = File::from(file).take(u64::try_from(stat.st_size).unwrap_or(0));
    std::io::copy(&mut bytes, out).map(drop).map_err(|error| Trouble::io("read the file", &error))
}

/// Puts what `input` gives into a file, whole or not at all. `size` is how much it must be.
pub(super) fn write(root: impl AsFd, path: &Path, size: Option<u64>, parents: bool, input: &mut impl Read) -> Result<(), Trouble> {
    let (before, last) = path.split()?;
    let directory = if parents { make(&root, before)? } else { open::directory(&root, before)? };
    let mode = match statat(&directory, last, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => FILE_MODE,
        Err(errno) => return Err(Trouble::os("look at the path", errno)),
        Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => stat.st_mode & 0o777,
            FileType::Directory => return Err(Trouble::new("CONFLICT", "this is a directory")),
            FileType::Symlink => return Err(open::is_link()),
            _ => return Err(open::is_special()),
        },
    };
    let (name, file) = beside(&directory)?;
    let done = fill(File::from(file), size, mode, input).and_then(|()| {
        // A link that was put there meanwhile is replaced, not followed; a directory is refused by the kernel.
        renameat(&directory, &name, &directory, last).map_err(|errno| Trouble::os("put the file in its place", errno))
    });
    if done.is_err() {
        let _ = unlinkat(&directory, &name, AtFlags::empty());
    }
    done?;
    fsync(&directory).map_err(|errno| Trouble::os("keep the directory", errno))
}

/// A fresh file beside the one that is written, so that both are on one file system.
fn beside(directory: &OwnedFd) -> Result<(CString, OwnedFd), Trouble> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for n in 0..NAMES_MAX {
        let name = format!(".lazaret-upload-{}-{n}", std::process::id());
        let name = CString::new(name).map_err(|_| Trouble::usage("the path holds a NUL"))?;
        match openat(directory, &name, flags, Mode::from_raw_mode(0o600)) {
            Ok(file) => return Ok((name, file)),
            Err(Errno::EXIST) => (),
            Err(errno) => return Err(Trouble::os("make a file", errno)),
        }
    }
    Err(Trouble::new("CONFLICT", "the names for a file in progress are all taken"))
}

fn fill(mut file: File, size: Option<u64>, mode: u32, input: &mut impl Read) -> Result<(), Trouble> {
    let written = std::io::copy(input, &mut file).map_err(|error| Trouble::io("write the file", &error))?;
    if size.is_some_and(|size| size != written) {
        return Err(Trouble::new("CONFLICT", "the upload did not have the size that was announced"));
    }
    fchmod(&file, Mode::from_raw_mode(mode)).map_err(|errno| Trouble::os("set the mode of the file", errno))?;
    fsync(&file).map_err(|errno| Trouble::os("keep the file", errno))
}

/// Makes a directory with its parents; one that is there already is good too.
pub(super) fn mkdir(root: impl AsFd, path: &Path) -> Result<(), Trouble> {
    make(root, path.parts()).map(drop)
}

fn make(root: impl AsFd, parts: &[CString]) -> Result<OwnedFd, Trouble> {
    let mut at = open::directory(root, &[])?;
    for part in parts {
        match mkdirat(&at, part, Mode::from_raw_mode(DIRECTORY_MODE)) {
            Ok(()) | Err(Errno::EXIST) => (),
            Err(errno) => return Err(Trouble::os("make a directory", errno)),
        }
        at = open::child(&at, part)?;
    }
    Ok(at)
}
