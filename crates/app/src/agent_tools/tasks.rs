//! Tasks that are there: what an agent sees of them, and stopping, running and forgetting them.

use futures_util::FutureExt as _;
use model::{Code, Failure, Risk, TaskRunId};
use serde::{Deserialize, Serialize as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use store::{AskerRow, TaskPlaceRow, TaskRow, TaskState};

use super::schedule::due_of;
use super::{Doing, OwnTool, Set, read};
use crate::{TaskAction, TaskMessage, now};

/// Characters of what is done that a list tells.
const SHOWN_CHARS_MAX: usize = 200;
/// Tasks that are told at once.
const SHOWN_MAX: usize = 100;

/// The argument that names a task.
pub(super) fn name_schema() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 100, "description": "Its id or name, as list_tasks tells it." })
}

macro_rules! of_one {
    ($constant:ident, $name:literal, $about:literal, $call:ident) => {
        pub(super) const $constant: OwnTool = OwnTool {
            name: $name,
            about: $about,
            risk: Risk::Low,
            set: Set::Chat,
            asks: false,
    schema: || (&["task"], json!({ "task": name_schema() })),
            call: |doing| $call(doing).boxed(),
        };
    };
}

pub(super) const LIST: OwnTool = OwnTool {
    name: "list_tasks",
    about: "Lists the tasks that you were given by whoever asks now; all of yours when they answer for you.",
    risk: Risk::Low,
    set: Set::Chat,
    asks: false,
    schema: || (&[], json!({})),
    call: |doing| list(doing).boxed(),
};
of_one!(PAUSE, "pause_task", "Stops a task for now: it is not due until it goes on.", pause);
of_one!(RESUME, "resume_task", "Lets a task that was stopped go on, from its next time.", resume);
of_one!(CANCEL, "cancel_task", "Forgets a task.", cancel);
of_one!(RUN, "run_task", "Does a task now, beside its schedule.", run);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    task: String,
}

/// Whether a task was made by whoever asks.
fn is_own(place: &TaskPlaceRow, asker: &AskerRow) -> bool {
    match (&place.origin.user, &asker.user) {
        (Some(maker), Some(user)) => maker == user,
        _ => place.origin.channel == asker.channel && place.origin.handle == asker.handle,
    }
}

/// The tasks of the agent that whoever asks may see.
async fn seen(doing: &Doing) -> Result<Vec<TaskRow>, Failure> {
    let all = doing.app.store().tasks_of_agent(&doing.caller.tenant, &doing.caller.agent).await.map_err(|e| e.failure())?;
    let asker = doing.asker().await?;
    let may = |place: &TaskPlaceRow| doing.is_admin() || asker.as_ref().is_none_or(|asker| is_own(place, asker));
    Ok(all.into_iter().filter(|(_, place)| may(place)).map(|(row, _)| row).collect())
}

/// One of them, by its identity or name.
pub(super) async fn found(doing: &Doing, name: &str) -> Result<TaskRow, Failure> {
    let is_it = |row: &TaskRow| row.id.as_str() == name || row.name == name;
    let missing = || Failure::new(Code::NotFound, "there is no such task here").hint("list_tasks tells which there are");
    seen(doing).await?.into_iter().find(is_it).ok_or_else(missing)
}

/// What a task of an agent's does.
pub(super) fn message_of(row: &TaskRow) -> Result<TaskMessage, Failure> {
    match TaskAction::deserialize(&row.action) {
        Ok(TaskAction::Message(message)) => Ok(message),
        _ => Err(Failure::new(Code::StoreUnusable, format!("what task {} does cannot be read", row.id))),
    }
}

pub(super) fn shown_to_agent(row: &TaskRow) -> Value {
    let message = message_of(row).unwrap_or_default();
    let prompt: String = message.text.chars().take(SHOWN_CHARS_MAX).collect();
    let status = row.state.serialize(serde_json::value::Serializer).unwrap_or_default();
    let next = if row.state == TaskState::Active { due_of(row) } else { Value::Null };
    json!({
        "task": row.id, "name": row.name, "status": status, "note": row.note, "next": next, "cron": row.cron, "zone": row.zone,
        "prompt": prompt, "script": message.gate.is_some(), "to": message.to, "failures": row.failures,
    })
}

async fn list(doing: &Doing) -> Result<Value, Failure> {
    let all = seen(doing).await?;
    let live: Vec<&TaskRow> = all.iter().filter(|row| row.state != TaskState::Over).collect();
    let told: Vec<Value> = live.iter().take(SHOWN_MAX).map(|row| shown_to_agent(row)).collect();
    Ok(json!({ "tasks": told, "left_out": live.len().saturating_sub(SHOWN_MAX) }))
}

async fn named(doing: &Doing) -> Result<TaskRow, Failure> {
    let args: Args = read(&doing.arguments)?;
    found(doing, &args.task).await
}

async fn pause(doing: &Doing) -> Result<Value, Failure> {
    let row = named(doing).await?;
    doing.app.tasks_of(&doing.tenant()).pause(row.id.as_str()).await?;
    changed(doing, &row).await
}

async fn resume(doing: &Doing) -> Result<Value, Failure> {
    let row = named(doing).await?;
    doing.app.tasks_of(&doing.tenant()).resume(row.id.as_str()).await?;
    changed(doing, &row).await
}

async fn changed(doing: &Doing, row: &TaskRow) -> Result<Value, Failure> {
    let row = doing.app.store().task(&row.id).await.map_err(|e| e.failure())?;
    doing.note("task.change", &row).await?;
    Ok(shown_to_agent(&row))
}

async fn cancel(doing: &Doing) -> Result<Value, Failure> {
    let row = named(doing).await?;
    doing.app.store().remove_task(&row.id).await.map_err(|e| e.failure())?;
    doing.note("task.remove", &row).await?;
    Ok(json!({ "task": row.id, "forgotten": true }))
}

async fn run(doing: &Doing) -> Result<Value, Failure> {
    let row = named(doing).await?;
    // The same call asks for one run: its identity is made of the turn's time and the call.
    let accepted = doing.app.store().turn(doing.turn()?).await.map_err(|e| e.failure())?.accepted;
    let hash = Sha256::digest(doing.cause());
    let bits = hash.iter().take(10).fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
    let id = TaskRunId::from_bits((u128::from(accepted.0 & 0xffff_ffff_ffff) << 80) | bits);
    doing.app.store().ask_run(&row.id, id, now()).await.map_err(|e| e.failure())?;
    doing.app.wake_tasks();
    Ok(json!({ "task": row.id, "note": "it is due now" }))
}
