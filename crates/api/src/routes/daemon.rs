//! The daemon itself.

use axum::Json;
use axum::extract::State;
use axum::routing::{get, post};

use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::auth::Identity;
use crate::operation::Verb::{Get, Post};
use crate::operation::{Needs, Operation, of};
use crate::request::Form;

const ADMIN: Needs = Needs::Whole(app::Scope::Admin);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/ready", "Whether everything that a request needs answers.", || get(ready)).needs(Needs::Nothing),
    Operation::new(Get, "/v1/status", "What the daemon is doing.", || get(status)).gives(200, of::<app::Status>),
    Operation::new(Get, "/v1/pool", "How many sandboxes are ready for jobs.", || get(pool)).gives(200, of::<app::PoolView>),
    Operation::new(Post, "/v1/reload", "Reads the configuration again.", || post(reload)).needs(ADMIN),
    Operation::new(Post, "/v1/shutdown", "Ends the daemon.", || post(shutdown)).needs(ADMIN).takes(of::<Shutdown>),
];

async fn ready(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    api.app.ready().await?;
    Ok(Json(json!({ "status": "ready" })))
}

async fn status(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let mut status = json!(api.app.status().await?);
    status["listen"] = json!(api.listen);
    Ok(Json(status))
}

async fn pool(State(api): State<Api>, who: Identity) -> Json<app::PoolView> {
    Json(api.app.pool_view(&who.caller))
}

/// Reads the configuration again.
async fn reload(State(api): State<Api>, who: Identity) -> Result<Json<Value>, Problem> {
    api.app.reload()?;
    api.app.audit_change(&who.actor, "config.reload", Value::Null).await?;
    Ok(Json(json!({ "status": "ok" })))
}

/// How to end.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Shutdown {
    /// How long running work may take to come to its end, in milliseconds.
    grace_ms: u64,
}

async fn shutdown(State(api): State<Api>, Form(form): Form<Shutdown>) -> Json<Value> {
    api.app.ask_to_stop(std::time::Duration::from_millis(form.grace_ms));
    Json(json!({ "status": "stopping" }))
}
