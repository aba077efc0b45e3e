//! Merging, computed on objects: what would come of it is known before anything of the user's moves.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::GitError;
use super::home::give;
use super::mirror::{Mirror, remove};
use super::repo::{Oid, RefMove, Repo};
use super::run::Call;
use super::target;

/// How long one merge may take.
const MERGE_TIME: Duration = Duration::from_secs(120);
/// The most bytes that git tells of one merge.
const REPORT_BYTES_MAX: u64 = 16 << 20;
/// Files that differ, as far as they are listed.
const FILES_MAX: usize = 1000;
/// The most branches of one preview.
pub(crate) const BRANCHES_MAX: usize = 100;
/// The longest list of changed files that is compared, in bytes.
const NAMES_BYTES_MAX: u64 = 32 << 20;

/// A branch and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Side {
    /// What it is called.
    pub(crate) name: String,
    /// Its commit.
    pub(crate) commit: Oid,
}

/// Who a commit is by: name and address.
pub(crate) type Person = (String, String);

/// What a merge comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The target has it already.
    Already,
    /// The target has nothing of its own.
    Forward,
    /// Both sides fit: the files of the merge, as a tree.
    Clean(Oid),
    /// They do not.
    Conflict(Vec<Conflict>),
}

/// One file on which two sides do not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The file.
    pub(crate) path: String,
    /// What git says of it.
    pub(crate) message: String,
}

/// What would come of merging many branches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Preview {
    /// Each by itself into the target.
    pub(crate) alone: Vec<(String, Outcome)>,
    /// One after the other in the given order; one that does not fit is left out and the next is tried.
    pub(crate) in_order: Vec<(String, Outcome)>,
    /// Pairs that do not fit with one another.
    pub(crate) pairs: Vec<(String, String, Vec<Conflict>)>,
}

/// A merge to be made.
#[derive(Debug)]
pub(crate) struct MergeOrder<'a> {
    /// Where.
    pub(crate) repo: &'a Repo,
    /// Its mirror, refreshed a moment ago.
    pub(crate) mirror: &'a Mirror,
    /// The target, without `refs/heads/`.
    pub(crate) into: &'a str,
    /// What is merged.
    pub(crate) branch: &'a Side,
    /// Who the merge is by.
    pub(crate) author: &'a Person,
    /// Its message; the usual one where there is none.
    pub(crate) message: Option<&'a str>,
    /// Whether a merge commit is made where the target could simply go forward.
    pub(crate) always_commit: bool,
}

/// A merge that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Merged {
    /// Where the target was.
    pub(crate) before: Oid,
    /// Where it is now.
    pub(crate) after: Oid,
    /// Working trees whose files were brought along.
    pub(crate) updated: Vec<PathBuf>,
}

/// What two commits come to. Writes the merged tree into the mirror, or where `scratch` says.
///
/// # Errors
/// They have no common history, or git fails.
pub(crate) async fn try_merge(mirror: &Mirror, ours: &Oid, theirs: &Oid, scratch: Option<&Scratch>) -> Result<Outcome, GitError> {
    let call = |what| scratch.map_or_else(|| mirror.call(what), |scratch| scratch.call(mirror, what));
    let based = |one: &Oid, other: &Oid| {
        let args = ["merge-base", "--is-ancestor", one.as_str(), other.as_str()].map(str::to_owned);
        call("compare two commits").args(args).answer()
    };
    if based(theirs, ours).await?.status == 0 {
        return Ok(Outcome::Already);
    }
    if based(ours, theirs).await?.status == 0 {
        return Ok(Outcome::Forward);
    }
    merge_files(call("merge two branches"), ours, theirs).await
}

/// What the files of two commits come to, whoever has what already.
pub(crate) async fn merge_files(call: Call, ours: &Oid, theirs: &Oid) -> Result<Outcome, GitError> {
    let what = "merge two branches";
    let args = ["merge-tree", "--write-tree", "-z", "--name-only", "--messages", ours.as_str(), theirs.as_str()];
    // As a merge in a checked-out target would: by the attributes of the target.
    let merge = call.args(args).env("GIT_ATTR_SOURCE", ours.as_str()).time(MERGE_TIME).max(REPORT_BYTES_MAX);
    let answer = merge.answer().await?;
    match answer.status {
        0 => {
            let tree = answer.out.split(|b| *b == 0).next().and_then(|oid| std::str::from_utf8(oid).ok()).and_then(Oid::parse);
            tree.map(Outcome::Clean).ok_or(GitError::Strange { what })
        }
        1 => Ok(Outcome::Conflict(conflicts(&answer.out))),
        _ => Err(GitError::Failed { what, complaint: answer.complaint }),
    }
}

