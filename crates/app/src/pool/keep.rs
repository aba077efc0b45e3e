//! Who keeps the members: makes what is missing and ends what is old or not what would be made now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{Failure, SandboxId};
use sandbox::{HostFile, Tree};
use tokio::time::Instant;

use super::members::Shelf;
use super::{Kept, Member, POOL_LABEL, Pattern};
use crate::App;
use crate::live::lock;
use crate::sandboxes::{ORPHAN, relays};

/// Members that are made at the same time: they are not to slow down the work.
const BOOTING_MAX: usize = 2;
/// How long nothing is tried after a member could not be made.
const REST: Duration = Duration::from_secs(5);
/// How long whoever waits for the next look may wait at most, whatever the configuration says.
const LOOK_MAX: Duration = Duration::from_secs(3600);

impl App {
    /// Keeps sandboxes ready from now on, until the daemon ends. A daemon that a command started for itself has none.
    pub fn keep_pool(&self) {
        self.until_the_end(|app| async move { app.keep_members().await });
    }

    async fn keep_members(&self) {
        self.pool().is_changed.store(true, Ordering::SeqCst);
        let mut looked = Instant::now();
        loop {
            let settings = self.settings().pool;
            if self.pool().is_changed.swap(false, Ordering::SeqCst) || looked.elapsed() >= settings.check {
                looked = Instant::now();
                self.look_at_shapes().await;
            }
            // Gone before others are made, here or on another daemon.
            let gone = self.stale(settings.idle).into_iter().map(|member| self.discard(member));
            futures_util::future::join_all(gone).await;
            self.refill();
            let kept = self.pool().is_wanted();
            let next = self.next_change(settings.idle).min(looked + settings.check.min(LOOK_MAX));
            tokio::select! {
                () = self.pool().wake.notified() => {}
                // Where nothing is kept, nothing happens by itself.
                () = tokio::time::sleep_until(next), if kept => {}
            }
        }
    }

    /// Finds out what would be made for each profile now.
    async fn look_at_shapes(&self) {
        let wanted = match self.wanted().await {
            Ok(wanted) => wanted,
            Err(failure) => {
                tracing::warn!(%failure, "it cannot be read for which profiles sandboxes are to be kept");
                return;
            }
        };
        let granted = self.granted(&wanted).await;
        let mut patterns = BTreeMap::new();
        for kept in wanted.keys() {
            let pattern = self.pattern_of(kept).await;
            if let Err(failure) = &pattern {
                tracing::info!(profile = %kept, %failure, "no sandboxes are kept for a profile");
            }
            patterns.insert(kept.clone(), pattern);
        }
        let mut shelves = lock(&self.pool().shelves);
        for (kept, shelf) in shelves.iter_mut() {
            if !wanted.contains_key(kept) {
                (shelf.wanted, shelf.target, shelf.pattern, shelf.trouble) = (0, 0, None, None);
            }
        }
        for (kept, pattern) in patterns {
            let shelf = shelves.entry(kept.clone()).or_default();
            shelf.wanted = wanted.get(&kept).copied().unwrap_or(0);
            shelf.target = granted.get(&kept.to_string()).copied().unwrap_or(0);
            match pattern {
                Ok(pattern) if shelf.pattern.as_ref().is_some_and(|own| own.shape == pattern.shape) => {}
                Ok(pattern) => (shelf.pattern, shelf.trouble, shelf.rests_until) = (Some(Arc::new(pattern)), None, None),
                Err(failure) => (shelf.pattern, shelf.trouble) = (None, Some(failure.message)),
            }
        }
        shelves.retain(|_, shelf| shelf.wanted > 0 || shelf.target > 0 || shelf.booting > 0 || !shelf.ready.is_empty());
    }

    /// What of that is this daemon's to keep. Where it cannot be told, nothing is.
    async fn granted(&self, wanted: &BTreeMap<Kept, usize>) -> BTreeMap<String, usize> {
        let held = |kept: &Kept| lock(&self.pool().shelves).get(kept).map_or(0, |shelf| shelf.ready.len() + shelf.booting);
        let mut all: Vec<Kept> = wanted.keys().cloned().collect();
        all.extend(lock(&self.pool().shelves).keys().filter(|kept| !wanted.contains_key(*kept)).cloned());
        let asks = all.into_iter().map(|kept| {
            let (target, held) = (wanted.get(&kept).copied().unwrap_or(0), held(&kept));
            store::PoolAsk { profile: kept.to_string(), target: target as u64, held: held as u64 }
        });
        match self.store().share_pool(asks.collect()).await {
            Ok(shares) => shares.into_iter().map(|(name, n)| (name, usize::try_from(n).unwrap_or(0))).collect(),
            Err(error) => {
                tracing::warn!(error = model::chain(&error), "the share of the pool cannot be told");
                BTreeMap::new()
            }
        }
    }

    /// What is too old, not what would be made now, or too many; taken out.
    fn stale(&self, idle: Duration) -> Vec<Member> {
        let mut gone = Vec::new();
        for shelf in lock(&self.pool().shelves).values_mut() {
            let is_good = |member: &Member| {
                let fits = shelf.pattern.as_ref().is_some_and(|pattern| member.fits(&pattern.shape));
                fits && member.ready.elapsed() < idle && member.sandbox.is_alive()
            };
            let (good, mut bad): (Vec<Member>, Vec<Member>) = shelf.ready.drain(..).partition(is_good);
            shelf.ready.extend(good);
            gone.append(&mut bad);
            while shelf.ready.len() > shelf.target {
                gone.extend(shelf.ready.pop_front());
            }
        }
        gone
    }

