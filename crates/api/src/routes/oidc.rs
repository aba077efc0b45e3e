//! Logins of people by an issuer: out to it, and back with a one-time code for the page.

use app::OidcBegin;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use model::{Code, Failure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Api;
use crate::Problem;
use crate::logins::Redeemed;
use crate::operation::Verb::{Get, Post};
use crate::operation::{Needs, Operation, of};
use crate::request::{Asked, Form};

/// Where the issuer sends people back to.
const CALLBACK: &str = "/v1/login/callback";

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/login/oidc", "Whether people can log in by an issuer.", || get(is_open)).needs(Needs::Nothing),
    Operation::new(Post, "/v1/login/oidc", "Begins a login: where the browser is to go.", || post(begin))
        .needs(Needs::Nothing)
        .takes(of::<OidcBegin>),
    Operation::new(
        Get,
        CALLBACK,
        "Takes up who comes back from the issuer, and leads to the page with a one-time code, or with why there is none.",
        || get(back),
    )
    .needs(Needs::Nothing)
    .asks(of::<Back>)
    .gives_bytes(303, &[]),
];

async fn is_open(State(api): State<Api>) -> Json<Value> {
    Json(json!({ "enabled": api.app.oidc().is_open() }))
}

async fn begin(State(api): State<Api>, Form(form): Form<OidcBegin>) -> Result<Json<Value>, Problem> {
    let own = api.listen.as_deref().map(|listen| format!("http://{listen}{CALLBACK}"));
    Ok(Json(json!({ "url": api.app.oidc().begin(form, own).await? })))
}

/// What an issuer sends back. It may say more than is asked of it.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[schemars(rename = "OidcBack")]
struct Back {
    /// Names the login.
    state: Option<String>,
    /// Stands for who logged in.
    code: Option<String>,
    /// Why nobody did.
    error: Option<String>,
}

async fn back(State(api): State<Api>, headers: HeaderMap, Asked(back): Asked<Back>) -> Result<Response, Problem> {
    match arrived(&api, &back).await {
        Ok(code) => Ok(to_page(&api, &code)),
        // A person came, not a program: the page says it in words of its own, for anybody may lead a browser to any fragment.
        Err(failure) if headers.get(header::ACCEPT).is_some_and(|kinds| kinds.as_bytes().starts_with(b"text/html")) => {
            Ok(to_page(&api, &format!("refused-{}", failure.code)))
        }
        Err(failure) => Err(failure.into()),
    }
}

/// The one-time code of who came back.
async fn arrived(api: &Api, back: &Back) -> Result<String, Failure> {
    let (Some(state), Some(code), None) = (&back.state, &back.code, &back.error) else {
        return Err(Failure::new(Code::Unauthorized, "the issuer let nobody in").hint("log in again"));
    };
    api.logins.code_of(api.app.oidc().finish(state, code).await?)
}

/// Leads to the page, with something in the fragment, which no browser sends anywhere.
fn to_page(api: &Api, fragment: &str) -> Response {
    let mut answer = Redirect::to(&format!("{}/ui#{fragment}", api.base.as_str())).into_response();
    for (name, value) in [(header::CACHE_CONTROL, "no-store"), (header::REFERRER_POLICY, "no-referrer")] {
        answer.headers_mut().insert(name, axum::http::HeaderValue::from_static(value));
    }
    answer
}

/// Exchanges a one-time code for the token of a page.
pub(super) async fn redeem(api: &Api, code: &str, verifier: Option<&str>) -> Result<Json<Value>, Problem> {
    let token = match api.logins.redeem(code, verifier)? {
        Redeemed::Owner(token) => token,
        Redeemed::Person(arrived) => api.app.oidc().token(arrived).await?.token.unwrap_or_default(),
    };
    Ok(Json(json!({ "token": token })))
}

/// Ends the token of a person's page.
pub(super) async fn log_out(api: &Api, token: &str) -> Result<bool, Problem> {
    Ok(api.app.tokens().log_out(&Sha256::digest(token.as_bytes()).into()).await?)
}
