//! The daemon at a merge queue. Each step is noted before its effect, and the effect can be told from where the target stands: so a
//! daemon that dies anywhere is followed by one that neither merges twice nor leaves out.

use std::time::Duration;

use model::{Code, Failure, MergeQueueId, PlaceState, QueueEvent, QueueState};
use store::{BranchMerged, BranchPatch, BranchRow, MergeQueueRow};

use super::super::BranchesOf;
use super::super::check::CHECK_OUTPUT_CHARS_SHOWN;
use super::super::forms::CheckView;
use super::super::read::{Ground, tip_of};
use super::super::seen::elsewhere_of;
use super::form::{self, QueueConflict, QueueOptions, QueuePlace};
use crate::due::keep_looking;
use crate::git::merge::{self, Conflict, Side};
use crate::git::rebase::{Rebased, rebase};
use crate::git::{GitError, Oid};
use crate::{App, Caller, now};

/// How often a branch is put on top anew because the target was moved meanwhile.
pub(super) const TRIES_MAX: u32 = 4;
/// How often an agent is asked to resolve one and the same place's conflict.
const RESOLVES_MAX: u32 = 2;
/// Files of a conflict that are kept.
const FILES_MAX: usize = 50;
/// The longest text of a file's name or message that is kept, in characters.
const TEXT_CHARS_MAX: usize = 400;
/// How long an agent's row rests before it is looked at again while nothing is heard of it.
const LOOK: Duration = Duration::from_secs(30);

/// What came of a step.
pub(super) enum Step {
    /// The branch is in the target.
    Next,
    /// It stands in the way.
    Stop,
}

/// Why a step was not made.
pub(super) enum Broken {
    /// Somebody stopped the queue.
    Ended,
    /// It cannot be, and the queue stops with this.
    Failed(Failure),
    /// The store does not answer; it is taken up again.
    Store(Failure),
}

impl From<GitError> for Broken {
    fn from(error: GitError) -> Self {
        Self::Failed(error.failure())
    }
}

fn store_says(error: store::StoreError) -> Broken {
    Broken::Store(error.failure())
}

/// A queue in hand.
pub(super) struct Hand {
    pub(super) row: MergeQueueRow,
    options: QueueOptions,
    pub(super) places: Vec<QueuePlace>,
}

impl App {
    /// Works on merge queues, from the daemon's start to its end.
    pub(crate) fn keep_queues(&self) {
        self.until_the_end(|app| async move {
            let look = || async {
                app.begin_queues().await?;
                Ok(None)
            };
            keep_looking("merge queues", &app.branch_desk().queues, look).await;
        });
    }

    /// Begins with every queue that nobody works on: one of a repository at a time, the oldest first.
    async fn begin_queues(&self) -> Result<(), store::StoreError> {
        let mut rows = self.store().merge_queues(None, None, Some(QueueState::Working), store::LIST_MAX).await?;
        rows.reverse();
        for row in rows {
            if !self.is_ours(&row).await || !self.branch_desk().take_queue(&row.repo, &row.id) {
                continue;
            }
            self.until_the_end(|app| async move {
                let _busy = app.busy();
                let repo = row.repo.clone();
                app.work_queue(row).await;
                app.branch_desk().leave_queue(&repo);
                // Another one of the repository may wait.
                app.branch_desk().queues.notify_one();
            });
        }
        Ok(())
    }

    /// Whether the files of its agents are on this machine.
    async fn is_ours(&self, row: &MergeQueueRow) -> bool {
        let Some(first) = form::places(row).ok().and_then(|places| places.into_iter().next()) else { return true };
        match self.store().branch(&first.agent).await {
            Ok(branch) => self.check_here(&branch.session).await.is_ok(),
            Err(_) => true,
        }
    }

    async fn work_queue(&self, row: MergeQueueRow) {
        let id = row.id.clone();
        match self.go_through(row).await {
            Ok(()) | Err(Broken::Ended) => {}
            Err(Broken::Failed(failure)) => {
                tracing::warn!(queue = %id, %failure, "a merge queue was stopped");
                let _ = self.store().note_merge_queue(&id, None, Some(QueueEvent::Stop), now()).await;
            }
            Err(Broken::Store(failure)) => {
                tracing::warn!(queue = %id, %failure, "a merge queue waits for the store");
                tokio::time::sleep(crate::due::RETRY).await;
            }
        }
    }

