//! Webhooks: what was sent, what was given up, and once more.

use app::{WebhookQuery, WebhookSecretForm, WebhookSecretView, WebhookView};
use axum::Json;
use axum::extract::State;
use axum::routing::{delete, get, post, put};
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::auth::Identity;
use crate::operation::Verb::{Delete, Get, Post, Put};
use crate::operation::{Operation, of, page_of};
use crate::request::{Asked, At, MaybeForm};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/webhooks", "Lists deliveries of webhooks, the youngest first.", || get(list))
        .asks(of::<WebhookQuery>)
        .gives(200, page_of::<WebhookView>),
    Operation::new(Get, "/v1/webhooks/{id}", "Shows a delivery and what it sends.", || get(show)).gives(200, of::<WebhookView>),
    Operation::new(
        Post,
        "/v1/webhooks/{id}/resend",
        "Sends a delivery once more that was taken or given up. 409 while it is on its way.",
        || post(resend),
    )
    .gives(200, of::<WebhookView>),
    Operation::new(
        Put,
        "/v1/webhook-secret",
        "Sets what the tenant's webhooks are signed with, or makes a fresh one and shows it, this once.",
        || put(set_secret),
    )
    .takes(of::<WebhookSecretForm>)
    .gives(200, of::<WebhookSecretView>),
    Operation::new(Delete, "/v1/webhook-secret", "Forgets the tenant's secret: webhooks go unsigned.", || delete(remove_secret)),
];

async fn list(State(api): State<Api>, who: Identity, Asked(query): Asked<WebhookQuery>) -> Result<Json<Value>, Problem> {
    let page = api.app.webhooks_of(&who.caller).list(query).await?;
    Ok(Json(json!({ "items": page.items, "next": page.next })))
}

async fn show(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<WebhookView>, Problem> {
    Ok(Json(api.app.webhooks_of(&who.caller).show(&id).await?))
}

async fn resend(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<WebhookView>, Problem> {
    let view = api.app.webhooks_of(&who.caller).resend(&id).await?;
    api.app.audit_change(&who.actor, "webhook.resend", json!({ "id": view.id, "job": view.job })).await?;
    Ok(Json(view))
}

async fn set_secret(
    State(api): State<Api>,
    who: Identity,
    MaybeForm(form): MaybeForm<WebhookSecretForm>,
) -> Result<Json<WebhookSecretView>, Problem> {
    let set = api.app.webhooks_of(&who.caller).set_secret(form).await?;
    api.app.audit_change(&who.actor, "webhook.secret", json!({ "tenant": set.tenant })).await?;
    Ok(Json(set))
}

async fn remove_secret(State(api): State<Api>, who: Identity) -> Result<Json<Value>, Problem> {
    api.app.webhooks_of(&who.caller).remove_secret().await?;
    api.app.audit_change(&who.actor, "webhook.unsecret", json!({ "tenant": who.caller.makes_for() })).await?;
    Ok(Json(json!({})))
}
