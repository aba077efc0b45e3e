//! Containers: the seed's word for envs.

use app::{EnvForm, EnvPatch, EnvView};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use serde_json::{Value, json};

use super::time::iso;
use crate::auth::Identity;
use crate::operation::Verb::{Delete, Get, Patch, Post};
use crate::operation::{Operation, of};
use crate::request::{Asked, At, Form};
use crate::{Api, Problem};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/api/containers", "Lists named containers.", || get(list)),
    Operation::new(Post, "/api/containers", "Makes a named container: empty, or of a live chat, which goes on in it.", || post(create))
        .takes(of::<Create>)
        .gives(201, of::<Container>),
    Operation::new(Get, "/api/containers/{slug}", "Shows a container.", || get(show)).gives(200, of::<Container>),
    Operation::new(Patch, "/api/containers/{slug}", "Renames a container or changes its core memory.", || patch(update))
        .takes(of::<Change>)
        .gives(200, of::<Container>),
    Operation::new(Delete, "/api/containers/{slug}", "Deletes a container with its files.", || delete(remove)).asks(of::<Removal>),
];

/// A container as it is shown, each name in both ways of writing.
#[derive(serde::Serialize, schemars::JsonSchema)]
struct Container {
    slug: String,
    display_name: String,
    #[serde(rename = "displayName")]
    display_name_too: String,
    core_memory: String,
    #[serde(rename = "coreMemory")]
    core_memory_too: String,
    created_at: String,
    #[serde(rename = "createdAt")]
    created_at_too: String,
    /// Chats in it that are not archived.
    sessions: u64,
}

fn shown(env: EnvView) -> Container {
    Container {
        slug: env.slug,
        display_name_too: env.name.clone(),
        display_name: env.name,
        core_memory_too: env.core_memory.clone(),
        core_memory: env.core_memory,
        created_at_too: iso(env.created),
        created_at: iso(env.created),
        sessions: env.sessions,
    }
}

/// Containers that a list holds.
const LIST_MAX: usize = 10_000;
/// Containers that are read at once.
const PAGE: usize = 200;

async fn list(State(api): State<Api>, who: Identity) -> Result<Json<Value>, Problem> {
    let mut all: Vec<Container> = Vec::new();
    let mut after = None;
    while all.len() < LIST_MAX {
        let page = api.app.envs_of(&who.caller).list(after.take(), PAGE).await?;
        all.extend(page.items.into_iter().map(shown));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(Json(json!({ "containers": all })))
}

/// A container to make.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ContainerForm")]
struct Create {
    /// For people; also `display_name`.
    #[serde(alias = "display_name", alias = "displayName")]
    name: String,
    /// Part of its address; made of the name when left out.
    slug: Option<String>,
    /// The chat whose files it gets; also `sessionId`.
    #[serde(alias = "sessionId")]
    session_id: Option<String>,
}

async fn create(State(api): State<Api>, who: Identity, Form(form): Form<Create>) -> Result<Response, Problem> {
    let form = EnvForm { name: form.name, slug: form.slug, session_id: form.session_id, mounts: Vec::new() };
    let made = api.app.envs_of(&who.caller).create(form).await?;
    Ok((StatusCode::CREATED, Json(shown(made))).into_response())
}

async fn show(State(api): State<Api>, who: Identity, At(slug): At<String>) -> Result<Json<Container>, Problem> {
    Ok(Json(shown(api.app.envs_of(&who.caller).show(&slug).await?)))
}

/// What changes.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ContainerPatch")]
struct Change {
    /// For people; also `displayName`.
    #[serde(alias = "displayName")]
    display_name: Option<String>,
    /// In the instructions of each of its chats, at most 4000 characters; also `coreMemory`.
    #[serde(alias = "coreMemory")]
    core_memory: Option<String>,
}

async fn update(State(api): State<Api>, who: Identity, At(slug): At<String>, Form(form): Form<Change>) -> Result<Json<Container>, Problem> {
    let change = EnvPatch { name: form.display_name, core_memory: form.core_memory, mounts: None };
    Ok(Json(shown(api.app.envs_of(&who.caller).update(&slug, change).await?)))
}

/// How to delete.
#[derive(Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "ContainerRemoval")]
struct Removal {
    /// Cancel what works in it, instead of being refused.
    force: bool,
}

async fn remove(State(api): State<Api>, who: Identity, At(slug): At<String>, Asked(how): Asked<Removal>) -> Result<Json<Value>, Problem> {
    api.app.envs_of(&who.caller).delete(&slug, how.force).await?;
    Ok(Json(json!({ "deleted": true, "slug": slug })))
}
