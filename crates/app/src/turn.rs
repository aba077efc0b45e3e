//! The runner of one session: takes its turns in order, each from the inbox to its result.

use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use engines::{Plan, ProgramPath, Wire};
use gateway::{Budget, BudgetKey, Identity, REHEARSAL, TapeMode, tape};
use model::{Code, EventKind, Failure, Level, Outcome, ResultEvent, SandboxId, SessionId, TurnEvent, TurnState, Usage};
use sandbox::{Command, Sandbox, Stdio, Tree};
use store::{Fence, Record, TurnRow};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::doors::Occupant;
use crate::live::Live;
use crate::pump::{self, Ending};
use crate::sandboxes::{EGRESS_PORT, GATEWAY_PORT, ORPHAN, proxy_env, relays};
use crate::{App, ProgramSource, Tape, now};

/// Where a turn's work happens inside.
const WORKDIR: &str = "/workspace";
/// The home directory inside.
const HOME: &str = "/home/sandbox";
/// Where engines are seen inside.
pub(crate) const ENGINES_DIR: &str = "/opt/lazaret/engines";

/// Works on a session until it has nothing to do for the idle time, or nobody needs it; then takes it out of memory.
pub(crate) async fn run_session(app: App, live: Arc<Live>) {
    let mut has_worked = false;
    loop {
        match next_turn(&app, &live.id).await {
            Ok(Some(turn)) => {
                has_worked = true;
                run_turn(&app, &live, turn).await;
            }
            Ok(None) => {
                tokio::select! {
                    () = live.cancel.cancelled() => break,
                    // Whoever waited for the work was killed. Before the first turn nobody is attached yet.
                    () = live.abandoned(), if has_worked => break,
                    () = live.wake.notified() => {}
                    () = live.released.notified() => break,
                    () = tokio::time::sleep(app.settings().sandbox_idle) => break,
                }
            }
            Err(failure) => {
                tracing::error!(session = %live.id, %failure, "the inbox cannot be read");
                break;
            }
        }
    }
    // The daemon's own end removes the sandboxes, or leaves them for the next one.
    if !live.cancel.is_cancelled() {
        close_sandbox(&app, &live).await;
    }
    app.forget(&live.id);
    // A turn that was accepted while the session was on its way out is taken up by a new runner.
    if !live.cancel.is_cancelled()
        && matches!(next_turn(&app, &live.id).await, Ok(Some(_)))
        && let Ok(row) = app.store().session(&live.id).await
        && let Err(failure) = app.begin(&row, live.take_mounts(), None)
    {
        tracing::error!(session = %live.id, %failure, "a turn waits for the daemon's next start");
    }
}

async fn close_sandbox(app: &App, live: &Live) {
    let mut held = live.sandbox.lock().await;
    if let Some(sandbox) = held.take() {
        app.doors().dismiss(sandbox.id());
        if let Err(error) = sandbox.stop().await {
            tracing::warn!(session = %live.id, error = model::chain(&error), "a sandbox was not removed whole");
        }
    }
}

async fn next_turn(app: &App, id: &SessionId) -> Result<Option<TurnRow>, Failure> {
    Ok(app.open_turns(id).await?.into_iter().next())
}

/// A turn under its lease.
pub(crate) struct Running<'a> {
    pub(crate) app: &'a App,
    pub(crate) live: &'a Arc<Live>,
    pub(crate) turn: TurnRow,
    pub(crate) fence: Fence,
    pub(crate) started: tokio::time::Instant,
    pub(crate) cancel: CancellationToken,
    pub(crate) level: Level,
    /// What is asked.
    prompt: String,
    /// The tape that is written.
    recording: Option<Arc<tape::Writer>>,
}

