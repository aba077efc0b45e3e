//! The agent programs.

use app::EngineStatus;
use axum::Json;
use axum::extract::State;
use axum::routing::{delete, get, post};
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::operation::Verb::{Delete, Get, Post};
use crate::operation::{Needs, Operation, of, page_of};
use crate::request::At;

const ADMIN: Needs = Needs::Scope(app::Scope::Admin);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/engines", "Lists engines and whether they are installed.", || get(list)).gives(200, page_of::<EngineStatus>),
    Operation::new(Delete, "/v1/engines/{name}", "Removes an installed engine.", || delete(remove)).needs(ADMIN),
    Operation::new(Post, "/v1/engines/{name}/install", "Installs the pinned version.", || post(install))
        .needs(ADMIN)
        .gives(200, of::<EngineStatus>),
    Operation::new(Post, "/v1/engines/{name}/verify", "Compares the installed files with what was pinned.", || post(verify))
        .needs(ADMIN)
        .gives(200, of::<EngineStatus>),
];

async fn list(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.engines().list().await?, "next": null })))
}

async fn install(State(api): State<Api>, At(name): At<String>) -> Result<Json<EngineStatus>, Problem> {
    Ok(Json(api.app.engines().install(&name).await?))
}

async fn verify(State(api): State<Api>, At(name): At<String>) -> Result<Json<EngineStatus>, Problem> {
    Ok(Json(api.app.engines().verify(&name).await?))
}

async fn remove(State(api): State<Api>, At(name): At<String>) -> Result<Json<Value>, Problem> {
    api.app.engines().remove(&name).await?;
    Ok(Json(json!({ "name": name })))
}
