//! Putting agents away, without losing what is nowhere else.

use model::{Code, Failure, TreeId};
use store::BranchRow;

use super::BranchesOf;
use super::forms::{CleanForm, CleanView, Options};
use super::read::seen_from_all;
use super::worktree::{open_worktrees, remove_worktrees};
use crate::git::{GitError, Oid};

impl BranchesOf<'_> {
    /// Forgets an agent with its clone, its log and its sandbox. Refuses what would be lost; its branch in the repository stays
    /// unless it is to go too.
    ///
    /// # Errors
    /// There is none of this identity, it works, or `WORK_UNSAVED`: work of it is nowhere else.
    pub async fn clean(&self, id: &str, form: CleanForm) -> Result<CleanView, Failure> {
        let row = self.row(id).await?;
        if !row.state().is_over() {
            return Err(
                Failure::new(Code::Conflict, format!("the agent on {} is not over", row.name)).hint("stop it first: lazaret agents stop")
            );
        }
        self.app.check_here(&row.session).await?;
        let loses = self.loses(&row, form.delete_branch).await?;
        let session = self.app.store().session(&row.session).await.map_err(|e| e.failure())?;
        let bytes = match &session.tree {
            Some(tree) => self.app.sandboxes().tree_bytes(tree).await,
            None => None,
        };
        let mut seen = CleanView { branch: row.name.clone(), loses, bytes, done: false };
        if form.dry_run {
            return Ok(seen);
        }
        if !seen.loses.is_empty() && !form.force {
            return Err(Failure::new(Code::WorkUnsaved, format!("work on {} would be lost: {}", row.name, seen.loses.join(", ")))
                .hint("merge it, keep its files with --archive DIR, or lose it with --force"));
        }
        let options: Options = serde_json::from_value(row.options.clone()).unwrap_or_default();
        // With --force those that hold something stay where they are: they are the user's.
        if options.worktrees.iter().any(|path| path.exists()) {
            let ground = self.app.ground_of_branch(&row).await.map_err(|e| e.failure())?;
            match remove_worktrees(&row, &ground).await {
                Err(failure) if failure.code == Code::WorkUnsaved && form.force => {}
                done => done?,
            }
        }
        if form.delete_branch {
            self.remove_refs(&row).await?;
        }
        self.forget(&row, session.tree).await?;
        seen.done = true;
        Ok(seen)
    }

    /// What is nowhere else: in words.
    async fn loses(&self, row: &BranchRow, with_branch: bool) -> Result<Vec<String>, Failure> {
        let mut loses = Vec::new();
        let last = row.turn.as_ref().filter(|turn| turn.started.is_some()).map_or(0, |turn| turn.n);
        if last > row.home_turn || row.home_note.is_some() && row.home_tip.is_none() && last > 0 {
            loses.push("commits that did not come home".to_owned());
        }
        let options: Options = serde_json::from_value(row.options.clone()).unwrap_or_default();
        if options.worktrees.iter().any(|path| path.exists())
            && let Ok(ground) = self.app.ground_of_branch(row).await
        {
            loses.extend(open_worktrees(row, &ground).await);
        }
        for other in row.also.iter().filter(|other| other.refused || other.note.is_some() && other.tip.is_none() && last > 0) {
            loses.push(format!("commits in {} that did not come home", other.name));
        }
        for (name, seen) in seen_from_all(row) {
            let place = name.map(|name| format!(" in {name}")).unwrap_or_default();
            loses.extend(self.loses_in(&seen, with_branch).await?.into_iter().map(|what| format!("{what}{place}")));
        }
        Ok(loses)
    }

    /// What is nowhere else of one of its repositories.
    async fn loses_in(&self, row: &BranchRow, with_branch: bool) -> Result<Vec<String>, Failure> {
        let mut loses = Vec::new();
        if row.dirty > 0 {
            loses.push(format!("{} changed and not committed", many(row.dirty)));
        }
        if row.untracked > 0 {
            loses.push(format!("{} unknown to git", many(row.untracked)));
        }
        if with_branch && row.home_tip.is_some() {
            let ground = self.app.ground_of_branch(row).await.map_err(|e| e.failure())?;
            if !self.app.is_merged(row, &ground).await? {
                loses.push("commits that are not merged".to_owned());
            }
        } else if row.home_tip.is_some() {
            // Its branch in the repository keeps its commits, as long as it is there.
            let ground = self.app.ground_of_branch(row).await;
            match ground {
                Ok(ground) => {
                    let tip = row.home_tip.as_deref().and_then(Oid::parse);
                    let at = match &row.home_ref {
                        Some(name) => ground.repo.at(name).await.map_err(|e| e.failure())?,
                        None => None,
                    };
                    let is_kept = match (&tip, &at) {
                        (Some(tip), Some(at)) => tip == at || ground.mirror.is_ancestor(tip, at).await.map_err(|e| e.failure())?,
                        _ => false,
                    };
                    if !is_kept && !self.app.is_merged(row, &ground).await? {
                        loses.push("commits that no branch of the repository has".to_owned());
                    }
                }
                Err(error) => loses.push(format!("commits, as far as can be seen ({})", error.failure().message)),
            }
        }
        Ok(loses)
    }

    /// Removes the branch from all of its repositories, where it is still what came home.
    async fn remove_refs(&self, row: &BranchRow) -> Result<(), Failure> {
        let seen = seen_from_all(row);
        // Whatever keeps one from being removed is found before another one is.
        let passes: &[bool] = if row.also.is_empty() { &[true] } else { &[false, true] };
        for may_remove in passes {
            for (_, seen) in &seen {
                self.remove_ref_in(seen, *may_remove).await?;
            }
        }
        Ok(())
    }

    async fn remove_ref_in(&self, row: &BranchRow, may_remove: bool) -> Result<(), Failure> {
        let (Some(name), Some(tip)) = (&row.home_ref, row.home_tip.as_deref().and_then(Oid::parse)) else { return Ok(()) };
        let _alone = self.app.hold_repo(&row.repo).await;
        let told = |e: GitError| e.failure();
        let ground = self.app.ground_of_branch(row).await.map_err(told)?;
        if let Some((_, path)) = ground.repo.checked_out().await.map_err(told)?.into_iter().find(|(branch, _)| *branch == row.name) {
            return Err(Failure::new(Code::Conflict, format!("the branch {} is checked out in {}", row.name, path.display()))
                .hint("check another one out first, or leave out --delete-branch"));
        }
        match ground.repo.at(name).await.map_err(told)? {
            None => Ok(()),
            Some(at) if at != tip => Err(GitError::Moved(name.clone()).failure()),
            Some(_) if may_remove => ground.repo.remove_ref(name, &tip).await.map_err(told),
            Some(_) => Ok(()),
        }
    }

    /// Forgets row and session at once, then what they had.
    async fn forget(&self, row: &BranchRow, tree: Option<TreeId>) -> Result<(), Failure> {
        let store = self.app.store();
        self.app.let_go(&row.session).await;
        let mut trees: Vec<TreeId> =
            store.checkpoints(&row.session).await.map_err(|e| e.failure())?.into_iter().map(|checkpoint| checkpoint.tree).collect();
        trees.extend(tree);
        store.delete_branch(&row.id).await.map_err(|e| e.failure())?;
        model::crash::point("branch:forgotten");
        self.app.end_followers(&row.session);
        // What cannot be removed now is nobody's, and goes with the next sweep.
        for tree in &trees {
            self.app.drop_tree(tree).await;
        }
        let _ = std::fs::remove_dir_all(self.app.session_dir(&row.session));
        Ok(())
    }
}

fn many(n: u64) -> String {
    format!("{n} file{}", if n == 1 { "" } else { "s" })
}
