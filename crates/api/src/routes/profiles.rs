//! Profiles, templates and hooks, and the descriptions of engines: texts with versions.

use app::{CheckForm, Checked, ConfigForm, ConfigKind, ConfigView, ProfileView};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::auth::Identity;
use crate::operation::Verb::{Delete, Get, Post, Put};
use crate::operation::{Operation, of, page_of};
use crate::request::{Asked, At, Form};

const MISSING: (u16, &str) = (404, "There is none of this name.");
const WRONG: (u16, &str) = (422, "The name or the text cannot be used; the message names the key or the line.");
const TAKEN: (u16, &str) = (409, "The name is taken.");
const CHANGED: (u16, &str) = (409, "It has another version by now.");

/// The routes of one kind: list, make, check, show, change, remove, versions, go back.
macro_rules! routes {
    ($kind:expr, $path:literal, $name:literal, $one:literal, $a_list:literal, $list:expr, $shape:expr) => {
        [
            Operation::new(Get, $path, $a_list, || get($list)).gives(200, $shape),
            Operation::new(Post, $path, concat!("Makes ", $one, "."), || {
                post(|State(api): State<Api>, who: Identity, Form(form): Form<ConfigForm>| add(api, who, $kind, form))
            })
            .takes(of::<ConfigForm>)
            .gives(201, of::<ConfigView>)
            .fails(&[TAKEN, WRONG]),
            Operation::new(
                Post,
                concat!($path, "/check"),
                concat!("Says whether a text could be kept as ", $one, "; nothing changes."),
                || post(|State(api): State<Api>, who: Identity, Form(form): Form<CheckForm>| check(api, who, $kind, form)),
            )
            .takes(of::<CheckForm>)
            .gives(200, of::<Checked>)
            .fails(&[WRONG]),
            Operation::new(Post, concat!($path, "/reset"), "Goes back to an earlier version, as a new one.", || {
                post(|State(api): State<Api>, who: Identity, Form(form): Form<Reset>| reset(api, who, $kind, form))
            })
            .takes(of::<Reset>)
            .gives(200, of::<ConfigView>)
            .fails(&[MISSING]),
            Operation::new(Get, concat!($path, "/", $name), concat!("Shows ", $one, ", or one of its versions."), || {
                get(|State(api): State<Api>, who: Identity, At(name): At<String>, Asked(which): Asked<Which>| {
                    show(api, who, $kind, name, which)
                })
            })
            .asks(of::<Which>)
            .gives(200, of::<ConfigView>)
            .fails(&[MISSING]),
            Operation::new(Put, concat!($path, "/", $name), concat!("Gives ", $one, " a new version."), || {
                put(|State(api): State<Api>, who: Identity, At(name): At<String>, Form(form): Form<ConfigForm>| {
                    set(api, who, $kind, name, form)
                })
            })
            .takes(of::<ConfigForm>)
            .gives(200, of::<ConfigView>)
            .fails(&[MISSING, CHANGED, WRONG]),
        ]
    };
}

const PROFILES: [Operation; 6] = routes!(
    ConfigKind::Profile,
    "/v1/profiles",
    "{name}",
    "a profile",
    "Lists profiles by name, with their variables.",
    profiles,
    page_of::<ProfileView>
);
const TEMPLATES: [Operation; 6] = routes!(
    ConfigKind::Template,
    "/v1/templates",
    "{*name}",
    "a template",
    "Lists templates by name, without their texts.",
    templates,
    page_of::<ConfigView>
);
const HOOKS: [Operation; 6] =
    routes!(ConfigKind::Hook, "/v1/hooks", "{name}", "a hook", "Lists hooks by name, without their texts.", hooks, page_of::<ConfigView>);

/// Every route of profiles, templates and hooks.
pub(super) const OPERATIONS: &[Operation] = &[
    PROFILES[0],
    PROFILES[1],
    PROFILES[2],
    PROFILES[3],
    PROFILES[4],
    PROFILES[5],
    removes("/v1/profiles/{name}", "Removes a profile; its versions are kept.", || {
        delete(|State(api): State<Api>, who: Identity, At(name): At<String>| remove(api, who, ConfigKind::Profile, name))
    }),
    versions("/v1/profiles/{name}/versions", || {
        get(|State(api): State<Api>, who: Identity, At(name): At<String>| history(api, who, ConfigKind::Profile, name))
    }),
    TEMPLATES[0],
    TEMPLATES[1],
    TEMPLATES[2],
    TEMPLATES[3],
    TEMPLATES[4],
    TEMPLATES[5],
    removes("/v1/templates/{*name}", "Removes a template; its versions are kept.", || {
        delete(|State(api): State<Api>, who: Identity, At(name): At<String>| remove(api, who, ConfigKind::Template, name))
    }),
    HOOKS[0],
    HOOKS[1],
    HOOKS[2],
    HOOKS[3],
    HOOKS[4],
    HOOKS[5],
    removes("/v1/hooks/{name}", "Removes a hook; its versions are kept.", || {
        delete(|State(api): State<Api>, who: Identity, At(name): At<String>| remove(api, who, ConfigKind::Hook, name))
    }),
    versions("/v1/hooks/{name}/versions", || {
        get(|State(api): State<Api>, who: Identity, At(name): At<String>| history(api, who, ConfigKind::Hook, name))
    }),
    Operation::new(Get, "/v1/template-versions", "Lists the versions of a template, the youngest first.", || get(template_versions))
        .asks(of::<Named>)
        .gives(200, page_of::<ConfigView>)
        .fails(&[MISSING]),
];

