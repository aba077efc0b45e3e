//! Jobs: one prompt, one result. Asking, waiting, stopping, and what is left.

use std::time::Duration;

use app::{Artifact, JobForm, JobQuery, JobState, JobView};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use model::{Code, Failure};
use schemars::{Schema, SchemaGenerator};
use serde_json::{Value, json};
use tokio_util::io::ReaderStream;

use super::env_files::as_attachment;
use super::{Api, idempotency_key};
use crate::Problem;
use crate::auth::Identity;
use crate::job_form::{JOB_BYTES_MAX, SentJob};
use crate::operation::Verb::{Delete, Get, Post};
use crate::operation::{Examples, Operation, of, page_of};
use crate::request::{Asked, At};

const NO_JOB: (u16, &str) = (404, "There is no such job.");
const WRONG: (u16, &str) = (422, "A field is wrong; `field` names it.");
const NOT_OVER: (u16, &str) = (409, "It is not over yet.");

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(
        Post,
        "/v1/jobs",
        "Accepts a job: it is durable when this answers. With the header `Idempotency-Key` a repeated request is accepted once. \
         As a form of parts, the part `job` is the job in JSON, and each other part is a file, whose file name is its path.",
        || post(create),
    )
    .takes(of::<JobForm>)
    .takes_also("multipart/form-data", parts)
    .at_most(JOB_BYTES_MAX)
    .gives(202, of::<JobView>)
    .fails(&[
        (409, "The idempotency key came with another request before."),
        (413, "The request is too long."),
        WRONG,
        (429, "Too much waits already, or too many long requests are being read."),
    ])
    .shows(example),
    Operation::new(Get, "/v1/jobs", "Lists jobs, the youngest first, without their prompts and results.", || get(list))
        .asks(of::<JobQuery>)
        .gives(200, page_of::<JobView>)
        .fails(&[WRONG]),
    Operation::new(Get, "/v1/jobs/{id}", "Shows a job, with its result once it is over.", || get(show))
        .gives(200, of::<JobView>)
        .fails(&[NO_JOB]),
    Operation::new(
        Delete,
        "/v1/jobs/{id}",
        "Forgets a job that is over, with its session, result and artifacts; cancels one that is not, and keeps it.",
        || delete(remove),
    )
    .gives(200, of::<Removed>)
    .fails(&[NO_JOB]),
    Operation::new(Post, "/v1/jobs/{id}/cancel", "Stops a job that is not over.", || post(cancel))
        .gives(200, of::<JobView>)
        .fails(&[NO_JOB, (409, "It is over already.")]),
    Operation::new(
        Post,
        "/v1/jobs/{id}/retry",
        "Asks for the same again: a new job of the same form, whose label `retry_of` names the old one.",
        || post(retry),
    )
    .gives(202, of::<JobView>)
    .fails(&[NO_JOB, (422, "What it needs is missing now, or not allowed any more.")]),
    Operation::new(Get, "/v1/jobs/{id}/wait", "Answers with the job as soon as it is over.", || get(wait))
        .asks(of::<Patience>)
        .gives(200, of::<JobView>)
        .fails(&[NO_JOB, (408, "It is not over within the time. The answer has the job in `job`.")]),
    Operation::new(Get, "/v1/jobs/{id}/result", "The result itself: the final text, the JSON value, or the events as lines.", || {
        get(result)
    })
    .gives_bytes(200, &["text/plain", "application/json", "application/x-ndjson"])
    .fails(&[(404, "There is no such job, or it has no result."), NOT_OVER]),
    Operation::new(Get, "/v1/jobs/{id}/prompt", "What was asked, as the engine was told it.", || get(prompt))
        .gives_bytes(200, &["text/plain"])
        .fails(&[NO_JOB]),
    Operation::new(Get, "/v1/jobs/{id}/artifacts", "Lists the files that it left.", || get(artifacts))
        .gives(200, page_of::<Artifact>)
        .fails(&[NO_JOB]),
    Operation::new(Get, "/v1/jobs/{id}/artifacts/{*path}", "The bytes of a file that it left.", || get(artifact))
        .gives_bytes(200, &["application/octet-stream"])
        .fails(&[(404, "There is no such job or file.")]),
];

/// The form of parts, for the API document.
fn parts(generator: &mut SchemaGenerator) -> Schema {
    let job = generator.subschema_for::<JobForm>();
    schemars::json_schema!({
        "type": "object",
        "properties": {
            "job": job,
            "file": { "type": "array", "items": { "type": "string", "format": "binary" }, "description": "Files; a file name is a path." },
        },
        "required": ["job"],
    })
}

fn example() -> Examples {
    Examples {
        request: json!({
            "agent_id": "search", "profile": "researcher", "prompt_vars": { "query": "best CI tools" }, "labels": { "team": "red" },
        }),
        answer: json!({
            "id": "search-0123456789ab", "agent_id": "search", "status": "queued", "engine": "claude-code", "model": "",
            "profile": "researcher", "priority": 5, "labels": { "team": "red" }, "session": null, "turn": null, "tries": 0,
            "exit_code": null, "error": null, "code": null, "usage": { "input_tokens": 0, "output_tokens": 0 }, "cost_usd": 0.0,
            "artifacts": [], "created": 1_772_271_000_123_u64, "started": null, "finished": null,
        }),
    }
}

/// Whether nothing more happens in a job of this state.
pub(crate) fn is_over(state: JobState) -> bool {
    matches!(state, JobState::Completed | JobState::Failed | JobState::Cancelled)
}