/// The files that git lists, each with what is said of it.
fn conflicts(out: &[u8]) -> Vec<Conflict> {
    let text = |word: &[u8]| super::error::shown(word);
    let mut words = out.split(|b| *b == 0).skip(1);
    let mut files: Vec<Conflict> = Vec::new();
    for path in words.by_ref().take_while(|word| !word.is_empty()).take(FILES_MAX) {
        files.push(Conflict { path: text(path), message: String::new() });
    }
    // Then groups: how many paths, the paths, the kind, the text.
    while let Some(count) = words.next().and_then(|word| std::str::from_utf8(word).ok()).and_then(|word| word.parse::<usize>().ok()) {
        let paths: Vec<String> = words.by_ref().take(count).map(text).collect();
        let (Some(kind), Some(said)) = (words.next(), words.next()) else { break };
        if !kind.starts_with(b"CONFLICT") {
            continue;
        }
        let said = text(said);
        for path in paths {
            match files.iter_mut().find(|file| file.path == path) {
                Some(file) if file.message.is_empty() => file.message.clone_from(&said),
                _ => {}
            }
        }
    }
    files
}

/// What would come of merging these branches into a target, in this order; nothing is left of it.
///
/// # Errors
/// There are too many, or git fails.
pub(crate) async fn preview(mirror: &Mirror, into: &Side, branches: &[Side]) -> Result<Preview, GitError> {
    if branches.len() > BRANCHES_MAX {
        return Err(GitError::Repo { path: mirror.dir().to_owned(), why: format!("more than {BRANCHES_MAX} branches at once") });
    }
    let scratch = Scratch::make(mirror)?;
    let mut preview = Preview::default();
    let nobody = ("lazaret".to_owned(), "lazaret@localhost".to_owned());
    let mut at = into.commit.clone();
    let mut changed = Vec::new();
    for branch in branches {
        let alone = try_merge(mirror, &into.commit, &branch.commit, Some(&scratch)).await?;
        let ordered = if at == into.commit { alone.clone() } else { try_merge(mirror, &at, &branch.commit, Some(&scratch)).await? };
        match &ordered {
            Outcome::Forward => at = branch.commit.clone(),
            Outcome::Clean(tree) => {
                let parents = [&at, &branch.commit];
                at = commit_tree(scratch.call(mirror, "make a commit"), tree, &parents, &nobody, "preview").await?;
            }
            Outcome::Already | Outcome::Conflict(_) => {}
        }
        preview.alone.push((branch.name.clone(), alone));
        preview.in_order.push((branch.name.clone(), ordered));
        changed.push(names(mirror, &into.commit, &branch.commit).await?);
    }
    for (n, one) in branches.iter().enumerate() {
        for (m, other) in branches.iter().enumerate().skip(n + 1) {
            if !touch(&changed[n], &changed[m]) {
                continue;
            }
            let call = scratch.call(mirror, "merge two branches");
            if let Outcome::Conflict(files) = merge_files(call, &one.commit, &other.commit).await? {
                preview.pairs.push((one.name.clone(), other.name.clone(), files));
            }
        }
    }
    Ok(preview)
}

/// The files that a branch changes since it left the target.
async fn names(mirror: &Mirror, into: &Oid, branch: &Oid) -> Result<BTreeSet<Vec<u8>>, GitError> {
    let args = ["diff", "--name-only", "--no-renames", "--no-ext-diff", "-z", "--merge-base", into.as_str(), branch.as_str(), "--"];
    let out = mirror.call("list what a branch changes").args(args).max(NAMES_BYTES_MAX).run().await?;
    Ok(out.split(|b| *b == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
}

/// Whether two sets of changes can meet: in a file, or where one has a directory and the other a file.
fn touch(one: &BTreeSet<Vec<u8>>, other: &BTreeSet<Vec<u8>>) -> bool {
    let meets = |few: &BTreeSet<Vec<u8>>, many: &BTreeSet<Vec<u8>>| {
        few.iter().any(|path| many.contains(path) || path.iter().enumerate().any(|(at, byte)| *byte == b'/' && many.contains(&path[..at])))
    };
    meets(one, other) || meets(other, one)
}

/// A place for objects that are forgotten.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn make(mirror: &Mirror) -> Result<Self, GitError> {
        let parent = mirror.dir().parent().unwrap_or_else(|| mirror.dir());
        let dir = parent.join(format!("{}.{:032x}.{}", mirror.key, crate::clock::fresh_bits(), super::home::QUARANTINE));
        std::fs::create_dir(&dir).map_err(GitError::io("make room for a preview"))?;
        Ok(Self(dir))
    }

    /// A call that reads the mirror and writes here.
    pub(crate) fn call(&self, mirror: &Mirror, what: &'static str) -> Call {
        mirror.call(what).env("GIT_OBJECT_DIRECTORY", &self.0).env("GIT_ALTERNATE_OBJECT_DIRECTORIES", mirror.objects())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The next start removes what cannot be removed now.
        let _ = remove(&self.0);
    }
}

