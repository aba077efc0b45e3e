//! The one thread that writes, and the queue before it.

use std::sync::Arc;
use std::time::Instant;

use crate::db::{Connection, Postgres};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::StoreError;
use crate::error::Doing;
use crate::health::{Health, StoreHealth};
use crate::journal::Journal;
use crate::shared::Topic;

/// Writes that may wait; a further caller waits for a place.
pub const QUEUE_JOBS_MAX: usize = 4096;
/// Bytes that waiting writes may hold together; a further caller waits. Above the longest prompt.
pub const QUEUE_BYTES_MAX: usize = 256 << 20;
/// Writes that share one commit. More would make the first of them wait too long for its flush.
const COMMIT_JOBS_MAX: usize = 512;
/// What one unit of the byte limit stands for, since semaphores count in 32 bits.
const PERMIT_BYTES: usize = 1024;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $word:literal;)*) => {
        /// What a write is for; names its crash points.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Kind {
            $($(#[$doc])* $name,)*
        }

        impl Kind {
            /// What other daemons are told that it is about.
            pub(crate) fn topic(self) -> Option<Topic> {
                Topic::of(match self { $(Kind::$name => $word),* })
            }

            pub(crate) fn before(self) -> &'static str {
                match self { $(Kind::$name => concat!("store.", $word, ".before")),* }
            }

            pub(crate) fn after(self) -> &'static str {
                match self { $(Kind::$name => concat!("store.", $word, ".after")),* }
            }
        }

        /// Every place in this crate where a test may end the process: `before` the commit of a kind of write, and
        /// `after` it but before anybody is told.
        pub const CRASH_POINTS: &[&str] = &[$(concat!("store.", $word, ".before"), concat!("store.", $word, ".after")),*];
    };
}