async fn run_turn(app: &App, live: &Arc<Live>, turn: TurnRow) {
    let cancel = live.begin_turn();
    let done = Box::pin(work(app, live, turn.clone(), cancel)).await;
    live.end_turn();
    if let Err(failure) = done {
        tracing::error!(session = %live.id, turn = %turn.id, %failure, "a turn was left where it stood");
        // Without the store nothing can be said; a moment later it may be back.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Brings a turn from wherever it stands to its result.
async fn work(app: &App, live: &Arc<Live>, turn: TurnRow, cancel: CancellationToken) -> Result<(), Failure> {
    let store = app.store();
    let mut turn = turn;
    if turn.state == TurnState::Leased {
        // Its runner is gone and its engine never started: it waits again.
        let record = Record::new(turn.id.clone(), turn.fence, Vec::new(), now()).change(TurnEvent::Release);
        store.record(record).await.map_err(|e| e.failure())?;
        turn.state = TurnState::Queued;
    }
    let mut engine_session = store.session(&live.id).await.map_err(|e| e.failure())?.engine_session;
    if turn.state == TurnState::Queued {
        let lease = store.lease_turn(&turn.id, now()).await.map_err(|e| e.failure())?;
        model::crash::point("turn:leased");
        turn.fence = lease.fence;
        turn.spool = 0;
        engine_session = lease.engine_session;
    }
    let elapsed = turn.started.map_or(0, |t| now().0.saturating_sub(t.0));
    let began = tokio::time::Instant::now();
    let started = began.checked_sub(Duration::from_millis(elapsed)).unwrap_or(began);
    let prompt = store.prompt(&turn.id).await.map_err(|e| e.failure())?;
    let mut running = Running { app, live, fence: turn.fence, turn, started, cancel, level: Level::default(), prompt, recording: None };
    let ending = match running.engine(engine_session.as_deref()).await {
        Ok(ending) => ending,
        Err(failure) => Ending::failed(&failure),
    };
    running.finish(ending).await
}

impl Running<'_> {
    /// Starts the engine, or takes it up again, and carries its output until it ends.
    async fn engine(&mut self, engine_session: Option<&str>) -> Result<Ending, Failure> {
        let live = self.live;
        let lost = self.turn.state == TurnState::Running && live.sandbox.lock().await.is_none();
        if lost {
            return Err(Failure::new(Code::SandboxFailed, "the sandbox was lost together with the daemon").hint("run it again"));
        }
        if self.turn.state != TurnState::Running {
            // Nothing is begun for a client that was killed together with the daemon before.
            tokio::select! {
                () = self.cancel.cancelled() => return Ok(Ending::cancelled()),
                () = live.cancel.cancelled() => return Ok(Ending::cancelled()),
                () = live.abandoned() => return Ok(Ending::cancelled()),
                () = live.attended() => {}
            }
        }
        let sandbox = tokio::select! {
            () = self.cancel.cancelled() => return Ok(Ending::cancelled()),
            () = live.abandoned() => {
                live.released.notify_one();
                return Ok(Ending::cancelled());
            }
            sandbox = self.app.sandbox_of(live) => sandbox?,
        };
        self.level = sandbox.level().clone();
        let identity = self.identity(sandbox.id())?;
        self.recording = match &identity.tape {
            Some(TapeMode::Record(writer)) => Some(Arc::clone(writer)),
            _ => None,
        };
        // Without a rule the door still answers: it says which line would allow a host, and the log hears of it.
        let refusals = Arc::new(Refusals { log: live.calls.clone(), left: AtomicUsize::new(REFUSALS_MAX) });
        let egress = Some(self.app.policy(live.spec.egress.clone(), Some(refusals)));
        self.app.doors().admit(sandbox.id(), Occupant { identity: Some(Arc::new(identity)), egress, cancel: CancellationToken::new() });
        let listening = self.app.callers().listen(&self.turn.id, live.calls.clone());
        let engine = engines::find(&live.spec.engine)?;
        let program = self.program()?;
        let wire = wire_of(&*engine, self.app, &live.spec.provider);
        let plan = Plan {
            prompt: &self.prompt,
            model: live.spec.model.as_deref().or_else(|| engine.default_model(wire)),
            resume: engine_session,
            wire,
            gateway_port: GATEWAY_PORT,
            egress_port: (!live.spec.egress.is_empty()).then_some(EGRESS_PORT),
            workdir: WORKDIR,
            home: HOME,
            program: &program,
            memory_bytes: live.spec.limits.memory_bytes,
            has_instructions: false,
            live: false,
        };
        let (model, mut launch) = (plan.model.unwrap_or_default().to_owned(), engine.plan(&plan)?);
        let input = launch.stdin.take();
        let command = match self.running_command(&sandbox).await {
            Some(command) => {
                let control = command.control.clone();
                self.feed(input, |bytes| async move { control.resume_input(&bytes).await });
                command
            }
            None => {
                let mut command = self.start(&sandbox, launch, model, input.is_some()).await?;
                if let Some(mut pipe) = command.stdin.take() {
                    self.feed(input, |bytes| async move { pipe.write(&bytes).await });
                }
                command
            }
        };
        let feed = engines::Feed::new(engine.parser(engines::Carried::default()));
        let ending = pump::pump(self, &sandbox, command, feed).await;
        drop(listening);
        // Whatever the engine left running has no turn any more.
        if let Err(error) = sandbox.kill_commands().await {
            tracing::debug!(error = model::chain(&error), "the sandbox ended with its turn");
        }
        ending
    }

    /// The engine that an earlier daemon started for this lease, if it is there.
    async fn running_command(&self, sandbox: &Sandbox) -> Option<Command> {
        if self.turn.state != TurnState::Running {
            return None;
        }
        let stream = self.app.take_adopted(sandbox.id(), self.fence.0)?;
        sandbox.attach(stream, self.fence.0, self.turn.spool).await.ok()
    }

    /// Says that the turn runs, and starts its engine.
    async fn start(&mut self, sandbox: &Sandbox, launch: engines::Launch, model: String, has_input: bool) -> Result<Command, Failure> {
        let spec = &self.live.spec;
        if self.turn.state != TurnState::Running {
            let start = EventKind::Start { engine: spec.engine.clone(), model, provider: spec.provider.clone(), level: self.level.clone() };
            let mut record = Record::new(self.turn.id.clone(), self.fence, vec![start], now()).change(TurnEvent::Start);
            record.sandbox = Some(sandbox.id().clone());
            let events = self.app.store().record(record).await.map_err(|e| e.failure())?;
            self.app.publish(&self.live.id, &events);
            self.turn.state = TurnState::Running;
            model::crash::point("turn:running");
        }
        if !launch.files.is_empty() {
            let tar = pump::tar_of(&launch.files)?;
            sandbox.put("/", tar.as_slice()).await.map_err(|e| e.failure())?;
        }
        let mut env = sandbox::base_env(&spec.limits);
        merge(&mut env, launch.env);
        if !spec.egress.is_empty() {
            merge(&mut env, proxy_env());
        }
        merge(&mut env, spec.env.clone());
        let stdio = Stdio::Pipes { stdin: has_input };
        let exec = sandbox::Exec { argv: launch.argv, env, cwd: WORKDIR.to_owned(), stdio, lease: self.fence.0 };
        let command = sandbox.exec(exec).await.map_err(|e| e.failure())?;
        model::crash::point("turn:engine-started");
        Ok(command)
    }

    /// Gives the engine its input, if it wants any, while the turn goes on.
    fn feed<F>(&self, input: Option<Vec<u8>>, give: impl FnOnce(Vec<u8>) -> F)
    where
        F: Future<Output = Result<(), sandbox::SandboxError>> + Send + 'static,
    {
        let Some(bytes) = input else { return };
        let (cancel, given) = (self.cancel.clone(), give(bytes));
        self.app.spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                given = given => if let Err(error) = given {
                    tracing::debug!(error = model::chain(&error), "an engine did not read its prompt");
                }
            }
        });
    }

    fn program(&self) -> Result<ProgramPath, Failure> {
        match &self.live.spec.program {
            ProgramSource::Guest => Ok(ProgramPath::native("/opt/lazaret/bin/mini")),
            ProgramSource::Installed => self.app.installs().program_of(&self.live.spec.engine, ENGINES_DIR),
            ProgramSource::At { path } => Ok(self.app.installs().program_at(path)),
        }
    }

    /// Who stands at the gateway's door.
    fn identity(&self, sandbox: &SandboxId) -> Result<Identity, Failure> {
        let spec = &self.live.spec;
        let tape = self.tape()?;
        let budget = |limit| Budget { key: BudgetKey(format!("session:{}", self.live.id)), limit };
        Ok(Identity {
            sandbox: sandbox.clone(),
            session: self.live.id.clone(),
            turn: self.turn.id.clone(),
            provider: spec.provider.clone(),
            model: spec.model.clone(),
            models: Vec::new(),
            budgets: spec.budget.map(budget).into_iter().collect(),
            tape,
            rehearsal: spec.provider == REHEARSAL,
        })
    }

    /// The tape of this turn, made or read. One that another daemon began cannot be gone on with.
    fn tape(&self) -> Result<Option<TapeMode>, Failure> {
        let spec = &self.live.spec;
        let path = self.app.tape_path(&self.live.id, self.turn.n);
        let fail = |e: &dyn std::error::Error| Failure::new(Code::TapeInvalid, model::chain(e));
        match spec.tape {
            Tape::Off => Ok(None),
            Tape::Record if self.turn.state == TurnState::Running => Ok(None),
            Tape::Record => {
                let file =
                    std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).map_err(|e| fail(&e))?;
                let about = crate::replay::about(spec, &self.prompt).map_err(|e| fail(&e))?;
                let writer = tape::Writer::create(file, &about).map_err(|e| fail(&e))?;
                Ok(Some(TapeMode::Record(Arc::new(writer))))
            }
            Tape::Replay => {
                let file = std::fs::File::open(&path).map_err(|e| fail(&e))?;
                Ok(Some(TapeMode::Replay(Arc::new(tape::Reader::open(file).map_err(|e| fail(&e))?))))
            }
        }
    }

    /// Logs the result and ends the turn.
    async fn finish(self, ending: Ending) -> Result<(), Failure> {
        let (mut usage, mut cost) = self.app.doors().gateway().finish(&self.turn.id).await;
        let mut ending = ending;
        if let Some(recording) = self.recording.clone() {
            let finished = tokio::task::spawn_blocking(move || recording.finish()).await;
            if let Ok(Err(error)) = finished {
                ending.fail(Code::TapeInvalid, model::chain(&error));
            }
        }
        let mut events: Vec<EventKind> = Vec::new();
        {
            let mut calls = self.live.calls_out.lock().await;
            while let Ok(event) = calls.try_recv() {
                ending.call(&event);
                events.push(event);
            }
        }
        ending.explain();
        // The ledger also knows the calls that an earlier daemon made for this turn.
        match self.app.store().turn_usage(&self.live.id, &self.turn.id).await {
            Ok(Some(all)) => (usage, cost) = (all.usage, all.cost),
            Ok(None) if usage == Usage::default() => usage = ending.usage,
            Ok(None) => {}
            Err(error) => tracing::warn!(turn = %self.turn.id, error = model::chain(&error), "the ledger cannot be read"),
        }
        let result = ResultEvent {
            status: ending.outcome,
            text: ending.text,
            usage,
            cost_usd: cost.as_usd(),
            duration_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            level: self.level,
            code: ending.code,
        };
        if let (Some(code), Some(message)) = (ending.code, ending.message) {
            events.push(EventKind::Error { code, message, retriable: false });
        }
        events.push(EventKind::Result(result));
        let change = match ending.outcome {
            Outcome::Completed => TurnEvent::Finish,
            Outcome::Cancelled => TurnEvent::Cancel,
            Outcome::Failed | Outcome::Timeout => TurnEvent::Fail,
        };
        let mut record = Record::new(self.turn.id.clone(), self.fence, events, now()).change(change);
        record.spool = ending.spool;
        record.engine_session = ending.engine_session;
        model::crash::point("turn:before-result");
        let events = self.app.store().record(record).await.map_err(|e| e.failure())?;
        model::crash::point("turn:result");
        if let Some(ack) = ending.ack {
            ack.control.ack(ack.number);
        }
        let _ = std::fs::remove_file(pump::raw_path(self.app, &self.live.id));
        self.app.publish(&self.live.id, &events);
        Ok(())
    }
}

