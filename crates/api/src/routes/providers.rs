//! The model providers. The owner alone, or who has a token that rules the whole install: where models answer is nobody else's affair.

use app::{KeylessForm, ProviderModels, ProviderView};
use axum::Json;
use axum::extract::State;
use axum::routing::{get, put};
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::auth::Identity;
use crate::operation::Verb::{Get, Put};
use crate::operation::{Needs, Operation, of, page_of};
use crate::request::{Asked, At, Form};

const READ: Needs = Needs::Whole(app::Scope::Read);
const ADMIN: Needs = Needs::Whole(app::Scope::Admin);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/providers", "Lists the model providers: where each answers, whether it has a key, who asks it.", || get(list))
        .needs(READ)
        .gives(200, page_of::<ProviderView>),
    Operation::new(
        Put,
        "/v1/providers/{name}",
        "Makes a server of models that needs no key a provider, or says where it answers by now, and lists its models. One with a key is \
         changed on the command line alone.",
        || put(keyless),
    )
    .needs(ADMIN)
    .takes(of::<KeylessForm>)
    .gives(200, of::<ProviderModels>),
    Operation::new(Get, "/v1/providers/{name}/models", "Lists the models of a provider, as it lists them itself.", || get(models))
        .needs(READ)
        .asks(of::<ModelsQuery>)
        .gives(200, of::<ProviderModels>)
        .fails(&[(404, "There is no such provider.")]),
];

/// How old what is told may be.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ModelsQuery {
    /// Whether the provider is asked though it was within the last ten minutes.
    #[serde(default)]
    fresh: bool,
}

async fn list(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.providers_of().list().await?, "next": null })))
}

async fn keyless(
    State(api): State<Api>,
    who: Identity,
    At(name): At<String>,
    Form(form): Form<KeylessForm>,
) -> Result<Json<ProviderModels>, Problem> {
    let base_url = form.base_url.clone();
    let made = api.app.providers_of().put_keyless(&name, form).await?;
    api.app.audit_change(&who.actor, "provider.put", json!({ "name": name, "base_url": base_url })).await?;
    Ok(Json(made))
}

async fn models(State(api): State<Api>, At(name): At<String>, Asked(query): Asked<ModelsQuery>) -> Result<Json<ProviderModels>, Problem> {
    Ok(Json(api.app.providers_of().models(&name, query.fresh).await?))
}