    async fn go_through(&self, row: MergeQueueRow) -> Result<(), Broken> {
        let mut hand = Hand { options: form::options(&row), places: form::places(&row).map_err(Broken::Failed)?, row };
        for n in 0..hand.places.len() {
            if hand.places[n].state.is_in() {
                continue;
            }
            let step = match self.put_in(&mut hand, n).await {
                Ok(step) => step,
                Err(Broken::Failed(failure)) => {
                    let hint = failure.hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default();
                    hand.stands(n, PlaceState::Failed, format!("{}{hint}", failure.message));
                    Step::Stop
                }
                Err(other) => return Err(other),
            };
            if matches!(step, Step::Stop) {
                return self.keep(&mut hand, Some(QueueEvent::Stop)).await;
            }
        }
        self.keep(&mut hand, Some(QueueEvent::Finish)).await
    }

    /// Notes where all stand. Whoever was stopped meanwhile hears it here.
    pub(super) async fn keep(&self, hand: &mut Hand, event: Option<QueueEvent>) -> Result<(), Broken> {
        let places = form::value(&hand.places).map_err(Broken::Failed)?;
        let id = &hand.row.id;
        // One that was stopped by hand keeps what came of its last step, whatever that was.
        let event = match self.store().merge_queue(id).await.map_err(store_says)?.state {
            QueueState::Working => event,
            QueueState::Stopped | QueueState::Done => None,
        };
        hand.row = self.store().note_merge_queue(id, Some(places), event, now()).await.map_err(store_says)?;
        if event.is_none() && hand.row.state != QueueState::Working { Err(Broken::Ended) } else { Ok(()) }
    }

    /// Puts one branch into the target, or says why not.
    async fn put_in(&self, hand: &mut Hand, n: usize) -> Result<Step, Broken> {
        let agent = hand.places[n].agent.clone();
        let mut tries = 0;
        loop {
            let row = self.agent_over(hand, &agent).await?;
            if !row.also.is_empty() {
                return self.put_all_in(hand, n, row).await;
            }
            if let Some(step) = self.taken_up(hand, n, &row).await? {
                return Ok(step);
            }
            let tip = tip_of(&row).map_err(Broken::Failed)?;
            hand.is_as_seen(n, &row)?;
            let of = self.branches_of(&Caller::OWNER);
            let ground = self.ground_of_branch(&row).await?;
            let into = of.target(&row, &ground, Some(hand.row.target.clone())).await.map_err(Broken::Failed)?;
            let by = of.merger(&row, &ground).await.map_err(Broken::Failed)?;
            let side = Side { name: row.name.clone(), commit: tip.clone() };
            hand.places[n].tip = Some(tip.to_string());
            let after = match rebase(&ground.mirror, &into.commit, &side, &by).await? {
                Rebased::Already => {
                    let state = PlaceState::Current;
                    self.note_merged(&row, &tip, &into.name, &into.commit).await?;
                    hand.stands(n, state, String::new());
                    self.keep(hand, None).await?;
                    return Ok(Step::Next);
                }
                Rebased::On { tip, .. } => tip,
                Rebased::Conflict { commit, subject, files } => {
                    hand.conflicts(n, &into, &commit, &subject, files);
                    if self.asked_to_resolve(hand, n, &of, &into).await? {
                        continue;
                    }
                    return Ok(Step::Stop);
                }
            };
            let check = self.run_check(&row, &ground, &after, &hand.places[n].command).await.map_err(Broken::Failed)?;
            if !hand.checked(n, check, &into) {
                return Ok(Step::Stop);
            }
            hand.passed(n, &into.commit, &after);
            self.keep(hand, None).await?;
            model::crash::point("queue:passed");
            if self.moved(hand, n, &row, &ground).await? {
                return Ok(Step::Next);
            }
            tries += 1;
            if tries >= TRIES_MAX {
                return Err(hand.moved_again_and_again());
            }
        }
    }

    /// Goes on where a step was noted and perhaps made. `None` where there is none, or it counts no more.
    async fn taken_up(&self, hand: &mut Hand, n: usize, row: &BranchRow) -> Result<Option<Step>, Broken> {
        if hand.places[n].state != PlaceState::Passed {
            return Ok(None);
        }
        let ground = self.ground_of_branch(row).await?;
        if self.moved(hand, n, row, &ground).await? {
            return Ok(Some(Step::Next));
        }
        Ok(None)
    }

