//! Plugins: put in place, looked at, approved, removed. The owner alone, or who has a token that rules the whole install:
//! nothing here can be reached from inside a session.

use app::{PluginInstalled, PluginOrder, PluginRecord, PluginView};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use model::{Code, Failure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Api;
use crate::auth::Identity;
use crate::operation::Verb::{Delete, Get, Post, Put};
use crate::operation::{Needs, Operation, of, page_of};
use crate::request::{Asked, At, Form};
use crate::{Problem, files};

const ADMIN: Needs = Needs::Whole(app::Scope::Admin);
const READ: Needs = Needs::Whole(app::Scope::Read);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/plugins", "Lists plugins, those that ship too.", || get(list)).needs(READ).gives(200, page_of::<PluginView>),
    Operation::new(Post, "/v1/plugins", "Installs or updates a plugin from a git repository, cloned in a sandbox.", || post(install))
        .needs(ADMIN)
        .takes(of::<Install>)
        .gives(201, of::<PluginInstalled>),
    Operation::new(Get, "/v1/plugins/{name}", "Shows a plugin, and what of it waits for approval.", || get(show))
        .needs(READ)
        .gives(200, of::<Detail>),
    Operation::new(Put, "/v1/plugins/{name}", "Installs or updates a plugin from the tar archive that is sent.", || put(install_archive))
        .needs(ADMIN)
        .asks(of::<Archive>)
        .takes_bytes("application/x-tar")
        .gives(201, of::<PluginInstalled>),
    Operation::new(Delete, "/v1/plugins/{name}", "Removes a plugin of the home.", || delete(remove)).needs(ADMIN).asks(of::<Removal>),
    Operation::new(Post, "/v1/plugins/{name}/reload", "Loads a plugin again; sessions that run go on.", || post(reload))
        .needs(ADMIN)
        .gives(200, of::<Detail>),
    Operation::new(Post, "/v1/plugins/{name}/verify", "Compares a plugin's files, and starts it and asks for its tools.", || post(verify))
        .needs(ADMIN)
        .gives(200, of::<Detail>),
    Operation::new(Post, "/v1/plugins/{name}/approve", "Approves what changed, by the hash of what was seen.", || post(approve))
        .needs(ADMIN)
        .takes(of::<Approval>)
        .gives(200, of::<Detail>),
    Operation::new(Post, "/v1/plugins/{name}/enable", "Lets a plugin be used.", || post(enable)).needs(ADMIN).gives(200, of::<Detail>),
    Operation::new(Post, "/v1/plugins/{name}/disable", "Lets a plugin not be used.", || post(disable))
        .needs(ADMIN)
        .gives(200, of::<Detail>),
    Operation::new(Post, "/v1/plugin-reload", "Looks at all plugins again; sessions that run go on.", || post(reload_all)).needs(ADMIN),
    Operation::new(Post, "/v1/plugin-calls", "Calls a tool as the owner.", || post(call))
        .needs(ADMIN)
        .takes(of::<Call>)
        .gives(200, of::<Called>),
];

/// A plugin to install from a repository.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PluginInstall")]
struct Install {
    /// The HTTPS address of a repository, with `#BRANCH` behind it where another than its usual one is meant. For an update,
    /// where it came from when this is missing.
    source: Option<String>,
    /// Its name; the last part of the path when it is missing.
    name: Option<String>,
    /// What its files must be: `sha256:` and 64 digits.
    hash: Option<String>,
    /// Whether one of this name is replaced; else it must not be there.
    #[serde(default)]
    update: bool,
}

/// What an archive is.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PluginArchive")]
struct Archive {
    /// Where it came from, for people.
    source: Option<String>,
    /// What its files must be: `sha256:` and 64 digits.
    hash: Option<String>,
    /// Whether one of this name is replaced; else it must not be there.
    #[serde(default)]
    update: bool,
}

/// How much of a plugin is removed.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PluginRemoval")]
struct Removal {
    /// Its secrets too.
    #[serde(default)]
    credentials: bool,
}

/// What is approved.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PluginApproval")]
struct Approval {
    /// The hash that stands with what waits.
    hash: String,
}

/// A call of the owner.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PluginCall")]
struct Call {
    /// The tool.
    tool: String,
    /// Its arguments.
    #[serde(default)]
    arguments: serde_json::Map<String, Value>,
    /// Whether the owner has confirmed the call, if its risk is high; else a person is asked.
    #[serde(default)]
    yes: bool,
}

/// What came of a call: exactly one of the two is not null.
#[derive(Serialize, schemars::JsonSchema)]
#[schemars(rename = "PluginCalled")]
struct Called {
    /// What the tool gave.
    result: Value,
    /// Why there is no result: `code`, `message`, `retriable`, and the `stage` that refused.
    error: Value,
}

/// A plugin.
#[derive(Serialize, schemars::JsonSchema)]
#[schemars(rename = "PluginDetail")]
struct Detail {
    /// The plugin.
    plugin: PluginView,
    /// Where it stands with its owner; null for one that ships.
    record: Option<PluginRecord>,
}