async fn create(State(api): State<Api>, who: Identity, headers: HeaderMap, SentJob(form, files): SentJob) -> Result<Response, Problem> {
    let key = idempotency_key(&headers)?;
    let parent = headers.get("traceparent").and_then(|value| value.to_str().ok()).and_then(app::TraceParent::parse);
    accepted(Box::pin(app::traced(parent, api.app.jobs_of(&who.caller).create_with(form, files, key))).await?)
}

fn accepted(job: JobView) -> Result<Response, Problem> {
    let mut response = (StatusCode::ACCEPTED, Json(&job)).into_response();
    if let Ok(at) = HeaderValue::from_str(&format!("/v1/jobs/{}", job.id)) {
        response.headers_mut().insert(header::LOCATION, at);
    }
    Ok(response)
}

async fn list(State(api): State<Api>, who: Identity, Asked(query): Asked<JobQuery>) -> Result<Json<Value>, Problem> {
    let page = api.app.jobs_of(&who.caller).list(query).await?;
    Ok(Json(json!({ "items": page.items, "next": page.next })))
}

async fn show(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<JobView>, Problem> {
    Ok(Json(api.app.jobs_of(&who.caller).show(&id).await?))
}

/// What became of a job that was to be deleted.
#[derive(serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "JobRemoved")]
struct Removed {
    /// Its identity.
    id: String,
    /// Where it stood, or now stands.
    status: JobState,
    /// Whether it is forgotten; one that was not over was cancelled instead.
    removed: bool,
}

async fn remove(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<Removed>, Problem> {
    let jobs = api.app.jobs_of(&who.caller);
    let mut status = jobs.show(&id).await?.status;
    if !is_over(status) {
        match jobs.cancel(&id).await {
            Ok(job) => return Ok(Json(Removed { id, status: job.status, removed: false })),
            // It ended by itself just now.
            Err(failure) if failure.code == Code::Conflict => status = jobs.show(&id).await?.status,
            Err(failure) => return Err(failure.into()),
        }
    }
    jobs.remove(&id).await?;
    Ok(Json(Removed { id, status, removed: true }))
}

async fn cancel(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<JobView>, Problem> {
    Ok(Json(api.app.jobs_of(&who.caller).cancel(&id).await?))
}

async fn retry(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Response, Problem> {
    accepted(api.app.jobs_of(&who.caller).retry(&id).await?)
}

/// How long somebody waits.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "JobPatience")]
struct Patience {
    /// Seconds, at most 7,200; 0 answers at once.
    #[serde(default = "usual_wait")]
    #[schemars(range(max = 7200))]
    timeout_s: u64,
}

/// How long is waited when nothing is said.
pub(crate) const WAIT_S: u64 = 3600;
/// How long is waited at most.
pub(crate) const WAIT_S_MAX: u64 = 7200;

fn usual_wait() -> u64 {
    WAIT_S
}

async fn wait(State(api): State<Api>, who: Identity, At(id): At<String>, Asked(asked): Asked<Patience>) -> Result<Json<JobView>, Problem> {
    if asked.timeout_s > WAIT_S_MAX {
        return Err(Failure::new(Code::Usage, format!("at most {WAIT_S_MAX} seconds are waited")).field("timeout_s").into());
    }
    let job = api.app.jobs_of(&who.caller).wait(&id, Duration::from_secs(asked.timeout_s)).await?;
    if is_over(job.status) { Ok(Json(job)) } else { Err(not_yet(&job, asked.timeout_s)) }
}

fn not_yet(job: &JobView, seconds: u64) -> Problem {
    let failure = Failure::new(Code::Timeout, format!("the job is not over after {seconds} s")).hint("wait again");
    Problem::with_status(failure, StatusCode::REQUEST_TIMEOUT).beside("job", json!(job))
}

async fn result(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Response, Problem> {
    let jobs = api.app.jobs_of(&who.caller);
    if !is_over(jobs.show(&id).await?.status) {
        return Err(Failure::new(Code::Conflict, "the job is not over yet").hint(format!("GET /v1/jobs/{id}/wait waits for it")).into());
    }
    let (kind, bytes, stream) = jobs.result(&id).await?;
    let mut response = whole(kind, Body::from_stream(ReaderStream::with_capacity(stream, 64 << 10)));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    Ok(response)
}

const TEXT: &str = "text/plain; charset=utf-8";

/// Bytes that an agent made: nothing in them is run by a browser.
fn whole(kind: &'static str, bytes: impl Into<Body>) -> Response {
    let head = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
    ];
    (head, bytes.into()).into_response()
}

async fn prompt(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Response, Problem> {
    Ok(whole(TEXT, api.app.jobs_of(&who.caller).prompt(&id).await?))
}

async fn artifacts(State(api): State<Api>, who: Identity, At(id): At<String>) -> Result<Json<Value>, Problem> {
    let job = api.app.jobs_of(&who.caller).show(&id).await?;
    Ok(Json(json!({ "items": job.artifacts, "next": null })))
}

async fn artifact(State(api): State<Api>, who: Identity, At((id, path)): At<(String, String)>) -> Result<Response, Problem> {
    let (bytes, file) = api.app.jobs_of(&who.caller).artifact(&id, &path).await?;
    Ok(as_attachment(&path, bytes, Body::from_stream(ReaderStream::with_capacity(file, 64 << 10))))
}
