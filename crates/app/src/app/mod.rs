//! The application: one handle over all parts.

mod parts;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use broker::Broker;
use gateway::egress::Egress;
use gateway::{REHEARSAL, WELL_KNOWN};
use model::{Code, Failure};
use sandbox::Sandboxes;
use store::{Secrets, Store};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::adopt::AdoptedCommand;
use crate::approvals::Approvals;
use crate::audit::AuditBook;
use crate::choose::Provider;
use crate::doors::DoorKeeper;
use crate::installs::{EngineInstalls, EnginesOf};
use crate::ledger::Callers;
use crate::live::lock;
use crate::places::Places;
use crate::registry::Registry;
use crate::secrets::SecretBook;
use crate::sessions::SessionsOf;
use crate::settings::Settings;
use crate::{AgentsOf, Caller, EnvsOf, TokensOf};

/// Reads the settings again.
pub type Reload = Box<dyn Fn() -> Result<Settings, Failure> + Send + Sync>;
/// Changes these keys of the configuration, all of them or none. One without a value goes, with all that is below it.
pub type Configure = Box<dyn Fn(&[(String, Option<String>)]) -> Result<(), Failure> + Send + Sync>;

/// All use cases. A cheap handle.
#[derive(Clone)]
pub struct App {
    parts: Arc<Parts>,
}

/// An [`App`] for who is part of it.
pub(crate) struct WeakApp(Weak<Parts>);

impl WeakApp {
    /// The application, while it is there.
    pub(crate) fn upgrade(&self) -> Option<App> {
        self.0.upgrade().map(|parts| App { parts })
    }
}

struct Parts {
    home: PathBuf,
    program: PathBuf,
    store: Store,
    secrets: SecretBook,
    sandboxes: Sandboxes,
    doors: Arc<DoorKeeper>,
    broker: Broker,
    approvals: Arc<Approvals>,
    audit: Arc<AuditBook>,
    callers: Arc<Callers>,
    sessions: Registry,
    pool: crate::pool::Pool,
    places: Places,
    branches: crate::branches::BranchDesk,
    yard: crate::git::Yard,
    book: crate::plugins::Book,
    shelf: crate::skills::Shelf,
    installs: EngineInstalls,
    egress: crate::egress::EgressBook,
    trees: crate::trees::Trees,
    collisions: crate::collisions::Collisions,
    tools: tokio::sync::Mutex<()>,
    plugin_locks: crate::plugins::PluginLocks,
    logins: crate::auth::Logins,
    settings: RwLock<Arc<Settings>>,
    reload: Reload,
    configure: Configure,
    /// Held while the configuration is changed.
    configuring: std::sync::Mutex<()>,
    tasks: TaskTracker,
    cancel: CancellationToken,
    jobs: crate::jobs::JobDesk,
    /// Counts changes of what tokens may do, for streams that are open.
    rights: watch::Sender<u64>,
    pendings: crate::oidc::Pendings,
    /// Counts budgets that were raised, for calls that wait for one.
    raised: watch::Sender<u64>,
    /// Since when clients can come.
    opened: watch::Sender<Option<tokio::time::Instant>>,
    busy: AtomicUsize,
    idle_since: Mutex<Instant>,
    desk: crate::webhooks::Desk,
    board: crate::channels::Board,
    timer: crate::tasks::Timer,
    terminals: crate::terminals::Terminals,
    adopted: Mutex<Vec<AdoptedCommand>>,
    stop: Mutex<Option<Duration>>,
    stop_asked: Notify,
    started: Instant,
}

/// What [`App::open`] needs.
pub struct Opening {
    /// The home.
    pub home: PathBuf,
    /// This program, for what it does inside sandboxes.
    pub program: PathBuf,
    /// The store.
    pub store: Store,
    /// The secrets.
    pub secrets: Arc<Secrets>,
    /// What sandboxes are made with.
    pub sandbox: sandbox::Config,
    /// Reads the settings.
    pub reload: Reload,
    /// Changes the settings.
    pub configure: Configure,
    /// The plugins that are part of the program.
    pub shipped: Vec<crate::ShippedPlugin>,
}

