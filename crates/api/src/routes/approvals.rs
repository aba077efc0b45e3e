//! Confirmations: what people are asked before a call of high risk is made, and their answers.

use app::{ApprovalQuery, ApprovalView, DecisionForm, Scope};
use axum::Json;
use axum::extract::State;
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::auth::Identity;
use crate::operation::Verb::{Get, Post};
use crate::operation::{Needs, Operation, of, page_of};
use crate::request::{Asked, At, Form};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/approvals", "Lists confirmations, the youngest first.", || get(list))
        .asks(of::<ApprovalQuery>)
        .gives(200, page_of::<ApprovalView>),
    Operation::new(Get, "/v1/approvals/{id}", "Shows a confirmation.", || get(show)).gives(200, of::<ApprovalView>),
    Operation::new(
        Post,
        "/v1/approvals/{id}",
        "Answers a confirmation, naming the hash of what was seen. 409 when it was answered, has expired, or the hash is another one.",
        || post(answer),
    )
    // To work is not to have the say over what the work may do.
    .needs(Needs::Scope(Scope::Approve))
    .takes(of::<DecisionForm>)
    .gives(200, of::<ApprovalView>),
];

async fn list(State(api): State<Api>, who: Identity, Asked(query): Asked<ApprovalQuery>) -> Result<Json<Value>, Problem> {
    let page = api.app.approvals_of(&who.caller).list(query).await?;
    Ok(Json(json!({ "items": page.items, "next": page.next })))
}

async fn show(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<ApprovalView>, Problem> {
    Ok(Json(api.app.approvals_of(&who.caller).show(&id).await?))
}

async fn answer(
    State(api): State<Api>,
    who: Identity,
    At(id): At<String>,
    Form(form): Form<DecisionForm>,
) -> Result<Json<ApprovalView>, Problem> {
    Ok(Json(api.app.approvals_of(&who.caller).answer(&id, form, &who.actor).await?))
}
