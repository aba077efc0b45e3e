//! Chats, who hears them, where agents may send to, and what became of a message.

use app::{ChatForm, ChatPatch, ChatQuery, ChatView, DestinationForm, DestinationView, Scope, WhyView, WiringForm, WiringView};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::auth::Identity;
use crate::operation::Verb::{Delete, Get, Patch, Post};
use crate::operation::{Needs, Operation, of, page_of};
use crate::request::{Asked, At, Form};

/// Who hears what decides who may speak to whom.
const MANAGE: Needs = Needs::Scope(Scope::Manage);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/chats", "Lists chats, the youngest first.", || get(list))
        .asks(of::<ChatQuery>)
        .gives(200, page_of::<ChatView>),
    Operation::new(Post, "/v1/chats", "Makes a chat known before anything was heard in it.", || post(put))
        .needs(MANAGE)
        .takes(of::<ChatForm>)
        .gives(201, of::<ChatView>),
    Operation::new(Get, "/v1/chats/{chat}", "Shows a chat.", || get(show)).gives(200, of::<ChatView>),
    Operation::new(Patch, "/v1/chats/{chat}", "Changes what becomes of who is not known in a chat.", || patch(set))
        .needs(MANAGE)
        .takes(of::<ChatPatch>)
        .gives(200, of::<ChatView>),
    Operation::new(Get, "/v1/wirings", "Lists which agent hears which chat.", || get(wirings))
        .asks(of::<OfChat>)
        .gives(200, page_of::<WiringView>),
    Operation::new(Post, "/v1/wirings", "Lets an agent hear a chat, or changes how.", || post(wire))
        .needs(MANAGE)
        .takes(of::<WiringForm>)
        .gives(201, of::<WiringView>),
    Operation::new(Delete, "/v1/wirings/{id}", "Lets an agent hear a chat no more.", || delete(unwire))
        .needs(MANAGE)
        .gives(200, of::<WiringView>),
    Operation::new(Get, "/v1/destinations", "Lists where an agent may send to.", || get(destinations))
        .asks(of::<OfAgent>)
        .gives(200, page_of::<DestinationView>),
    Operation::new(Post, "/v1/destinations", "Lets an agent send somewhere: the name is the permission.", || post(destine))
        .needs(MANAGE)
        .takes(of::<DestinationForm>)
        .gives(201, of::<DestinationView>),
    Operation::new(Delete, "/v1/destinations/{agent}/{name}", "Lets an agent send somewhere no more.", || delete(undestine)).needs(MANAGE),
    Operation::new(Get, "/v1/why/{what}", "What became of a message, turn, job or task, and what stopped it.", || get(why))
        .gives(200, of::<WhyView>),
];

/// Of which chat.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "WiringQuery")]
struct OfChat {
    /// Its identity, or `CHANNEL/ID`; all when left out.
    chat: Option<String>,
}

/// Of which agent.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "DestinationQuery")]
struct OfAgent {
    /// Its name.
    agent: String,
}

async fn list(State(api): State<Api>, who: Identity, Asked(query): Asked<ChatQuery>) -> Result<Json<Value>, Problem> {
    let page = api.app.chats_of(&who.caller).list(query).await?;
    Ok(Json(json!({ "items": page.items, "next": page.next })))
}

async fn put(State(api): State<Api>, who: Identity, Form(form): Form<ChatForm>) -> Result<Response, Problem> {
    let made = api.app.chats_of(&who.caller).put(form).await?;
    api.app.audit_change(&who.actor, "chat.put", json!({ "id": made.id, "channel": made.channel })).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

async fn show(State(api): State<Api>, who: Identity, At(chat): At<String>) -> Result<Json<ChatView>, Problem> {
    Ok(Json(api.app.chats_of(&who.caller).show(&chat).await?))
}

async fn set(State(api): State<Api>, who: Identity, At(chat): At<String>, Form(form): Form<ChatPatch>) -> Result<Json<ChatView>, Problem> {
    let view = api.app.chats_of(&who.caller).set(&chat, form).await?;
    api.app.audit_change(&who.actor, "chat.set", json!({ "id": view.id, "policy": view.policy, "denied": view.denied })).await?;
    Ok(Json(view))
}

async fn wirings(State(api): State<Api>, who: Identity, Asked(query): Asked<OfChat>) -> Result<Json<Value>, Problem> {
    let items = api.app.chats_of(&who.caller).wirings(query.chat.as_deref()).await?;
    Ok(Json(json!({ "items": items, "next": null })))
}

async fn wire(State(api): State<Api>, who: Identity, Form(form): Form<WiringForm>) -> Result<Response, Problem> {
    let made = api.app.chats_of(&who.caller).wire(form).await?;
    api.app.audit_change(&who.actor, "wiring.put", json!(made)).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

async fn unwire(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<WiringView>, Problem> {
    let view = api.app.chats_of(&who.caller).unwire(&id).await?;
    api.app.audit_change(&who.actor, "wiring.remove", json!({ "id": view.id, "agent": view.agent })).await?;
    Ok(Json(view))
}

async fn destinations(State(api): State<Api>, who: Identity, Asked(query): Asked<OfAgent>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.chats_of(&who.caller).destinations(&query.agent).await?, "next": null })))
}

async fn destine(State(api): State<Api>, who: Identity, Form(form): Form<DestinationForm>) -> Result<Response, Problem> {
    let made = api.app.chats_of(&who.caller).destine(form).await?;
    api.app.audit_change(&who.actor, "destination.put", json!(made)).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

async fn undestine(State(api): State<Api>, who: Identity, At((agent, name)): At<(String, String)>) -> Result<Json<Value>, Problem> {
    api.app.chats_of(&who.caller).undestine(&agent, &name).await?;
    api.app.audit_change(&who.actor, "destination.remove", json!({ "agent": agent, "name": name })).await?;
    Ok(Json(json!({})))
}

async fn why(State(api): State<Api>, who: Identity, At(what): At<String>) -> Result<Json<WhyView>, Problem> {
    Ok(Json(api.app.why_of(&who.caller, &what).await?))
}
