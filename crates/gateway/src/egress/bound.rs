//! Secrets that are bound to a host: the sandbox holds a placeholder, and only what goes to that host, by its method, path and
//! header, gets the value.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::head::{Head, Target};
use crate::Keys;
use crate::scrub::{Needles, Scrubber};

/// How every placeholder begins.
pub const PLACEHOLDER_PREFIX: &str = "lzs_";
/// Small letters and digits after that.
const PLACEHOLDER_TAIL: usize = 32;
/// A shorter value could not be told from ordinary text in what comes back.
const VALUE_BYTES_MIN: usize = 8;
/// A longer value does not fit into a header.
const VALUE_BYTES_MAX: usize = 8 << 10;
/// Headers in which a caller could bring credentials of its own to a bound host.
const OWN: &[&str] = &["authorization", "cookie", "x-api-key", "api-key", "x-auth-token", "private-token"];
/// Parameters of a query for the same.
const OWN_PARAMETERS: &[&str] = &[
    "access_token", "api_key", "apikey", "private_token", "oauth_token", "x-amz-credential", "x-amz-signature", "x-goog-signature", "sig",
];

/// Values whose spellings are kept at hand; beyond it all are made again.
const VALUES_MAX: usize = 64;

/// One secret, bound to one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// What the sandbox holds; see [`placeholder`].
    pub placeholder: String,
    /// The name of the secret, whose value the host gets.
    pub name: String,
    /// The host, canonical.
    pub host: String,
    /// The port.
    pub port: u16,
    /// A path prefix; every path without one.
    pub path: Option<String>,
    /// A method; every method without one.
    pub method: Option<String>,
    /// The header, in small letters.
    pub header: String,
}

/// Why a secret cannot be bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BoundError {
    /// Too short, too long, or with characters that a header does not have.
    #[error("bind a secret that has not {VALUE_BYTES_MIN} to {VALUE_BYTES_MAX} printable ASCII characters")]
    Value,
    /// Not of the form of [`placeholder`].
    #[error("bind a secret to something that is no placeholder")]
    Placeholder,
    /// Not the name of a header, or of one that belongs to the connection.
    #[error("bind a secret to a header that cannot carry one")]
    Header,
}

/// Whether a value can be put into a header, and be known when it comes back.
///
/// # Errors
/// [`BoundError::Value`].
pub fn check_value(value: &str) -> Result<(), BoundError> {
    let plain = value.bytes().all(|b| (b' '..=b'~').contains(&b)) && value.trim() == value;
    if plain && (VALUE_BYTES_MIN..=VALUE_BYTES_MAX).contains(&value.len()) { Ok(()) } else { Err(BoundError::Value) }
}

/// A placeholder made of these bits.
#[must_use]
pub fn placeholder(bits: [u8; 32]) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let tail = bits.iter().map(|b| char::from(LETTERS[usize::from(b & 31)]));
    PLACEHOLDER_PREFIX.chars().chain(tail).collect()
}

/// The secrets of one sandbox. A cheap handle; the default is none. Values are asked for with each request, so a new one is
/// in force at once.
#[derive(Clone, Default)]
pub struct BoundSecrets(Option<Arc<Held>>);

struct Held {
    all: RwLock<Arc<Vec<Bound>>>,
    keys: Arc<dyn Keys>,
    /// The spellings of values, by digest. Held for single map operations.
    needles: Mutex<HashMap<[u8; 32], Arc<Needles>>>,
}

impl std::fmt::Debug for BoundSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BoundSecrets({})", self.all().len())
    }
}

/// Why a request is refused that has a placeholder or a credential of the caller's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misplaced {
    /// In the address.
    Address,
    /// In a header that it is not bound to, or towards another host, path or method, or it is that of another sandbox.
    Header,
    /// In the body.
    Body,
    /// A credential of the caller's own in the query, towards a host that a secret is bound to.
    Own,
    /// In its place, but there is no value that could be put in.
    Value,
}

impl BoundSecrets {
    /// Checks and keeps them; `keys` gives the values.
    ///
    /// # Errors
    /// [`BoundError`].
    pub fn new(all: Vec<Bound>, keys: Arc<dyn Keys>) -> Result<Self, BoundError> {
        check(&all)?;
        Ok(Self(Some(Arc::new(Held { all: RwLock::new(Arc::new(all)), keys, needles: Mutex::default() }))))
    }

