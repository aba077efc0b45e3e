//! Git for branch agents, where nothing of an agent's is trusted.
//!
//! A user's repository is a [`Repo`]. Its [`Mirror`] in the home has all of its objects, and is what everybody else looks
//! at: the sandboxes, read-only; and the host, for reading and merging, with a configuration that nobody else writes. The
//! user's own repository is only asked for its refs, given objects, and has its branches moved.
//!
//! A clone begins as a frozen tree with the files of its commit (`base.rs`), is given its refs in a sandbox without doors
//! (`clone.rs`), and hands its branch back as bytes that are checked in a quarantine (`home.rs`, `inspect.rs`).
//!
//! Everything that an agent could have written is opened by a git inside a sandbox only (`room.rs`). Keeps INV-10.
//!
//! In short, for who spawns: `let shop = app.shop().await?; let repo = shop.open(path).await?; let mirror =
//! shop.mirror(&repo).await?; shop.clone_into(CloneOrder { .. }, tree.id()).await?`, and the session's sandbox gets
//! [`Shop::show`] as a read-only mount. After a turn: [`Shop::bring_home`]. Then [`read`] and [`merge`].

/// Makes the clone one that fills and empties large files, in scripts for the inside. `$lfs` says where objects are lent, and is empty where
/// the commit has none.
macro_rules! large_files {
    () => {
        r#"
if [ -n "$lfs" ] && command -v git-lfs >/dev/null 2>&1; then
    git config filter.lfs.clean 'git-lfs clean -- %f'
    git config filter.lfs.smudge 'git-lfs smudge -- %f'
    git config filter.lfs.process 'git-lfs filter-process'
    git config filter.lfs.required true
    git config lfs.locksverify false
    git config lfs.skipdownloaderrors true
    export GIT_ALTERNATE_OBJECT_DIRECTORIES="$lfs/objects"
fi
"#
    };
}

mod base;
mod carry;
mod clone;
mod error;
mod flags;
mod home;
mod inspect;
mod lfs;
pub(crate) mod merge;
mod mirror;
pub(crate) mod preview;
pub(crate) mod read;
pub(crate) mod rebase;
mod repo;
mod room;
mod run;
mod submodules;
mod target;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use model::TreeId;
use sandbox::Sandboxes;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::App;
use crate::live::lock;
use crate::trees::Growing;

pub(crate) use base::Beside;
pub(crate) use carry::{Carried, carry};
pub(crate) use clone::{BesideOrder, CloneOrder};
pub(crate) use error::GitError;
pub(crate) use flags::Flag;
pub(crate) use home::{Dirt, HomeOrder};
pub(crate) use mirror::Mirror;
pub(crate) use repo::{Oid, Repo};
pub(crate) use room::{BESIDE_AT, Seat};
pub(crate) use run::Git;

/// Where the mirrors lie in the home.
const MIRRORS: &str = "mirrors";
/// An empty directory beside the mirrors, which stands for every home of git.
const EMPTY: &str = "empty";

/// What of a repository's history an agent sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum History {
    /// All of it, with the other branches.
    All,
    /// What its own branch reaches: no other branch, no stash, nothing that was removed.
    Branch,
}

/// What is kept of git between calls; part of the application.
#[derive(Default)]
pub(crate) struct Yard {
    git: OnceCell<Git>,
    /// Held for a few instructions, never across an await.
    bases: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// Git of the application. A cheap handle.
#[derive(Clone)]
pub(crate) struct Shop {
    app: App,
    git: Git,
    mirrors: PathBuf,
}

impl App {
    /// Git, once it is found on this machine.
    ///
    /// # Errors
    /// There is none, or it is too old.
    pub(crate) async fn shop(&self) -> Result<Shop, GitError> {
        let mirrors = self.home().join(MIRRORS);
        let git = self.yard().git.get_or_try_init(|| async {
            let empty = mirrors.join(EMPTY);
            std::fs::create_dir_all(&empty).map_err(GitError::io("make the directory of mirrors"))?;
            home::sweep(&mirrors);
            let git = Git::find(empty).await?;
            // Before anybody uses one: later it could be just about to be used.
            self.sweep_mirrors(&git, &mirrors).await;
            Ok::<_, GitError>(git)
        });
        Ok(Shop { app: self.clone(), git: git.await?.clone(), mirrors })
    }

