//! Values that are kept with what they belong to instead of under a name: sealed texts for other tables.

use zeroize::Zeroizing;

use super::seal::{self, NONCE_BYTES, Sealed};
use super::{Secrets, SecretsError, VALUE_BYTES_MAX};

impl Secrets {
    /// Seals a value, so that it opens only with this home's key and for the same `purpose`.
    ///
    /// # Errors
    /// [`SecretsError::Invalid`] for a value out of bounds.
    pub fn seal(&self, purpose: &str, value: &str) -> Result<String, SecretsError> {
        if value.is_empty() || value.len() > VALUE_BYTES_MAX {
            return Err(SecretsError::Invalid { field: "value", why: "has not 1 to 65536 bytes" });
        }
        let sealed = seal::seal(self.key(), &seal::bound(&["loose", purpose]), value.as_bytes())?;
        Ok(hex(sealed.nonce.iter().chain(&sealed.bytes)))
    }

    /// Opens what [`Secrets::seal`] gave.
    ///
    /// # Errors
    /// [`SecretsError::Tampered`].
    pub fn unseal(&self, purpose: &str, text: &str) -> Result<Zeroizing<String>, SecretsError> {
        let tampered = || SecretsError::Tampered { name: purpose.to_owned() };
        let bytes = unhex(text).ok_or_else(tampered)?;
        let (nonce, bytes) = bytes.split_at_checked(NONCE_BYTES).ok_or_else(tampered)?;
        let nonce = <[u8; NONCE_BYTES]>::try_from(nonce).map_err(|_| tampered())?;
        let sealed = Sealed { nonce, bytes: bytes.to_vec() };
        let plain = seal::open(self.key(), &seal::bound(&["loose", purpose]), &sealed).ok_or_else(tampered)?;
        std::str::from_utf8(&plain).map(|text| Zeroizing::new(text.to_owned())).map_err(|_| tampered())
    }
}

fn hex<'a>(bytes: impl Iterator<Item = &'a u8>) -> String {
    let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or('0');
    bytes.flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    if rest.is_empty() { bytes } else { None }
}
