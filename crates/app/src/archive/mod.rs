//! A session as one archive, to be taken along: what it is made of, what happened in it, its files.
//!
//! The archive is a tar stream of a fixed form: `manifest.json`, then the parts that it names with size and SHA-256, in
//! this order. The files come as the tar streams that the guest packs, and only a guest ever unpacks them. There is no
//! secret in it: variables of the session are named and left out, and what the owner exposed to its agent is masked in its
//! files; nothing else was ever there to be written into one.

mod export;
mod import;
mod manifest;

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
