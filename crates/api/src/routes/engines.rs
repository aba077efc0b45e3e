//! The agent programs.

use app::{ConfigForm, ConfigKind, ConfigView, EngineStatus};
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use serde_json::{Value, json};

use super::{Api, profiles};
use crate::Problem;
use crate::auth::Identity;
use crate::operation::Verb::{Delete, Get, Post, Put};
use crate::operation::{Needs, Operation, of, page_of};
use crate::request::{Asked, At, Form};

const ADMIN: Needs = Needs::Scope(app::Scope::Admin);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/engines", "Lists engines and whether they are installed.", || get(list)).gives(200, page_of::<EngineStatus>),
    Operation::new(Post, "/v1/engines", "Describes an engine that is not built in.", || post(add))
        .takes(of::<ConfigForm>)
        .gives(201, of::<ConfigView>)
        .fails(&[(409, "The name is taken."), (422, "The description cannot be used.")]),
    Operation::new(Get, "/v1/engines/{name}", "Shows the description of an engine, or one of its versions.", || get(show))
        .asks(of::<profiles::Which>)
        .gives(200, of::<ConfigView>)
        .fails(&[(404, "There is none of this name.")]),
    Operation::new(Put, "/v1/engines/{name}", "Changes the description of an engine.", || put(set))
        .takes(of::<ConfigForm>)
        .gives(200, of::<ConfigView>)
        .fails(&[(404, "There is none of this name."), (422, "The description cannot be used.")]),
    Operation::new(Delete, "/v1/engines/{name}", "Removes an installed engine, or the description of one that is not built in.", || {
        delete(remove)
    })
    .needs(ADMIN),
    Operation::new(Post, "/v1/engines/{name}/install", "Installs the pinned version.", || post(install))
        .needs(ADMIN)
        .gives(200, of::<EngineStatus>),
    Operation::new(Post, "/v1/engines/{name}/verify", "Compares the installed files with what was pinned.", || post(verify))
        .needs(ADMIN)
        .gives(200, of::<EngineStatus>),
];

async fn list(State(api): State<Api>, who: Identity) -> Result<Json<Value>, Problem> {
    let mut items = api.app.engines().list().await?;
    let described = api.app.configs_of(&who.caller).engines().await?;
    let more = described.into_iter().filter(|engine| !engine.built_in);
    items.extend(more.map(|engine| EngineStatus {
        name: engine.id,
        version: None,
        installed: true,
        verified: None,
        disk_bytes: 0,
        described: true,
    }));
    Ok(Json(json!({ "items": items, "next": null })))
}

async fn add(State(api): State<Api>, who: Identity, Form(form): Form<ConfigForm>) -> Result<Response, Problem> {
    profiles::add(api, who, ConfigKind::Engine, form).await
}

async fn show(
    State(api): State<Api>,
    who: Identity,
    At(name): At<String>,
    Asked(which): Asked<profiles::Which>,
) -> Result<Json<ConfigView>, Problem> {
    profiles::show(api, who, ConfigKind::Engine, name, which).await
}

async fn set(
    State(api): State<Api>,
    who: Identity,
    At(name): At<String>,
    Form(form): Form<ConfigForm>,
) -> Result<Json<ConfigView>, Problem> {
    profiles::set(api, who, ConfigKind::Engine, name, form).await
}

async fn install(State(api): State<Api>, At(name): At<String>) -> Result<Json<EngineStatus>, Problem> {
    Ok(Json(api.app.engines().install(&name).await?))
}

async fn verify(State(api): State<Api>, At(name): At<String>) -> Result<Json<EngineStatus>, Problem> {
    Ok(Json(api.app.engines().verify(&name).await?))
}

async fn remove(State(api): State<Api>, who: Identity, At(name): At<String>) -> Result<Json<Value>, Problem> {
    let described = api.app.configs_of(&who.caller).engines().await?;
    if described.iter().any(|engine| engine.id == name && !engine.built_in) {
        return profiles::remove(api, who, ConfigKind::Engine, name).await;
    }
    api.app.engines().remove(&name).await?;
    Ok(Json(json!({ "name": name })))
}