    /// Moves the target to the commit that was noted. False where it was moved elsewhere meanwhile: then nothing was changed.
    async fn moved(&self, hand: &mut Hand, n: usize, row: &BranchRow, ground: &Ground) -> Result<bool, Broken> {
        let place = &hand.places[n];
        let oid = |text: &Option<String>| text.as_deref().and_then(Oid::parse);
        let (Some(tip), Some(before), Some(after)) = (oid(&place.tip), oid(&place.before), oid(&place.commit)) else {
            hand.places[n].state = PlaceState::Waiting;
            return Ok(false);
        };
        let into = hand.row.target.clone();
        {
            let _alone = self.hold_repo(&row.repo).await;
            let at = ground.repo.at(&format!("refs/heads/{into}")).await?;
            let is_there = match &at {
                Some(at) if *at == after => true,
                Some(at) => *at != before && ground.mirror.is_ancestor(&after, at).await?,
                None => false,
            };
            if !is_there {
                if at.as_ref() != Some(&before) {
                    hand.places[n].state = PlaceState::Waiting;
                    return Ok(false);
                }
                match merge::advance(&ground.repo, &ground.mirror, &into, &before, &after).await {
                    Ok(_) => {}
                    Err(GitError::Moved(_)) => {
                        hand.places[n].state = PlaceState::Waiting;
                        return Ok(false);
                    }
                    Err(other) => {
                        hand.places[n].state = PlaceState::Waiting;
                        return Err(other.into());
                    }
                }
            }
        }
        model::crash::point("queue:moved");
        self.note_merged(row, &tip, &into, &after).await?;
        model::crash::point("queue:noted");
        hand.stands(n, PlaceState::Merged, String::new());
        self.keep(hand, None).await?;
        Ok(true)
    }

    async fn note_merged(&self, row: &BranchRow, tip: &Oid, into: &str, commit: &Oid) -> Result<(), Broken> {
        let merged = BranchMerged { tip: tip.to_string(), into: into.to_owned(), commit: commit.to_string() };
        let patch = BranchPatch { merged: Some(merged), ..BranchPatch::default() };
        self.store().update_branch(&row.id, patch, now()).await.map_err(store_says)?;
        self.branch_news(&row.session);
        Ok(())
    }

    /// Gives a conflict to its agent, where that is wanted. False where it is not, or was in vain.
    pub(super) async fn asked_to_resolve(&self, hand: &mut Hand, n: usize, of: &BranchesOf<'_>, into: &Side) -> Result<bool, Broken> {
        let place = &mut hand.places[n];
        if !hand.options.resolve || place.resolves >= RESOLVES_MAX {
            return Ok(false);
        }
        place.resolves += 1;
        place.state = PlaceState::Resolving;
        let agent = place.agent.clone();
        // Before it is asked: who takes this up asks with the same key, and is given the same turn.
        self.keep(hand, None).await?;
        let asked = of.resolve_conflict(agent.as_str(), Some(into.name.clone())).await.map_err(Broken::Failed)?;
        model::crash::point("queue:asked");
        hand.places[n].turn = Some(asked.turn);
        self.keep(hand, None).await?;
        Ok(true)
    }

    /// The agent, once nothing of it goes on and what it did came home.
    pub(super) async fn agent_over(&self, hand: &Hand, agent: &model::BranchId) -> Result<BranchRow, Broken> {
        loop {
            let gone = |error: store::StoreError| match error {
                store::StoreError::NotFound { .. } => {
                    Broken::Failed(Failure::new(Code::NotFound, "the agent was put away").hint("make a queue without it"))
                }
                other => store_says(other),
            };
            let row = self.store().branch(agent).await.map_err(gone)?;
            let watcher = self.watcher(&row.session, 0);
            let mut changes = watcher.seq.subscribe();
            // Looked at again after it is listened to: nothing falls in between.
            let row = self.store().branch(agent).await.map_err(gone)?;
            let last = row.turn.as_ref().map_or(0, |turn| turn.n);
            let is_home = row.home_turn >= last || row.turn.as_ref().is_none_or(|turn| turn.started.is_none());
            if row.state().is_over() && is_home {
                return Ok(row);
            }
            if self.store().merge_queue(&hand.row.id).await.map_err(store_says)?.state != QueueState::Working {
                return Err(Broken::Ended);
            }
            // What is heard is of its session; that its work came home may come a little later.
            let rest = if row.state().is_over() { Duration::from_millis(200) } else { LOOK };
            let _ = tokio::time::timeout(rest, changes.changed()).await;
        }
    }
}

