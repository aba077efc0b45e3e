//! Making and changing tasks: what is to be done later, and for whom.

use futures_util::FutureExt as _;
use model::{Code, Failure, Risk, TaskId};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{ABOUT_PLACES_MAX, GATE_BYTES_MAX, NewTask, NewTaskPlace, Origin, TaskPatch, TaskRow};

use super::when::{When, shown};
use super::within::{HERE, is_plain};
use super::{Doing, OwnTool, Set, read, tasks, when, wrong};
use crate::clock::fresh_bits;
use crate::{Misfire, Overlap, TaskAction, TaskMessage, now};

/// Characters of what is to be done.
const PROMPT_CHARS_MAX: usize = 16_000;
/// Characters of a name, a time and a zone.
const NAME_CHARS_MAX: usize = 100;
/// Failures one after the other that stop a task of an agent's.
const FAILURES_MAX: u32 = 8;

pub(super) const SCHEDULE: OwnTool = OwnTool {
    name: "schedule_task",
    about: "Plans something for later: once (`in` or `at`) or again and again (`cron`). When it is due you are asked `prompt` in a conversation \
            of its own, acting for whoever asks now, and your answer goes to `to`, or to this chat. A `script` is run before: exit status 1, \
            or a last line {\"wakeAgent\": false}, skips the time without asking you; what it prints is told you otherwise.",
    risk: Risk::Low,
    set: Set::Chat,
    asks: false,
    schema: || (&["prompt"], properties(&[])),
    call: |doing| schedule(doing).boxed(),
};

pub(super) const UPDATE: OwnTool = OwnTool {
    name: "update_task",
    about: "Changes a task of this conversation's: what is asked, when, its script or where its answer goes. What is left out stays.",
    risk: Risk::Low,
    set: Set::Chat,
    asks: false,
    schema: || (&["task"], properties(&[("task", tasks::name_schema())])),
    call: |doing| update(doing).boxed(),
};

