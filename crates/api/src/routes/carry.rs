//! Taking along what an install has, and taking over what another one had.

use app::CarryReport;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use tokio_util::io::ReaderStream;

use super::Api;
use crate::Problem;
use crate::auth::Identity;
use crate::files;
use crate::operation::Verb::{Get, Post};
use crate::operation::{Needs, Operation, of};
use crate::request::Asked;

const ADMIN: Needs = Needs::Whole(app::Scope::Admin);
/// What an export is.
const LINES: &str = "application/x-ndjson";

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(
        Get,
        "/v1/export",
        "Agents, people, chats, tasks, memories and conversations as lines of JSON, without any secret.",
        || get(give),
    )
    .needs(ADMIN)
    .gives_bytes(200, &[LINES]),
    Operation::new(Post, "/v1/import", "Takes over what an export holds; each thing once.", || post(take))
        .needs(ADMIN)
        .asks(of::<Query>)
        .takes_bytes(LINES)
        .gives(200, of::<CarryReport>),
];

/// How an export is taken over.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Say what would happen, and change nothing.
    #[serde(default)]
    dry_run: bool,
}

async fn give(State(api): State<Api>, who: Identity) -> Result<Response, Problem> {
    let lines = api.app.import_of(&who.caller).give().await?;
    api.app.audit_change(&who.actor, "export", json!({})).await?;
    Ok(([(header::CONTENT_TYPE, LINES)], Body::from_stream(ReaderStream::new(lines))).into_response())
}

async fn take(State(api): State<Api>, who: Identity, Asked(query): Asked<Query>, body: Body) -> Result<Json<CarryReport>, Problem> {
    let lines = tokio::io::BufReader::new(files::reader(body));
    let report = api.app.import_of(&who.caller).take(lines, query.dry_run).await?;
    if !report.dry_run {
        api.app.audit_change(&who.actor, "import", json!({ "counts": report.counts })).await?;
    }
    Ok(Json(report))
}
