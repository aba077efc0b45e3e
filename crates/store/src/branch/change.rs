//! Making, changing and forgetting them.

use model::{BRANCH_NAME_BYTES_MAX, BRANCH_TASK_CHARS_MAX, BranchId, Timestamp};
use serde_json::Value;

use super::repo::{BranchRepo, BranchRepoPatch, changed, text as text_of_repos};
use super::row::{BRANCHES_MAX, BranchRow, read};
use crate::db::{Connection, params};
use crate::error::Doing;
use crate::row::{int, to_json};
use crate::session::{NewSession, Texts, bounded, check_idle, insert_session};
use crate::writer::Kind;
use crate::{Store, StoreError};

/// The longest path of a repository, in bytes.
const REPO_BYTES_MAX: usize = 4096;
/// The longest note about a home-coming, in characters.
const NOTE_CHARS_MAX: usize = 500;

/// A branch agent to be made, together with its session.
#[derive(Debug, Clone, PartialEq)]
pub struct NewBranch {
    /// Its identity.
    pub id: BranchId,
    /// Its session, with a tree of its own.
    pub session: NewSession,
    /// The absolute path of the repository.
    pub repo: String,
    /// The branch.
    pub name: String,
    /// What kind of task it is.
    pub kind: String,
    /// The commit that it begins at.
    pub base: String,
    /// The branch that this commit is taken from.
    pub target: Option<String>,
    /// The task; its beginning is kept.
    pub task: String,
    /// What several agents share that are asked for the same.
    pub batch: Option<String>,
    /// What else was asked. Not looked at here.
    pub options: Value,
    /// The repositories beside the first one.
    pub also: Vec<BranchRepo>,
}

/// What came of bringing work home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BranchHome {
    /// It came.
    Came {
        /// The last turn whose work it holds.
        turn: u64,
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
    /// It did not, and is tried again.
    Failed {
        /// Why.
        note: String,
        /// Not before this time.
        wake: Timestamp,
    },
    /// It cannot come: what the agent left is refused, or there is nothing of it any more.
    Refused {
        /// The last turn that was looked at.
        turn: u64,
        /// Why.
        note: String,
    },
}

/// What else changes in the row of a branch agent; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BranchPatch {
    /// The last check.
    pub checked: Option<Value>,
    /// The verdict of a review.
    pub verdict: Option<Value>,
    /// What was merged.
    pub merged: Option<BranchMerged>,
    /// What else was asked.
    pub options: Option<Value>,
    /// What changes about the repositories beside the first one.
    pub repos: Vec<BranchRepoPatch>,
    /// The last turn whose work came home to those, where that is what changes: nothing does once that of a later one came.
    pub home_turn: Option<u64>,
    /// A merge into several repositories that begins; null where it is over.
    pub merging: Option<Value>,
}

/// A merge that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchMerged {
    /// The commit of the branch.
    pub tip: String,
    /// The branch that it was merged into.
    pub into: String,
    /// What that branch was moved to.
    pub commit: String,
}

impl Store {
    /// Makes a branch agent and its session, both or neither.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is one on this branch already, [`StoreError::Limit`] at [`BRANCHES_MAX`], and those of
    /// [`Store::create_session`].
    pub async fn create_branch(&self, new: NewBranch) -> Result<BranchRow, StoreError> {
        if new.repo.is_empty() || new.repo.len() > REPO_BYTES_MAX {
            return Err(StoreError::invalid("repo", format!("has not 1 to {REPO_BYTES_MAX} bytes")));
        }
        if new.name.is_empty() || new.name.len() > BRANCH_NAME_BYTES_MAX {
            return Err(StoreError::invalid("name", format!("has not 1 to {BRANCH_NAME_BYTES_MAX} bytes")));
        }
        let texts = Texts::of(&new.session)?;
        let options = bounded("options", to_json("options", &new.options)?)?;
        let also = text_of_repos(&new.also)?;
        self.write(Kind::BranchCreate, texts.bytes() + options.len() + also.as_ref().map_or(0, String::len), move |conn| {
            crate::quota::hold(conn, &new.session.tenant, crate::Claim::Session, new.session.now)?;
            check_room(conn, &new)?;
            insert_session(conn, &new.session, &texts)?;
            insert(conn, &new, &options, also.as_deref())?;
            read(conn, &new.id)
        })
        .await
    }

