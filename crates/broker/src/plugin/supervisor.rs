//! Keeps a plugin's processes: starts one when it is wanted, gives up one that hangs or crashes, ends one that idles.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use model::{Code, Failure};
use serde_json::Value;
use tokio::sync::{Notify, OwnedMutexGuard};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client::{Client, ClientError, Listing};
use super::process::{Launch, Process, Running};
use crate::CallFailure;

/// How long a program may take from its start to its list of tools.
pub(super) const BEGIN_MAX: Duration = Duration::from_secs(30);
/// How long the sandbox of a program may take to start.
const LAUNCH_MAX: Duration = Duration::from_secs(120);
/// How long a program may take to end when it is told to.
const END_MAX: Duration = Duration::from_secs(5);
/// The first pause before a program that failed is started again; each further one is twice as long.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// The longest pause.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A call waits for the end of a pause that is no longer than this.
const BACKOFF_WAIT: Duration = Duration::from_secs(2);
/// After so many calls running without an answer in time a program is given up.
const SLOW_MAX: u32 = 3;
/// Agents that have a process of one plugin at once.
pub(super) const SLOTS_MAX: usize = 256;

/// Looks at what a program lists, before it is called: what was approved must be what is there.
pub type Check = Arc<dyn Fn(&Listing) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync>;

/// How a plugin's processes are kept.
#[derive(Clone)]
pub struct SupervisorConfig {
    /// The plugin, for the log.
    pub name: String,
    /// Whether each agent has a process of its own.
    pub per_agent: bool,
    /// Whether two processes must never be there at once, because they have the same files.
    pub alone: bool,
    /// After how long without a call a process ends.
    pub idle: Duration,
    /// Looks at what a program lists.
    pub check: Check,
}

/// How a plugin is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Nothing is known to be wrong.
    Well,
    /// The last start or call failed.
    Failing(Failure),
}

/// Keeps the processes of one plugin. A cheap handle.
#[derive(Clone)]
pub struct Supervisor {
    parts: Arc<Parts>,
}

struct Parts {
    config: SupervisorConfig,
    launch: Arc<dyn Launch>,
    /// By agent; empty where all share one. Held for a few instructions, never across an await.
    slots: Mutex<HashMap<String, Arc<Slot>>>,
    /// The last word on it.
    health: Mutex<Health>,
    /// Nothing is started any more.
    retired: CancellationToken,
    /// Everything ends at once.
    cancel: CancellationToken,
    tasks: TaskTracker,
    calls: AtomicUsize,
    left: Notify,
    /// All its processes are gone and none will come.
    gone: CancellationToken,
    /// The supervisor before it is gone.
    before: Mutex<Option<CancellationToken>>,
}

/// The place of one process.
#[derive(Default)]
struct Slot {
    state: Arc<tokio::sync::Mutex<SlotState>>,
    /// Calls running without an answer in time.
    slow: AtomicU32,
    /// It has failed since the last call that went well.
    shaky: AtomicBool,
}

impl Slot {
    /// Whether nothing runs in it, nobody is about to start something, and nothing says when that may be.
    fn is_free(self: &Arc<Self>) -> bool {
        let rests = || self.state.try_lock().is_ok_and(|state| state.not_before.is_none_or(|at| at <= Instant::now()));
        Arc::strong_count(self) == 1 && rests()
    }
}

#[derive(Default)]
struct SlotState {
    worker: Option<Arc<Worker>>,
    /// Failures running.
    failures: u32,
    /// Nothing is started before.
    not_before: Option<Instant>,
}

/// A program that runs.
struct Worker {
    client: Client,
    running: Box<dyn Running>,
    listing: Listing,
    usage: Mutex<(usize, Instant)>,
    changed: Notify,
}

impl Worker {
    /// Counts a call until the guard is dropped.
    fn enter(self: &Arc<Self>) -> Using {
        lock(&self.usage).0 += 1;
        Using(Arc::clone(self))
    }

    fn unused_since(&self) -> Option<Instant> {
        let (users, since) = *lock(&self.usage);
        (users == 0).then_some(since)
    }
}

struct Using(Arc<Worker>);

impl Drop for Using {
    fn drop(&mut self) {
        let mut usage = lock(&self.0.usage);
        *usage = (usage.0 - 1, Instant::now());
        drop(usage);
        self.0.changed.notify_waiters();
    }
}

/// Counts a call of a plugin until it is dropped.
struct Counted<'a>(&'a Parts);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::SeqCst);
        self.0.left.notify_waiters();
    }
}

