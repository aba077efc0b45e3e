//! The paths and forms of the server of jobs, over the same jobs: its clients work here with a token as the one thing more.

use std::time::Duration;

use app::{JobForm, JobQuery, JobState, JobView};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use model::{Code, Failure};
use serde_json::{Value, json};

use super::time::iso;
use crate::auth::Identity;
use crate::job_form::{JOB_BYTES_MAX, SentJob};
use crate::operation::Verb::{Delete, Get, Post};
use crate::operation::{Operation, of};
use crate::request::{Asked, At};
use crate::routes::{WAIT_S, WAIT_S_MAX, idempotency_key, is_over};
use crate::{Api, Problem};

const NO_JOB: (u16, &str) = (404, "There is no such job.");
const WRONG: (u16, &str) = (422, "A field is wrong; `error` says which.");

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Post, "/jobs", "Accepts a job.", || post(create))
        .takes(of::<JobForm>)
        .at_most(JOB_BYTES_MAX)
        .gives(202, of::<Accepted>)
        .fails(&[WRONG]),
    Operation::new(Get, "/jobs", "Lists jobs, the youngest first, without their results.", || get(list))
        .asks(of::<List>)
        .gives(200, of::<Jobs>)
        .fails(&[WRONG]),
    Operation::new(Get, "/jobs/{id}", "Shows a job.", || get(show)).gives(200, of::<Job>).fails(&[NO_JOB]),
    Operation::new(Delete, "/jobs/{id}", "Cancels a job.", || delete(cancel))
        .gives(200, of::<Accepted>)
        .fails(&[NO_JOB, (409, "It is over already.")]),
    Operation::new(Get, "/jobs/{id}/wait", "Answers with the job as soon as it is over.", || get(wait))
        .asks(of::<Patience>)
        .gives(200, of::<Job>)
        .fails(&[NO_JOB, (408, "It is not over within the time.")]),
];

/// Where a job stands, in the seed's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Status {
    /// It waits, or its engine has not started yet.
    Pending,
    Running,
    /// It waits for a person.
    Waiting,
    Completed,
    Failed,
    Cancelled,
}

fn status_of(job: &JobView) -> Status {
    match job.status {
        JobState::Queued => Status::Pending,
        JobState::Running if job.started.is_none() => Status::Pending,
        JobState::Running => Status::Running,
        JobState::Waiting => Status::Waiting,
        JobState::Completed => Status::Completed,
        JobState::Failed => Status::Failed,
        JobState::Cancelled => Status::Cancelled,
    }
}

/// What was accepted, or became of it.
#[derive(serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "SeedJobAccepted")]
struct Accepted {
    job_id: String,
    status: Status,
}

/// A job as the seed's clients read it.
#[derive(serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "SeedJob")]
struct Job {
    job_id: String,
    status: Status,
    engine: String,
    profile: String,
    created_at: String,
    started_at: Option<String>,
    finished_at: Option<String>,
    exit_code: Option<i32>,
    /// The final text, or the JSON value that it is; null in lists.
    result: Value,
    error: Option<String>,
}

fn shown(job: JobView) -> Job {
    Job {
        status: status_of(&job),
        job_id: job.id,
        engine: job.engine,
        profile: job.profile,
        created_at: iso(job.created),
        started_at: job.started.map(iso),
        finished_at: job.finished.map(iso),
        exit_code: job.exit_code,
        result: job.result.or_else(|| job.output.or(job.text).map(Value::String)).unwrap_or(Value::Null),
        error: job.error,
    }
}

async fn create(State(api): State<Api>, who: Identity, headers: HeaderMap, SentJob(form, files): SentJob) -> Result<Response, Problem> {
    let key = idempotency_key(&headers)?;
    let job = api.app.jobs_of(&who.caller).create_with(form, files, key).await?;
    Ok((StatusCode::ACCEPTED, Json(Accepted { job_id: job.id, status: Status::Pending })).into_response())
}

/// Which jobs.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(rename = "SeedJobQuery")]
struct List {
    /// Those that stand so.
    status: Option<Status>,
    /// Entries in a page: 1 to 200.
    #[schemars(range(min = 1, max = 200))]
    limit: usize,
    /// Entries before the page: at most 100,000.
    #[schemars(range(max = 100_000))]
    offset: usize,
}

impl Default for List {
    fn default() -> Self {
        Self { status: None, limit: 50, offset: 0 }
    }
}

/// A page of jobs.
#[derive(serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "SeedJobs")]
struct Jobs {
    jobs: Vec<Job>,
    /// All that stand so.
    total: u64,
    limit: usize,
    offset: usize,
}

