//! Records of model calls, and sessions that run from them.

use app::SessionView;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde_json::{Value, json};

use super::Api;
use crate::auth::Identity;
use crate::operation::Verb::{Get, Post, Put};
use crate::operation::{Operation, of};
use crate::request::At;
use crate::{Problem, files};

/// What a tape is.
const TAPE: &str = "application/x-tar";

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/sessions/{id}/tape", "The tape of the session's last turn.", || get(tape_out)).gives_bytes(200, &[TAPE]),
    Operation::new(Put, "/v1/sessions/{id}/tape", "Gives a session that replays the tape to answer from.", || put(tape_in))
        .takes_bytes(TAPE),
    Operation::new(Post, "/v1/sessions/{id}/replay", "Makes a session that runs the last turn again from its tape.", || {
        post(replay_session)
    })
    .gives(201, of::<SessionView>),
    Operation::new(Post, "/v1/replays", "Makes a session that runs from the tape that is sent.", || post(replay_tape))
        .takes_bytes(TAPE)
        .gives(201, of::<SessionView>),
];

async fn tape_out(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Response, Problem> {
    Ok(files::answer(api.app.sessions_of(&who.caller).tape_out(&id).await?))
}

async fn tape_in(State(api): State<Api>, who: Identity, At(id): At<String>, body: Body) -> Result<Json<Value>, Problem> {
    api.app.sessions_of(&who.caller).tape_in(&id, files::reader(body)).await?;
    Ok(Json(json!({ "id": id })))
}

async fn replay_session(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Response, Problem> {
    Ok((StatusCode::CREATED, Json(api.app.sessions_of(&who.caller).replay_session(&id).await?)).into_response())
}

async fn replay_tape(State(api): State<Api>, who: Identity, body: Body) -> Result<Response, Problem> {
    Ok((StatusCode::CREATED, Json(api.app.sessions_of(&who.caller).replay_tape(files::reader(body)).await?)).into_response())
}
