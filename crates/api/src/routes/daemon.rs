//! The daemon itself.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Api;
use crate::Problem;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/health", get(|| async { Json(json!({ "status": "ok" })) }))
        .route("/ready", get(ready))
        .route("/v1/status", get(status))
        .route("/v1/reload", post(reload))
        .route("/v1/shutdown", post(shutdown))
}

async fn ready(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    api.app.ready().await?;
    Ok(Json(json!({ "status": "ready" })))
}

async fn status(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let mut status = json!(api.app.status().await?);
    status["listen"] = json!(api.listen);
    Ok(Json(status))
}

/// Reads the configuration again.
async fn reload(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    api.app.reload()?;
    Ok(Json(json!({ "status": "ok" })))
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Shutdown {
    grace_ms: u64,
}

async fn shutdown(State(api): State<Api>, Json(form): Json<Shutdown>) -> Json<Value> {
    api.app.ask_to_stop(std::time::Duration::from_millis(form.grace_ms));
    Json(json!({ "status": "stopping" }))
}
