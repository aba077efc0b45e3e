//! Traces: a job is one, from the request over the queue, the sandbox, the engine and each of its calls to the webhook.
//!
//! Nothing is carried along to make one: identities of traces and spans follow from those of jobs, turns and deliveries, so a daemon
//! that takes work over goes on with the same trace. Spans wait in a bounded queue and are dropped, and counted, where it is full:
//! no work waits for who watches it. Off unless the configuration names a collector.

mod export;
mod logs;
mod span;

pub use logs::{LogLine, LogReceiver, LogSender, log_queue};
pub use span::TraceParent;

pub(crate) use span::{Span, SpanId};

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use model::{AuditEntry, AuditKind, SessionId, Timestamp};
use serde_json::{Value, json};
use store::{JobRow, TurnRow, WebhookRow};
use tokio::sync::mpsc;

use crate::App;
use crate::live::lock;

/// Spans that wait to be sent.
const QUEUE_MAX: usize = 4096;
/// Jobs and sessions whose traces are known; beyond it those of new ones follow from their identities alone.
const KNOWN_MAX: usize = 10_000;

/// Jobs that are over whose traces are known on: spans and lines of theirs may still be on their way.
const OVER_MAX: usize = 1_000;

/// What the configuration says of traces and logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// Where an OTLP collector takes traces and logs by HTTP, without `/v1/traces`; none for neither.
    pub endpoint: Option<String>,
}

tokio::task_local! {
    /// The trace that the request under way belongs to.
    static ASKED: Option<TraceParent>;
}

/// Does `work`, which the request that `parent` names asked for.
pub async fn traced<T>(parent: Option<TraceParent>, work: impl Future<Output = T>) -> T {
    ASKED.scope(parent, work).await
}

/// The trace that the request under way belongs to.
pub(crate) fn asked() -> Option<TraceParent> {
    ASKED.try_with(Clone::clone).ok().flatten()
}

/// What traces are made of.
pub(crate) struct Traces {
    is_on: AtomicBool,
    queue: mpsc::Sender<Span>,
    come: Mutex<Option<mpsc::Receiver<Span>>>,
    dropped: AtomicU64,
    sent: AtomicU64,
    known: Mutex<Known>,
    /// Where lines of the log come from.
    logs: std::sync::OnceLock<LogSender>,
}

#[derive(Default)]
struct Known {
    /// What the request of a job belonged to.
    jobs: HashMap<String, TraceParent>,
    /// The job of a session.
    sessions: HashMap<SessionId, String>,
    /// Those that are over, the oldest first.
    over: VecDeque<(String, Option<SessionId>)>,
}

impl Known {
    fn begun(&mut self, session: &SessionId, job: &str) {
        if self.sessions.len() < KNOWN_MAX {
            self.sessions.insert(session.clone(), job.to_owned());
        }
    }

    fn over(&mut self, job: &str, session: Option<&SessionId>) {
        self.over.push_back((job.to_owned(), session.cloned()));
        if self.over.len() > OVER_MAX
            && let Some((job, session)) = self.over.pop_front()
        {
            self.jobs.remove(&job);
            // Another job may go on in the same session.
            if let Some(session) = session.filter(|session| self.sessions.get(session) == Some(&job)) {
                self.sessions.remove(&session);
            }
        }
    }
}

impl Default for Traces {
    fn default() -> Self {
        let (queue, come) = mpsc::channel(QUEUE_MAX);
        Self {
            is_on: AtomicBool::new(false),
            queue,
            come: Mutex::new(Some(come)),
            dropped: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            known: Mutex::default(),
            logs: std::sync::OnceLock::new(),
        }
    }
}

