//! Merging what an agent did in several repositories: looked at in all of them first, and made nowhere while it does not fit in one.
//!
//! What is to move is noted before the first branch moves. A daemon that dies in between is followed by one that goes on, or says what
//! stands half where somebody moved a branch meanwhile.

use model::{Code, Failure};
use serde::{Deserialize, Serialize};
use store::{BranchMerged, BranchPatch, BranchRepoPatch, BranchRow};

use super::BranchesOf;
use super::forms::{MergeForm, MergeInRepo, MergeView};
use super::merge::{FILES_MAX, blank, looked, order};
use super::read::{Ground, seen_from_all, tip_of};
use super::size::size_of;
use crate::git::merge::{self, Outcome, Side};
use crate::git::{GitError, Oid};
use crate::{App, now};

/// A merge that was begun, as it is kept with the row.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Begun {
    steps: Vec<Step>,
    /// What stands half, in words.
    #[serde(default)]
    failed: Option<String>,
}

/// One branch that is to move.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// The repository beside the first one; `None` for that one.
    name: Option<String>,
    into: String,
    tip: String,
    before: String,
    after: String,
}

impl Step {
    /// What the row is told of it once it is made.
    fn merged(&self) -> BranchMerged {
        BranchMerged { tip: self.tip.clone(), into: self.into.clone(), commit: self.after.clone() }
    }

    fn place(&self) -> &str {
        self.name.as_deref().unwrap_or("the first repository")
    }
}

/// What a merge comes to in one repository.
pub(super) struct Part {
    /// The repository beside the first one; `None` for that one.
    pub(super) name: Option<String>,
    /// The repository.
    pub(super) ground: Ground,
    /// The target as it was seen.
    pub(super) into: Side,
    /// The agent's commit.
    pub(super) tip: Oid,
    /// Where the target was, and where it goes; else what conflicts.
    pub(super) plan: Result<(Oid, Oid), Vec<String>>,
}

impl Part {
    /// From where to where the target moves, where it does.
    pub(super) fn moved(&self) -> Option<(&Oid, &Oid)> {
        self.plan.as_ref().ok().filter(|(before, after)| before != after).map(|(before, after)| (before, after))
    }

    /// Where the target is afterwards.
    pub(super) fn after(&self) -> &Oid {
        self.moved().map_or(&self.into.commit, |(_, after)| after)
    }

    fn step(&self) -> Option<Step> {
        let (before, after) = self.plan.as_ref().ok()?;
        let (into, tip) = (self.into.name.clone(), self.tip.to_string());
        Some(Step { name: self.name.clone(), into, tip, before: before.to_string(), after: after.to_string() })
    }

    /// What came of it, or would: `moved` is the word for a target that moves.
    async fn view(&self, moved: &str) -> MergeInRepo {
        let (result, commit, size) = match (&self.plan, self.moved()) {
            (Err(_), _) => ("conflict", None, None),
            (_, None) => ("current", Some(&self.into.commit), None),
            (_, Some((before, after))) => (moved, Some(after), size_of(&self.ground.mirror, before, after).await.ok()),
        };
        MergeInRepo {
            name: self.name.clone().unwrap_or_default(),
            into: self.into.name.clone(),
            result: result.to_owned(),
            // Only of what was made: a commit that was looked at is nobody's.
            commit: commit.filter(|_| moved == "merged").map(Oid::to_string),
            conflicts: self.plan.as_ref().err().cloned().unwrap_or_default(),
            size,
        }
    }
}

/// What a person should know of a merge that stands half.
pub(super) fn half(row: &BranchRow) -> Option<String> {
    serde_json::from_value::<Begun>(row.merging.clone()?).ok()?.failed
}

impl BranchesOf<'_> {
    /// Merges in all repositories of an agent, or in none.
    pub(super) async fn merge_all(&self, row: &BranchRow, form: &MergeForm) -> Result<MergeView, Failure> {
        let _alone = self.app.hold_repos(row).await;
        let mut parts = Vec::with_capacity(row.also.len() + 1);
        for (name, seen) in seen_from_all(row) {
            let part = self.part(name.clone(), &seen, form).await;
            parts.push(part.map_err(|failure| within(name.as_deref(), failure))?);
        }
        if form.dry_run || parts.iter().any(|part| part.plan.is_err()) {
            return Ok(view(row, &parts, "ready").await);
        }
        self.app.make_parts(row, &parts).await?;
        Ok(view(row, &parts, "merged").await)
    }

    /// What a merge comes to in one of the repositories.
    async fn part(&self, name: Option<String>, row: &BranchRow, form: &MergeForm) -> Result<Part, Failure> {
        let told = |e: GitError| e.failure();
        let tip = tip_of(row)?;
        let ground = self.app.ground_of_branch(row).await.map_err(told)?;
        let into = self.target_in(name.as_deref(), row, &ground, form.into.clone()).await?;
        let side = Side { name: row.name.clone(), commit: tip.clone() };
        let author = self.merger(row, &ground).await?;
        let plan = match merge::plan(&order(&ground, &into, &side, &author)).await {
            Ok(moved) => Ok(moved),
            Err(GitError::Conflict { files, .. }) => Err(files.into_iter().take(FILES_MAX).collect()),
            Err(error) => return Err(error.failure()),
        };
        Ok(Part { name, ground, into, tip, plan })
    }

    /// The branch that is merged into in one of an agent's repositories: what is asked for where that one has it.
    pub(super) async fn target_in(
        &self,
        name: Option<&str>,
        row: &BranchRow,
        ground: &Ground,
        asked: Option<String>,
    ) -> Result<Side, Failure> {
        let asked = match asked {
            Some(branch) if name.is_some() && model::check_branch_name(&branch).is_ok() => {
                ground.repo.at(&format!("refs/heads/{branch}")).await.map_err(|e| e.failure())?.map(|_| branch)
            }
            asked => asked,
        };
        self.target(row, ground, asked).await
    }
}

