//! Sandboxes without an agent.

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper_util::rt::TokioIo;
use model::{Code, Failure};
use serde_json::{Value, json};

use super::Api;
use crate::files::{self, At};
use crate::{Problem, Tickets};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/v1/sandboxes", get(list).post(create))
        .route("/v1/sandboxes/{id}", get(show).delete(remove))
        .route("/v1/sandboxes/{id}/files", get(download).put(upload))
        .route("/v1/sandboxes/{id}/exec", post(exec))
}

/// The name under which a command's frames are spoken after the upgrade.
const UPGRADE: &str = "lazaret-exec";

/// Descriptors for the mounts of a form, in their order.
pub(super) fn mounts(tickets: &Tickets, ticket: Option<&str>, notes: &[app::MountNote]) -> Result<Vec<app::HostMount>, Failure> {
    let fds = match ticket {
        Some(ticket) => tickets.take(ticket)?,
        None => Vec::new(),
    };
    if fds.len() != notes.len() {
        return Err(Failure::new(Code::PathUnusable, "host directories are mounted only through the owner's socket, opened by the client")
            .hint("use the `lazaret` command on this machine")
            .field("mounts"));
    }
    let mount = |(fd, note): (_, &app::MountNote)| app::HostMount { fd, target: note.target.clone(), read_only: note.read_only };
    Ok(fds.into_iter().zip(notes).map(mount).collect())
}

async fn list(State(api): State<Api>) -> Json<Value> {
    Json(json!({ "items": api.app.sandbox_list(), "next": null }))
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    #[serde(flatten)]
    form: app::SandboxForm,
    ticket: Option<String>,
}

async fn create(State(api): State<Api>, Json(create): Json<Create>) -> Result<Response, Problem> {
    let mounts = mounts(&api.tickets, create.ticket.as_deref(), &create.form.mounts)?;
    let made = api.app.sandbox_create(create.form, mounts).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

async fn show(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    Ok(Json(api.app.sandbox_show(&id)?))
}

async fn remove(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    api.app.sandbox_remove(&id).await?;
    Ok(Json(json!({ "id": id })))
}

async fn download(State(api): State<Api>, Path(id): Path<String>, Query(at): Query<At>) -> Result<Response, Problem> {
    Ok(files::answer(api.app.sandbox_get(&id, &at.path).await?))
}

async fn upload(State(api): State<Api>, Path(id): Path<String>, Query(at): Query<At>, body: Body) -> Result<Json<Value>, Problem> {
    api.app.sandbox_put(&id, &at.path, files::reader(body)).await?;
    Ok(Json(json!({ "path": at.path })))
}

/// Runs a command: the request's `command` header holds it as JSON, and after the upgrade both sides speak the frames
/// of the control channel.
async fn exec(State(api): State<Api>, Path(id): Path<String>, mut request: Request) -> Result<Response, Problem> {
    let wanted = request.headers().get(header::UPGRADE).is_some_and(|v| v.as_bytes() == UPGRADE.as_bytes());
    if !wanted {
        return Err(Failure::new(Code::Usage, format!("this route wants `Upgrade: {UPGRADE}`")).into());
    }
    let text = request.headers().get("command").and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
    let form: app::ExecForm =
        serde_json::from_str(&text).map_err(|e| Failure::new(Code::Usage, format!("the command is malformed: {e}")).field("command"))?;
    let command = api.app.exec(&id, form).await?;
    let upgrade = hyper::upgrade::on(&mut request);
    api.app.spawn(async move {
        match upgrade.await {
            Ok(stream) => app::bridge(command, TokioIo::new(stream)).await,
            Err(error) => tracing::debug!(%error, "a client asked for a command and left"),
        }
    });
    let head = [(header::UPGRADE, UPGRADE), (header::CONNECTION, "upgrade")];
    Ok((StatusCode::SWITCHING_PROTOCOLS, head).into_response())
}
