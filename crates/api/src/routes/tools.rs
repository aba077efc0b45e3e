//! The tools volume: what every sandbox sees read-only.

use app::ToolView;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use serde_json::{Value, json};

use super::Api;
use crate::operation::Verb::{Delete, Get, Post, Put};
use crate::operation::{Needs, Operation, of, page_of};
use crate::request::{Asked, At, Form};
use crate::{Problem, files};

const ADMIN: Needs = Needs::Scope(app::Scope::Admin);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/tools", "Lists installed packages.", || get(list)).gives(200, page_of::<ToolView>),
    Operation::new(Post, "/v1/tools", "Installs a package: NAME from PyPI, or npm:NAME.", || post(install))
        .needs(ADMIN)
        .takes(of::<Install>)
        .gives(201, of::<ToolView>),
    Operation::new(Delete, "/v1/tools", "Removes a package.", || delete(remove)).needs(ADMIN).asks(of::<Named>),
    Operation::new(Put, "/v1/tools/files/{name}", "Installs the file that is sent, as a program of this name.", || put(install_file))
        .needs(ADMIN)
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
}

/// Which package.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ToolName")]
struct Named {
    /// As it was installed.
    name: String,
}

async fn list(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.tools().list().await?, "next": null })))
}

async fn install(State(api): State<Api>, Form(form): Form<Install>) -> Result<Response, Problem> {
    Ok((StatusCode::CREATED, Json(api.app.tools().install(&form.name).await?)).into_response())
}

async fn install_file(State(api): State<Api>, At(name): At<String>, body: Body) -> Result<Response, Problem> {
    Ok((StatusCode::CREATED, Json(api.app.tools().install_file(&name, files::reader(body)).await?)).into_response())
}

async fn remove(State(api): State<Api>, Asked(named): Asked<Named>) -> Result<Json<Value>, Problem> {
    api.app.tools().remove(&named.name).await?;
    Ok(Json(json!({ "name": named.name })))
}
