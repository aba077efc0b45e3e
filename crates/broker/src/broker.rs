//! The broker: one handle over the catalogue, the stages and what they keep.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use model::{ApprovalId, AuditEntry, Code, Risk, Timestamp};
use sanitize::Sanitizer;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::Answer;

use crate::rate::Buckets;
use crate::refusal::{Refusal, shown};
use crate::seats::{Seat, Seats};
use crate::serve::Connections;
use crate::stages::authorize::Rates;
use crate::stages::confirm::{Approved, Asking, Passed};
use crate::stages::envelope::Sealed;
use crate::stages::{authorize, confirm, envelope, payload, route, topic};
use crate::tool::Entry;
use crate::trace::Trace;
use crate::{Audit, CallFailure, Caller, Catalogue, Confirm, Diagnostics, Health, Rate, Tool, Who, intrinsic};

/// Characters of the reason that an audit row tells.
const REASON_CHARS_MAX: usize = 300;
/// Places of credentials that an audit row names; it tells their number as well.
const PATHS_NOTED_MAX: usize = 20;
/// Characters of such a place: a hostile handler chooses them.
const PATH_CHARS_MAX: usize = 128;

/// The door to tools. A cheap handle.
#[derive(Clone)]
pub struct Broker {
    pub(crate) parts: Arc<Parts>,
}

pub(crate) struct Parts {
    // Locks are held to take a handle out, never across an await.
    catalogue: RwLock<Arc<Catalogue>>,
    sanitizer: RwLock<Arc<Sanitizer>>,
    diagnostics: RwLock<Option<Arc<dyn Diagnostics>>>,
    health: RwLock<Arc<Vec<Health>>>,
    rates: RwLock<Arc<Rates>>,
    intrinsic: Vec<Arc<Entry>>,
    confirm: Arc<dyn Confirm>,
    audit: Arc<dyn Audit>,
    buckets: Buckets,
    seats: Arc<Seats>,
    pub(crate) connections: Connections,
    /// Connections, and their messages.
    pub(crate) tasks: TaskTracker,
    /// Calls that have begun.
    calls: TaskTracker,
}

/// A request that passed the first four stages.
struct Checked {
    sealed: Sealed,
    entry: Arc<Entry>,
    seat: Seat,
}

/// An answer, and the place that it takes up until it is gone.
pub(crate) struct Carried {
    pub(crate) answer: Answer,
    pub(crate) seat: Option<Seat>,
}

impl Broker {
    /// A broker that knows no tools but its own three.
    #[must_use]
    pub fn new(confirm: Arc<dyn Confirm>, audit: Arc<dyn Audit>) -> Self {
        let parts = Arc::new_cyclic(|broker| {
            let intrinsic = intrinsic::entries(broker);
            Parts {
                catalogue: RwLock::new(Arc::new(Catalogue::default().with(&intrinsic))),
                sanitizer: RwLock::default(),
                diagnostics: RwLock::default(),
                health: RwLock::default(),
                rates: RwLock::default(),
                intrinsic,
                confirm,
                audit,
                buckets: Buckets::default(),
                seats: Arc::default(),
                connections: Connections::default(),
                tasks: TaskTracker::new(),
                calls: TaskTracker::new(),
            }
        });
        Self { parts }
    }

    /// From now on these tools can be called, and the broker's own. Calls under way keep theirs.
    pub fn set_catalogue(&self, catalogue: Catalogue) {
        set(&self.parts.catalogue, Arc::new(catalogue.with(&self.parts.intrinsic)));
    }

