//! Branches that are merged one after the other, each on top of those before it.

use app::{QueueForm, QueueQuery, QueueView};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::Api;
use super::sessions::idempotency_key;
use crate::Problem;
use crate::auth::Identity;
use crate::operation::Verb::{Get, Post};
use crate::operation::{Operation, of, page_of};
use crate::request::{Asked, At, Form};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/merge-queues", "Lists merge queues, the youngest first.", || get(list))
        .asks(of::<QueueQuery>)
        .gives(200, page_of::<QueueView>),
    Operation::new(
        Post,
        "/v1/merge-queues",
        "Puts branches into a target one after the other: each on top of those before it, checked there, and stopping at the first that \
         does not fit or does not pass. With the header `Idempotency-Key` a repeated request is accepted once.",
        || post(make),
    )
    .takes(of::<QueueForm>)
    .gives(202, of::<QueueView>),
    Operation::new(Get, "/v1/merge-queues/{id}", "Shows a merge queue.", || get(show)).gives(200, of::<QueueView>),
    Operation::new(Post, "/v1/merge-queues/{id}/stop", "Stops a merge queue before its next step.", || post(stop))
        .gives(200, of::<QueueView>),
    Operation::new(Post, "/v1/merge-queues/{id}/resume", "Lets a stopped merge queue go on.", || post(resume)).gives(202, of::<QueueView>),
];

async fn list(State(api): State<Api>, who: Identity, Asked(query): Asked<QueueQuery>) -> Result<Json<Value>, Problem> {
    let items = api.app.branches_of(&who.caller).queues(query).await?;
    Ok(Json(json!({ "items": items, "next": null })))
}

async fn make(State(api): State<Api>, who: Identity, headers: HeaderMap, Form(form): Form<QueueForm>) -> Result<Response, Problem> {
    let made = api.app.branches_of(&who.caller).queue(form, idempotency_key(&headers)?).await?;
    Ok((StatusCode::ACCEPTED, Json(made)).into_response())
}

async fn show(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<QueueView>, Problem> {
    Ok(Json(api.app.branches_of(&who.caller).queue_of(&id).await?))
}

async fn stop(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<QueueView>, Problem> {
    Ok(Json(api.app.branches_of(&who.caller).stop_queue(&id).await?))
}

async fn resume(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Response, Problem> {
    let asked = api.app.branches_of(&who.caller).resume_queue(&id).await?;
    Ok((StatusCode::ACCEPTED, Json(asked)).into_response())
}