    /// Notes what came of bringing work home. What is of an earlier turn than what came last changes nothing, and a failure takes nothing
    /// back.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn note_branch_home(&self, id: &BranchId, home: BranchHome, now: Timestamp) -> Result<BranchRow, StoreError> {
        let id = id.clone();
        self.write(Kind::BranchHome, 0, move |conn| {
            note_home(conn, &id, &home, now)?;
            read(conn, &id)
        })
        .await
    }

    /// Changes the row of a branch agent.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], also of a repository that the agent does not work on; [`StoreError::Invalid`] when a field is out of
    /// bounds.
    pub async fn update_branch(&self, id: &BranchId, patch: BranchPatch, now: Timestamp) -> Result<BranchRow, StoreError> {
        let id = id.clone();
        let text = |field, value: &Option<Value>| value.as_ref().map(|v| bounded(field, to_json(field, v)?)).transpose();
        let (checked, verdict) = (text("checked", &patch.checked)?, text("verdict", &patch.verdict)?);
        let options = text("options", &patch.options)?;
        let merged = patch.merged.map(|merged| (merged.tip, merged.into, merged.commit));
        let (tip, into, commit) = merged.map_or((None, None, None), |(tip, into, commit)| (Some(tip), Some(into), Some(commit)));
        let merging = text("merging", &patch.merging)?;
        self.write(Kind::BranchUpdate, 0, move |conn| {
            let row = read(conn, &id)?;
            let is_late = patch.home_turn.is_some_and(|turn| turn < row.home_turn);
            let repos: &[BranchRepoPatch] = if is_late { &[] } else { &patch.repos };
            let also = changed(&row, repos)?;
            let sql = "UPDATE branches SET checked = coalesce(?2, checked), verdict = coalesce(?3, verdict),
                         merged_tip = coalesce(?4, merged_tip), merged_into = coalesce(?5, merged_into),
                         options = coalesce(?6, options), changed_ms = ?7, merged_as = coalesce(?8, merged_as), also = coalesce(?9, also)
                       WHERE id = ?1";
            let doing = "change a branch agent";
            let with = params![id.as_str(), checked, verdict, tip, into, options, int("now", now.0)?, commit, also];
            conn.prepare_cached(sql).and_then(|mut s| s.execute(with)).doing(doing)?;
            if let Some(merging) = &merging {
                let merging = Some(merging.as_str()).filter(|text| *text != "null");
                let sql = "UPDATE branches SET merging = ?2 WHERE id = ?1";
                conn.prepare_cached(sql).and_then(|mut s| s.execute(params![id.as_str(), merging])).doing(doing)?;
            }
            read(conn, &id)
        })
        .await
    }

    /// Forgets a branch agent and its session. What it spent stays in the ledger.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or [`StoreError::Conflict`] while a turn of it is not over.
    pub async fn delete_branch(&self, id: &BranchId) -> Result<(), StoreError> {
        let id = id.clone();
        self.write(Kind::BranchDelete, 0, move |conn| {
            let row = read(conn, &id)?;
            check_idle(conn, &row.session)?;
            conn.execute("DELETE FROM branches WHERE id = ?1", [id.as_str()]).doing("forget a branch agent")?;
            conn.execute("DELETE FROM sessions WHERE id = ?1", [row.session.as_str()]).doing("forget a branch agent").map(drop)
        })
        .await
    }
}

