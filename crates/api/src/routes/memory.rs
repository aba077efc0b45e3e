//! What agents remember, as people see it. Only who may configure an agent says what it may act on.

use app::{MemoryForm, MemoryPurge, MemoryQueryForm, MemoryView};
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
use crate::request::{Asked, At, Form};

const ADMIN: Needs = Needs::Scope(app::Scope::Admin);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/memory", "Lists memories, the newest first; with a query the best first.", || get(list))
        .asks(of::<MemoryQueryForm>)
        .gives(200, page_of::<MemoryView>),
    Operation::new(Post, "/v1/memory", "Keeps what a person wrote, confirmed.", || post(add))
        .needs(ADMIN)
        .takes(of::<MemoryForm>)
        .gives(201, of::<MemoryView>),
    Operation::new(Post, "/v1/memory/purge", "Removes memories of an agent for good.", || post(purge))
        .needs(ADMIN)
        .takes(of::<MemoryPurge>),
    Operation::new(Get, "/v1/memory/{id}", "Shows a memory.", || get(show)).gives(200, of::<MemoryView>),
    Operation::new(Post, "/v1/memory/{id}/confirm", "Lets a memory act in every session of its agent.", || post(confirm))
        .needs(ADMIN)
        .gives(200, of::<MemoryView>),
    Operation::new(Delete, "/v1/memory/{id}", "Removes a memory for good.", || delete(remove)),
];

async fn list(State(api): State<Api>, who: Identity, Asked(form): Asked<MemoryQueryForm>) -> Result<Json<Value>, Problem> {
    let page = api.app.memories_of(&who.caller).list(form).await?;
    Ok(Json(json!({ "items": page.items, "next": page.next })))
}

async fn add(State(api): State<Api>, who: Identity, Form(form): Form<MemoryForm>) -> Result<Response, Problem> {
    Ok((StatusCode::CREATED, Json(api.app.memories_of(&who.caller).add(form).await?)).into_response())
}

async fn show(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<MemoryView>, Problem> {
    Ok(Json(api.app.memories_of(&who.caller).show(&id).await?))
}

async fn confirm(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<MemoryView>, Problem> {
    Ok(Json(api.app.memories_of(&who.caller).confirm(&id).await?))
}

async fn remove(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<Value>, Problem> {
    api.app.memories_of(&who.caller).delete(&id).await?;
    Ok(Json(json!({ "id": id })))
}

async fn purge(State(api): State<Api>, who: Identity, Form(form): Form<MemoryPurge>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "removed": api.app.memories_of(&who.caller).purge(&form).await? })))
}
