//! File trees: looked at from inside a sandbox of their own, and removed when nothing names them any more.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{Code, Failure, SandboxId, TreeId};
use sandbox::{Sandbox, SandboxError, Tree};
use tokio::time::Instant;

use crate::App;
use crate::live::lock;

/// Trees that are looked at at once; one more waits for none and is told `BUSY`.
const LOOKERS_MAX: usize = 16;
/// How long a sandbox for looking stays when nobody looks.
const LOOK_IDLE: Duration = Duration::from_secs(3);
/// How long those who look just now may take to come to their end when the tree is wanted.
const LOOK_GRACE: Duration = Duration::from_secs(2);
/// What the label of a sandbox for looking begins with.
pub(crate) const LOOK_LABEL: &str = "look:";

/// Sandboxes that look at trees, and trees that are being made.
#[derive(Default)]
pub(crate) struct Trees {
    /// Held for a few instructions, never across an await.
    lookers: Mutex<HashMap<TreeId, Arc<Looker>>>,
    /// Trees that no row names yet.
    growing: Mutex<HashSet<TreeId>>,
}

/// The place of one sandbox that looks at a tree.
struct Looker {
    /// Held over its start, so that two never start.
    sandbox: tokio::sync::Mutex<Option<Sandbox>>,
    /// How many look, and since when nobody does.
    users: Mutex<(usize, Instant)>,
    /// The number of those who look has changed.
    changed: tokio::sync::Notify,
}

impl Looker {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            sandbox: tokio::sync::Mutex::default(),
            users: Mutex::new((0, Instant::now())),
            changed: tokio::sync::Notify::new(),
        })
    }

    fn enter(self: &Arc<Self>) -> Guard {
        lock(&self.users).0 += 1;
        Guard(Arc::clone(self))
    }

    /// Since when nobody looks; `None` while somebody does.
    fn unused_since(&self) -> Option<Instant> {
        let users = lock(&self.users);
        (users.0 == 0).then_some(users.1)
    }

    async fn stop(&self) {
        if let Some(sandbox) = self.sandbox.lock().await.take()
            && let Err(error) = sandbox.stop().await
        {
            tracing::warn!(error = model::chain(&error), "a sandbox for looking was not removed whole");
        }
    }
}

/// Somebody looks.
struct Guard(Arc<Looker>);

impl Drop for Guard {
    fn drop(&mut self) {
        let mut users = lock(&self.0.users);
        *users = (users.0 - 1, Instant::now());
        drop(users);
        self.0.changed.notify_waiters();
    }
}

/// A sandbox in which a tree is seen; it stays as long as the answer lives.
pub(crate) struct Look {
    pub(crate) sandbox: Sandbox,
    _guard: Option<Guard>,
}

impl Look {
    /// In a sandbox that the caller made, and ends.
    pub(crate) fn own(sandbox: Sandbox) -> Self {
        Self { sandbox, _guard: None }
    }
}

/// A tree that is being made: the sweep leaves it alone as long as this lives. Once a row names it, this can go.
pub(crate) struct Growing {
    id: TreeId,
    app: App,
}

impl Growing {
    pub(crate) fn id(&self) -> &TreeId {
        &self.id
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        lock(&self.app.trees().growing).remove(&self.id);
    }
}

impl App {
    /// The name of a tree that is to be made, safe from the sweep.
    pub(crate) fn grow_tree(&self) -> Growing {
        let id = TreeId::from_bits(crate::clock::fresh_bits());
        lock(&self.trees().growing).insert(id.clone());
        Growing { id, app: self.clone() }
    }

    /// A sandbox that has this tree at /home and /workspace, without doors and without anything else: one of its own, or,
    /// where a tree can be in one sandbox only, that of the session which works in it.
    pub(crate) async fn look(&self, tree: &TreeId) -> Result<Look, Failure> {
        let (looker, guard) = self.enter(tree).await?;
        let mut held = looker.sandbox.lock().await;
        if let Some(sandbox) = held.as_ref().filter(|s| s.summary().alive) {
            return Ok(Look { sandbox: sandbox.clone(), _guard: Some(guard) });
        }
        match self.sandboxes().start(look_request(tree)).await {
            Ok(sandbox) => {
                *held = Some(sandbox.clone());
                Ok(Look { sandbox, _guard: Some(guard) })
            }
            Err(SandboxError::TreeInUse { .. }) => {
                let users = self.sandboxes().tree_users(tree);
                let found = users.iter().find_map(|id| self.sandboxes().get(id));
                let sandbox = found.ok_or_else(|| Failure::new(Code::Busy, "the files are in use just now").hint("try again"))?;
                Ok(Look { sandbox, _guard: None })
            }
            Err(error) => Err(error.failure()),
        }
    }