/// The longest page.
const LIMIT_MAX: usize = 200;
/// How far back a page may lie: pages are looked through from the youngest on.
const OFFSET_MAX: usize = 100_000;

async fn list(State(api): State<Api>, who: Identity, Asked(asked): Asked<List>) -> Result<Json<Jobs>, Problem> {
    let wrong = |field: &str, why: String| Problem::from(Failure::new(Code::Usage, why).field(field));
    let List { status, limit, offset } = asked;
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(wrong("limit", format!("limit: 1 to {LIMIT_MAX} are taken")));
    }
    if offset > OFFSET_MAX {
        return Err(wrong("offset", format!("offset: at most {OFFSET_MAX} are taken")));
    }
    let state = status.map(|status| match status {
        Status::Pending => JobState::Queued,
        Status::Running => JobState::Running,
        Status::Waiting => JobState::Waiting,
        Status::Completed => JobState::Completed,
        Status::Failed => JobState::Failed,
        Status::Cancelled => JobState::Cancelled,
    });
    let jobs = api.app.jobs_of(&who.caller);
    let counts = jobs.counts().await?;
    let total = match state {
        Some(state) => counts.get(state.as_str()).copied().unwrap_or(0),
        None => counts.values().sum(),
    };
    let (mut skip, mut found, mut after) = (offset, Vec::new(), None);
    while found.len() < limit {
        let page = LIMIT_MAX.min(skip + limit - found.len());
        let query = JobQuery { status: state, after: after.take(), limit: Some(page), ..JobQuery::default() };
        let page = jobs.list(query).await?;
        let passed = skip.min(page.items.len());
        skip -= passed;
        found.extend(page.items.into_iter().skip(passed).take(limit - found.len()).map(shown));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(Json(Jobs { jobs: found, total, limit, offset }))
}

async fn show(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<Job>, Problem> {
    Ok(Json(shown(api.app.jobs_of(&who.caller).show(&id).await?)))
}

async fn cancel(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<Accepted>, Problem> {
    let job = api.app.jobs_of(&who.caller).cancel(&id).await?;
    Ok(Json(Accepted { status: status_of(&job), job_id: job.id }))
}

/// How long somebody waits.
#[derive(Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(rename = "SeedJobPatience")]
struct Patience {
    /// Seconds, held between 1 and 7,200; 3,600 when left out.
    timeout: Option<i64>,
}

async fn wait(State(api): State<Api>, who: Identity, At(id): At<String>, Asked(asked): Asked<Patience>) -> Result<Json<Job>, Problem> {
    let seconds = asked.timeout.map_or(WAIT_S, |s| u64::try_from(s).unwrap_or(0)).clamp(1, WAIT_S_MAX);
    let job = api.app.jobs_of(&who.caller).wait(&id, Duration::from_secs(seconds)).await?;
    if is_over(job.status) {
        return Ok(Json(shown(job)));
    }
    let failure = Failure::new(Code::Timeout, format!("the job is not over after {seconds} s"));
    Err(Problem::with_status(failure, StatusCode::REQUEST_TIMEOUT).beside("status", json!(status_of(&job))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(status: JobState, started: bool) -> JobView {
        let view = json!({
            "id": "a-0123456789ab", "agent_id": "a", "status": status, "engine": "mini", "model": "", "profile": "default", "priority": 5,
            "labels": {}, "session": null, "turn": null, "tries": 0, "exit_code": null, "error": null, "code": null, "usage": {},
            "cost_usd": 0.0, "artifacts": [], "created": 0, "started": started.then_some(1), "finished": null,
        });
        serde_json::from_value(view).expect("a job")
    }

    #[test]
    fn the_words_are_the_seeds() {
        let check = |status, started, expect: &str| assert_eq!(json!(status_of(&job(status, started))), expect);
        check(JobState::Queued, false, "pending");
        check(JobState::Queued, true, "pending");
        check(JobState::Running, false, "pending");
        check(JobState::Running, true, "running");
        check(JobState::Waiting, true, "waiting");
        check(JobState::Completed, true, "completed");
        check(JobState::Failed, true, "failed");
        check(JobState::Cancelled, false, "cancelled");
    }

    #[test]
    fn a_job_has_the_seeds_fields() {
        let shown = json!(shown(JobView { result: Some(json!({ "a": 1 })), ..job(JobState::Completed, true) }));
        let fields: Vec<&String> = shown.as_object().expect("an object").keys().collect();
        assert_eq!(fields.len(), 10, "{fields:?}");
        assert_eq!((&shown["result"], &shown["created_at"]), (&json!({ "a": 1 }), &json!("1970-01-01T00:00:00.000Z")));
    }
}