fn properties(more: &[(&str, Value)]) -> Value {
    let text = |max: usize, what: &str| json!({ "type": "string", "minLength": 1, "maxLength": max, "description": what });
    let name = json!({ "type": "string", "minLength": 1, "maxLength": NAME_CHARS_MAX });
    let places =
        json!({ "type": "array", "maxItems": ABOUT_PLACES_MAX, "items": name, "description": "Destinations by name; [] for this chat." });
    let script = json!({ "type": "string", "maxLength": GATE_BYTES_MAX, "description": "Runs in your sandbox; empty for none." });
    let mut all = json!({
        "prompt": text(PROMPT_CHARS_MAX, "What you are asked then; it must say everything that you need to know."),
        "cron": text(NAME_CHARS_MAX, "minute hour day month weekday"),
        "at": text(NAME_CHARS_MAX, "One time, for example 2027-03-01T09:00, in the zone."),
        "in": text(NAME_CHARS_MAX, "In how long, for example 20m."),
        "zone": text(NAME_CHARS_MAX, "IANA time zone; the usual one when left out."),
        "script": script,
        "to": places,
    });
    if more.is_empty() {
        all["name"] = text(NAME_CHARS_MAX, "What people call it.");
        all["missed"] =
            json!({ "enum": ["skip", "once", "all"], "description": "What is done about times that were missed; once when left out." });
        all["overlap"] =
            json!({ "enum": ["skip", "queue", "parallel"], "description": "While an earlier run is at work; skip when left out." });
    }
    for (name, schema) in more {
        all[*name] = schema.clone();
    }
    all
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Args {
    task: Option<String>,
    name: Option<String>,
    prompt: Option<String>,
    cron: Option<String>,
    at: Option<String>,
    r#in: Option<String>,
    zone: Option<String>,
    script: Option<String>,
    to: Option<Vec<String>>,
    missed: Option<Misfire>,
    overlap: Option<Overlap>,
}

impl Args {
    fn when<'a>(&'a self, zone: &'a str, is_gated: bool) -> When<'a> {
        When { cron: self.cron.as_deref(), at: self.at.as_deref(), r#in: self.r#in.as_deref(), zone, is_gated }
    }

    fn says_when(&self) -> bool {
        self.cron.is_some() || self.at.is_some() || self.r#in.is_some()
    }

    fn script(&self) -> Option<String> {
        self.script.clone().filter(|script| !script.trim().is_empty())
    }
}

async fn schedule(doing: &Doing) -> Result<Value, Failure> {
    let args: Args = read(&doing.arguments)?;
    let zone = args.zone.clone().unwrap_or_else(|| usual_zone(doing));
    let then = when::read(&args.when(&zone, args.script().is_some()), now())?;
    let prompt = prompt_of(args.prompt.as_deref().unwrap_or_default())?;
    let to = places_of(doing, args.to.as_deref().unwrap_or_default()).await?;
    let name = match &args.name {
        Some(name) if !is_plain(name, NAME_CHARS_MAX) || name.starts_with(TaskId::PREFIX) => {
            return Err(wrong("the name is not one line, or looks like the id of a task"));
        }
        Some(name) => name.trim().to_owned(),
        None => name_of(&prompt),
    };
    let asker = doing.asker().await?;
    if asker.is_none() && to.is_empty() {
        return Err(wrong("this turn was asked in no chat: say where the answer goes").hint("list_destinations tells which there are"));
    }
    let origin = asker.map(Origin::of).unwrap_or_else(nobody);
    let action = TaskAction::Message(TaskMessage {
        text: prompt,
        agent: Some(doing.caller.agent.clone()),
        gate: args.script(),
        to,
        ..TaskMessage::default()
    });
    let new = NewTask {
        id: TaskId::from_bits(fresh_bits()),
        tenant: doing.caller.tenant.clone(),
        name,
        cron: then.cron,
        zone,
        misfire: args.missed.unwrap_or_default().as_str().to_owned(),
        overlap: args.overlap.unwrap_or_default().as_str().to_owned(),
        action: kept(&action)?,
        failures_max: FAILURES_MAX,
        is_owners: false,
        due: Some(then.due),
        now: now(),
    };
    let place = NewTaskPlace { agent: doing.caller.agent.clone(), origin, cause: doing.cause() };
    let row = doing.app.store().create_task_at(new, place).await.map_err(|e| e.failure())?;
    model::crash::point("tool:scheduled");
    doing.app.wake_tasks();
    doing.note("task.create", &row).await?;
    Ok(tasks::shown_to_agent(&row))
}

async fn update(doing: &Doing) -> Result<Value, Failure> {
    let args: Args = read(&doing.arguments)?;
    let row = tasks::found(doing, args.task.as_deref().unwrap_or_default()).await?;
    let mut message = tasks::message_of(&row)?;
    if let Some(prompt) = &args.prompt {
        message.text = prompt_of(prompt)?;
    }
    if args.script.is_some() {
        message.gate = args.script();
    }
    if let Some(to) = &args.to {
        message.to = places_of(doing, to).await?;
    }
    let zone = args.zone.clone().unwrap_or_else(|| row.zone.clone());
    let is_once = row.cron.starts_with(crate::tasks::ONCE);
    // Without its script a task that was due each minute would ask the model each minute.
    let again = Args { cron: Some(row.cron.clone()).filter(|_| !is_once), ..Args::default() };
    let says = if args.says_when() {
        Some(&args)
    } else if is_once {
        None
    } else {
        Some(&again)
    };
    let then = says.map(|says| when::read(&says.when(&zone, message.gate.is_some()), now())).transpose()?;
    let when = then.map(|then| (then.cron, zone, Some(then.due)));
    let patch = TaskPatch { when, action: Some(kept(&TaskAction::Message(message))?) };
    let row = doing.app.store().patch_task(&row.id, patch, now()).await.map_err(|e| e.failure())?;
    doing.app.wake_tasks();
    doing.note("task.change", &row).await?;
    Ok(tasks::shown_to_agent(&row))
}

impl Doing {
    /// Keeps in the audit what became of a task.
    pub(super) async fn note(&self, topic: &str, row: &TaskRow) -> Result<(), Failure> {
        let detail = json!({ "id": row.id, "name": row.name, "status": row.state, "cron": row.cron });
        self.app.audit_change(&self.caller.actor(), topic, detail).await
    }
}

fn usual_zone(doing: &Doing) -> String {
    doing.app.settings().channels.zone.iana_name().unwrap_or("UTC").to_owned()
}

fn prompt_of(text: &str) -> Result<String, Failure> {
    if text.trim().is_empty() || text.contains('\0') {
        return Err(wrong("the prompt is empty or holds a NUL"));
    }
    Ok(text.trim().to_owned())
}

/// Names of destinations that lead to chats; each is looked at again when the task is due.
async fn places_of(doing: &Doing, names: &[String]) -> Result<Vec<String>, Failure> {
    let mut kept: Vec<String> = Vec::new();
    for name in names.iter().filter(|name| *name != HERE) {
        doing.chat(Some(name)).await?;
        if !kept.contains(name) {
            kept.push(name.clone());
        }
    }
    Ok(kept)
}

/// A name of the first words of what is done, and something that tells it from others like it.
fn name_of(prompt: &str) -> String {
    let words: Vec<&str> = prompt.split_whitespace().take(4).collect();
    let base = model::name_of(&words.join(" ")).unwrap_or_else(|| "task".to_owned());
    let base: String = base.chars().take(40).collect();
    format!("{}-{:04x}", base.trim_end_matches('-'), fresh_bits() & 0xffff)
}

/// Where no chat asked: the owner, at the command line.
fn nobody() -> Origin {
    Origin { user: None, channel: String::new(), chat: String::new(), thread: None, handle: String::new(), via: Vec::new() }
}

fn kept(action: &TaskAction) -> Result<Value, Failure> {
    serde_json::to_value(action).map_err(|e| Failure::new(Code::Internal, e.to_string()))
}

/// How a task is told when it is next due.
pub(super) fn due_of(row: &TaskRow) -> Value {
    row.due.map_or(Value::Null, |due| json!(shown(due, &row.zone)))
}
