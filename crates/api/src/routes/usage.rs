//! Tokens and cost.

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Api;
use crate::Problem;

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/v1/usage", get(usage))
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    #[serde(default = "by_model")]
    by: String,
    from: Option<u64>,
    to: Option<u64>,
}

fn by_model() -> String {
    "model".to_owned()
}

async fn usage(State(api): State<Api>, Query(ask): Query<Ask>) -> Result<Json<Value>, Problem> {
    let items = api.app.usage(&ask.by, ask.from.unwrap_or(0), ask.to.unwrap_or(u64::MAX >> 1)).await?;
    Ok(Json(json!({ "items": items, "next": null })))
}
