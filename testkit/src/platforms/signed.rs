//! Requests as platforms sign them: HMACs, and tokens by a key that is made for tests.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents};
use serde_json::{Value, json};

use super::Channel;

/// The platform's key (PKCS#8), whose public half it publishes.
pub const PLATFORM_KEY: &str = include_str!("keys/platform.pem");
/// A key of somebody else's (PKCS#8).
pub const STRANGER_KEY: &str = include_str!("keys/stranger.pem");
/// The platform's key once more, in the form of PKCS#1.
pub const APP_KEY: &str = include_str!("keys/app.pem");

/// A request of a platform's to a webhook.
#[derive(Debug, Clone)]
pub struct Posted {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// What stands behind the account's own path.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Posted {
    /// A request that brings a body.
    #[must_use]
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        Self { method: "POST", path: String::new(), headers: Vec::new(), body: body.into() }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut posted = self.clone();
        posted.headers.push((name.to_owned(), value.to_owned()));
        posted
    }

    /// The same without a header.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        let mut posted = self.clone();
        posted.headers.retain(|(known, _)| known != name);
        posted
    }

    /// The same with another value of a header.
    #[must_use]
    pub fn changed(&self, name: &str, value: &str) -> Self {
        self.without(name).with(name, value)
    }

    /// Hands it to a channel; the answer is waited for there.
    pub fn post(&self, channel: &mut Channel, id: &str) {
        let headers: Vec<(&str, &str)> = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        channel.webhook(id, self.method, &self.path, &headers, &self.body);
    }

    /// Hands it to a channel that reports nothing of it, and waits for the status.
    #[track_caller]
    pub fn status(&self, channel: &mut Channel, id: &str) -> u16 {
        self.post(channel, id);
        channel.answer(id).0
    }
}

/// An HMAC-SHA256 in hexadecimal.
#[must_use]
pub fn hmac_sha256_hex(secret: &str, body: &[u8]) -> String {
    hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body).as_ref())
}

/// An HMAC-SHA256 in base64.
#[must_use]
pub fn hmac_sha256_base64(secret: &[u8], body: &[u8]) -> String {
    STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), body))
}

/// An HMAC-SHA1 in hexadecimal.
#[must_use]
pub fn hmac_sha1_hex(secret: &str, body: &[u8]) -> String {
    hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes()), body).as_ref())
}

/// A SHA-1 in hexadecimal.
#[must_use]
pub fn sha1_hex(text: &str) -> String {
    hex(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Seconds of the Unix epoch.
#[must_use]
pub fn now_s() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Now as in `2026-03-01T10:00:00.000Z`, moved by some seconds.
#[must_use]
pub fn date(offset_s: i64) -> String {
    let at = now_s() + offset_s;
    let (days, of_day) = (at.div_euclid(86_400), at.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * march + 2) / 5 + 1, if march < 10 { march + 3 } else { march - 9 });
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.000Z", of_day / 3_600, of_day / 60 % 60, of_day % 60)
}

/// A token that a key signs, under the id `kid`.
///
/// # Panics
/// The key is none.
#[must_use]
pub fn token(pem: &str, kid: &str, claims: &Value) -> String {
    token_with(pem, &json!({"alg": "RS256", "typ": "JWT", "kid": kid}), claims)
}

/// A token with any head.
///
/// # Panics
/// The key is none.
#[must_use]
pub fn token_with(pem: &str, head: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(head.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let pair = pair(pem);
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).expect("a signature");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The key set that publishes a key, with more fields of it.
///
/// # Panics
/// The key is none.
#[must_use]
pub fn key_set(pem: &str, kid: &str, more: &Value) -> Value {
    let parts: RsaPublicKeyComponents<Vec<u8>> = pair(pem).public().into();
    let mut key = json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": URL_SAFE_NO_PAD.encode(&parts.n), "e": URL_SAFE_NO_PAD.encode(&parts.e)});
    for (name, value) in more.as_object().into_iter().flatten() {
        key[name] = value.clone();
    }
    json!({"keys": [key]})
}

/// The claims of a token that the key signed; nothing when it did not, or when the token is out of its time.
#[must_use]
pub fn claims_of(pem: &str, token: &str) -> Option<Value> {
    let (signed, signature) = token.rsplit_once('.')?;
    let parts: RsaPublicKeyComponents<Vec<u8>> = pair(pem).public().into();
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    parts.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature).ok()?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(signed.split_once('.')?.1).ok()?).ok()?;
    let now = now_s();
    let in_time =
        claims["iat"].as_i64().is_some_and(|at| at <= now) && claims["exp"].as_i64().is_some_and(|at| at > now && at <= now + 600);
    in_time.then_some(claims)
}

fn pair(pem: &str) -> RsaKeyPair {
    let text: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(text).expect("base64");
    RsaKeyPair::from_pkcs8(&der).or_else(|_| RsaKeyPair::from_der(&der)).expect("a key")
}