impl Supervisor {
    /// Starts nothing yet. Tasks are owned by `tasks`; all processes end with `cancel`.
    #[must_use]
    pub fn new(config: SupervisorConfig, launch: Arc<dyn Launch>, tasks: TaskTracker, cancel: CancellationToken) -> Self {
        let parts = Parts {
            config,
            launch,
            slots: Mutex::default(),
            health: Mutex::new(Health::Well),
            retired: CancellationToken::new(),
            cancel,
            tasks,
            calls: AtomicUsize::new(0),
            left: Notify::new(),
            gone: CancellationToken::new(),
            before: Mutex::default(),
        };
        Self { parts: Arc::new(parts) }
    }

    /// Starts the program when it does not run, and gives what it lists.
    ///
    /// # Errors
    /// Why it cannot be started.
    pub async fn listing(&self, agent: Option<&str>) -> Result<Listing, Failure> {
        let slot = self.slot(agent)?;
        let using = self.worker(&slot, agent, Instant::now() + LAUNCH_MAX).await?;
        Ok(using.0.listing.clone())
    }

    /// Calls a tool by its server's name, for this agent.
    ///
    /// # Errors
    /// `PLUGIN_UNAVAILABLE`, `PLUGIN_TIMEOUT`, `PLUGIN_ERROR` or `HANDLER_ERROR`.
    pub async fn call(&self, agent: &str, tool: &str, arguments: &Value, meta: &Value, limit: Duration) -> Result<Value, CallFailure> {
        // Counted before it looks: a retirement that it does not see waits for it.
        self.parts.calls.fetch_add(1, Ordering::SeqCst);
        let _counted = Counted(&self.parts);
        if self.is_retired() {
            return Err(CallFailure::new(Code::PluginUnavailable, "the plugin was changed or removed meanwhile"));
        }
        let deadline = Instant::now() + limit;
        let agent = self.parts.config.per_agent.then_some(agent);
        let slot = self.slot(agent).map_err(|failure| unavailable(&failure))?;
        let using = match tokio::time::timeout_at(deadline, self.worker(&slot, agent, deadline)).await {
            Ok(using) => using.map_err(|failure| unavailable(&failure))?,
            Err(_) => return Err(CallFailure::new(Code::PluginTimeout, "the plugin did not start in time")),
        };
        let worker = &using.0;
        let answer = tokio::select! {
            () = self.parts.cancel.cancelled() => return Err(CallFailure::new(Code::PluginUnavailable, "the daemon ends")),
            answer = tokio::time::timeout_at(deadline, worker.client.call(tool, arguments, meta)) => answer,
        };
        match answer {
            Ok(answer) => {
                slot.slow.store(0, Ordering::SeqCst);
                if answer.as_ref().map_or_else(|failure| failure.code == Code::HandlerError, |_| true)
                    && slot.shaky.swap(false, Ordering::SeqCst)
                {
                    slot.state.lock().await.failures = 0;
                    *lock(&self.parts.health) = Health::Well;
                }
                answer
            }
            Err(_) => {
                if slot.slow.fetch_add(1, Ordering::SeqCst) + 1 >= SLOW_MAX {
                    slot.slow.store(0, Ordering::SeqCst);
                    tracing::warn!(plugin = self.parts.config.name, "a plugin hangs and is started again");
                    worker.client.give_up(&ClientError::Ended);
                }
                Err(CallFailure::new(Code::PluginTimeout, format!("the plugin did not answer within {} s", limit.as_secs())))
            }
        }
    }

    /// How it is.
    #[must_use]
    pub fn health(&self) -> Health {
        lock(&self.parts.health).clone()
    }

    /// The last of what its processes that run printed on standard error.
    #[must_use]
    pub fn last_words(&self) -> String {
        let slots: Vec<Arc<Slot>> = lock(&self.parts.slots).values().cloned().collect();
        let mut words = String::new();
        for slot in slots {
            if let Ok(state) = slot.state.try_lock()
                && let Some(worker) = &state.worker
            {
                words.push_str(&worker.running.last_words());
            }
        }
        words
    }

    /// Says that this one comes after another, which retires: where processes must be alone, none starts before the other's are
    /// gone.
    pub fn follow(&self, before: &Supervisor) {
        *lock(&self.parts.before) = Some(before.parts.gone.clone());
    }

    /// Takes no further call, lets those under way come to their end for up to `grace`, and ends all processes.
    pub async fn retire(&self, grace: Duration) {
        self.parts.retired.cancel();
        let until = Instant::now() + grace;
        loop {
            let left = self.parts.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if self.parts.calls.load(Ordering::SeqCst) == 0 {
                break;
            }
            tokio::select! {
                () = self.parts.cancel.cancelled() => break,
                late = tokio::time::timeout_at(until, left) => if late.is_err() { break },
            }
        }
        let slots: Vec<Arc<Slot>> = lock(&self.parts.slots).drain().map(|(_, slot)| slot).collect();
        for slot in slots {
            let worker = slot.state.lock().await.worker.take();
            if let Some(worker) = worker {
                end(&worker).await;
            }
        }
        self.parts.gone.cancel();
    }