    /// From now on these are bound, for every connection; without effect on the default.
    ///
    /// # Errors
    /// [`BoundError`]; those before stay.
    pub fn replace(&self, all: Vec<Bound>) -> Result<(), BoundError> {
        check(&all)?;
        if let Some(held) = &self.0 {
            *held.all.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(all);
        }
        Ok(())
    }

    fn all(&self) -> Arc<Vec<Bound>> {
        self.0.as_ref().map(|held| Arc::clone(&held.all.read().unwrap_or_else(PoisonError::into_inner))).unwrap_or_default()
    }

    /// Whether one is bound to this host and port.
    pub(super) fn has(&self, target: &Target) -> bool {
        self.all().iter().any(|bound| is_for(bound, target))
    }

    fn value(&self, name: &str) -> Option<Zeroizing<String>> {
        self.0.as_ref()?.keys.key(name).filter(|value| check_value(value).is_ok())
    }

    fn needles(&self, value: &str) -> Option<Arc<Needles>> {
        let held = self.0.as_ref()?;
        let digest: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(value.as_bytes()).into();
        if let Some(known) = held.needles.lock().unwrap_or_else(PoisonError::into_inner).get(&digest) {
            return Some(Arc::clone(known));
        }
        let made = Arc::new(Needles::new(value)?);
        let mut needles = held.needles.lock().unwrap_or_else(PoisonError::into_inner);
        if needles.len() >= VALUES_MAX {
            needles.clear();
        }
        needles.insert(digest, Arc::clone(&made));
        Some(made)
    }

    /// What must not come back from this host.
    pub(super) fn scrubbers(&self, target: &Target) -> Scrubbers {
        let mut names: Vec<&str> = Vec::new();
        let all = self.all();
        for bound in all.iter().filter(|bound| is_for(bound, target)) {
            if !names.contains(&bound.name.as_str()) {
                names.push(&bound.name);
            }
        }
        let needles: Vec<_> = names.into_iter().filter_map(|name| self.needles(&self.value(name)?)).collect();
        Scrubbers { all: needles.iter().map(|one| Scrubber::new(Arc::clone(one))).collect(), needles }
    }

    /// Puts the values in where they belong. `path` is the canonical one, if there is one; `is_sealed` says that the request
    /// travels by TLS.
    pub(super) fn swap(&self, head: &mut Head, resource: &str, path: Option<&str>, is_sealed: bool) -> Result<(), Misplaced> {
        if find(resource.as_bytes()).is_some() {
            return Err(Misplaced::Address);
        }
        let (target, method) = (head.target.clone(), head.method.clone());
        let is_bound = self.has(&target);
        if is_bound && has_own_parameter(resource) {
            return Err(Misplaced::Own);
        }
        let fits = |bound: &Bound, name: &str, token: &str| {
            let fitting_path = match (&bound.path, path) {
                (None, _) => true,
                (Some(own), Some(path)) => {
                    path.strip_prefix(own.as_str()).is_some_and(|rest| rest.is_empty() || own.ends_with('/') || rest.starts_with('/'))
                }
                (Some(_), None) => false,
            };
            let fitting_method = bound.method.as_ref().is_none_or(|own| *own == method);
            is_sealed && bound.header == name && bound.placeholder == token && fitting_path && fitting_method
        };
        let all = self.all();
        let value_of = |name: &str, token: &str| {
            let bound = all.iter().find(|bound| is_for(bound, &target) && fits(bound, name, token)).ok_or(Misplaced::Header)?;
            self.value(&bound.name).ok_or(Misplaced::Value)
        };
        let mut fields = Vec::with_capacity(head.fields.len());
        for (name, value) in std::mem::take(&mut head.fields) {
            match replaced(&name, &value, &value_of)? {
                Some(value) => fields.push((name, value)),
                None if is_bound && self.is_own(&target, &name) => {}
                None => fields.push((name, value)),
            }
        }
        head.fields = fields;
        Ok(())
    }

