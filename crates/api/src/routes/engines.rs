//! The agent programs.

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Api;
use crate::Problem;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/engines", get(list))
        .route("/v1/engines/{name}/install", post(install))
        .route("/v1/engines/{name}/verify", post(verify))
        .route("/v1/engines/{name}", axum::routing::delete(remove))
}

async fn list(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.engines().list().await?, "next": null })))
}

async fn install(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<app::EngineStatus>, Problem> {
    Ok(Json(api.app.engines().install(&name).await?))
}

async fn verify(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<app::EngineStatus>, Problem> {
    Ok(Json(api.app.engines().verify(&name).await?))
}

async fn remove(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    api.app.engines().remove(&name).await?;
    Ok(Json(json!({ "name": name })))
}