    /// The place of the tree's looker; an unused one goes when there are too many.
    async fn enter(&self, tree: &TreeId) -> Result<(Arc<Looker>, Guard), Failure> {
        let (found, gone) = {
            let mut all = lock(&self.trees().lookers);
            if let Some(looker) = all.get(tree) {
                return Ok((Arc::clone(looker), looker.enter()));
            }
            let mut gone = None;
            if all.len() >= LOOKERS_MAX {
                let oldest = all.iter().filter_map(|(id, l)| l.unused_since().map(|since| (since, id.clone()))).min();
                let (_, id) =
                    oldest.ok_or_else(|| Failure::new(Code::Busy, format!("the files of {LOOKERS_MAX} trees are looked at just now")))?;
                gone = all.remove(&id);
            }
            let looker = Looker::new();
            all.insert(tree.clone(), Arc::clone(&looker));
            let guard = looker.enter();
            ((looker, guard), gone)
        };
        if let Some(gone) = gone {
            gone.stop().await;
        }
        let (app, tree, looker) = (self.clone(), tree.clone(), Arc::clone(&found.0));
        self.spawn(async move { app.close_when_unused(&tree, &looker).await });
        Ok(found)
    }

    async fn close_when_unused(&self, tree: &TreeId, looker: &Arc<Looker>) {
        loop {
            let until = looker.unused_since().unwrap_or_else(Instant::now) + LOOK_IDLE;
            tokio::select! {
                () = self.cancel().cancelled() => return,
                () = tokio::time::sleep_until(until) => {}
            }
            let mut all = lock(&self.trees().lookers);
            if !all.get(tree).is_some_and(|at| Arc::ptr_eq(at, looker)) {
                // Somebody else has taken it out, and stops it.
                return;
            }
            if looker.unused_since().is_some_and(|since| since + LOOK_IDLE <= Instant::now()) {
                all.remove(tree);
                break;
            }
        }
        looker.stop().await;
    }

    /// Ends looking at a tree, for whoever needs it alone: what goes on just now may come to its end for a moment.
    pub(crate) async fn close_look(&self, tree: &TreeId) {
        let Some(looker) = lock(&self.trees().lookers).remove(tree) else { return };
        let end = Instant::now() + LOOK_GRACE;
        loop {
            let changed = looker.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if looker.unused_since().is_some() || tokio::time::timeout_at(end, changed).await.is_err() {
                break;
            }
        }
        looker.stop().await;
    }

    /// Removes trees that no row names: what a kill left between the making of a tree and the row that names it, or
    /// between the end of that row and the removal of its tree.
    pub(crate) async fn sweep_trees(&self) -> Result<usize, Failure> {
        // In this order: a tree that was there first, is not being made and has no row then, will never have one.
        let there = self.sandboxes().list_trees().await.map_err(|e| e.failure())?;
        let mut growing = lock(&self.trees().growing).clone();
        growing.extend(self.plugin_trees().await?);
        growing.extend(self.channel_trees().await?);
        growing.extend(self.base_trees());
        let named = self.store().tree_refs().await.map_err(|e| e.failure())?;
        let is_garbage = |t: &TreeId| !growing.contains(t) && !named.contains(t) && self.sandboxes().tree_users(t).is_empty();
        let garbage: Vec<TreeId> = there.into_iter().filter(is_garbage).collect();
        for tree in &garbage {
            self.drop_tree(tree).await;
        }
        Ok(garbage.len())
    }

    /// Removes a tree that no row names any more. If that fails the next sweep tries again.
    pub(crate) async fn drop_tree(&self, tree: &TreeId) {
        self.close_look(tree).await;
        if let Err(error) = self.sandboxes().remove_trees(std::slice::from_ref(tree)).await {
            tracing::warn!(%tree, error = model::chain(&error), "a tree was not removed");
        }
    }
}

/// A sandbox for looking at this tree: the default limits, no door, nothing mounted.
fn look_request(tree: &TreeId) -> sandbox::Request {
    let id = SandboxId::from_bits(crate::clock::fresh_bits());
    let mut request = sandbox::Request::new(id, format!("{LOOK_LABEL}{tree}"));
    request.tree = Tree::Kept { id: tree.clone() };
    request.orphan = Duration::ZERO;
    request
}