impl App {
    /// Opens everything and takes up what an earlier daemon left. The caller holds the home's lock.
    ///
    /// # Errors
    /// What stops the daemon's start.
    pub async fn open(opening: Opening) -> Result<Self, Failure> {
        let settings = Arc::new((opening.reload)()?);
        let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
        let audit = Arc::new(AuditBook::new(opening.store.clone()));
        let callers = Arc::new(Callers::new(Arc::clone(&audit)));
        let touched = Arc::default();
        let egress = crate::egress::EgressBook::open(Arc::clone(&opening.secrets), &settings).await?;
        let secrets = SecretBook::open(opening.secrets, Arc::clone(&touched)).await?;
        let shelf = crate::skills::Shelf::open(&opening.store).await?;
        let gateway = crate::ledger::open_gateway(&settings, &secrets, &opening.store, &callers)?;
        let approvals = Arc::new(Approvals::new(opening.store.clone()));
        let broker = Broker::new(Arc::clone(&approvals) as Arc<dyn broker::Confirm>, Arc::clone(&audit) as Arc<dyn broker::Audit>);
        broker.set_rate(settings.calls.usual, settings.calls.groups.clone());
        broker.set_diagnostics(Arc::new(crate::diagnostics::OwnCalls::new(opening.store.clone())));
        let doors = Arc::new(DoorKeeper::new(gateway, broker.clone(), Egress::default(), tasks.clone()));
        let sandboxes = Sandboxes::open(opening.sandbox, Arc::clone(&doors) as Arc<dyn sandbox::Doors>).await.map_err(|e| e.failure())?;
        let app = Self {
            parts: Arc::new(Parts {
                sessions: Registry::default(),
                pool: crate::pool::Pool::default(),
                places: Places::default(),
                branches: crate::branches::BranchDesk::default(),
                yard: crate::git::Yard::default(),
                book: crate::plugins::Book::new(opening.shipped, touched),
                shelf,
                installs: EngineInstalls::new(opening.home.join("engines")),
                egress,
                trees: crate::trees::Trees::default(),
                collisions: crate::collisions::Collisions::default(),
                tools: tokio::sync::Mutex::default(),
                plugin_locks: crate::plugins::PluginLocks::default(),
                logins: crate::auth::Logins::default(),
                jobs: crate::jobs::JobDesk::open(&opening.home)?,
                home: opening.home,
                program: opening.program,
                store: opening.store,
                secrets,
                sandboxes,
                doors,
                broker,
                approvals,
                audit,
                callers,
                settings: RwLock::new(settings),
                reload: opening.reload,
                configure: opening.configure,
                configuring: std::sync::Mutex::default(),
                tasks,
                cancel,
                rights: watch::Sender::new(0),
                raised: watch::Sender::new(0),
                pendings: crate::oidc::Pendings::default(),
                opened: watch::Sender::new(None),
                busy: AtomicUsize::new(0),
                idle_since: Mutex::new(Instant::now()),
                desk: crate::webhooks::Desk::default(),
                board: crate::channels::Board::default(),
                timer: crate::tasks::Timer::default(),
                terminals: crate::terminals::Terminals::default(),
                adopted: Mutex::default(),
                stop: Mutex::new(None),
                stop_asked: Notify::new(),
                started: Instant::now(),
            }),
        };
        app.approvals().bind(WeakApp(Arc::downgrade(&app.parts)));
        app.secrets().watched_by(app.broker());
        app.renew_inspection().await;
        app.hear_others();
        app.take_up().await?;
        app.sweep_half_made_skills();
        app.open_plugins();
        app.open_jobs().await?;
        app.keep_tokens_fresh();
        app.forget_old_memories();
        app.send_webhooks();
        app.open_channels().await?;
        app.show_cards().await?;
        app.send_traces();
        app.keep_time();
        app.keep_orders();
        app.keep_branches_home();
        app.until_the_end(|app| async move { app.keep_turns_at_work().await });
        Ok(app)
    }

