//! How far the audit had come, kept beside the database.
//!
//! A chain shows that a row was changed or taken out, but not that its end was cut off, nor that all of it was written anew.
//! The head holds the number and the hash of the last row, and a code over both that only who has the home's key can make. It
//! is written after the commit and not flushed, so after a power failure it may lag behind; it never runs ahead. Somebody who
//! puts back both an older head and the older database that it belongs to is not found by it: for that, keep what
//! `audit verify` prints in another place.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

use crate::{StoreError, home};

const MAGIC: &[u8; 8] = b"LZRTHEAD";
/// Magic, number, hash, code.
const BYTES: usize = 8 + 8 + 32 + 32;
/// The block of SHA-256, for the code.
const BLOCK: usize = 64;

/// The last row of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Head {
    /// Its number; 0 when there is none.
    pub(crate) seq: u64,
    /// Its hash.
    pub(crate) hash: [u8; 32],
}

/// The file beside the database.
#[derive(Debug)]
pub(crate) struct AuditHead {
    file: File,
    path: PathBuf,
    /// Held for single reads and writes of 80 bytes.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    head: Head,
    code: [u8; 32],
    key: Option<[u8; 32]>,
    /// The code was not made with the key.
    is_forged: bool,
}

impl AuditHead {
    /// Opens or makes the head of `database`.
    pub(crate) fn open(database: &Path) -> Result<Self, StoreError> {
        let mut name = database.as_os_str().to_owned();
        name.push("-audit");
        let path = PathBuf::from(name);
        let file = match home::open_checked(&path, OFlags::RDWR)? {
            Some(file) => file,
            None => home::create_private(&path)?,
        };
        let mut bytes = [0; BYTES];
        let mut state = State { head: Head::default(), code: [0; 32], key: None, is_forged: false };
        if file.read_exact_at(&mut bytes, 0).is_ok() && &bytes[..8] == MAGIC {
            state.head.seq = bytes[8..16].iter().rev().fold(0, |n, b| n << 8 | u64::from(*b));
            state.head.hash.copy_from_slice(&bytes[16..48]);
            state.code.copy_from_slice(&bytes[48..]);
        }
        Ok(Self { file, path, state: Mutex::new(state) })
    }

    /// From now on the head is made, and was to be made, with this key.
    pub(crate) fn key(&self, key: [u8; 32]) {
        let mut state = self.lock();
        state.is_forged = state.head.seq > 0 && code(&key, &state.head) != state.code;
        if state.is_forged {
            tracing::error!(path = %self.path.display(), "the head of the audit was not written by this home's daemon");
        }
        state.key = Some(key);
    }

    /// The last row that was seen on the disk, and whether that is to be believed.
    pub(crate) fn read(&self) -> (Head, bool) {
        let state = self.lock();
        (state.head, !state.is_forged)
    }

    /// Notes a row that is on the disk.
    pub(crate) fn advance(&self, head: Head) {
        let mut state = self.lock();
        if head.seq <= state.head.seq || state.is_forged {
            // What was found forged stays to be seen.
            return;
        }
        state.head = head;
        state.code = state.key.map_or([0; 32], |key| code(&key, &head));
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&head.seq.to_le_bytes());
        bytes[16..48].copy_from_slice(&head.hash);
        bytes[48..].copy_from_slice(&state.code);
        if let Err(error) = self.file.write_all_at(&bytes, 0) {
            // It lags behind, which it may.
            tracing::warn!(path = %self.path.display(), %error, "the head of the audit was not written");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// HMAC-SHA-256 over number and hash.
fn code(key: &[u8; 32], head: &Head) -> [u8; 32] {
    let padded = |pad: u8| {
        let mut block = [pad; BLOCK];
        block.iter_mut().zip(key).for_each(|(b, k)| *b ^= k);
        block
    };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(head.seq.to_le_bytes()).chain_update(head.hash).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_depends_on_key_number_and_hash() {
        let (key, head) = ([7; 32], Head { seq: 5, hash: [3; 32] });
        let one = code(&key, &head);
        assert_eq!(one, code(&key, &head));
        for other in [code(&[8; 32], &head), code(&key, &Head { seq: 6, ..head }), code(&key, &Head { hash: [4; 32], ..head })] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn a_head_without_the_key_is_not_believed() {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let dir = tempfile::Builder::new().permissions(mode).tempdir().unwrap();
        let database = dir.path().join("lazaret.db");
        let head = AuditHead::open(&database).unwrap();
        head.key([7; 32]);
        head.advance(Head { seq: 3, hash: [1; 32] });
        head.advance(Head { seq: 2, hash: [2; 32] });
        assert_eq!(head.read(), (Head { seq: 3, hash: [1; 32] }, true), "it never goes back");
        for (key, is_believed) in [([7; 32], true), ([8; 32], false)] {
            let again = AuditHead::open(&database).unwrap();
            again.key(key);
            assert_eq!(again.read(), (Head { seq: 3, hash: [1; 32] }, is_believed));
        }
    }
}
