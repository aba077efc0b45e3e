//! Tools volumes: what every sandbox sees read-only, and what one agent's see beside it.

use app::ToolView;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use serde_json::{Value, json};

use super::Api;
use crate::auth::Identity;
use crate::operation::Verb::{Delete, Get, Post, Put};
use crate::operation::{Needs, Operation, of, page_of};
use crate::request::{Asked, At, Form};
use crate::{Problem, files};

const ADMIN: Needs = Needs::Scope(app::Scope::Admin);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/tools", "Lists installed packages: those that every sandbox sees, or those of one agent.", || get(list))
        .asks(of::<Whose>)
        .gives(200, page_of::<ToolView>),
    Operation::new(Post, "/v1/tools", "Installs a package, for every sandbox or for one agent: NAME from PyPI, or npm:NAME.", || {
        post(install)
    })
    .needs(ADMIN)
    .takes(of::<Install>)
    .gives(201, of::<ToolView>),
    Operation::new(Delete, "/v1/tools", "Removes a package.", || delete(remove)).needs(ADMIN).asks(of::<Named>),
    Operation::new(Put, "/v1/tools/files/{name}", "Installs the file that is sent, as a program of this name.", || put(install_file))
        .needs(ADMIN)
        .asks(of::<Whose>)
        .takes_bytes("application/octet-stream")
        .gives(201, of::<ToolView>),
];

/// A package to install.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ToolInstall")]
struct Install {
    /// `NAME[==VERSION]` from PyPI or `npm:NAME[@VERSION]`.
    name: String,
    /// The agent that alone sees it; every sandbox sees it when left out.
    #[serde(default)]
    agent: Option<String>,
}

/// Whose packages.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ToolsOfWhom")]
struct Whose {
    /// The agent whose own they are; those that every sandbox sees when left out.
    #[serde(default)]
    agent: Option<String>,
}

/// Which package.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ToolName")]
struct Named {
    /// As it was installed.
    name: String,
    /// The agent whose own it is; one that every sandbox sees when left out.
    #[serde(default)]
    agent: Option<String>,
}

async fn list(State(api): State<Api>, who: Identity, Asked(whose): Asked<Whose>) -> Result<Json<Value>, Problem> {
    let tools = api.app.tools_for(&who.caller, whose.agent).await?;
    Ok(Json(json!({ "items": tools.list().await?, "next": null })))
}

async fn install(State(api): State<Api>, who: Identity, Form(form): Form<Install>) -> Result<Response, Problem> {
    let tools = api.app.tools_for(&who.caller, form.agent).await?;
    Ok((StatusCode::CREATED, Json(tools.install(&form.name).await?)).into_response())
}

async fn install_file(
    State(api): State<Api>,
    who: Identity,
    At(name): At<String>,
    Asked(whose): Asked<Whose>,
    body: Body,
) -> Result<Response, Problem> {
    let tools = api.app.tools_for(&who.caller, whose.agent).await?;
    Ok((StatusCode::CREATED, Json(tools.install_file(&name, files::reader(body)).await?)).into_response())
}

async fn remove(State(api): State<Api>, who: Identity, Asked(named): Asked<Named>) -> Result<Json<Value>, Problem> {
    api.app.tools_for(&who.caller, named.agent).await?.remove(&named.name).await?;
    Ok(Json(json!({ "name": named.name })))
}
