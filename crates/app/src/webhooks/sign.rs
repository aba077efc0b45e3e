//! What webhooks are signed with.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The field that holds the signature.
pub const SIGNATURE_HEADER: &str = "x-lazaret-signature";

/// The value of [`SIGNATURE_HEADER`]: `t=<seconds since 1970>,v1=<hex>`, where `v1` is HMAC-SHA256 over the seconds, a dot and
/// the body. Whoever checks it compares in constant time and refuses a time that is long ago.
#[must_use]
pub fn signature(secret: &str, seconds: u64, body: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        // HMAC takes keys of every length.
        return String::new();
    };
    mac.update(seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().iter().fold(format!("t={seconds},v1="), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_over_time_and_body() {
        // From an implementation that is not ours.
        let expect = "t=1800000000,v1=20971b38cc843a189f74e7a6195597741b708fdf8e35242789d4adbee2c40431";
        assert_eq!(signature("whsec-fake", 1_800_000_000, b"{\"id\":\"a-1\"}"), expect);
        let others = [signature("whsec-fake", 1_800_000_001, b"{\"id\":\"a-1\"}"), signature("other", 1_800_000_000, b"{\"id\":\"a-1\"}")];
        assert!(others.iter().all(|other| other.split("v1=").nth(1) != expect.split("v1=").nth(1)));
    }
}
