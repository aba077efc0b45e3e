//! Requests that the platforms of chat networks send. They bring no token: the channel checks their signature, in its own process.

use app::{HOOK_BODY_BYTES_MAX, HookRequest};
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use model::{Code, Failure};

use super::Api;
use crate::Problem;
use crate::auth::Identity;
use crate::operation::Verb::{Get, Post};
use crate::operation::{Needs, Operation};
use crate::request::At;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/hooks/{channel}", "A request of a chat network's platform, answered by its channel.", || get(top))
        .needs(Needs::Nothing)
        .gives_bytes(200, KINDS),
    Operation::new(Post, "/hooks/{channel}", "A request of a chat network's platform, answered by its channel.", || post(top))
        .needs(Needs::Nothing)
        .at_most(HOOK_BODY_BYTES_MAX)
        .takes_bytes("*/*")
        .gives_bytes(200, KINDS),
    Operation::new(Get, "/hooks/{channel}/{*path}", "The same, below the channel's own address.", || get(below))
        .needs(Needs::Nothing)
        .gives_bytes(200, KINDS),
    Operation::new(Post, "/hooks/{channel}/{*path}", "The same, below the channel's own address.", || post(below))
        .needs(Needs::Nothing)
        .at_most(HOOK_BODY_BYTES_MAX)
        .takes_bytes("*/*")
        .gives_bytes(200, KINDS),
];

/// What such an answer can be: nothing that a browser runs.
const KINDS: &[&str] = &["text/plain", "application/json", "application/xml"];
/// Headers of a request that are handed on.
const HEADERS_MAX: usize = 64;

async fn top(
    State(api): State<Api>,
    who: Option<Identity>,
    At(channel): At<String>,
    method: Method,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    answer(&api, who.is_some(), &channel, "", method, query, &headers, body).await
}

async fn below(
    State(api): State<Api>,
    who: Option<Identity>,
    At((channel, path)): At<(String, String)>,
    method: Method,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    answer(&api, who.is_some(), &channel, &path, method, query, &headers, body).await
}

#[expect(clippy::too_many_arguments, reason = "they are the parts of one request")]
async fn answer(
    api: &Api,
    is_ours: bool,
    channel: &str,
    path: &str,
    method: Method,
    query: Option<String>,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let mut path = format!("/{path}");
    if let Some(query) = query {
        path.push('?');
        path.push_str(&query);
    }
    // A token of our own is nothing for a channel; a platform's is.
    let kept = headers.iter().filter(|(name, _)| !is_ours || **name != header::AUTHORIZATION);
    let text = |(name, value): (&HeaderName, &HeaderValue)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()));
    let headers: Vec<(String, String)> = kept.filter_map(text).take(HEADERS_MAX).collect();
    let request = HookRequest { method: method.as_str().to_owned(), path, headers, body: body.to_vec() };
    let said = api.app.hook(channel, request).await?;
    let mut response = Response::new(Body::from(said.body));
    *response.status_mut() = StatusCode::from_u16(said.status).map_err(|e| Failure::new(Code::PluginError, e.to_string()))?;
    for (name, value) in said.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
            response.headers_mut().insert(name, value);
        }
    }
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_owned();
    // What a channel says is not run by a browser under our address.
    let plain = KINDS.iter().find(|known| **known == kind).copied().unwrap_or("text/plain");
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(plain));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    Ok(response)
}
