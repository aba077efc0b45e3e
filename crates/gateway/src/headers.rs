//! Which headers pass, in both directions, and how the host's key is put in.

use http::StatusCode;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT,
};

use crate::{Auth, Kind};

/// What of a caller's request passes. No credential, no cookie, nothing of the connection, nothing that names a host.
const REQUEST: &[&str] = &["anthropic-version", "openai-beta"];
/// What of a provider's reply passes. Not those that name the account.
const RESPONSE: &[&str] = &[
    "content-type", "retry-after", "request-id", "x-request-id", "x-should-retry", "retry-after-ms", "openai-processing-ms",
    "cache-control",
];
/// Families of headers of a reply that pass: how much traffic is left.
const RESPONSE_PREFIXES: &[&str] = &["anthropic-ratelimit-", "x-ratelimit-"];
/// What Anthropic asks for beside an OAuth token.
const OAUTH_BETA: &str = "oauth-2025-04-20";
/// How an Anthropic OAuth or setup token begins.
const OAUTH_PREFIX: &str = "sk-ant-oat";
/// The header by which engines' libraries learn when to try again, in milliseconds.
const RETRY_AFTER_MS: &str = "retry-after-ms";
/// When a failed call may be tried again if its reply does not say, in milliseconds.
const RETRY_MS: u64 = 2_000;
/// The longest time that a reply may tell an engine to wait, in milliseconds.
const RETRY_MS_MAX: u64 = 20_000;
/// Longest value of a header that passes, and most names in `anthropic-beta`.
const VALUE_BYTES_MAX: usize = 1024;
const BETAS_MAX: usize = 32;

/// A key that cannot be a header's value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("send the key: it has a line break or another character that no key has")]
pub(crate) struct KeyForm;

/// The headers of the request to the provider.
pub(crate) fn request(from: &HeaderMap, kind: Kind, auth: Auth, key: Option<&str>, own: &HeaderMap) -> Result<HeaderMap, KeyForm> {
    let mut to = HeaderMap::with_capacity(12);
    to.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // A compressed reply could not be counted or scrubbed.
    to.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for name in [ACCEPT, USER_AGENT] {
        copy(from, &mut to, &name);
    }
    for name in REQUEST {
        copy(from, &mut to, &HeaderName::from_static(name));
    }
    let bearer = key.is_some_and(|key| match auth {
        Auth::Auto => kind == Kind::OpenAi || key.starts_with(OAUTH_PREFIX) || (kind == Kind::Gemini && key.starts_with("ya29.")),
        Auth::Key => kind == Kind::OpenAi,
        Auth::Bearer => true,
    });
    if kind == Kind::Anthropic {
        if !to.contains_key("anthropic-version") {
            to.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
        }
        let betas = betas(from, bearer);
        if let Some(betas) = betas {
            to.insert("anthropic-beta", betas);
        }
    }
    to.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
    if let Some(key) = key {
        let (name, text) = match (bearer, kind) {
            (true, _) => (AUTHORIZATION, zeroize::Zeroizing::new(format!("Bearer {key}"))),
            (false, Kind::Gemini) => (HeaderName::from_static("x-goog-api-key"), zeroize::Zeroizing::new(key.to_owned())),
            (false, _) => (HeaderName::from_static("x-api-key"), zeroize::Zeroizing::new(key.to_owned())),
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| KeyForm)?;
        value.set_sensitive(true);
        to.insert(name, value);
    }
    Ok(to)
}

fn copy(from: &HeaderMap, to: &mut HeaderMap, name: &HeaderName) {
    if let Some(value) = from.get(name).filter(|v| v.len() <= VALUE_BYTES_MAX) {
        to.insert(name.clone(), value.clone());
    }
}

