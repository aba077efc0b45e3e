//! Tokens that an issuer signed: read strictly, believed only when everything fits.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Bytes that a token may have.
const TOKEN_BYTES_MAX: usize = 64 << 10;
/// How far the issuer's clock may be from ours, in seconds.
const CLOCK_SLACK_S: u64 = 60;
/// The oldest token that is taken, in seconds: it is asked for in the moment in which it is made.
const AGE_MAX_S: u64 = 600;
/// Keys of one issuer.
const KEYS_MAX: usize = 64;

/// Why a token is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum JwtError {
    /// Not three parts of base64, or not the JSON that it should be.
    #[error("the token is malformed")]
    Malformed,
    /// A way of signing that is not taken, `none` above all.
    #[error("the token is signed in a way that is not taken")]
    Algorithm,
    /// No key of the issuer has this name.
    #[error("the token is signed with an unknown key")]
    UnknownKey,
    /// The signature is not that of the key.
    #[error("the token's signature is wrong")]
    Signature,
    /// Another issuer.
    #[error("the token is of another issuer")]
    Issuer,
    /// For somebody else.
    #[error("the token is for another client")]
    Audience,
    /// Over, too old, or from the future.
    #[error("the token is not good at this time")]
    Time,
    /// Of another login.
    #[error("the token belongs to another login")]
    Nonce,
}

/// What a token says.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) sub: String,
    aud: Value,
    exp: f64,
    iat: Option<f64>,
    nbf: Option<f64>,
    azp: Option<String>,
    nonce: Option<String>,
    #[serde(default)]
    email: String,
    /// A token that says anything but `true` here says that nobody has checked.
    email_verified: Option<Value>,
    pub(super) name: Option<String>,
    #[serde(flatten)]
    pub(super) rest: Map<String, Value>,
}

impl Claims {
    /// The address, if the issuer says that it is theirs.
    pub(super) fn own_email(&self) -> String {
        let is_own = self.email_verified == Some(Value::Bool(true));
        if is_own { self.email.trim().to_lowercase() } else { String::new() }
    }
}

/// The issuer's keys.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Keys {
    keys: Vec<Value>,
}

#[derive(Debug, Deserialize)]
struct Key {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood; none are.
    crit: Option<Value>,
}

/// What a token must say to be believed.
pub(super) struct Expect<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
    /// Seconds since 1970.
    pub(super) now_s: u64,
}

/// Reads and checks a token.
pub(super) fn verify(token: &str, keys: &Keys, expect: &Expect<'_>) -> Result<Claims, JwtError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(JwtError::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(JwtError::Malformed)?;
    let (head, body) = signed.split_once('.').filter(|(_, body)| !body.contains('.')).ok_or(JwtError::Malformed)?;
    let head: Head = json(head)?;
    if head.crit.is_some() {
        return Err(JwtError::Algorithm);
    }
    let signature = bytes(signature)?;
    check_signature(&head, keys, signed.as_bytes(), &signature)?;
    let claims: Claims = json(body)?;
    check_claims(&claims, expect)?;
    Ok(claims)
}

fn check_signature(head: &Head, keys: &Keys, signed: &[u8], signature: &[u8]) -> Result<(), JwtError> {
    let kty = match head.alg.as_str() {
        "RS256" => "RSA",
        "ES256" => "EC",
        _ => return Err(JwtError::Algorithm),
    };
    let suits = |key: &Key| {
        key.kty == kty
            && key.usage.as_deref().is_none_or(|usage| usage == "sig")
            && key.alg.as_deref().is_none_or(|alg| alg == head.alg)
            && (head.kid.is_none() || key.kid == head.kid)
    };
    // A key that cannot be read is none, and does not spoil the others.
    let all = keys.keys.iter().take(KEYS_MAX).filter_map(|key| Key::deserialize(key).ok());
    let mut fitting = all.filter(suits).peekable();
    if fitting.peek().is_none() {
        return Err(JwtError::UnknownKey);
    }
    if fitting.any(|key| key.is_by(signed, signature)) { Ok(()) } else { Err(JwtError::Signature) }
}

impl Key {
    fn is_by(&self, signed: &[u8], signature: &[u8]) -> bool {
        let part = |text: &Option<String>| text.as_deref().and_then(|text| bytes(text).ok());
        match (self.kty.as_str(), part(&self.n), part(&self.e), part(&self.x), part(&self.y)) {
            ("RSA", Some(n), Some(e), ..) => {
                // ring takes numbers without leading zeros.
                let n = &n[n.iter().take_while(|b| **b == 0).count()..];
                RsaPublicKeyComponents { n, e: &e[..] }.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature).is_ok()
            }
            ("EC", _, _, Some(x), Some(y)) if self.crv.as_deref() == Some("P-256") && x.len() == 32 && y.len() == 32 => {
                let point: Vec<u8> = [4].into_iter().chain(x).chain(y).collect();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature).is_ok()
            }
            _ => false,
        }
    }
}