/// Makes a commit of a tree.
///
/// # Errors
/// The name or address cannot be one.
pub(crate) async fn commit_tree(call: Call, tree: &Oid, parents: &[&Oid], by: &Person, message: &str) -> Result<Oid, GitError> {
    let what = "make a commit";
    let clean = |text: &str| text.chars().filter(|c| !c.is_control() && !matches!(c, '<' | '>')).collect::<String>();
    let (name, email) = (clean(&by.0), clean(&by.1));
    let mut call = call.args(["commit-tree", tree.as_str(), "-F", "-"]);
    for parent in parents {
        call = call.args(["-p", parent.as_str()]);
    }
    for (name_of, email_of) in [("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL"), ("GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")] {
        call = call.env(name_of, &name).env(email_of, &email);
    }
    Oid::parse(&call.input(message).text().await?).ok_or(GitError::Strange { what })
}

/// Merges a branch into a target of the user's repository. Where the target is checked out its files come along.
///
/// # Errors
/// [`GitError::Conflict`], [`GitError::InTheWay`], [`GitError::Moved`]: nothing has changed then.
pub(crate) async fn merge(order: MergeOrder<'_>) -> Result<Merged, GitError> {
    model::check_branch_name(order.into)?;
    let (repo, mirror) = (order.repo, order.mirror);
    let name = format!("refs/heads/{}", order.into);
    let before = repo.at(&name).await?.ok_or_else(|| GitError::NoCommit(order.into.to_owned()))?;
    let outcome = try_merge(mirror, &before, &order.branch.commit, None).await?;
    let after = match outcome {
        Outcome::Already => return Ok(Merged { after: before.clone(), before, updated: Vec::new() }),
        Outcome::Forward if !order.always_commit => order.branch.commit.clone(),
        Outcome::Forward => {
            let tree =
                mirror.call("find the files of a commit").args(["rev-parse", &format!("{}^{{tree}}", order.branch.commit)]).text().await?;
            let tree = Oid::parse(&tree).ok_or(GitError::Strange { what: "find the files of a commit" })?;
            merge_commit(&order, &tree, &before).await?
        }
        Outcome::Clean(tree) => merge_commit(&order, &tree, &before).await?,
        Outcome::Conflict(files) => {
            let files = files.into_iter().map(|file| file.path).collect();
            return Err(GitError::Conflict { branch: order.branch.name.clone(), into: order.into.to_owned(), files });
        }
    };
    advance(repo, mirror, order.into, &before, &after).await.map(|updated| Merged { before, after, updated })
}

/// Moves a branch of the user's from one commit to another, and brings the files along where it is checked out.
///
/// # Errors
/// As [`merge`].
pub(crate) async fn advance(repo: &Repo, mirror: &Mirror, branch: &str, before: &Oid, after: &Oid) -> Result<Vec<PathBuf>, GitError> {
    let name = format!("refs/heads/{branch}");
    let trees = repo.checked_out().await?.into_iter().filter(|(at, _)| at == branch).map(|(_, path)| path);
    let mut places = Vec::new();
    for path in trees {
        places.push(Repo::open(repo.git_of(), Path::new(&path)).await?);
    }
    give(repo, mirror, after).await?;
    model::crash::point("branch:merge-given");
    for place in &places {
        target::check(place, before, after).await?;
    }
    for (n, place) in places.iter().enumerate() {
        if let Err(error) = target::update(place, before, after).await {
            undo(&places[..n], before, after).await;
            return Err(error);
        }
    }
    model::crash::point("branch:merge-files");
    let moved = repo.move_refs(&[RefMove { name: &name, to: after.clone(), from: Some(before.clone()) }], "lazaret: merge").await;
    if let Err(error) = moved {
        undo(&places, before, after).await;
        return Err(error);
    }
    Ok(places.into_iter().map(|place| place.path).collect())
}

async fn undo(places: &[Repo], before: &Oid, after: &Oid) {
    for place in places {
        if let Err(error) = target::update(place, after, before).await {
            tracing::warn!(path = %place.path.display(), error = model::chain(&error), "files of a merge that was not made were left");
        }
    }
}

async fn merge_commit(order: &MergeOrder<'_>, tree: &Oid, before: &Oid) -> Result<Oid, GitError> {
    let usual = format!("Merge branch '{}' into {}", order.branch.name, order.into);
    let message = order.message.unwrap_or(&usual);
    let call = order.mirror.call("make a commit");
    commit_tree(call, tree, &[before, &order.branch.commit], order.author, message).await
}
