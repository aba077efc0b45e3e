//! Who may read and write the files of the home.

use std::fs::{File, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::StoreError;

/// Checks that `path` is a directory of this user that nobody else can enter.
///
/// # Errors
/// [`StoreError::Unsafe`] with what is wrong, [`StoreError::Io`] when it cannot be looked at.
pub fn check_home(path: &Path) -> Result<(), StoreError> {
    let meta = std::fs::symlink_metadata(path).map_err(|e| StoreError::io("look at", path, e))?;
    if !meta.is_dir() {
        return Err(unsafe_file(path, "it is not a directory"));
    }
    check_owner(path, &meta)
}

/// Checks a plain file by its name, without opening it. `None` when there is none.
pub(crate) fn check_path(path: &Path) -> Result<Option<Metadata>, StoreError> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) => check_plain(path, &meta).map(|()| Some(meta)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("look at", path, error)),
    }
}

/// Checks that an open file is a plain file of this user that nobody else can read and that has no second name.
pub(crate) fn check_file(path: &Path, file: &File) -> Result<(), StoreError> {
    let meta = file.metadata().map_err(|e| StoreError::io("look at", path, e))?;
    check_plain(path, &meta)
}

fn check_plain(path: &Path, meta: &Metadata) -> Result<(), StoreError> {
    if !meta.is_file() {
        return Err(unsafe_file(path, "it is not a plain file"));
    }
    if meta.nlink() != 1 {
        return Err(unsafe_file(path, "it has a second name (hard link)"));
    }
    check_owner(path, meta)
}

/// Opens an existing plain file without following a link, and checks it. `None` when there is none.
pub(crate) fn open_checked(path: &Path, flags: OFlags) -> Result<Option<File>, StoreError> {
    // A fifo or device in the place of the file must not make the program wait.
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => return Err(unsafe_file(path, "it is a symbolic link")),
        Err(error) => return Err(StoreError::io("open", path, error)),
    };
    check_file(path, &file)?;
    Ok(Some(file))
}

/// Makes a file that only this user can read. Fails when the name is taken, also by a link.
pub(crate) fn create_private(path: &Path) -> Result<File, StoreError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|e| StoreError::io("create", path, e))?;
    Ok(File::from(fd))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| StoreError::io("flush", dir, e))
}

fn check_owner(path: &Path, meta: &Metadata) -> Result<(), StoreError> {
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() != me {
        return Err(unsafe_file(path, format!("it belongs to user {}, not to {me}", meta.uid())));
    }
    let mode = meta.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(unsafe_file(path, format!("others may use it (mode {mode:04o})")));
    }
    Ok(())
}

fn unsafe_file(path: &Path, why: impl Into<String>) -> StoreError {
    StoreError::Unsafe { path: path.to_owned(), why: why.into() }
}
