//! `lazaret task`.

use std::io::Read as _;

use app::{JobForm, TaskAction, TaskForm, TaskMessage, TaskRunView, TaskView};
use http::Method;
use model::{Code, Failure, IdError, Timestamp};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::sandbox::escaped;
use super::{Context, lists};
use crate::args;
use crate::client::Client;
use crate::exit::Done;
use crate::out;

/// Tasks that are listed.
const LIST_MAX: usize = 10_000;
/// The longest description of a job.
const JOB_BYTES_MAX: u64 = 1 << 20;
/// The longest script of a gate that is read; the daemon takes shorter ones only.
const GATE_BYTES_MAX: usize = 64 << 10;
/// Who asks for the jobs of a task that does not say, in the jobs' identities.
const ASKS: &str = "task";

pub(super) async fn run(context: &Context, verb: args::Task) -> Done {
    let client = context.client()?;
    match verb {
        args::Task::Add(add) => {
            let form = form(*add)?;
            let view: TaskView = client.json(Method::POST, "/v1/tasks", Some(&json!(form))).await?;
            told(context, &view)?;
            if !context.json {
                out::note("tasks are due while the daemon is up: `lazaret start` keeps it so");
            }
        }
        args::Task::List => list(context, &client).await?,
        args::Task::Show(which) => {
            let view: TaskView = client.json(Method::GET, &path(&which.task, "")?, None).await?;
            if context.json { out::json(&view)? } else { show(&view)? }
        }
        args::Task::Pause(which) => told(context, &client.json(Method::POST, &path(&which.task, "/pause")?, None).await?)?,
        args::Task::Resume(which) => told(context, &client.json(Method::POST, &path(&which.task, "/resume")?, None).await?)?,
        args::Task::Remove(which) => {
            let view: TaskView = client.json(Method::DELETE, &path(&which.task, "")?, None).await?;
            if context.json { out::json(&view)? } else { out::line(view.id.as_str()) }
        }
        args::Task::Run(which) => {
            let run: TaskRunView = client.json(Method::POST, &path(&which.task, "/run")?, None).await?;
            if context.json { out::json(&run)? } else { out::line(run.id.as_str()) }
        }
        args::Task::Log { task, limit } => log(context, &client, &task.task, limit).await?,
    }
    Ok(0)
}

fn path(task: &str, rest: &str) -> Result<String, Failure> {
    if task.is_empty() || task.contains('/') {
        return Err(Failure::new(Code::NotFound, format!("there is no task `{}`", task.escape_debug())));
    }
    Ok(format!("/v1/tasks/{}{rest}", escaped(task)))
}

fn told(context: &Context, view: &TaskView) -> Result<(), Failure> {
    if context.json {
        return out::json(view);
    }
    out::line(&format!("{}  {}  {}", view.id, view.status, view.next.map_or_else(String::new, soon)));
    Ok(())
}

