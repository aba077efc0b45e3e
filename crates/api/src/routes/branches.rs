//! Agents that work on branches.

use app::{
    BranchDiff, BranchQuery, BranchType, BranchView, CheckOrder, CheckView, CleanForm, CleanView, CommentForm, CommentView, MergeForm,
    MergeView, PolicyForm, PreviewForm, PreviewView, ResumeForm, SpawnForm, Spawned, SpawnedOne, VerdictForm, WorktreeForm, WorktreeView,
};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use model::{Code, Failure};
use serde_json::{Value, json};

use super::Api;
use super::sessions::idempotency_key;
use crate::Problem;
use crate::auth::Identity;
use crate::operation::Verb::{Get, Post};
use crate::operation::{Operation, of, page_of};
use crate::request::{Asked, At, Form, MaybeForm};

/// The longest request: a prompt in JSON, where each byte may take six.
const TASK_BYTES_MAX: usize = 6 * model::PROMPT_BYTES_MAX + (1 << 20);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/branches", "Lists branch agents, the youngest first.", || get(list))
        .asks(of::<BranchQuery>)
        .gives(200, page_of::<BranchView>),
    Operation::new(
        Post,
        "/v1/branches",
        "Begins agents, each in a clone of its own on a branch of a repository; one that is there already gets a further task. With \
         the header `Idempotency-Key` a repeated request is accepted once.",
        || post(spawn),
    )
    .takes(of::<Spawn>)
    .at_most(TASK_BYTES_MAX)
    .gives(201, of::<Spawned>),
    Operation::new(Get, "/v1/branch-types", "The kinds of tasks that a branch agent can be spawned for.", || get(types))
        .gives(200, page_of::<BranchType>),
    Operation::new(Get, "/v1/branches/{id}", "Shows a branch agent.", || get(show)).gives(200, of::<BranchView>),
    Operation::new(Post, "/v1/branches/{id}/messages", "Gives a branch agent a further task, or lets it go on.", || post(resume))
        .takes(of::<ResumeForm>)
        .at_most(TASK_BYTES_MAX)
        .gives(202, of::<SpawnedOne>),
    Operation::new(Post, "/v1/branches/{id}/stop", "Stops a branch agent; what it committed comes home.", || post(stop))
        .gives(200, of::<BranchView>),
    Operation::new(Post, "/v1/branches/{id}/fetch", "Brings a branch agent's commits home now.", || post(fetch))
        .gives(200, of::<BranchView>),
    Operation::new(Get, "/v1/branches/{id}/diff", "What a branch agent changed, with what hides in it.", || get(diff))
        .asks(of::<InRepo>)
        .gives(200, of::<BranchDiff>),
    Operation::new(Get, "/v1/branches/{id}/patch", "What a branch agent changed, in one file or in all, as a unified diff.", || get(patch))
        .asks(of::<Of>)
        .gives_bytes(200, &["text/plain"]),
    Operation::new(Get, "/v1/branches/{id}/comments", "The comments on a branch agent's work.", || get(comments))
        .gives(200, page_of::<CommentView>),
    Operation::new(Post, "/v1/branches/{id}/comments", "Keeps a comment until the next review is sent.", || post(comment))
        .takes(of::<CommentForm>)
        .gives(201, of::<CommentView>),
    Operation::new(Post, "/v1/branches/{id}/review", "Gives the comments that were not sent yet to the agent, as its next turn.", || {
        post(review)
    })
    .gives(202, of::<SpawnedOne>),
    Operation::new(Post, "/v1/branches/{id}/verdict", "Notes what a reader decided.", || post(verdict))
        .takes(of::<VerdictForm>)
        .gives(200, of::<BranchView>),
    Operation::new(Post, "/v1/branches/{id}/check", "Runs the check command on the last commit, in a sandbox without doors.", || {
        post(check)
    })
    .takes(of::<CheckOrder>)
    .gives(200, of::<CheckView>),
    Operation::new(Post, "/v1/branches/preview", "Says which branches would conflict; touches nothing.", || post(preview))
        .takes(of::<PreviewForm>)
        .gives(200, of::<PreviewView>),
    Operation::new(Post, "/v1/branches/{id}/merge", "Merges a branch agent's branch, whole or not at all.", || post(merge))
        .takes(of::<MergeForm>)
        .gives(200, of::<MergeView>),
    Operation::new(Post, "/v1/branches/{id}/resolve", "Gives a conflict with the target to the agent, as its next turn.", || post(resolve))
        .takes(of::<Resolve>)
        .gives(202, of::<SpawnedOne>),
    Operation::new(
        Post,
        "/v1/branches/put-away",
        "Puts away the branch agents that the configuration lets go, and lists those that would lose work.",
        || post(put_away),
    )
    .takes(of::<PolicyForm>)
    .gives(200, page_of::<CleanView>),
    Operation::new(
        Post,
        "/v1/branches/{id}/worktree",
        "Makes a working tree with what came home last; by the owner's socket only.",
        || post(worktree),
    )
    .takes(of::<Worktree>)
    .gives(201, of::<WorktreeView>),
    Operation::new(Post, "/v1/branches/{id}/clean", "Forgets a branch agent; refuses what would be lost.", || post(clean))
        .takes(of::<CleanForm>)
        .gives(200, of::<CleanView>),
];

