//! A turn from its beginning to its end, over restarts of the daemon.

use std::time::Duration;

use futures_util::StreamExt;
use http::Method;
use http_body_util::BodyExt;
use model::{Code, Event, EventKind, Failure, QuestionId, ResultEvent, SessionId, TurnId};
use serde_json::{Value, json};

use crate::client::{Client, full, internal};

/// How often a lost daemon is looked for again, and how long is waited between two looks.
const RECONNECTS_MAX: usize = 60;
const RECONNECT_STEP: Duration = Duration::from_millis(200);
/// Bytes of the events of one turn that are kept.
const TRANSCRIPT_BYTES_MAX: usize = 64 << 20;
/// The longest event that is read.
const LINE_BYTES_MAX: usize = 64 << 20;

/// What an engine hears that asks a person.
const NOBODY: &str = "Nobody is there to answer. Decide what is reasonable and say what you decided.";

/// What a turn did.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) events: Vec<Event>,
    pub(super) result: ResultEvent,
    /// Requests that asked the model to say something.
    pub(super) rounds: u32,
    /// Why it was ended from here.
    pub(super) stop: Option<Stop>,
    /// Who answered.
    pub(super) provider: String,
}

/// Why a turn was ended from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// It asked the model more often than allowed.
    Rounds,
    /// This waits for a person's yes, and there is none.
    Approval(String),
}

/// Watches a turn from the first event of its session on. It is cancelled when it asks the model more than `rounds` times, or waits
/// for a person's yes; who asks a question hears that nobody is there.
pub(super) async fn turn(client: &Client, session: &SessionId, turn: &TurnId, rounds: u32) -> Result<Watched, Failure> {
    let mut watch = Watch {
        client,
        session,
        turn,
        rounds_max: rounds,
        after: 0,
        bytes: 0,
        events: Vec::new(),
        rounds: 0,
        provider: String::new(),
        stop: None,
        is_cancelled: false,
        questions: Vec::new(),
    };
    let mut lost = 0;
    loop {
        let seen = watch.after;
        match watch.stream().await {
            Ok(Some(result)) => {
                let Watch { events, rounds, provider, stop, .. } = watch;
                return Ok(Watched { events, result, rounds, stop, provider });
            }
            Ok(None) => {}
            Err(failure) if failure.code == Code::DaemonMissing => {}
            Err(failure) => return Err(failure),
        }
        lost = if watch.after > seen { 0 } else { lost + 1 };
        if lost > RECONNECTS_MAX {
            return Err(Failure::new(Code::DaemonMissing, "the daemon is gone"));
        }
        tokio::time::sleep(RECONNECT_STEP).await;
    }
}

struct Watch<'a> {
    client: &'a Client,
    session: &'a SessionId,
    turn: &'a TurnId,
    rounds_max: u32,
    after: u64,
    bytes: usize,
    events: Vec<Event>,
    rounds: u32,
    provider: String,
    stop: Option<Stop>,
    is_cancelled: bool,
    /// What was asked and is not answered yet.
    questions: Vec<QuestionId>,
}

impl Watch<'_> {
    /// One connection: the result, or `None` when it broke off before.
    async fn stream(&mut self) -> Result<Option<ResultEvent>, Failure> {
        let request = http::Request::builder()
            .uri(format!("/v1/sessions/{}/events?after={}", self.session, self.after))
            .header("host", "lazaret")
            .header("accept", "application/x-ndjson")
            .body(full(Vec::new()))
            .map_err(|e| internal(&e.to_string()))?;
        let response = self.client.connection().await?.send_request(request).await?;
        let mut stream = response.into_body().into_data_stream();
        let mut held: Vec<u8> = Vec::new();
        loop {
            self.act().await?;
            let Some(Ok(piece)) = stream.next().await else { return Ok(None) };
            held.extend_from_slice(&piece);
            if held.len() > LINE_BYTES_MAX {
                return Err(internal("an event is longer than 64 MiB"));
            }
            while let Some(end) = held.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = held.drain(..=end).collect();
                if line.len() > 1
                    && let Some(result) = self.line(&line)?
                {
                    return Ok(Some(result));
                }
            }
        }
    }

    /// Does what was seen to be needed.
    async fn act(&mut self) -> Result<(), Failure> {
        let path = format!("/v1/sessions/{}", self.session);
        if self.stop.is_some() && !self.is_cancelled {
            let _: Value = self.client.json(Method::POST, &format!("{path}/cancel"), None).await?;
            self.is_cancelled = true;
        }
        while let Some(question) = self.questions.pop() {
            let answer = json!({ "question": question, "text": NOBODY });
            match self.client.json::<Value>(Method::POST, &format!("{path}/answer"), Some(&answer)).await {
                // Answered before, and seen again after a restart.
                Err(failure) if failure.code != Code::DaemonMissing => {}
                done => drop(done?),
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<ResultEvent>, Failure> {
        let event: Event = serde_json::from_slice(line).map_err(|e| internal(&format!("an event is not understood: {e}")))?;
        self.after = event.seq;
        if event.turn != *self.turn {
            return Ok(None);
        }
        let mut result = None;
        match &event.kind {
            EventKind::Usage { .. } => {
                self.rounds += 1;
                if self.rounds > self.rounds_max {
                    self.stop.get_or_insert(Stop::Rounds);
                }
            }
            EventKind::Start { provider, .. } => self.provider.clone_from(provider),
            EventKind::Question { id, .. } => self.questions.push(id.clone()),
            EventKind::Approval { status, tool, .. } if status == "pending" => {
                self.stop.get_or_insert_with(|| Stop::Approval(tool.clone()));
            }
            EventKind::Result(end) => result = Some(end.clone()),
            _ => {}
        }
        // A flood does not fill the memory: what is beyond is not in the transcript.
        self.bytes += line.len();
        if self.bytes <= TRANSCRIPT_BYTES_MAX || result.is_some() {
            self.events.push(event);
        }
        Ok(result)
    }
}