fn check_claims(claims: &Claims, expect: &Expect<'_>) -> Result<(), JwtError> {
    if claims.iss != expect.issuer || claims.sub.is_empty() {
        return Err(JwtError::Issuer);
    }
    let is_us = |value: &Value| value.as_str() == Some(expect.client_id);
    let (is_for_us, is_for_others) = match &claims.aud {
        Value::Array(all) => (all.iter().any(is_us), all.len() > 1),
        one => (is_us(one), false),
    };
    let party = claims.azp.as_deref();
    if !is_for_us || (is_for_others && party.is_none()) || party.is_some_and(|party| party != expect.client_id) {
        return Err(JwtError::Audience);
    }
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
    let (now, slack, age) = (expect.now_s as f64, CLOCK_SLACK_S as f64, AGE_MAX_S as f64);
    let is_over = claims.exp + slack <= now;
    let is_early = claims.nbf.is_some_and(|from| from > now + slack);
    let is_strange = claims.iat.is_some_and(|at| at > now + slack || at + age < now);
    if is_over || is_early || is_strange {
        return Err(JwtError::Time);
    }
    if claims.nonce.as_deref() != Some(expect.nonce) {
        return Err(JwtError::Nonce);
    }
    Ok(())
}

fn bytes(text: &str) -> Result<Vec<u8>, JwtError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| JwtError::Malformed)
}