kinds! {
    /// A session is made.
    SessionCreate = "session-create";
    /// A session is removed with all it owns.
    SessionDelete = "session-delete";
    /// What is said about a session changes, or it is archived.
    SessionUpdate = "session-update";
    /// A session comes from another store.
    SessionImport = "session-import";
    /// A session is made from a checkpoint of another one.
    Fork = "fork";
    /// The first checkpoint of a session is noted.
    CheckpointFirst = "checkpoint-first";
    /// Old checkpoints are given up.
    CheckpointRetire = "checkpoint-retire";
    /// A session goes back, or forward, to a checkpoint.
    Undo = "undo";
    /// An env is made.
    EnvCreate = "env-create";
    /// An env is made from the tree of a session.
    EnvSave = "env-save";
    /// What is said about an env changes.
    EnvUpdate = "env-update";
    /// An env takes no more work.
    EnvMark = "env-mark";
    /// An env is removed.
    EnvDelete = "env-delete";
    /// A person answers.
    QuestionAnswer = "question-answer";
    /// An agent is made or changed.
    AgentPut = "agent-put";
    /// An agent is removed.
    AgentRemove = "agent-remove";
    /// A token is made.
    TokenCreate = "token-create";
    /// A token ends.
    TokenRevoke = "token-revoke";
    /// A tenant, or who is in it, changes.
    TenantChange = "tenant-change";
    /// What may be spent changes.
    BudgetSet = "budget-set";
    /// An agent or a person keeps a memory.
    MemoryStore = "memory-store";
    /// A turn deletes a memory.
    MemoryDelete = "memory-delete";
    /// A person confirms a memory.
    MemoryConfirm = "memory-confirm";
    /// A person removes a memory.
    MemoryRemove = "memory-remove";
    /// Old memories go for good.
    MemoryPurge = "memory-purge";
    /// What a session is told of its agent's memory is kept.
    MemoryBrief = "memory-brief";
    /// A plugin is put in place, seen, approved, or switched on or off.
    PluginPut = "plugin-put";
    /// A plugin is forgotten.
    PluginRemove = "plugin-remove";
    /// A skill is put in force.
    SkillPut = "skill-put";
    /// A skill is forgotten.
    SkillRemove = "skill-remove";
    /// An agent is made from a template, or brought up to date with it.
    AgentOrigin = "agent-origin";
    /// A profile, engine, template or hook gets a version.
    ConfigPut = "config-put";
    /// A turn is accepted.
    TurnAccept = "turn-accept";
    /// A turn is given to a runner.
    TurnLease = "turn-lease";
    /// Events are logged, and a turn may change its state.
    Record = "record";
    /// Model calls are entered in the ledger.
    Calls = "calls";
    /// A slab of a budget is taken.
    SlabLease = "slab-lease";
    /// A slab of a budget is given back.
    SlabSettle = "slab-settle";
    /// A confirmation is asked for, answered or given up.
    Approval = "approval";
    /// A confirmed call begins.
    ApprovalBegin = "approval-begin";
    /// What came of a confirmed call is kept.
    ApprovalFinish = "approval-finish";
    /// Webhooks are claimed for a try.
    WebhookClaim = "webhook-claim";
    /// What a webhook sends is kept.
    WebhookBody = "webhook-body";
    /// What came of a try of a webhook is kept.
    WebhookTried = "webhook-tried";
    /// A webhook is owed once more.
    WebhookResend = "webhook-resend";
    /// Settled webhooks go.
    WebhookForget = "webhook-forget";
    /// A task is made.
    TaskCreate = "task-create";
    /// A task is stopped for now, or goes on.
    TaskChange = "task-change";
    /// A task is removed.
    TaskRemove = "task-remove";
    /// Times that tasks are due get their rows.
    TaskPlan = "task-plan";
    /// Runs of tasks begin.
    TaskBegin = "task-begin";
    /// What the run of a task made is noted.
    TaskMade = "task-made";
    /// The run of a task ends.
    TaskEnd = "task-end";
    /// Old runs of tasks go.
    TaskForget = "task-forget";
    /// Rows are added to the audit.
    Audit = "audit";
    /// A secret or the keyring changes.
    Secret = "secret";
    /// When secrets were used is noted.
    SecretUse = "secret-use";
    /// A job is accepted.
    JobAccept = "job-accept";
    /// Jobs are given to a dispatcher.
    JobClaim = "job-claim";
    /// The session of a job is made and asked.
    JobBegin = "session-begin";
    /// A dispatcher that starts takes up its jobs.
    JobTake = "job-take";
    /// A dispatcher says that it still works.
    JobRenew = "job-renew";
    /// Jobs are taken from a dispatcher that is gone.
    JobLapse = "job-lapse";
    /// The engine of a job has started.
    JobStart = "job-start";
    /// A job waits for a person, or does so no more.
    JobMark = "job-mark";
    /// A job waits for another try.
    JobRetry = "job-retry";
    /// A job ends.
    JobFinish = "job-finish";
    /// A job is stopped.
    JobCancel = "job-cancel";
    /// What a stopped job had used is noted.
    JobSettle = "job-settle";
    /// A job is forgotten.
    JobDelete = "job-delete";
    /// A piece of what a job leaves is shared.
    ShelfPiece = "shelf-piece";
    /// What a job leaves is shared whole.
    Shelf = "shelf";
    /// What no job names is shared no more.
    ShelfSweep = "shelf-sweep";
    /// A branch agent and its session are made.
    BranchCreate = "branch-create";
    /// What came of bringing an agent's work home is kept.
    BranchHome = "branch-home";
    /// The row of a branch agent changes.
    BranchUpdate = "branch-update";
    /// A branch agent is forgotten with its session.
    BranchDelete = "branch-delete";
    /// A comment on an agent's work is kept, or sent.
    BranchComment = "branch-comment";
    /// A merge queue is made, or goes on.
    MergeQueue = "merge-queue";
    /// A daemon's share of the sandboxes that are kept ready changes.
    PoolShare = "pool-share";
    /// An account of a chat network is added, changed or switched.
    ChannelPut = "channel-put";
    /// An account of a chat network is removed.
    ChannelRemove = "channel-remove";
    /// What an account can do is noted.
    ChannelReady = "channel-ready";
    /// Where an account's network goes on is noted.
    ChannelCursor = "channel-cursor";
    /// A chat becomes known or changes.
    ChatPut = "chat-put";
    /// A conversation gets a session, or leaves it.
    ChatSession = "chat-session";
    /// Old messages and deliveries go.
    ChatForget = "chat-forget";
    /// An agent hears a chat.
    WiringPut = "wiring-put";
    /// An agent hears a chat no more.
    WiringRemove = "wiring-remove";
    /// An agent may send somewhere.
    DestinationPut = "destination-put";
    /// An agent may send somewhere no more.
    DestinationRemove = "destination-remove";
    /// A handle or a role changes.
    PeopleChange = "people-change";
    /// A code is made.
    Pairing = "pairing";
    /// Somebody is let in, or not.
    Admission = "admission";
    /// A message is heard.
    InboundHear = "inbound-hear";
    /// The host did its part for a message, or is to.
    InboundClose = "inbound-close";
    /// Deliveries become owed.
    OutboxPut = "outbox-put";
    /// Deliveries are given to their channel.
    OutboxClaim = "outbox-claim";
    /// What came of a delivery is kept.
    OutboxTried = "outbox-tried";
    /// A turn is accepted with for whom it acts and where its answer goes.
    TurnAcceptOf = "turn-accept-of";
    /// What the gate of a turn said is kept.
    TurnGate = "turn-gate";
    /// A tool asks a person.
    ToolAsk = "tool-ask";
    /// An agent makes another one.
    AgentMake = "agent-make";
    /// What an agent wants put in place is kept, or done.
    AgentOrder = "agent-order";
    /// What is noted of the first steps changes.
    SetupStep = "setup-step";
    /// Something of another install was taken over.
    TakenNote = "taken-note";
    /// Another daemon is asked for something.
    Signal = "signal";
    /// The store notes that it was closed in order.
    Close = "close";
}