/// Which file.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "BranchPatchQuery")]
struct Of {
    /// As the list of changes names it; all of them when left out.
    path: Option<String>,
    /// What a repository beside the first one is called; the first one when left out.
    repo: Option<String>,
}

/// Which repository.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "BranchDiffQuery")]
struct InRepo {
    /// What a repository beside the first one is called; the first one when left out.
    repo: Option<String>,
}

/// A conflict to resolve.
#[derive(Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "BranchResolve")]
struct Resolve {
    /// The target; the branch that the agent's was taken from when left out.
    into: Option<String>,
}

/// Agents to begin.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "BranchSpawn")]
struct Spawn {
    #[serde(flatten)]
    form: SpawnForm,
    /// Names the descriptors of the repositories in their order, handed over beside the owner's socket.
    #[serde(default)]
    ticket: Option<String>,
}

async fn put_away(State(api): State<Api>, who: Identity, MaybeForm(form): MaybeForm<PolicyForm>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.branches_of(&who.caller).put_away(form).await?, "next": null })))
}

/// A working tree to be made.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "BranchWorktree")]
struct Worktree {
    /// Where: an absolute path that is not there yet.
    path: std::path::PathBuf,
    /// Check the commit out and not the branch.
    #[serde(default)]
    detach: bool,
    /// Names the descriptor of the directory above, handed over beside the owner's socket.
    ticket: String,
}

async fn worktree(State(api): State<Api>, who: Identity, At(id): At<String>, Form(asked): Form<Worktree>) -> Result<Response, Problem> {
    who.only_local(true, "ticket")?;
    let Worktree { path, detach, ticket } = asked;
    let above =
        api.tickets.take(&ticket)?.pop().ok_or_else(|| Failure::new(Code::Usage, "no directory was handed over").field("ticket"))?;
    let made = api.app.branches_of(&who.caller).worktree(&id, WorktreeForm { path, detach }, &above).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

async fn list(State(api): State<Api>, who: Identity, Asked(query): Asked<BranchQuery>) -> Result<Json<Value>, Problem> {
    let page = api.app.branches_of(&who.caller).list(query).await?;
    Ok(Json(json!({ "items": page.items, "next": page.next })))
}

async fn spawn(State(api): State<Api>, who: Identity, headers: HeaderMap, Form(asked): Form<Spawn>) -> Result<Response, Problem> {
    who.only_local(asked.ticket.is_some(), "ticket")?;
    who.only_local(asked.form.engine_dir.is_some(), "engine_dir")?;
    let fds = asked.ticket.as_deref().map(|ticket| api.tickets.take(ticket)).transpose()?.unwrap_or_default();
    let spawned = api.app.branches_of(&who.caller).spawn(asked.form, fds, idempotency_key(&headers)?).await?;
    Ok((StatusCode::CREATED, Json(spawned)).into_response())
}

async fn types(State(api): State<Api>, who: Identity) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.branches_of(&who.caller).types()?, "next": null })))
}

