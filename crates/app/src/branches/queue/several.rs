//! An agent of several repositories at its place in a queue: put on top of the target in each of them, checked with all of it together,
//! and merged in all of them or in none.

use model::{Failure, PlaceState};
use store::BranchRow;

use super::super::BranchesOf;
use super::super::forms::CheckView;
use super::super::merge_all::{self, Part};
use super::super::read::{Ground, seen_from_all, tip_of};
use super::work::{Broken, Hand, Step, TRIES_MAX};
use crate::git::merge::{Conflict, Side};
use crate::git::rebase::{Rebased, rebase};
use crate::git::{GitError, Oid};
use crate::{App, Caller};

/// What a branch comes to on top of the targets.
enum Put {
    /// Where each target goes.
    On(Vec<Part>),
    /// It does not fit on the target of one.
    Conflict { into: Side, commit: Oid, subject: String, files: Vec<Conflict> },
}

impl App {
    /// Puts one branch into the target in each of the agent's repositories, or says why in none.
    pub(super) async fn put_all_in(&self, hand: &mut Hand, n: usize, mut row: BranchRow) -> Result<Step, Broken> {
        let of = self.branches_of(&Caller::OWNER);
        let mut tries = 0;
        loop {
            // What was noted and perhaps begun is ended first; then it is seen where all of them stand.
            let was_passed = hand.places[n].state == PlaceState::Passed;
            if was_passed {
                self.finish_merge(&row).await.map_err(Broken::Failed)?;
            }
            hand.is_as_seen(n, &row)?;
            let parts = match self.put_on_top(&of, hand, &row).await? {
                Put::On(parts) => parts,
                Put::Conflict { into, commit, subject, files } => {
                    hand.conflicts(n, &into, &commit, &subject, files);
                    if !self.asked_to_resolve(hand, n, &of, &into).await? {
                        return Ok(Step::Stop);
                    }
                    row = self.agent_over(hand, &row.id).await?;
                    continue;
                }
            };
            hand.places[n].tip = Some(tip_of(&row).map_err(Broken::Failed)?.to_string());
            if parts.iter().all(|part| part.moved().is_none()) {
                self.note_parts(&row, &parts).await.map_err(Broken::Failed)?;
                hand.stands(n, if was_passed { PlaceState::Merged } else { PlaceState::Current }, String::new());
                self.keep(hand, None).await?;
                return Ok(Step::Next);
            }
            let check = self.check_all(&row, &parts, &hand.places[n].command).await.map_err(Broken::Failed)?;
            let into = parts[0].into.clone();
            if !hand.checked(n, check, &into) {
                return Ok(Step::Stop);
            }
            hand.passed(n, &into.commit, parts[0].after());
            self.keep(hand, None).await?;
            model::crash::point("queue:passed");
            if self.merge_parts(&row, &parts).await.map_err(Broken::Failed)? {
                model::crash::point("queue:moved");
                hand.stands(n, PlaceState::Merged, String::new());
                self.keep(hand, None).await?;
                return Ok(Step::Next);
            }
            hand.places[n].state = PlaceState::Waiting;
            tries += 1;
            if tries >= TRIES_MAX {
                return Err(hand.moved_again_and_again());
            }
            row = self.agent_over(hand, &row.id).await?;
        }
    }

    /// What the branch comes to on top of the target as it is now, in each repository.
    async fn put_on_top(&self, of: &BranchesOf<'_>, hand: &Hand, row: &BranchRow) -> Result<Put, Broken> {
        let mut parts = Vec::with_capacity(row.also.len() + 1);
        for (name, seen) in seen_from_all(row) {
            let tip = tip_of(&seen).map_err(Broken::Failed)?;
            let ground = self.ground_of_branch(&seen).await?;
            let into = of.target_in(name.as_deref(), &seen, &ground, Some(hand.row.target.clone())).await.map_err(Broken::Failed)?;
            let by = of.merger(&seen, &ground).await.map_err(Broken::Failed)?;
            let side = Side { name: seen.name.clone(), commit: tip.clone() };
            let after = match rebase(&ground.mirror, &into.commit, &side, &by).await? {
                Rebased::Already => into.commit.clone(),
                Rebased::On { tip, .. } => tip,
                Rebased::Conflict { commit, subject, files } => {
                    let place = |path: &str| name.as_deref().map_or_else(|| path.to_owned(), |name| merge_all::named(name, path));
                    let files = files.into_iter().map(|file| Conflict { path: place(&file.path), message: file.message }).collect();
                    return Ok(Put::Conflict { into, commit, subject, files });
                }
            };
            parts.push(Part { name, plan: Ok((into.commit.clone(), after)), ground, into, tip });
        }
        Ok(Put::On(parts))
    }

    /// Runs a command on the files of all of the agent's repositories, as they would be.
    async fn check_all(&self, row: &BranchRow, parts: &[Part], command: &str) -> Result<CheckView, Failure> {
        let beside: Vec<(&str, &Ground, &Oid)> =
            parts.iter().filter_map(|part| Some((part.name.as_deref()?, &part.ground, part.after()))).collect();
        self.run_check_beside(row, (&parts[0].ground, parts[0].after()), &beside, command).await
    }

    /// Merges what was checked. False where a target was moved meanwhile: then nothing was changed.
    async fn merge_parts(&self, row: &BranchRow, parts: &[Part]) -> Result<bool, Failure> {
        let _alone = self.hold_repos(row).await;
        for part in parts {
            let told = |e: GitError| e.failure();
            let at = part.ground.repo.at(&format!("refs/heads/{}", part.into.name)).await.map_err(told)?;
            if at.as_ref() != Some(&part.into.commit) {
                return Ok(false);
            }
        }
        self.make_parts(row, parts).await?;
        Ok(true)
    }
}
