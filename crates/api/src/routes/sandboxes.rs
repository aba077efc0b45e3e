//! Sandboxes without an agent.

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use hyper_util::rt::TokioIo;
use model::{Code, Failure};
use serde_json::{Value, json};

use super::Api;
use super::sessions::mounts;
use crate::Problem;
use crate::auth::Identity;
use crate::files::{self, TreeAt};
use crate::operation::Verb::{Delete, Get, Post, Put};
use crate::operation::{Needs, Operation, object, of, page_of};
use crate::request::{Asked, At, Form};

/// Sandboxes made by hand belong to nobody, so no tenant's token sees them.
const READ: Needs = Needs::Whole(app::Scope::Read);
/// As [`READ`], for what changes something.
const WRITE: Needs = Needs::Whole(app::Scope::Write);
/// What a tree of files is sent as.
const TAR: &str = "application/x-tar";

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/sandboxes", "Lists sandboxes.", || get(list)).needs(READ).gives(200, page_of::<Value>),
    Operation::new(Post, "/v1/sandboxes", "Makes a sandbox by hand.", || post(create)).needs(WRITE).takes(of::<Create>).gives(201, object),
    Operation::new(Get, "/v1/sandboxes/{id}", "Shows a sandbox.", || get(show)).needs(READ),
    Operation::new(Delete, "/v1/sandboxes/{id}", "Removes a sandbox that was made by hand.", || delete(remove)).needs(WRITE),
    Operation::new(Get, "/v1/sandboxes/{id}/files", "A file or tree as a tar stream.", || get(download))
        .needs(READ)
        .asks(of::<TreeAt>)
        .gives_bytes(200, &[TAR]),
    Operation::new(Put, "/v1/sandboxes/{id}/files", "Unpacks a tar stream.", || put(upload))
        .needs(WRITE)
        .asks(of::<TreeAt>)
        .takes_bytes(TAR),
    Operation::new(
        Post,
        "/v1/sandboxes/{id}/exec",
        "Runs a command: the header `command` holds it as JSON, and after `Upgrade: lazaret-exec` both sides speak frames.",
        || post(exec),
    )
    .needs(WRITE)
    .gives_bytes(101, &[]),
];

/// The name under which a command's frames are spoken after the upgrade.
const UPGRADE: &str = "lazaret-exec";

async fn list(State(api): State<Api>) -> Json<Value> {
    Json(json!({ "items": api.app.sandbox_list(), "next": null }))
}

/// A sandbox to make.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SandboxCreate")]
struct Create {
    #[serde(flatten)]
    form: app::SandboxForm,
    /// Names the descriptors of `mounts`, handed over beside the owner's socket.
    ticket: Option<String>,
}

async fn create(State(api): State<Api>, who: Identity, Form(create): Form<Create>) -> Result<Response, Problem> {
    who.only_local(create.ticket.is_some(), "ticket")?;
    who.only_local(matches!(create.form.image, app::ImageRef::Tree(_)), "image")?;
    let mounts = mounts(&api.tickets, create.ticket.as_deref(), &create.form.mounts)?;
    let made = api.app.sandbox_create(create.form, mounts).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

async fn show(State(api): State<Api>, At(id): At<String>) -> Result<Json<Value>, Problem> {
    Ok(Json(api.app.sandbox_show(&id)?))
}

async fn remove(State(api): State<Api>, At(id): At<String>) -> Result<Json<Value>, Problem> {
    api.app.sandbox_remove(&id).await?;
    Ok(Json(json!({ "id": id })))
}

async fn download(State(api): State<Api>, At(id): At<String>, Asked(at): Asked<TreeAt>) -> Result<Response, Problem> {
    at.check()?;
    Ok(files::answer(api.app.sandbox_get(&id, &at.path).await?))
}

async fn upload(State(api): State<Api>, At(id): At<String>, Asked(at): Asked<TreeAt>, body: Body) -> Result<Json<Value>, Problem> {
    at.check()?;
    api.app.sandbox_put(&id, &at.path, files::reader(body)).await?;
    Ok(Json(json!({ "path": at.path })))
}

/// Runs a command: the request's `command` header holds it as JSON, and after the upgrade both sides speak the frames
/// of the control channel.
async fn exec(State(api): State<Api>, At(id): At<String>, mut request: Request) -> Result<Response, Problem> {
    let wanted = request.headers().get(header::UPGRADE).is_some_and(|v| v.as_bytes() == UPGRADE.as_bytes());
    if !wanted {
        return Err(Failure::new(Code::Usage, format!("this route wants `Upgrade: {UPGRADE}`")).into());
    }
    let text = request.headers().get("command").and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
    let form: app::ExecForm =
        serde_json::from_str(&text).map_err(|e| Failure::new(Code::Usage, format!("the command is malformed: {e}")).field("command"))?;
    let tty = form.tty;
    let command = api.app.exec(&id, form).await?;
    let upgrade = hyper::upgrade::on(&mut request);
    api.app.spawn(async move {
        match upgrade.await {
            Ok(stream) => app::bridge(command, tty, TokioIo::new(stream)).await,
            Err(error) => tracing::debug!(%error, "a client asked for a command and left"),
        }
    });
    let head = [(header::UPGRADE, UPGRADE), (header::CONNECTION, "upgrade")];
    Ok((StatusCode::SWITCHING_PROTOCOLS, head).into_response())
}
