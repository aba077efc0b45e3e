//! Accounts of chat networks, and what they are owed.

use app::{ChannelForm, ChannelPatch, ChannelView, OutQuery, OutView, Scope};
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

/// A channel holds a credential and reaches hosts: it is the owner's to add.
const ADMIN: Needs = Needs::Whole(Scope::Admin);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/channels", "Lists the accounts of chat networks.", || get(list)).gives(200, page_of::<ChannelView>),
    Operation::new(Post, "/v1/channels", "Adds an account of a chat network and begins it.", || post(add))
        .needs(ADMIN)
        .takes(of::<ChannelForm>)
        .gives(201, of::<ChannelView>),
    Operation::new(Get, "/v1/channels/{channel}", "Shows an account and how it is.", || get(show)).gives(200, of::<ChannelView>),
    Operation::new(Patch, "/v1/channels/{channel}", "Changes an account and begins it again.", || patch(set))
        .needs(ADMIN)
        .takes(of::<ChannelPatch>)
        .gives(200, of::<ChannelView>),
    Operation::new(Delete, "/v1/channels/{channel}", "Forgets an account with its chats, what was heard and what is owed.", || {
        delete(remove)
    })
    .needs(ADMIN)
    .gives(200, of::<ChannelView>),
    Operation::new(Post, "/v1/channels/{channel}/on", "Switches an account on.", || post(on)).needs(ADMIN).gives(200, of::<ChannelView>),
    Operation::new(Post, "/v1/channels/{channel}/off", "Switches an account off; what it owes waits.", || post(off))
        .needs(ADMIN)
        .gives(200, of::<ChannelView>),
    Operation::new(Get, "/v1/deliveries", "Lists what chat networks are owed, the youngest first.", || get(deliveries))
        .asks(of::<OutQuery>)
        .gives(200, page_of::<OutView>),
    Operation::new(Post, "/v1/deliveries/{id}/resend", "Sends once more what was given up. 409 unless it is.", || post(resend))
        .gives(200, of::<OutView>),
];

async fn list(State(api): State<Api>, who: Identity) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.channels_of(&who.caller).list().await?, "next": null })))
}

async fn add(State(api): State<Api>, who: Identity, Form(form): Form<ChannelForm>) -> Result<Response, Problem> {
    let made = api.app.channels_of(&who.caller).add(form).await?;
    let detail = json!({ "name": made.name, "network": made.network, "tenant": made.tenant, "program": made.program });
    api.app.audit_change(&who.actor, "channel.add", detail).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

async fn show(State(api): State<Api>, who: Identity, At(channel): At<String>) -> Result<Json<ChannelView>, Problem> {
    Ok(Json(api.app.channels_of(&who.caller).show(&channel).await?))
}

async fn set(
    State(api): State<Api>,
    who: Identity,
    At(channel): At<String>,
    Form(form): Form<ChannelPatch>,
) -> Result<Json<ChannelView>, Problem> {
    let changed: Vec<String> = form.credentials.keys().cloned().collect();
    let view = api.app.channels_of(&who.caller).set(&channel, form).await?;
    api.app.audit_change(&who.actor, "channel.set", json!({ "name": view.name, "credentials": changed })).await?;
    Ok(Json(view))
}

async fn remove(State(api): State<Api>, who: Identity, At(channel): At<String>) -> Result<Json<ChannelView>, Problem> {
    let view = api.app.channels_of(&who.caller).remove(&channel).await?;
    api.app.audit_change(&who.actor, "channel.remove", json!({ "name": view.name })).await?;
    Ok(Json(view))
}

async fn on(State(api): State<Api>, who: Identity, At(channel): At<String>) -> Result<Json<ChannelView>, Problem> {
    let view = api.app.channels_of(&who.caller).switch(&channel, true).await?;
    api.app.audit_change(&who.actor, "channel.on", json!({ "name": view.name })).await?;
    Ok(Json(view))
}

async fn off(State(api): State<Api>, who: Identity, At(channel): At<String>) -> Result<Json<ChannelView>, Problem> {
    let view = api.app.channels_of(&who.caller).switch(&channel, false).await?;
    api.app.audit_change(&who.actor, "channel.off", json!({ "name": view.name })).await?;
    Ok(Json(view))
}

async fn deliveries(State(api): State<Api>, who: Identity, Asked(query): Asked<OutQuery>) -> Result<Json<Value>, Problem> {
    let page = api.app.channels_of(&who.caller).deliveries(query).await?;
    Ok(Json(json!({ "items": page.items, "next": page.next })))
}

async fn resend(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<OutView>, Problem> {
    let view = api.app.channels_of(&who.caller).resend(&id).await?;
    api.app.audit_change(&who.actor, "delivery.resend", json!({ "id": view.id })).await?;
    Ok(Json(view))
}