    /// When the next member is too old, or may be tried again.
    fn next_change(&self, idle: Duration) -> Instant {
        let far = Instant::now() + LOOK_MAX;
        let shelves = lock(&self.pool().shelves);
        let ages = shelves.values().filter_map(|shelf| shelf.ready.front().map(|member| member.ready + idle));
        let rests = shelves.values().filter_map(|shelf| shelf.rests_until);
        ages.chain(rests).min().map_or(far, |at| at.min(far))
    }

    /// Begins to make what is missing.
    fn refill(&self) {
        loop {
            let next = {
                let mut shelves = lock(&self.pool().shelves);
                if shelves.values().map(|shelf| shelf.booting).sum::<usize>() >= BOOTING_MAX {
                    return;
                }
                let lacks = |shelf: &Shelf| {
                    let rests = shelf.rests_until.is_some_and(|until| Instant::now() < until);
                    !rests && shelf.pattern.is_some() && shelf.ready.len() + shelf.booting < shelf.target
                };
                shelves.iter_mut().filter(|(_, shelf)| lacks(shelf)).min_by_key(|(_, shelf)| shelf.ready.len()).and_then(|(kept, shelf)| {
                    shelf.booting += 1;
                    shelf.rests_until = None;
                    Some((kept.clone(), Arc::clone(shelf.pattern.as_ref()?)))
                })
            };
            let Some((kept, pattern)) = next else { return };
            let app = self.clone();
            self.spawn(async move { app.boot(kept, pattern).await });
        }
    }

    /// Makes one and puts it on its shelf, unless it would be another one by now.
    async fn boot(&self, kept: Kept, pattern: Arc<Pattern>) {
        let made = self.make_member(&kept, pattern).await;
        let unwanted = {
            let mut shelves = lock(&self.pool().shelves);
            // It stays as long as one is being made for it.
            let shelf = shelves.entry(kept.clone()).or_default();
            shelf.booting = shelf.booting.saturating_sub(1);
            match made {
                Ok(member) => {
                    let fits = shelf.pattern.as_ref().is_some_and(|pattern| member.fits(&pattern.shape));
                    if fits && shelf.ready.len() < shelf.target {
                        shelf.trouble = None;
                        self.watch(&member);
                        shelf.ready.push_back(member);
                        None
                    } else {
                        Some(member)
                    }
                }
                Err(failure) => {
                    tracing::warn!(profile = %kept, %failure, "no sandbox could be made ahead");
                    shelf.trouble = Some(failure.message);
                    shelf.rests_until = Some(Instant::now() + REST);
                    None
                }
            }
        };
        self.pool().wake.notify_one();
        if let Some(member) = unwanted {
            self.discard(member).await;
        }
    }

    async fn make_member(&self, kept: &Kept, pattern: Arc<Pattern>) -> Result<Member, Failure> {
        let shape = &pattern.shape;
        let tree = self.grow_tree();
        let id = SandboxId::from_bits(crate::clock::fresh_bits());
        let mut request = sandbox::Request::new(id.clone(), format!("{POOL_LABEL}{kept}"));
        request.image = shape.image.clone().into();
        request.limits = shape.limits;
        request.extra_ro.clone_from(&shape.extra_ro);
        request.files.clone_from(&shape.files);
        request.files.extend(shape.instructions.iter().map(|target| HostFile { target: target.clone(), bytes: Vec::new() }));
        request.mounts = self.vault_for(&pattern.agent, &kept.tenant)?;
        if crate::mounts::mark_of(&request.mounts)? != shape.vault {
            self.pool().changed();
            return Err(Failure::new(model::Code::Conflict, "the vault changed while a sandbox was made ahead"));
        }
        request.tree = Tree::Kept { id: tree.id().clone() };
        request.relays = relays();
        request.orphan = ORPHAN;
        // The directories of skills are counted by who has them.
        let skills = self.note_skills(&pattern, &id).await?;
        let sandbox = self.sandboxes().start(request).await.map_err(|e| e.failure())?;
        drop(skills);
        model::crash::point("pool:booted");
        if let Err(error) = sandbox.ping().await {
            let failure = error.failure();
            self.discard(Member { sandbox, tree, pattern, ready: Instant::now() }).await;
            return Err(failure);
        }
        Ok(Member { sandbox, tree, pattern, ready: Instant::now() })
    }

    /// Takes a member out as soon as it ends by itself. Ends with the sandbox, whoever has it then.
    fn watch(&self, member: &Member) {
        let (app, sandbox) = (self.clone(), member.sandbox.clone());
        self.spawn(async move {
            let cancel = app.cancel().clone();
            let Some(why) = cancel.run_until_cancelled(sandbox.ended()).await else { return };
            if let Some(member) = app.pool().lost(sandbox.id()) {
                tracing::warn!(sandbox = %sandbox.id(), %why, "a sandbox that was made ahead ended by itself");
                app.discard(member).await;
            }
        });
    }
}
