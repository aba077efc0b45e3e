//! People of chat networks: handles, roles with agents, codes, and who asks to be let in.

use app::{AdmissionView, HandleForm, HandleView, PairForm, PairingView, RoleForm, RoleView, Scope};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use model::UserId;
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::auth::Identity;
use crate::operation::Verb::{Delete, Get, Post, Put};
use crate::operation::{Needs, Operation, of, page_of};
use crate::request::{Asked, At, Form};

const MANAGE: Needs = Needs::Scope(Scope::Manage);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/handles", "Lists who is who on chat networks.", || get(handles)).gives(200, page_of::<HandleView>),
    Operation::new(Put, "/v1/handles", "Links a handle to a person.", || put(link)).needs(MANAGE).takes(of::<HandleForm>),
    Operation::new(Delete, "/v1/handles/{channel}/{handle}", "Unlinks a handle: whoever has it is unknown.", || delete(unlink))
        .needs(MANAGE),
    Operation::new(Get, "/v1/roles", "Lists who is what to which agent.", || get(roles)).gives(200, page_of::<RoleView>),
    Operation::new(Put, "/v1/roles", "Makes somebody a member or admin of an agent.", || put(grant)).needs(MANAGE).takes(of::<RoleForm>),
    Operation::new(Delete, "/v1/roles/{agent}/{user}", "Takes somebody's role with an agent away.", || delete(revoke)).needs(MANAGE),
    Operation::new(Get, "/v1/pairings", "Lists codes of late; none is shown.", || get(pairings))
        .needs(MANAGE)
        .gives(200, page_of::<PairingView>),
    Operation::new(Post, "/v1/pairings", "Makes a code by which a handle or chat is proven, and shows it, this once.", || post(pair))
        .needs(MANAGE)
        .takes(of::<PairForm>)
        .gives(201, of::<PairingView>),
    Operation::new(Get, "/v1/admissions", "Lists who asks to be let in, the youngest first.", || get(admissions))
        .asks(of::<Which>)
        .gives(200, page_of::<AdmissionView>),
    Operation::new(Post, "/v1/admissions/{id}", "Lets somebody in, or not. 409 when it was answered.", || post(answer))
        .needs(MANAGE)
        .takes(of::<Answer>)
        .gives(200, of::<AdmissionView>),
];

/// Which admissions.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AdmissionQuery")]
struct Which {
    /// `pending`, `allowed` or `denied`; all when left out.
    state: Option<String>,
}

/// Yes or no.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AdmissionAnswer")]
struct Answer {
    /// Whether they are let in.
    allow: bool,
}

async fn handles(State(api): State<Api>, who: Identity) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.people_of(&who.caller, who.role).handles().await?, "next": null })))
}

async fn link(State(api): State<Api>, who: Identity, Form(form): Form<HandleForm>) -> Result<Json<Value>, Problem> {
    let detail = json!({ "channel": form.channel, "handle": form.handle, "user": form.user });
    api.app.people_of(&who.caller, who.role).link(form).await?;
    api.app.audit_change(&who.actor, "handle.link", detail.clone()).await?;
    Ok(Json(detail))
}

async fn unlink(State(api): State<Api>, who: Identity, At((channel, handle)): At<(String, String)>) -> Result<Json<Value>, Problem> {
    api.app.people_of(&who.caller, who.role).unlink(&channel, &handle).await?;
    api.app.audit_change(&who.actor, "handle.unlink", json!({ "channel": channel, "handle": handle })).await?;
    Ok(Json(json!({})))
}

async fn roles(State(api): State<Api>, who: Identity) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.people_of(&who.caller, who.role).roles().await?, "next": null })))
}

async fn grant(State(api): State<Api>, who: Identity, Form(form): Form<RoleForm>) -> Result<Json<Value>, Problem> {
    let detail = json!({ "agent": form.agent, "user": form.user, "role": form.role });
    api.app.people_of(&who.caller, who.role).grant(form, &who.actor).await?;
    api.app.audit_change(&who.actor, "role.grant", detail.clone()).await?;
    Ok(Json(detail))
}

async fn revoke(State(api): State<Api>, who: Identity, At((agent, user)): At<(String, UserId)>) -> Result<Json<Value>, Problem> {
    api.app.people_of(&who.caller, who.role).revoke(&agent, &user).await?;
    api.app.audit_change(&who.actor, "role.revoke", json!({ "agent": agent, "user": user })).await?;
    Ok(Json(json!({})))
}

async fn pairings(State(api): State<Api>, who: Identity) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.people_of(&who.caller, who.role).pairings().await?, "next": null })))
}

async fn pair(State(api): State<Api>, who: Identity, Form(form): Form<PairForm>) -> Result<Response, Problem> {
    let made = api.app.people_of(&who.caller, who.role).pair(form).await?;
    api.app.audit_change(&who.actor, "pairing.make", json!({ "id": made.id, "agent": made.agent, "role": made.role })).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

async fn admissions(State(api): State<Api>, who: Identity, Asked(query): Asked<Which>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.people_of(&who.caller, who.role).admissions(query.state).await?, "next": null })))
}

async fn answer(
    State(api): State<Api>,
    who: Identity,
    At(id): At<String>,
    Form(form): Form<Answer>,
) -> Result<Json<AdmissionView>, Problem> {
    Ok(Json(api.app.people_of(&who.caller, who.role).answer(&id, form.allow, &who.actor).await?))
}
