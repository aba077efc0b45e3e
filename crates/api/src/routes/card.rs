//! What a hub asks a program before anybody logs in: who it is, where its page is, whether it is well.

use axum::Json;
use axum::extract::State;
use axum::routing::get;
use serde_json::{Value, json};

use super::Api;
use crate::Problem;
use crate::operation::Verb::Get;
use crate::operation::{Needs, Operation};

/// What the module is called in a hub.
const NAME: &str = "agent";
/// What tokens of a hub may be for, each allowing what those before it allow.
const SCOPES: [(&str, &str); 3] = [
    ("agent:read", "Look at sessions, agents, chats and tasks."),
    ("agent:write", "Talk with agents, change chats and tasks."),
    ("agent:admin", "Configure agents, secrets, plugins and the program itself."),
];

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(Get, "/.well-known/parachute.json", "The capability card: who this is and where its page and API are.", || get(card))
        .needs(Needs::Nothing),
    Operation::new(Get, "/api/health", "Whether the daemon answers, in a hub's words.", || get(health)).needs(Needs::Nothing),
    Operation::new(Get, "/api/discovery", "The capability card, where a hub looks for it too.", || get(card)).needs(Needs::Nothing),
];

async fn card(State(api): State<Api>) -> Json<Value> {
    let base = api.base.as_str();
    Json(json!({
        "name": NAME,
        "displayName": "Lazaret",
        "description": "Sealed AI agents: chats, sessions, jobs and tasks.",
        "version": env!("CARGO_PKG_VERSION"),
        "kind": "frontend",
        "paths": [if base.is_empty() { "/" } else { base }],
        "uiUrl": format!("{base}/ui"),
        "apiUrl": format!("{base}/v1"),
        "docsUrl": format!("{base}/docs"),
        "health": format!("{base}/api/health"),
        "auth": "bearer",
        "scopes": { "defines": SCOPES.map(|(name, description)| json!({ "name": name, "description": description })) },
    }))
}

/// No more than that it is there: what is wrong is told to who may know.
async fn health(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    api.app.ready().await?;
    Ok(Json(json!({ "status": "ok", "name": NAME, "version": env!("CARGO_PKG_VERSION") })))
}
