//! Numbers for Prometheus, and whether the daemon is well.

use app::{HealthView, Scope};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Api;
use crate::Problem;
use crate::operation::Verb::Get;
use crate::operation::{Needs, Operation, of};

/// The text form of Prometheus.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/metrics", "Everything that is counted, in the text form of Prometheus.", || get(metrics))
        // It tells of everybody's work.
        .needs(Needs::Whole(Scope::Read))
        .gives_bytes(200, &["text/plain"]),
    Operation::new(Get, "/health", "Whether the daemon is well: 503 when something that it needs is not.", || get(health))
        .needs(Needs::Nothing)
        .gives(200, of::<HealthView>),
];

async fn metrics(State(api): State<Api>) -> Result<Response, Problem> {
    Ok(([(header::CONTENT_TYPE, TEXT)], api.app.metrics_text().await?).into_response())
}

async fn health(State(api): State<Api>) -> Response {
    let health = api.app.health().await;
    let status = if health.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health)).into_response()
}
