//! What an agent changed: read from objects that were checked, never in a working tree.

use model::{Code, Failure, Timestamp};
use store::BranchRow;

use super::BranchesOf;
use super::forms::{BranchDiff, ChangeSize, CommitView, FileChange};
use crate::App;
use crate::git::{GitError, Mirror, Oid, Repo, Shop, read};

/// Commits that a comparison lists.
const COMMITS_MAX: usize = 200;
/// Files that a comparison lists.
const FILES_MAX: usize = 5000;

/// The repository of an agent, and what of it is looked at.
pub(super) struct Ground {
    pub(super) shop: Shop,
    pub(super) repo: Repo,
    pub(super) mirror: Mirror,
}

impl App {
    /// The repository of an agent, with a mirror that has what it has now.
    pub(super) async fn ground_of_branch(&self, row: &BranchRow) -> Result<Ground, GitError> {
        let shop = self.shop().await?;
        let repo = shop.open(row.repo.as_ref()).await?;
        let mirror = shop.mirror(&repo).await?;
        Ok(Ground { shop, repo, mirror })
    }
}

/// The commit of an agent that came home.
pub(super) fn tip_of(row: &BranchRow) -> Result<Oid, Failure> {
    let tip = row.home_tip.as_deref().and_then(Oid::parse);
    tip.ok_or_else(|| {
        let why = row.home_note.as_deref().map(|note| format!(": {note}")).unwrap_or_default();
        Failure::new(Code::Conflict, format!("nothing of the agent on {} came home yet{why}", row.name))
            .hint("wait until its turn is over, or bring it home: lazaret agents fetch")
    })
}

/// The agent as it is seen from one of its repositories: the first one, or that of this name beside it.
pub(super) fn seen_from(row: BranchRow, repo: Option<&str>) -> Result<BranchRow, Failure> {
    let Some(name) = repo else { return Ok(row) };
    let found = row.also.iter().find(|other| other.name == name);
    let missing = || Failure::new(Code::NotFound, format!("the agent works on no repository `{}`", name.escape_debug())).field("repo");
    found.map(|other| row.seen_from(other)).ok_or_else(missing)
}

/// The agent as it is seen from each of its repositories, the first one first; with what the others are called.
pub(super) fn seen_from_all(row: &BranchRow) -> Vec<(Option<String>, BranchRow)> {
    let others = row.also.iter().map(|repo| (Some(repo.name.clone()), row.seen_from(repo)));
    let mut first = row.clone();
    first.also.clear();
    std::iter::once((None, first)).chain(others).collect()
}

pub(super) fn base_of(row: &BranchRow) -> Result<Oid, Failure> {
    Oid::parse(&row.base).ok_or_else(|| Failure::new(Code::StoreUnusable, "where the branch began cannot be read"))
}

impl BranchesOf<'_> {
    /// What an agent changed since it began, as it came home last: in its first repository, or in the one of this name beside it.
    ///
    /// # Errors
    /// There is none of this identity, it works on no such repository, nothing of it came home, or the repository cannot be read.
    pub async fn diff(&self, id: &str, repo: Option<&str>) -> Result<BranchDiff, Failure> {
        let row = seen_from(self.row(id).await?, repo)?;
        let (base, tip) = (base_of(&row)?, tip_of(&row)?);
        let told = |e: GitError| e.failure();
        let ground = self.app.ground_of_branch(&row).await.map_err(told)?;
        let mirror = &ground.mirror;
        let from = read::fork_point(mirror, &base, &tip).await.map_err(told)?.unwrap_or_else(|| base.clone());
        let commits = read::log(mirror, &base, &tip, COMMITS_MAX).await.map_err(told)?;
        let mut files: Vec<FileChange> = read::changes(mirror, &from, &tip).await.map_err(told)?.into_iter().map(shown).collect();
        let size = ChangeSize {
            files: files.len() as u64,
            added: files.iter().filter_map(|file| file.added).fold(0, u64::saturating_add),
            removed: files.iter().filter_map(|file| file.removed).fold(0, u64::saturating_add),
        };
        let truncated = files.len() > FILES_MAX || commits.len() >= COMMITS_MAX;
        files.truncate(FILES_MAX);
        Ok(BranchDiff {
            base: from.to_string(),
            tip: tip.to_string(),
            commits: commits.into_iter().map(commit).collect(),
            files,
            size,
            truncated,
        })
    }

    /// What an agent changed in one file, or in all of them, as a unified diff. Whoever shows it cleans it.
    ///
    /// # Errors
    /// As [`BranchesOf::diff`].
    pub async fn patch(&self, id: &str, repo: Option<&str>, path: Option<&str>) -> Result<Vec<u8>, Failure> {
        let row = seen_from(self.row(id).await?, repo)?;
        let (base, tip) = (base_of(&row)?, tip_of(&row)?);
        let told = |e: GitError| e.failure();
        let ground = self.app.ground_of_branch(&row).await.map_err(told)?;
        let from = read::fork_point(&ground.mirror, &base, &tip).await.map_err(told)?.unwrap_or(base);
        let raw = match path {
            None => None,
            // As the list names it: the bytes themselves, where they are not what is shown.
            Some(path) => {
                let all = read::changes(&ground.mirror, &from, &tip).await.map_err(told)?;
                let found = all.into_iter().find(|change| change.path == path).map(|change| change.raw_path);
                let missing =
                    || Failure::new(Code::NotFound, format!("the branch does not change `{}`", path.escape_debug())).field("path");
                Some(found.ok_or_else(missing)?)
            }
        };
        read::patch(&ground.mirror, &from, &tip, raw.as_deref()).await.map_err(told)
    }
}

fn commit(commit: read::CommitView) -> CommitView {
    let seconds = u64::try_from(commit.at).unwrap_or(0);
    CommitView { id: commit.oid.to_string(), subject: commit.subject, author: commit.author, time: Timestamp(seconds.saturating_mul(1000)) }
}

fn shown(change: read::FileChange) -> FileChange {
    let word = match change.kind {
        'A' => "added",
        'D' => "removed",
        'R' => "moved",
        'C' => "copied",
        'T' => "type",
        _ => "changed",
    };
    let flag = |flag: &crate::git::Flag| match serde_json::to_value(flag) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    };
    FileChange {
        path: change.path,
        from: change.moved_from,
        change: word.to_owned(),
        added: change.added,
        removed: change.removed,
        flags: change.flags.iter().map(flag).collect(),
    }
}