    /// Whether a caller's own credentials could travel to the host in this header.
    fn is_own(&self, target: &Target, name: &str) -> bool {
        OWN.contains(&name) || self.all().iter().any(|bound| is_for(bound, target) && bound.header == name)
    }
}

fn is_for(bound: &Bound, target: &Target) -> bool {
    bound.host == target.host && bound.port == target.port
}

fn check(all: &[Bound]) -> Result<(), BoundError> {
    for bound in all {
        check_header(&bound.header)?;
        if find(bound.placeholder.as_bytes()) != Some((0, bound.placeholder.len())) {
            return Err(BoundError::Placeholder);
        }
    }
    Ok(())
}

/// Whether a header can carry a secret.
///
/// # Errors
/// [`BoundError::Header`].
pub fn check_header(name: &str) -> Result<(), BoundError> {
    let connection = [
        "host", "connection", "content-length", "transfer-encoding", "upgrade", "expect", "te", "trailer", "range", "accept-encoding",
        "proxy-authorization",
    ];
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) || connection.contains(&name) {
        return Err(BoundError::Header);
    }
    Ok(())
}

/// The value with its placeholders replaced; `None` when it has none.
fn replaced(
    name: &str,
    value: &str,
    value_of: &impl Fn(&str, &str) -> Result<Zeroizing<String>, Misplaced>,
) -> Result<Option<String>, Misplaced> {
    if let Some((from, to)) = find(value.as_bytes()) {
        let secret = value_of(name, &value[from..to])?;
        // What follows may hold another one.
        let rest = replaced(name, &value[to..], value_of)?.unwrap_or_else(|| value[to..].to_owned());
        return Ok(Some(format!("{}{}{rest}", &value[..from], secret.as_str())));
    }
    let Some((scheme, coded)) = value.split_once(' ') else { return Ok(None) };
    if !scheme.eq_ignore_ascii_case("basic") {
        return Ok(None);
    }
    let coded = coded.trim_matches([' ', '=']);
    let Ok(decoded) = base64::engine::general_purpose::STANDARD_NO_PAD.decode(coded) else { return Ok(None) };
    let Some((from, to)) = find(&decoded) else { return Ok(None) };
    let token = std::str::from_utf8(&decoded[from..to]).map_err(|_| Misplaced::Header)?;
    let secret = value_of(name, token)?;
    if find(&decoded[to..]).is_some() {
        return Err(Misplaced::Header);
    }
    let whole = Zeroizing::new([&decoded[..from], secret.as_bytes(), &decoded[to..]].concat());
    Ok(Some(format!("Basic {}", STANDARD.encode(&*whole))))
}

fn has_own_parameter(resource: &str) -> bool {
    let Some((_, query)) = resource.split_once('?') else { return false };
    let name = |pair: &str| pair.split_once('=').map_or(pair, |(name, _)| name).to_ascii_lowercase();
    query.split('&').map(name).any(|name| OWN_PARAMETERS.contains(&name.as_str()))
}

/// Where the first placeholder stands, of whichever sandbox.
fn find(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut finder = Finder::default();
    let length = PLACEHOLDER_PREFIX.len() + PLACEHOLDER_TAIL;
    bytes.iter().position(|b| finder.step(*b)).map(|last| (last + 1 - length, last + 1))
}

/// Looks for placeholders in a stream.
#[derive(Debug, Default)]
pub(super) struct Finder {
    /// Bytes of a placeholder that were seen.
    seen: usize,
    /// How the tail so far ends: bytes of a further beginning.
    again: usize,
}

impl Finder {
    /// Whether a placeholder ends in these bytes or one of those before.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> bool {
        bytes.iter().any(|byte| self.step(*byte))
    }

    fn step(&mut self, byte: u8) -> bool {
        let prefix = PLACEHOLDER_PREFIX.as_bytes();
        if self.seen < prefix.len() {
            self.seen = if byte == prefix[self.seen] { self.seen + 1 } else { usize::from(byte == prefix[0]) };
            self.again = 0;
            return false;
        }
        self.again = match prefix.get(self.again) {
            Some(expected) if *expected == byte => self.again + 1,
            _ => usize::from(byte == prefix[0]),
        };
        if byte.is_ascii_lowercase() || byte.is_ascii_digit() {
            self.seen += 1;
            if self.seen == prefix.len() + PLACEHOLDER_TAIL {
                (self.seen, self.again) = (0, 0);
                return true;
            }
        } else {
            // What was taken for the tail may have begun another one.
            self.seen = self.again;
            self.again = 0;
        }
        false
    }
}

