//! Bound secrets: where each may go.

use app::{BindForm, BoundView};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::auth::Identity;
use crate::operation::Verb::{Delete, Get, Post};
use crate::operation::{Needs, Operation, of, page_of};
use crate::request::{Asked, At, Form};

const ADMIN: Needs = Needs::Whole(app::Scope::Admin);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/bound", "Lists the secrets that are bound to hosts.", || get(list))
        .needs(ADMIN)
        .gives(200, page_of::<BoundView>),
    Operation::new(Post, "/v1/bound", "Binds a secret to a host: agents get a placeholder that works only there.", || post(bind))
        .needs(ADMIN)
        .takes(of::<BindForm>)
        .gives(201, of::<BoundView>),
    Operation::new(Delete, "/v1/bound/{name}", "Binds a secret no longer: to the host that is asked for, or to none.", || delete(unbind))
        .needs(ADMIN)
        .asks(of::<UnbindQuery>),
];

async fn list(State(api): State<Api>) -> Json<Value> {
    Json(json!({ "items": api.app.bound().list(), "next": null }))
}

async fn bind(State(api): State<Api>, who: Identity, Form(form): Form<BindForm>) -> Result<Response, Problem> {
    let made = api.app.bound().bind(form).await?;
    api.app.audit_change(&who.actor, "secret.bind", json!(made)).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// What to unbind.
#[derive(Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct UnbindQuery {
    /// The host, with its port unless it is bound there under one only; all when left out.
    host: Option<String>,
}

async fn unbind(
    State(api): State<Api>,
    who: Identity,
    At(name): At<String>,
    Asked(query): Asked<UnbindQuery>,
) -> Result<Json<Value>, Problem> {
    api.app.bound().unbind(&name, query.host.as_deref()).await?;
    api.app.audit_change(&who.actor, "secret.unbind", json!({ "name": name, "host": query.host })).await?;
    Ok(Json(json!({ "name": name })))
}
