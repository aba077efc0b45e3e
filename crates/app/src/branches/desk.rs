//! What all branch agents share while the daemon runs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{Code, Failure, SessionId};
use tokio::sync::{Notify, Semaphore, broadcast};

use super::feed::{NEWS_MAX, News};
use crate::App;
use crate::live::lock;

/// How long whoever wants to bring a branch home waits for another one who does: also a turn's end, which a slow fetch is not to keep.
const HOME_WAIT: Duration = Duration::from_secs(60);

/// What one at a time holds, by its name.
type Holds = Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>;

/// Who works on which repository just now, and what waits.
pub(crate) struct BranchDesk {
    /// One at a time moves references of a repository, or makes trees of it.
    repos: Holds,
    /// One at a time brings an agent's branch home: by its session, of which a copy is no agent.
    homes: Holds,
    /// Work may wait for being brought home.
    pub(super) owed: Notify,
    /// The right to run a check.
    pub(super) checks: Semaphore,
    /// A merge queue may wait.
    pub(super) queues: Notify,
    /// The merge queues that are worked on.
    pub(super) at_queues: super::queue::AtWork,
    /// Where something changed that is shown of an agent.
    pub(super) news: broadcast::Sender<News>,
}

impl Default for BranchDesk {
    fn default() -> Self {
        Self {
            repos: Holds::default(),
            homes: Holds::default(),
            owed: Notify::new(),
            checks: Semaphore::new(super::check::CHECKS_MAX),
            queues: Notify::new(),
            at_queues: super::queue::AtWork::default(),
            news: broadcast::Sender::new(NEWS_MAX),
        }
    }
}

/// Held while references of a repository are moved.
pub(super) type RepoGuard = tokio::sync::OwnedMutexGuard<()>;
/// Held while an agent's branch is brought home.
pub(super) type HomeGuard = tokio::sync::OwnedMutexGuard<()>;

impl App {
    /// Where the mirrors of repositories lie.
    pub(super) fn mirrors(&self) -> PathBuf {
        self.home().join("mirrors")
    }

    /// Waits until nobody else moves references of any repository of this agent.
    pub(super) async fn hold_repos(&self, row: &store::BranchRow) -> Vec<RepoGuard> {
        let mut places: Vec<&str> =
            std::iter::once(&row.repo).chain(row.also.iter().map(|other| &other.repo)).map(String::as_str).collect();
        // In one order for everybody, so that nobody waits for who waits for them.
        places.sort_unstable();
        places.dedup();
        let mut held = Vec::with_capacity(places.len());
        for place in places {
            held.push(self.hold_repo(place).await);
        }
        held
    }

    /// Waits until nobody else moves references of this repository.
    pub(super) async fn hold_repo(&self, repo: &str) -> RepoGuard {
        held(&self.branch_desk().repos, repo).await
    }

    /// Waits, not for ever, until nobody else brings home what the agent of this session did. Whoever holds a repository does not ask for
    /// this: the other way round is the order.
    ///
    /// # Errors
    /// [`Code::Busy`]: another one is at it still. What a turn leaves then is owed, and brought by a later round.
    pub(crate) async fn hold_home(&self, of: &SessionId) -> Result<HomeGuard, Failure> {
        let alone = tokio::time::timeout(HOME_WAIT, held(&self.branch_desk().homes, of.as_str())).await;
        alone.map_err(|_| Failure::new(Code::Busy, "somebody else brings it home just now").hint("try again in a moment"))
    }
}

async fn held(all: &Holds, name: &str) -> tokio::sync::OwnedMutexGuard<()> {
    let one = {
        let mut all = lock(all);
        // Those that nobody holds or waits for are made again when they are wanted.
        all.retain(|_, one| Arc::strong_count(one) > 1);
        Arc::clone(all.entry(name.to_owned()).or_default())
    };
    one.lock_owned().await
}
