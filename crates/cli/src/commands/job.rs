//! `lazaret job`.

use std::time::Duration;

use app::{Artifact, JobState, JobView};
use http::Method;
use model::{Code, Failure};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::begin::{accepted_once, again};
use super::lists;
use super::sandbox::escaped;
use super::{Context, job_files, job_form, job_log};
use crate::args;
use crate::client::{Client, internal};
use crate::exit::{Done, clean};
use crate::home::random_hex;
use crate::out;

/// How long the daemon is asked to hold one answer back.
const WAIT_STEP_S: u64 = 600;
/// The longest identity of a job: the longest `agent_id`, a hyphen and 12 digits.
const ID_CHARS_MAX: usize = 77;
/// How much of an error is shown in a list.
const ERROR_CHARS: usize = 40;

pub(super) async fn run(context: &Context, verb: args::Job) -> Done {
    let client = context.client()?;
    match verb {
        args::Job::Create(flags) => return create(context, &client, *flags).await,
        args::Job::List(flags) => list(context, &client, &flags).await?,
        args::Job::Show { id } => {
            let job: JobView = client.json(Method::GET, &path(&id)?, None).await?;
            if context.json { out::json(&job)? } else { show(&job) }
        }
        args::Job::Wait { id, timeout } => {
            let timeout = timeout.as_deref().map(|text| job_form::duration("--timeout", text)).transpose()?;
            let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
            return finished(context, &wait(&client, &id, deadline).await?);
        }
        args::Job::Logs { id, follow } => job_log::run(context, &client, &path(&id)?, follow).await?,
        args::Job::Cancel { ids } => {
            for id in ids {
                let job: JobView = client.json(Method::POST, &format!("{}/cancel", path(&id)?), None).await?;
                if context.json {
                    out::json(&job)?;
                }
            }
        }
        args::Job::Artifacts { id, path, out } => artifacts(context, &client, &id, path.as_deref(), out.as_deref()).await?,
        args::Job::Retry { id, wait } => {
            let job: JobView = client.json(Method::POST, &format!("{}/retry", path(&id)?), None).await?;
            return accepted(context, &client, &job, wait).await;
        }
        args::Job::Remove { ids } => remove(&client, &ids).await?,
    }
    Ok(0)
}

/// Where a job is in the API.
fn path(id: &str) -> Result<String, Failure> {
    let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if id.is_empty() || id.len() > ID_CHARS_MAX || !plain {
        return Err(Failure::new(Code::NotFound, format!("there is no job `{}`", id.escape_debug())).hint("see: lazaret job list"));
    }
    Ok(format!("/v1/jobs/{id}"))
}

async fn create(context: &Context, client: &Client, flags: args::JobCreate) -> Done {
    let wait = flags.wait;
    let key = match &flags.key {
        Some(key) => key.clone(),
        None => random_hex::<16>()?,
    };
    let form = job_form::form(flags, &context.env)?;
    let body = serde_json::to_vec(&form).map_err(|e| internal(&e.to_string()))?;
    let sent = accepted_once(client, "/v1/jobs", &key, body).await?;
    let job: JobView = serde_json::from_slice(&sent).map_err(|e| internal(&e.to_string()))?;
    accepted(context, client, &job, wait).await
}

/// Says that a job was accepted, or waits for its end. Whoever interrupts the waiting cancels the job.
async fn accepted(context: &Context, client: &Client, job: &JobView, may_wait: bool) -> Done {
    if !may_wait {
        if context.json {
            out::json(job)?
        } else {
            out::line(&job.id)
        }
        return Ok(0);
    }
    if !context.json {
        out::note(&format!("job {}", job.id));
    }
    let mut interrupted = signal(SignalKind::interrupt()).map_err(|e| internal(&e.to_string()))?;
    tokio::select! {
        job = wait(client, &job.id, None) => finished(context, &job?),
        _ = interrupted.recv() => {
            let stopped = client.json::<Value>(Method::POST, &format!("{}/cancel", path(&job.id)?), None).await;
            match stopped {
                // It was over just then.
                Err(failure) if failure.code != Code::Conflict => Err(failure),
                _ => Ok(130),
            }
        }
    }
}

/// Waits until a job is over, over restarts of the daemon.
async fn wait(client: &Client, id: &str, deadline: Option<Instant>) -> Result<JobView, Failure> {
    let at = path(id)?;
    loop {
        let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
        let step = left.as_millis().div_ceil(1000).min(u128::from(WAIT_STEP_S));
        let asked = format!("{at}/wait?timeout_s={step}");
        let answer = again(|| client.json::<JobView>(Method::GET, &asked, None)).await;
        match answer {
            Err(failure) if failure.code == Code::Timeout && deadline.is_none_or(|deadline| Instant::now() < deadline) => {}
            Err(failure) if failure.code == Code::Timeout => {
                return Err(Failure::new(Code::Timeout, format!("the job {id} is not over yet")).hint("it goes on; wait for it again"));
            }
            answer => return answer,
        }
    }
}

/// Prints what a job came to, and gives the exit status.
fn finished(context: &Context, job: &JobView) -> Result<u8, Failure> {
    if context.json {
        out::json(job)?;
    } else {
        if let Some(text) = result_text(job) {
            out::line(clean(&text).trim_end());
        }
        if let Some(error) = &job.error {
            out::note(&clean(&format!("error[{}]: {error}", job.code.as_deref().unwrap_or("FAILED"))));
        }
        out::note(&format!("{} for ${:.4}, job {}", word(job.status), job.cost_usd, job.id));
    }
    Ok(exit_status(job))
}

