//! What may be spent.

use app::{BudgetForm, BudgetRaise, BudgetView, Scope};
use axum::Json;
use axum::extract::State;
use axum::routing::{delete, get, post, put};
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::auth::Identity;
use crate::operation::Verb::{Delete, Get, Post, Put};
use crate::operation::{Needs, Operation, of, page_of};
use crate::request::{At, Form};

const MANAGE: Needs = Needs::Scope(Scope::Manage);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/budgets", "Lists the budgets that were set, and what was spent of each.", || get(list))
        .gives(200, page_of::<BudgetView>),
    Operation::new(
        Put,
        "/v1/budgets/{name}",
        "Sets what may be spent, of `session:ID`, `job:ID`, `agent:NAME`, `tenant:NAME` or `all`, and \
        with `@day` behind it each day.",
        || put(set),
    )
    .needs(MANAGE)
    .takes(of::<BudgetForm>)
    .gives(200, of::<BudgetView>),
    Operation::new(Post, "/v1/budgets/{name}/raise", "Raises what may be spent; work that waits for it goes on.", || post(raise))
        .needs(MANAGE)
        .takes(of::<BudgetRaise>)
        .gives(200, of::<BudgetView>),
    Operation::new(Delete, "/v1/budgets/{name}", "Forgets what was set; what was spent stays known.", || delete(remove)).needs(MANAGE),
];

async fn list(State(api): State<Api>, who: Identity) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.budgets_of(&who.caller).list().await?, "next": null })))
}

async fn set(
    State(api): State<Api>,
    who: Identity,
    At(name): At<String>,
    Form(form): Form<BudgetForm>,
) -> Result<Json<BudgetView>, Problem> {
    let set = api.app.budgets_of(&who.caller).set(&name, form).await?;
    let detail = json!({ "name": name, "limit_usd": set.limit_usd, "policy": set.policy });
    api.app.audit_change(&who.actor, "budget.set", detail).await?;
    Ok(Json(set))
}

async fn raise(
    State(api): State<Api>,
    who: Identity,
    At(name): At<String>,
    Form(form): Form<BudgetRaise>,
) -> Result<Json<BudgetView>, Problem> {
    let set = api.app.budgets_of(&who.caller).raise(&name, form).await?;
    api.app.audit_change(&who.actor, "budget.raise", json!({ "name": name, "limit_usd": set.limit_usd })).await?;
    Ok(Json(set))
}

async fn remove(State(api): State<Api>, who: Identity, At(name): At<String>) -> Result<Json<Value>, Problem> {
    api.app.budgets_of(&who.caller).remove(&name).await?;
    api.app.audit_change(&who.actor, "budget.remove", json!({ "name": name })).await?;
    Ok(Json(json!({ "name": name })))
}