const fn removes(path: &'static str, summary: &'static str, handler: fn() -> axum::routing::MethodRouter<Api>) -> Operation {
    Operation::new(Delete, path, summary, handler).fails(&[MISSING])
}

const fn versions(path: &'static str, handler: fn() -> axum::routing::MethodRouter<Api>) -> Operation {
    Operation::new(Get, path, "Lists its versions, the youngest first.", handler).gives(200, page_of::<ConfigView>).fails(&[MISSING])
}

/// Which version.
#[derive(Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "ConfigVersion")]
pub(super) struct Which {
    /// The version; the present one when left out.
    version: Option<u64>,
}

/// Which template.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TemplateNamed")]
struct Named {
    /// Its name.
    name: String,
}

/// What to go back to.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ConfigReset")]
pub(super) struct Reset {
    /// What goes back.
    name: String,
    /// To which version; what the program ships with when left out.
    #[serde(default)]
    version: Option<u64>,
}

async fn profiles(State(api): State<Api>, who: Identity) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.configs_of(&who.caller).profiles().await?, "next": null })))
}

async fn templates(State(api): State<Api>, who: Identity) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.configs_of(&who.caller).list(ConfigKind::Template).await?, "next": null })))
}

async fn hooks(State(api): State<Api>, who: Identity) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.configs_of(&who.caller).list(ConfigKind::Hook).await?, "next": null })))
}

async fn template_versions(State(api): State<Api>, who: Identity, Asked(named): Asked<Named>) -> Result<Json<Value>, Problem> {
    history(api, who, ConfigKind::Template, named.name).await
}

/// Makes one.
pub(super) async fn add(api: Api, who: Identity, kind: ConfigKind, form: ConfigForm) -> Result<Response, Problem> {
    let made = api.app.configs_of(&who.caller).add(kind, form, &who.actor).await?;
    note(&api, &who, "add", &made).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

async fn check(api: Api, who: Identity, kind: ConfigKind, form: CheckForm) -> Result<Json<Checked>, Problem> {
    Ok(Json(api.app.configs_of(&who.caller).check(kind, form).await?))
}

/// Shows one.
pub(super) async fn show(api: Api, who: Identity, kind: ConfigKind, name: String, which: Which) -> Result<Json<ConfigView>, Problem> {
    let configs = api.app.configs_of(&who.caller);
    Ok(Json(match which.version {
        Some(version) => configs.version(kind, &name, version).await?,
        None => configs.show(kind, &name).await?,
    }))
}

/// Changes one.
pub(super) async fn set(api: Api, who: Identity, kind: ConfigKind, name: String, form: ConfigForm) -> Result<Json<ConfigView>, Problem> {
    let set = api.app.configs_of(&who.caller).set(kind, &name, form, &who.actor).await?;
    note(&api, &who, "set", &set).await?;
    Ok(Json(set))
}

/// Removes one.
pub(super) async fn remove(api: Api, who: Identity, kind: ConfigKind, name: String) -> Result<Json<Value>, Problem> {
    api.app.configs_of(&who.caller).remove(kind, &name, &who.actor).await?;
    let what = json!({ "name": name, "tenant": who.caller.makes_for() });
    api.app.audit_change(&who.actor, &format!("{}.remove", kind.as_str()), what).await?;
    Ok(Json(json!({ "name": name })))
}

async fn history(api: Api, who: Identity, kind: ConfigKind, name: String) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.configs_of(&who.caller).history(kind, &name).await?, "next": null })))
}

async fn reset(api: Api, who: Identity, kind: ConfigKind, form: Reset) -> Result<Json<ConfigView>, Problem> {
    let set = api.app.configs_of(&who.caller).reset(kind, &form.name, form.version, &who.actor).await?;
    note(&api, &who, "reset", &set).await?;
    Ok(Json(set))
}

/// Notes who changed what, without the text.
pub(crate) async fn note(api: &Api, who: &Identity, verb: &str, view: &ConfigView) -> Result<(), Problem> {
    let what = json!({ "name": view.name, "version": view.version, "tenant": who.caller.makes_for() });
    api.app.audit_change(&who.actor, &format!("{}.{verb}", view.kind.as_str()), what).await?;
    Ok(())
}
