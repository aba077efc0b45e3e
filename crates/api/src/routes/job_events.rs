//! What happens in a job: a page of it, or all that comes until it is over, as events or as text.

use std::convert::Infallible;

use app::JobsOf;
use axum::body::Body;
use axum::extract::State;
use axum::extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json};
use bytes::Bytes;
use futures_util::stream;
use model::{Code, Failure};
use serde_json::json;

use super::Api;
use super::events::{PAGE_MAX, page, usual};
use crate::Problem;
use crate::auth::{Identity, WS_PROTOCOL};
use crate::log_text::LogText;
use crate::operation::Verb::Get;
use crate::operation::{Operation, of};
use crate::request::{Asked, At};
use crate::stream::{Form, Piece, Streams, WS_BYTES_MAX, Watch, speak, streaming};

const NO_JOB: (u16, &str) = (404, "There is no such job.");
const WRONG: (u16, &str) = (422, "The query or `Last-Event-ID` is wrong.");

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new(
        Get,
        "/v1/jobs/{id}/events",
        "A page of its log. With `Accept: text/event-stream` or `application/x-ndjson`, or as a WebSocket, all that comes until \
         the job is over, also when it has not begun yet.",
        || get(events),
    )
    .asks(of::<Ask>)
    .gives(200, page)
    .streams(&["text/event-stream", "application/x-ndjson"])
    .fails(&[NO_JOB, WRONG, (429, "Too many streams are open.")]),
    Operation::new(Get, "/v1/jobs/{id}/log", "Its log as text; with `follow=true` all that comes until it is over.", || get(log))
        .asks(of::<AskLog>)
        .gives_bytes(200, &["text/plain"])
        .fails(&[NO_JOB, WRONG, (429, "Too many streams are open.")]),
];

/// Which events.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "JobEventQuery")]
struct Ask {
    /// Those after this sequence number, or after `SESSION:NUMBER`, the form of the ids in a stream: each try has a session of
    /// its own. The header `Last-Event-ID` of a client that connects again goes before it.
    #[serde(default)]
    after: String,
    /// Events in a page, at most 1000. A stream has no end but the job's.
    #[serde(default = "usual")]
    limit: usize,
}

/// A place in the events of a job: of a session, or of whichever the job has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Place {
    session: Option<String>,
    after: u64,
}

impl Place {
    /// The number in the session that the job has now: none of it was seen when the place is one of another.
    async fn now(&self, jobs: &JobsOf<'_>, id: &str) -> Result<u64, Failure> {
        let Some(session) = &self.session else { return Ok(self.after) };
        let is_same = jobs.show(id).await?.session.is_none_or(|now| now.as_str() == session);
        Ok(if is_same { self.after } else { 0 })
    }
}

async fn events(
    State(api): State<Api>,
    who: Identity,
    At(id): At<String>,
    Asked(ask): Asked<Ask>,
    Extension(streams): Extension<Streams>,
    socket: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asked = place(&ask.after, "after")?;
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("");
    let form = match &socket {
        Ok(_) => None,
        Err(_) if accept.contains("text/event-stream") => Some(Form::JobSse),
        Err(_) if accept.contains("application/x-ndjson") => Some(Form::Lines),
        Err(_) => {
            let jobs = api.app.jobs_of(&who.caller);
            let events = jobs.events(&id, asked.now(&jobs, &id).await?, ask.limit.clamp(1, PAGE_MAX)).await?;
            return Ok(Json(json!({ "events": events })).into_response());
        }
    };
    let from = last_seen(&headers)?.unwrap_or(asked);
    let jobs = api.app.jobs_of(&who.caller);
    let follow = jobs.follow(&id, from.now(&jobs, &id).await?).await?;
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

/// A place in the events of a job.
fn place(text: &str, field: &str) -> Result<Place, Failure> {
    let wrong = || Failure::new(Code::Usage, format!("{field} is neither NUMBER nor SESSION:NUMBER")).field(field);
    if text.is_empty() {
        return Ok(Place::default());
    }
    let (session, number) = match text.split_once(':') {
        Some((session, number)) => (Some(session.to_owned()), number),
        None => (None, text),
    };
    if !number.bytes().all(|b| b.is_ascii_digit()) || session.as_deref().is_some_and(|s| s.parse::<model::SessionId>().is_err()) {
        return Err(wrong());
    }
    // The store counts in 63 bits.
    let after = number.parse().ok().filter(|n| i64::try_from(*n).is_ok()).ok_or_else(wrong)?;
    Ok(Place { session, after })
}

/// Where a client that lost its connection goes on.
fn last_seen(headers: &HeaderMap) -> Result<Option<Place>, Failure> {
    let Some(value) = headers.get("last-event-id").filter(|value| !value.is_empty()) else { return Ok(None) };
    place(value.to_str().unwrap_or("?"), "Last-Event-ID").map(Some)
}

/// How much of the log.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "JobLogQuery")]
struct AskLog {
    /// Whether to go on with what comes.
    #[serde(default)]
    follow: bool,
}

const TEXT: &str = "text/plain; charset=utf-8";

async fn log(
    State(api): State<Api>,
    who: Identity,
    At(id): At<String>,
    Asked(ask): Asked<AskLog>,
    Extension(streams): Extension<Streams>,
) -> Result<Response, Problem> {
    if ask.follow {
        let follow = api.app.jobs_of(&who.caller).follow(&id, 0).await?;
        let place = streams.enter(&who)?;
        return Ok(as_text(Watch::new(follow, api, who, place)));
    }
    let place = streams.enter(&who)?;
    let first = api.app.jobs_of(&who.caller).events(&id, 0, PAGE_MAX).await?;
    // Page by page: a log may be longer than what is kept in memory for one reader.
    let state = Some((first, (api, who, id, LogText::default(), place)));
    let body = stream::unfold(state, |state| async move {
        let (events, (api, who, id, mut text, place)) = state?;
        let last = events.last()?;
        let bytes = Bytes::from(text.write(&events));
        let next = api.app.jobs_of(&who.caller).events(&id, last.seq, PAGE_MAX).await.unwrap_or_default();
        // A job that was begun again meanwhile is told to the end of this try.
        let is_same = next.first().is_some_and(|event| event.session == last.session);
        Some((Ok::<_, Infallible>(bytes), is_same.then_some((next, (api, who, id, text, place)))))
    });
    Ok(streaming(TEXT, Body::from_stream(body)))
}

/// The log as text, until the job is over.
fn as_text(watch: Watch) -> Response {
    let body = stream::unfold((watch, LogText::default()), |(mut watch, mut text)| async move {
        let bytes = loop {
            match watch.next().await {
                Piece::Events(events) => break Bytes::from(text.write(&events)),
                Piece::Silence => {}
                Piece::End => return None,
            }
        };
        Some((Ok::<_, Infallible>(bytes), (watch, text)))
    });
    streaming(TEXT, Body::from_stream(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_goes_on_where_it_was() {
        let session = model::SessionId::from_bits(7).to_string();
        let of = |session: Option<&str>, after| Place { session: session.map(str::to_owned), after };
        assert_eq!(place("", "after").expect("none"), of(None, 0));
        assert_eq!(place("17", "after").expect("a number"), of(None, 17));
        assert_eq!(place(&format!("{session}:3"), "after").expect("a place"), of(Some(&session), 3));
        for bad in ["-1", "x", "x:1", ":1", "1:", &format!("{session}:"), "18446744073709551615", "99999999999999999999"] {
            assert_eq!(place(bad, "after").expect_err(bad).field.as_deref(), Some("after"), "{bad}");
        }
    }
}
