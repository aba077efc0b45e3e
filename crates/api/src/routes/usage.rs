//! Tokens and cost.

use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::auth::Identity;
use crate::operation::Verb::Get;
use crate::operation::{Operation, of, page_of};
use crate::request::Asked;

pub(super) const OPERATIONS: &[Operation] =
    &[Operation::new(Get, "/v1/usage", "Sums tokens and cost; with a tenant's token those of the tenant.", || get(usage))
        .asks(of::<Ask>)
        .gives(200, page_of::<Value>)];

/// What to sum.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UsageQuery")]
struct Ask {
    #[serde(default = "by_model")]
    /// `job`, `agent`, `profile`, `model`, `tenant`, `session`, `provider` or `day`; `model` when left out.
    by: String,
    /// From this time on, in milliseconds since 1970.
    from: Option<u64>,
    /// Before this time.
    to: Option<u64>,
}

fn by_model() -> String {
    "model".to_owned()
}

async fn usage(State(api): State<Api>, who: Identity, Asked(ask): Asked<Ask>) -> Result<Json<Value>, Problem> {
    let items = api.app.usage_of(&who.caller, &ask.by, ask.from.unwrap_or(0), ask.to.unwrap_or(u64::MAX >> 1)).await?;
    Ok(Json(json!({ "items": items, "next": null })))
}
