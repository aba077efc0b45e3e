//! From a failure to an HTTP answer: the one place that knows the status of a code.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::{Code, Failure};

/// A failure on its way out.
#[derive(Debug)]
pub struct Problem(pub Failure);

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self(failure)
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
        Code::BudgetExceeded | Code::KeyMissing | Code::PriceUnknown => StatusCode::PAYMENT_REQUIRED,
        Code::Timeout => StatusCode::REQUEST_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = status_of(self.0.code);
        (status, Json(serde_json::json!({ "error": self.0 }))).into_response()
    }
}