impl Traces {
    /// Spans that were sent, and that were dropped.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.dropped.load(Ordering::Relaxed))
    }

    fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    fn put(&self, span: Span) {
        if self.is_on() && self.queue.try_send(span).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A job was accepted.
    pub(crate) fn accepted(&self, job: &str) {
        let Some(parent) = asked().filter(|_| self.is_on()) else { return };
        let mut known = lock(&self.known);
        if known.jobs.len() < KNOWN_MAX {
            known.jobs.insert(job.to_owned(), parent);
        }
    }

    /// A job is worked on here, in this session. Where an earlier daemon or another one accepted it, its trace is the one that was
    /// begun then.
    pub(crate) fn remember(&self, job: &JobRow, parent: Option<&str>) {
        if !self.is_on() {
            return;
        }
        let mut known = lock(&self.known);
        if let Some(session) = &job.session {
            known.begun(session, &job.id);
        }
        if let Some(parent) = parent.and_then(TraceParent::parse)
            && known.jobs.len() < KNOWN_MAX
        {
            known.jobs.entry(job.id.clone()).or_insert(parent);
        }
    }

    /// What a line of the log that names a turn or a job is part of.
    fn of_line(&self, line: &LogLine) -> Option<TraceParent> {
        let named = |key: &str| line.fields.get(key).and_then(Value::as_str);
        if let (Some(session), Some(turn)) = (named("session").and_then(|s| s.parse().ok()), named("turn")) {
            return Some(self.turn(&session, turn).0);
        }
        named("job").map(|job| self.job(job).0)
    }

    /// The root span of a job, and what it is part of.
    fn job(&self, job: &str) -> (TraceParent, Option<SpanId>) {
        let given = lock(&self.known).jobs.get(job).cloned();
        let span = SpanId::of(&["job", job]);
        match given {
            Some(given) => (TraceParent { span, ..given }, Some(given.span)),
            None => (TraceParent::of(&["job", job], span), None),
        }
    }

    /// A job has changed: while it is worked on, its session's spans are its own; when it is over, it is told.
    pub(crate) fn job_seen(&self, job: &JobRow) {
        if !self.is_on() {
            return;
        }
        let Some(finished) = job.finished else {
            if let Some(session) = &job.session {
                lock(&self.known).begun(session, &job.id);
            }
            return;
        };
        let (root, parent) = self.job(&job.id);
        let mut span = Span::new(&root, parent, "job", job.created, finished);
        span.is_well = job.state.as_str() == "completed";
        span.attributes = vec![
            ("lazaret.job", json!(job.id)),
            ("lazaret.tenant", json!(job.tenant)),
            ("lazaret.profile", json!(job.profile)),
            ("lazaret.engine", json!(job.engine)),
            ("lazaret.status", json!(job.state.as_str())),
            ("lazaret.tries", json!(job.tries)),
            ("lazaret.cost_usd", json!(job.cost.as_usd())),
        ];
        self.put(span);
        let waited = job.started.unwrap_or(finished);
        let queue = TraceParent { span: SpanId::of(&["queue", &job.id]), ..root.clone() };
        self.put(Span::new(&queue, Some(root.span), "queue", job.created, waited));
        lock(&self.known).over(&job.id, job.session.as_ref());
    }

    /// The span of a turn, and what it is part of.
    fn turn(&self, session: &SessionId, turn: &str) -> (TraceParent, Option<SpanId>) {
        let job = lock(&self.known).sessions.get(session).cloned();
        let span = SpanId::of(&["turn", turn]);
        match job {
            Some(job) => {
                let (root, _) = self.job(&job);
                (TraceParent { span, ..root.clone() }, Some(root.span))
            }
            None => (TraceParent::of(&["turn", turn], span), None),
        }
    }

    /// A turn is over.
    fn turn_ended(&self, row: &TurnRow) {
        let Some(ended) = row.ended else { return };
        let (root, parent) = self.turn(&row.session, row.id.as_str());
        let part = |name: &str| TraceParent { span: SpanId::of(&[name, row.id.as_str()]), ..root.clone() };
        let mut span = Span::new(&root, parent, "turn", row.accepted, ended);
        span.is_well = row.state == model::TurnState::Done;
        span.attributes = vec![("lazaret.session", json!(row.session)), ("lazaret.turn", json!(row.id)), ("lazaret.n", json!(row.n))];
        self.put(span);
        let Some(leased) = row.leased else { return };
        let started = row.started.unwrap_or(ended);
        self.put(Span::new(&part("sandbox"), Some(root.span), "sandbox", leased, started));
        if row.started.is_some() {
            self.put(Span::new(&part("engine"), Some(root.span), "engine", started, ended));
        }
    }

    /// A call of a model or tool is over.
    pub(crate) fn decided(&self, entry: &AuditEntry) {
        if !self.is_on() || !matches!(entry.kind, AuditKind::Model | AuditKind::Tool) {
            return;
        }
        let (Some(session), Some(turn)) = (&entry.session, &entry.turn) else { return };
        let (root, _) = self.turn(session, turn.as_str());
        let n = self.sent.load(Ordering::Relaxed).wrapping_add(u64::from(rand_bits()));
        let context = TraceParent { span: SpanId::of(&["call", turn.as_str(), &entry.topic, &n.to_string()]), ..root };
        let name = if entry.kind == AuditKind::Model { "model call" } else { "tool call" };
        let engine = SpanId::of(&["engine", turn.as_str()]);
        let (began, ended) = length_of(entry);
        let mut span = Span::new(&context, Some(engine), name, began, ended);
        span.is_well = entry.code.is_none();
        span.attributes = vec![("lazaret.topic", json!(entry.topic)), ("lazaret.outcome", json!(entry.outcome))];
        for name in ["input_tokens", "output_tokens", "cost_usd"] {
            if let Some(value) = entry.detail.get(name) {
                span.attributes.push((name, value.clone()));
            }
        }
        self.put(span);
    }

    /// What a webhook is part of, for its field `traceparent`: none while there are no traces and its request named none.
    pub(crate) fn of_webhook(&self, row: &WebhookRow) -> Option<TraceParent> {
        let span = SpanId::of(&["webhook", row.id.as_str(), &row.tries.to_string()]);
        match row.traceparent.as_deref().and_then(TraceParent::parse) {
            Some(given) => Some(TraceParent { span, ..given }),
            None => self.is_on().then(|| TraceParent::of(&["job", &row.job], span)),
        }
    }

    /// A try of a webhook is over.
    pub(crate) fn webhook_tried(&self, row: &WebhookRow, began: model::Timestamp, ended: model::Timestamp, is_well: bool) {
        let Some(context) = self.of_webhook(row) else { return };
        let mut span = Span::new(&context, Some(SpanId::of(&["job", &row.job])), "webhook", began, ended);
        span.is_well = is_well;
        span.attributes =
            vec![("lazaret.webhook", json!(row.id)), ("lazaret.attempt", json!(row.tries)), ("server.address", json!(row.host))];
        self.put(span);
    }
}