async fn list(context: &Context, client: &Client) -> Result<(), Failure> {
    let views: Vec<TaskView> = lists::list(client, "/v1/tasks", LIST_MAX).await?;
    if context.json {
        return views.iter().try_for_each(out::json);
    }
    let row = |view: &TaskView| {
        let next = view.next.map_or_else(|| view.note.clone().unwrap_or_default(), soon);
        vec![view.id.to_string(), view.name.clone(), view.status.clone(), view.cron.clone(), view.zone.clone(), next]
    };
    out::table(&["task", "name", "status", "cron", "zone", "next"], &views.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

fn show(view: &TaskView) -> Result<(), Failure> {
    let line = |name: &str, value: &str| out::line(&format!("{name:<10} {}", crate::exit::clean(value)));
    line("task", view.id.as_str());
    line("name", &view.name);
    line("status", &view.status);
    line("cron", &view.cron);
    line("zone", &view.zone);
    line("misfire", &view.misfire);
    line("overlap", &view.overlap);
    if let Some(next) = view.next {
        line("next", &soon(next));
    }
    line("failures", &format!("{} of {}", view.failures, view.failures_max));
    if let Some(note) = &view.note {
        line("note", note);
    }
    out::json(&view.action)
}

async fn log(context: &Context, client: &Client, task: &str, limit: u64) -> Result<(), Failure> {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let runs: Vec<TaskRunView> = lists::list(client, &path(task, "/log")?, most).await?;
    if context.json {
        return runs.iter().try_for_each(out::json);
    }
    let row = |run: &TaskRunView| {
        let made = run.job.clone().or_else(|| run.session.as_ref().map(ToString::to_string)).unwrap_or_default();
        let when = if run.by_hand { "by hand" } else { "" };
        vec![out::ago(run.due), when.to_owned(), run.status.clone(), made, run.note.clone().unwrap_or_default()]
    };
    out::table(&["due", "", "status", "made", "note"], &runs.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

/// How far away a time is, in the largest unit that fits.
fn soon(at: Timestamp) -> String {
    let seconds = at.0.saturating_sub(app::now().0) / 1000;
    match seconds {
        0..60 => format!("in {seconds} s"),
        60..3600 => format!("in {} min", seconds / 60),
        3600..86_400 => format!("in {} h", seconds / 3600),
        _ => format!("in {} days", seconds / 86_400),
    }
}

fn form(add: args::TaskAdd) -> Result<TaskForm, Failure> {
    let action = action(&add)?;
    let word = |text: &str| Value::String(text.to_owned());
    let read = |e: serde_json::Error| Failure::new(Code::Usage, e.to_string());
    Ok(TaskForm {
        misfire: app::Misfire::deserialize(word(&add.misfire)).map_err(read)?,
        overlap: app::Overlap::deserialize(word(&add.overlap)).map_err(read)?,
        name: add.name,
        cron: add.cron,
        zone: Some(add.zone),
        failures_max: add.failures_max,
        action,
    })
}

fn action(add: &args::TaskAdd) -> Result<TaskAction, Failure> {
    if let Some(text) = &add.message {
        let session = add.session.as_deref().map(str::parse).transpose();
        let session = session.map_err(|e: IdError| Failure::new(Code::NotFound, e.to_string()).field("--session"))?;
        let (agent, env, to) = (add.agent.clone(), add.env.clone(), add.to.clone());
        let gate = add.gate.as_deref().map(|given| super::text::given("--gate", given, GATE_BYTES_MAX)).transpose()?;
        return Ok(TaskAction::Message(TaskMessage { text: text.clone(), session, agent, env, gate, to }));
    }
    let mut job = match (&add.prompt, &add.job) {
        (Some(prompt), _) => JobForm {
            prompt: Some(prompt.clone()),
            profile: add.profile.clone(),
            engine: add.engine.clone(),
            agent: add.agent.clone(),
            env: add.env.clone(),
            ..JobForm::default()
        },
        (None, Some(file)) => described(file)?,
        (None, None) => {
            return Err(Failure::new(Code::Usage, "a task needs something to do").hint("give --prompt, --job or --message"));
        }
    };
    if job.agent_id.is_empty() {
        ASKS.clone_into(&mut job.agent_id);
    }
    Ok(TaskAction::Job(Box::new(job)))
}

fn described(file: &std::path::Path) -> Result<JobForm, Failure> {
    let unusable = |why: String| Failure::new(Code::PathUnusable, format!("{} cannot be read: {why}", file.display())).field("--job");
    let mut text = String::new();
    let read = if file == std::path::Path::new("-") {
        std::io::stdin().lock().take(JOB_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(JOB_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|e| unusable(e.to_string()))?;
    serde_json::from_str(&text).map_err(|e| Failure::new(Code::Usage, format!("this describes no job: {e}")).field("--job"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_ahead_is_read_by_people() {
        let at = |ms: u64| soon(Timestamp(app::now().0 + ms));
        assert!(at(30_500).starts_with("in 3") || at(30_500).starts_with("in 2"));
        assert_eq!(at(7_200_500 + 60_000), "in 2 h");
        assert_eq!(soon(Timestamp(0)), "in 0 s");
    }
}
