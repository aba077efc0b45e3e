//! All sandboxes of one home.

use std::collections::{HashMap, HashSet};
use std::os::unix::net::UnixListener as StdListener;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use model::{SandboxId, TreeId};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::{Boot, Decoder, Door};

use crate::channel::Channel;
use crate::door::{CONNECTIONS_MAX, Guests, Keeper};
use crate::host::Host;
use crate::launcher::{Init, Launched};
use crate::make::{Made, make};
use crate::record::Record;
use crate::sandbox::{End, Running};
use crate::{Config, Request, Sandbox, SandboxError, Summary, Tree, clean};

/// Sandboxes that are built at the same time; further starts wait.
const STARTS_MAX: usize = 8;
/// Descriptors that one idle sandbox has in this process: its channel, its door, its first process, and room for one
/// connection through the door with what its user opens for it.
const DESCRIPTORS_EACH: u64 = 6;
/// Descriptors that are not for sandboxes.
const DESCRIPTORS_KEPT: u64 = 256;

/// Where connections from sandboxes go.
pub trait Doors: Send + Sync {
    /// Takes a connection that `sandbox` opened to `door`, which is never [`Door::Control`]. `read` are the bytes that
    /// came after the door line. Must return at once; the sandbox is who the kernel says it is. `hold` is kept as long
    /// as the connection lives: it counts against the connections that one sandbox may have.
    fn open(&self, sandbox: &SandboxId, door: Door, stream: UnixStream, read: Bytes, hold: Hold);
}

/// One of the connections that a sandbox may have at once; dropping it gives the place back.
#[derive(Debug)]
pub struct Hold(#[expect(dead_code, reason = "held for its drop")] pub(crate) tokio::sync::OwnedSemaphorePermit);

/// A command that a sandbox still has: its stream, its lease, and the number of its last piece.
pub type Kept = (u32, u64, u64);

/// What [`Sandboxes::adopt`] found.
#[derive(Debug, Default)]
pub struct Adopted {
    /// Sandboxes that live on, each with the commands it still has.
    pub sandboxes: Vec<(Sandbox, Vec<Kept>)>,
    /// How many others were removed.
    pub removed: usize,
    /// What could not be removed, for the log.
    pub trouble: Vec<String>,
}

/// All sandboxes of one home. A cheap handle.
#[derive(Debug, Clone)]
pub struct Sandboxes(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) host: Arc<Host>,
    doors: Arc<dyn Doors>,
    /// Held for a few instructions, never across an await.
    places: Mutex<Places>,
    starts: Arc<Semaphore>,
    max: usize,
    tasks: TaskTracker,
    /// Starts that are under way.
    starting: TaskTracker,
    /// This process goes away; sandboxes live on.
    leave: CancellationToken,
}

/// What is taken.
#[derive(Debug, Default)]
struct Places {
    live: HashMap<SandboxId, Sandbox>,
    /// Places of starts that are under way and of live sandboxes.
    taken: HashSet<SandboxId>,
    /// Kept trees in use.
    trees: HashMap<TreeId, TreeUse>,
}

/// Who uses a tree.
#[derive(Debug, Default)]
struct TreeUse {
    /// Sandboxes that have it mounted, or soon will.
    sandboxes: Vec<SandboxId>,
    /// It is made, copied or removed: nobody else may have it meanwhile.
    held: bool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandboxes").field("host", &self.host).field("max", &self.max).finish_non_exhaustive()
    }
}

/// A sandbox on the way to whoever asked for it: one that goes away before it has it, also at the last moment, leaves it to its end.
struct OnTheWay(Option<Sandbox>);

impl Drop for OnTheWay {
    fn drop(&mut self) {
        if let Some(unclaimed) = self.0.take() {
            unclaimed.give_up();
        }
    }
}

impl Sandboxes {
    /// Looks at the host and gets ready. The caller holds the lock of the home.
    ///
    /// # Errors
    /// The home is unsafe, or the guest program is not there.
    pub async fn open(config: Config, doors: Arc<dyn Doors>) -> Result<Sandboxes, SandboxError> {
        let max = config.sandboxes_max.unwrap_or_else(computed_max);
        let host = blocking(move || {
            std::fs::metadata(&config.guest).map_err(SandboxError::io("find the guest program"))?;
            Host::open(&config)
        })
        .await?;
        Ok(Sandboxes(Arc::new(Shared {
            host: Arc::new(host),
            doors,
            places: Mutex::default(),
            starts: Arc::new(Semaphore::new(STARTS_MAX)),
            max,
            tasks: TaskTracker::new(),
            starting: TaskTracker::new(),
            leave: CancellationToken::new(),
        })))
    }

