//! Envs: named file trees that several sessions share.

use app::{EnvForm, EnvPatch, EnvView, MountForm};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use model::Failure;
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::auth::Identity;
use crate::operation::Verb::{Delete, Get, Patch, Post};
use crate::operation::{Operation, of, page_of};
use crate::request::{Asked, At, Form, limit};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/envs", "Lists envs by slug.", || get(list)).asks(of::<List>).gives(200, page_of::<EnvView>),
    Operation::new(Post, "/v1/envs", "Makes an env: empty, or of the files of a session, which goes on in it.", || post(create))
        .takes(of::<EnvForm>)
        .gives(201, of::<EnvView>),
    Operation::new(Get, "/v1/envs/{slug}", "Shows an env.", || get(show)).gives(200, of::<EnvView>),
    Operation::new(Patch, "/v1/envs/{slug}", "Renames an env, or changes its core memory or mounts.", || patch(update))
        .takes(of::<EnvPatch>)
        .gives(200, of::<EnvView>),
    Operation::new(Delete, "/v1/envs/{slug}", "Deletes an env with its files.", || delete(remove)).asks(of::<Removal>),
    Operation::new(Post, "/v1/envs/{slug}/clone", "Copies the files of an env as a new one.", || post(copy))
        .takes(of::<EnvForm>)
        .gives(201, of::<EnvView>),
];

/// Envs in a page: when nothing is said, and at most.
const PAGE: (usize, usize) = (50, 200);

/// Which page.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "EnvQuery")]
struct List {
    /// The cursor of an earlier page.
    after: Option<String>,
    /// Entries in a page; 50 when left out, at most 200.
    limit: Option<usize>,
}

async fn list(State(api): State<Api>, who: Identity, Asked(asked): Asked<List>) -> Result<Json<Value>, Problem> {
    let page = api.app.envs_of(&who.caller).list(asked.after, limit(asked.limit, PAGE.0, PAGE.1)).await?;
    Ok(Json(json!({ "items": page.items, "next": page.next })))
}

/// Places outside of the configured roots are the owner's to name.
fn check_mounts(who: &Identity, mounts: &[MountForm]) -> Result<(), Failure> {
    who.only_local(mounts.iter().any(|mount| mount.by_owner), "by_owner")
}

async fn create(State(api): State<Api>, who: Identity, Form(form): Form<EnvForm>) -> Result<Response, Problem> {
    check_mounts(&who, &form.mounts)?;
    Ok((StatusCode::CREATED, Json(api.app.envs_of(&who.caller).create(form).await?)).into_response())
}

async fn show(State(api): State<Api>, who: Identity, At(slug): At<String>) -> Result<Json<EnvView>, Problem> {
    Ok(Json(api.app.envs_of(&who.caller).show(&slug).await?))
}

async fn update(
    State(api): State<Api>,
    who: Identity,
    At(slug): At<String>,
    Form(change): Form<EnvPatch>,
) -> Result<Json<EnvView>, Problem> {
    check_mounts(&who, change.mounts.as_deref().unwrap_or_default())?;
    Ok(Json(api.app.envs_of(&who.caller).update(&slug, change).await?))
}

/// How to delete.
#[derive(Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "EnvRemoval")]
struct Removal {
    /// Cancel what works in it, instead of being refused.
    force: bool,
}

async fn remove(State(api): State<Api>, who: Identity, At(slug): At<String>, Asked(how): Asked<Removal>) -> Result<Json<Value>, Problem> {
    api.app.envs_of(&who.caller).delete(&slug, how.force).await?;
    Ok(Json(json!({ "slug": slug })))
}

async fn copy(State(api): State<Api>, who: Identity, At(slug): At<String>, Form(form): Form<EnvForm>) -> Result<Response, Problem> {
    check_mounts(&who, &form.mounts)?;
    Ok((StatusCode::CREATED, Json(api.app.envs_of(&who.caller).clone(&slug, form).await?)).into_response())
}