    /// Whether [`Supervisor::retire`] was called.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.parts.retired.is_cancelled()
    }

    /// Whether both are the same one.
    #[must_use]
    pub fn is(&self, other: &Supervisor) -> bool {
        Arc::ptr_eq(&self.parts, &other.parts)
    }

    fn slot(&self, agent: Option<&str>) -> Result<Arc<Slot>, Failure> {
        let mut slots = lock(&self.parts.slots);
        let key = agent.unwrap_or_default();
        if slots.len() >= SLOTS_MAX && !slots.contains_key(key) {
            slots.retain(|_, slot| !slot.is_free());
        }
        if slots.len() >= SLOTS_MAX && !slots.contains_key(key) {
            return Err(Failure::new(Code::Busy, format!("{SLOTS_MAX} agents use the plugin at once")));
        }
        Ok(Arc::clone(slots.entry(key.to_owned()).or_default()))
    }

    /// The program that runs in this place, started when there is none.
    async fn worker(&self, slot: &Arc<Slot>, agent: Option<&str>, deadline: Instant) -> Result<Using, Failure> {
        let mut state = Arc::clone(&slot.state).lock_owned().await;
        if let Some(worker) = state.worker.as_ref().filter(|w| w.client.is_open()) {
            // In the lock: nobody ends it for being idle in between.
            return Ok(worker.enter());
        }
        if let Some(worker) = state.worker.take() {
            // It has ended by itself and its task has not come to it yet.
            self.failed(slot, &mut state, ended_failure(&worker));
            end(&worker).await;
        }
        if let Some(at) = state.not_before {
            let now = Instant::now();
            if at > now + BACKOFF_WAIT || at > deadline {
                let secs = at.saturating_duration_since(now).as_secs() + 1;
                let why = match self.health() {
                    Health::Failing(failure) => failure.message,
                    Health::Well => "it failed".to_owned(),
                };
                return Err(Failure::new(Code::PluginUnavailable, format!("{why}; it is started again in {secs} s")));
            }
            tokio::time::sleep_until(at).await;
        }
        if self.is_retired() || self.parts.cancel.is_cancelled() {
            return Err(Failure::new(Code::PluginUnavailable, "the plugin was changed or removed meanwhile"));
        }
        // A start goes on when the call that asked for it is given up: the next call finds it done.
        let (this, slot, agent) = (self.clone(), Arc::clone(slot), agent.map(str::to_owned));
        let started = self.parts.tasks.spawn(async move { this.start(slot, state, agent).await });
        started.await.unwrap_or_else(|_| Err(Failure::new(Code::Internal, "the start of a plugin broke off")))
    }

    async fn start(&self, slot: Arc<Slot>, mut state: OwnedMutexGuard<SlotState>, agent: Option<String>) -> Result<Using, Failure> {
        let begun = tokio::select! {
            () = self.parts.cancel.cancelled() => Err(Failure::new(Code::PluginUnavailable, "the daemon ends")),
            begun = self.begin(agent.as_deref()) => begun,
        };
        match begun {
            Ok(worker) => {
                let worker = Arc::new(worker);
                state.worker = Some(Arc::clone(&worker));
                state.not_before = None;
                let using = worker.enter();
                let this = self.clone();
                self.parts.tasks.spawn(async move { this.watch(slot, worker).await });
                Ok(using)
            }
            Err(failure) => {
                self.failed(&slot, &mut state, failure.clone());
                Err(failure)
            }
        }
    }

    /// Starts a program and hears what it offers.
    async fn begin(&self, agent: Option<&str>) -> Result<Worker, Failure> {
        let before = lock(&self.parts.before).clone();
        if let Some(before) = before.filter(|_| self.parts.config.alone) {
            let late = || Failure::new(Code::PluginUnavailable, "the process before it does not end");
            tokio::time::timeout(LAUNCH_MAX, before.cancelled()).await.map_err(|_| late())?;
        }
        let late = || Failure::new(Code::PluginUnavailable, "its sandbox did not start in time");
        let launched = tokio::time::timeout(LAUNCH_MAX, self.parts.launch.launch(agent)).await.map_err(|_| late())?;
        let Process { input, output, running } = launched?;
        let client = Client::open(input, output, &self.parts.tasks, &self.parts.cancel);
        let begun = match client.begin(BEGIN_MAX).await {
            Ok(listing) => (self.parts.config.check)(&listing).await.map(|()| listing),
            Err(error) => Err(begin_failure(&error, running.last_words())),
        };
        match begun {
            Ok(listing) => Ok(Worker { client, running, listing, usage: Mutex::new((0, Instant::now())), changed: Notify::new() }),
            Err(failure) => {
                client.give_up(&ClientError::Ended);
                let _ = tokio::time::timeout(END_MAX, running.end()).await;
                Err(failure)
            }
        }
    }

    /// Follows a program to its end, and ends it when it idles or changes what it lists.
    async fn watch(&self, slot: Arc<Slot>, worker: Arc<Worker>) {
        let fault = loop {
            let changed = worker.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let idle = worker.unused_since().map(|since| since + self.parts.config.idle);
            tokio::select! {
                () = self.parts.cancel.cancelled() => break None,
                () = worker.client.ended() => break Some(ended_failure(&worker)),
                () = worker.client.changed() => if let Err(failure) = self.look_again(&worker).await { break Some(failure) },
                () = changed => {}
                () = tokio::time::sleep_until(idle.unwrap_or_else(Instant::now)), if idle.is_some() => {
                    let mut state = slot.state.lock().await;
                    // Whoever got it before this has entered it, or will find another one.
                    if worker.unused_since().is_some_and(|since| since + self.parts.config.idle <= Instant::now()) {
                        state.worker.take_if(|at| Arc::ptr_eq(at, &worker));
                        return end(&worker).await;
                    }
                }
            }
        };
        let mut state = slot.state.lock().await;
        let was_ours = state.worker.take_if(|at| Arc::ptr_eq(at, &worker)).is_some();
        if let Some(failure) = fault.filter(|_| was_ours && !self.is_retired()) {
            self.failed(&slot, &mut state, failure);
        }
        // The place is held meanwhile: the next process of the same files starts when this one is gone.
        end(&worker).await;
    }

    async fn look_again(&self, worker: &Worker) -> Result<(), Failure> {
        let tools = tokio::time::timeout(BEGIN_MAX, worker.client.list()).await.unwrap_or(Err(ClientError::Slow));
        let tools = tools.map_err(|error| begin_failure(&error, worker.running.last_words()))?;
        (self.parts.config.check)(&Listing { tools, ..worker.listing.clone() }).await
    }

    fn failed(&self, slot: &Slot, state: &mut SlotState, failure: Failure) {
        slot.shaky.store(true, Ordering::SeqCst);
        let pause = BACKOFF_MIN.saturating_mul(1 << state.failures.min(10)).min(BACKOFF_MAX);
        state.failures = state.failures.saturating_add(1);
        state.not_before = Some(Instant::now() + pause);
        tracing::warn!(plugin = self.parts.config.name, %failure, "a plugin failed");
        *lock(&self.parts.health) = Health::Failing(failure);
    }
}