    /// The sessions, as the owner sees them.
    #[must_use]
    pub fn sessions(&self) -> SessionsOf<'_> {
        self.sessions_of(&Caller::OWNER)
    }

    /// The sessions that this caller sees.
    #[must_use]
    pub fn sessions_of(&self, caller: &Caller) -> SessionsOf<'_> {
        SessionsOf { app: self, caller: caller.clone() }
    }

    /// The envs that this caller sees.
    #[must_use]
    pub fn envs_of(&self, caller: &Caller) -> EnvsOf<'_> {
        EnvsOf { app: self, caller: caller.clone() }
    }

    /// The agents.
    #[must_use]
    pub fn agents(&self) -> AgentsOf<'_> {
        AgentsOf { app: self }
    }

    /// The tokens of the HTTP API, as the owner sees them.
    #[must_use]
    pub fn tokens(&self) -> TokensOf<'_> {
        self.tokens_of(&Caller::OWNER)
    }

    /// The tokens that this caller sees.
    #[must_use]
    pub fn tokens_of(&self, caller: &Caller) -> TokensOf<'_> {
        TokensOf { app: self, caller: caller.clone() }
    }

    /// The secrets.
    #[must_use]
    pub fn secrets(&self) -> &SecretBook {
        &self.parts.secrets
    }

    /// The agent programs.
    #[must_use]
    pub fn engines(&self) -> EnginesOf<'_> {
        EnginesOf { app: self }
    }

    /// What is being spent: rows by `job`, `agent`, `profile`, `model`, `tenant`, `session`, `provider`
    /// or `day`.
    ///
    /// # Errors
    /// `by` is none of these, or the store cannot be read.
    pub async fn usage(&self, by: &str, from: u64, to: u64) -> Result<Vec<store::UsageRow>, Failure> {
        self.usage_of(&Caller::OWNER, by, from, to).await
    }

    /// The same, of what this caller sees.
    ///
    /// # Errors
    /// As [`App::usage`].
    pub async fn usage_of(&self, caller: &Caller, by: &str, from: u64, to: u64) -> Result<Vec<store::UsageRow>, Failure> {
        let by = match by {
            "job" => store::By::Job,
            "agent" => store::By::Agent,
            "profile" => store::By::Profile,
            "tenant" => store::By::Tenant,
            "session" => store::By::Session,
            "model" => store::By::Model,
            "provider" => store::By::Provider,
            "day" => store::By::Day,
            _ => {
                return Err(Failure::new(Code::Usage, "usage is summed by job, agent, profile, model, tenant, session, provider or day")
                    .field("by"));
            }
        };
        let (from, to) = (model::Timestamp(from), model::Timestamp(to));
        self.store().usage_of(caller.tenant.clone(), by, from, to).await.map_err(|e| e.failure())
    }

    /// Whether everything that a request needs answers.
    ///
    /// # Errors
    /// What does not.
    pub async fn ready(&self) -> Result<(), Failure> {
        self.store().list_sessions(&store::SessionFilter::default(), None, 1).await.map(drop).map_err(|e| e.failure())
    }

    /// How long the daemon is there.
    pub(crate) fn uptime(&self) -> Duration {
        self.parts.started.elapsed()
    }

    /// Says that clients can come from now on: work that waits for one is given up if none does.
    pub fn opened(&self) {
        self.parts.opened.send_replace(Some(tokio::time::Instant::now()));
    }

    /// Changes keys of the configuration, and holds to them from now on.
    ///
    /// # Errors
    /// The result would be wrong; the old settings stay in force.
    pub(crate) fn configure(&self, keys: &[(String, Option<String>)]) -> Result<(), Failure> {
        let _one_at_a_time = self.parts.configuring.lock().unwrap_or_else(PoisonError::into_inner);
        (self.parts.configure)(keys)?;
        self.reload()
    }

    /// Reads the settings again; what runs keeps what it began with.
    ///
    /// # Errors
    /// The settings are wrong; the old ones stay in force.
    pub fn reload(&self) -> Result<(), Failure> {
        let settings = Arc::new((self.parts.reload)()?);
        let gateway = crate::ledger::open_gateway(&settings, &self.parts.secrets, self.store(), &self.parts.callers)?;
        self.doors().replace_gateway(gateway);
        self.parts.egress.set_ceiling(&settings.egress_max);
        self.broker().set_rate(settings.calls.usual, settings.calls.groups.clone());
        *self.parts.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
        self.set_traces();
        self.pool().changed();
        let app = self.clone();
        self.spawn(async move {
            app.doors().end_idle().await;
            app.renew_inspection().await;
            if let Err(failure) = app.reconcile().await {
                tracing::warn!(%failure, "what is there and what is stored were not brought together");
            }
            if let Err(failure) = app.load_plugins(None, crate::plugins::How::Changed).await {
                tracing::warn!(%failure, "the plugins were not looked at again");
            }
        });
        Ok(())
    }

    /// Counts a request as work until the answer is dropped.
    #[must_use]
    pub fn busy(&self) -> Busy {
        self.parts.busy.fetch_add(1, Ordering::SeqCst);
        Busy(self.clone())
    }

    /// How long nothing has been asked and nothing worked.
    #[must_use]
    pub fn idle(&self) -> Duration {
        let works = self.parts.busy.load(Ordering::SeqCst) > 0
            || self.board().is_listening()
            || !self.live_sessions().is_empty()
            || self.sandboxes_at_work() > 0;
        let mut since = lock(&self.parts.idle_since);
        if works {
            *since = Instant::now();
        }
        since.elapsed()
    }

    /// Sandboxes that somebody works in: a plugin's process that nobody calls is no work, nor is what was made ahead.
    pub(crate) fn sandboxes_at_work(&self) -> usize {
        let is_idle = |label: &str| [crate::plugins::PLUGIN_LABEL, crate::pool::POOL_LABEL].iter().any(|idle| label.starts_with(idle));
        self.sandboxes().list().iter().filter(|sandbox| !is_idle(&sandbox.label)).count()
    }

    /// Runs a task that ends with the daemon.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.parts.tasks.spawn(task);
    }

    /// Does this to its end, also when whoever asked for it hangs up in the middle: what follows a commit is not to be left out.
    pub(crate) async fn see_through<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let (tell, told) = tokio::sync::oneshot::channel();
        self.spawn(async move { drop(tell.send(work.await)) });
        told.await.unwrap_or_else(|_| Err(Failure::new(model::Code::Internal, "the daemon ends")))
    }

    /// Asks the daemon to end, with so much time for what runs.
    pub fn ask_to_stop(&self, grace: Duration) {
        *lock(&self.parts.stop) = Some(grace);
        self.parts.stop_asked.notify_one();
    }

    /// Waits until somebody asks the daemon to end.
    pub async fn stop_asked(&self) -> Duration {
        self.parts.stop_asked.notified().await;
        lock(&self.parts.stop).unwrap_or_default()
    }

    /// Ends: lets work that runs finish for up to `grace`, cancels the rest, removes every sandbox but those whose turn waits for
    /// a person, closes the store.
    pub async fn shutdown(&self, grace: Duration) {
        let deadline = tokio::time::Instant::now() + grace;
        self.desk_of_jobs().close();
        self.drain(deadline).await;
        let waiting = self.waiting_sandboxes().await;
        self.parts.cancel.cancel();
        // What a confirmed call was for may be done by now; its outcome must be kept while plugins can still answer.
        let _ = tokio::time::timeout_at(deadline, self.broker().finish_calls()).await;
        self.sandboxes().shutdown_but(&waiting).await;
        if tokio::time::timeout(TASKS_END, self.broker().finish_calls()).await.is_err() {
            tracing::warn!("some calls did not end in time; their outcome is unknown");
        }
        self.parts.tasks.close();
        if tokio::time::timeout(TASKS_END, self.parts.tasks.wait()).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
        self.doors().end_gateways().await;
        self.audit_book().shutdown().await;
        if let Err(error) = self.store().close().await {
            tracing::error!(error = model::chain(&error), "the store was not closed well");
        }
    }

    /// The providers of the configuration and whether each can be used.
    pub(crate) fn providers(&self) -> BTreeMap<String, Provider> {
        let settings = self.settings();
        let mut providers = BTreeMap::new();
        for known in WELL_KNOWN {
            providers.insert(known.name.to_owned(), (known.kind, false));
        }
        for (name, config) in &settings.gateway.providers {
            let usual = providers.get(name).map_or(gateway::Kind::OpenAi, |(kind, _)| *kind);
            providers.insert(name.clone(), (config.kind.unwrap_or(usual), config.keyless));
        }
        let has_key = |name: &str| gateway::Keys::key(self.secrets(), name).is_some();
        let provider = |(name, (kind, keyless)): (String, (gateway::Kind, bool))| {
            let is_usable = keyless || has_key(&name);
            (name, Provider { kind, is_usable })
        };
        providers.into_iter().filter(|(name, _)| name != REHEARSAL).map(provider).collect()
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.parts.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn store(&self) -> &Store {
        &self.parts.store
    }

    pub(crate) fn sandboxes(&self) -> &Sandboxes {
        &self.parts.sandboxes
    }

    pub(crate) fn doors(&self) -> &DoorKeeper {
        &self.parts.doors
    }

    /// The door to tools.
    pub(crate) fn broker(&self) -> &Broker {
        &self.parts.broker
    }

    /// Who asks people.
    pub(crate) fn approvals(&self) -> &Approvals {
        &self.parts.approvals
    }

    /// The same, for who outlives this call.
    pub(crate) fn audit_handle(&self) -> Arc<AuditBook> {
        Arc::clone(&self.parts.audit)
    }

    /// Who keeps what was decided.
    pub(crate) fn audit_book(&self) -> &AuditBook {
        &self.parts.audit
    }

    pub(crate) fn callers(&self) -> &Arc<Callers> {
        &self.parts.callers
    }

    pub(crate) fn open_logins(&self) -> &crate::auth::Logins {
        &self.parts.logins
    }

    pub(crate) fn book(&self) -> &crate::plugins::Book {
        &self.parts.book
    }

    /// The skills that are in force.
    pub(crate) fn shelf(&self) -> &crate::skills::Shelf {
        &self.parts.shelf
    }

    /// Owns every task of the daemon.
    pub(crate) fn tracker(&self) -> &TaskTracker {
        &self.parts.tasks
    }

    pub(crate) fn installs(&self) -> &EngineInstalls {
        &self.parts.installs
    }

    /// Held while the tools volume is changed.
    pub(crate) fn tools_lock(&self) -> &tokio::sync::Mutex<()> {
        &self.parts.tools
    }

    /// Held while plugins change.
    pub(crate) fn plugin_locks(&self) -> &crate::plugins::PluginLocks {
        &self.parts.plugin_locks
    }

    pub(crate) fn egress_book(&self) -> &crate::egress::EgressBook {
        &self.parts.egress
    }

    pub(crate) fn collisions(&self) -> &crate::collisions::Collisions {
        &self.parts.collisions
    }

    pub(crate) fn trees(&self) -> &crate::trees::Trees {
        &self.parts.trees
    }

    /// What is kept of git between calls.
    pub(crate) fn yard(&self) -> &crate::git::Yard {
        &self.parts.yard
    }

    pub(crate) fn branch_desk(&self) -> &crate::branches::BranchDesk {
        &self.parts.branches
    }

    pub(crate) fn places(&self) -> &Places {
        &self.parts.places
    }

    /// Sandboxes that are made ahead.
    pub(crate) fn pool(&self) -> &crate::pool::Pool {
        &self.parts.pool
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.parts.sessions
    }

    pub(crate) fn home(&self) -> &std::path::Path {
        &self.parts.home
    }

    /// This program, for what it does inside sandboxes.
    pub(crate) fn program(&self) -> &std::path::Path {
        &self.parts.program
    }

    pub(crate) fn adopted(&self) -> &Mutex<Vec<AdoptedCommand>> {
        &self.parts.adopted
    }

    pub(crate) fn cancel(&self) -> &CancellationToken {
        &self.parts.cancel
    }
}

/// How long tasks may take to end once they are told to.
const TASKS_END: Duration = Duration::from_secs(5);

/// Somebody asks something.
pub struct Busy(App);

impl Drop for Busy {
    fn drop(&mut self) {
        *lock(&self.0.parts.idle_since) = Instant::now();
        self.0.parts.busy.fetch_sub(1, Ordering::SeqCst);
    }
}
