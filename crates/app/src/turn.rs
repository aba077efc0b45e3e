//! One turn under its lease: from the engine's start to its result.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use engines::{Launch, Plan, ProgramPath, Wire};
use gateway::{Identity, REHEARSAL, TapeMode, tape};
use model::{Code, EventKind, Failure, Level, Outcome, ResultEvent, SandboxId, TurnEvent, TurnState, Usage};
use sandbox::{Command, Sandbox, Stdio};
use store::{Fence, Record, TurnRow};
use tokio_util::sync::CancellationToken;

use crate::agent_tools::Gated;
use crate::askers::{Share, guest_rules};
use crate::asks::wire_of;
use crate::audit::EgressAudit;
use crate::doors::Occupant;
use crate::house::Ground;
use crate::live::{Live, lock};
use crate::places::Place;
use crate::process::{Input, Kind, Process};
use crate::pump::{self, Ending};
use crate::refusals::Refusals;
use crate::sandboxes::{EGRESS_PORT, GATEWAY_PORT, proxy_env};
use crate::trees::Growing;
use crate::{App, ProgramSource, now};

/// The home directory inside.
pub(crate) const HOME: &str = "/home/sandbox";
/// Where engines are seen inside.
pub(crate) const ENGINES_DIR: &str = "/opt/lazaret/engines";

/// What a turn begins with.
pub(crate) struct Start {
    pub(crate) turn: TurnRow,
    pub(crate) ground: Ground,
    /// Who asked it, where that was somebody on a chat network.
    pub(crate) asker: Option<broker::Asker>,
    /// The right to run; none while it waits for a person.
    pub(crate) place: Option<Place>,
    pub(crate) ready: Ready,
    pub(crate) prompt: String,
    pub(crate) cancel: CancellationToken,
}

/// What an engine would be started with.
pub(crate) struct Ready {
    pub(crate) engine: engines::Found,
    program: ProgramPath,
    wire: Wire,
    model: Option<String>,
    /// Whether its process can stay for the next turn.
    pub(crate) is_live: bool,
    /// What a process that is of use must have been started with.
    pub(crate) kind: Kind,
}

/// A turn under its lease.
pub(crate) struct Running<'a> {
    pub(crate) app: &'a App,
    pub(crate) live: &'a Arc<Live>,
    pub(crate) turn: TurnRow,
    pub(crate) ground: Ground,
    pub(crate) asker: Option<broker::Asker>,
    pub(crate) ready: Ready,
    pub(crate) fence: Fence,
    pub(crate) started: tokio::time::Instant,
    pub(crate) cancel: CancellationToken,
    /// Given back while a person is asked.
    pub(crate) place: Mutex<Option<Place>>,
    pub(crate) level: Level,
    /// What is asked.
    pub(crate) prompt: String,
    /// The engine's own name of the session, as it was when the turn began.
    pub(crate) engine_session: Option<String>,
    /// What was said in the turns before, for an engine that may have forgotten it.
    pub(crate) history: String,
    /// What it had asked when it was taken up from an earlier daemon. Read once: an answer that comes meanwhile is one that was not
    /// there, to all who look.
    pub(crate) asked: Vec<store::QuestionRow>,
    /// The tape that is written.
    recording: Option<Arc<tape::Writer>>,
    /// Hears of its model calls until all of them are over, which some are only after the engine.
    listening: Option<crate::ledger::Listening>,
}

impl Ready {
    /// Finds the engine and checks that it can be asked this.
    pub(crate) fn of(app: &App, live: &Live, ground: &Ground, prompt: &str) -> Result<Self, Failure> {
        let mut ready = Self::found(app, &live.spec)?;
        let fresh = ready.plan(live, ground, prompt, None)?;
        // A process that was given what is exposed no longer, or lacks what now is, is of no use.
        let exposed = ground.exposed(app).into_iter().map(|(name, value)| (name, value.to_string()));
        let env: Vec<(String, String)> = live.spec.env.iter().cloned().chain(exposed).collect();
        ready.kind = Kind::of(&fresh, &env, &ground.instructions());
        Ok(ready)
    }

