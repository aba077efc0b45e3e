//! Secrets: names out, values in, never values out.

use axum::Json;
use axum::extract::State;
use axum::routing::{delete, get, put};
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::auth::Identity;
use crate::operation::Verb::{Delete, Get, Put};
use crate::operation::{Needs, Operation, of, page_of};
use crate::request::{At, Form};

const ADMIN: Needs = Needs::Whole(app::Scope::Admin);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/secrets", "Lists the names of secrets, never their values.", || get(list))
        .needs(ADMIN)
        .gives(200, page_of::<Value>),
    Operation::new(Put, "/v1/secrets/{name}", "Keeps a secret.", || put(set)).needs(ADMIN).takes(of::<SecretForm>),
    Operation::new(Delete, "/v1/secrets/{name}", "Forgets a secret.", || delete(remove)).needs(ADMIN),
];

async fn list(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let items = app::with_holders(&api.app.secrets().list().await?, &api.app.exposed().list());
    Ok(Json(json!({ "items": items, "next": null })))
}

/// A secret to keep.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct SecretForm {
    /// It goes in and never comes out.
    value: String,
}

async fn set(State(api): State<Api>, who: Identity, At(name): At<String>, Form(form): Form<SecretForm>) -> Result<Json<Value>, Problem> {
    api.app.secrets().set(&name, form.value.into()).await?;
    api.app.audit_change(&who.actor, "secret.set", json!({ "name": name })).await?;
    Ok(Json(json!({ "name": name })))
}

async fn remove(State(api): State<Api>, who: Identity, At(name): At<String>) -> Result<Json<Value>, Problem> {
    api.app.secrets().remove(&name).await?;
    api.app.audit_change(&who.actor, "secret.remove", json!({ "name": name })).await?;
    Ok(Json(json!({ "name": name })))
}
