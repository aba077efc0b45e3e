//! Where the outer key comes from: a file of the home, or a passphrase.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::SecretsError;
use super::seal::{KEY_BYTES, Key, random};
use crate::{StoreError, home};

/// The name of the key file in the home.
const FILE: &str = "master.key";
/// Bytes of a passphrase: below, a guess is too cheap; above, it is a mistake.
const PASSPHRASE_BYTES: std::ops::RangeInclusive<usize> = 8..=1024;
/// What argon2id costs: 64 MiB and three passes, about a tenth of a second.
const MEMORY_KIB: u32 = 64 << 10;
const PASSES: u32 = 3;
/// The most that a stored record may ask for, so that a changed one cannot exhaust the machine.
const MEMORY_KIB_MAX: u32 = 1 << 20;
const PASSES_MAX: u32 = 16;

/// What the secrets are kept under.
#[derive(Debug)]
pub enum KeySource {
    /// The file `master.key` of the home, made at the first use.
    File,
    /// A passphrase that the owner types.
    Passphrase(Zeroizing<String>),
}

impl KeySource {
    /// The word in the store and in messages.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::File => "key file",
            Self::Passphrase(_) => "passphrase",
        }
    }
}

/// How a passphrase becomes a key; kept beside what it opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kdf {
    name: String,
    memory_kib: u32,
    passes: u32,
    salt: [u8; 16],
}

impl Kdf {
    /// The present costs and a new salt.
    pub(super) fn make() -> Result<Self, SecretsError> {
        Ok(Self { name: "argon2id".into(), memory_kib: MEMORY_KIB, passes: PASSES, salt: random()? })
    }

    /// Derives the key. Takes about a tenth of a second.
    pub(super) fn derive(&self, passphrase: &str) -> Result<Key, SecretsError> {
        if !PASSPHRASE_BYTES.contains(&passphrase.len()) {
            return Err(SecretsError::Invalid { field: "passphrase", why: "has not 8 to 1024 bytes" });
        }
        if self.name != "argon2id" || self.memory_kib > MEMORY_KIB_MAX || self.passes > PASSES_MAX {
            return Err(SecretsError::WrongKey("passphrase"));
        }
        let failed = |_| SecretsError::System("derive a key from the passphrase");
        let params = Params::new(self.memory_kib, self.passes, 1, Some(KEY_BYTES)).map_err(failed)?;
        let mut key: Key = Zeroizing::new([0; KEY_BYTES]);
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon.hash_password_into(passphrase.as_bytes(), &self.salt, &mut *key).map_err(failed)?;
        Ok(key)
    }
}

/// Reads the key file of `home`; makes it when there is none and `make` allows it.
pub(super) fn file(home: &Path, make: bool) -> Result<Key, SecretsError> {
    home::check_home(home)?;
    let path = home.join(FILE);
    match (read(&path)?, make) {
        (Some(key), _) => Ok(key),
        (None, true) => create(home, &path),
        (None, false) => Err(SecretsError::KeyFileMissing { path }),
    }
}

fn read(path: &Path) -> Result<Option<Key>, SecretsError> {
    let Some(file) = home::open_checked(path, OFlags::RDONLY)? else { return Ok(None) };
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_BYTES + 1));
    let most = KEY_BYTES as u64 + 1;
    file.take(most).read_to_end(&mut bytes).map_err(|e| StoreError::io("read", path, e))?;
    match <[u8; KEY_BYTES]>::try_from(bytes.as_slice()) {
        Ok(key) => Ok(Some(Zeroizing::new(key))),
        Err(_) => Err(SecretsError::KeyFileInvalid { path: path.to_owned() }),
    }
}

/// Writes a new key under a name of its own and then links it to its place, so that no part of a key is ever found there
/// and a key that somebody else made in between stays.
fn create(home: &Path, path: &Path) -> Result<Key, SecretsError> {
    let key: Key = Zeroizing::new(random()?);
    let draft: PathBuf = home.join(format!("{FILE}.{:016x}", u64::from_le_bytes(random()?)));
    let written = write(&draft, &key).and_then(|()| std::fs::hard_link(&draft, path).map_err(|e| StoreError::io("create", path, e)));
    let removed = std::fs::remove_file(&draft).map_err(|e| StoreError::io("remove", &draft, e));
    written?;
    removed?;
    home::sync_dir(home)?;
    Ok(key)
}

fn write(path: &Path, key: &Key) -> Result<(), StoreError> {
    let mut file = home::create_private(path)?;
    file.write_all(&**key).and_then(|()| file.sync_all()).map_err(|e| StoreError::io("write", path, e))
}
