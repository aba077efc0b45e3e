//! What an engine printed, kept as it came until its turn is over.
//!
//! A frame is written here before it is acknowledged to the guest. A daemon that starts after a crash reads the log
//! again to bring the parser to where it was, and goes on with the frame after the last one. A torn last record was
//! never acknowledged, so the guest still has it. The page cache outlives the process, and a machine that loses power
//! loses the sandbox too, so nothing is synced.
//!
//! What an agent prints may hold a secret that its owner exposed to it, in pieces of any size. So the log is sealed: each
//! log has a key of its own, which stands at its beginning under the key of the home. The parser gets what was printed,
//! byte for byte, and the disk has none of it in the clear.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Error, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use store::Secrets;
use zeroize::Zeroizing;

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
    key: LessSafeKey,
}

/// What seals the key of a log.
pub(crate) trait Seals {
    fn seal(&self, text: &str) -> std::io::Result<String>;
    fn unseal(&self, sealed: &str) -> std::io::Result<Zeroizing<String>>;
}

impl Seals for Secrets {
    fn seal(&self, text: &str) -> std::io::Result<String> {
        Secrets::seal(self, PURPOSE, text).map_err(Error::other)
    }

    fn unseal(&self, sealed: &str) -> std::io::Result<Zeroizing<String>> {
        Secrets::unseal(self, PURPOSE, sealed).map_err(Error::other)
    }
}

/// The most that is kept of one turn; an engine that prints more has failed.
pub(crate) const RAW_BYTES_MAX: u64 = 512 << 20;
/// What the key of a log is sealed for.
const PURPOSE: &str = "raw log";
/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// A sealed key is shorter.
const SEALED_BYTES_MAX: u64 = 1024;
/// Number (8), kind (1), length of what is sealed (4), nonce.
const HEADER_BYTES: usize = 13 + NONCE_LEN;

impl RawLog {
    /// Opens the log and gives what is whole in it up to number `last`. The rest is cut off: what is torn, and what was
    /// kept but not recorded, which the guest sends again.
    pub(crate) fn open(path: &Path, last: u64, seals: &dyn Seals) -> std::io::Result<(Self, Vec<Record>)> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let Some((key, from)) = read_key(&file, seals)? else {
            // New, or torn before its first record.
            file.set_len(0)?;
            let (key, from) = write_key(&file, seals)?;
            return Ok((Self { file, written: from, key }, Vec::new()));
        };
        let (records, whole) = read(&file, from, last, &key)?;
        file.set_len(whole)?;
        Ok((Self { file, written: whole, key }, records))
    }

    /// Appends one piece. `false` when the log is full and the piece was not kept.
    pub(crate) fn append(&mut self, number: u64, is_stderr: bool, bytes: &[u8]) -> std::io::Result<bool> {
        let sealed = bytes.len() + AES_256_GCM.tag_len();
        let Ok(len) = u32::try_from(sealed) else { return Ok(false) };
        let total = HEADER_BYTES as u64 + u64::from(len);
        if self.written + total > RAW_BYTES_MAX {
            return Ok(false);
        }
        let nonce = random::<NONCE_LEN>()?;
        let mut record = Vec::with_capacity(HEADER_BYTES + sealed);
        record.extend_from_slice(&number.to_le_bytes());
        record.push(u8::from(is_stderr));
        record.extend_from_slice(&len.to_le_bytes());
        record.extend_from_slice(&nonce);
        record.extend_from_slice(bytes);
        let (head, body) = record.split_at_mut(HEADER_BYTES);
        let tag = self.key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&*head), body);
        record.extend_from_slice(tag.map_err(|_| Error::other("a piece cannot be sealed"))?.as_ref());
        self.file.write_all(&record)?;
        self.written += total;
        Ok(true)
    }
}

fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Error::other("the system gives no random bytes"))?;
    Ok(bytes)
}

fn key_of(bytes: &[u8]) -> std::io::Result<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, bytes).map(LessSafeKey::new).map_err(|_| Error::other("the key of a log has the wrong length"))
}

/// Begins a log: the length of its sealed key, and that.
fn write_key(mut file: &File, seals: &dyn Seals) -> std::io::Result<(LessSafeKey, u64)> {
    let key = Zeroizing::new(random::<KEY_BYTES>()?);
    let sealed = seals.seal(&Zeroizing::new(STANDARD_NO_PAD.encode(*key)))?;
    let len = u32::try_from(sealed.len()).map_err(Error::other)?;
    let head = [&len.to_le_bytes(), sealed.as_bytes()].concat();
    file.write_all(&head)?;
    Ok((key_of(&*key)?, head.len() as u64))
}

/// The key of a log and where its records begin; `None` where the log has not begun.
fn read_key(mut file: &File, seals: &dyn Seals) -> std::io::Result<Option<(LessSafeKey, u64)>> {
    let size = file.metadata()?.len();
    let mut len = [0; 4];
    if size < len.len() as u64 {
        return Ok(None);
    }
    file.read_exact(&mut len)?;
    let len = u64::from(u32::from_le_bytes(len));
    if len > SEALED_BYTES_MAX {
        return Err(Error::other("it is no log"));
    }
    if size < 4 + len {
        return Ok(None);
    }
    let mut sealed = String::new();
    file.take(len).read_to_string(&mut sealed)?;
    let key = Zeroizing::new(STANDARD_NO_PAD.decode(seals.unseal(&sealed)?.as_bytes()).map_err(Error::other)?);
    Ok(Some((key_of(&key)?, 4 + len)))
}

