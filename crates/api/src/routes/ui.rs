//! The web page: static files, and the way in.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use model::{Code, Failure};
use serde_json::{Value, json};

use super::Api;
use crate::Problem;

/// What the page may do: its own files and this server, nothing else; and nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/ui") }))
        .route("/ui", get(|| async { file("text/html; charset=utf-8", include_str!("../../ui/index.html")) }))
        .route("/ui/app.js", get(|| async { file("text/javascript; charset=utf-8", include_str!("../../ui/app.js")) }))
        .route("/ui/style.css", get(|| async { file("text/css; charset=utf-8", include_str!("../../ui/style.css")) }))
        .route("/v1/login", post(login))
        .route("/v1/login/link", post(link))
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    code: String,
}

async fn login(State(api): State<Api>, Json(form): Json<Login>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "token": api.logins.redeem(&form.code)? })))
}

/// A new link for the owner. The code stands in the fragment, which no browser sends anywhere.
async fn link(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let listen = api.listen.as_deref().ok_or_else(|| {
        Failure::new(Code::DaemonMissing, "the daemon listens on no HTTP port").hint("run: lazaret stop, then: lazaret start")
    })?;
    Ok(Json(json!({ "url": format!("http://{listen}/ui#{}", api.logins.code()?) })))
}