/// From when to when what a row tells of took. A model's row is made at its end, a tool's at its beginning.
fn length_of(entry: &AuditEntry) -> (Timestamp, Timestamp) {
    let at = |key: &str| entry.detail.get(key).and_then(Value::as_u64);
    let (ms, micros) = (at("duration_ms").unwrap_or(0), at("micros").unwrap_or(0));
    (Timestamp(entry.time.0.saturating_sub(ms)), Timestamp(entry.time.0.saturating_add(micros.div_ceil(1000))))
}

/// Tells calls of one moment apart.
fn rand_bits() -> u32 {
    u32::try_from(crate::clock::fresh_bits() & u128::from(u32::MAX)).unwrap_or_default()
}

impl App {
    /// Sends spans from now on, where the configuration names a collector.
    pub(crate) fn send_traces(&self) {
        let Some(come) = lock(&self.traces().come).take() else { return };
        let app = self.clone();
        self.set_traces();
        self.spawn(async move { app.export(come).await });
    }

    /// Sends the log's lines from now on, where the configuration names a collector. Once.
    pub fn send_logs(&self, from: &LogSender, come: LogReceiver) {
        if self.traces().logs.set(from.clone()).is_ok() {
            self.set_traces();
            let app = self.clone();
            self.spawn(async move { app.export_logs(come).await });
        }
    }

    /// Begins or ends to make spans, as the configuration says.
    pub(crate) fn set_traces(&self) {
        let is_on = self.settings().telemetry.endpoint.is_some();
        self.traces().is_on.store(is_on, Ordering::Relaxed);
        if let Some(logs) = self.traces().logs.get() {
            logs.set_on(is_on);
        }
    }

    /// Tells a turn that is over.
    pub(crate) fn trace_turn(&self, turn: &model::TurnId) {
        if !self.traces().is_on() {
            return;
        }
        let (app, turn) = (self.clone(), turn.clone());
        self.spawn(async move {
            if let Ok(row) = app.store().turn(&turn).await {
                app.traces().turn_ended(&row);
            }
        });
    }

    pub(crate) fn traces(&self) -> &Traces {
        self.audit_book().traces()
    }
}
