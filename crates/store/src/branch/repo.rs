//! The repositories that a branch agent works on beside its first one.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::change::BranchMerged;
use super::row::BranchRow;
use crate::StoreError;

/// Repositories that one branch agent works on, the first one counted.
pub const BRANCH_REPOS_MAX: usize = 8;
/// The longest note about one, in characters.
const NOTE_CHARS_MAX: usize = 500;

/// A repository beside the first one of a branch agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BranchRepo {
    /// What it is called in the workspace.
    pub name: String,
    /// Its absolute path.
    pub repo: String,
    /// The commit that the branch begins at.
    pub base: String,
    /// The branch that this commit was taken from.
    pub target: Option<String>,
    /// The commit that came home last.
    pub tip: Option<String>,
    /// The reference of the repository that has it.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// Why it is elsewhere than it was wanted, or did not come.
    pub note: Option<String>,
    /// Whether what the agent left there last was refused.
    pub refused: bool,
    /// Commits since the base.
    pub commits: u64,
    /// Changed files that are not committed.
    pub dirty: u64,
    /// Files that git does not know.
    pub untracked: u64,
    /// How much was changed. Not looked at here.
    pub size: Option<Value>,
    /// The commit that was merged last.
    pub merged_tip: Option<String>,
    /// The branch that it was merged into.
    pub merged_into: Option<String>,
    /// What that branch was moved to for it.
    pub merged_as: Option<String>,
}

/// What came of bringing the work in such a repository home.
#[derive(Debug, Clone, PartialEq)]
pub enum BranchRepoHome {
    /// It came.
    Came {
        /// The commit.
        tip: String,
        /// The reference that has it.
        reference: String,
        /// Why it is elsewhere than it was wanted.
        note: Option<String>,
        /// Commits since the base.
        commits: u64,
        /// Changed files that are not committed.
        dirty: u64,
        /// Files that git does not know.
        untracked: u64,
        /// How much was changed, as JSON.
        size: Option<Value>,
    },
    /// It cannot come: what the agent left is refused, or there is nothing of it any more.
    Refused {
        /// Why.
        note: String,
    },
}

/// What changes about one such repository; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BranchRepoPatch {
    /// What it is called.
    pub name: String,
    /// What came home.
    pub home: Option<BranchRepoHome>,
    /// What was merged.
    pub merged: Option<BranchMerged>,
}

impl BranchRepo {
    fn change(&mut self, patch: &BranchRepoPatch) {
        let short = |note: &str| note.chars().take(NOTE_CHARS_MAX).collect::<String>();
        match &patch.home {
            None => {}
            Some(BranchRepoHome::Came { tip, reference, note, commits, dirty, untracked, size }) => {
                self.tip = Some(tip.clone());
                self.reference = Some(reference.clone());
                self.note = note.as_deref().map(short);
                (self.refused, self.commits, self.dirty, self.untracked) = (false, *commits, *dirty, *untracked);
                self.size = size.clone().or_else(|| self.size.take());
            }
            Some(BranchRepoHome::Refused { note }) => (self.refused, self.note) = (true, Some(short(note))),
        }
        if let Some(BranchMerged { tip, into, commit }) = &patch.merged {
            (self.merged_tip, self.merged_into, self.merged_as) = (Some(tip.clone()), Some(into.clone()), Some(commit.clone()));
        }
    }
}

impl BranchRow {
    /// Whether it works on this repository, as its first one or beside that.
    #[must_use]
    pub fn works_on(&self, repo: &str) -> bool {
        self.repo == repo || self.also.iter().any(|other| other.repo == repo)
    }

    /// Whether what came home last is merged, in all of its repositories.
    #[must_use]
    pub fn is_merged(&self) -> bool {
        let is = |merged: &Option<String>, tip: &Option<String>| merged.is_some() && merged == tip;
        is(&self.merged_tip, &self.home_tip) && self.also.iter().all(|repo| is(&repo.merged_tip, &repo.tip))
    }

    /// The agent as it is seen from one of the repositories beside its first one: the repository, where the branch stands there, and
    /// nothing of what belongs to the first.
    #[must_use]
    pub fn seen_from(&self, repo: &BranchRepo) -> Self {
        let repo = repo.clone();
        Self {
            repo: repo.repo,
            base: repo.base,
            target: repo.target,
            home_tip: repo.tip,
            home_ref: repo.reference,
            home_note: repo.note,
            commits: repo.commits,
            dirty: repo.dirty,
            untracked: repo.untracked,
            size: repo.size,
            merged_tip: repo.merged_tip,
            merged_into: repo.merged_into,
            merged_as: repo.merged_as,
            checked: None,
            verdict: None,
            also: Vec::new(),
            merging: None,
            ..self.clone()
        }
    }
}

/// The list with what changes in it, as text; `None` where nothing does.
pub(super) fn changed(row: &BranchRow, patches: &[BranchRepoPatch]) -> Result<Option<String>, StoreError> {
    if patches.is_empty() {
        return Ok(None);
    }
    let mut also = row.also.clone();
    for patch in patches {
        let found = also.iter_mut().find(|repo| repo.name == patch.name);
        found.ok_or_else(|| StoreError::NotFound { what: "repository of a branch agent", id: patch.name.clone() })?.change(patch);
    }
    text(&also)
}

/// What the text of a list holds that names this repository, as a pattern with `!` before what is meant as it stands.
pub(super) fn pattern(repo: &str) -> String {
    let text = Value::from(repo).to_string();
    let plain: String = text.chars().flat_map(|c| matches!(c, '%' | '_' | '!').then_some('!').into_iter().chain([c])).collect();
    format!("%\"repo\":{plain}%")
}

/// The list as it is kept.
pub(super) fn text(also: &[BranchRepo]) -> Result<Option<String>, StoreError> {
    if also.len() >= BRANCH_REPOS_MAX {
        return Err(StoreError::invalid("also", format!("a branch agent works on at most {BRANCH_REPOS_MAX} repositories")));
    }
    if also.is_empty() {
        return Ok(None);
    }
    crate::session::bounded("also", crate::row::to_json("also", &also)?).map(Some)
}