    /// The engine of a session and how it is reached.
    pub(crate) fn found(app: &App, spec: &crate::SessionSpec) -> Result<Self, Failure> {
        let engine = spec.found_engine()?;
        let program = match &spec.program {
            ProgramSource::Guest => ProgramPath::native("/opt/lazaret/bin/mini"),
            ProgramSource::Installed => app.installs().program_of(engine.installed(), ENGINES_DIR)?,
            ProgramSource::At { path } => app.installs().program_at(path),
        };
        let wire = wire_of(&*engine, app, &spec.provider);
        let model = spec.model.clone().or_else(|| engine.default_model(wire).map(str::to_owned));
        let is_live = engine.live() && (!spec.foreground || engine.converses());
        Ok(Self { engine, program, wire, model, is_live, kind: Kind::none() })
    }

    fn plan(&self, live: &Live, ground: &Ground, prompt: &str, resume: Option<&str>) -> Result<Launch, Failure> {
        self.plan_of(&live.spec, !ground.instructions().is_empty(), prompt, resume)
    }

    fn plan_of(&self, spec: &crate::SessionSpec, has_instructions: bool, prompt: &str, resume: Option<&str>) -> Result<Launch, Failure> {
        self.engine.plan(&Plan { has_instructions, ..self.asks(spec, prompt, resume) })
    }

    /// What the engine is asked.
    pub(crate) fn asks<'a>(&'a self, spec: &'a crate::SessionSpec, prompt: &'a str, resume: Option<&'a str>) -> Plan<'a> {
        Plan {
            prompt,
            model: self.model.as_deref(),
            resume,
            wire: self.wire,
            gateway_port: GATEWAY_PORT,
            egress_port: (!spec.egress.is_empty()).then_some(EGRESS_PORT),
            workdir: &spec.workdir,
            home: HOME,
            program: &self.program,
            memory_bytes: spec.limits.memory_bytes,
            has_instructions: false,
            live: self.is_live,
            turn: 0,
            history: None,
            options: spec.job.as_ref().map(crate::JobPart::options).unwrap_or_default(),
        }
    }
}

/// A command that works on the turn, and the way to its input.
struct Begun {
    command: Command,
    input: Option<Input>,
    /// What its parser knows from earlier turns.
    carried: engines::Carried,
}

impl<'a> Running<'a> {
    pub(crate) fn new(app: &'a App, live: &'a Arc<Live>, start: Start) -> Self {
        let Start { turn, ground, asker, place, ready, prompt, cancel } = start;
        let mut elapsed = turn.started.map_or(0, |t| now().0.saturating_sub(t.0));
        if matches!(turn.state, TurnState::Running | TurnState::Waiting) {
            if let Some(since) = crate::since::elapsed(&app.session_dir(&live.id), &turn.id) {
                elapsed = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
            }
            // The clock stood while a person was asked.
            let waits = turn.waiting.map_or(0, |since| now().0.saturating_sub(since.0));
            elapsed = elapsed.saturating_sub(turn.waited_ms + waits);
        }
        let began = tokio::time::Instant::now();
        let started = began.checked_sub(Duration::from_millis(elapsed)).unwrap_or(began);
        Self {
            app,
            live,
            fence: turn.fence,
            turn,
            ground,
            asker,
            ready,
            started,
            cancel,
            place: Mutex::new(place),
            level: Level::default(),
            prompt,
            engine_session: None,
            history: String::new(),
            asked: Vec::new(),
            recording: None,
            listening: None,
        }
    }

    /// Brings the turn to its result.
    pub(crate) async fn run(mut self, process: Option<Process>, engine_session: Option<String>) -> Result<(), Failure> {
        self.engine_session.clone_from(&engine_session);
        if self.ready.engine.wants_history() && process.is_none() {
            self.history = crate::told::before(self.app, &self.turn).await?;
        }
        let mut ending = match self.engine(process, engine_session.as_deref()).await {
            Ok(ending) => ending,
            Err(failure) => Ending::failed(&failure),
        };
        self.live.waits.end();
        if ending.is_left {
            // It waits for a person, and the next daemon goes on with it.
            return Ok(());
        }
        self.after_engine(&mut ending).await;
        self.commit_rest(&mut ending).await;
        self.finish(ending).await
    }