/// The result as text.
fn result_text(job: &JobView) -> Option<String> {
    let value = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    job.output.clone().or_else(|| job.result.as_ref().map(value)).or_else(|| job.text.clone())
}

/// The exit status of a command that waited for this job.
fn exit_status(job: &JobView) -> u8 {
    let code = job.code.as_deref().and_then(|text| Code::ALL.iter().find(|code| code.as_str() == text));
    match (job.status, code) {
        (JobState::Completed, _) => 0,
        (JobState::Cancelled, _) => 130,
        (_, Some(code)) => code.exit_status(),
        (_, None) => 1,
    }
}

/// The word for where a job stands.
fn word(status: JobState) -> &'static str {
    match status {
        JobState::Queued => "queued",
        JobState::Running => "running",
        JobState::Waiting => "waiting",
        JobState::Completed => "completed",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
    }
}

async fn list(context: &Context, client: &Client, flags: &args::JobList) -> Result<(), Failure> {
    let asked = [
        ("status", &flags.status),
        ("agent_id", &flags.agent_id),
        ("profile", &flags.profile),
        ("engine", &flags.engine),
        ("label", &flags.label),
    ];
    let query: Vec<String> = asked.iter().filter_map(|(name, value)| Some(format!("{name}={}", escaped(value.as_deref()?)))).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    let jobs: Vec<JobView> = lists::list(client, &format!("/v1/jobs{mark}{}", query.join("&")), flags.limit).await?;
    if context.json {
        return jobs.iter().try_for_each(out::json);
    }
    let row = |job: &JobView| {
        vec![
            job.id.clone(),
            word(job.status).to_owned(),
            job.profile.clone(),
            job.engine.clone(),
            out::ago(job.created),
            format!("${:.4}", job.cost_usd),
            out::cut(job.error.as_deref().unwrap_or(""), ERROR_CHARS),
        ]
    };
    out::table(&["job", "status", "profile", "engine", "asked", "cost", "error"], &jobs.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

fn show(job: &JobView) {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let mut lines = vec![
        ("job", job.id.clone()),
        ("status", word(job.status).to_owned()),
        ("profile", job.profile.clone()),
        ("engine", job.engine.clone()),
        ("model", job.model.clone()),
        ("priority", job.priority.to_string()),
        ("session", job.session.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("tries", job.tries.to_string()),
        ("asked", out::ago(job.created)),
        ("began", job.started.map(out::ago).unwrap_or_default()),
        ("ended", job.finished.map(out::ago).unwrap_or_default()),
        ("cost", format!("${:.4}", job.cost_usd)),
        ("exit code", job.exit_code.map(|code| code.to_string()).unwrap_or_default()),
        ("error", job.error.as_ref().map(|error| format!("{error} ({})", text(&job.code))).unwrap_or_default()),
    ];
    lines.extend(job.labels.iter().map(|(key, value)| ("label", format!("{key}={value}"))));
    lines.extend(job.artifacts.iter().map(|file| ("artifact", format!("{} ({})", file.path, out::bytes(file.bytes)))));
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        out::line(&format!("{name:<12} {}", clean(value)));
    }
    if let Some(text) = result_text(job) {
        out::line(&format!("\n{}", clean(&text).trim_end()));
    }
}

async fn artifacts(context: &Context, client: &Client, id: &str, one: Option<&str>, into: Option<&std::path::Path>) -> Result<(), Failure> {
    let at = path(id)?;
    if let (Some(path), None) = (one, into) {
        return job_files::print(client, &format!("{at}/artifacts/{}", escaped(path))).await;
    }
    let all: Vec<Artifact> = lists::all(client, &format!("{at}/artifacts")).await?;
    if let Some(dir) = into {
        let wanted: Vec<&Artifact> = all.iter().filter(|file| one.is_none_or(|one| one == file.path)).collect();
        if let (Some(path), true) = (one, wanted.is_empty()) {
            return Err(Failure::new(Code::NotFound, format!("the job left no file `{}`", path.escape_debug())));
        }
        for file in wanted {
            job_files::take(client, &format!("{at}/artifacts/{}", escaped(&file.path)), dir, file).await?;
        }
    }
    if context.json {
        return all.iter().try_for_each(out::json);
    }
    if into.is_none() {
        let row = |file: &Artifact| vec![file.path.clone(), out::bytes(file.bytes)];
        out::table(&["file", "bytes"], &all.iter().map(row).collect::<Vec<_>>());
    }
    Ok(())
}

async fn remove(client: &Client, ids: &[String]) -> Result<(), Failure> {
    for id in ids {
        let at = path(id)?;
        let job: JobView = client.json(Method::GET, &at, None).await?;
        if matches!(job.status, JobState::Queued | JobState::Running | JobState::Waiting) {
            return Err(Failure::new(Code::Conflict, format!("the job {id} is not over")).hint(format!("run: lazaret job cancel {id}")));
        }
        let _: Value = client.json(Method::DELETE, &at, None).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_names_no_other_place() {
        for bad in ["", "../sessions", "a?b", "a b", &"a".repeat(78)] {
            assert!(path(bad).is_err(), "{bad}");
        }
        assert_eq!(path("my_agent-0123456789ab").expect("good"), "/v1/jobs/my_agent-0123456789ab");
    }
}
