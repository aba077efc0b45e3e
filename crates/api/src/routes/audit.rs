//! The audit: what was decided, row by row, each with the hash of the one before.

use app::{AuditCheck, AuditFilter, AuditRow, Scope};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use model::{AuditKind, Code, Failure, Timestamp};
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::operation::Verb::Get;
use crate::operation::{Needs, Operation, of, page_of};
use crate::request::{Asked, limit};

/// A row may speak of every tenant.
const WHOLE: Needs = Needs::Whole(Scope::Read);
/// Rows in one page when nothing is said, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 500;
/// What an export comes as.
const LINES: &str = "application/x-ndjson";

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/v1/audit", "Lists rows of the audit in their order.", || get(list))
        .needs(WHOLE)
        .asks(of::<AuditQuery>)
        .gives(200, page_of::<AuditRow>),
    Operation::new(Get, "/v1/audit/verify", "Reads the whole chain and names the first fault.", || get(verify))
        .needs(WHOLE)
        .gives(200, of::<AuditCheck>),
    Operation::new(Get, "/v1/audit/export", "All rows that match, one JSON object a line.", || get(export))
        .needs(WHOLE)
        .asks(of::<AuditQuery>)
        .gives_bytes(200, &[LINES]),
];

/// Which rows are asked for.
#[derive(Debug, Clone, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    /// `tool`, `model`, `egress`, `confirmation` or `admin`.
    kind: Option<AuditKind>,
    /// The session.
    session: Option<String>,
    /// What it is about, whole.
    topic: Option<String>,
    /// How it ended.
    outcome: Option<String>,
    /// The call.
    correlation: Option<String>,
    /// Not before, in milliseconds since 1970.
    from: Option<u64>,
    /// Before, in milliseconds since 1970.
    to: Option<u64>,
    /// Rows after this number.
    after: Option<u64>,
    /// How many.
    limit: Option<usize>,
    /// The last of them instead of the first.
    #[serde(default)]
    latest: bool,
}

impl AuditQuery {
    fn filter(&self) -> Result<AuditFilter, Failure> {
        let session = self.session.as_deref().map(str::parse).transpose();
        Ok(AuditFilter {
            kind: self.kind,
            session: session.map_err(|_| Failure::new(Code::Usage, "this is no session").field("session"))?,
            topic: self.topic.clone(),
            outcome: self.outcome.clone(),
            correlation: self.correlation.clone(),
            from: self.from.map(Timestamp),
            to: self.to.map(Timestamp),
        })
    }
}

async fn list(State(api): State<Api>, Asked(query): Asked<AuditQuery>) -> Result<Json<Value>, Problem> {
    let count = limit(query.limit, PAGE, PAGE_MAX);
    let rows = api.app.audit_rows(query.filter()?, query.after.unwrap_or(0), count, query.latest).await?;
    let next = rows.last().filter(|_| rows.len() == count && !query.latest).map(|row| row.seq.to_string());
    Ok(Json(json!({ "items": rows, "next": next })))
}

async fn verify(State(api): State<Api>) -> Result<Json<AuditCheck>, Problem> {
    Ok(Json(api.app.verify_audit().await?))
}

async fn export(State(api): State<Api>, Asked(query): Asked<AuditQuery>) -> Result<Response, Problem> {
    let (filter, after, app) = (query.filter()?, query.after.unwrap_or(0), api.app.clone());
    let pages = futures_util::stream::try_unfold(Some(after), move |after| {
        let (app, filter) = (app.clone(), filter.clone());
        async move {
            let Some(after) = after else { return Ok::<_, Failure>(None) };
            let rows = app.audit_rows(filter, after, PAGE_MAX, false).await?;
            let next = rows.last().filter(|_| rows.len() == PAGE_MAX).map(|row| row.seq);
            let mut text = Vec::new();
            for row in &rows {
                serde_json::to_writer(&mut text, row).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
                text.push(b'\n');
            }
            Ok(Some((Bytes::from(text), next)))
        }
    });
    Ok(([(header::CONTENT_TYPE, LINES)], Body::from_stream(pages)).into_response())
}
