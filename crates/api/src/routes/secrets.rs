//! Secrets: names out, values in, never values out.

use axum::extract::{Path, State};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Api;
use crate::Problem;

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/v1/secrets", get(list)).route("/v1/secrets/{name}", put(set).delete(remove))
}

async fn list(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.secrets().list().await?, "next": null })))
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    value: String,
}

async fn set(State(api): State<Api>, Path(name): Path<String>, Json(form): Json<Form>) -> Result<Json<Value>, Problem> {
    api.app.secrets().set(&name, form.value.into()).await?;
    Ok(Json(json!({ "name": name })))
}

async fn remove(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    api.app.secrets().remove(&name).await?;
    Ok(Json(json!({ "name": name })))
}