impl App {
    /// Moves the targets of all parts, or of none; what stands half is said. Whoever asks holds the repositories.
    pub(super) async fn make_parts(&self, row: &BranchRow, parts: &[Part]) -> Result<(), Failure> {
        // Whatever stands in the way of one is found before another one moves.
        for part in parts {
            if let Some((before, after)) = part.moved() {
                let ready = merge::ready(&part.ground.repo, &part.ground.mirror, &part.into.name, before, after).await;
                ready.map_err(|error| within(part.name.as_deref(), error.failure()))?;
            }
        }
        let steps: Vec<Step> = parts.iter().filter_map(Part::step).collect();
        self.note_merging(row, &Begun { steps: steps.clone(), failed: None }).await?;
        model::crash::point("branch:merge-noted");
        for (n, (part, step)) in parts.iter().zip(&steps).enumerate() {
            if n > 0 {
                model::crash::point("branch:merge-next");
            }
            let Some((before, after)) = part.moved() else { continue };
            let made = merge::advance(&part.ground.repo, &part.ground.mirror, &part.into.name, before, after).await;
            if let Err(error) = made {
                let failure = error.failure();
                return Err(match self.stands_half(row, &steps[..n], step, &failure.message).await? {
                    Some(text) => {
                        Failure::new(Code::Conflict, text).hint("merge again when it is out of the way: what is merged stays merged")
                    }
                    None => failure,
                });
            }
        }
        model::crash::point("branch:merged");
        self.note_all_merged(row, &steps).await
    }

    /// Notes where nothing is to move that all of it is there.
    pub(super) async fn note_parts(&self, row: &BranchRow, parts: &[Part]) -> Result<(), Failure> {
        self.note_all_merged(row, &parts.iter().filter_map(Part::step).collect::<Vec<_>>()).await
    }