    /// The tools that can be called.
    #[must_use]
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.parts.catalogue()
    }

    /// From now on these credentials are taken out of every answer.
    pub fn set_sanitizer(&self, sanitizer: Arc<Sanitizer>) {
        set(&self.parts.sanitizer, sanitizer);
    }

    /// What takes credentials out of answers.
    #[must_use]
    pub fn sanitizer(&self) -> Arc<Sanitizer> {
        get(&self.parts.sanitizer)
    }

    /// From now on a session may call this often, and sessions of agents in these groups that often.
    pub fn set_rate(&self, usual: Rate, groups: BTreeMap<String, Rate>) {
        set(&self.parts.rates, Arc::new(Rates { usual, groups }));
    }

    /// From now on agents learn about themselves from this.
    pub fn set_diagnostics(&self, diagnostics: Arc<dyn Diagnostics>) {
        set(&self.parts.diagnostics, Some(diagnostics));
    }

    /// From now on agents are told that plugins are like this.
    pub fn set_health(&self, health: Vec<Health>) {
        set(&self.parts.health, Arc::new(health));
    }

    /// Carries one request through all stages. `waiting` is told when a person is asked.
    ///
    /// When the future is dropped, a call that has begun and that a person confirmed is carried to its end all the same; what
    /// waits for a person, or has no effect, ends.
    pub async fn call(&self, caller: &Arc<Caller>, request: &[u8], waiting: &(dyn Fn(&ApprovalId) + Send + Sync)) -> Answer {
        self.carry(caller, None, request, waiting, false).await.answer
    }

    /// The same for the owner, who says yes to the call with the request itself. For anybody else it is as [`Broker::call`].
    pub async fn call_consented(&self, caller: &Arc<Caller>, request: &[u8], waiting: &(dyn Fn(&ApprovalId) + Send + Sync)) -> Answer {
        self.carry(caller, None, request, waiting, true).await.answer
    }

    /// Waits until calls that have begun have ended, whoever still waits for them, and what came of each is kept.
    pub async fn finish_calls(&self) {
        self.parts.calls.close();
        self.parts.calls.wait().await;
        self.parts.calls.reopen();
    }

    /// Waits until connections have ended as well. Whoever opened them has cancelled them.
    pub async fn drain(&self) {
        self.parts.tasks.close();
        self.parts.tasks.wait().await;
        self.parts.tasks.reopen();
        self.finish_calls().await;
    }

    /// `who` tells after a wait for a person whether the call may still be made.
    pub(crate) async fn carry(
        &self,
        caller: &Arc<Caller>,
        who: Option<&dyn Who>,
        request: &[u8],
        waiting: &(dyn Fn(&ApprovalId) + Send + Sync),
        is_consented: bool,
    ) -> Carried {
        let parts = &self.parts;
        let mut trace = Trace::new(uuid::Uuid::now_v7().to_string(), now());
        let Checked { sealed, entry, seat } = match parts.check(caller, request, &mut trace) {
            Ok(checked) => checked,
            Err(refusal) => {
                if trace.correlation.is_empty() {
                    trace.correlation = envelope::correlation_of(request);
                }
                return parts.refuse(caller, &trace, refusal, None).await;
            }
        };
        let asking = Asking { confirm: &*parts.confirm, waiting, is_consented };
        match confirm::ask(asking, caller, &entry.tool, sealed).await {
            Err(refusal) => parts.refuse(caller, &trace, refusal, Some(seat)).await,
            Ok(Passed::Made(outcome)) => {
                let again = Map::from_iter([("again".to_owned(), Value::Bool(true))]);
                parts.tell(caller, &trace, outcome, None, again, seat).await
            }
            Ok(Passed::Go(call)) => {
                if let Some(who) = who.filter(|_| call.grant().is_some())
                    && let Err(refusal) = still(who, caller, &entry.tool).await
                {
                    return parts.refuse(caller, &trace, refusal, Some(seat)).await;
                }
                let gone = CancellationToken::new();
                let _guard = gone.clone().drop_guard();
                let correlation = trace.correlation.clone();
                let made = parts.calls.spawn(Arc::clone(parts).make(call, trace, seat, gone)).await;
                made.unwrap_or_else(|error| {
                    tracing::error!(%error, "a call did not end as calls end");
                    let refusal = Refusal::new(route::STAGE, Code::HandlerError, "the host failed").for_good();
                    Carried { answer: refusal.answer(correlation, |_| None), seat: None }
                })
            }
        }
    }
}

/// A person took their time over it: whoever asked may have lost the right meanwhile.
async fn still(who: &dyn Who, caller: &Caller, tool: &Tool) -> Result<(), Refusal> {
    match who.who().await {
        Some(now) if now.session == caller.session && now.turn == caller.turn => authorize::check(&now, tool),
        _ => Err(Refusal::new(authorize::STAGE, Code::Unauthorized, "the turn that asked for this is over")),
    }
}

impl Parts {
    pub(crate) fn catalogue(&self) -> Arc<Catalogue> {
        get(&self.catalogue)
    }

    pub(crate) fn diagnostics(&self) -> Option<Arc<dyn Diagnostics>> {
        get(&self.diagnostics)
    }

    pub(crate) fn health(&self) -> Arc<Vec<Health>> {
        get(&self.health)
    }

    /// Stages 1 to 4. They wait for nothing.
    fn check(&self, caller: &Caller, request: &[u8], trace: &mut Trace) -> Result<Checked, Refusal> {
        let sealed = envelope::build(caller, request, trace.id.clone(), trace.time)?;
        trace.read(&sealed);
        let seat = self.seats.take(&caller.key(), &trace.correlation)?;
        let entry = topic::resolve(&self.catalogue(), &sealed.envelope.topic)?;
        trace.found(&entry.tool);
        payload::check(&entry, &sealed.envelope.payload.arguments)?;
        authorize::check(caller, &entry.tool)?;
        get(&self.rates).take(&self.buckets, caller, Instant::now())?;
        Ok(Checked { sealed, entry, seat })
    }

    /// Stage 6, with what must be kept before and after.
    async fn make(self: Arc<Self>, call: Approved, trace: Trace, seat: Seat, gone: CancellationToken) -> Carried {
        if let Err(refusal) = self.begin(&call, &trace).await {
            return self.refuse(call.caller(), &trace, refusal, Some(seat)).await;
        }
        let routed = route::carry(&call, &gone).await;
        let (outcome, own_code, paths) = self.clean(routed);
        if let Some(grant) = call.grant()
            && let Err(failure) = self.confirm.finish(grant, &outcome).await
        {
            // A repeated request is told that the outcome is unknown, so the call is still made once only.
            tracing::error!(confirmation = %grant.id, message = failure.message, "failed to keep what came of a confirmed call");
        }
        let mut more = Map::new();
        if !paths.is_empty() {
            more.insert("redactions".to_owned(), json!(paths.len()));
            let named = paths.iter().take(PATHS_NOTED_MAX).map(|path| shown(path, PATH_CHARS_MAX));
            more.insert("paths".to_owned(), json!(named.collect::<Vec<_>>()));
        }
        if let Some(grant) = call.grant() {
            more.insert("confirmation".to_owned(), json!(grant.id));
        }
        self.tell(call.caller(), &trace, outcome, own_code, more, seat).await
    }

