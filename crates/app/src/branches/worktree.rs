//! A working tree of a branch at a place of the user's choice, made by the host's git: without hooks and filters, never over anything.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use model::{Code, Failure};
use serde::{Deserialize, Serialize};
use store::{BranchPatch, BranchRow};

use super::BranchesOf;
use super::forms::Options;
use super::read::{Ground, tip_of};
use crate::git::GitError;
use crate::now;

/// Working trees that one agent has.
const TREES_MAX: usize = 8;

/// A working tree to be made.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WorktreeForm {
    /// Where: an absolute path that is not there yet. The directory above it is handed over beside the owner's socket.
    pub path: PathBuf,
    /// Check the commit out and not the branch, so that further work still comes home to the branch.
    pub detach: bool,
}

/// A working tree that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WorktreeView {
    /// Where.
    pub path: PathBuf,
    /// The commit.
    pub commit: String,
    /// The branch, where that is checked out.
    pub branch: Option<String>,
}

impl BranchesOf<'_> {
    /// Makes a working tree with what came home last, at a place whose directory above the caller has opened.
    ///
    /// # Errors
    /// There is no such agent, nothing of it came home, the place is taken, or the branch is checked out elsewhere.
    pub async fn worktree(&self, id: &str, form: WorktreeForm, above: &OwnedFd) -> Result<WorktreeView, Failure> {
        let row = self.row(id).await?;
        let tip = tip_of(&row)?;
        let path = free_place(&form.path, above, self.app.home())?;
        let _alone = self.app.hold_repo(&row.repo).await;
        let ground = self.app.ground_of_branch(&row).await.map_err(|e| e.failure())?;
        let is_branch = !form.detach && row.home_ref.as_deref() == Some(&format!("refs/heads/{}", row.name));
        if !form.detach && !is_branch {
            let why = row.home_note.clone().unwrap_or_else(|| "its branch is elsewhere".to_owned());
            return Err(Failure::new(Code::Conflict, format!("the work on {} is not on its branch: {why}", row.name))
                .hint("look at its commit with --detach"));
        }
        let mut options: Options = serde_json::from_value(row.options.clone()).unwrap_or_default();
        options.worktrees.retain(|known| known.exists());
        if options.worktrees.len() >= TREES_MAX {
            return Err(Failure::new(Code::Conflict, format!("an agent has at most {TREES_MAX} working trees")));
        }
        options.worktrees.push(path.clone());
        // Before it is made: what is noted and not there is no loss, what is there and not noted would stay.
        let value = serde_json::to_value(&options).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        let patch = BranchPatch { options: Some(value), ..BranchPatch::default() };
        self.app.store().update_branch(&row.id, patch, now()).await.map_err(|e| e.failure())?;
        model::crash::point("branch:tree-noted");
        let tip_text = tip.to_string();
        let what = if is_branch { row.name.as_str() } else { tip_text.as_str() };
        ground.repo.add_worktree(&path, what, !is_branch).await.map_err(|e| e.failure())?;
        Ok(WorktreeView { path, commit: tip_text.clone(), branch: is_branch.then(|| row.name.clone()) })
    }
}

/// The place, where the directory above is the one that the caller has opened and nothing is there.
fn free_place(path: &Path, above: &OwnedFd, home: &Path) -> Result<PathBuf, Failure> {
    let unusable = |why: String| Failure::new(Code::PathUnusable, format!("{} cannot be used: {why}", path.display())).field("path");
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(unusable("it names no directory".to_owned())) };
    let seen = std::fs::read_link(format!("/proc/self/fd/{}", above.as_raw_fd())).map_err(|e| unusable(e.to_string()))?;
    if seen != parent {
        return Err(unusable("the directory above was moved, or its path has links in it".to_owned()));
    }
    let path = seen.join(name);
    if let Some(why) = crate::refused_place(&path, home) {
        return Err(unusable(why));
    }
    match std::fs::symlink_metadata(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(path),
        Err(e) => Err(unusable(e.to_string())),
        Ok(_) => Err(unusable("it is there already".to_owned())),
    }
}

/// Removes the working trees that were made for an agent.
///
/// # Errors
/// `WORK_UNSAVED`: one of them has files that no commit has.
pub(super) async fn remove_worktrees(row: &BranchRow, ground: &Ground) -> Result<(), Failure> {
    let options: Options = serde_json::from_value(row.options.clone()).unwrap_or_default();
    for path in options.worktrees.iter().filter(|path| path.exists()) {
        if !ground.repo.is_clean_worktree(path).await {
            let why = format!("the working tree {} has what no branch has", path.display());
            return Err(Failure::new(Code::WorkUnsaved, why).hint("commit it to a branch, or remove it yourself: git worktree remove"));
        }
        match ground.repo.remove_worktree(path).await {
            Ok(()) => {}
            Err(GitError::Failed { complaint, .. }) => {
                return Err(Failure::new(Code::WorkUnsaved, format!("the working tree {} stays: {complaint}", path.display()))
                    .hint("commit what is in it, or remove it yourself: git worktree remove"));
            }
            Err(other) => return Err(other.failure()),
        }
    }
    Ok(())
}

/// Working trees of an agent that hold what no commit has, in words.
pub(super) async fn open_worktrees(row: &BranchRow, ground: &Ground) -> Vec<String> {
    let options: Options = serde_json::from_value(row.options.clone()).unwrap_or_default();
    let mut open = Vec::new();
    for path in options.worktrees.iter().filter(|path| path.exists()) {
        if !ground.repo.is_clean_worktree(path).await {
            open.push(format!("files in the working tree {}", path.display()));
        }
    }
    open
}
