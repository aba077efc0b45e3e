//! Signatures of webhooks: compared in constant time, within a window of time, each once.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use ring::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256, Key};

/// How far the time of a request may be from now, in milliseconds, either way.
pub(crate) const WINDOW_MS: i64 = 5 * 60 * 1000;
/// Requests that are remembered; with more than these in one window further ones are refused, not forgotten.
const SEEN_MAX: usize = 50_000;

/// The HMAC of `parts`, one after the other.
pub(crate) fn hmac_sha256(secret: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut context = hmac::Context::with_key(&Key::new(HMAC_SHA256, secret));
    for part in parts {
        context.update(part);
    }
    context.sign().as_ref().to_vec()
}

/// Whether `signature` in hexadecimal is the HMAC-SHA256 of `parts`. Says no to an empty secret.
pub(crate) fn is_hmac_sha256_hex(secret: &[u8], parts: &[&[u8]], signature: &str) -> bool {
    !secret.is_empty()
        && unhex(signature).is_some_and(|given| hmac::verify(&Key::new(HMAC_SHA256, secret), &parts.concat(), &given).is_ok())
}

/// Whether `signature` is the HMAC-SHA256 of `parts`. Says no to an empty secret.
pub(crate) fn is_hmac_sha256(secret: &[u8], parts: &[&[u8]], signature: &[u8]) -> bool {
    !secret.is_empty() && hmac::verify(&Key::new(HMAC_SHA256, secret), &parts.concat(), signature).is_ok()
}

/// Whether `signature` in hexadecimal is the HMAC-SHA1 of `parts`, for platforms that have nothing better.
pub(crate) fn is_hmac_sha1_hex(secret: &[u8], parts: &[&[u8]], signature: &str) -> bool {
    let key = Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    !secret.is_empty() && unhex(signature).is_some_and(|given| hmac::verify(&key, &parts.concat(), &given).is_ok())
}

/// Whether two secrets are the same, in a time that does not tell where they differ.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    let key = Key::new(HMAC_SHA256, b"compare");
    let tag = hmac::sign(&key, one.as_bytes());
    hmac::verify(&key, other.as_bytes(), tag.as_ref()).is_ok()
}

/// Whether a time is near enough to now.
pub(crate) fn is_recent(at_ms: i64, now_ms: i64) -> bool {
    at_ms.abs_diff(now_ms) <= WINDOW_MS.unsigned_abs()
}

/// In hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if digits.len() > 256 || !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    digits.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// What was seen within the window: a request that comes twice is a replay, or one that the platform repeats.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Never held across an await.
    known: Mutex<Known>,
}

/// When each came, and in what order.
type Known = (HashMap<String, i64>, VecDeque<(i64, String)>);

/// What [`Seen::first`] finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    /// It was not seen yet.
    Yes,
    /// It was.
    No,
    /// Too many were seen to tell.
    Full,
}

impl Seen {
    /// Whether this comes for the first time within twice the window. Remembers it.
    pub(crate) fn first(&self, id: &str, now_ms: i64) -> First {
        let mut guard = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, order) = &mut *guard;
        // A signed time may lie in the future by the window, and stays good for the window after that.
        while order.front().is_some_and(|(at, _)| now_ms - at > 2 * WINDOW_MS) {
            if let Some((_, oldest)) = order.pop_front() {
                known.remove(&oldest);
            }
        }
        if known.contains_key(id) {
            return First::No;
        }
        if known.len() >= SEEN_MAX {
            return First::Full;
        }
        known.insert(id.to_owned(), now_ms);
        order.push_back((now_ms, id.to_owned()));
        First::Yes
    }

    /// Forgets one again: what it asked for did not come to pass, and it may be sent once more.
    pub(crate) fn forget(&self, id: &str) {
        let mut guard = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        guard.0.remove(id);
        guard.1.retain(|(_, known)| known != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_of_everything() {
        // RFC 4231, test case 2.
        let expect = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(&hmac_sha256(b"Jefe", &[b"what do ya want ", b"for nothing?"])), expect);
        assert!(is_hmac_sha256_hex(b"Jefe", &[b"what do ya want ", b"for nothing?"], expect));
        assert!(is_hmac_sha256_hex(b"Jefe", &[b"what do ya want for nothing?"], &expect.to_uppercase()));
        for (secret, text, given) in [
            ("Jefe", "what do ya want for nothing!", expect),
            ("jefe", "what do ya want for nothing?", expect),
            ("Jefe", "what do ya want for nothing?", &expect[..62]),
            ("Jefe", "what do ya want for nothing?", ""),
            ("Jefe", "what do ya want for nothing?", "zz"),
            ("Jefe", "what do ya want for nothing?", "5"),
        ] {
            assert!(!is_hmac_sha256_hex(secret.as_bytes(), &[text.as_bytes()], given), "{given}");
        }
        let empty = hex(&hmac_sha256(b"", &[b"x"]));
        assert!(!is_hmac_sha256_hex(b"", &[b"x"], &empty), "no secret is no proof");
        // RFC 2202, test case 2.
        assert!(is_hmac_sha1_hex(b"Jefe", &[b"what do ya want for nothing?"], "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"));
        assert!(is_same("abc", "abc") && !is_same("abc", "abd") && !is_same("abc", "ab"));
    }

    #[test]
    fn a_replay_is_one_for_as_long_as_its_time_is_good() {
        let seen = Seen::default();
        assert_eq!(seen.first("a", 0), First::Yes);
        assert_eq!(seen.first("a", 2 * WINDOW_MS), First::No);
        assert_eq!(seen.first("a", 2 * WINDOW_MS + 1), First::Yes);
        seen.forget("a");
        assert_eq!(seen.first("a", 2 * WINDOW_MS + 2), First::Yes);
        assert!(is_recent(WINDOW_MS, 0) && is_recent(-WINDOW_MS, 0) && !is_recent(WINDOW_MS + 1, 0) && !is_recent(i64::MIN, i64::MAX));
        let full = Seen::default();
        for n in 0..SEEN_MAX {
            assert_eq!(full.first(&n.to_string(), 5), First::Yes);
        }
        assert_eq!(full.first("one more", 5), First::Full);
    }
}
