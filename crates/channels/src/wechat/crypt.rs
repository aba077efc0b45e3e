//! How WeChat signs and encrypts what it posts: SHA-1 over sorted values, and AES-256-CBC in the encrypted mode.

use aes::Aes256;
use aes::cipher::{Array, BlockCipherDecrypt, KeyInit};
use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::{alphabet, engine::DecodePaddingMode};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use crate::sign::{hex, is_same};

/// The size of a block of AES.
const BLOCK: usize = 16;
/// WeChat pads to multiples of this many bytes.
const PAD_MAX: u8 = 32;

/// Why a message cannot be opened. It does not say more: who sends it learns nothing from it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CryptError {
    /// The key is not 43 characters of base64.
    #[error("read the encoding key: it has not 43 characters of base64")]
    Key,
    /// It is not a message that was encrypted with this key for this account.
    #[error("open the message")]
    Message,
}

/// Whether `signature` is that of `parts`, which are sorted, joined and hashed.
pub(crate) fn is_signed(parts: &mut [&str], signature: &str) -> bool {
    parts.sort_unstable();
    is_same(&hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, parts.concat().as_bytes()).as_ref()), &signature.to_ascii_lowercase())
}

/// The key of an account in the encrypted mode.
pub(crate) struct Crypt {
    cipher: Aes256,
    iv: [u8; BLOCK],
    app: String,
}

impl Crypt {
    /// Reads the encoding key (43 characters) of the app `app`.
    pub(crate) fn new(key: &str, app: &str) -> Result<Self, CryptError> {
        // The last character of 43 has two bits too many, which the platform's own makers set at will.
        let config =
            GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true).with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let key = GeneralPurpose::new(&alphabet::STANDARD, config).decode(key).map_err(|_| CryptError::Key)?;
        let cipher = Aes256::new_from_slice(&key).map_err(|_| CryptError::Key)?;
        let iv = key[..BLOCK].try_into().map_err(|_| CryptError::Key)?;
        Ok(Self { cipher, iv, app: app.to_owned() })
    }

    /// Opens what stands in `Encrypt`: 16 bytes by chance, a length, the message, and the app that it is for.
    pub(crate) fn open(&self, text: &str) -> Result<Vec<u8>, CryptError> {
        let mut bytes = STANDARD.decode(text.trim()).map_err(|_| CryptError::Message)?;
        if bytes.is_empty() || !bytes.len().is_multiple_of(BLOCK) {
            return Err(CryptError::Message);
        }
        let mut before = self.iv;
        for block in bytes.chunks_exact_mut(BLOCK) {
            let mut opened: [u8; BLOCK] = (&*block).try_into().map_err(|_| CryptError::Message)?;
            let next = opened;
            let mut whole = Array::from(opened);
            self.cipher.decrypt_block(&mut whole);
            opened.copy_from_slice(&whole);
            for (to, (plain, mask)) in block.iter_mut().zip(opened.iter().zip(before)) {
                *to = plain ^ mask;
            }
            before = next;
        }
        self.unwrap(&bytes).ok_or(CryptError::Message)
    }

    fn unwrap(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let pad = *bytes.last().filter(|pad| (1..=PAD_MAX).contains(*pad))?;
        let whole = bytes.len().checked_sub(usize::from(pad))?;
        if bytes[whole..].iter().any(|byte| *byte != pad) {
            return None;
        }
        let length = u32::from_be_bytes(bytes.get(BLOCK..BLOCK + 4)?.try_into().ok()?);
        let end = (BLOCK + 4).checked_add(usize::try_from(length).ok()?)?;
        let message = bytes[..whole].get(BLOCK + 4..end)?;
        // The signature covers no app: only this says that it is not another account's message.
        (bytes.get(end..whole)? == self.app.as_bytes()).then(|| message.to_vec())
    }
}
