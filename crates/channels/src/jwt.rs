//! Signed tokens (JWS with RS256): those that platforms send with a webhook are checked against the platform's published keys,
//! and those that accounts prove themselves with are made. Nothing but RS256 is taken: a token says which algorithm it wants,
//! and a reader that obeys it can be told `none`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents};
use serde::Deserialize;
use serde_json::Value;

/// How far the platform's clock may be from ours, in seconds: what Bot Framework and Google allow.
pub(crate) const SKEW_S: i64 = 300;
/// The longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// Keys that a platform may publish at once.
const KEYS_MAX: usize = 64;
/// The longest life that a token of ours has, in seconds; GitHub and Google allow no more than 600 and 3600.
const LIFE_S: i64 = 540;

/// Why a token was refused or could not be made.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JwtError {
    /// It has not three parts, or they are not what they should be.
    #[error("read the token: its form is wrong")]
    Form,
    /// It wants another algorithm.
    #[error("read the token: it is not signed with RS256")]
    Algorithm,
    /// No published key has its id.
    #[error("find the key of the token")]
    Key,
    /// The signature is not of that key.
    #[error("check the signature of the token")]
    Signature,
    /// Someone else made it, or for someone else.
    #[error("accept the token: its {0} is another's")]
    Claim(&'static str),
    /// It is not valid yet, or no longer.
    #[error("accept the token: it is out of its time")]
    Time,
    /// A private key cannot be read.
    #[error("read the private key: {0}")]
    Private(&'static str),
}

/// A published key.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Jwk {
    #[serde(default)]
    kid: String,
    #[serde(default)]
    kty: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    /// Bot Framework: the channels that the key may speak for.
    #[serde(default)]
    pub(crate) endorsements: Vec<String>,
}

/// The keys of a platform.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Jwks {
    #[serde(default)]
    keys: Vec<Jwk>,
}

/// Whom a token must come from and be for.
#[derive(Debug, Clone)]
pub(crate) struct Rules<'a> {
    /// The one `iss`.
    pub(crate) issuers: &'a [&'a str],
    /// The one `aud`.
    pub(crate) audience: &'a str,
}

/// A token that was checked.
#[derive(Debug)]
pub(crate) struct Checked<'k> {
    /// What it says.
    pub(crate) claims: Value,
    /// The key that signed it.
    pub(crate) key: &'k Jwk,
}

#[derive(Deserialize)]
struct Head {
    alg: String,
    #[serde(default)]
    kid: String,
}

impl Jwks {
    /// Reads a key set; more keys than [`KEYS_MAX`] are refused.
    pub(crate) fn read(body: &[u8]) -> Result<Self, JwtError> {
        let all: Self = serde_json::from_slice(body).map_err(|_| JwtError::Form)?;
        if all.keys.is_empty() || all.keys.len() > KEYS_MAX { Err(JwtError::Form) } else { Ok(all) }
    }

    /// Checks a token: its algorithm, its signature, whom it is from and for, and its time.
    pub(crate) fn check(&self, token: &str, rules: &Rules<'_>, now_s: i64) -> Result<Checked<'_>, JwtError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(JwtError::Form);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(JwtError::Form)?;
        let (head, claims) = signed.split_once('.').ok_or(JwtError::Form)?;
        let head: Head = part(head)?;
        if head.alg != "RS256" {
            return Err(JwtError::Algorithm);
        }
        let key = self.keys.iter().find(|key| key.kty == "RSA" && !key.kid.is_empty() && key.kid == head.kid).ok_or(JwtError::Key)?;
        let (n, e) = (decode(&key.n)?, decode(&key.e)?);
        RsaPublicKeyComponents { n: &n, e: &e }
            .verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &decode(signature)?)
            .map_err(|_| JwtError::Signature)?;
        let claims: Value = part(claims)?;
        rules.hold(&claims, now_s)?;
        Ok(Checked { claims, key })
    }
}

impl Rules<'_> {
    fn hold(&self, claims: &Value, now_s: i64) -> Result<(), JwtError> {
        if !claims["iss"].as_str().is_some_and(|iss| self.issuers.contains(&iss)) {
            return Err(JwtError::Claim("issuer"));
        }
        // An audience of several would make the token good elsewhere too; the platforms here send one.
        if self.audience.is_empty() || claims["aud"].as_str() != Some(self.audience) {
            return Err(JwtError::Claim("audience"));
        }
        let seconds = |name: &str| claims[name].as_i64();
        let expires = seconds("exp").ok_or(JwtError::Time)?;
        let begins = seconds("nbf").or_else(|| seconds("iat"));
        if expires.saturating_add(SKEW_S) <= now_s || begins.is_some_and(|at| at.saturating_sub(SKEW_S) > now_s) {
            return Err(JwtError::Time);
        }
        Ok(())
    }
}

/// The token of a header `Authorization: Bearer ...`.
pub(crate) fn bearer(header: Option<&str>) -> Option<&str> {
    let (scheme, token) = header?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

/// A key that an account proves itself with.
pub(crate) struct PrivateKey(RsaKeyPair);

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey")
    }
}

impl PrivateKey {
    /// Reads a PEM of `PRIVATE KEY` (PKCS#8, as Google gives it) or `RSA PRIVATE KEY` (PKCS#1, as GitHub gives it).
    pub(crate) fn read(pem: &str) -> Result<Self, JwtError> {
        let mut lines = pem.lines().map(str::trim).skip_while(|line| !line.starts_with("-----BEGIN "));
        let label = lines.next().ok_or(JwtError::Private("it is no PEM"))?;
        let text: String = lines.take_while(|line| !line.starts_with("-----END ")).collect();
        let der = STANDARD.decode(text).map_err(|_| JwtError::Private("it is no base64"))?;
        let pair = match label {
            "-----BEGIN PRIVATE KEY-----" => RsaKeyPair::from_pkcs8(&der),
            "-----BEGIN RSA PRIVATE KEY-----" => RsaKeyPair::from_der(&der),
            _ => return Err(JwtError::Private("it is neither PRIVATE KEY nor RSA PRIVATE KEY")),
        };
        pair.map(Self).map_err(|_| JwtError::Private("it is no RSA key of 2048 bits or more"))
    }

    /// A token with these claims; `iat` and `exp` are added: a minute ago, for slow clocks, and nine minutes from now.
    pub(crate) fn sign(&self, mut claims: Value, now_s: i64) -> Result<String, JwtError> {
        claims["iat"] = (now_s - 60).into();
        claims["exp"] = (now_s + LIFE_S).into();
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(br#"{"alg":"RS256","typ":"JWT"}"#), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| JwtError::Private("it does not sign"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn decode(text: &str) -> Result<Vec<u8>, JwtError> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| JwtError::Form)
}

fn part<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, JwtError> {
    serde_json::from_slice(&decode(text)?).map_err(|_| JwtError::Form)
}