    /// Trees that are under clones, for the sweep.
    pub(crate) fn base_trees(&self) -> Vec<TreeId> {
        base::all_trees(&self.home().join(MIRRORS))
    }
}

impl Shop {
    /// A user's repository at or above an absolute path.
    ///
    /// # Errors
    /// There is none, or one that cannot be worked with.
    pub(crate) async fn open(&self, path: &Path) -> Result<Repo, GitError> {
        Repo::open(&self.git, path).await
    }

    /// The mirror of a repository with all objects that it has now.
    ///
    /// # Errors
    /// The home or the repository cannot be read or written.
    pub(crate) async fn mirror(&self, repo: &Repo) -> Result<Mirror, GitError> {
        Mirror::of(&self.git, &self.mirrors, repo).await
    }

    /// What a sandbox is shown of a mirror, read-only: for `extra_ro` of its request.
    pub(crate) fn show(&self, mirror: &Mirror) -> (PathBuf, PathBuf) {
        (mirror.dir().to_owned(), room::mirror_at(&mirror.key))
    }

    fn sandboxes(&self) -> &Sandboxes {
        self.app.sandboxes()
    }

    fn mirrors(&self) -> &Path {
        &self.mirrors
    }

    fn grow(&self) -> Growing {
        self.app.grow_tree()
    }

    async fn drop_tree(&self, tree: &TreeId) {
        self.app.drop_tree(tree).await;
    }

    fn base_lock(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(lock(&self.app.yard().bases).entry(key.to_owned()).or_default())
    }
}

impl App {
    /// Removes mirrors of repositories that have had no agent for long. Where it is not certain whose one is, all stay.
    async fn sweep_mirrors(&self, git: &Git, mirrors: &Path) {
        let (mut used, mut after) = (HashSet::new(), None);
        loop {
            let Ok(page) = self.store().list_branches(&store::BranchFilter::default(), after, store::LIST_MAX).await else { return };
            let all = page.items.into_iter().flat_map(|row| std::iter::once(row.repo).chain(row.also.into_iter().map(|other| other.repo)));
            let places: HashSet<String> = all.collect();
            for place in places {
                let Ok(repo) = Repo::open(git, Path::new(&place)).await else { return };
                used.insert(repo.key);
            }
            after = match page.next.map(|next| next.parse()) {
                None => break,
                Some(Ok(next)) => Some(next),
                Some(Err(_)) => return,
            };
        }
        let Some(of_forks) = self.mirrors_of_forks().await else { return };
        used.extend(of_forks);
        let mirrors = mirrors.to_owned();
        let swept = mirror::blocking(move || mirror::sweep(&mirrors, &used)).await;
        if let Err(error) = swept {
            tracing::warn!(error = model::chain(&error), "mirrors that nobody uses were not removed");
        }
    }

    /// What the mirrors are called that clones in copies of agents' sessions need: these stay when the agents are put away. `None` where
    /// that cannot be known.
    async fn mirrors_of_forks(&self) -> Option<HashSet<String>> {
        let filter = store::SessionFilter { forked: Some(true), ..store::SessionFilter::default() };
        let (mut used, mut after) = (HashSet::new(), None);
        loop {
            let page = self.store().list_sessions(&filter, after, store::LIST_MAX).await.ok()?;
            for row in &page.items {
                let spec = crate::sessions::read_spec(row).ok()?;
                let binds = spec.branch.into_iter().flat_map(|part| part.binds);
                used.extend(binds.filter_map(|(host, _)| Some(host.file_name()?.to_str()?.to_owned())));
            }
            after = match page.next.map(|next| next.parse()) {
                None => return Some(used),
                Some(next) => Some(next.ok()?),
            };
        }
    }
}

/// The host's time, in milliseconds since 1970.
fn now_millis() -> u64 {
    crate::clock::now().0
}
