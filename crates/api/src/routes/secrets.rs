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
use crate::request::{Asked, At, Form};

const ADMIN: Needs = Needs::Whole(app::Scope::Admin);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/secrets", "Lists the names of secrets, never their values.", || get(list))
        .needs(ADMIN)
        .gives(200, page_of::<app::SecretView>),
    Operation::new(Put, "/v1/secrets/{name}", "Keeps a secret; tells which sessions still have the value before.", || put(set))
        .needs(ADMIN)
        .asks(of::<Scope>)
        .takes(of::<SecretForm>)
        .gives(200, of::<app::SecretKept>),
    Operation::new(Delete, "/v1/secrets/{name}", "Forgets a secret.", || delete(remove)).needs(ADMIN).asks(of::<Scope>),
];

async fn list(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.secret_views().await?, "next": null })))
}

/// Whose secret it is.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SecretScope")]
struct Scope {
    /// The agent that has it for itself; the install when left out.
    agent: Option<String>,
    /// Whether turns that run with the value before are ended.
    #[serde(default)]
    restart: bool,
}

/// A secret to keep.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct SecretForm {
    /// It goes in and never comes out.
    value: String,
}

async fn set(
    State(api): State<Api>,
    who: Identity,
    At(name): At<String>,
    Asked(scope): Asked<Scope>,
    Form(form): Form<SecretForm>,
) -> Result<Json<app::SecretKept>, Problem> {
    let kept = api.app.keep_secret(&name, scope.agent.as_deref(), form.value.into(), scope.restart).await?;
    let detail = json!({ "name": name, "agent": scope.agent, "restart": scope.restart });
    api.app.audit_change(&who.actor, "secret.set", detail).await?;
    Ok(Json(kept))
}

async fn remove(State(api): State<Api>, who: Identity, At(name): At<String>, Asked(scope): Asked<Scope>) -> Result<Json<Value>, Problem> {
    api.app.forget_secret(&name, scope.agent.as_deref()).await?;
    api.app.audit_change(&who.actor, "secret.remove", json!({ "name": name, "agent": scope.agent })).await?;
    Ok(Json(json!({ "name": name })))
}
