//! Branch agents: each works on a branch in a clone of its own, and what it commits comes home.
//!
//! A branch agent is a row, a session and that session's tree. Nothing of the tree is ever opened on the host: see
//! [decision 7](../../../docs/decisions/0007-branch-agents.md), and `git` for the mechanisms.

mod check;
mod clean;
mod desk;
mod feed;
mod forms;
mod garbage;
mod home;
mod house;
mod kinds;
mod merge;
mod merge_all;
mod part;
mod queue;
mod read;
mod rest;
mod review;
mod seen;
mod settings;
mod size;
mod spawn;
mod stop;
mod view;
mod worktree;

pub use feed::{BranchChange, BranchFollow, BranchWatchQuery};
pub use forms::{
    AlsoRepo, BESIDE_DIR, BranchAuthor, BranchDiff, BranchHistory, BranchQuery, BranchRepoView, BranchType, BranchView, ChangeSize,
    CheckOrder, CheckView, CleanForm, CleanView, CommentForm, CommentView, CommitView, FileChange, MergeForm, MergeInRepo, MergeView,
    NotSpawned, OWN_ENGINE_DIR, PreviewForm, PreviewPair, PreviewView, ResumeForm, SpawnForm, Spawned, SpawnedOne, VerdictForm,
    VerdictView,
};
pub use garbage::PolicyForm;
pub use part::BranchPart;
pub use queue::{QueueConflict, QueueForm, QueuePlace, QueueQuery, QueueView};
pub use settings::BranchSettings;
pub use worktree::{WorktreeForm, WorktreeView};

pub(crate) use desk::BranchDesk;

use model::{Code, Failure};
use store::{BranchFilter, BranchRow, Page};

use crate::{App, Caller};

/// Entries in a page when nothing else is asked for.
const PAGE: usize = 100;

/// The branch agents of an [`App`], as one caller sees them.
pub struct BranchesOf<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: Caller,
}

impl App {
    /// The branch agents that this caller sees.
    #[must_use]
    pub fn branches_of(&self, caller: &Caller) -> BranchesOf<'_> {
        BranchesOf { app: self, caller: caller.clone() }
    }
}

impl BranchesOf<'_> {
    /// The kinds of tasks that an agent can be spawned for.
    ///
    /// # Errors
    /// One of the owner's own is malformed.
    pub fn types(&self) -> Result<Vec<BranchType>, Failure> {
        let kinds = kinds::Kinds::of(self.app.home(), &std::collections::BTreeMap::new())?;
        Ok(kinds.all().iter().map(|kind| BranchType { name: kind.name.clone(), description: kind.description.clone() }).collect())
    }

    /// A page of branch agents, the youngest first.
    ///
    /// # Errors
    /// The cursor is malformed.
    pub async fn list(&self, query: BranchQuery) -> Result<Page<BranchView>, Failure> {
        let filter = BranchFilter { tenant: self.caller.tenant.clone(), repo: query.repo, name: query.branch, batch: query.batch };
        let bad = |_| Failure::new(Code::Usage, "this is no cursor of an earlier page").field("after");
        let after = query.after.as_deref().map(|after| after.parse().map_err(bad)).transpose()?;
        let limit = query.limit.unwrap_or(PAGE).clamp(1, store::LIST_MAX);
        let page = self.app.store().list_branches(&filter, after, limit).await.map_err(|e| e.failure())?;
        let mut items = Vec::with_capacity(page.items.len());
        for row in page.items {
            items.push(self.app.branch_view(row).await?);
        }
        Ok(Page { items, next: page.next })
    }

    /// What a branch agent is.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn show(&self, id: &str) -> Result<BranchView, Failure> {
        let row = self.row(id).await?;
        self.app.branch_view(row).await
    }

    /// The row of a branch agent that this caller sees.
    pub(crate) async fn row(&self, id: &str) -> Result<BranchRow, Failure> {
        let missing = || Failure::new(Code::NotFound, "there is no such branch agent").hint("see: lazaret agents list");
        let id = id.parse().map_err(|_| missing())?;
        let row = self.app.store().branch(&id).await.map_err(|e| e.failure())?;
        if self.caller.sees(&row.tenant) { Ok(row) } else { Err(missing()) }
    }
}