    /// Why a turn that was begun has nothing to go on with.
    pub(crate) fn lost(&self, how: &str) -> Failure {
        // This very daemon gave it up, when it could not keep what the engine said.
        self.live.stalled().unwrap_or_else(|| Failure::new(Code::SandboxFailed, how).hint("run it again"))
    }

    pub(crate) fn is_begun(&self) -> bool {
        matches!(self.turn.state, TurnState::Running | TurnState::Waiting)
    }

    /// Starts the engine, or takes it up again, and carries its output until the turn's end.
    async fn engine(&mut self, process: Option<Process>, engine_session: Option<&str>) -> Result<Ending, Failure> {
        let live = self.live;
        if self.is_begun() && live.sandbox.lock().await.is_none() {
            return Err(self.lost("the sandbox was lost together with the daemon"));
        }
        if !self.is_begun() {
            if lock(&self.place).is_none() {
                return Ok(Ending::cancelled());
            }
            // Nothing is begun for a client that was killed together with the daemon before.
            tokio::select! {
                () = self.cancel.cancelled() => return Ok(Ending::cancelled()),
                () = live.cancel.cancelled() => return Ok(Ending::cancelled()),
                () = live.abandoned() => return Ok(Ending::cancelled()),
                () = live.attended() => {}
            }
        }
        if !self.is_begun() {
            tokio::select! {
                () = self.cancel.cancelled() => return Ok(Ending::cancelled()),
                () = live.abandoned() => return Ok(Ending::cancelled()),
                () = self.app.plugins_settled(crate::plugins::SETTLE_AGENT) => {}
            }
        }
        // What an earlier daemon began is taken up first, and then ended: its engine would work on.
        let is_begun = self.is_begun();
        let sandbox = tokio::select! {
            () = self.cancel.cancelled(), if !is_begun => return Ok(Ending::cancelled()),
            () = live.abandoned(), if !is_begun => {
                live.released.notify_one();
                return Ok(Ending::cancelled());
            }
            sandbox = self.app.sandbox_on(live, &self.ground) => sandbox?,
        };
        self.level = sandbox.level().clone();
        if !self.live.spec.ask {
            self.app.tell_exposed(&self.ground.agent.name, &mut self.level);
        }
        let identity = self.identity(sandbox.id()).await?;
        self.recording = match &identity.tape {
            Some(TapeMode::Record(writer)) => Some(Arc::clone(writer)),
            _ => None,
        };
        // Without a rule the door still answers: it says which line would allow a host, and the log hears of it.
        let audit = EgressAudit::new(self.app, Some((&live.id, &self.turn.id)), format!("agent:{}", self.ground.agent.name));
        let refusals = Arc::new(Refusals::new(live.calls.clone(), audit));
        let guest = (self.ground.share == Share::Guest).then(|| guest_rules(&self.ground.agent, &live.spec.egress));
        let egress = Some(self.app.session_policy(live, guest, refusals).await?);
        self.app.doors().admit(
            sandbox.id(),
            Occupant {
                identity: Some(Arc::new(identity)),
                tools: Some(Arc::new(self.caller(sandbox.id(), self.withheld().await?))),
                egress,
                cancel: live.cancel.child_token(),
            },
        );
        self.listening = Some(self.app.callers().listen(&self.turn.id, live.calls.clone()));
        let watching = self.app.watch_collisions(live, &self.ground, &sandbox).await;
        match self.gate(&sandbox).await? {
            Gated::Open => {}
            Gated::Cancelled => {
                if is_begun && let Err(error) = sandbox.kill_commands().await {
                    tracing::debug!(error = model::chain(&error), "the sandbox ended with its turn");
                }
                return Ok(Ending::cancelled());
            }
            Gated::Shut => {
                if !self.is_begun() {
                    self.say_start(&sandbox).await?;
                }
                return Ok(Ending { outcome: Outcome::Completed, code: None, message: None, ..Ending::cancelled() });
            }
        }
        let ending = if let Some(form) = crate::terminals::form_of(&self.turn) {
            crate::terminals::work(self, &sandbox, &form).await
        } else {
            let Some(begun) = self.begin(&sandbox, process, engine_session).await? else { return Ok(Ending::cancelled()) };
            let feed = engines::Feed::new(self.reader(begun.carried));
            pump::pump(self, &sandbox, begun.command, begun.input, feed).await
        };
        if let Some(watching) = watching {
            watching.end().await;
        }
        if !matches!(&ending, Ok(Ending { process: Some(_), .. } | Ending { is_left: true, .. })) {
            // Whatever the engine left running has no turn any more.
            if let Err(error) = sandbox.kill_commands().await {
                tracing::debug!(error = model::chain(&error), "the sandbox ended with its turn");
            }
        }
        ending
    }