/// Reads from where the records begin. Gives the length of what is whole.
fn read(file: &File, from: u64, last: u64, key: &LessSafeKey) -> std::io::Result<(Vec<Record>, u64)> {
    let size = file.metadata()?.len();
    let mut reader = BufReader::new(file);
    let mut records = Vec::new();
    let mut whole = from;
    let mut header = [0u8; HEADER_BYTES];
    while whole + HEADER_BYTES as u64 <= size {
        reader.read_exact(&mut header)?;
        let (number, rest) = header.split_at(8);
        let number = u64::from_le_bytes(number.try_into().unwrap_or_default());
        let (is_stderr, rest) = (rest[0] != 0, &rest[1..]);
        let (len, nonce) = rest.split_at(4);
        let len = u32::from_le_bytes(len.try_into().unwrap_or_default());
        let end = whole + HEADER_BYTES as u64 + u64::from(len);
        if end > size || number > last {
            break;
        }
        let mut bytes = vec![0; len as usize];
        reader.read_exact(&mut bytes)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::other("a nonce has the wrong length"))?;
        let changed = |_| Error::other("a piece of the log was changed");
        let plain = key.open_in_place(nonce, Aad::from(&header), &mut bytes).map_err(changed)?.len();
        bytes.truncate(plain);
        records.push(Record { number, is_stderr, bytes });
        whole = end;
    }
    Ok((records, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns a text around.
    struct Around;

    impl Seals for Around {
        fn seal(&self, text: &str) -> std::io::Result<String> {
            Ok(text.chars().rev().collect())
        }

        fn unseal(&self, sealed: &str) -> std::io::Result<Zeroizing<String>> {
            Ok(Zeroizing::new(sealed.chars().rev().collect()))
        }
    }

    #[test]
    fn what_is_whole_survives_a_torn_end() {
        let dir = std::env::temp_dir().join(format!("lazaret-raw-{}", std::process::id()));
        let open = |last| RawLog::open(&dir, last, &Around);
        let (mut log, old) = open(0).expect("open");
        assert!(old.is_empty());
        for number in 1..=3 {
            assert!(log.append(number, number == 2, &[b'x'; 10]).expect("append"));
        }
        drop(log);
        let size = std::fs::metadata(&dir).expect("there").len();
        OpenOptions::new().write(true).open(&dir).expect("open").set_len(size - 1).expect("cut");
        let (mut log, old) = open(3).expect("open");
        assert_eq!(old.iter().map(|r| (r.number, r.is_stderr)).collect::<Vec<_>>(), [(1, false), (2, true)]);
        assert!(log.append(3, false, b"again").expect("append"));
        drop(log);
        let (log, old) = open(3).expect("open");
        assert_eq!(old.last().map(|r| r.bytes.as_slice()), Some(&b"again"[..]));
        drop(log);
        // The second and third were kept and never recorded: they come again, and are in the log once.
        let (mut log, old) = open(1).expect("open");
        assert_eq!(old.iter().map(|r| r.number).collect::<Vec<_>>(), [1]);
        assert!(log.append(2, false, b"second time").expect("append"));
        drop(log);
        let (_, old) = open(2).expect("open");
        assert_eq!(old.iter().map(|r| r.number).collect::<Vec<_>>(), [1, 2]);
        std::fs::remove_file(&dir).expect("remove");
    }

    #[test]
    fn nothing_stands_in_the_clear_and_what_was_changed_is_not_read() {
        let path = std::env::temp_dir().join(format!("lazaret-raw-sealed-{}", std::process::id()));
        let (mut log, _) = RawLog::open(&path, 0, &Around).expect("open");
        let said = b"an exposed secret, whole";
        assert!(log.append(1, false, said).expect("append"));
        let kept = std::fs::read(&path).expect("read");
        assert!(kept.len() > said.len() && !kept.windows(8).any(|w| said.windows(8).any(|s| s == w)));
        let (_, old) = RawLog::open(&path, 1, &Around).expect("open");
        assert_eq!(old[0].bytes, said, "the control: it is all there");
        for (at, what) in [(kept.len() - 1, "what is sealed"), (kept.len() - said.len() - 16 - HEADER_BYTES, "its number")] {
            let mut changed = kept.clone();
            changed[at] ^= 1;
            std::fs::write(&path, &changed).expect("write");
            let read = RawLog::open(&path, 1, &Around);
            assert!(read.is_err(), "{what}: {read:?}");
        }
        // A daemon that was killed in the middle of the first bytes has acknowledged nothing.
        std::fs::write(&path, &kept[..20]).expect("write");
        let (mut log, old) = RawLog::open(&path, 0, &Around).expect("open");
        assert!(old.is_empty() && log.append(1, false, said).expect("append"));
        drop(log);
        assert_eq!(RawLog::open(&path, 1, &Around).expect("open").1.len(), 1);
        std::fs::remove_file(&path).expect("remove");
    }
}
