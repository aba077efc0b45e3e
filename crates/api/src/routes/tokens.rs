//! Tokens of this interface. A token's text is in the answer to its making and nowhere else.

use app::{TokenForm, TokenView};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::auth::Identity;
use crate::operation::Verb::{Delete, Get, Post};
use crate::operation::{Needs, Operation, of, page_of};
use crate::request::{At, Form};

/// A tenant looks after its own tokens.
const MANAGE: Needs = Needs::Scope(app::Scope::Manage);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/tokens", "Lists tokens, those that ended too; never their text.", || get(list))
        .needs(MANAGE)
        .gives(200, page_of::<TokenView>),
    Operation::new(Post, "/v1/tokens", "Makes a token and shows its text, this once.", || post(create))
        .needs(MANAGE)
        .takes(of::<TokenForm>)
        .gives(201, of::<TokenView>),
    Operation::new(Delete, "/v1/tokens/{id}", "Ends a token at once.", || delete(revoke)).needs(MANAGE),
];

async fn list(State(api): State<Api>, who: Identity) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.tokens_of(&who.caller).list().await?, "next": null })))
}

async fn create(State(api): State<Api>, who: Identity, Form(form): Form<TokenForm>) -> Result<Response, Problem> {
    let made = api.app.tokens_of(&who.caller).create(form, &who.rights).await?;
    api.app.audit_change(&who.actor, "token.make", json!({ "id": made.id, "scope": made.scope, "tenant": made.tenant })).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

async fn revoke(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<Value>, Problem> {
    api.app.tokens_of(&who.caller).revoke(&id).await?;
    api.app.audit_change(&who.actor, "token.revoke", json!({ "id": id })).await?;
    Ok(Json(json!({ "id": id })))
}