    /// Takes over the live sandboxes that an earlier process of this home left, and removes all else that it left:
    /// processes, control groups, mounts, loop devices, directories, sockets. Touches nothing of other homes. Call it
    /// once, before the first start.
    ///
    /// # Errors
    /// The home cannot be read.
    pub async fn adopt(&self) -> Result<Adopted, SandboxError> {
        crate::adopt::adopt(self).await
    }

    /// Makes and starts a sandbox. When the caller stops waiting the sandbox is removed again.
    ///
    /// # Errors
    /// A required layer is missing, a limit is reached, or the sandbox could not be built; nothing is left then.
    pub async fn start(&self, request: Request) -> Result<Sandbox, SandboxError> {
        let place = self.reserve(&request)?;
        let (done, result) = oneshot::channel();
        let this = self.clone();
        self.0.starting.spawn(async move {
            let started = this.start_in(place, request).await;
            // Whoever asked may have gone away while it was built.
            drop(done.send(started.map(|sandbox| OnTheWay(Some(sandbox)))));
        });
        let started = result.await.map_err(|_| SandboxError::Gone("the host is shutting down".into()))?;
        started.and_then(|mut way| way.0.take().ok_or_else(|| SandboxError::Gone("nobody has it".into())))
    }

    async fn start_in(&self, place: Place, request: Request) -> Result<Sandbox, SandboxError> {
        let _turn = self.0.starts.clone().acquire_owned().await.map_err(|_| SandboxError::Gone("the host is shutting down".into()))?;
        let (host, contested) = (self.0.host.clone(), place.contested.clone());
        let orphan_ms = u64::try_from(request.orphan.as_millis()).unwrap_or(u64::MAX);
        let boot = Boot { relays: request.relays.clone(), exec: None, orphan_ms };
        let (made, launched) = blocking(move || {
            let dir = host.dir(&request.id);
            let mut made = make(&host, request, &dir, true, &contested)?;
            let launched = made.launch(&host, boot, &[])?;
            Ok((made, launched))
        })
        .await?;
        let Made { record, group, listener, .. } = made;
        let Launched { init, channel, rest, early } = launched;
        if !early.is_empty() {
            tracing::warn!(sandbox = %record.id, "the guest spoke before it was spoken to");
        }
        let joined: Result<_, SandboxError> = (|| {
            let channel = channel.set_nonblocking(true).and_then(|()| UnixStream::from_std(channel));
            let channel = channel.map_err(SandboxError::io("use the control channel"))?;
            let listener = listener.ok_or_else(|| SandboxError::Start("no door was made".into()))?;
            let (control, _) = mpsc::channel(1);
            let door = self.open_door(&record, init.process.pid, listener, control)?;
            Ok((channel, door))
        })();
        match joined {
            Ok((channel, door)) => Ok(self.run(place, Parts { record, init, group, channel, rest, taken: 0 }, door)),
            Err(error) => {
                let host = self.0.host.clone();
                let end = move || init.kill_and_wait().and_then(|()| clean::remove(&host, &record.id, &host.dir(&record.id)));
                // The error that is reported is why it had to go. Its place is nobody's until it is gone.
                let _ = blocking(end).await;
                drop(place);
                Err(error)
            }
        }
    }

