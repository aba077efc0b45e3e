//! The log of a session: a page of it, or all that comes.

use axum::extract::State;
use axum::extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json};
use model::{Code, Event, Failure};
use schemars::{Schema, SchemaGenerator};
use serde_json::json;

use super::Api;
use crate::Problem;
use crate::auth::{Identity, WS_PROTOCOL};
use crate::operation::Verb::Get;
use crate::operation::{Operation, of};
use crate::request::{Asked, At};
use crate::stream::{Form, Streams, WS_BYTES_MAX, Watch, speak};

pub(super) const OPERATIONS: &[Operation] = &[Operation::new(
    Get,
    "/v1/sessions/{id}/events",
    "A page of the log. With `Accept: text/event-stream` or `application/x-ndjson`, or as a WebSocket, all that comes.",
    || get(events),
)
.asks(of::<Ask>)
.gives(200, page)
.streams(&["text/event-stream", "application/x-ndjson"])];

pub(super) fn page(generator: &mut SchemaGenerator) -> Schema {
    let event = generator.subschema_for::<Event>();
    schemars::json_schema!({
        "type": "object",
        "properties": { "events": { "type": "array", "items": event } },
        "required": ["events"],
        "additionalProperties": false,
    })
}

/// Which events.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "EventQuery")]
struct Ask {
    /// Those after this sequence number. The header `Last-Event-ID` of a client that connects again goes before it.
    #[serde(default)]
    after: u64,
    /// Events in a page, at most 1000. A stream has no end.
    #[serde(default = "usual")]
    limit: usize,
    /// Cancel the session's work if this connection ends before its result.
    #[serde(default)]
    attach: bool,
}

pub(super) fn usual() -> usize {
    100
}

/// The longest page of events.
pub(super) const PAGE_MAX: usize = 1000;

async fn events(
    State(api): State<Api>,
    who: Identity,
    At(id): At<String>,
    Asked(ask): Asked<Ask>,
    Extension(streams): Extension<Streams>,
    socket: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if ask.attach && !who.may("sessions", app::Scope::Write) {
        return Err(Failure::new(Code::Forbidden, "who may only look cannot hold work").field("attach").into());
    }
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("");
    let form = match &socket {
        Ok(_) => None,
        Err(_) if accept.contains("text/event-stream") => Some(Form::Sse),
        Err(_) if accept.contains("application/x-ndjson") => Some(Form::Lines),
        Err(_) => {
            let events = api.app.sessions_of(&who.caller).events(&id, ask.after, ask.limit.clamp(1, PAGE_MAX)).await?;
            return Ok(Json(json!({ "events": events })).into_response());
        }
    };
    let after = last_seen(&headers)?.unwrap_or(ask.after);
    let follow = api.app.sessions_of(&who.caller).follow(&id, after, ask.attach).await?;
    let place = streams.enter(&who)?;
    let watch = Watch::new(follow, api, who, place);
    Ok(match (form, socket) {
        (Some(form), _) => form.answer(watch),
        (None, Ok(socket)) => {
            let socket = socket.max_message_size(WS_BYTES_MAX).max_frame_size(WS_BYTES_MAX).protocols([WS_PROTOCOL]);
            socket.on_upgrade(move |socket| speak(socket, watch))
        }
        (None, Err(rejection)) => rejection.into_response(),
    })
}

/// Where a client that lost its connection goes on.
fn last_seen(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    let Some(value) = headers.get("last-event-id").filter(|value| !value.is_empty()) else { return Ok(None) };
    let seq = value.to_str().ok().and_then(|text| text.parse().ok());
    seq.map(Some).ok_or_else(|| Failure::new(Code::Usage, "Last-Event-ID is not the number of an event").field("Last-Event-ID"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_goes_on_where_it_was() {
        let check = |value: Option<&'static str>, expect: Result<Option<u64>, ()>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert("last-event-id", value.parse().expect("a value"));
            }
            assert_eq!(last_seen(&headers).map_err(drop), expect, "{value:?}");
        };
        check(None, Ok(None));
        check(Some(""), Ok(None));
        check(Some("17"), Ok(Some(17)));
        check(Some("-1"), Err(()));
        check(Some("x"), Err(()));
    }
}
