//! Logins of plugins at the services that they use. A token goes in and never comes out.

use app::{LoginForm, LoginState, LoginStep, LoginTokens, LoginView};
use axum::Json;
use axum::extract::State;
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::auth::Identity;
use crate::operation::Verb::{Get, Post};
use crate::operation::{Needs, Operation, of, page_of};
use crate::request::{At, Form};

const ADMIN: Needs = Needs::Whole(app::Scope::Admin);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/plugin-logins", "Lists what is known of tokens that plugins have by a login.", || get(list))
        .needs(ADMIN)
        .gives(200, page_of::<LoginTokens>),
    Operation::new(Post, "/v1/plugins/{name}/login", "Begins a login for a plugin by OAuth 2.", || post(begin))
        .needs(ADMIN)
        .takes(of::<LoginForm>)
        .gives(201, of::<LoginView>),
    Operation::new(Post, "/v1/plugin-logins/{id}", "Goes on with a login: asks whether it is done.", || post(go_on))
        .needs(ADMIN)
        .takes(of::<LoginStep>)
        .gives(200, of::<LoginState>),
];

async fn list(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.logins().list().await?, "next": null })))
}

async fn begin(
    State(api): State<Api>,
    At(name): At<String>,
    Form(form): Form<LoginForm>,
) -> Result<(axum::http::StatusCode, Json<LoginView>), Problem> {
    Ok((axum::http::StatusCode::CREATED, Json(api.app.logins().begin(&name, form).await?)))
}

async fn go_on(
    State(api): State<Api>,
    who: Identity,
    At(id): At<String>,
    Form(step): Form<LoginStep>,
) -> Result<Json<LoginState>, Problem> {
    let state = api.app.logins().go_on(&id, &step).await?;
    if let Some(secret) = &state.secret {
        api.app.audit_change(&who.actor, "secret.set", json!({ "name": secret })).await?;
    }
    Ok(Json(state))
}
