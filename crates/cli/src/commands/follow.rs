//! A session's events as they come, over restarts of the daemon; and asking for what makes them.

use app::{MessageForm, SessionView};
use futures_util::StreamExt;
use http::Method;
use http_body_util::BodyExt;
use model::{Code, Event, EventKind, Failure, QuestionId, ResultEvent, TurnId};

use super::approvals;
use super::screen::{Form, Screen};
use crate::client::{Client, collect, full, internal};
use crate::out;

/// How often a lost daemon is looked for again.
const RECONNECTS_MAX: usize = 60;
/// How long is waited between two looks.
pub(super) const RECONNECT_STEP: std::time::Duration = std::time::Duration::from_millis(200);
/// The longest event that is read.
const LINE_BYTES_MAX: usize = 256 << 20;

type Events = http_body_util::BodyDataStream<hyper::body::Incoming>;

/// Shows a session's events, over restarts of the daemon.
pub(super) struct Follow<'a> {
    client: &'a Client,
    path: String,
    after: u64,
    /// The turn whose end is waited for; any when not known yet.
    turn: Option<TurnId>,
    /// Whether nothing is shown but that turn.
    is_alone: bool,
    screen: Screen,
    stream: Option<Events>,
    held: Vec<u8>,
}

/// Why following stops.
#[derive(Debug)]
pub(super) enum Pause {
    /// The turn is over.
    Over(ResultEvent),
    /// A person is asked.
    Asked(Asked),
    /// A call wants a person's yes; or did, when the log is read late.
    Approval(String),
}

/// What a person is asked.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) id: QuestionId,
    pub(super) options: Vec<String>,
}

impl<'a> Follow<'a> {
    pub(super) fn new(client: &'a Client, session: &SessionView, form: Form) -> Self {
        Self::after(client, session, session.last_seq, form)
    }

    /// The same from a place in the log on.
    pub(super) fn after(client: &'a Client, session: &SessionView, after: u64, form: Form) -> Self {
        let path = format!("/v1/sessions/{}", session.id);
        Self { client, path, after, turn: None, is_alone: false, screen: Screen::new(form), stream: None, held: Vec::new() }
    }

    /// Opens the stream. As long as it is open, the session's work goes on.
    pub(super) async fn attach(&mut self) -> Result<(), Failure> {
        let request = http::Request::builder()
            .uri(format!("{}/events?after={}&attach=true", self.path, self.after))
            .header("host", "lazaret")
            .header("accept", "application/x-ndjson")
            .body(full(Vec::new()))
            .map_err(|e| internal(&e.to_string()))?;
        let response = self.client.connection().await?.send_request(request).await?;
        self.held.clear();
        self.stream = Some(response.into_body().into_data_stream());
        Ok(())
    }

    /// Closes the stream until something is waited for again.
    pub(super) fn detach(&mut self) {
        self.stream = None;
        self.held.clear();
    }

    /// Waits for this turn's end alone.
    pub(super) fn expect(&mut self, turn: TurnId) {
        self.turn = Some(turn);
    }

    /// The same, and shows nothing of other turns.
    pub(super) fn expect_alone(&mut self, turn: TurnId) {
        self.turn = Some(turn);
        self.is_alone = true;
    }

    /// Shows what happens until the next result. Nobody is here who could answer: a question is left to others.
    pub(super) async fn result(&mut self) -> Result<ResultEvent, Failure> {
        self.result_or_ask(false).await
    }

    /// The same for one who can be asked for confirmations, where there is a terminal.
    pub(super) async fn result_with_approvals(&mut self) -> Result<ResultEvent, Failure> {
        self.result_or_ask(true).await
    }