/// Refuses a second agent on a branch, one whose name lies above or below another's, and one too many.
fn check_room(conn: &Connection, new: &NewBranch) -> Result<(), StoreError> {
    let doing = "look for a branch agent";
    let tenant = &new.session.tenant;
    let mut statement = conn.prepare_cached("SELECT id, repo, also FROM branches WHERE tenant = ?1 AND name = ?2").doing(doing)?;
    let of_name = statement.query_map((tenant, &new.name), |r| {
        let also: Option<String> = r.get("also")?;
        Ok((r.get::<_, String>("id")?, r.get::<_, String>("repo")?, also))
    });
    for row in of_name.doing(doing)? {
        let (taken, first, also) = row.doing(doing)?;
        let also: Vec<BranchRepo> = also.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let works_on = |repo: &str| first == repo || also.iter().any(|other| other.repo == repo);
        if works_on(&new.repo) || new.also.iter().any(|repo| works_on(&repo.repo)) {
            return Err(StoreError::Conflict(format!("branch agent `{taken}` works on this branch already")));
        }
    }
    let count: u64 = conn.query_row("SELECT count(*) FROM branches WHERE tenant = ?1", [tenant], |r| r.get(0)).doing(doing)?;
    if count >= BRANCHES_MAX {
        return Err(StoreError::Limit { what: "branch agents", max: BRANCHES_MAX });
    }
    Ok(())
}

fn insert(conn: &Connection, new: &NewBranch, options: &str, also: Option<&str>) -> Result<(), StoreError> {
    let sql =
        "INSERT INTO branches (id, tenant, repo, name, session, kind, base, target, task, batch, options, created_ms, changed_ms, also)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12, ?13)";
    let task: String = new.task.chars().take(BRANCH_TASK_CHARS_MAX).collect();
    let with = params![
        new.id.as_str(),
        new.session.tenant,
        new.repo,
        new.name,
        new.session.id.as_str(),
        new.kind,
        new.base,
        new.target,
        task,
        new.batch,
        options,
        int("now", new.session.now.0)?,
        also,
    ];
    conn.prepare_cached(sql).and_then(|mut s| s.execute(with)).doing("make a branch agent").map(drop)
}

fn note_home(conn: &Connection, id: &BranchId, home: &BranchHome, now: Timestamp) -> Result<(), StoreError> {
    let doing = "note what came home";
    let now = int("now", now.0)?;
    let short = |note: &str| note.chars().take(NOTE_CHARS_MAX).collect::<String>();
    match home {
        BranchHome::Came { turn, tip, reference, note, commits, dirty, untracked, size } => {
            let sql = "UPDATE branches SET home_turn = ?2, home_tip = ?3, home_ref = ?4,
                         home_note = ?5, home_tries = 0, home_wake_ms = 0, commits = ?6, dirty = ?7, untracked = ?8,
                         size = coalesce(?9, size), changed_ms = ?10
                       WHERE id = ?1 AND home_turn <= ?2";
            let size = size.as_ref().map(|size| bounded("size", to_json("size", size)?)).transpose()?;
            let counts = (int("commits", *commits)?, int("dirty", *dirty)?, int("untracked", *untracked)?);
            let with = params![
                id.as_str(),
                int("turn", *turn)?,
                tip,
                reference,
                note.as_deref().map(short),
                counts.0,
                counts.1,
                counts.2,
                size,
                now
            ];
            conn.prepare_cached(sql).and_then(|mut s| s.execute(with)).doing(doing)?;
        }
        BranchHome::Failed { note, wake } => {
            let sql = "UPDATE branches SET home_note = ?2, home_tries = home_tries + 1, home_wake_ms = ?3, changed_ms = ?4 WHERE id = ?1";
            let with = params![id.as_str(), short(note), int("wake", wake.0)?, now];
            conn.prepare_cached(sql).and_then(|mut s| s.execute(with)).doing(doing)?;
        }
        BranchHome::Refused { turn, note } => {
            let sql = "UPDATE branches SET home_turn = ?2, home_note = ?3, home_tries = 0, home_wake_ms = 0, changed_ms = ?4
                       WHERE id = ?1 AND home_turn <= ?2";
            let with = params![id.as_str(), int("turn", *turn)?, short(note), now];
            conn.prepare_cached(sql).and_then(|mut s| s.execute(with)).doing(doing)?;
        }
    }
    Ok(())
}
