//! Organisations: whose everything is.

use app::{Scope, TenantForm, TenantPatch, TenantView};
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
use crate::request::{At, Form};

const ADMIN: Needs = Needs::Whole(Scope::Admin);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/tenants", "Lists tenants; with a tenant's token that one.", || get(list)).gives(200, page_of::<TenantView>),
    Operation::new(Post, "/v1/tenants", "Makes a tenant.", || post(create))
        .needs(ADMIN)
        .takes(of::<TenantForm>)
        .gives(201, of::<TenantView>),
    Operation::new(Get, "/v1/tenants/{name}", "Shows a tenant.", || get(show)).gives(200, of::<TenantView>),
    Operation::new(Patch, "/v1/tenants/{name}", "Changes a tenant: its quota, or whether it may work.", || patch(update))
        .needs(ADMIN)
        .takes(of::<TenantPatch>)
        .gives(200, of::<TenantView>),
    Operation::new(Delete, "/v1/tenants/{name}", "Removes a tenant that owns nothing any more; its tokens end.", || delete(remove))
        .needs(ADMIN),
];

async fn list(State(api): State<Api>, who: Identity) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.tenants_of(&who.caller).list().await?, "next": null })))
}

async fn create(State(api): State<Api>, who: Identity, Form(form): Form<TenantForm>) -> Result<Response, Problem> {
    let made = api.app.tenants_of(&who.caller).create(form).await?;
    api.app.audit_change(&who.actor, "tenant.make", json!({ "name": made.name, "quota": made.quota })).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

async fn show(State(api): State<Api>, who: Identity, At(name): At<String>) -> Result<Json<TenantView>, Problem> {
    Ok(Json(api.app.tenants_of(&who.caller).show(&name).await?))
}

async fn update(
    State(api): State<Api>,
    who: Identity,
    At(name): At<String>,
    Form(change): Form<TenantPatch>,
) -> Result<Json<TenantView>, Problem> {
    let changed = api.app.tenants_of(&who.caller).update(&name, change).await?;
    let detail = json!({ "name": name, "state": changed.state, "quota": changed.quota });
    api.app.audit_change(&who.actor, "tenant.change", detail).await?;
    Ok(Json(changed))
}

async fn remove(State(api): State<Api>, who: Identity, At(name): At<String>) -> Result<Json<Value>, Problem> {
    api.app.tenants_of(&who.caller).remove(&name).await?;
    api.app.audit_change(&who.actor, "tenant.remove", json!({ "name": name })).await?;
    Ok(Json(json!({ "name": name })))
}