    /// The process that works on this turn: that of an earlier daemon, the one that waits for it, or a new one.
    async fn begin(&mut self, sandbox: &Sandbox, process: Option<Process>, engine_session: Option<&str>) -> Result<Option<Begun>, Failure> {
        let live = self.live;
        let mut launch = self.ready.plan(live, &self.ground, &self.prompt, engine_session)?;
        let first = launch.stdin.take();
        if self.is_begun()
            && let Some(command) = self.running_command(sandbox).await?
        {
            self.asked = self.app.questions_of(&live.id, &self.turn.id).await?;
            let input = match first {
                None => None,
                Some(mut bytes) => {
                    if self.is_further() {
                        bytes = self.ready.engine.further(&self.asks())?;
                    }
                    bytes.extend(self.said_before(&pump::replayed(self)?));
                    let base = self.input_base();
                    let input = Input::again(self.app, &self.cancel_of_process(), command.control.clone(), base, bytes);
                    Some(input).filter(|_| self.ready.is_live)
                }
            };
            return Ok(Some(Begun { command, input, carried: engines::Carried::default() }));
        }
        if self.is_begun() && !self.is_unstarted() {
            return Err(self.lost("the engine was lost together with the daemon"));
        }
        self.unpack_files(sandbox).await?;
        if let Some(process) = process {
            let bytes = self.ready.engine.further(&self.asks())?;
            self.note_input_base(process.input.sent())?;
            self.say_start(sandbox).await?;
            if !self.before_engine(sandbox).await? {
                return Ok(None);
            }
            process.input.write(bytes)?;
            let Process { output, control, input, carried, .. } = process;
            return Ok(Some(Begun { command: Command { stdin: None, output, control }, input: Some(input), carried }));
        }
        self.note_input_base(0)?;
        if !self.is_begun() {
            self.say_start(sandbox).await?;
        } else if self.live.spec.job.as_ref().is_some_and(|job| job.hooks.pre.is_some()) {
            // The script of an earlier daemon may still run.
            sandbox.kill_commands().await.map_err(|e| e.failure())?;
        }
        if !self.before_engine(sandbox).await? {
            return Ok(None);
        }
        let mut command = self.start(sandbox, launch, first.is_some()).await?;
        let input = command.stdin.take().map(|stdin| Input::to(self.app, &self.cancel_of_process(), stdin));
        if let (Some(input), Some(first)) = (&input, first) {
            input.write(first)?;
        }
        Ok(Some(Begun { command, input: input.filter(|_| self.ready.is_live), carried: engines::Carried::default() }))
    }

    /// Ends what writes to a process with the daemon: a process outlives its turns.
    fn cancel_of_process(&self) -> CancellationToken {
        if self.ready.is_live { self.live.cancel.clone() } else { self.cancel.clone() }
    }

    /// The engine that an earlier daemon started, if it is there.
    pub(crate) async fn running_command(&self, sandbox: &Sandbox) -> Result<Option<Command>, Failure> {
        let Some(stream) = self.app.take_adopted(sandbox.id(), self.turn.engine_lease) else { return Ok(None) };
        sandbox.attach(stream, self.turn.engine_lease, self.turn.spool).await.map(Some).map_err(|e| e.failure())
    }

    /// Whether the turn was said to run and its engine never started: it was to have a process of its own, of which the
    /// sandbox knows nothing. The guest forgets none whose frames are not recorded, and none are.
    pub(crate) fn is_unstarted(&self) -> bool {
        self.turn.state == TurnState::Running && self.turn.engine_lease == self.fence.0 && self.turn.spool == 0
    }

