//! What all branch agents share while the daemon runs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, Semaphore, broadcast};

use super::feed::{NEWS_MAX, News};
use crate::App;
use crate::live::lock;

/// Who works on which repository just now, and what waits.
pub(crate) struct BranchDesk {
    /// One at a time moves references of a repository, or makes trees of it.
    repos: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
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
            repos: Mutex::default(),
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
        let one = {
            let mut all = lock(&self.branch_desk().repos);
            // Those that nobody holds or waits for are made again when they are wanted.
            all.retain(|_, one| Arc::strong_count(one) > 1);
            Arc::clone(all.entry(repo.to_owned()).or_default())
        };
        one.lock_owned().await
    }
}