/// Ends a program: first its input, then all of it.
async fn end(worker: &Worker) {
    worker.client.give_up(&ClientError::Ended);
    if tokio::time::timeout(END_MAX, worker.running.end()).await.is_err() {
        tracing::warn!("a plugin's process was not gone in time");
    }
}

fn ended_failure(worker: &Worker) -> Failure {
    let why = match worker.client.why() {
        ClientError::Ended => "it ended".to_owned(),
        error => error.to_string(),
    };
    with_words(Failure::new(Code::PluginUnavailable, why), &worker.running.last_words())
}

fn begin_failure(error: &ClientError, words: String) -> Failure {
    let failure = match error {
        ClientError::Slow => Failure::new(Code::PluginTimeout, format!("it did not begin within {} s", BEGIN_MAX.as_secs())),
        ClientError::Ended => Failure::new(Code::PluginUnavailable, "it ended before it could be asked"),
        ClientError::Protocol(_) | ClientError::Refused(_) => Failure::new(Code::PluginError, error.to_string()),
    };
    with_words(failure, &words)
}

/// The failure with the program's last words, for the owner.
fn with_words(failure: Failure, words: &str) -> Failure {
    let last: Vec<&str> = words.lines().rev().filter(|line| !line.trim().is_empty()).take(WORDS_LINES).collect();
    if last.is_empty() {
        return failure;
    }
    let last: String = last.into_iter().rev().collect::<Vec<_>>().join("\n");
    failure.hint(last.chars().take(WORDS_CHARS_MAX).collect::<String>())
}

/// Lines of a program's last words that are shown with a failure.
const WORDS_LINES: usize = 5;
/// Characters of them.
const WORDS_CHARS_MAX: usize = 1_000;

/// Why a call was not made, for the agent: the program's own words stay with the owner.
fn unavailable(failure: &Failure) -> CallFailure {
    let code = match failure.code {
        Code::PluginTimeout | Code::PluginError => failure.code,
        _ => Code::PluginUnavailable,
    };
    CallFailure::new(code, format!("the plugin cannot be used: {}", failure.message))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
