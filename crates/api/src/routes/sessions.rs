//! Sessions: making, finding, changing, asking, ending.

use app::{AnswerForm, ImageRef, MessageForm, MountNote, SessionForm, SessionPatch, SessionQuery, SessionView};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post, put};
use model::{Code, Failure, TurnId};
use serde_json::{Value, json};

use super::Api;
use crate::auth::Identity;
use crate::files::{self, TreeAt};
use crate::operation::Verb::{Delete, Get, Patch, Post, Put};
use crate::operation::{Operation, of, page_of};
use crate::request::{Asked, At, Form};
use crate::{Problem, Tickets};

/// The longest message: a prompt in JSON, where each byte may take six, or files in base64.
const MESSAGE_BYTES_MAX: usize = 6 * model::PROMPT_BYTES_MAX + (1 << 20);
/// What a tree of files is sent as.
const TAR: &str = "application/x-tar";

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/sessions", "Lists sessions, the youngest first.", || get(list))
        .asks(of::<SessionQuery>)
        .gives(200, page_of::<SessionView>),
    Operation::new(Post, "/v1/sessions", "Makes a session.", || post(create)).takes(of::<Create>).gives(201, of::<SessionView>),
    Operation::new(Get, "/v1/sessions/{id}", "Shows a session.", || get(show)).gives(200, of::<SessionView>),
    Operation::new(Patch, "/v1/sessions/{id}", "Changes title or labels, or archives.", || patch(update))
        .takes(of::<SessionPatch>)
        .gives(200, of::<SessionView>),
    Operation::new(Delete, "/v1/sessions/{id}", "Cancels and forgets a session with its files.", || delete(remove)),
    Operation::new(Post, "/v1/sessions/{id}/archive", "Keeps its files and takes no turns any more.", || post(archive))
        .gives(200, of::<SessionView>),
    Operation::new(Post, "/v1/sessions/{id}/unarchive", "Takes turns again.", || post(unarchive)).gives(200, of::<SessionView>),
    Operation::new(Post, "/v1/sessions/{id}/resume", "Gives a session its host directories again, opened by the caller.", || post(resume))
        .takes(of::<Resume>)
        .gives(200, of::<SessionView>),
    Operation::new(
        Post,
        "/v1/sessions/{id}/messages",
        "Accepts a turn: it is durable when this answers. With the header `Idempotency-Key` a repeated request is accepted once.",
        || post(message),
    )
    .takes(of::<MessageForm>)
    .at_most(MESSAGE_BYTES_MAX)
    .gives(202, of::<Accepted>),
    Operation::new(Post, "/v1/sessions/{id}/inject", "Asks while a turn runs, before all that waits.", || post(inject))
        .takes(of::<Inject>)
        .gives(202, of::<Accepted>),
    Operation::new(Post, "/v1/sessions/{id}/answer", "Answers what a turn asks.", || post(answer)).takes(of::<AnswerForm>),
    Operation::new(Post, "/v1/sessions/{id}/cancel", "Cancels what runs and what waits.", || post(cancel)),
    Operation::new(Post, "/v1/sessions/{id}/release", "Lets its sandbox go as soon as nothing runs in it.", || post(release)),
    Operation::new(Get, "/v1/sessions/{id}/files", "A file or tree of its sandbox as a tar stream.", || get(download))
        .asks(of::<TreeAt>)
        .gives_bytes(200, &[TAR]),
    Operation::new(Put, "/v1/sessions/{id}/files", "Unpacks a tar stream in its sandbox.", || put(upload))
        .asks(of::<TreeAt>)
        .takes_bytes(TAR),
];

/// A session to make.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SessionCreate")]
struct Create {
    #[serde(flatten)]
    form: SessionForm,
    /// Names the descriptors of `opened`, handed over beside the owner's socket.
    ticket: Option<String>,
}