    /// Says that the turn runs.
    pub(crate) async fn say_start(&mut self, sandbox: &Sandbox) -> Result<(), Failure> {
        let spec = &self.live.spec;
        let model = self.ready.model.clone().unwrap_or_default();
        let mut events =
            vec![EventKind::Start { engine: spec.engine.clone(), model, provider: spec.provider.clone(), level: self.level.clone() }];
        let outside: Vec<String> = spec.mounts.iter().filter(|m| !m.read_only).map(|m| m.target.display().to_string()).collect();
        if !outside.is_empty() && !spec.foreground {
            events.push(EventKind::Notice { text: format!("undo does not reach these host directories: {}", outside.join(", ")) });
        }
        if let Some(text) = self.app.asks_to_confirm(&self.ground, &self.turn.id, self.turn.n).await {
            events.push(EventKind::Notice { text });
        }
        crate::since::note(&self.app.session_dir(&self.live.id), &self.turn.id);
        let mut record = Record::new(self.turn.id.clone(), self.fence, events, now()).change(TurnEvent::Start);
        record.sandbox = Some(sandbox.id().clone());
        let events = self.app.store().record(record).await.map_err(|e| e.failure())?;
        self.app.publish(&self.live.id, &events);
        self.turn.state = TurnState::Running;
        model::crash::point("turn:running");
        Ok(())
    }

    /// Starts the engine.
    async fn start(&self, sandbox: &Sandbox, launch: Launch, has_input: bool) -> Result<Command, Failure> {
        let spec = &self.live.spec;
        if !launch.files.is_empty() {
            let tar = crate::inside::tar_of(&launch.files)?;
            sandbox.put("/", tar.as_slice()).await.map_err(|e| e.failure())?;
        }
        let env = self.surroundings(launch.env).await?;
        let stdio = Stdio::Pipes { stdin: has_input };
        let exec = sandbox::Exec { argv: launch.argv, env, cwd: spec.workdir.clone(), stdio, lease: self.fence.0 };
        let command = sandbox.exec(exec).await.map_err(|e| e.failure())?;
        model::crash::point("turn:engine-started");
        Ok(command)
    }

    /// The variables of a program that works on the turn: `own` are those that it needs by itself.
    pub(crate) async fn surroundings(&self, own: Vec<(String, String)>) -> Result<Vec<(String, String)>, Failure> {
        let spec = &self.live.spec;
        let mut env = sandbox::base_env(&spec.limits);
        merge(&mut env, own);
        if !spec.egress.is_empty() {
            merge(&mut env, proxy_env());
            merge(&mut env, self.app.trust_env(&spec.egress, &spec.secrets));
        }
        merge(&mut env, spec.env.clone());
        merge(&mut env, self.app.placeholders(self.live).await?);
        let exposed = self.ground.exposed(self.app);
        if !exposed.is_empty() {
            self.app.note_exposed(&self.ground.agent.name, &self.live.id).await?;
        }
        merge(&mut env, exposed.into_iter().map(|(name, value)| (name, value.to_string())).collect());
        Ok(env)
    }

    /// Logs what happened beside the engine.
    pub(crate) async fn say(&self, event: Option<EventKind>) -> Result<(), Failure> {
        let Some(event) = event else { return Ok(()) };
        let record = Record::new(self.turn.id.clone(), self.fence, vec![event], now());
        let events = self.app.store().record(record).await.map_err(|e| e.failure())?;
        self.app.publish(&self.live.id, &events);
        Ok(())
    }

    /// Who stands at the gateway's door.
    async fn identity(&self, sandbox: &SandboxId) -> Result<Identity, Failure> {
        let spec = &self.live.spec;
        let (budgets, patience) = self.app.budgets_of_turn(self.live, &self.ground.row, &self.turn.id).await?;
        let tape = self.tape()?;
        Ok(Identity {
            sandbox: sandbox.clone(),
            session: self.live.id.clone(),
            turn: self.turn.id.clone(),
            provider: spec.provider.clone(),
            fallback: spec.fallback.iter().map(|text| crate::ledger::fallback(text)).collect(),
            model: spec.model.clone(),
            models: Vec::new(),
            budgets,
            tape,
            rehearsal: spec.provider == REHEARSAL,
            patience: Some(patience),
            rounds: self.rounds()?,
        })
    }

