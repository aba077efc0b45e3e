//! Profiles, engines and configurations in the forms of the server of jobs, over the same ones. A token is needed here.

use app::{ConfigForm, ConfigKind, ConfigView, EngineView, ProfileVariable};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use model::{Code, Failure};
use serde_json::{Value, json};

use super::time::iso;
use crate::auth::Identity;
use crate::operation::Verb::{Delete, Get, Post, Put};
use crate::operation::{Operation, of};
use crate::request::{Asked, At, Form};
use crate::routes::note_config;
use crate::{Api, Problem};

const NONE: (u16, &str) = (404, "There is none of this name.");
const TAKEN: (u16, &str) = (409, "The name is taken.");
const WRONG: (u16, &str) = (422, "The name or the text cannot be used; `error` says why.");

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/profiles", "Lists profiles and their variables.", || get(profiles)).gives(200, of::<Vec<Profile>>),
    Operation::new(Get, "/engines", "Lists engines.", || get(engines)).gives(200, of::<Vec<Engine>>),
    Operation::new(Get, "/configs", "Lists configurations without their texts.", || get(list))
        .asks(of::<Filter>)
        .gives(200, of::<Vec<Brief>>)
        .fails(&[WRONG]),
    Operation::new(Post, "/configs/{type}", "Makes a configuration.", || post(add))
        .takes(of::<ConfigForm>)
        .gives(201, of::<Whole>)
        .fails(&[TAKEN, WRONG]),
    Operation::new(Get, "/configs/{type}/{*name}", "Shows a configuration.", || get(show)).gives(200, of::<Whole>).fails(&[NONE]),
    Operation::new(Put, "/configs/{type}/{*name}", "Changes a configuration.", || put(set))
        .takes(of::<ConfigForm>)
        .gives(200, of::<Whole>)
        .fails(&[NONE, WRONG]),
    Operation::new(Delete, "/configs/{type}/{*name}", "Removes a configuration.", || delete(remove))
        .gives(200, of::<Removed>)
        .fails(&[NONE]),
];

/// Which configurations.
#[derive(Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "SeedConfigFilter")]
struct Filter {
    /// `profile`, `engine`, `template` or `hook`; all when left out.
    #[serde(rename = "type")]
    kind: Option<ConfigKind>,
}

/// A profile as the seed's clients read it.
#[derive(serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "SeedProfile")]
struct Profile {
    name: String,
    description: String,
    model: String,
    prompt_vars: std::collections::BTreeMap<String, ProfileVariable>,
}

/// An engine as the seed's clients read it.
#[derive(serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "SeedEngine")]
struct Engine {
    id: String,
    name: String,
    description: String,
    available: bool,
}

/// A configuration in a list.
#[derive(serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "SeedConfigBrief")]
struct Brief {
    name: String,
    #[serde(rename = "type")]
    kind: ConfigKind,
    description: String,
    created_at: String,
    updated_at: String,
}

/// A configuration with its text.
#[derive(serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "SeedConfig")]
struct Whole {
    name: String,
    #[serde(rename = "type")]
    kind: ConfigKind,
    content: String,
    description: String,
    created_at: String,
    updated_at: String,
}

/// What was removed.
#[derive(serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "SeedConfigRemoved")]
struct Removed {
    name: String,
    #[serde(rename = "type")]
    kind: ConfigKind,
    status: &'static str,
}

fn brief(view: ConfigView) -> Brief {
    Brief { name: view.name, kind: view.kind, description: view.description, created_at: iso(view.created), updated_at: iso(view.updated) }
}

fn whole(view: ConfigView) -> Whole {
    Whole {
        name: view.name,
        kind: view.kind,
        content: view.content.unwrap_or_default(),
        description: view.description,
        created_at: iso(view.created),
        updated_at: iso(view.updated),
    }
}

fn kind_of(word: &str) -> Result<ConfigKind, Failure> {
    let wrong = || Failure::new(Code::Usage, "the type is profile, engine, template or hook").field("type");
    ConfigKind::of(word).ok_or_else(wrong)
}

async fn profiles(State(api): State<Api>, who: Identity) -> Result<Json<Vec<Profile>>, Problem> {
    let all = api.app.configs_of(&who.caller).profiles().await?;
    let shown = |p: app::ProfileView| Profile { name: p.name, description: p.description, model: p.model, prompt_vars: p.prompt_vars };
    Ok(Json(all.into_iter().map(shown).collect()))
}

async fn engines(State(api): State<Api>, who: Identity) -> Result<Json<Vec<Engine>>, Problem> {
    let all = api.app.configs_of(&who.caller).engines().await?;
    let shown = |e: EngineView| Engine { id: e.id, name: e.name, description: e.description, available: e.available };
    Ok(Json(all.into_iter().map(shown).collect()))
}

async fn list(State(api): State<Api>, who: Identity, Asked(filter): Asked<Filter>) -> Result<Json<Vec<Brief>>, Problem> {
    let configs = api.app.configs_of(&who.caller);
    let mut all = Vec::new();
    for kind in ConfigKind::ALL.iter().filter(|kind| filter.kind.is_none_or(|asked| asked == **kind)) {
        all.extend(configs.list(*kind).await?.into_iter().map(brief));
    }
    Ok(Json(all))
}

async fn show(State(api): State<Api>, who: Identity, At((kind, name)): At<(String, String)>) -> Result<Json<Whole>, Problem> {
    Ok(Json(whole(api.app.configs_of(&who.caller).show(kind_of(&kind)?, &name).await?)))
}

async fn add(State(api): State<Api>, who: Identity, At(kind): At<String>, Form(form): Form<ConfigForm>) -> Result<Response, Problem> {
    let made = api.app.configs_of(&who.caller).add(kind_of(&kind)?, form, &who.actor).await?;
    note_config(&api, &who, "add", &made).await?;
    Ok((StatusCode::CREATED, Json(whole(made))).into_response())
}

async fn set(
    State(api): State<Api>,
    who: Identity,
    At((kind, name)): At<(String, String)>,
    Form(form): Form<ConfigForm>,
) -> Result<Json<Whole>, Problem> {
    let set = api.app.configs_of(&who.caller).set(kind_of(&kind)?, &name, form, &who.actor).await?;
    note_config(&api, &who, "set", &set).await?;
    Ok(Json(whole(set)))
}

async fn remove(State(api): State<Api>, who: Identity, At((kind, name)): At<(String, String)>) -> Result<Json<Value>, Problem> {
    let kind = kind_of(&kind)?;
    api.app.configs_of(&who.caller).remove(kind, &name, &who.actor).await?;
    let what = json!({ "name": name, "tenant": who.caller.makes_for() });
    api.app.audit_change(&who.actor, &format!("{}.remove", kind.as_str()), what).await?;
    let removed = Removed { name, kind, status: "deleted" };
    Ok(Json(json!(removed)))
}