    /// Every sandbox that runs.
    #[must_use]
    pub fn list(&self) -> Vec<Summary> {
        let mut all: Vec<Summary> = self.0.lock().live.values().map(Sandbox::summary).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// The running sandbox of this identity.
    #[must_use]
    pub fn get(&self, id: &SandboxId) -> Option<Sandbox> {
        self.0.lock().live.get(id).cloned()
    }

    /// The most sandboxes that may be alive at once.
    #[must_use]
    pub fn sandboxes_max(&self) -> usize {
        self.0.max
    }

    /// Stops serving. With `kill` every sandbox is stopped first; without, they live on for the next daemon.
    pub async fn shutdown(&self, kill: bool) {
        self.close(|_| kill).await;
    }

    /// The same, killing all but these.
    pub async fn shutdown_but(&self, kept: &[SandboxId]) {
        self.close(|id| !kept.contains(id)).await;
    }

    async fn close(&self, is_killed: impl Fn(&SandboxId) -> bool) {
        self.0.starts.close();
        self.0.starting.close();
        self.0.starting.wait().await;
        let all: Vec<Sandbox> = self.0.lock().live.values().filter(|s| is_killed(s.id())).cloned().collect();
        for sandbox in &all {
            sandbox.0.stop.cancel();
        }
        for sandbox in all {
            if let Err(error) = sandbox.stop().await {
                tracing::warn!(error = %model::chain(&error), "failed to remove a sandbox");
            }
        }
        self.0.leave.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn reserve(&self, request: &Request) -> Result<Place, SandboxError> {
        let own = match &request.tree {
            Tree::Ephemeral => None,
            Tree::Kept { id } => Some(id),
        };
        Place::new(&self.0, &request.id, own.into_iter().chain(request.trees.iter().map(|(id, _)| id)), true)
    }

    pub(crate) fn reserve_adopted(&self, record: &Record) -> Result<Place, SandboxError> {
        Place::new(&self.0, &record.id, record.tree.iter().chain(&record.reads), false)
    }

    /// Answers the door of a sandbox from now on, until the token is cancelled.
    pub(crate) fn open_door(
        &self,
        record: &Record,
        init: i32,
        listener: StdListener,
        control: mpsc::Sender<(UnixStream, Bytes)>,
    ) -> Result<CancellationToken, SandboxError> {
        let listener = UnixListener::from_std(listener).map_err(SandboxError::io("listen at the door"))?;
        let uid = rustix::process::geteuid().as_raw();
        let keeper = Arc::new(Keeper {
            sandbox: record.id.clone(),
            guests: record.uid.map_or(Guests::Descendants { uid, init }, Guests::User),
            doors: self.0.doors.clone(),
            control,
            init,
            refused: AtomicU64::new(0),
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        });
        let cancel = self.0.leave.child_token();
        self.0.tasks.spawn(keeper.serve(listener, self.0.tasks.clone(), cancel.clone()));
        Ok(cancel)
    }

    /// Owns a task that ends by itself, at the latest when this process leaves its sandboxes.
    pub(crate) fn own_task(&self, task: impl Future<Output = ()> + Send + 'static) {
        let leave = self.0.leave.clone();
        self.0.tasks.spawn(async move {
            tokio::select! {
                () = leave.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Owns a sandbox that stands until its end.
    pub(crate) fn run(&self, place: Place, parts: Parts, door: CancellationToken) -> Sandbox {
        let (ended, end) = watch::channel(None);
        let cancel = self.0.leave.child_token();
        let channel = Channel::open(parts.channel, parts.rest, parts.taken, &self.0.tasks, cancel.clone());
        let stop = CancellationToken::new();
        let running = Running {
            host: self.0.host.clone(),
            record: parts.record,
            claimed: std::sync::OnceLock::new(),
            channel,
            init: parts.init,
            group: parts.group,
            stop,
            end,
        };
        let sandbox = Sandbox(Arc::new(running));
        self.0.lock().live.insert(sandbox.id().clone(), sandbox.clone());
        let (shared, owned) = (self.0.clone(), sandbox.clone());
        self.0.tasks.spawn(async move { shared.own(owned, place, door, cancel, ended).await });
        sandbox
    }
}

/// A sandbox that stands and has no owner yet.
pub(crate) struct Parts {
    pub(crate) record: Record,
    pub(crate) init: Init,
    pub(crate) group: Option<jail::cgroup::Group>,
    pub(crate) channel: UnixStream,
    pub(crate) rest: Decoder,
    /// The highest stream that is in use in the guest.
    pub(crate) taken: u32,
}

impl Shared {
    async fn own(
        self: Arc<Self>,
        sandbox: Sandbox,
        place: Place,
        door: CancellationToken,
        channel: CancellationToken,
        ended: watch::Sender<Option<End>>,
    ) {
        let why = tokio::select! {
            biased;
            () = self.leave.cancelled() => return place.leave(),
            () = sandbox.0.stop.cancelled() => "it was stopped".to_owned(),
            why = sandbox.0.channel.closed() => why,
        };
        door.cancel();
        channel.cancel();
        let (host, running) = (self.host.clone(), sandbox.0.clone());
        let (memory, removed) = tokio::task::spawn_blocking(move || {
            let killed = running.init.kill_and_wait();
            let memory = !running.stop.is_cancelled() && running.group.as_ref().is_some_and(|g| g.stats().oom_kills > 0);
            let removed = killed.and_then(|()| clean::remove(&host, &running.record.id, &host.dir(&running.record.id)));
            (memory, removed)
        })
        .await
        .unwrap_or_else(|e| (false, Err(SandboxError::Gone(e.to_string()))));
        let left = removed.err().map(|e| model::chain(&e));
        if let Some(left) = &left {
            tracing::warn!(sandbox = %sandbox.id(), left, "failed to remove all of a sandbox");
        }
        self.lock().live.remove(sandbox.id());
        drop(place);
        ended.send_replace(Some(End { why, memory, left }));
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place for one sandbox, given back when dropped.
pub(crate) struct Place {
    shared: Arc<Shared>,
    id: Option<SandboxId>,
    trees: Vec<TreeId>,
    /// Those of the trees that other sandboxes had already.
    contested: Vec<TreeId>,
}

impl Place {
    fn new<'a>(shared: &Arc<Shared>, id: &SandboxId, trees: impl Iterator<Item = &'a TreeId>, counted: bool) -> Result<Self, SandboxError> {
        let mut places = shared.lock();
        if counted && places.taken.len() >= shared.max {
            return Err(SandboxError::Busy { what: "sandboxes", max: shared.max });
        }
        if places.taken.contains(id) {
            return Err(SandboxError::Start(format!("there is a sandbox {id} already")));
        }
        let (mut mine, mut contested) = (Vec::new(), Vec::new());
        for tree in trees {
            if mine.contains(tree) {
                continue;
            }
            match places.trees.get(tree) {
                Some(used) if used.held => return Err(held(tree)),
                Some(_) => contested.push(tree.clone()),
                None => {}
            }
            mine.push(tree.clone());
        }
        for tree in &mine {
            places.trees.entry(tree.clone()).or_default().sandboxes.push(id.clone());
        }
        places.taken.insert(id.clone());
        drop(places);
        Ok(Self { shared: shared.clone(), id: Some(id.clone()), trees: mine, contested })
    }

    /// Only trees, so that no sandbox is started on them. Refused when one has them.
    pub(crate) fn hold(shared: &Arc<Shared>, trees: &[TreeId]) -> Result<Self, SandboxError> {
        let mut places = shared.lock();
        for tree in trees {
            match places.trees.get(tree) {
                Some(used) if used.held => return Err(held(tree)),
                Some(used) => {
                    let why = format!("{} sandboxes have it, {} among them", used.sandboxes.len(), used.sandboxes[0]);
                    return Err(SandboxError::TreeInUse { tree: tree.clone(), why });
                }
                None => {}
            }
        }
        for tree in trees {
            places.trees.entry(tree.clone()).or_default().held = true;
        }
        drop(places);
        Ok(Self { shared: shared.clone(), id: None, trees: trees.to_vec(), contested: Vec::new() })
    }

    /// The sandbox lives on without this process.
    fn leave(self) {}
}

fn held(tree: &TreeId) -> SandboxError {
    SandboxError::TreeInUse { tree: tree.clone(), why: "it is being made, copied or removed".into() }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.shared.lock();
        for tree in &self.trees {
            if let (Some(id), Some(used)) = (&self.id, places.trees.get_mut(tree)) {
                used.sandboxes.retain(|other| other != id);
                if !used.sandboxes.is_empty() {
                    continue;
                }
            }
            places.trees.remove(tree);
        }
        if let Some(id) = &self.id {
            places.taken.remove(id);
        }
    }
}

impl Shared {
    /// The sandboxes that have a tree.
    pub(crate) fn users(&self, tree: &TreeId) -> Vec<SandboxId> {
        self.lock().trees.get(tree).map(|used| used.sandboxes.clone()).unwrap_or_default()
    }
}

/// Runs work that blocks.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SandboxError> + Send + 'static,
) -> Result<T, SandboxError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(SandboxError::Start(format!("a step of the host broke: {e}"))))
}

/// As many sandboxes as there are descriptors for.
fn computed_max() -> usize {
    let open = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1 << 20);
    usize::try_from(open.saturating_sub(DESCRIPTORS_KEPT) / DESCRIPTORS_EACH).unwrap_or(usize::MAX).max(1)
}
