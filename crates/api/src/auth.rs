//! Who may ask over TCP.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use model::{Code, Failure};
use sha2::{Digest, Sha256};

use crate::{Logins, Problem};

/// What answers over TCP without a token.
pub const OPEN_ROUTES: &[&str] = &["/", "/health", "/ready", "/ui", "/ui/app.js", "/ui/style.css", "/v1/login"];

/// What the TCP listener compares requests with.
#[derive(Clone)]
pub struct Access {
    /// SHA-256 of the owner's token: compared instead of the token, so that the time of a comparison tells nothing.
    token: Arc<[u8; 32]>,
    logins: Logins,
}

impl Access {
    /// Lets the bearer of `token` in, and browsers that logged in.
    #[must_use]
    pub fn new(token: &str, logins: Logins) -> Self {
        Self { token: Arc::new(Sha256::digest(token.as_bytes()).into()), logins }
    }

    fn allows(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return false };
        let Some(token) = value.as_bytes().strip_prefix(b"Bearer ") else { return false };
        let given: [u8; 32] = Sha256::digest(token).into();
        given == *self.token || self.logins.knows(&given)
    }
}

/// The layer of the TCP listener.
pub(crate) async fn check(State(access): State<Access>, request: Request, next: Next) -> Response {
    if !names_this_machine(request.headers(), request.uri()) {
        let failure =
            Failure::new(Code::Forbidden, "the Host header does not name this machine").hint("call the API as 127.0.0.1 or localhost");
        return Problem(failure).into_response();
    }
    if !is_own_origin(request.headers()) {
        let failure = Failure::new(Code::Forbidden, "requests from other web pages are not answered");
        return Problem(failure).into_response();
    }
    if OPEN_ROUTES.contains(&request.uri().path()) || access.allows(request.headers()) {
        return next.run(request).await;
    }
    let failure = Failure::new(Code::Unauthorized, "this needs the owner's token")
        .hint("send `Authorization: Bearer` with the content of the file `token` in the home");
    Problem(failure).into_response()
}

/// Whether a request that says where its page came from names this very server.
fn is_own_origin(headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next(), headers.get(header::HOST)) {
        (None, ..) => true,
        (Some(origin), None, Some(host)) => origin.as_bytes().strip_prefix(b"http://") == Some(host.as_bytes()),
        _ => false,
    }
}

/// Whether `Host` is an address or `localhost`: a web page under its own name (DNS rebinding) sends that name.
fn names_this_machine(headers: &HeaderMap, uri: &Uri) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    if uri.host().is_some() {
        return false;
    }
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_pass() {
        let check = |host: &str, expect: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().expect("a value"));
            assert_eq!(names_this_machine(&headers, &Uri::from_static("/v1/sandboxes")), expect, "{host}");
        };
        check("127.0.0.1:8420", true);
        check("localhost", true);
        check("[::1]:8420", true);
        check("evil.example:8420", false);
        check("127.0.0.1.evil.example", false);
        check("localhost.evil.example:8420", false);
        assert!(!names_this_machine(&HeaderMap::new(), &Uri::from_static("/")));
    }

    #[test]
    fn only_this_servers_own_pages_pass() {
        let check = |origin: Option<&str>, expect: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "127.0.0.1:8420".parse().expect("a value"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().expect("a value"));
            }
            assert_eq!(is_own_origin(&headers), expect, "{origin:?}");
        };
        check(None, true);
        check(Some("http://127.0.0.1:8420"), true);
        for foreign in ["http://127.0.0.1:9", "https://127.0.0.1:8420", "http://evil.example", "null", "http://127.0.0.1:8420.evil.example"]
        {
            check(Some(foreign), false);
        }
    }

    #[test]
    fn only_the_whole_token_passes() {
        let access = Access::new("lzt_abc", Logins::default());
        let check = |value: &'static [u8], expect: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, axum::http::HeaderValue::from_bytes(value).expect("a value"));
            assert_eq!(access.allows(&headers), expect);
        };
        check(b"Bearer lzt_abc", true);
        check(b"Bearer lzt_ab", false);
        check(b"Bearer lzt_abcd", false);
        check(b"bearer lzt_abc", false);
        check(b"lzt_abc", false);
        check(b"Bearer \xff\xfe", false);
        assert!(!access.allows(&HeaderMap::new()));
    }
}
