//! Who is ready, and how one is claimed. Locks are held for single operations on these lists.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use model::{SandboxId, SessionId, TreeId};
use sandbox::Sandbox;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Kept, Pattern, Shape};
use crate::live::lock;
use crate::trees::Growing;
use crate::{App, OWN_TENANT};

/// A sandbox that nobody has used.
pub(crate) struct Member {
    pub(crate) sandbox: Sandbox,
    /// Its tree, which no row names yet.
    pub(super) tree: Growing,
    pub(super) pattern: Arc<Pattern>,
    pub(super) ready: Instant,
}

impl Member {
    /// Its tree: empty, and its user's from now on.
    pub(crate) fn tree(&self) -> &TreeId {
        self.tree.id()
    }

    /// Whether a sandbox of this shape would be the same.
    pub(crate) fn fits(&self, shape: &Shape) -> bool {
        self.pattern.shape == *shape
    }
}

/// The members of one profile.
#[derive(Default)]
pub(super) struct Shelf {
    /// How many there are to be on all daemons together.
    pub(super) wanted: usize,
    /// How many there are to be here.
    pub(super) target: usize,
    /// What would be made now; none while that cannot be told.
    pub(super) pattern: Option<Arc<Pattern>>,
    /// Why it cannot be told, or why the last one was not made.
    pub(super) trouble: Option<String>,
    /// Before this, no further one is tried.
    pub(super) rests_until: Option<Instant>,
    pub(super) ready: VecDeque<Member>,
    pub(super) booting: usize,
}

/// Jobs since the daemon's start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// Those that got a member.
    pub(super) claimed: u64,
    /// Those that did not, although some are kept that they could have got.
    pub(super) missed: u64,
}

/// All members.
#[derive(Default)]
pub(crate) struct Pool {
    pub(super) shelves: Mutex<BTreeMap<Kept, Shelf>>,
    /// Something is to be done.
    pub(super) wake: Notify,
    /// What would be made now may have changed.
    pub(super) is_changed: AtomicBool,
    /// What became of the jobs of each tenant.
    pub(super) counts: Mutex<HashMap<String, Counts>>,
    /// Claimed ones, until the first turn of their session moves in.
    given: Mutex<HashMap<SessionId, Member>>,
}

impl Pool {
    /// Lets it be looked anew what would be made: a profile, an agent or the configuration changed.
    pub(crate) fn changed(&self) {
        self.is_changed.store(true, Ordering::SeqCst);
        self.wake.notify_one();
    }

    /// Takes the oldest member of this shape out that a job of this tenant may have: one of its own profiles', else one of
    /// the owner's. Where such are kept and none is ready, it is counted as missed.
    pub(crate) fn claim(&self, shape: &Shape, tenant: &str) -> Option<Member> {
        let (found, is_kept) = {
            let mut shelves = lock(&self.shelves);
            let take = |shelf: &mut Shelf| {
                let at = shelf.ready.iter().position(|member| member.fits(shape) && member.sandbox.is_alive())?;
                shelf.ready.remove(at)
            };
            let of = |shelves: &mut BTreeMap<Kept, Shelf>, whose: &str| {
                let fits = |shelf: &Shelf| shelf.pattern.as_ref().is_some_and(|own| own.shape == *shape);
                shelves.iter_mut().filter(|(kept, shelf)| kept.tenant == whose && fits(shelf)).find_map(|(_, shelf)| take(shelf))
            };
            let found = of(&mut shelves, tenant).or_else(|| of(&mut shelves, OWN_TENANT));
            (found, shelves.iter().any(|(kept, shelf)| shelf.target > 0 && (kept.tenant == tenant || kept.tenant == OWN_TENANT)))
        };
        if found.is_some() || is_kept {
            let mut counts = lock(&self.counts);
            let counts = counts.entry(tenant.to_owned()).or_default();
            *(if found.is_some() { &mut counts.claimed } else { &mut counts.missed }) += 1;
        }
        if found.is_some() {
            self.wake.notify_one();
        }
        found
    }

    /// Keeps a member for the first turn of a session whose row names its tree. Whoever gives it takes it back in the end.
    pub(crate) fn give(&self, session: SessionId, member: Member) {
        lock(&self.given).insert(session, member);
    }

    pub(crate) fn take_given(&self, session: &SessionId) -> Option<Member> {
        lock(&self.given).remove(session)
    }

    /// Whether one waits for the session: nothing was ever written to its tree then.
    pub(crate) fn has_given(&self, session: &SessionId) -> bool {
        lock(&self.given).contains_key(session)
    }

    /// Whether any member is to be kept.
    pub(crate) fn is_kept(&self) -> bool {
        lock(&self.shelves).values().any(|shelf| shelf.target > 0)
    }

    /// Whether any is to be kept by anybody: this daemon's share may come to be more than it is.
    pub(super) fn is_wanted(&self) -> bool {
        lock(&self.shelves).values().any(|shelf| shelf.wanted > 0)
    }

    /// Takes a member out that has ended.
    pub(super) fn lost(&self, id: &SandboxId) -> Option<Member> {
        let mut shelves = lock(&self.shelves);
        let found = shelves.values_mut().find_map(|shelf| {
            let at = shelf.ready.iter().position(|member| member.sandbox.id() == id)?;
            shelf.ready.remove(at)
        });
        drop(shelves);
        if found.is_some() {
            self.wake.notify_one();
        }
        found
    }
}

impl App {
    /// Ends a member that has no user, with its tree.
    pub(crate) async fn discard(&self, member: Member) {
        let Member { sandbox, tree, .. } = member;
        if let Err(error) = sandbox.stop().await {
            tracing::warn!(error = model::chain(&error), "a sandbox that was made ahead was not removed whole");
        }
        self.drop_tree(tree.id()).await;
    }
}
