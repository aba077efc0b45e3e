//! Sealing and opening of bytes.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use zeroize::Zeroizing;

use super::SecretsError;

/// Bytes of a key.
pub(super) const KEY_BYTES: usize = 32;
/// Bytes of a nonce: 96 random bits, good for four thousand million values under one key.
pub(super) const NONCE_BYTES: usize = 12;

/// A key that is wiped when it is dropped.
pub(super) type Key = Zeroizing<[u8; KEY_BYTES]>;

/// A nonce and what was sealed with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) nonce: [u8; NONCE_BYTES],
    pub(super) bytes: Vec<u8>,
}

/// Fills an array from the system's generator.
pub(super) fn random<const N: usize>() -> Result<[u8; N], SecretsError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| SecretsError::System("get random bytes"))?;
    Ok(bytes)
}

/// Seals `plain` so that it opens only with the same key and `bound`.
pub(super) fn seal(key: &Key, bound: &[u8], plain: &[u8]) -> Result<Sealed, SecretsError> {
    let nonce = random::<NONCE_BYTES>()?;
    let payload = Payload { msg: plain, aad: bound };
    let bytes = cipher(key).encrypt(&Nonce::from(nonce), payload).map_err(|_| SecretsError::System("seal a value"))?;
    Ok(Sealed { nonce, bytes })
}

/// Opens what was sealed; `None` when key, bound bytes or anything sealed differs.
pub(super) fn open(key: &Key, bound: &[u8], sealed: &Sealed) -> Option<Zeroizing<Vec<u8>>> {
    let payload = Payload { msg: &sealed.bytes, aad: bound };
    cipher(key).decrypt(&Nonce::from(sealed.nonce), payload).ok().map(Zeroizing::new)
}

/// What a value is bound to: every part with its length before it, so that no two lists of parts give the same bytes.
pub(super) fn bound(parts: &[&str]) -> Vec<u8> {
    let mut bytes = b"lazaret-sealed-1".to_vec();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

/// Another key, for one purpose: from it neither the key nor that of another purpose can be told.
pub(super) fn derived(key: &Key, purpose: &str) -> [u8; KEY_BYTES] {
    use sha2::Digest;
    sha2::Sha256::new().chain_update(bound(&["derived", purpose])).chain_update(**key).finalize().into()
}

fn cipher(key: &Key) -> Aes256Gcm {
    Aes256Gcm::new(&(**key).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_with_everything_the_same() {
        let key: Key = Zeroizing::new([7; KEY_BYTES]);
        let sealed = seal(&key, &bound(&["a", "bc"]), b"value").unwrap();
        let text = |k: &Key, b: &[u8], s: &Sealed| open(k, b, s).map(|v| v.to_vec());
        assert_eq!(text(&key, &bound(&["a", "bc"]), &sealed).as_deref(), Some(&b"value"[..]));
        assert_eq!(text(&key, &bound(&["ab", "c"]), &sealed), None);
        assert_eq!(text(&Zeroizing::new([8; KEY_BYTES]), &bound(&["a", "bc"]), &sealed), None);
        for at in 0..sealed.bytes.len() {
            let mut changed = sealed.clone();
            changed.bytes[at] ^= 1;
            assert_eq!(text(&key, &bound(&["a", "bc"]), &changed), None, "byte {at}");
        }
        assert_ne!(seal(&key, b"", b"value").unwrap().nonce, sealed.nonce);
    }
}
