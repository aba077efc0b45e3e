//! From a failure to an HTTP answer: the one place that knows the status of a code, and the form of what goes wrong.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use model::{Code, Failure};
use serde_json::{Value, json};

/// A failure on its way out.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What went wrong.
    pub failure: Failure,
    /// The status, where it is not that of the code.
    status: Option<StatusCode>,
}

impl Problem {
    /// The same under another status than that of its code.
    pub(crate) fn with_status(failure: Failure, status: StatusCode) -> Self {
        Self { failure, status: Some(status) }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self { failure, status: None }
    }
}

/// The HTTP status of a code.
#[must_use]
pub fn status_of(code: Code) -> StatusCode {
    match code {
        Code::Usage | Code::PromptInvalid | Code::ConfigInvalid | Code::TapeInvalid => StatusCode::UNPROCESSABLE_ENTITY,
        Code::NotFound | Code::EngineMissing | Code::ImageMissing | Code::CheckpointMissing => StatusCode::NOT_FOUND,
        Code::Conflict | Code::EnvShared => StatusCode::CONFLICT,
        Code::Forbidden | Code::EgressDenied | Code::PathUnusable => StatusCode::FORBIDDEN,
        Code::Unauthorized => StatusCode::UNAUTHORIZED,
        Code::Busy => StatusCode::TOO_MANY_REQUESTS,
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
    let is_seed = request.uri().path().starts_with(crate::SEED_PREFIX);
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = write(&problem, response.status(), &id, is_seed);
    } else if response.status().is_client_error() || response.status().is_server_error() {
        // A layer below said no in words of its own.
        let status = response.status();
        let code = if status == StatusCode::PAYLOAD_TOO_LARGE { Code::TooLarge } else { Code::Usage };
        let why = status.canonical_reason().unwrap_or("the request was refused").to_lowercase();
        response = write(&Problem::from(Failure::new(code, why)), status, &id, is_seed);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn write(problem: &Problem, status: StatusCode, id: &str, is_seed: bool) -> Response {
    let failure = &problem.failure;
    if status.is_server_error() {
        tracing::warn!(request = id, code = %failure.code, error = %failure, "a request failed");
    }
    let mut response = if is_seed {
        (status, Json(json!({ "detail": failure.message, "code": failure.code }))).into_response()
    } else {
        let mut error = serde_json::to_value(failure).unwrap_or_else(|_| json!({ "code": failure.code }));
        if let Value::Object(fields) = &mut error {
            fields.insert("request_id".to_owned(), json!(id));
        }
        (status, Json(json!({ "error": error }))).into_response()
    };
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