    /// Logs the result and ends the turn.
    async fn finish(mut self, ending: Ending) -> Result<(), Failure> {
        let (mut usage, mut cost) = self.app.doors().finish_calls(&self.turn.id).await;
        drop(self.listening.take());
        let mut ending = ending;
        if let Some(recording) = self.recording.clone() {
            let finished = tokio::task::spawn_blocking(move || recording.finish()).await;
            if let Ok(Err(error)) = finished {
                ending.fail(Code::TapeInvalid, model::chain(&error));
            }
        }
        let mut events: Vec<EventKind> = std::mem::take(&mut ending.events);
        {
            let mut calls = self.live.calls_out.lock().await;
            while let Ok(event) = calls.try_recv() {
                ending.call(&event);
                events.push(event);
            }
        }
        ending.explain();
        let is_left = self.leaves_files().await;
        // A fetch is over before the files are kept, or begins after what is kept came home: neither undoes the other.
        let alone = match &self.live.spec.branch {
            Some(_) => Some(self.app.hold_home(&self.live.id).await),
            None => None,
        };
        let checkpoint = if is_left { None } else { self.checkpoint(&mut ending, &mut events).await };
        if let (Some(part), Some(alone)) = (&self.live.spec.branch, alone) {
            let tree = checkpoint.as_ref().map_or(&self.ground.tree, Growing::id);
            events.extend(self.app.branch_comes_home(part, &self.live.id, tree, self.turn.n, alone).await);
        }
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
        self.app.clean_events(&self.ground.agent.name, &mut events);
        let change = match ending.outcome {
            Outcome::Completed => TurnEvent::Finish,
            Outcome::Cancelled => TurnEvent::Cancel,
            Outcome::Failed | Outcome::Timeout => TurnEvent::Fail,
        };
        let mut record = Record::new(self.turn.id.clone(), self.fence, events, now()).change(change);
        record.spool = ending.spool;
        record.engine_session = ending.engine_session;
        record.checkpoint = checkpoint.as_ref().map(|growing| growing.id().clone());
        record.is_left = is_left;
        model::crash::point("turn:before-result");
        let events = self.app.store().record(record).await.map_err(|e| e.failure())?;
        model::crash::point("turn:result");
        self.app.turn_seen(&events);
        if let Some(ack) = ending.ack {
            ack.control.ack(ack.number);
        }
        let _ = std::fs::remove_file(pump::raw_path(self.app, &self.live.id));
        self.app.publish(&self.live.id, &events);
        if let Some(process) = ending.process.filter(|_| !is_left && !self.live.cancel.is_cancelled()) {
            *self.live.process.lock().await = Some(process);
        }
        self.app.forget_files(&self.live.id, &self.turn.id);
        self.app.pass_on(&self.turn.id).await;
        if !is_left {
            self.app.retire(&self.live.id, self.turn.n, &self.ground.tree, self.live.spec.limits.disk_bytes).await;
        }
        Ok(())
    }

    /// Keeps the files as they are now. A turn whose files cannot be kept says so and ends all the same.
    async fn checkpoint(&self, ending: &mut Ending, events: &mut Vec<EventKind>) -> Option<Growing> {
        let app = self.app;
        let tree = &self.ground.tree;
        if !app.settings().sessions.checkpoints || !app.sandboxes().has_tree(tree).await {
            return None;
        }
        if !app.sandboxes().live_checkpoints() {
            // Its layers can be frozen only when nobody has them mounted.
            ending.process = None;
            app.close_sandbox(self.live).await;
        }
        let growing = app.grow_tree();
        match app.sandboxes().snapshot(tree, growing.id(), true).await {
            Ok(()) => Some(growing),
            Err(error) => {
                let text = format!("this turn cannot be gone back to: {}", error.failure().message);
                events.push(EventKind::Notice { text });
                None
            }
        }
    }
}

/// The command line of the engine of a session for a prompt.
pub(crate) fn argv_of(app: &App, spec: &crate::SessionSpec, prompt: &str) -> Result<Vec<String>, Failure> {
    Ok(Ready::found(app, spec)?.plan_of(spec, false, prompt, None)?.argv)
}

/// Sets variables over those that are there.
fn merge(env: &mut Vec<(String, String)>, over: Vec<(String, String)>) {
    for (key, value) in over {
        env.retain(|(k, _)| *k != key);
        env.push((key, value));
    }
}
