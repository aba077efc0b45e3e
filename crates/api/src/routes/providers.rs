//! The model providers. The owner alone, or who has a token that rules the whole install: where models answer is nobody else's affair.

use app::ProviderView;
use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::operation::Verb::Get;
use crate::operation::{Needs, Operation, page_of};

pub(super) const OPERATIONS: &[Operation] =
    &[Operation::new(Get, "/v1/providers", "Lists the model providers: where each answers, whether it has a key, who asks it.", || {
        get(list)
    })
    .needs(Needs::Whole(app::Scope::Read))
    .gives(200, page_of::<ProviderView>)];

async fn list(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.providers_of().list().await?, "next": null })))
}