/// Refused hosts that one turn's log names; a sandbox can ask as often as it likes.
const REFUSALS_MAX: usize = 50;

/// Logs which hosts were refused.
struct Refusals {
    log: mpsc::Sender<EventKind>,
    left: AtomicUsize,
}

impl gateway::egress::Watch for Refusals {
    fn seen(&self, report: &gateway::egress::Report) {
        let Some(notice) = report.notice() else { return };
        let counted = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if counted.is_ok() {
            // A full queue is a log far behind; the refusal itself stands.
            let _ = self.log.try_send(notice);
        }
    }
}

/// The form in which an engine speaks to a provider.
fn wire_of(engine: &dyn engines::Engine, app: &App, provider: &str) -> Wire {
    let first = engine.wires().first().copied().unwrap_or(Wire::Anthropic);
    let Some(provider) = app.providers().get(provider).copied() else { return first };
    crate::choose::wire_for(engine, provider.kind).unwrap_or(first)
}

/// Sets variables over those that are there.
fn merge(env: &mut Vec<(String, String)>, over: Vec<(String, String)>) {
    for (key, value) in over {
        env.retain(|(k, _)| *k != key);
        env.push((key, value));
    }
}

/// The end of a turn that never ran.
pub(crate) fn ended_unrun(turn: &TurnRow, change: TurnEvent, code: Code, message: &str) -> Record {
    let result = ResultEvent {
        status: Outcome::of_failure(code),
        text: String::new(),
        usage: Usage::default(),
        cost_usd: 0.0,
        duration_ms: 0,
        level: Level::default(),
        code: Some(code),
    };
    let error = EventKind::Error { code, message: message.to_owned(), retriable: false };
    Record::new(turn.id.clone(), turn.fence, vec![error, EventKind::Result(result)], now()).change(change)
}

