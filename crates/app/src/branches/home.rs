//! After every turn an agent's branch comes home: to its own name, or aside where that is not free.
//!
//! It is brought before the turn's result is logged, so that whoever waits for the result finds the branch. What fails is
//! tried again: its row says that it is owed, also to the next daemon.

use std::time::Duration;

use model::{EventKind, Failure, SessionId, Timestamp, TreeId};
use store::{BranchHome, BranchPatch, BranchRepoHome, BranchRepoPatch, BranchRow};

use super::BranchesOf;
use super::desk::HomeGuard;
use super::forms::BranchView;
use crate::git::{Dirt, GitError, HomeOrder, Oid, Seat, Shop};
use crate::{App, BranchPart, now};

/// Agents whose work is brought home in one round.
const ROUND_MAX: usize = 64;
/// How long the first try rests that failed, and how long the longest.
const REST: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(600));
/// How long a branch is left alone whose agent has a turn before it: that turn brings it home.
const AT_WORK: Duration = Duration::from_secs(30);
/// How long nothing is looked for when nobody says that something is owed.
const IDLE: Duration = Duration::from_secs(3600);

impl App {
    /// Brings home what an agent committed in a turn, from this tree. Says in words what is worth a line in the log. `alone` is held from
    /// before the tree was made, or says why it could not be had.
    pub(crate) async fn branch_comes_home(
        &self,
        part: &BranchPart,
        of: &SessionId,
        tree: &TreeId,
        turn: u64,
        alone: Result<HomeGuard, Failure>,
    ) -> Option<EventKind> {
        // A copy of an agent's session is no agent: what it does stays with it.
        let row = self.store().branch(&part.id).await.ok().filter(|row| row.session == *of)?;
        let came = match alone {
            Ok(_alone) => self.bring_home(&row, tree, turn).await,
            Err(failure) => Err(failure),
        };
        let text = match came {
            Ok(row) => told(&row),
            Err(failure) => {
                self.branch_desk().owed.notify_one();
                format!("the branch {} did not come home yet: {}", row.name, failure.message)
            }
        };
        Some(EventKind::Notice { text })
    }

    /// Brings a branch home and notes what came of it: of the repositories beside the first one before that one, whose note says that all
    /// is done. Whoever asks holds the agent's way home, from before it read the row and the tree was made: what is read is then no older
    /// than what the branch was moved to last.
    async fn bring_home(&self, row: &BranchRow, tree: &TreeId, turn: u64) -> Result<BranchRow, Failure> {
        let (home, repos, failed) = match self.try_home(row, tree, turn).await {
            Ok((home, repos)) => (home, repos, None),
            Err(error) => {
                let rest = REST.0.saturating_mul(1 << row.home_tries.min(10)).min(REST.1);
                let wake = Timestamp(now().0.saturating_add(u64::try_from(rest.as_millis()).unwrap_or(u64::MAX)));
                let failure = error.failure();
                (BranchHome::Failed { note: failure.message.clone(), wake }, Vec::new(), Some(failure))
            }
        };
        if !repos.is_empty() {
            let patch = BranchPatch { repos, home_turn: Some(turn), ..BranchPatch::default() };
            self.store().update_branch(&row.id, patch, now()).await.map_err(|e| e.failure())?;
            model::crash::point("branch:repos-noted");
        }
        let noted = self.store().note_branch_home(&row.id, home, now()).await.map_err(|e| e.failure())?;
        self.branch_news(&row.session);
        model::crash::point("branch:noted");
        failed.map_or(Ok(noted), Err)
    }

    async fn try_home(&self, row: &BranchRow, tree: &TreeId, turn: u64) -> Result<(BranchHome, Vec<BranchRepoPatch>), GitError> {
        let shop = self.shop().await?;
        let home = match brought(&shop, row, (tree, Seat::First)).await? {
            Ok(Brought { tip, reference, note, commits, dirt, size }) => {
                let (dirty, untracked) = (dirt.changed, dirt.untracked);
                BranchHome::Came { turn, tip, reference, note, commits, dirty, untracked, size }
            }
            Err(note) => BranchHome::Refused { turn, note },
        };
        let mut repos = Vec::with_capacity(row.also.len());
        for other in &row.also {
            let home = match brought(&shop, &row.seen_from(other), (tree, Seat::Beside(&other.name))).await? {
                Ok(Brought { tip, reference, note, commits, dirt, size }) => {
                    let (dirty, untracked) = (dirt.changed, dirt.untracked);
                    BranchRepoHome::Came { tip, reference, note, commits, dirty, untracked, size }
                }
                Err(note) => BranchRepoHome::Refused { note },
            };
            repos.push(BranchRepoPatch { name: other.name.clone(), home: Some(home), merged: None });
        }
        Ok((home, repos))
    }

    /// Brings home what is owed, from the daemon's start to its end.
    pub(crate) fn keep_branches_home(&self) {
        self.keep_queues();
        self.keep_branches_few();
        self.until_the_end(|app| async move { app.finish_merges().await });
        let app = self.clone();
        self.spawn(async move {
            loop {
                let rest = app.bring_owed().await;
                tokio::select! {
                    () = app.cancel().cancelled() => return,
                    () = app.branch_desk().owed.notified() => {}
                    () = tokio::time::sleep(rest) => {}
                }
            }
        });
    }

