//! A session's events on their way to a client: lines, server-sent events, or messages of a WebSocket.
//!
//! Nothing is gathered and no timer stands in the way: what the log has is written at once, piece by piece.

use std::convert::Infallible;
use std::time::Duration;

use app::{Follow, JobFollow, Room, Seat};
use axum::body::Body;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use model::{Event, Failure};
use tokio::sync::watch;

use crate::Api;
use crate::auth::Identity;

/// How often a silent stream says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The longest message that a client of a WebSocket may send; it has nothing to say.
pub(crate) const WS_BYTES_MAX: usize = 4096;

/// Streams of one listener that are open at once; further ones are refused.
const STREAMS_MAX: usize = 4096;

/// The places for streams.
#[derive(Clone)]
pub(crate) struct Streams(Room);

impl Default for Streams {
    fn default() -> Self {
        Self(Room::new(STREAMS_MAX, "streams are open"))
    }
}

impl Streams {
    /// Takes a place until what is returned is dropped.
    pub(crate) fn enter(&self, who: &Identity) -> Result<Seat, Failure> {
        self.0.enter(who.caller.makes_for())
    }
}

/// What comes next.
pub(crate) enum Piece {
    /// Events, at least one.
    Events(Vec<Event>),
    /// Nothing for a while.
    Silence,
    /// The session is gone, its log cannot be read, or the token that opened the stream is no longer good.
    End,
}

/// Where events come from.
pub(crate) enum Source {
    /// A session, until it is gone.
    Session(Follow),
    /// A job, until it is over.
    Job(Box<JobFollow>),
}

impl Source {
    async fn next(&mut self) -> Result<Option<Vec<Event>>, Failure> {
        match self {
            Source::Session(follow) => follow.next().await,
            Source::Job(follow) => follow.next().await,
        }
    }
}

impl From<Follow> for Source {
    fn from(follow: Follow) -> Self {
        Source::Session(follow)
    }
}

impl From<JobFollow> for Source {
    fn from(follow: JobFollow) -> Self {
        Source::Job(Box::new(follow))
    }
}

/// Events that come, for as long as whoever asked may see them.
pub(crate) struct Watch {
    source: Source,
    api: Api,
    who: Identity,
    /// What tokens may do has changed.
    changes: watch::Receiver<u64>,
    /// What was read and not yet given out: a caller that stops waiting loses nothing.
    read: Option<Vec<Event>>,
    _place: Seat,
}

impl Watch {
    pub(crate) fn new(source: impl Into<Source>, api: Api, who: Identity, place: Seat) -> Self {
        let changes = api.app.rights();
        Self { source: source.into(), api, who, changes, read: None, _place: place }
    }

    /// Waits for the next piece. It may be dropped and called again.
    pub(crate) async fn next(&mut self) -> Piece {
        if self.read.is_none() {
            let came = tokio::select! {
                came = tokio::time::timeout(KEEP_ALIVE, self.source.next()) => came,
                () = self.who.ended(&self.api, &mut self.changes) => return Piece::End,
            };
            self.read = match came {
                Ok(Ok(Some(events))) => Some(events),
                Ok(Ok(None)) => return Piece::End,
                Ok(Err(failure)) => {
                    tracing::warn!(%failure, "a stream of events ended");
                    return Piece::End;
                }
                Err(_) => None,
            };
        }
        if !self.who.is_good(&self.api).await {
            return Piece::End;
        }
        self.read.take().map_or(Piece::Silence, Piece::Events)
    }
}

/// How events are written.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    Lines,
    Sse,
    /// Server-sent events of a job: a number alone does not say of which try it is.
    JobSse,
}

impl Form {
    fn kind(self) -> &'static str {
        match self {
            Form::Lines => "application/x-ndjson",
            Form::Sse | Form::JobSse => "text/event-stream",
        }
    }

    fn keep_alive(self) -> &'static [u8] {
        match self {
            Form::Lines => b"\n",
            Form::Sse | Form::JobSse => b": alive\n\n",
        }
    }

    fn write(self, events: &[Event]) -> Bytes {
        let mut out = Vec::new();
        for event in events {
            // Events are made of text, numbers and JSON values: writing them to memory cannot fail.
            let Ok(json) = serde_json::to_string(event) else { continue };
            match self {
                Form::Lines => out.extend_from_slice(format!("{json}\n").as_bytes()),
                Form::Sse => out.extend_from_slice(format!("id: {}\ndata: {json}\n\n", event.seq).as_bytes()),
                Form::JobSse => out.extend_from_slice(format!("id: {}:{}\ndata: {json}\n\n", event.session, event.seq).as_bytes()),
            }
        }
        out.into()
    }

    /// An answer that goes on until the session is gone.
    pub(crate) fn answer(self, watch: Watch) -> Response {
        let body = stream::unfold(watch, move |mut watch| async move {
            let bytes = match watch.next().await {
                Piece::Events(events) => self.write(&events),
                Piece::Silence => Bytes::from_static(self.keep_alive()),
                Piece::End => return None,
            };
            Some((Ok::<_, Infallible>(bytes), watch))
        });
        streaming(self.kind(), Body::from_stream(body))
    }
}

/// An answer that nobody on the way may keep or gather.
pub(crate) fn streaming(kind: &'static str, body: Body) -> Response {
    let head =
        [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store"), (header::HeaderName::from_static("x-accel-buffering"), "no")];
    (head, body).into_response()
}

/// Sends each event as one text message until the session or the client is gone.
pub(crate) async fn speak(mut socket: WebSocket, mut watch: Watch) {
    loop {
        tokio::select! {
            heard = socket.recv() => match heard {
                // Pings are answered below us; a client has nothing else to say, and need not be listened to.
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
            piece = watch.next() => {
                let done = match piece {
                    Piece::Events(events) => send(&mut socket, &events).await,
                    Piece::Silence => socket.send(Message::Ping(Bytes::new())).await,
                    Piece::End => {
                        let bye = CloseFrame { code: close_code::AWAY, reason: "the session or the right to see it is gone".into() };
                        let _ = socket.send(Message::Close(Some(bye))).await;
                        return;
                    }
                };
                if done.is_err() {
                    return;
                }
            }
        }
    }
}

async fn send(socket: &mut WebSocket, events: &[Event]) -> Result<(), axum::Error> {
    for event in events {
        if let Ok(json) = serde_json::to_string(event) {
            socket.send(Message::text(json)).await?;
        }
    }
    Ok(())
}