async fn create(State(api): State<Api>, who: Identity, Form(create): Form<Create>) -> Result<Response, Problem> {
    who.only_local(!create.form.opened.is_empty(), "opened")?;
    who.only_local(create.form.mounts.iter().any(|mount| mount.by_owner), "by_owner")?;
    who.only_local(create.ticket.is_some(), "ticket")?;
    who.only_local(matches!(create.form.image, Some(ImageRef::Tree(_))), "image")?;
    let mounts = mounts(&api.tickets, create.ticket.as_deref(), &create.form.opened)?;
    let made = api.app.sessions_of(&who.caller).create(create.form, mounts).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// Descriptors for the mounts of a form, in their order.
pub(super) fn mounts(tickets: &Tickets, ticket: Option<&str>, notes: &[MountNote]) -> Result<Vec<app::HostMount>, Failure> {
    let fds = match ticket {
        Some(ticket) => tickets.take(ticket)?,
        None => Vec::new(),
    };
    if fds.len() != notes.len() {
        return Err(Failure::new(Code::PathUnusable, "host directories are mounted only through the owner's socket, opened by the client")
            .hint("use the `lazaret` command on this machine")
            .field("mounts"));
    }
    let mount = |(fd, note): (_, &MountNote)| app::HostMount { fd, target: note.target.clone(), read_only: note.read_only };
    Ok(fds.into_iter().zip(notes).map(mount).collect())
}

async fn list(State(api): State<Api>, who: Identity, Asked(query): Asked<SessionQuery>) -> Result<Json<Value>, Problem> {
    let page = api.app.sessions_of(&who.caller).list(query).await?;
    Ok(Json(json!({ "items": page.items, "next": page.next })))
}

async fn show(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<SessionView>, Problem> {
    Ok(Json(api.app.sessions_of(&who.caller).show(&id).await?))
}

async fn update(
    State(api): State<Api>,
    who: Identity,
    At(id): At<String>,
    Form(change): Form<SessionPatch>,
) -> Result<Json<SessionView>, Problem> {
    Ok(Json(api.app.sessions_of(&who.caller).update(&id, change).await?))
}

async fn archive(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<SessionView>, Problem> {
    let change = SessionPatch { archived: Some(true), ..SessionPatch::default() };
    Ok(Json(api.app.sessions_of(&who.caller).update(&id, change).await?))
}

async fn unarchive(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<SessionView>, Problem> {
    let change = SessionPatch { archived: Some(false), ..SessionPatch::default() };
    Ok(Json(api.app.sessions_of(&who.caller).update(&id, change).await?))
}

async fn remove(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<Value>, Problem> {
    api.app.sessions_of(&who.caller).remove(&id).await?;
    Ok(Json(json!({ "id": id })))
}

/// Host directories to give again.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SessionResume")]
struct Resume {
    /// Those that the session was made with.
    mounts: Vec<MountNote>,
    /// Names their descriptors.
    ticket: Option<String>,
}

async fn resume(State(api): State<Api>, who: Identity, At(id): At<String>, Form(form): Form<Resume>) -> Result<Json<SessionView>, Problem> {
    who.only_local(form.ticket.is_some(), "ticket")?;
    let mounts = mounts(&api.tickets, form.ticket.as_deref(), &form.mounts)?;
    Ok(Json(api.app.sessions_of(&who.caller).resume(&id, form.mounts, mounts).await?))
}

/// The longest idempotency key.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

/// A turn that was accepted.
#[derive(serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "TurnAccepted")]
struct Accepted {
    /// Its identity.
    turn: TurnId,
}

fn accepted(turn: TurnId) -> Response {
    (StatusCode::ACCEPTED, Json(Accepted { turn })).into_response()
}

/// What names a request that may be repeated.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    match headers.get("idempotency-key").map(|v| v.to_str()) {
        None => Ok(None),
        Some(Ok(key)) if !key.is_empty() && key.len() <= IDEMPOTENCY_KEY_BYTES_MAX => Ok(Some(key.to_owned())),
        Some(_) => Err(Failure::new(Code::Usage, "the idempotency key is not 1 to 128 characters of ASCII").field("Idempotency-Key")),
    }
}

async fn message(
    State(api): State<Api>,
    who: Identity,
    At(id): At<String>,
    headers: HeaderMap,
    Form(form): Form<MessageForm>,
) -> Result<Response, Problem> {
    let key = idempotency_key(&headers)?;
    Ok(accepted(api.app.sessions_of(&who.caller).message(&id, form, key).await?))
}

/// What to ask at once.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "InjectForm")]
struct Inject {
    /// The text.
    text: String,
}

async fn inject(State(api): State<Api>, who: Identity, At(id): At<String>, Form(form): Form<Inject>) -> Result<Response, Problem> {
    Ok(accepted(api.app.sessions_of(&who.caller).inject(&id, form.text).await?))
}

async fn answer(State(api): State<Api>, who: Identity, At(id): At<String>, Form(form): Form<AnswerForm>) -> Result<Json<Value>, Problem> {
    api.app.sessions_of(&who.caller).answer(&id, form).await?;
    Ok(Json(json!({ "id": id })))
}

async fn cancel(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<Value>, Problem> {
    api.app.sessions_of(&who.caller).cancel(&id).await?;
    Ok(Json(json!({ "id": id })))
}

async fn release(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<Value>, Problem> {
    api.app.sessions_of(&who.caller).release(&id).await?;
    Ok(Json(json!({ "id": id })))
}

async fn download(State(api): State<Api>, who: Identity, At(id): At<String>, Asked(at): Asked<TreeAt>) -> Result<Response, Problem> {
    at.check()?;
    Ok(files::answer(api.app.sessions_of(&who.caller).get(&id, &at.path).await?))
}

async fn upload(
    State(api): State<Api>,
    who: Identity,
    At(id): At<String>,
    Asked(at): Asked<TreeAt>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    at.check()?;
    api.app.sessions_of(&who.caller).put(&id, &at.path, files::reader(body)).await?;
    Ok(Json(json!({ "path": at.path })))
}
