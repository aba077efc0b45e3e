//! From a failure to an HTTP answer: the one place that knows the status of a code, and the form of what goes wrong.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use model::{Code, Failure};
use serde_json::{Value, json};
use tracing::Instrument as _;

/// A failure on its way out.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What went wrong.
    pub failure: Failure,
    /// The status, where it is not that of the code.
    status: Option<StatusCode>,
    /// What is told beside it.
    beside: Option<Box<(&'static str, Value)>>,
}

impl Problem {
    /// The same under another status than that of its code.
    pub(crate) fn with_status(failure: Failure, status: StatusCode) -> Self {
        Self { failure, status: Some(status), beside: None }
    }

    /// The same with something that is told beside it.
    pub(crate) fn beside(mut self, name: &'static str, value: Value) -> Self {
        self.beside = Some(Box::new((name, value)));
        self
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self { failure, status: None, beside: None }
    }
}

/// The HTTP status of a code.
#[must_use]
pub fn status_of(code: Code) -> StatusCode {
    match code {
        Code::Usage | Code::PromptInvalid | Code::ConfigInvalid | Code::TapeInvalid | Code::SkillInvalid => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        Code::NotFound | Code::EngineMissing | Code::ImageMissing | Code::CheckpointMissing => StatusCode::NOT_FOUND,
        Code::Conflict | Code::EnvShared | Code::MergeConflict | Code::WorkUnsaved | Code::SkillChanged => StatusCode::CONFLICT,
        Code::Forbidden | Code::EgressDenied | Code::PathUnusable => StatusCode::FORBIDDEN,
        Code::Unauthorized => StatusCode::UNAUTHORIZED,
        Code::Busy | Code::QuotaExceeded | Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::BudgetExceeded | Code::KeyMissing | Code::PriceUnknown => StatusCode::PAYMENT_REQUIRED,
        Code::Timeout => StatusCode::REQUEST_TIMEOUT,
        Code::DiskLimit => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Problem {
    /// The status, with the failure beside it: [`finish`] writes the body, which depends on the path.
    fn into_response(self) -> Response {
        let status = self.status.unwrap_or_else(|| status_of(self.failure.code));
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The header that names a request, for finding it in the log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The outermost layer: gives every answer the request's identity, and every failure its form.
pub(crate) async fn finish(request: Request, next: Next) -> Response {
    let id = request_id();
    let manner = Manner::of(request.uri().path());
    let mut response = next.run(request).instrument(tracing::info_span!("request", request = %id)).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let said = std::mem::take(response.headers_mut());
        response = write(&problem, response.status(), &id, manner);
        // When to come again was said before; what kind of body it had was not this one's.
        let stays = |name: &HeaderName| ![header::CONTENT_TYPE, header::CONTENT_LENGTH].contains(name);
        response.headers_mut().extend(said.into_iter().filter(|(name, _)| name.as_ref().is_some_and(stays)));
    } else if response.status().is_client_error() || response.status().is_server_error() {
        // A layer below said no in words of its own.
        let status = response.status();
        let code = if status == StatusCode::PAYLOAD_TOO_LARGE { Code::TooLarge } else { Code::Usage };
        let why = status.canonical_reason().unwrap_or("the request was refused").to_lowercase();
        response = write(&Problem::from(Failure::new(code, why)), status, &id, manner);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Whose form a failure has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// `{"error": {...}}`.
    Own,
    /// That of the container-per-chat server.
    Chats,
    /// That of the server of jobs.
    Jobs,
}

/// What the paths of the server of jobs begin with.
const JOBS_PATHS: &[&str] = &["jobs", "profiles", "engines", "configs"];

impl Manner {
    /// The form of what is answered under a path.
    pub(crate) fn of(path: &str) -> Self {
        let first = path.trim_start_matches('/').split('/').next().unwrap_or("");
        match first {
            _ if path.starts_with(crate::SEED_PREFIX) => Manner::Chats,
            _ if JOBS_PATHS.contains(&first) => Manner::Jobs,
            _ => Manner::Own,
        }
    }
}

/// A failure as the clients of the server of jobs read it: what they sent wrongly is an `error`, all else a `detail`.
fn in_jobs_form(failure: &Failure, status: StatusCode) -> Value {
    let text = match &failure.hint {
        Some(hint) => format!("{} ({hint})", failure.message),
        None => failure.message.clone(),
    };
    let name = if matches!(status, StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE) { "error" } else { "detail" };
    json!({ name: text, "code": failure.code })
}

fn write(problem: &Problem, status: StatusCode, id: &str, manner: Manner) -> Response {
    let failure = &problem.failure;
    if status.is_server_error() {
        tracing::warn!(request = id, code = %failure.code, error = %failure, "a request failed");
    }
    let mut body = match manner {
        Manner::Chats => json!({ "detail": failure.message, "code": failure.code }),
        Manner::Jobs => in_jobs_form(failure, status),
        Manner::Own => {
            let mut error = serde_json::to_value(failure).unwrap_or_else(|_| json!({ "code": failure.code }));
            error["request_id"] = json!(id);
            json!({ "error": error })
        }
    };
    if let Some((name, value)) = problem.beside.as_deref() {
        body[*name] = value.clone();
    }
    let mut response = (status, Json(body)).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Names a request. Random numbers that cannot be had make it no worse than nameless.
fn request_id() -> String {
    let mut bytes = [0u8; 8];
    let _ = getrandom::fill(&mut bytes);
    format!("req_{:016x}", u64::from_be_bytes(bytes))
}
