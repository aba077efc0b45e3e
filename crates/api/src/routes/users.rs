//! People, and what each is in which tenant.

use app::{MemberForm, MemberView, Scope};
use axum::Json;
use axum::extract::State;
use axum::routing::{delete, get, put};
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::auth::Identity;
use crate::operation::Verb::{Delete, Get, Put};
use crate::operation::{Needs, Operation, of, page_of};
use crate::request::{Asked, At, Form};

const MANAGE: Needs = Needs::Scope(Scope::Manage);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/users", "Lists people and what they are in which tenant.", || get(list)).gives(200, page_of::<MemberView>),
    Operation::new(Put, "/v1/users", "Puts a person into a tenant, or changes what they are there.", || put(put_member))
        .needs(MANAGE)
        .takes(of::<MemberForm>)
        .gives(200, of::<MemberView>),
    Operation::new(Delete, "/v1/users/{id}", "Takes a person out of a tenant; their tokens there end.", || delete(remove))
        .needs(MANAGE)
        .asks(of::<Out>),
];

/// Out of which tenant.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UserOut")]
struct Out {
    /// The tenant; that of the token when left out.
    tenant: Option<String>,
}

async fn list(State(api): State<Api>, who: Identity) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.members_of(&who.caller, who.role).list().await?, "next": null })))
}

async fn put_member(State(api): State<Api>, who: Identity, Form(form): Form<MemberForm>) -> Result<Json<MemberView>, Problem> {
    let made = api.app.members_of(&who.caller, who.role).put(form).await?;
    api.app.audit_change(&who.actor, "user.put", json!({ "id": made.id, "tenant": made.tenant, "role": made.role })).await?;
    Ok(Json(made))
}

async fn remove(State(api): State<Api>, who: Identity, At(id): At<String>, Asked(out): Asked<Out>) -> Result<Json<Value>, Problem> {
    api.app.members_of(&who.caller, who.role).remove(&id, out.tenant.as_deref()).await?;
    let tenant = out.tenant.as_deref().unwrap_or_else(|| who.caller.makes_for());
    api.app.audit_change(&who.actor, "user.remove", json!({ "id": id, "tenant": tenant })).await?;
    Ok(Json(json!({ "id": id })))
}
