//! What an engine printed, kept as it came until its turn is over.
//!
//! A frame is written here before it is acknowledged to the guest. A daemon that starts after a crash reads the log
//! again to bring the parser to where it was, and goes on with the frame after the last one. A torn last record was
//! never acknowledged, so the guest still has it. The page cache outlives the process, and a machine that loses power
//! loses the sandbox too, so nothing is synced.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// One numbered piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) number: u64,
    pub(crate) is_stderr: bool,
    pub(crate) bytes: Vec<u8>,
}

/// The log of one turn, open for writing.
#[derive(Debug)]
pub(crate) struct RawLog {
    file: File,
    written: u64,
}

/// The most that is kept of one turn; an engine that prints more has failed.
pub(crate) const RAW_BYTES_MAX: u64 = 512 << 20;
/// Number (8), kind (1), length (4).
const HEADER_BYTES: usize = 13;

impl RawLog {
    /// Opens the log and gives what is whole in it up to number `last`. The rest is cut off: what is torn, and what was
    /// kept but not recorded, which the guest sends again.
    pub(crate) fn open(path: &Path, last: u64) -> std::io::Result<(Self, Vec<Record>)> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let (records, whole) = read(&file, last)?;
        file.set_len(whole)?;
        Ok((Self { file, written: whole }, records))
    }

    /// Appends one piece. `false` when the log is full and the piece was not kept.
    pub(crate) fn append(&mut self, number: u64, is_stderr: bool, bytes: &[u8]) -> std::io::Result<bool> {
        let Ok(len) = u32::try_from(bytes.len()) else { return Ok(false) };
        let total = HEADER_BYTES as u64 + u64::from(len);
        if self.written + total > RAW_BYTES_MAX {
            return Ok(false);
        }
        let mut record = Vec::with_capacity(HEADER_BYTES + bytes.len());
        record.extend_from_slice(&number.to_le_bytes());
        record.push(u8::from(is_stderr));
        record.extend_from_slice(&len.to_le_bytes());
        record.extend_from_slice(bytes);
        self.file.write_all(&record)?;
        self.written += total;
        Ok(true)
    }
}

fn read(file: &File, last: u64) -> std::io::Result<(Vec<Record>, u64)> {
    let size = file.metadata()?.len();
    let mut reader = BufReader::new(file);
    let mut records = Vec::new();
    let mut whole = 0;
    let mut header = [0u8; HEADER_BYTES];
    while whole + HEADER_BYTES as u64 <= size {
        reader.read_exact(&mut header)?;
        let (number, rest) = header.split_at(8);
        let number = u64::from_le_bytes(number.try_into().unwrap_or_default());
        let len = u32::from_le_bytes(rest[1..].try_into().unwrap_or_default());
        let end = whole + HEADER_BYTES as u64 + u64::from(len);
        if end > size || number > last {
            break;
        }
        let mut bytes = vec![0; len as usize];
        reader.read_exact(&mut bytes)?;
        records.push(Record { number, is_stderr: rest[0] != 0, bytes });
        whole = end;
    }
    Ok((records, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_whole_survives_a_torn_end() {
        let dir = std::env::temp_dir().join(format!("lazaret-raw-{}", std::process::id()));
        let (mut log, old) = RawLog::open(&dir, 0).expect("open");
        assert!(old.is_empty());
        for number in 1..=3 {
            assert!(log.append(number, number == 2, &[b'x'; 10]).expect("append"));
        }
        drop(log);
        let size = std::fs::metadata(&dir).expect("there").len();
        OpenOptions::new().write(true).open(&dir).expect("open").set_len(size - 1).expect("cut");
        let (mut log, old) = RawLog::open(&dir, 3).expect("open");
        assert_eq!(old.iter().map(|r| (r.number, r.is_stderr)).collect::<Vec<_>>(), [(1, false), (2, true)]);
        assert!(log.append(3, false, b"again").expect("append"));
        drop(log);
        let (log, old) = RawLog::open(&dir, 3).expect("open");
        assert_eq!(old.last().map(|r| r.bytes.as_slice()), Some(&b"again"[..]));
        drop(log);
        // The second and third were kept and never recorded: they come again, and are in the log once.
        let (mut log, old) = RawLog::open(&dir, 1).expect("open");
        assert_eq!(old.iter().map(|r| r.number).collect::<Vec<_>>(), [1]);
        assert!(log.append(2, false, b"second time").expect("append"));
        drop(log);
        let (_, old) = RawLog::open(&dir, 2).expect("open");
        assert_eq!(old.iter().map(|r| r.number).collect::<Vec<_>>(), [1, 2]);
        std::fs::remove_file(&dir).expect("remove");
    }
}
