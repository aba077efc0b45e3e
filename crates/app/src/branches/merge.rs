//! Taking an agent's work over: looked at beforehand, one branch after the other, all or nothing of each.

use std::collections::BTreeMap;

use model::{Code, Failure};
use store::{BranchMerged, BranchPatch, BranchRepo, BranchRow};

use super::forms::{BranchAuthor, MergeForm, MergeView, Options, PreviewForm, PreviewPair, PreviewView, SpawnedOne};
use super::read::{Ground, base_of, seen_from_all, tip_of};
use super::{BranchesOf, kinds, merge_all, seen};
use crate::git::merge::{self, Conflict, MergeOrder, Outcome, Person, Side};
use crate::git::{GitError, Oid, Seat, preview};
use crate::{App, now};

/// Files that one report lists.
pub(super) const FILES_MAX: usize = 100;
/// Who merges where nobody is known.
const NOBODY: (&str, &str) = ("Lazaret", "agent@localhost");

impl BranchesOf<'_> {
    /// What would conflict if these branches were merged; touches nothing of the repository.
    ///
    /// # Errors
    /// There is no such agent, they are of different repositories, or nothing of one came home.
    pub async fn preview(&self, form: PreviewForm) -> Result<PreviewView, Failure> {
        let mut rows = Vec::with_capacity(form.agents.len());
        for id in form.agents.iter().take(preview::BRANCHES_MAX + 1) {
            rows.push(self.row(id.as_str()).await?);
        }
        let first = rows.first().ok_or_else(|| Failure::new(Code::Usage, "no agent is named").field("agents"))?;
        if rows.iter().any(|row| row.repo != first.repo) {
            return Err(Failure::new(Code::Usage, "the agents are of different repositories").field("agents"));
        }
        let ground = self.app.ground_of_branch(first).await.map_err(|e| e.failure())?;
        let asked = form.into;
        let into = self.target(first, &ground, asked.clone()).await?;
        let mut sides = Vec::with_capacity(rows.len());
        for row in &rows {
            sides.push(Side { name: row.name.clone(), commit: tip_of(row)? });
        }
        let seen = preview::preview(&ground.mirror, &into, &sides).await.map_err(|e| e.failure())?;
        let view = |list: Vec<(String, Outcome)>| list.into_iter().map(|(branch, outcome)| looked(&branch, &into.name, outcome)).collect();
        let mut report = PreviewView {
            alone: view(seen.alone),
            in_order: view(seen.in_order),
            pairs: seen.pairs.into_iter().map(|(one, other, files)| PreviewPair { one, other, files: paths(files) }).collect(),
            into: into.name,
        };
        self.preview_beside(&rows, asked.as_deref(), &mut report).await?;
        Ok(report)
    }

    /// Adds what would conflict in the repositories beside the first one.
    async fn preview_beside(&self, rows: &[BranchRow], asked: Option<&str>, report: &mut PreviewView) -> Result<(), Failure> {
        let told = |e: GitError| e.failure();
        let mut places: BTreeMap<&str, Vec<(usize, &BranchRepo)>> = BTreeMap::new();
        for (n, row) in rows.iter().enumerate() {
            row.also.iter().for_each(|repo| places.entry(repo.repo.as_str()).or_default().push((n, repo)));
        }
        for seats in places.into_values() {
            let mut sides = Vec::with_capacity(seats.len());
            for (n, repo) in &seats {
                let seen = rows[*n].seen_from(repo);
                sides.push(Side { name: seen.name.clone(), commit: tip_of(&seen)? });
            }
            let Some((n, repo)) = seats.first() else { continue };
            let first = rows[*n].seen_from(repo);
            let ground = self.app.ground_of_branch(&first).await.map_err(told)?;
            let into = self.target_in(Some(&repo.name), &first, &ground, asked.map(str::to_owned)).await?;
            let seen = preview::preview(&ground.mirror, &into, &sides).await.map_err(told)?;
            for (list, outcomes) in [(&mut report.alone, seen.alone), (&mut report.in_order, seen.in_order)] {
                for ((n, repo), (_, outcome)) in seats.iter().zip(outcomes) {
                    merge_all::add(&mut list[*n], &repo.name, outcome);
                }
            }
            for (one, other, files) in seen.pairs {
                let files = paths(files).iter().map(|file| merge_all::named(&repo.name, file)).collect::<Vec<_>>();
                match report.pairs.iter_mut().find(|pair| pair.one == one && pair.other == other) {
                    Some(pair) => pair.files.extend(files),
                    None => report.pairs.push(PreviewPair { one, other, files }),
                }
            }
        }
        Ok(())
    }

    /// Merges an agent's branch. Where the target is checked out its files come along; a conflict changes nothing and is told.
    ///
    /// # Errors
    /// There is no such agent or target, nothing of it came home, it works just now, or files are in the way: nothing has
    /// changed then.
    pub async fn merge(&self, id: &str, form: MergeForm) -> Result<MergeView, Failure> {
        let row = self.row(id).await?;
        if !row.state().is_over() && !form.dry_run {
            return Err(Failure::new(Code::Conflict, format!("the agent on {} is not over", row.name))
                .hint("wait for it, or stop it: lazaret agents wait, lazaret agents stop"));
        }
        let tip = tip_of(&row)?;
        if let Some(why) = form.expect.as_deref().and_then(|seen| seen::elsewhere_of(&row, seen)) {
            return Err(Failure::new(Code::Conflict, why).field("expect").hint("look at it again: lazaret agents diff"));
        }
        if !row.also.is_empty() {
            return self.merge_all(&row, &form).await;
        }
        let _alone = self.app.hold_repo(&row.repo).await;
        let ground = self.app.ground_of_branch(&row).await.map_err(|e| e.failure())?;
        let into = self.target(&row, &ground, form.into.clone()).await?;
        let side = Side { name: row.name.clone(), commit: tip.clone() };
        let told = |e: GitError| e.failure();
        if form.dry_run {
            let outcome = merge::try_merge(&ground.mirror, &into.commit, &tip, None).await.map_err(told)?;
            return Ok(looked(&row.name, &into.name, outcome));
        }
        let author = self.merger(&row, &ground).await?;
        let merged = match merge::merge(order(&ground, &into, &side, &author)).await {
            Ok(merged) => merged,
            Err(GitError::Conflict { files, .. }) => {
                let files = files.into_iter().take(FILES_MAX).collect();
                return Ok(MergeView { conflicts: files, ..blank(&row.name, &into.name, "conflict") });
            }
            Err(error) => return Err(error.failure()),
        };
        model::crash::point("branch:merged");
        let patch = BranchPatch {
            merged: Some(BranchMerged { tip: tip.to_string(), into: into.name.clone(), commit: merged.after.to_string() }),
            ..BranchPatch::default()
        };
        self.app.store().update_branch(&row.id, patch, now()).await.map_err(|e| e.failure())?;
        self.app.branch_news(&row.session);
        let size = super::size::size_of(&ground.mirror, &into.commit, &merged.after).await.ok();
        let result = if merged.before == merged.after { "current" } else { "merged" };
        Ok(MergeView { commit: Some(merged.after.to_string()), size, ..blank(&row.name, &into.name, result) })
    }

    /// Gives a conflict with the target to the agent, as its next turn: it merges the target into its own branch.
    ///
    /// # Errors
    /// There is no such agent or target, or it does not conflict.
    pub async fn resolve_conflict(&self, id: &str, into: Option<String>) -> Result<SpawnedOne, Failure> {
        let row = self.row(id).await?;
        let (mut text, mut key, mut targets) = (String::new(), None, Vec::new());
        for (name, seen) in seen_from_all(&row) {
            let tip = tip_of(&seen)?;
            let ground = self.app.ground_of_branch(&seen).await.map_err(|e| e.failure())?;
            let into = self.target_in(name.as_deref(), &seen, &ground, into.clone()).await?;
            targets.push(into.name.clone());
            let outcome = merge::try_merge(&ground.mirror, &into.commit, &tip, None).await.map_err(|e| e.failure())?;
            let Outcome::Conflict(files) = outcome else { continue };
            let place = name.map(|name| format!(" in {}", Seat::Beside(&name).inside())).unwrap_or_default();
            text.push_str(&format!(
                "Your branch{place} does not merge with `{}`, which is at the commit {} by now. That commit is in your clone: run \
                 `git merge {}`{place}, resolve the conflicts so that both changes keep their meaning, run the tests, and commit the \
                 merge. The files:\n",
                into.name, into.commit, into.commit
            ));
            for file in files.iter().take(FILES_MAX) {
                text.push_str(&format!("- {}: {}\n", file.path, file.message));
            }
            key.get_or_insert_with(|| format!("resolve:{}:{}:{}", row.id, tip, into.commit));
        }
        let Some(key) = key else {
            return Err(Failure::new(Code::Conflict, format!("{} does not conflict with {}", row.name, targets.join(", "))));
        };
        let key: String = key.chars().take(128).collect();
        let turn = self.ask(&row, kinds::further(&row.name, &text), Some(key)).await?;
        let row = self.app.store().branch(&row.id).await.map_err(|e| e.failure())?;
        Ok(SpawnedOne { agent: self.app.branch_view(row).await?, turn, is_new: false })
    }

    /// The branch that is merged into, and where it is.
    pub(super) async fn target(&self, row: &BranchRow, ground: &Ground, asked: Option<String>) -> Result<Side, Failure> {
        let name = asked.or_else(|| row.target.clone());
        let name = name.ok_or_else(|| {
            Failure::new(Code::Usage, format!("{} was begun at no branch; say into which it is merged", row.name)).field("into")
        })?;
        model::check_branch_name(&name).map_err(|e| Failure::new(Code::Usage, e.to_string()).field("into"))?;
        if name == row.name {
            return Err(Failure::new(Code::Usage, "a branch is not merged into itself").field("into"));
        }
        let at = ground.repo.at(&format!("refs/heads/{name}")).await.map_err(|e| e.failure())?;
        let commit = at.ok_or_else(|| Failure::new(Code::NotFound, format!("there is no branch `{name}`")).field("into"))?;
        Ok(Side { name, commit })
    }

    /// Who the merge is by: whoever asked for the agent, else the repository's own user.
    pub(super) async fn merger(&self, row: &BranchRow, ground: &Ground) -> Result<Person, Failure> {
        let options: Options = serde_json::from_value(row.options.clone()).unwrap_or_default();
        if let Some(BranchAuthor { name, email }) = options.author {
            return Ok((name, email));
        }
        let own = ground.repo.user().await.map_err(|e| e.failure())?;
        Ok(own.unwrap_or_else(|| (NOBODY.0.to_owned(), NOBODY.1.to_owned())))
    }
}