    /// What is durable before a call that can have an effect: that it is made, and that its grant is used.
    async fn begin(&self, call: &Approved, trace: &Trace) -> Result<(), Refusal> {
        if call.tool().risk == Risk::Low {
            return Ok(());
        }
        let confirmation = call.grant().map(|grant| ("confirmation".to_owned(), json!(grant.id)));
        let entry = trace.entry(call.caller(), "allowed", Some(confirm::STAGE), None, confirmation.into_iter().collect());
        self.audit.note_now(entry).await.map_err(|failure| {
            tracing::error!(message = failure.message, "failed to record a call before it was made");
            Refusal::new(confirm::STAGE, Code::HandlerError, "the host could not record the call; it was not made")
        })?;
        match call.grant() {
            Some(grant) => self.confirm.begin(grant).await.map_err(|failure| confirm::of_failure(&failure)),
            None => Ok(()),
        }
    }

    /// Takes credentials out of what came of a call. Gives the places.
    fn clean(&self, routed: route::Routed) -> (Result<Value, CallFailure>, Option<Code>, Vec<String>) {
        let sanitizer = get(&self.sanitizer);
        match routed.outcome {
            Ok(mut value) => {
                let paths = sanitizer.value(&mut value);
                // What stands in place of a credential can be longer than it.
                if !paths.is_empty() && !route::fits(&value) {
                    return (route::too_long().outcome, None, paths);
                }
                (Ok(value), routed.own_code, paths)
            }
            Err(failure) => match sanitizer.text(&failure.message) {
                Some(message) => (Err(CallFailure { message, ..failure }), routed.own_code, vec!["/error/message".to_owned()]),
                None => (Err(failure), routed.own_code, Vec::new()),
            },
        }
    }

    /// Notes what came of a call and makes the answer of it.
    async fn tell(
        &self,
        caller: &Caller,
        trace: &Trace,
        outcome: Result<Value, CallFailure>,
        own_code: Option<Code>,
        mut more: Map<String, Value>,
        mut seat: Seat,
    ) -> Carried {
        if let Some(own) = own_code {
            more.insert("handler_code".to_owned(), json!(own));
        }
        let correlation = trace.correlation.clone();
        let (word, code) = match &outcome {
            Ok(_) if more.contains_key("redactions") => ("sanitized", None),
            Ok(_) => ("routed", None),
            Err(failure) => ("error", Some(failure.code)),
        };
        if let Err(failure) = &outcome {
            more.insert("reason".to_owned(), json!(shown(&failure.message, REASON_CHARS_MAX)));
        }
        self.note(trace.entry(caller, word, Some(route::STAGE), code, more)).await;
        seat.made();
        let answer = match outcome {
            Ok(result) => Answer { correlation, result, error: None, origin: trace.origin.clone() },
            Err(failure) => {
                let mut refusal = Refusal::new(route::STAGE, failure.code, failure.message);
                refusal.retriable = failure.retriable;
                Answer { origin: trace.origin.clone(), ..refusal.answer(correlation, |_| None) }
            }
        };
        Carried { answer, seat: Some(seat) }
    }

    /// Notes a stage's no and makes the answer of it.
    async fn refuse(&self, caller: &Caller, trace: &Trace, refusal: Refusal, seat: Option<Seat>) -> Carried {
        let sanitizer = get(&self.sanitizer);
        let clean = |text: &str| sanitizer.text(text);
        let mut more = Map::new();
        let reason = clean(&refusal.message).unwrap_or_else(|| refusal.message.clone());
        more.insert("reason".to_owned(), json!(shown(&reason, REASON_CHARS_MAX)));
        self.note(trace.entry(caller, "rejected", refusal.stage, Some(refusal.code), more)).await;
        let mut seat = seat;
        if let Some(seat) = &mut seat {
            seat.made();
        }
        Carried { answer: refusal.answer(trace.correlation.clone(), clean), seat }
    }

    async fn note(&self, mut entry: AuditEntry) {
        // The topic is the agent's own text where no tool was found.
        if let Some(topic) = get(&self.sanitizer).text(&entry.topic) {
            entry.topic = topic;
        }
        self.audit.note(entry).await;
    }
}

fn get<T: Clone>(held: &RwLock<T>) -> T {
    held.read().unwrap_or_else(PoisonError::into_inner).clone()
}

fn set<T>(held: &RwLock<T>, value: T) {
    *held.write().unwrap_or_else(PoisonError::into_inner) = value;
}

/// The one place of this crate that reads the wall clock.
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