/// The caller's betas, merged from all lines, and the one that a token needs.
fn betas(from: &HeaderMap, bearer: bool) -> Option<HeaderValue> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let mut names: Vec<&str> = Vec::new();
    let lines = from.get_all("anthropic-beta").iter().filter_map(|v| v.to_str().ok());
    let wanted = lines.flat_map(|line| line.split(',')).map(str::trim).filter(|n| !n.is_empty() && n.len() <= 64 && n.bytes().all(plain));
    for name in wanted.take(BETAS_MAX).chain(bearer.then_some(OAUTH_BETA)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() { None } else { HeaderValue::from_str(&names.join(",")).ok() }
}

/// The headers of a reply that pass to the caller. `scrub` takes the key out of a value in place.
pub(crate) fn response(from: &HeaderMap, mut scrub: impl FnMut(&mut Vec<u8>)) -> HeaderMap {
    let mut to = HeaderMap::with_capacity(8);
    for (name, value) in from {
        let passes = RESPONSE.contains(&name.as_str()) || RESPONSE_PREFIXES.iter().any(|p| name.as_str().starts_with(p));
        if !passes || value.len() > VALUE_BYTES_MAX {
            continue;
        }
        let mut bytes = value.as_bytes().to_vec();
        scrub(&mut bytes);
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            to.append(name.clone(), value);
        }
    }
    to
}

/// Sets the pace at which a failed call is tried again: some engines wait for minutes when a reply does not name a time,
/// and any engine would wait for as long as a provider says.
pub(crate) fn pace(status: StatusCode, headers: &mut HeaderMap) {
    if status != StatusCode::TOO_MANY_REQUESTS && !status.is_server_error() {
        return;
    }
    let number = |headers: &HeaderMap, name: &str| -> Option<u64> {
        let value = headers.get(name)?;
        // A date, or a number beyond all bounds, says no more than: later.
        Some(value.to_str().ok().and_then(|v| v.trim().parse::<f64>().ok()).map_or(u64::MAX, whole))
    };
    let seconds = number(headers, RETRY_AFTER.as_str()).map(|s| s.saturating_mul(1000));
    let asked = number(headers, RETRY_AFTER_MS).or(seconds).unwrap_or(RETRY_MS);
    let wait = asked.min(RETRY_MS_MAX);
    headers.insert(RETRY_AFTER_MS, HeaderValue::from(wait));
    if headers.contains_key(RETRY_AFTER) {
        headers.insert(RETRY_AFTER, HeaderValue::from(wait.div_ceil(1000)));
    }
}

/// A number of a header, rounded up.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, and less than nothing is nothing")]
fn whole(number: f64) -> u64 {
    number.ceil() as u64
}

