//! What the daemon tells by itself: which agents changed, and what happens in the one that is looked at.

use std::time::Duration;

use app::{BranchChange, SessionView};
use futures_util::StreamExt;
use http::Method;
use http_body_util::BodyExt;
use model::{Code, Event, Failure, SessionId};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::Sender;

use super::state::Input;
use crate::client::{Client, full, internal};

/// The longest line of a stream.
const LINE_BYTES_MAX: usize = 64 << 20;
/// How long the daemon may say nothing, not even that it is there.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// How long is waited before a lost daemon is looked for again: at first, and at most.
const LOOK: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// Events before the end of a log from which on it is read.
const TAIL: u64 = 600;

/// A stream of lines.
struct Lines {
    body: http_body_util::BodyDataStream<hyper::body::Incoming>,
    held: Vec<u8>,
}

impl Lines {
    async fn open(client: &Client, path: &str) -> Result<Self, Failure> {
        let request = http::Request::builder()
            .uri(path)
            .header("host", "lazaret")
            .header("accept", "application/x-ndjson")
            .body(full(Vec::new()))
            .map_err(|e| internal(&e.to_string()))?;
        let response = client.connection().await?.send_request(request).await?;
        Ok(Self { body: response.into_body().into_data_stream(), held: Vec::new() })
    }

    /// The next lines, as they came together; `None` at the end.
    async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<Vec<T>>, Failure> {
        let gone = |why: &str| Failure::new(Code::DaemonMissing, why);
        loop {
            let piece = tokio::time::timeout(SILENCE_MAX, self.body.next()).await.map_err(|_| gone("the daemon says nothing"))?;
            let Some(piece) = piece else { return Ok(None) };
            self.held.extend_from_slice(&piece.map_err(|_| gone("the daemon went away"))?);
            if self.held.len() > LINE_BYTES_MAX {
                return Err(internal("the daemon sent a line without an end"));
            }
            let Some(end) = self.held.iter().rposition(|b| *b == b'\n') else { continue };
            let whole: Vec<u8> = self.held.drain(..=end).collect();
            let lines = whole.split(|b| *b == b'\n').filter(|line| !line.is_empty());
            let read = |line| serde_json::from_slice(line).map_err(|e| internal(&format!("the daemon's line is not understood: {e}")));
            let all = lines.map(read).collect::<Result<Vec<T>, Failure>>()?;
            if !all.is_empty() {
                return Ok(Some(all));
            }
        }
    }
}

/// Tells of agents until nobody listens any more, over restarts of the daemon.
pub(super) async fn changes(client: Client, path: String, inputs: Sender<Input>) {
    let mut rest = LOOK.0;
    loop {
        let why = match told(&client, &path, &inputs, &mut rest).await {
            Ok(()) => "it ended the stream".to_owned(),
            Err(failure) => failure.message,
        };
        if inputs.send(Input::Lost(why)).await.is_err() {
            return;
        }
        tokio::time::sleep(rest).await;
        rest = rest.saturating_mul(2).min(LOOK.1);
    }
}

async fn told(client: &Client, path: &str, inputs: &Sender<Input>, rest: &mut Duration) -> Result<(), Failure> {
    let mut lines = Lines::open(client, path).await?;
    let gone = |_| internal("nobody listens");
    inputs.send(Input::Begins).await.map_err(gone)?;
    while let Some(changes) = lines.next::<BranchChange>().await? {
        *rest = LOOK.0;
        inputs.send(Input::Changes(changes)).await.map_err(gone)?;
    }
    Ok(())
}

/// Prints what the daemon tells of agents, a line of JSON each, until it ends.
pub(super) async fn print(client: &Client, path: &str) -> Result<(), Failure> {
    let mut lines = Lines::open(client, path).await?;
    while let Some(changes) = lines.next::<BranchChange>().await? {
        changes.iter().try_for_each(crate::out::json)?;
    }
    Err(Failure::new(Code::DaemonMissing, "the daemon went away"))
}

/// Tells what happens in a session, from the event `after` on, or from shortly before its end. It is ended from outside.
pub(super) async fn events(client: Client, session: SessionId, after: u64, inputs: Sender<Input>) {
    let (mut after, mut rest) = (after, LOOK.0);
    loop {
        match heard(&client, &session, &mut after, &inputs, &mut rest).await {
            Err(failure) if failure.code == Code::DaemonMissing => {}
            // It is no more, or cannot be read: the stream of agents says which.
            Err(_) => return,
            Ok(()) => {}
        }
        tokio::time::sleep(rest).await;
        rest = rest.saturating_mul(2).min(LOOK.1);
    }
}

async fn heard(client: &Client, session: &SessionId, after: &mut u64, inputs: &Sender<Input>, rest: &mut Duration) -> Result<(), Failure> {
    let path = format!("/v1/sessions/{session}");
    if *after == 0 {
        let view: SessionView = client.json(Method::GET, &path, None).await?;
        *after = view.last_seq.saturating_sub(TAIL);
    }
    let mut lines = Lines::open(client, &format!("{path}/events?after={after}")).await?;
    while let Some(events) = lines.next::<Event>().await? {
        *rest = LOOK.0;
        *after = events.last().map_or(*after, |event| event.seq);
        inputs.send(Input::Events(session.clone(), events)).await.map_err(|_| internal("nobody listens"))?;
    }
    Ok(())
}