impl Hand {
    pub(super) fn stands(&mut self, n: usize, state: PlaceState, note: String) {
        let place = &mut self.places[n];
        place.state = state;
        place.note = Some(note).filter(|note| !note.is_empty());
        if state.is_in() {
            place.conflicts.clear();
        }
    }

    pub(super) fn conflicts(&mut self, n: usize, into: &Side, commit: &Oid, subject: &str, files: Vec<Conflict>) {
        let cut = |text: String| text.chars().take(TEXT_CHARS_MAX).collect::<String>();
        let files = files.into_iter().take(FILES_MAX);
        self.places[n].conflicts = files.map(|file| QueueConflict { path: cut(file.path), message: cut(file.message) }).collect();
        let branch = self.places[n].branch.clone();
        let note = format!(
            "the commit {} of {branch} (`{}`) does not fit on {} at {}; nothing of {branch} was merged. Let its agent resolve it \
             (lazaret agents resume {branch} --task ..., or make the queue with --resolve), then: lazaret agents queue {} --resume",
            short(commit),
            cut(subject.to_owned()),
            into.name,
            short(&into.commit),
            self.row.id
        );
        self.stands(n, PlaceState::Conflict, note);
    }

    /// Keeps what a check said. Whether it passed; else the branch is refused.
    pub(super) fn checked(&mut self, n: usize, mut check: CheckView, into: &Side) -> bool {
        let skip = check.output.chars().count().saturating_sub(CHECK_OUTPUT_CHARS_SHOWN);
        check.output = check.output.chars().skip(skip).collect();
        let has_passed = check.passed;
        self.places[n].check = Some(check);
        if !has_passed {
            self.refused(n, into);
        }
        has_passed
    }

    /// Refuses a branch that is elsewhere than it was looked at.
    pub(super) fn is_as_seen(&self, n: usize, row: &BranchRow) -> Result<(), Broken> {
        match self.places[n].expect.as_deref().and_then(|seen| elsewhere_of(row, seen)) {
            Some(why) => Err(Broken::Failed(Failure::new(Code::Conflict, why).hint("look at it again, and make another queue"))),
            None => Ok(()),
        }
    }

    /// Notes from where to where the target is about to move.
    pub(super) fn passed(&mut self, n: usize, before: &Oid, after: &Oid) {
        let place = &mut self.places[n];
        place.state = PlaceState::Passed;
        place.before = Some(before.to_string());
        place.commit = Some(after.to_string());
        place.note = None;
    }

    pub(super) fn moved_again_and_again(&self) -> Broken {
        let why = format!("{} is moved again and again", self.row.target);
        Broken::Failed(Failure::new(Code::Conflict, why).hint("resume the queue when nobody else pushes to it"))
    }

    fn refused(&mut self, n: usize, into: &Side) {
        let place = &self.places[n];
        let how = match place.check.as_ref().and_then(|check| check.status) {
            Some(status) => format!("ended with status {status}"),
            None => "did not end in time".to_owned(),
        };
        let note = format!(
            "the check `{}` {how} on {} put on top of {} at {}; nothing of {} was merged. Have it mended (lazaret agents resume {} --task ...), \
             then: lazaret agents queue {} --resume",
            place.command.chars().take(TEXT_CHARS_MAX).collect::<String>(),
            place.branch,
            into.name,
            short(&into.commit),
            place.branch,
            place.branch,
            self.row.id
        );
        self.stands(n, PlaceState::Refused, note);
    }
}

fn short(oid: &Oid) -> &str {
    &oid.as_str()[..10]
}

/// The queues that are worked on, by repository; part of the desk.
#[derive(Default)]
pub(in super::super) struct AtWork(std::sync::Mutex<std::collections::HashMap<String, MergeQueueId>>);

impl super::super::BranchDesk {
    /// Takes a queue in hand; not where another one of its repository is.
    fn take_queue(&self, repo: &str, id: &MergeQueueId) -> bool {
        match crate::live::lock(&self.at_queues.0).entry(repo.to_owned()) {
            std::collections::hash_map::Entry::Occupied(_) => false,
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(id.clone());
                true
            }
        }
    }

    fn leave_queue(&self, repo: &str) {
        crate::live::lock(&self.at_queues.0).remove(repo);
    }

    /// Whether this queue is worked on just now.
    pub(super) fn is_at_queue(&self, id: &MergeQueueId) -> bool {
        crate::live::lock(&self.at_queues.0).values().any(|at| at == id)
    }
}