impl App {
    /// The session's sandbox, started when there is none.
    pub(crate) async fn sandbox_of(&self, live: &Live) -> Result<Sandbox, Failure> {
        let mut held = live.sandbox.lock().await;
        if let Some(sandbox) = held.as_ref() {
            if sandbox.summary().alive {
                return Ok(sandbox.clone());
            }
            self.doors().dismiss(sandbox.id());
            if let Some(gone) = held.take() {
                let _ = gone.stop().await;
            }
        }
        let id = SandboxId::from_bits(crate::clock::fresh_bits());
        let mut request = sandbox::Request::new(id, live.id.as_str());
        request.image = live.spec.image.clone().into();
        request.limits = live.spec.limits;
        request.mounts = live.take_mounts();
        if request.mounts.len() != live.spec.mounts.len() {
            return Err(Failure::new(Code::PathUnusable, "the session's host directories must be opened again by their owner")
                .hint(format!("run: lazaret run --resume {} ...", live.id)));
        }
        request.tree = Tree::Session { name: live.id.as_str().to_owned() };
        request.extra_ro = self.installs().mounts_of(&live.spec, ENGINES_DIR)?;
        request.relays = relays();
        request.orphan = ORPHAN;
        let sandbox = self.sandboxes().start(request).await.map_err(|e| e.failure())?;
        model::crash::point("turn:sandbox-started");
        *held = Some(sandbox.clone());
        Ok(sandbox)
    }
}