/// Whether a request's own framing is in order: at most one length, and the body in no encoding that cannot be read.
pub(crate) fn is_plain_body(headers: &HeaderMap) -> bool {
    let encoding = headers.get(http::header::CONTENT_ENCODING).is_none_or(|v| v.as_bytes().eq_ignore_ascii_case(b"identity"));
    encoding && headers.get_all(CONTENT_LENGTH).iter().count() <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_str(v).unwrap())).collect()
    }

    fn lines(map: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<_> = map.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    #[test]
    fn the_callers_credentials_never_pass() {
        let from = map(&[
            ("x-api-key", "attacker"),
            ("authorization", "Bearer attacker"),
            ("x-goog-api-key", "attacker"),
            ("cookie", "attacker"),
            ("proxy-authorization", "attacker"),
            ("host", "attacker"),
            ("connection", "x-api-key"),
            ("transfer-encoding", "chunked"),
            ("x-forwarded-for", "attacker"),
            ("forwarded", "attacker"),
            ("openai-organization", "attacker"),
            ("chatgpt-account-id", "attacker"),
            ("anthropic-version", "2023-06-01"),
            ("user-agent", "engine/1"),
        ]);
        for kind in [Kind::Anthropic, Kind::OpenAi, Kind::Gemini] {
            let to = request(&from, kind, Auth::Auto, Some("host-key"), &HeaderMap::new()).unwrap();
            let all = lines(&to).join("\n");
            assert!(!all.contains("attacker") && all.contains("host-key") && all.contains("accept-encoding: identity"), "{all}");
        }
        assert!(request(&from, Kind::OpenAi, Auth::Auto, Some("a\nb"), &HeaderMap::new()).is_err());
        let none = request(&from, Kind::OpenAi, Auth::Auto, None, &HeaderMap::new()).unwrap();
        assert!(!none.contains_key(AUTHORIZATION));
    }

    #[test]
    fn keys_and_tokens_are_told_apart() {
        let check = |kind, auth, key: &str, expect: &[&str]| {
            let from = map(&[("anthropic-beta", "a-1, b-2"), ("anthropic-beta", "a-1,\u{80}bad")]);
            let to = request(&from, kind, auth, Some(key), &HeaderMap::new()).unwrap();
            let found: Vec<_> = lines(&to).into_iter().filter(|l| l.contains(key) || l.starts_with("anthropic-beta")).collect();
            assert_eq!(found, expect);
        };
        check(Kind::Anthropic, Auth::Auto, "sk-ant-api03-x", &["anthropic-beta: a-1,b-2", "x-api-key: sk-ant-api03-x"]);
        check(
            Kind::Anthropic,
            Auth::Auto,
            "sk-ant-oat01-x",
            &["anthropic-beta: a-1,b-2,oauth-2025-04-20", "authorization: Bearer sk-ant-oat01-x"],
        );
        check(Kind::Anthropic, Auth::Bearer, "tok", &["anthropic-beta: a-1,b-2,oauth-2025-04-20", "authorization: Bearer tok"]);
        check(Kind::Anthropic, Auth::Key, "sk-ant-oat01-x", &["anthropic-beta: a-1,b-2", "x-api-key: sk-ant-oat01-x"]);
        check(Kind::OpenAi, Auth::Auto, "sk-1", &["authorization: Bearer sk-1"]);
        check(Kind::Gemini, Auth::Auto, "AIza1", &["x-goog-api-key: AIza1"]);
        check(Kind::Gemini, Auth::Bearer, "tok", &["authorization: Bearer tok"]);
    }

    #[test]
    fn a_failed_reply_says_when_to_try_again_and_never_too_late() {
        let check = |status: u16, pairs: &[(&'static str, &str)], expect: &[&str]| {
            let mut headers = map(pairs);
            pace(StatusCode::from_u16(status).unwrap(), &mut headers);
            assert_eq!(lines(&headers), expect, "{status} {pairs:?}");
        };
        check(429, &[], &["retry-after-ms: 2000"]);
        check(500, &[], &["retry-after-ms: 2000"]);
        check(529, &[("retry-after", "5")], &["retry-after-ms: 5000", "retry-after: 5"]);
        check(503, &[("retry-after", "86400")], &["retry-after-ms: 20000", "retry-after: 20"]);
        check(503, &[("retry-after", "Fri, 31 Dec 2100 23:59:59 GMT")], &["retry-after-ms: 20000", "retry-after: 20"]);
        check(429, &[("retry-after-ms", "1.5")], &["retry-after-ms: 2"]);
        check(429, &[("retry-after-ms", "-4")], &["retry-after-ms: 0"]);
        check(429, &[("retry-after-ms", "1e300")], &["retry-after-ms: 20000"]);
        check(200, &[], &[]);
        check(401, &[("retry-after", "86400")], &["retry-after: 86400"]);
    }

    #[test]
    fn a_reply_names_no_account_and_sets_no_cookie() {
        let from = map(&[
            ("set-cookie", "a"),
            ("content-type", "text/event-stream"),
            ("anthropic-organization-id", "org"),
            ("anthropic-ratelimit-requests-remaining", "4"),
            ("server", "x"),
            ("location", "http://x"),
            ("request-id", "r"),
        ]);
        assert_eq!(
            lines(&response(&from, |_| ())),
            ["anthropic-ratelimit-requests-remaining: 4", "content-type: text/event-stream", "request-id: r"]
        );
    }
}