/// Tells the caller, once it is known whether the commit succeeded.
type Tell = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// Runs a write, or skips it when there is no transaction; gives back why its own part does not stand, and the teller.
type Run = Box<dyn FnOnce(Option<&Connection>) -> (Option<StoreError>, Tell) + Send>;

/// One write, waiting.
struct Job {
    kind: Kind,
    run: Run,
    /// Given back when the write is done.
    bytes: OwnedSemaphorePermit,
}

/// The sending side; cheap to clone.
#[derive(Clone)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
    bytes: Arc<Semaphore>,
    health: Arc<Health>,
}

impl Writer {
    /// Starts the thread around an open connection. It ends when every handle is gone or after a `Close`.
    pub(crate) fn start(conn: Connection, journal: Journal) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel(QUEUE_JOBS_MAX);
        let health = Arc::new(Health::default());
        let thread = Thread { conn, journal, stopped: None, health: Arc::clone(&health) };
        std::thread::Builder::new().name("store-writer".into()).spawn(move || thread.run(queue))?;
        let permits = QUEUE_BYTES_MAX / PERMIT_BYTES;
        Ok(Self { jobs, bytes: Arc::new(Semaphore::new(permits)), health })
    }

    /// How it is doing.
    pub(crate) fn health(&self) -> StoreHealth {
        StoreHealth { waiting: QUEUE_JOBS_MAX.saturating_sub(self.jobs.capacity()), ..self.health.read() }
    }

    /// Runs `job` in a transaction and resolves after its commit is on the disk. `bytes` is about what the job holds.
    ///
    /// A caller that stops waiting does not undo the write.
    pub(crate) async fn write<T, F>(&self, kind: Kind, bytes: usize, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let units = u32::try_from(bytes.min(QUEUE_BYTES_MAX) / PERMIT_BYTES).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.bytes).acquire_many_owned(units).await.map_err(|_| StoreError::Closed)?;
        let (tell, told) = oneshot::channel();
        let run: Run = Box::new(move |conn| {
            let outcome = conn.map(job);
            let error = outcome.as_ref().and_then(|o| o.as_ref().err().cloned());
            let tell: Tell = Box::new(move |commit| {
                // Nobody may be waiting any more, and that is fine.
                let _ = tell.send(commit.and_then(|()| outcome.unwrap_or(Err(StoreError::Closed))));
            });
            (error, tell)
        });
        self.jobs.send(Job { kind, run, bytes: permit }).await.map_err(|_| StoreError::Closed)?;
        told.await.map_err(|_| StoreError::Closed)?
    }
}

struct Thread {
    conn: Connection,
    journal: Journal,
    /// Why nothing may be written any more.
    stopped: Option<StoreError>,
    health: Arc<Health>,
}

