//! How branch agents stand, and each change of it as it comes.

use std::convert::Infallible;
use std::time::Duration;

use app::{BranchChange, BranchFollow, BranchWatchQuery, Busy, Seat};
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use tokio::sync::watch;

use super::Api;
use crate::Problem;
use crate::auth::Identity;
use crate::operation::Verb::Get;
use crate::operation::{Operation, of};
use crate::request::Asked;
use crate::stream::{Streams, streaming};

pub(super) const OPERATIONS: &[Operation] = &[Operation::new(
    Get,
    "/v1/branches/changes",
    "All branch agents, a line of JSON each. To a client that accepts `application/x-ndjson` or `text/event-stream`, and from then on \
     each that changes, for as long as it reads; one that connects again is told all of them anew.",
    || get(changes),
)
.asks(of::<BranchWatchQuery>)
.gives_bytes(200, &["application/x-ndjson"])
.streams(&["text/event-stream"])];

/// How often a silent stream says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Who looks, and at what.
struct Looking {
    follow: BranchFollow,
    api: Api,
    who: Identity,
    /// What tokens may do has changed.
    rights: watch::Receiver<u64>,
    is_sse: bool,
    /// Whether it stays for what changes.
    stays: bool,
    is_told: bool,
    _place: Seat,
    /// A daemon that is looked at is not idle.
    _busy: Busy,
}

impl Looking {
    /// The next bytes; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Bytes> {
        if self.is_told && !self.stays {
            return None;
        }
        let came = tokio::select! {
            came = tokio::time::timeout(KEEP_ALIVE, self.follow.next()) => came,
            () = self.who.ended(&self.api, &mut self.rights) => return None,
        };
        if !self.who.is_good(&self.api).await {
            return None;
        }
        match came {
            Ok(Ok(changes)) => {
                self.is_told |= changes.iter().any(|change| matches!(change, BranchChange::Ready));
                Some(self.written(&changes))
            }
            Ok(Err(failure)) => {
                tracing::warn!(%failure, "a stream of branch agents ended");
                None
            }
            Err(_) => Some(Bytes::from_static(if self.is_sse { b": alive\n\n" } else { b"\n" })),
        }
    }

    fn written(&self, changes: &[BranchChange]) -> Bytes {
        // They are made of text, numbers and JSON values: writing them to memory cannot fail.
        let lines = changes.iter().filter_map(|change| serde_json::to_string(change).ok());
        let form = |json: String| if self.is_sse { format!("data: {json}\n\n") } else { format!("{json}\n") };
        lines.map(form).collect::<String>().into()
    }
}

async fn changes(
    State(api): State<Api>,
    who: Identity,
    Asked(query): Asked<BranchWatchQuery>,
    Extension(streams): Extension<Streams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let is_sse = accept.contains("text/event-stream");
    let looking = Looking {
        follow: api.app.branches_of(&who.caller).follow(query),
        rights: api.app.rights(),
        is_sse,
        stays: is_sse || accept.contains("application/x-ndjson"),
        is_told: false,
        _place: streams.enter(&who)?,
        _busy: api.app.busy(),
        api,
        who,
    };
    let body = futures_util::stream::unfold(looking, |mut looking: Looking| async move {
        let bytes = looking.next().await?;
        Some((Ok::<_, Infallible>(bytes), looking))
    });
    Ok(streaming(if is_sse { "text/event-stream" } else { "application/x-ndjson" }, Body::from_stream(body)))
}
