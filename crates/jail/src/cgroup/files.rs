//! Reading and writing the small files of a hierarchy.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// Why a control group could not be made, entered or removed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A file or directory of the hierarchy could not be used.
    #[error("{operation} `{path}`")]
    File {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A limit was asked for whose controller is not there.
    #[error("limit {controller}: this user can use no such controller here")]
    Controller {
        /// `memory`, `cpu` or `pids`.
        controller: &'static str,
    },
    /// The group still holds processes after every attempt.
    #[error("empty the control group `{path}`")]
    Busy {
        /// The group.
        path: PathBuf,
    },
    /// The name is not a plain file name.
    #[error("make a control group with a name that is no plain file name")]
    Name,
}

/// Writes a control file whole.
pub(super) fn write(path: &Path, text: &str) -> Result<(), CgroupError> {
    // The kernel makes all files of a group; `create` does nothing there, and lets a plain directory stand in.
    let written =
        OpenOptions::new().write(true).create(true).truncate(false).open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| CgroupError::File { operation: "write", path: path.to_owned(), source })
}

/// Makes a group, or finds it made.
pub(super) fn make(path: &Path) -> Result<(), CgroupError> {
    match fs::create_dir(path) {
        Err(source) if source.kind() != ErrorKind::AlreadyExists => {
            Err(CgroupError::File { operation: "make the control group", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// The text of a control file, empty when there is none.
pub(super) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A control file that holds one number; 0 when there is none.
pub(super) fn number(path: &Path) -> u64 {
    read(path).trim().parse().unwrap_or(0)
}

/// One line `key number` of a control file; 0 when there is none.
pub(super) fn keyed(path: &Path, key: &str) -> u64 {
    let text = read(path);
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    value.and_then(|v| v.trim().parse().ok()).unwrap_or(0)
}