async fn show(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<BranchView>, Problem> {
    Ok(Json(api.app.branches_of(&who.caller).show(&id).await?))
}

async fn resume(
    State(api): State<Api>,
    who: Identity,
    headers: HeaderMap,
    At(id): At<String>,
    MaybeForm(form): MaybeForm<ResumeForm>,
) -> Result<Response, Problem> {
    let asked = api.app.branches_of(&who.caller).resume(&id, form, idempotency_key(&headers)?).await?;
    Ok((StatusCode::ACCEPTED, Json(asked)).into_response())
}

async fn stop(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<BranchView>, Problem> {
    Ok(Json(api.app.branches_of(&who.caller).stop(&id).await?))
}

async fn fetch(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<BranchView>, Problem> {
    Ok(Json(api.app.branches_of(&who.caller).fetch(&id).await?))
}

async fn diff(State(api): State<Api>, who: Identity, At(id): At<String>, Asked(of): Asked<InRepo>) -> Result<Json<BranchDiff>, Problem> {
    Ok(Json(api.app.branches_of(&who.caller).diff(&id, of.repo.as_deref()).await?))
}

async fn patch(State(api): State<Api>, who: Identity, At(id): At<String>, Asked(of): Asked<Of>) -> Result<Response, Problem> {
    let bytes = api.app.branches_of(&who.caller).patch(&id, of.repo.as_deref(), of.path.as_deref()).await?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

async fn comments(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.branches_of(&who.caller).comments(&id).await?, "next": null })))
}

async fn comment(State(api): State<Api>, who: Identity, At(id): At<String>, Form(form): Form<CommentForm>) -> Result<Response, Problem> {
    let made = api.app.branches_of(&who.caller).comment(&id, form).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

async fn review(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Response, Problem> {
    let sent = api.app.branches_of(&who.caller).send_review(&id).await?;
    Ok((StatusCode::ACCEPTED, Json(sent)).into_response())
}

async fn verdict(
    State(api): State<Api>,
    who: Identity,
    At(id): At<String>,
    Form(form): Form<VerdictForm>,
) -> Result<Json<BranchView>, Problem> {
    Ok(Json(api.app.branches_of(&who.caller).judge(&id, form).await?))
}

async fn check(
    State(api): State<Api>,
    who: Identity,
    At(id): At<String>,
    MaybeForm(order): MaybeForm<CheckOrder>,
) -> Result<Json<CheckView>, Problem> {
    Ok(Json(api.app.branches_of(&who.caller).check(&id, order).await?))
}

async fn preview(State(api): State<Api>, who: Identity, Form(form): Form<PreviewForm>) -> Result<Json<PreviewView>, Problem> {
    Ok(Json(api.app.branches_of(&who.caller).preview(form).await?))
}

async fn merge(
    State(api): State<Api>,
    who: Identity,
    At(id): At<String>,
    MaybeForm(form): MaybeForm<MergeForm>,
) -> Result<Json<MergeView>, Problem> {
    Ok(Json(api.app.branches_of(&who.caller).merge(&id, form).await?))
}

async fn resolve(
    State(api): State<Api>,
    who: Identity,
    At(id): At<String>,
    MaybeForm(form): MaybeForm<Resolve>,
) -> Result<Response, Problem> {
    let asked = api.app.branches_of(&who.caller).resolve_conflict(&id, form.into).await?;
    Ok((StatusCode::ACCEPTED, Json(asked)).into_response())
}

async fn clean(
    State(api): State<Api>,
    who: Identity,
    At(id): At<String>,
    MaybeForm(form): MaybeForm<CleanForm>,
) -> Result<Json<CleanView>, Problem> {
    Ok(Json(api.app.branches_of(&who.caller).clean(&id, form).await?))
}
