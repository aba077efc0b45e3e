//! Whether two files hold the same bytes.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, Stat, seek};
use rustix::io::Errno;

use super::trouble::Trouble;

/// Bytes that are read at once of each file.
const PIECE_BYTES: usize = 128 << 10;
/// How far into a file a NUL is looked for that tells it from text.
const LOOKED_AT_BYTES: usize = 8 << 10;
/// Bytes that one comparison of trees reads; files beyond it count as changed, because nobody knows.
const READ_BYTES_MAX: u64 = 64 << 30;

/// Compares files, with one budget for all of them.
pub(super) struct Comparison {
    left: u64,
    /// A time at which the older tree had stopped changing, in nanoseconds: the latest change seen in it.
    still: i128,
    pieces: [Vec<u8>; 2],
}

impl Comparison {
    pub(super) fn new() -> Self {
        Self { left: READ_BYTES_MAX, still: i128::MIN, pieces: [vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]] }
    }

    /// Takes note of something in the older tree.
    pub(super) fn saw(&mut self, old: &Stat) {
        self.still = self.still.max(changed(old));
    }

    /// Whether both are certainly the same file, unchanged since the older tree was copied from the newer one's past.
    /// Nobody can set the time of change, and one that lies well before another change that the older tree still saw is
    /// of before the copy; a clock counts in steps, so a file that changed just then is read.
    pub(super) fn is_untouched(&self, old: &Stat, new: &Stat) -> bool {
        const STEP_NS: i128 = 1_000_000_000;
        let same =
            |a: &Stat, b: &Stat| (a.st_ino, a.st_size, a.st_mtime, a.st_mtime_nsec) == (b.st_ino, b.st_size, b.st_mtime, b.st_mtime_nsec);
        same(old, new) && changed(old) == changed(new) && changed(old).saturating_add(STEP_NS) < self.still
    }

    /// Whether two files of one size hold the same bytes. Holes of both are not read.
    pub(super) fn is_same(&mut self, old: &File, new: &File, size: u64) -> Result<bool, Trouble> {
        let failed = |error: std::io::Error| Trouble::io("read a file", &error);
        let [first, second] = &mut self.pieces;
        let mut at = 0u64;
        while at < size {
            let data = data_from(old, at, size)?.min(data_from(new, at, size)?);
            if data > at {
                at = data;
                continue;
            }
            let want = usize::try_from(size - at).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
            let Some(left) = self.left.checked_sub(2 * want as u64) else { return Ok(false) };
            self.left = left;
            let count = read_full(old, &mut first[..want], at).map_err(failed)?;
            if read_full(new, &mut second[..want], at).map_err(failed)? != count || first[..count] != second[..count] {
                return Ok(false);
            }
            if count < want {
                return Ok(true);
            }
            at += want as u64;
        }
        Ok(true)
    }
}

/// Whether a file is no text, as far as its beginning tells.
pub(super) fn is_binary(file: &File) -> Result<bool, Trouble> {
    let mut beginning = [0; LOOKED_AT_BYTES];
    let count = read_full(file, &mut beginning, 0).map_err(|error| Trouble::io("read a file", &error))?;
    Ok(beginning[..count].contains(&0))
}

fn changed(stat: &Stat) -> i128 {
    i128::from(stat.st_ctime) * 1_000_000_000 + i128::from(stat.st_ctime_nsec)
}

/// Where the next byte that is not of a hole stands; the end when there is none.
fn data_from(file: impl AsFd, at: u64, size: u64) -> Result<u64, Trouble> {
    match seek(file, SeekFrom::Data(at)) {
        Ok(data) => Ok(data.min(size)),
        Err(Errno::NXIO) => Ok(size),
        // A file system without holes.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(at),
        Err(errno) => Err(Trouble::os("read a file", errno)),
    }
}

fn read_full(file: &File, into: &mut [u8], at: u64) -> std::io::Result<usize> {
    let mut count = 0;
    while count < into.len() {
        match file.read_at(&mut into[count..], at + count as u64) {
            Ok(0) => break,
            Ok(n) => count += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => (),
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}
