//! Sessions, their turns and events.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::files::{self, At};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/sessions", post(create))
        .route("/v1/sessions/{id}", get(show).delete(remove))
        .route("/v1/sessions/{id}/resume", post(resume))
        .route("/v1/sessions/{id}/messages", post(message))
        .route("/v1/sessions/{id}/events", get(events))
        .route("/v1/sessions/{id}/cancel", post(cancel))
        .route("/v1/sessions/{id}/release", post(release))
        .route("/v1/sessions/{id}/files", get(download).put(upload))
        .route("/v1/sessions/{id}/tape", get(tape_out).put(tape_in))
        .route("/v1/sessions/{id}/replay", post(replay_session))
        .route("/v1/replays", post(replay_tape))
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    #[serde(flatten)]
    form: app::SessionForm,
    ticket: Option<String>,
}

async fn create(State(api): State<Api>, Json(create): Json<Create>) -> Result<Response, Problem> {
    let mounts = super::sandboxes::mounts(&api.tickets, create.ticket.as_deref(), &create.form.opened)?;
    let made = api.app.sessions().create(create.form, mounts).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

async fn show(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<app::SessionView>, Problem> {
    Ok(Json(api.app.sessions().show(&id).await?))
}

async fn remove(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    api.app.sessions().remove(&id).await?;
    Ok(Json(json!({ "id": id })))
}

/// Gives the session its host directories again, opened by the caller.
async fn resume(State(api): State<Api>, Path(id): Path<String>, Json(create): Json<Resume>) -> Result<Json<app::SessionView>, Problem> {
    let mounts = super::sandboxes::mounts(&api.tickets, create.ticket.as_deref(), &create.mounts)?;
    Ok(Json(api.app.sessions().resume(&id, create.mounts, mounts).await?))
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Resume {
    mounts: Vec<app::MountNote>,
    ticket: Option<String>,
}

/// The longest idempotency key.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

async fn message(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(form): Json<app::MessageForm>,
) -> Result<Response, Problem> {
    let key = match headers.get("idempotency-key").map(|v| v.to_str()) {
        None => None,
        Some(Ok(key)) if !key.is_empty() && key.len() <= IDEMPOTENCY_KEY_BYTES_MAX => Some(key.to_owned()),
        Some(_) => return Err(model::Failure::new(model::Code::Usage, "the idempotency key is not 1 to 128 characters of ASCII").into()),
    };
    let turn = api.app.sessions().message(&id, form, key).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "turn": turn }))).into_response())
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    #[serde(default)]
    after: u64,
    #[serde(default = "page")]
    limit: usize,
    /// Cancel the session's work if this connection ends before its result.
    #[serde(default)]
    attach: bool,
}

fn page() -> usize {
    100
}

/// The longest page of events.
const PAGE_MAX: usize = 1000;
/// How often a silent stream says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A page of events, or all that come: as `application/x-ndjson` or `text/event-stream`.
async fn events(State(api): State<Api>, Path(id): Path<String>, Query(ask): Query<Ask>, headers: HeaderMap) -> Result<Response, Problem> {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("");
    let form = if accept.contains("text/event-stream") {
        Form::Sse
    } else if accept.contains("application/x-ndjson") {
        Form::Lines
    } else {
        let events = api.app.sessions().events(&id, ask.after, ask.limit.clamp(1, PAGE_MAX)).await?;
        return Ok(Json(json!({ "events": events })).into_response());
    };
    let follow = api.app.sessions().follow(&id, ask.after, ask.attach).await?;
    let body = stream::unfold((follow, form), |(mut follow, form)| async move {
        let bytes = match tokio::time::timeout(KEEP_ALIVE, follow.next()).await {
            Ok(Ok(Some(events))) => form.write(&events),
            Ok(Ok(None)) => return None,
            Ok(Err(failure)) => {
                tracing::warn!(%failure, "a stream of events ended");
                return None;
            }
            Err(_) => Bytes::from_static(form.keep_alive()),
        };
        Some((Ok::<_, std::convert::Infallible>(bytes), (follow, form)))
    });
    Ok(([(header::CONTENT_TYPE, form.kind()), (header::CACHE_CONTROL, "no-store")], Body::from_stream(body)).into_response())
}

#[derive(Clone, Copy)]
enum Form {
    Lines,
    Sse,
}

impl Form {
    fn kind(self) -> &'static str {
        match self {
            Form::Lines => "application/x-ndjson",
            Form::Sse => "text/event-stream",
        }
    }

    fn keep_alive(self) -> &'static [u8] {
        match self {
            Form::Lines => b"\n",
            Form::Sse => b": alive\n\n",
        }
    }

    fn write(self, events: &[model::Event]) -> Bytes {
        let mut out = Vec::new();
        for event in events {
            // Events are made of text, numbers and JSON values: writing them to memory cannot fail.
            let Ok(json) = serde_json::to_string(event) else { continue };
            match self {
                Form::Lines => out.extend_from_slice(format!("{json}\n").as_bytes()),
                Form::Sse => out.extend_from_slice(format!("id: {}\ndata: {json}\n\n", event.seq).as_bytes()),
            }
        }
        out.into()
    }
}

async fn cancel(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    api.app.sessions().cancel(&id).await?;
    Ok(Json(json!({ "id": id })))
}

async fn release(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    api.app.sessions().release(&id).await?;
    Ok(Json(json!({ "id": id })))
}

async fn download(State(api): State<Api>, Path(id): Path<String>, Query(at): Query<At>) -> Result<Response, Problem> {
    Ok(files::answer(api.app.sessions().get(&id, &at.path).await?))
}

async fn upload(State(api): State<Api>, Path(id): Path<String>, Query(at): Query<At>, body: Body) -> Result<Json<Value>, Problem> {
    api.app.sessions().put(&id, &at.path, files::reader(body)).await?;
    Ok(Json(json!({ "path": at.path })))
}

async fn tape_out(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    Ok(files::answer(api.app.sessions().tape_out(&id).await?))
}

async fn tape_in(State(api): State<Api>, Path(id): Path<String>, body: Body) -> Result<Json<Value>, Problem> {
    api.app.sessions().tape_in(&id, files::reader(body)).await?;
    Ok(Json(json!({ "id": id })))
}

async fn replay_session(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, Problem> {
    Ok((StatusCode::CREATED, Json(api.app.sessions().replay_session(&id).await?)).into_response())
}

async fn replay_tape(State(api): State<Api>, body: Body) -> Result<Response, Problem> {
    Ok((StatusCode::CREATED, Json(api.app.sessions().replay_tape(files::reader(body)).await?)).into_response())
}