fn json<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, JwtError> {
    serde_json::from_slice(&bytes(part)?).map_err(|_| JwtError::Malformed)
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use serde_json::json;

    use super::*;

    const EXPECT: Expect<'static> = Expect { issuer: "https://id", client_id: "lazaret", nonce: "n", now_s: 1_000_000 };

    struct Signer {
        pair: EcdsaKeyPair,
        random: SystemRandom,
    }

    impl Signer {
        fn new() -> Self {
            let random = SystemRandom::new();
            let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random).expect("a key");
            Self { pair, random }
        }

        fn keys(&self, kid: &str) -> Keys {
            let point = self.pair.public_key().as_ref();
            let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            let key = json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": part(&point[1..33]), "y": part(&point[33..]) });
            Keys { keys: vec![json!({ "kty": "odd" }), key] }
        }

        fn sign(&self, head: &Value, claims: &Value) -> String {
            let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let signed = format!("{}.{}", part(head), part(claims));
            let signature = self.pair.sign(&self.random, signed.as_bytes()).expect("signed");
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
        }
    }

    fn claims() -> Value {
        json!({ "iss": "https://id", "sub": "u1", "aud": "lazaret", "exp": 1_000_300, "iat": 1_000_000, "nonce": "n" })
    }

    fn with(field: &str, value: Value) -> Value {
        let mut all = claims();
        all[field] = value;
        all
    }

    #[test]
    fn only_what_fits_in_everything_is_believed() {
        let signer = Signer::new();
        let keys = signer.keys("k1");
        let head = json!({ "alg": "ES256", "kid": "k1" });
        let check = |claims: Value, expect: Result<(), JwtError>| {
            let token = signer.sign(&head, &claims);
            assert_eq!(verify(&token, &keys, &EXPECT).map(drop), expect, "{claims}");
        };
        check(claims(), Ok(()));
        check(with("aud", json!(["lazaret"])), Ok(()));
        check(with("iss", json!("https://id/")), Err(JwtError::Issuer));
        check(with("sub", json!("")), Err(JwtError::Issuer));
        check(with("aud", json!("other")), Err(JwtError::Audience));
        check(with("aud", json!(["lazaret", "other"])), Err(JwtError::Audience));
        check(with("azp", json!("other")), Err(JwtError::Audience));
        check(with("exp", json!(999_000)), Err(JwtError::Time));
        check(with("exp", json!("soon")), Err(JwtError::Malformed));
        check(with("iat", json!(1_000_100)), Err(JwtError::Time));
        check(with("iat", json!(900_000)), Err(JwtError::Time));
        check(with("nbf", json!(1_000_100)), Err(JwtError::Time));
        check(with("nonce", json!("m")), Err(JwtError::Nonce));
        check(with("nonce", Value::Null), Err(JwtError::Nonce));
    }

    #[test]
    fn no_way_around_the_signature() {
        let (signer, other) = (Signer::new(), Signer::new());
        let keys = signer.keys("k1");
        let check = |token: &str, expect: JwtError| assert_eq!(verify(token, &keys, &EXPECT).map(drop), Err(expect), "{token}");
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let unsigned = format!("{}.{}.", part(&json!({ "alg": "none" })), part(&claims()));
        check(&unsigned, JwtError::Algorithm);
        check(&signer.sign(&json!({ "alg": "HS256", "kid": "k1" }), &claims()), JwtError::Algorithm);
        check(&signer.sign(&json!({ "alg": "RS256", "kid": "k1" }), &claims()), JwtError::UnknownKey);
        check(&signer.sign(&json!({ "alg": "ES256", "kid": "k2" }), &claims()), JwtError::UnknownKey);
        check(&signer.sign(&json!({ "alg": "ES256", "kid": "k1", "crit": ["x"] }), &claims()), JwtError::Algorithm);
        check(&other.sign(&json!({ "alg": "ES256", "kid": "k1" }), &claims()), JwtError::Signature);
        let good = signer.sign(&json!({ "alg": "ES256" }), &claims());
        assert!(verify(&good, &keys, &EXPECT).is_ok(), "a token that names no key is tried with each");
        let (head, rest) = good.split_once('.').expect("parts");
        let (_, signature) = rest.split_once('.').expect("parts");
        check(&format!("{head}.{}.{signature}", part(&with("sub", json!("u2")))), JwtError::Signature);
        for bad in ["", ".", "..", "a.b.c", &format!("{good}.x"), &"a".repeat(TOKEN_BYTES_MAX + 1)] {
            check(bad, JwtError::Malformed);
        }
    }

    /// A key of 2048 bits that was made for this test, its other half forgotten, and what it has signed of [`claims`].
    const RSA_MODULUS: &str = "mq-PMvM97PTbniF3f9_rFFOVDDQ07QMePPD52_lkea-7jVE3bE2SxpQJBjGhsUVsQJXfVh5ZBLTzBSxX1SAh8YPrxZ_L9tSygarhb8DVcG6st8\
         UoxyLx5N-CPIea4OyH1KVkcDhACcKUNA-ZlT_OI5o1AHBqhxxTkWRaPXr7NIorPb6vKFFdnP1cQMoD6ITqzM1iGmRN_NarwbxeG4Nr0fSgfOR6\
         aL31Umjy5-a17fmIKrtX6nVR02To7BdOpA1-ePvJOmjzSDDitBV_T_VhdkbJ0ad0uTXM1zCla_VQOyUcPHg4ZTu84gifoi1tmhu8Tr61RbJ-lR\
         ymiGGoKCzXaQ";
    const RSA_TOKEN: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InIxIn0.eyJpc3MiOiJodHRwczovL2lkIiwic3ViIjoidTEiLCJhdWQiOiJsYXphcmV0IiwiZXhwIjoxMD\
         AwMzAwLCJpYXQiOjEwMDAwMDAsIm5vbmNlIjoibiJ9.MojKGNuGkG_ApOM_PAfup2NPulo3fcHPz4lJtqiXB-p2V4UEUxz5LwFomF5WqIBdESp\
         XPkISQZyZoyx4bfmdFXl1sZOHSJIC3W0LY4JBIwRW55OCJJn_6xRSX_sunyI0dEVuPi_N_Z-U-7cObCOP1_EpByFVSPFCmi6FQV4WBDTPJOFjU\
         91VNArdNXYbOq_ySRG3l-kyvDXfE0cDie0dizoFPN9rPfkjXqtWxPTHR0UluhiFvf017FQgiTh7rF5TLGWrmDshh7cl4lNJCXjUc2JJ7BVfIzl\
         qldhszRkSuevNbrFm9gfzmTzVW-hdwqLfloqBbeaFH7mmrglBp2W4Fw";

    #[test]
    fn what_an_rsa_key_signed_is_believed() {
        let key = |n: &str| Keys { keys: vec![json!({ "kty": "RSA", "kid": "r1", "n": n, "e": "AQAB" })] };
        let told = verify(RSA_TOKEN, &key(RSA_MODULUS), &EXPECT).expect("it is signed");
        assert_eq!(told.sub, "u1");
        let (signed, signature) = RSA_TOKEN.rsplit_once('.').expect("parts");
        let bent = |at: usize| {
            let mut bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64");
            bytes[at] ^= 1;
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes))
        };
        for token in [bent(0), bent(100), bent(255), format!("{signed}."), format!("{signed}.AAAA")] {
            assert_eq!(verify(&token, &key(RSA_MODULUS), &EXPECT).map(drop), Err(JwtError::Signature), "{token}");
        }
        let other = format!("w{}", &RSA_MODULUS[1..]);
        assert_eq!(verify(RSA_TOKEN, &key(&other), &EXPECT).map(drop), Err(JwtError::Signature));
        // Too short to be safe, whatever it signed.
        assert!(verify(RSA_TOKEN, &key(&RSA_MODULUS[..100]), &EXPECT).is_err());
    }
}
