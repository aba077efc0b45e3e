//! The API document, and a page that shows it without help from anywhere.

use axum::Json;
use axum::response::Response;
use axum::routing::get;
use serde_json::Value;

use super::ui::file;
use crate::openapi;
use crate::operation::Verb::Get;
use crate::operation::{Needs, Operation};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/openapi.json", "This document.", || get(document)).needs(Needs::Nothing),
    Operation::new(Get, "/docs", "A page that shows this document.", || get(page)).needs(Needs::Nothing).gives_bytes(200, &["text/html"]),
    Operation::new(Get, "/docs/docs.js", "The page's program.", || get(script))
        .needs(Needs::Nothing)
        .gives_bytes(200, &["text/javascript"]),
];

async fn document() -> Json<Value> {
    Json(openapi::document())
}

async fn page() -> Response {
    file("text/html; charset=utf-8", include_str!("../../ui/docs.html"))
}

async fn script() -> Response {
    file("text/javascript; charset=utf-8", include_str!("../../ui/docs.js"))
}