    /// Ends merges into several repositories that a daemon before this one began.
    pub(super) async fn finish_merges(&self) {
        let rows = match self.store().branches_merging(store::LIST_MAX).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(error = model::chain(&error), "which merges were begun cannot be read");
                return;
            }
        };
        for row in rows {
            if self.check_here(&row.session).await.is_err() {
                continue;
            }
            if let Err(failure) = self.finish_merge(&row).await {
                tracing::warn!(branch = %row.id, %failure, "a merge that was begun was not ended");
            }
        }
    }

    /// Ends what was begun of one agent's merge; nothing where nothing was.
    pub(super) async fn finish_merge(&self, row: &BranchRow) -> Result<(), Failure> {
        let _alone = self.hold_repos(row).await;
        // Somebody may have merged it meanwhile.
        let row = self.store().branch(&row.id).await.map_err(|e| e.failure())?;
        let unread = |e: serde_json::Error| Failure::new(Code::StoreUnusable, format!("the merge that was begun cannot be read: {e}"));
        let Some(begun) = row.merging.clone().map(serde_json::from_value::<Begun>).transpose().map_err(unread)? else { return Ok(()) };
        if begun.failed.is_some() {
            return Ok(());
        }
        let seen = seen_from_all(&row);
        for (n, step) in begun.steps.iter().enumerate() {
            let place = seen.iter().find(|(name, _)| *name == step.name).map(|(_, seen)| seen);
            let place =
                place.ok_or_else(|| Failure::new(Code::StoreUnusable, "the merge that was begun names no repository of the agent"))?;
            if let Err(failure) = self.finish_step(place, step).await {
                if let Some(text) = self.stands_half(&row, &begun.steps[..n], step, &failure.message).await? {
                    tracing::warn!(branch = %row.id, "{text}");
                }
                return Ok(());
            }
        }
        self.note_all_merged(&row, &begun.steps).await
    }

    /// Moves one branch, where that was not done.
    async fn finish_step(&self, row: &BranchRow, step: &Step) -> Result<(), Failure> {
        let told = |e: GitError| e.failure();
        let unread = || Failure::new(Code::StoreUnusable, "the merge that was begun names no commit");
        let (before, after) = Oid::parse(&step.before).zip(Oid::parse(&step.after)).ok_or_else(unread)?;
        let ground = self.ground_of_branch(row).await.map_err(told)?;
        let at = ground.repo.at(&format!("refs/heads/{}", step.into)).await.map_err(told)?;
        match at {
            Some(at) if at == after => Ok(()),
            Some(at) if at == before => {
                merge::advance(&ground.repo, &ground.mirror, &step.into, &before, &after).await.map(drop).map_err(told)
            }
            Some(at) if ground.mirror.is_ancestor(&after, &at).await.map_err(told)? => Ok(()),
            _ => Err(GitError::Moved(step.into.clone()).failure()),
        }
    }

    async fn note_merging(&self, row: &BranchRow, begun: &Begun) -> Result<(), Failure> {
        let value = serde_json::to_value(begun).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        let patch = BranchPatch { merging: Some(value), ..BranchPatch::default() };
        self.store().update_branch(&row.id, patch, now()).await.map(drop).map_err(|e| e.failure())
    }

    /// Notes that all of these are made.
    async fn note_all_merged(&self, row: &BranchRow, steps: &[Step]) -> Result<(), Failure> {
        let patch = BranchPatch { merging: Some(serde_json::Value::Null), ..made(steps) };
        self.store().update_branch(&row.id, patch, now()).await.map_err(|e| e.failure())?;
        self.branch_news(&row.session);
        Ok(())
    }

    /// Notes what stands half: these are made, that one is not. `None` where nothing stands: then nothing was merged.
    async fn stands_half(&self, row: &BranchRow, done: &[Step], not: &Step, why: &str) -> Result<Option<String>, Failure> {
        let is_any = done.iter().any(|step| step.before != step.after);
        let names = done.iter().map(Step::place).collect::<Vec<_>>().join(", ");
        let text = is_any.then(|| format!("the merge stands half: made in {names}, and not in {}: {why}", not.place()));
        let begun = Begun { steps: Vec::new(), failed: text.clone() };
        let value = if is_any {
            serde_json::to_value(begun).map_err(|e| Failure::new(Code::Internal, e.to_string()))?
        } else {
            serde_json::Value::Null
        };
        let patch = BranchPatch { merging: Some(value), ..made(done) };
        self.store().update_branch(&row.id, patch, now()).await.map_err(|e| e.failure())?;
        self.branch_news(&row.session);
        Ok(text)
    }
}

/// What the row is told of merges that are made.
fn made(steps: &[Step]) -> BranchPatch {
    let of = |step: &Step| {
        let name = step.name.clone()?;
        Some(BranchRepoPatch { name, home: None, merged: Some(step.merged()) })
    };
    BranchPatch {
        merged: steps.iter().find(|step| step.name.is_none()).map(Step::merged),
        repos: steps.iter().filter_map(of).collect(),
        ..BranchPatch::default()
    }
}

/// All parts as one: a conflict in one is one of the whole.
async fn view(row: &BranchRow, parts: &[Part], moved: &str) -> MergeView {
    let mut seen = Vec::with_capacity(parts.len());
    for part in parts {
        seen.push(part.view(moved).await);
    }
    let has = |word: &str| seen.iter().any(|one| one.result == word);
    let result = if has("conflict") {
        "conflict"
    } else if has(moved) {
        moved
    } else {
        "current"
    };
    let mut seen = seen.into_iter();
    let Some(first) = seen.next() else { return blank(&row.name, "", result) };
    let also: Vec<MergeInRepo> = seen.collect();
    let beside = also.iter().flat_map(|one| one.conflicts.iter().map(move |file| named(&one.name, file)));
    MergeView {
        commit: first.commit.filter(|_| result == "merged"),
        conflicts: first.conflicts.into_iter().chain(beside).collect(),
        size: first.size,
        also,
        ..blank(&row.name, &first.into, result)
    }
}

/// A file of a repository beside the first one, as reports name it.
pub(super) fn named(name: &str, file: &str) -> String {
    format!("{name}: {file}")
}

/// Adds what would come of a merge in a repository beside the first one to the report of the whole.
pub(super) fn add(report: &mut MergeView, name: &str, outcome: Outcome) {
    let one = looked(&report.branch, &report.into, outcome);
    match (report.result.as_str(), one.result.as_str()) {
        (_, "conflict") => report.result = one.result,
        ("current", "ready") => report.result = one.result,
        _ => {}
    }
    report.conflicts.extend(one.conflicts.iter().map(|file| named(name, file)));
}

/// A failure that names the repository beside the first one.
fn within(name: Option<&str>, failure: Failure) -> Failure {
    match name {
        None => failure,
        Some(name) => Failure { message: named(name, &failure.message), ..failure },
    }
}