impl Thread {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut batch = Vec::with_capacity(COMMIT_JOBS_MAX);
        let mut last = None;
        while last.is_none() && queue.blocking_recv_many(&mut batch, COMMIT_JOBS_MAX) > 0 {
            let closes = batch.iter().any(|job| job.kind == Kind::Close);
            let (outcome, tells) = self.serve(&mut batch);
            if closes {
                last = Some((outcome, tells));
            } else {
                tells.into_iter().for_each(|tell| tell(outcome.clone()));
            }
        }
        queue.close();
        if last.is_none() && self.stopped.is_none() {
            // Every handle is gone without a close: the process goes on, so the end is in order all the same.
            let end = self.journal.begin(&self.conn);
            if let Err(error) = end.and_then(|()| close(&self.conn)).and_then(|()| self.finish(&[Kind::Close])) {
                tracing::warn!(error = model::chain(&error), "failed to close the store in order");
            }
        }
        if self.stopped.is_none() {
            self.journal.settle(&self.conn);
        }
        // Who waits for the close may open the same database next, so the connection and the lock go first.
        let Self { conn, journal, .. } = self;
        drop((conn, journal));
        if let Some((outcome, tells)) = last {
            tells.into_iter().for_each(|tell| tell(outcome.clone()));
        }
    }

    /// Commits one batch. Returns what became of it and whom to tell.
    fn serve(&mut self, batch: &mut Vec<Job>) -> (Result<(), StoreError>, Vec<Tell>) {
        let mut held = Vec::with_capacity(batch.len());
        let mut tells = Vec::with_capacity(batch.len());
        let mut outcome = match &self.stopped {
            Some(why) => Err(StoreError::Stopped(why.to_string())),
            None => self.journal.begin(&self.conn),
        };
        let mut kinds = Vec::with_capacity(batch.len());
        for Job { kind, run, bytes } in batch.drain(..) {
            held.push(bytes);
            kinds.push(kind);
            if outcome.is_ok() {
                outcome = savepoint(&mut self.journal, &self.conn, run, &mut tells);
            } else {
                tells.push(run(None).1);
            }
        }
        let outcome = outcome.and_then(|()| self.finish(&kinds));
        if let Err(error) = &outcome {
            self.give_up(error);
        }
        (outcome, tells)
    }

    fn finish(&mut self, kinds: &[Kind]) -> Result<(), StoreError> {
        let began = Instant::now();
        let done = self.journal.commit(&self.conn, kinds);
        self.health.committed(kinds.len(), began.elapsed());
        match done {
            Ok(()) => Ok(()),
            // This commit stands whatever becomes of the mark, but later ones could not be vouched for.
            Err((error, true)) => {
                self.give_up(&error);
                Ok(())
            }
            Err((error, false)) => Err(error),
        }
    }

    /// Undoes what is open, and takes no more writes when the disk is in doubt.
    fn give_up(&mut self, error: &StoreError) {
        if !self.conn.is_autocommit() {
            // Without a transaction there is nothing to undo; the error that led here is the one to report.
            let _ = self.conn.execute_batch("ROLLBACK");
        }
        if let Some(server) = self.conn.postgres() {
            server.set_in_transaction(false);
            server.unnote(0);
        }
        if error.is_grave() && self.stopped.is_none() {
            tracing::error!(error = model::chain(error), "the store takes no more writes");
            self.stopped = Some(error.clone());
            self.health.stopped();
        }
    }
}

/// Runs one write so that its failure undoes nothing but itself.
fn savepoint(journal: &mut Journal, conn: &Connection, run: Run, tells: &mut Vec<Tell>) -> Result<(), StoreError> {
    if let Err(error) = journal.save(conn) {
        tells.push(run(None).1);
        return Err(error);
    }
    let noted = conn.postgres().map(Postgres::noted);
    let (error, tell) = run(Some(conn));
    tells.push(tell);
    if let Some(error) = error {
        // A full disk or an I/O error makes SQLite undo the whole transaction, and what is in doubt must not be committed.
        if conn.is_autocommit() || error.is_grave() {
            return Err(error);
        }
        journal.undo(conn)?;
        if let (Some(server), Some(noted)) = (conn.postgres(), noted) {
            server.unnote(noted);
        }
    }
    journal.keep(conn)
}

/// Notes that the end was in order.
pub(crate) fn close(conn: &Connection) -> Result<(), StoreError> {
    conn.execute("UPDATE meta SET value = '1' WHERE key = 'clean'", []).doing("note the end").map(drop)
}
