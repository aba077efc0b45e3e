//! Agents: configured personas.

use app::{AgentForm, TemplateApply, TemplateOrder, TemplatePlan, TemplateView};
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
use crate::operation::{Needs, Operation, of, page_of};
use crate::request::{At, Form};

const ADMIN: Needs = Needs::Scope(app::Scope::Admin);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/agents", "Lists agents by name.", || get(list)).gives(200, page_of::<AgentForm>),
    Operation::new(Post, "/v1/agents", "Makes an agent.", || post(add)).needs(ADMIN).takes(of::<AgentForm>).gives(201, of::<AgentForm>),
    Operation::new(Get, "/v1/agents/{name}", "Shows an agent; `default` is always there.", || get(show)).gives(200, of::<AgentForm>),
    Operation::new(Put, "/v1/agents/{name}", "Replaces an agent.", || put(set))
        .needs(ADMIN)
        .takes(of::<AgentForm>)
        .gives(200, of::<AgentForm>),
    Operation::new(Delete, "/v1/agents/{name}", "Removes an agent that no session is with.", || delete(remove)).needs(ADMIN),
    Operation::new(Get, "/v1/agent-templates", "Lists the templates of agents that ship.", || get(templates))
        .gives(200, page_of::<TemplateView>),
    Operation::new(Post, "/v1/agents/{name}/plan", "Tells what a template would make or change of an agent; nothing is done.", || {
        post(plan)
    })
    .needs(ADMIN)
    .takes(of::<TemplateOrder>)
    .gives(200, of::<TemplatePlan>),
    Operation::new(Post, "/v1/agents/{name}/apply", "Makes or changes an agent by a template, exactly as it was planned.", || post(apply))
        .needs(ADMIN)
        .takes(of::<TemplateApply>)
        .gives(200, of::<TemplatePlan>),
];

async fn list(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.agents().list().await?, "next": null })))
}

/// Bound secrets are the owner's to give.
fn check(who: &Identity, form: &AgentForm) -> Result<(), Problem> {
    if form.secrets.is_empty() || who.caller.tenant.is_none() {
        return Ok(());
    }
    let failure = model::Failure::new(model::Code::Forbidden, "only the owner gives bound secrets to an agent").field("secrets");
    Err(failure.into())
}

async fn add(State(api): State<Api>, who: Identity, Form(form): Form<AgentForm>) -> Result<Response, Problem> {
    check(&who, &form)?;
    let made = api.app.agents().add(form).await?;
    api.app.audit_change(&who.actor, "agent.add", policy(&made)).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

async fn show(State(api): State<Api>, At(name): At<String>) -> Result<Json<AgentForm>, Problem> {
    Ok(Json(api.app.agents().show(&name).await?))
}

async fn set(State(api): State<Api>, who: Identity, At(name): At<String>, Form(form): Form<AgentForm>) -> Result<Json<AgentForm>, Problem> {
    let set = api.app.agents().set(&name, form).await?;
    api.app.audit_change(&who.actor, "agent.set", policy(&set)).await?;
    Ok(Json(set))
}

async fn templates(State(api): State<Api>, who: Identity) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "items": api.app.agent_templates(&who.caller).list()?, "next": null })))
}

async fn plan(
    State(api): State<Api>,
    who: Identity,
    At(name): At<String>,
    Form(order): Form<TemplateOrder>,
) -> Result<Json<TemplatePlan>, Problem> {
    Ok(Json(api.app.agent_templates(&who.caller).plan(&name, &order).await?))
}

async fn apply(
    State(api): State<Api>,
    who: Identity,
    At(name): At<String>,
    Form(form): Form<TemplateApply>,
) -> Result<Json<TemplatePlan>, Problem> {
    api.app.audit_change(&who.actor, "agent.template", json!({ "name": name, "template": form.order.template, "plan": form.hash })).await?;
    Ok(Json(api.app.agent_templates(&who.caller).apply(&name, &form, &who.actor).await?))
}

/// What the audit keeps of an agent: what it may do, not what it is told.
fn policy(agent: &AgentForm) -> Value {
    json!({ "name": agent.name, "group": agent.group, "tools": agent.tools, "egress": agent.egress })
}

async fn remove(State(api): State<Api>, who: Identity, At(name): At<String>) -> Result<Json<Value>, Problem> {
    api.app.agents().remove(&name).await?;
    api.app.audit_change(&who.actor, "agent.remove", json!({ "name": name })).await?;
    Ok(Json(json!({ "name": name })))
}
