//! What was heard on chat networks and what became of it, and a word that shows that a chat is reached.

use app::{HeardQuery, HeardView, OutView, Scope};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::auth::Identity;
use crate::operation::Verb::{Get, Post};
use crate::operation::{Needs, Operation, of, page_of};
use crate::request::{Asked, At};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/heard", "Lists what was heard on chat networks, the youngest first, without what was said.", || get(list))
        .asks(of::<HeardQuery>)
        .gives(200, page_of::<HeardView>),
    Operation::new(Post, "/v1/chats/{chat}/test", "Sends a word to a chat, so that somebody sees that it arrives.", || post(test))
        .needs(Needs::Scope(Scope::Manage))
        .gives(202, of::<OutView>),
];

async fn list(State(api): State<Api>, who: Identity, Asked(query): Asked<HeardQuery>) -> Result<Json<Value>, Problem> {
    let page = api.app.chats_of(&who.caller).heard(query).await?;
    Ok(Json(json!({ "items": page.items, "next": page.next })))
}

async fn test(State(api): State<Api>, who: Identity, At(chat): At<String>) -> Result<Response, Problem> {
    let owed = api.app.chats_of(&who.caller).test(&chat).await?;
    api.app.audit_change(&who.actor, "chat.test", json!({ "chat": chat, "delivery": owed.id })).await?;
    Ok((StatusCode::ACCEPTED, Json(owed)).into_response())
}