async fn detail(api: &Api, plugin: PluginView) -> Result<Json<Detail>, Problem> {
    let record = if plugin.shipped { None } else { api.app.plugin_installs().record(&plugin.name).await? };
    Ok(Json(Detail { plugin, record }))
}

async fn list(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.plugins().list().await?, "next": null })))
}

async fn show(State(api): State<Api>, At(name): At<String>) -> Result<Json<Detail>, Problem> {
    let plugin = api.app.plugins().show(&name).await?;
    detail(&api, plugin).await
}

async fn install(State(api): State<Api>, who: Identity, Form(form): Form<Install>) -> Result<Response, Problem> {
    let missing = |what: &str| Failure::new(Code::Usage, format!("the {what} is missing")).field(what.to_owned());
    let source = match (form.source, &form.name) {
        (Some(source), _) => source,
        (None, Some(name)) if form.update => {
            let record = api.app.plugin_installs().record(name).await?;
            record.map(|record| record.source).ok_or_else(|| missing("source"))?
        }
        (None, _) => return Err(missing("source").into()),
    };
    let name = form.name.or_else(|| app::plugin_name_of(&source)).ok_or_else(|| missing("name"))?;
    let order = PluginOrder { name, source, hash: form.hash, update: form.update };
    noted(&api, &who, &order).await?;
    let installed = api.app.plugin_installs().install_git(order).await?;
    Ok((StatusCode::CREATED, Json(installed)).into_response())
}

async fn install_archive(
    State(api): State<Api>,
    who: Identity,
    At(name): At<String>,
    Asked(about): Asked<Archive>,
    body: Body,
) -> Result<Response, Problem> {
    let source = about.source.unwrap_or_else(|| "archive".to_owned());
    let order = PluginOrder { name, source, hash: about.hash, update: about.update };
    noted(&api, &who, &order).await?;
    let installed = api.app.plugin_installs().install(order, files::reader(body)).await?;
    Ok((StatusCode::CREATED, Json(installed)).into_response())
}

/// Keeps in the audit that somebody wants a plugin in place, before anything of it is looked at.
async fn noted(api: &Api, who: &Identity, order: &PluginOrder) -> Result<(), Failure> {
    let detail = json!({ "name": order.name, "source": order.source, "hash": order.hash, "update": order.update });
    api.app.audit_change(&who.actor, "plugin.install", detail).await
}

async fn remove(
    State(api): State<Api>,
    who: Identity,
    At(name): At<String>,
    Asked(removal): Asked<Removal>,
) -> Result<Json<Value>, Problem> {
    api.app.audit_change(&who.actor, "plugin.remove", json!({ "name": name, "credentials": removal.credentials })).await?;
    api.app.plugin_installs().remove(&name, removal.credentials).await?;
    Ok(Json(json!({ "name": name })))
}

async fn reload(State(api): State<Api>, At(name): At<String>) -> Result<Json<Detail>, Problem> {
    api.app.plugins().reload(Some(&name)).await?;
    show(State(api), At(name)).await
}

async fn reload_all(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    api.app.plugins().reload(None).await?;
    list(State(api)).await
}

async fn verify(State(api): State<Api>, At(name): At<String>) -> Result<Json<Detail>, Problem> {
    let plugin = api.app.plugins().verify(&name).await?;
    if !plugin.shipped {
        api.app.plugin_installs().verify_files(&name).await?;
    }
    detail(&api, plugin).await
}

async fn approve(State(api): State<Api>, who: Identity, At(name): At<String>, Form(form): Form<Approval>) -> Result<Json<Detail>, Problem> {
    api.app.audit_change(&who.actor, "plugin.approve", json!({ "name": name, "hash": form.hash })).await?;
    api.app.plugin_installs().approve(&name, &form.hash).await?;
    reload(State(api), At(name)).await
}

async fn enable(State(api): State<Api>, who: Identity, At(name): At<String>) -> Result<Json<Detail>, Problem> {
    switch(api, &who, name, true).await
}

async fn disable(State(api): State<Api>, who: Identity, At(name): At<String>) -> Result<Json<Detail>, Problem> {
    switch(api, &who, name, false).await
}

async fn switch(api: Api, who: &Identity, name: String, is_enabled: bool) -> Result<Json<Detail>, Problem> {
    let plugin = api.app.plugins().show(&name).await?;
    let topic = if is_enabled { "plugin.enable" } else { "plugin.disable" };
    api.app.audit_change(&who.actor, topic, json!({ "name": name })).await?;
    api.app.plugin_installs().enable(&name, is_enabled, plugin.shipped).await?;
    reload(State(api), At(name)).await
}

async fn call(State(api): State<Api>, headers: axum::http::HeaderMap, Form(call): Form<Call>) -> Result<Json<Called>, Problem> {
    let key = super::idempotency_key(&headers)?;
    let answer = api.app.plugin_installs().call(&call.tool, &Value::Object(call.arguments), call.yes, key.as_deref()).await;
    Ok(Json(Called { result: answer.result, error: json!(answer.error) }))
}
