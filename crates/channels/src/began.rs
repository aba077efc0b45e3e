//! Where listening began, in a file that outlives the process. Until the host has acknowledged something it has no cursor, and
//! what was said by then would be lost with the process: the next one goes on where this one began.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

/// The name of the file in the state directory.
const NAME: &str = "began";

/// The place that was kept last.
///
/// # Errors
/// It cannot be read.
pub(crate) fn read(directory: &Path) -> std::io::Result<Option<String>> {
    match std::fs::read_to_string(directory.join(NAME)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Keeps a place. It is on the disk when this returns.
///
/// # Errors
/// It cannot be written.
pub(crate) fn keep(directory: &Path, place: &str) -> std::io::Result<()> {
    let beside = directory.join("began.part");
    let mut file = File::create(&beside)?;
    file.write_all(place.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, directory.join(NAME))?;
    File::open(directory)?.sync_all()
}