/// Takes values out of what comes back from one host.
pub(super) struct Scrubbers {
    all: Vec<Scrubber>,
    needles: Vec<Arc<Needles>>,
}

impl Scrubbers {
    /// Whether there is nothing to take out.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// A text that is whole.
    pub(super) fn whole(&self, text: &mut [u8]) {
        self.needles.iter().for_each(|needles| needles.scrub_whole(text));
    }

    /// The next piece of a stream, as far as it may pass.
    pub(super) fn feed(&mut self, piece: bytes::Bytes) -> bytes::Bytes {
        self.all.iter_mut().fold(piece, |piece, scrubber| scrubber.feed(piece))
    }

    /// What is still held at its end.
    pub(super) fn finish(&mut self) -> bytes::Bytes {
        let mut held = bytes::BytesMut::new();
        for at in 0..self.all.len() {
            let mut piece = self.all[at].finish();
            for later in &mut self.all[at + 1..] {
                piece = later.feed(piece);
            }
            held.extend_from_slice(&piece);
        }
        held.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::head::parse_head;

    struct Values;

    impl Keys for Values {
        fn key(&self, name: &str) -> Option<Zeroizing<String>> {
            match name {
                "short" => Some(Zeroizing::new("short".to_owned())),
                name => name.strip_prefix("secret-").map(|n| Zeroizing::new(format!("real-value-{n}"))),
            }
        }
    }

    fn secrets(all: Vec<Bound>) -> BoundSecrets {
        BoundSecrets::new(all, Arc::new(Values)).unwrap()
    }

    fn token(n: u8) -> String {
        placeholder([n; 32])
    }

    fn bound(n: u8, path: Option<&str>, method: Option<&str>, header: &str) -> Bound {
        Bound {
            placeholder: token(n),
            name: format!("secret-{n}"),
            host: "api.test".to_owned(),
            port: 443,
            path: path.map(str::to_owned),
            method: method.map(str::to_owned),
            header: header.to_owned(),
        }
    }

    fn swap(secrets: &BoundSecrets, host: &str, line: &str, fields: &str) -> Result<String, Misplaced> {
        let target = Target { host: host.to_owned(), port: 443 };
        let text = format!("{line} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n\r\n");
        let (mut head, _) = parse_head(text.as_bytes(), Some(&target)).unwrap().unwrap();
        let super::super::head::Aim::Resource(resource) = head.aim.clone() else { panic!("a path") };
        let path = super::super::path::canonical_path(&resource).ok();
        secrets.swap(&mut head, &resource, path.as_deref(), true)?;
        Ok(head.fields.iter().map(|(n, v)| format!("{n}: {v}")).collect::<Vec<_>>().join("|"))
    }

    #[test]
    fn a_value_goes_to_its_place_alone() {
        let secrets = secrets(vec![bound(1, Some("/v1"), Some("GET"), "authorization"), bound(2, None, None, "x-key")]);
        let (one, two) = (token(1), token(2));
        let auth = format!("Authorization: Bearer {one}");
        assert_eq!(swap(&secrets, "api.test", "GET /v1/x", &auth), Ok("authorization: Bearer real-value-1".to_owned()));
        assert_eq!(swap(&secrets, "api.test", "POST /any", &format!("X-Key: {two}")), Ok("x-key: real-value-2".to_owned()));
        for (host, line, fields) in [
            ("api.test", "POST /v1/x", auth.clone()),
            ("api.test", "GET /v2", auth.clone()),
            ("api.test", "GET /v1x", auth.clone()),
            ("api.test", "GET /v1/../v2", auth.clone()),
            ("evil.test", "GET /v1/x", auth.clone()),
            ("api.test", "GET /v1/x", format!("X-Other: {one}")),
            ("api.test", "GET /v1/x", format!("X-Key: {one}")),
            ("api.test", "GET /v1/x", format!("Authorization: Bearer {}", token(9))),
            ("evil.test", "GET /v1/x", format!("Authorization: Basic {}", STANDARD.encode(format!("x:{one}")))),
            ("api.test", "GET /v1/x", format!("Authorization: Basic {}", STANDARD.encode(format!("{one}:{two}")))),
        ] {
            assert_eq!(swap(&secrets, host, line, &fields), Err(Misplaced::Header), "{host} {line} {fields}");
        }
        assert_eq!(swap(&secrets, "api.test", &format!("GET /v1?k={one}"), "X: y"), Err(Misplaced::Address));
    }

    #[test]
    fn names_and_passwords_are_looked_into() {
        let secrets = secrets(vec![bound(1, None, None, "authorization")]);
        for plain in [format!("git:{}", token(1)), format!("{}:", token(1))] {
            let got = swap(&secrets, "api.test", "GET /", &format!("Authorization: basic {}", STANDARD.encode(&plain))).unwrap();
            let coded = got.strip_prefix("authorization: Basic ").unwrap();
            let expect = plain.replace(&token(1), "real-value-1");
            assert_eq!(String::from_utf8(STANDARD.decode(coded).unwrap()).unwrap(), expect);
        }
    }

    #[test]
    fn credentials_of_the_callers_own_go_no_further() {
        let secrets = secrets(vec![bound(1, None, None, "x-key")]);
        let own = "Authorization: Bearer attacker\r\nX-Key: attacker\r\nCookie: a=b\r\nX-Api-Key: attacker\r\nAccept: */*";
        assert_eq!(swap(&secrets, "api.test", "GET /", own), Ok("accept: */*".to_owned()));
        let elsewhere = swap(&secrets, "other.test", "GET /", own).unwrap();
        assert!(elsewhere.contains("attacker") && elsewhere.contains("cookie"), "where nothing is bound, they are the caller's affair");
        assert_eq!(swap(&secrets, "api.test", "GET /?Access_Token=attacker", "A: b"), Err(Misplaced::Own));
        assert!(swap(&secrets, "api.test", "GET /?page_token=3", "A: b").is_ok());
    }

    #[test]
    fn placeholders_are_found_in_any_split() {
        let one = token(7);
        for text in [one.clone(), format!("a{one}b"), format!("lzs_abc{one}"), format!("lllzs{one}"), format!("lzs_alzs{one}")] {
            for cut in 1..text.len() {
                let mut finder = Finder::default();
                assert!(text.as_bytes().chunks(cut).any(|piece| finder.feed(piece)), "{text} in pieces of {cut}");
            }
        }
        for text in ["lzs_", "lzs_short", &one[..one.len() - 1], &one.to_uppercase(), &one.replace("lzs_", "lzs-")] {
            assert!(!Finder::default().feed(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_is_bound_changes_at_once() {
        let own = secrets(vec![bound(1, None, None, "authorization")]);
        let (handle, auth) = (own.clone(), format!("Authorization: {}", token(1)));
        assert!(swap(&own, "api.test", "GET /", &auth).is_ok());
        handle.replace(Vec::new()).unwrap();
        assert_eq!(swap(&own, "api.test", "GET /", &auth), Err(Misplaced::Header));
        for name in ["short", "missing"] {
            handle.replace(vec![Bound { name: name.to_owned(), ..bound(1, None, None, "authorization") }]).unwrap();
            assert_eq!(swap(&own, "api.test", "GET /", &auth), Err(Misplaced::Value), "what could not be scrubbed is not put in");
        }
    }

    #[test]
    fn only_what_can_be_swapped_and_scrubbed_is_bound() {
        for bad in ["", "short", "has\nline", " spaced ", "b\u{fc}cher-secret"] {
            assert_eq!(check_value(bad), Err(BoundError::Value), "{bad:?}");
        }
        for header in ["", "Host", "host", "content-length", "a b", "x\r\n"] {
            assert_eq!(check_header(header), Err(BoundError::Header), "{header:?}");
        }
        let odd = Bound { placeholder: "lzs_x".to_owned(), ..bound(1, None, None, "authorization") };
        assert_eq!(BoundSecrets::new(vec![odd], Arc::new(Values)).err(), Some(BoundError::Placeholder));
    }
}