    async fn result_or_ask(&mut self, may_ask: bool) -> Result<ResultEvent, Failure> {
        // A call that is asked about meanwhile is asked about next.
        let mut asked = std::collections::VecDeque::<String>::new();
        loop {
            if let Some(id) = asked.front().cloned() {
                let client = self.client;
                tokio::select! {
                    done = approvals::in_passing(client, &id, may_ask) => {
                        asked.pop_front();
                        match done {
                            // The daemon died over it: the call comes again.
                            Err(failure) if failure.code == Code::DaemonMissing => {}
                            done => done?,
                        }
                    }
                    pause = self.pause() => match pause? {
                        Pause::Over(result) => return Ok(result),
                        Pause::Approval(id) => asked.push_back(id),
                        Pause::Asked(_) => {}
                    },
                }
                continue;
            }
            match self.pause().await? {
                Pause::Over(result) => return Ok(result),
                Pause::Approval(id) => asked.push_back(id),
                Pause::Asked(_) if self.screen.is_for_people() => {
                    let id = self.path.rsplit('/').next().unwrap_or_default();
                    out::note(&format!("to answer: lazaret session answer {id} TEXT"));
                }
                Pause::Asked(_) => {}
            }
        }
    }

    /// Shows what happens until the next result or question.
    pub(super) async fn pause(&mut self) -> Result<Pause, Failure> {
        let (mut lost, mut seen) = (0, self.after);
        loop {
            if let Some(pause) = self.shown()? {
                return Ok(pause);
            }
            if self.after > seen {
                // The work goes on: the patience is for each time that it does not.
                (lost, seen) = (0, self.after);
            }
            let piece = match &mut self.stream {
                Some(stream) => stream.next().await,
                None => None,
            };
            if let Some(Ok(bytes)) = piece {
                self.held.extend_from_slice(&bytes);
                if self.held.len() > LINE_BYTES_MAX {
                    return Err(internal("an event is longer than 256 MiB"));
                }
                continue;
            }
            if self.stream.take().is_some() && self.screen.is_for_people() && lost > 0 {
                out::note("the daemon went away; looking for it again");
            }
            match self.attach().await {
                Ok(()) => {}
                Err(failure) if failure.code == Code::DaemonMissing && lost < RECONNECTS_MAX => tokio::time::sleep(RECONNECT_STEP).await,
                Err(failure) => return Err(failure),
            }
            lost += 1;
            if lost > RECONNECTS_MAX {
                return Err(Failure::new(Code::DaemonMissing, "the daemon is gone"));
            }
        }
    }

    /// Shows the whole events that have come, up to a result or question of the turn that is waited for.
    fn shown(&mut self) -> Result<Option<Pause>, Failure> {
        while let Some(end) = self.held.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.held.drain(..=end).collect();
            if line.len() == 1 {
                continue;
            }
            let event: Event = serde_json::from_slice(&line).map_err(|e| internal(&format!("an event is not understood: {e}")))?;
            self.after = event.seq;
            if self.is_alone && self.turn.as_ref().is_some_and(|turn| *turn != event.turn) {
                continue;
            }
            self.screen.show(&event)?;
            if self.turn.as_ref().is_some_and(|turn| *turn != event.turn) {
                continue;
            }
            match event.kind {
                EventKind::Result(result) => return Ok(Some(Pause::Over(result))),
                EventKind::Approval { id, status, .. } if status == "pending" && self.screen.is_shown() => {
                    return Ok(Some(Pause::Approval(id)));
                }
                EventKind::Question { id, options, .. } => return Ok(Some(Pause::Asked(Asked { id, options }))),
                _ => {}
            }
        }
        Ok(None)
    }
}

/// Asks for a turn: accepted once, however often it has to be said.
pub(super) async fn ask(client: &Client, path: &str, form: &MessageForm, key: &str) -> Result<TurnId, Failure> {
    #[derive(serde::Deserialize)]
    struct Accepted {
        turn: TurnId,
    }
    let body = serde_json::to_vec(form).map_err(|e| internal(&e.to_string()))?;
    let mut last = internal("not asked");
    for _ in 0..RECONNECTS_MAX {
        let request = http::Request::builder()
            .method(Method::POST)
            .uri(format!("{path}/messages"))
            .header("host", "lazaret")
            .header("content-type", "application/json")
            .header("idempotency-key", key)
            .body(full(body.clone()))
            .map_err(|e| internal(&e.to_string()))?;
        let sent = async { collect(client.connection().await?.send_request(request).await?).await };
        match sent.await {
            Ok(bytes) => {
                let accepted: Accepted = serde_json::from_slice(&bytes).map_err(|e| internal(&e.to_string()))?;
                return Ok(accepted.turn);
            }
            Err(failure) if failure.code == Code::DaemonMissing => last = failure,
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(RECONNECT_STEP).await;
    }
    Err(last)
}
