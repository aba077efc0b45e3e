//! Going back, going another way, and taking a session along.

use app::{Change, ForkForm, SessionView, TurnView, UndoForm};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use model::TurnId;
use serde_json::{Value, json};

use super::Api;
use crate::auth::Identity;
use crate::operation::Verb::{Get, Post};
use crate::operation::{Operation, of, page_of};
use crate::request::{Asked, At, MaybeForm, limit};
use crate::{Problem, files};

/// What an archive is.
const TAR: &str = "application/x-tar";

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/sessions/{id}/turns", "Lists the turns of a session, the oldest first.", || get(turns))
        .asks(of::<Turns>)
        .gives(200, page_of::<TurnView>),
    Operation::new(Get, "/v1/sessions/{id}/messages", "The same as its turns.", || get(turns))
        .asks(of::<Turns>)
        .gives(200, page_of::<TurnView>),
    Operation::new(Get, "/v1/sessions/{id}/turns/{turn}/prompt", "What was asked in a turn, whole.", || get(prompt))
        .gives_bytes(200, &["text/plain"]),
    Operation::new(Post, "/v1/sessions/{id}/undo", "Goes back to the end of an earlier turn.", || post(undo))
        .takes(of::<UndoForm>)
        .gives(200, of::<SessionView>),
    Operation::new(Post, "/v1/sessions/{id}/fork", "Makes sessions that begin where this one stood.", || post(fork))
        .takes(of::<ForkForm>)
        .gives(201, page_of::<SessionView>),
    Operation::new(Get, "/v1/sessions/{id}/diff", "Lists the files that a turn changed.", || get(diff))
        .asks(of::<Which>)
        .gives(200, page_of::<Change>),
    Operation::new(Get, "/v1/sessions/{id}/diff/{turn}", "What a turn changed in one text file, as a unified diff.", || get(patch))
        .asks(of::<Of>)
        .gives_bytes(200, &["text/plain"]),
    Operation::new(Get, "/v1/sessions/{id}/export", "The session as one archive; it holds no secret value.", || get(export))
        .gives_bytes(200, &[TAR]),
    Operation::new(Post, "/v1/sessions/import", "Makes a session of an archive.", || post(import))
        .takes_bytes(TAR)
        .gives(201, of::<SessionView>),
];

/// Turns in a page: when nothing is said, and at most.
const PAGE: (usize, usize) = (100, 1000);

/// Which turns.
#[derive(Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "TurnQuery")]
struct Turns {
    /// Those after this place.
    after: u64,
    /// Entries in a page; 100 when left out, at most 1000.
    limit: Option<usize>,
}

async fn turns(State(api): State<Api>, who: Identity, At(id): At<String>, Asked(asked): Asked<Turns>) -> Result<Json<Value>, Problem> {
    let most = limit(asked.limit, PAGE.0, PAGE.1);
    let turns = api.app.sessions_of(&who.caller).turns(&id, asked.after, most).await?;
    let next = turns.last().filter(|_| turns.len() == most).map(|turn| turn.n.to_string());
    Ok(Json(json!({ "items": turns, "next": next })))
}

async fn prompt(State(api): State<Api>, who: Identity, At((id, turn)): At<(String, TurnId)>) -> Result<Response, Problem> {
    let text = api.app.sessions_of(&who.caller).prompt(&id, &turn).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

async fn undo(
    State(api): State<Api>,
    who: Identity,
    At(id): At<String>,
    MaybeForm(form): MaybeForm<UndoForm>,
) -> Result<Json<SessionView>, Problem> {
    Ok(Json(api.app.sessions_of(&who.caller).undo(&id, form).await?))
}

async fn fork(
    State(api): State<Api>,
    who: Identity,
    At(id): At<String>,
    MaybeForm(form): MaybeForm<ForkForm>,
) -> Result<Response, Problem> {
    let made = api.app.sessions_of(&who.caller).fork(&id, form).await?;
    Ok((StatusCode::CREATED, Json(json!({ "items": made, "next": null }))).into_response())
}

/// Which turn.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "DiffQuery")]
struct Which {
    /// The turn; the one whose end is the present state when left out.
    turn: Option<u64>,
}

async fn diff(State(api): State<Api>, who: Identity, At(id): At<String>, Asked(which): Asked<Which>) -> Result<Json<Value>, Problem> {
    let sessions = api.app.sessions_of(&who.caller);
    let turn = match which.turn {
        Some(turn) => turn,
        None => sessions.show(&id).await?.head,
    };
    Ok(Json(json!({ "items": sessions.diff(&id, turn).await?, "next": null })))
}

/// Which file.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PatchQuery")]
struct Of {
    /// As the list of changes names it.
    path: String,
}

async fn patch(
    State(api): State<Api>,
    who: Identity,
    At((id, turn)): At<(String, u64)>,
    Asked(of): Asked<Of>,
) -> Result<Response, Problem> {
    let text = api.app.sessions_of(&who.caller).patch(&id, turn, &of.path).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

async fn export(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Response, Problem> {
    Ok(files::answer(api.app.sessions_of(&who.caller).export(&id).await?))
}

async fn import(State(api): State<Api>, who: Identity, body: Body) -> Result<Response, Problem> {
    let made = api.app.sessions_of(&who.caller).import(files::reader(body)).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}