impl App {
    /// Whether a branch has anything that the target does not.
    pub(super) async fn is_merged(&self, row: &BranchRow, ground: &Ground) -> Result<bool, Failure> {
        let Some(tip) = row.home_tip.as_deref().and_then(Oid::parse) else { return Ok(true) };
        if tip == base_of(row)? {
            return Ok(true);
        }
        let told = |e: GitError| e.failure();
        // What was put on top of the target is there as another commit.
        let as_other =
            row.merged_tip.as_ref().filter(|merged| **merged == tip.to_string()).and(row.merged_as.as_deref()).and_then(Oid::parse);
        let tips: Vec<Oid> = std::iter::once(tip).chain(as_other).collect();
        for name in [row.target.as_ref(), row.merged_into.as_ref()].into_iter().flatten() {
            let Some(at) = ground.repo.at(&format!("refs/heads/{name}")).await.map_err(told)? else { continue };
            for tip in &tips {
                if at == *tip || ground.mirror.is_ancestor(tip, &at).await.map_err(told)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

fn paths(files: Vec<Conflict>) -> Vec<String> {
    files.into_iter().take(FILES_MAX).map(|file| file.path).collect()
}

/// What is asked of git: a merge of an agent's branch as one makes it by hand.
pub(super) fn order<'a>(ground: &'a Ground, into: &'a Side, branch: &'a Side, author: &'a Person) -> MergeOrder<'a> {
    MergeOrder { repo: &ground.repo, mirror: &ground.mirror, into: &into.name, branch, author, message: None, always_commit: false }
}

pub(super) fn blank(branch: &str, into: &str, result: &str) -> MergeView {
    MergeView {
        branch: branch.to_owned(),
        into: into.to_owned(),
        result: result.to_owned(),
        commit: None,
        conflicts: Vec::new(),
        size: None,
        also: Vec::new(),
    }
}

/// What a merge would come to.
pub(super) fn looked(branch: &str, into: &str, outcome: Outcome) -> MergeView {
    match outcome {
        Outcome::Already => blank(branch, into, "current"),
        Outcome::Forward | Outcome::Clean(_) => blank(branch, into, "ready"),
        Outcome::Conflict(files) => MergeView { conflicts: paths(files), ..blank(branch, into, "conflict") },
    }
}
