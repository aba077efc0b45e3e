//! Below which path of an address the program answers: a hub that has several programs behind one port gives each a path of its own.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Json, Router};
use model::{Code, Failure};
use serde_json::json;
use tower::Service;

/// Bytes of a base path.
const BASE_BYTES_MAX: usize = 64;
/// What answers beside the base path as well: who asks does not know the base yet.
const BESIDE: &[&str] = &["/.well-known/parachute.json", "/health"];

/// A path below which everything answers: empty, or like `/agent`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BasePath(Arc<str>);

impl BasePath {
    /// The base path of a text.
    ///
    /// # Errors
    /// It is none: segments of small letters, digits, `-` and `_`, each after a `/`.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let text = text.trim_end_matches('/');
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        let is_path = |rest: &str| rest.split('/').all(|part| !part.is_empty() && part.bytes().all(plain));
        let is_one = text.is_empty() || (text.len() <= BASE_BYTES_MAX && text.strip_prefix('/').is_some_and(is_path));
        if !is_one {
            return Err(Failure::new(Code::Usage, "a base path is like /agent: small letters, digits, `-` and `_` after each /")
                .field("--base-path"));
        }
        Ok(Self(text.into()))
    }

    /// It, without a `/` at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same address as the program knows it; `None` for one that is not below.
    fn strip(&self, uri: &Uri) -> Option<Uri> {
        let rest = uri.path().strip_prefix(self.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
        let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
        let whole: PathAndQuery = format!("{}{query}", if rest.is_empty() { "/" } else { rest }).parse().ok()?;
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(whole);
        Uri::from_parts(parts).ok()
    }
}

/// A router that answers below a path, and beside it only what tells where that is.
pub fn under(router: Router, base: &BasePath) -> Router {
    if base.as_str().is_empty() {
        return router;
    }
    let base = base.clone();
    Router::new().fallback(move |request: Request| {
        let (router, base) = (router.clone(), base.clone());
        async move { answer(router, &base, request).await }
    })
}

async fn answer(mut router: Router, base: &BasePath, mut request: Request) -> Response {
    match base.strip(request.uri()) {
        Some(uri) => *request.uri_mut() = uri,
        None if BESIDE.contains(&request.uri().path()) => {}
        None if request.uri().path() == "/" => return Redirect::temporary(&format!("{}/ui", base.as_str())).into_response(),
        None => {
            let hint = format!("everything is below {}/", base.as_str());
            let error = json!({ "error": { "code": Code::NotFound, "message": "there is nothing here", "hint": hint } });
            return (StatusCode::NOT_FOUND, Json(error)).into_response();
        }
    }
    match Service::call(&mut router, request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_are_base_paths() {
        for good in ["", "/", "/agent", "/agent/", "/a/b-c_1"] {
            assert!(BasePath::parse(good).is_ok(), "{good}");
        }
        for bad in ["agent", "//x", "/a//b", "/..", "/A", "/a?b", "/a#b", "/a b", "/%61", &format!("/{}", "x".repeat(99))] {
            assert!(BasePath::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_below_is_known_without_the_base() {
        let base = BasePath::parse("/agent").expect("a path");
        for (asked, expect) in [
            ("/agent", Some("/")),
            ("/agent/", Some("/")),
            ("/agent/v1/sessions?limit=1", Some("/v1/sessions?limit=1")),
            ("/agents", None),
            ("/v1/sessions", None),
            ("/", None),
        ] {
            let found = base.strip(&asked.parse().expect("an address"));
            assert_eq!(found.map(|uri| uri.to_string()).as_deref(), expect, "{asked}");
        }
    }
}
