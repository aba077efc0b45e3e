//! Exposed secrets: the one credential that an agent may hold, because the owner said so at this machine.

use app::{ExposeForm, ExposedView};
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
use crate::request::{At, Form};

const ADMIN: Needs = Needs::Whole(app::Scope::Admin);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/exposed", "Lists the secrets that agents hold, never their values.", || get(list))
        .needs(ADMIN)
        .gives(200, page_of::<ExposedView>),
    Operation::new(Post, "/v1/exposed", "Exposes a secret to one agent. Taken over the owner's socket only.", || post(expose))
        .needs(ADMIN)
        .takes(of::<ExposeForm>)
        .gives(201, of::<ExposedView>),
    Operation::new(Delete, "/v1/exposed/{name}", "Exposes a secret no longer.", || delete(hide)).needs(ADMIN),
];

async fn list(State(api): State<Api>) -> Json<Value> {
    Json(json!({ "items": api.app.exposed().list(), "next": null }))
}

async fn expose(State(api): State<Api>, who: Identity, Form(form): Form<ExposeForm>) -> Result<Response, Problem> {
    who.only_local(true, "name")?;
    // Before it holds: an exposure that nobody can read about is none.
    api.app.audit_change(&who.actor, "secret.expose", json!(form)).await?;
    let made = api.app.exposed().expose(form).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

async fn hide(State(api): State<Api>, who: Identity, At(name): At<String>) -> Result<Json<Value>, Problem> {
    api.app.exposed().hide(&name).await?;
    api.app.audit_change(&who.actor, "secret.hide", json!({ "name": name })).await?;
    Ok(Json(json!({ "name": name })))
}
