//! The first steps.

use app::{NETWORKS, SetupForm, SetupView};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::auth::Identity;
use crate::operation::Verb::{Delete, Get, Post};
use crate::operation::{Needs, Operation, of, page_of};
use crate::request::Form;

const MANAGE: Needs = Needs::Scope(app::Scope::Manage);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/setup", "How far the first steps came.", || get(show)).gives(200, of::<SetupView>),
    Operation::new(Post, "/v1/setup", "Notes that a step was passed over, or was tried and worked.", || post(note))
        .needs(MANAGE)
        .takes(of::<SetupForm>)
        .gives(200, of::<SetupView>),
    Operation::new(Delete, "/v1/setup", "Forgets what was passed over and what was tried; what is there stays.", || delete(restart))
        .needs(MANAGE)
        .gives(200, of::<SetupView>),
    Operation::new(Get, "/v1/notices", "What should be done something about, each with what does it.", || get(notices))
        .gives(200, page_of::<app::Notice>),
    Operation::new(Post, "/v1/ask", "Makes a session for a question about the install: it can look, and do nothing.", || post(ask))
        .needs(Needs::Whole(app::Scope::Admin))
        .takes(of::<app::AskForm>)
        .gives(201, of::<app::AskView>),
    Operation::new(Get, "/v1/networks", "What the networks that ship need, step by step.", || get(networks))
        .gives(200, page_of::<app::NetworkGuide>),
];

async fn show(State(api): State<Api>, who: Identity) -> Result<Json<SetupView>, Problem> {
    Ok(Json(api.app.setup_of(&who.caller).show().await?))
}

async fn note(State(api): State<Api>, who: Identity, Form(form): Form<SetupForm>) -> Result<Json<SetupView>, Problem> {
    Ok(Json(api.app.setup_of(&who.caller).note(form).await?))
}

async fn restart(State(api): State<Api>, who: Identity) -> Result<Json<SetupView>, Problem> {
    Ok(Json(api.app.setup_of(&who.caller).restart().await?))
}

async fn notices(State(api): State<Api>, who: Identity) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.notices(&who.caller).await?, "next": null })))
}

async fn ask(State(api): State<Api>, Form(form): Form<app::AskForm>) -> Result<(StatusCode, Json<app::AskView>), Problem> {
    Ok((StatusCode::CREATED, Json(api.app.ask(form).await?)))
}

async fn networks() -> Json<Value> {
    Json(json!({ "items": NETWORKS, "next": null }))
}
