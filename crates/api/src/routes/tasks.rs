//! Tasks: jobs and messages that are due at set times.

use app::{TaskForm, TaskQuery, TaskRunView, TaskView};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::auth::Identity;
use crate::operation::Verb::{Delete, Get, Post};
use crate::operation::{Operation, of, page_of};
use crate::request::{Asked, At, Form};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/tasks", "Lists tasks, the oldest first.", || get(list)).asks(of::<TaskQuery>).gives(200, page_of::<TaskView>),
    Operation::new(Post, "/v1/tasks", "Makes a task: a job or a message that is due at set times.", || post(create))
        .takes(of::<TaskForm>)
        .gives(201, of::<TaskView>),
    Operation::new(Get, "/v1/tasks/{task}", "Shows a task, by its identity or its name.", || get(show)).gives(200, of::<TaskView>),
    Operation::new(Delete, "/v1/tasks/{task}", "Forgets a task and its log; what it began goes on.", || delete(remove))
        .gives(200, of::<TaskView>),
    Operation::new(Post, "/v1/tasks/{task}/pause", "Lets a task not be due until it goes on.", || post(pause)).gives(200, of::<TaskView>),
    Operation::new(Post, "/v1/tasks/{task}/resume", "Lets a task be due again from now on; what came meanwhile is not done.", || {
        post(resume)
    })
    .gives(200, of::<TaskView>),
    Operation::new(Post, "/v1/tasks/{task}/run", "Does a task now, beside its schedule.", || post(run)).gives(202, of::<TaskRunView>),
    Operation::new(Get, "/v1/tasks/{task}/log", "Lists the times that a task was due and what came of them, the youngest first.", || {
        get(log)
    })
    .asks(of::<TaskQuery>)
    .gives(200, page_of::<TaskRunView>),
];

async fn list(State(api): State<Api>, who: Identity, Asked(query): Asked<TaskQuery>) -> Result<Json<Value>, Problem> {
    let page = api.app.tasks_of(&who.caller).list(query).await?;
    Ok(Json(json!({ "items": page.items, "next": page.next })))
}

async fn create(State(api): State<Api>, who: Identity, Form(form): Form<TaskForm>) -> Result<Response, Problem> {
    let made = api.app.tasks_of(&who.caller).create(form).await?;
    api.app.audit_change(&who.actor, "task.add", json!({ "id": made.id, "name": made.name, "cron": made.cron, "zone": made.zone })).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

async fn show(State(api): State<Api>, who: Identity, At(task): At<String>) -> Result<Json<TaskView>, Problem> {
    Ok(Json(api.app.tasks_of(&who.caller).show(&task).await?))
}

async fn remove(State(api): State<Api>, who: Identity, At(task): At<String>) -> Result<Json<TaskView>, Problem> {
    let view = api.app.tasks_of(&who.caller).remove(&task).await?;
    api.app.audit_change(&who.actor, "task.remove", json!({ "id": view.id, "name": view.name })).await?;
    Ok(Json(view))
}

async fn pause(State(api): State<Api>, who: Identity, At(task): At<String>) -> Result<Json<TaskView>, Problem> {
    let view = api.app.tasks_of(&who.caller).pause(&task).await?;
    api.app.audit_change(&who.actor, "task.pause", json!({ "id": view.id })).await?;
    Ok(Json(view))
}

async fn resume(State(api): State<Api>, who: Identity, At(task): At<String>) -> Result<Json<TaskView>, Problem> {
    let view = api.app.tasks_of(&who.caller).resume(&task).await?;
    api.app.audit_change(&who.actor, "task.resume", json!({ "id": view.id })).await?;
    Ok(Json(view))
}

async fn run(State(api): State<Api>, who: Identity, At(task): At<String>) -> Result<Response, Problem> {
    let run = api.app.tasks_of(&who.caller).run(&task).await?;
    Ok((StatusCode::ACCEPTED, Json(run)).into_response())
}

async fn log(State(api): State<Api>, who: Identity, At(task): At<String>, Asked(query): Asked<TaskQuery>) -> Result<Json<Value>, Problem> {
    let page = api.app.tasks_of(&who.caller).log(&task, query).await?;
    Ok(Json(json!({ "items": page.items, "next": page.next })))
}