    /// One round: how long the next may wait.
    async fn bring_owed(&self) -> Duration {
        let owed = match self.store().branches_owed(ROUND_MAX).await {
            Ok(owed) => owed,
            Err(error) => {
                tracing::warn!(error = model::chain(&error), "which branches are to come home cannot be read");
                return REST.1;
            }
        };
        let mut rest = IDLE;
        for row in owed {
            let wait = Duration::from_millis(row.home_wake.0.saturating_sub(now().0));
            if !wait.is_zero() {
                rest = rest.min(wait);
                continue;
            }
            // A turn that is worked on brings the branch home itself, but one that is cancelled before it began; a session elsewhere is
            // another daemon's.
            if row.turn.as_ref().is_some_and(|turn| !turn.state.is_final()) || self.check_here(&row.session).await.is_err() {
                rest = rest.min(AT_WORK);
                continue;
            }
            if let Err(failure) = self.bring_last(&row).await {
                tracing::warn!(branch = %row.id, %failure, "a branch did not come home");
                rest = rest.min(REST.0);
            }
            if self.cancel().is_cancelled() {
                break;
            }
        }
        rest
    }

    /// Brings home what the session's tree holds now.
    async fn bring_last(&self, row: &BranchRow) -> Result<BranchRow, Failure> {
        let _alone = self.hold_home(&row.session).await?;
        // A turn may have ended while another one was at it.
        let row = self.store().branch(&row.id).await.map_err(|e| e.failure())?;
        let session = self.store().session(&row.session).await.map_err(|e| e.failure())?;
        let tree = session.tree.ok_or_else(|| Failure::new(model::Code::StoreUnusable, "the agent has no files"))?;
        let over = row.turn.as_ref().map_or(0, |turn| if turn.state.is_final() { turn.n } else { turn.n.saturating_sub(1) });
        // What came of a turn that is about to end is in the files.
        self.bring_home(&row, &tree, over.max(row.home_turn)).await
    }
}

impl BranchesOf<'_> {
    /// Brings an agent's commits home now, also while it works.
    ///
    /// # Errors
    /// There is none of this identity, or they cannot come.
    pub async fn fetch(&self, id: &str) -> Result<BranchView, Failure> {
        let row = self.row(id).await?;
        self.app.check_here(&row.session).await?;
        let row = self.app.bring_last(&row).await?;
        self.app.branch_view(row).await
    }
}

/// What came home of one clone.
struct Brought {
    tip: String,
    reference: String,
    note: Option<String>,
    commits: u64,
    dirt: Dirt,
    size: Option<serde_json::Value>,
}

/// Brings the branch of one clone home; why it is not taken otherwise.
async fn brought(shop: &Shop, row: &BranchRow, (tree, seat): (&TreeId, Seat<'_>)) -> Result<Result<Brought, String>, GitError> {
    match try_brought(shop, row, (tree, seat)).await {
        Ok(Some(brought)) => Ok(Ok(brought)),
        Ok(None) => Ok(Err(format!("the agent's clone has no branch {} any more", row.name))),
        Err(GitError::Refused(why)) => Ok(Err(format!("what the agent left is not taken: {why}"))),
        Err(other) => Err(other),
    }
}

async fn try_brought(shop: &Shop, row: &BranchRow, (tree, seat): (&TreeId, Seat<'_>)) -> Result<Option<Brought>, GitError> {
    let repo = shop.open(row.repo.as_ref()).await?;
    let mirror = shop.mirror(&repo).await?;
    let base = Oid::parse(&row.base).ok_or(GitError::Strange { what: "read where the branch began" })?;
    let last = row.home_tip.as_deref().and_then(Oid::parse);
    let order = HomeOrder { repo: &repo, mirror: &mirror, tree, seat, branch: &row.name, base: &base, last: last.as_ref() };
    let Some(came) = shop.bring_home(order).await? else { return Ok(None) };
    let large = shop.bring_large((&repo, &mirror), (tree, seat), &base, &came.tip).await?;
    let mut dirt = shop.dirt(&mirror, tree, seat).await?;
    // What is not home is not to be forgotten.
    dirt.changed += large.as_ref().map_or(0, |lost| lost.files);
    let size = super::size::size_of(&mirror, &base, &came.tip).await?;
    let notes = [came.aside, large.map(|lost| lost.note)];
    Ok(Some(Brought {
        tip: came.tip.to_string(),
        reference: came.name,
        note: notes.into_iter().flatten().reduce(|one, other| format!("{one}; {other}")),
        commits: came.commits,
        dirt,
        size: serde_json::to_value(size).ok(),
    }))
}

/// What came home, in words.
fn told(row: &BranchRow) -> String {
    let mut text = told_of(row);
    for other in &row.also {
        text.push_str(&format!("; {}: {}", other.name, told_of(&row.seen_from(other))));
    }
    text
}

fn told_of(row: &BranchRow) -> String {
    let many = |n: u64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let mut text = match &row.home_ref {
        Some(reference) => format!("the branch came home to {reference}: {}", many(row.commits, "commit")),
        None => "the branch did not come home".to_owned(),
    };
    if row.dirty > 0 {
        text.push_str(&format!(", {} changed and not committed", many(row.dirty, "file")));
    }
    if row.untracked > 0 {
        text.push_str(&format!(", {} unknown to git", many(row.untracked, "file")));
    }
    if let Some(note) = &row.home_note {
        text.push_str(&format!(" ({note})"));
    }
    text
}
