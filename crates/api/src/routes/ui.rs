//! The web page: static files, and the way in.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use model::{Code, Failure};
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::operation::Verb::{Get, Post};
use crate::operation::{Needs, Operation, of};
use crate::request::Form;

/// What the page may do: its own files and this server, nothing else; and nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/", "Leads to the page.", || get(|| async { Redirect::temporary("/ui") }))
        .needs(Needs::Nothing)
        .gives_bytes(307, &[]),
    Operation::new(Get, "/ui", "The page.", || get(|| async { file(HTML, include_str!("../../ui/index.html")) }))
        .needs(Needs::Nothing)
        .gives_bytes(200, &["text/html"]),
    Operation::new(Get, "/ui/app.js", "The page's program.", || get(|| async { file(SCRIPT, include_str!("../../ui/app.js")) }))
        .needs(Needs::Nothing)
        .gives_bytes(200, &["text/javascript"]),
    Operation::new(Get, "/ui/style.css", "The page's style.", || get(|| async { file(STYLE, include_str!("../../ui/style.css")) }))
        .needs(Needs::Nothing)
        .gives_bytes(200, &["text/css"]),
    Operation::new(Post, "/v1/login", "Exchanges the one-time code of a link for a token.", || post(login))
        .needs(Needs::Nothing)
        .takes(of::<Login>),
    Operation::new(Post, "/v1/login/link", "A new one-time link to the page.", || post(link)).needs(Needs::Whole(app::Scope::Admin)),
];

/// A static file.
pub(super) fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

/// A way in.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Login {
    /// What stands behind the `#` of the link.
    code: String,
}

async fn login(State(api): State<Api>, Form(form): Form<Login>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "token": api.logins.redeem(&form.code)? })))
}

/// A new link for the owner. The code stands in the fragment, which no browser sends anywhere.
async fn link(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let listen = api.listen.as_deref().ok_or_else(|| {
        Failure::new(Code::DaemonMissing, "the daemon listens on no HTTP port").hint("run: lazaret stop, then: lazaret start")
    })?;
    Ok(Json(json!({ "url": format!("http://{listen}/ui#{}", api.logins.code()?) })))
}
