//! Merging, computed on objects: what would come of it is known before anything of the user's moves.

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
/// The most bytes that git tells of several merges together.
const REPORTS_BYTES_MAX: u64 = 64 << 20;

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

/// The best commits that two have in common; none where they have nothing in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kin(pub(super) Vec<Oid>);

impl Kin {
    /// Finds them.
    ///
    /// # Errors
    /// One of the two is not there, or git fails.
    pub(super) async fn of(call: Call, ours: &Oid, theirs: &Oid) -> Result<Self, GitError> {
        let what = "compare two commits";
        let answer = call.args(["merge-base", "--all", ours.as_str(), theirs.as_str()]).answer().await?;
        match answer.status {
            0 => {
                let bases = String::from_utf8_lossy(&answer.out).lines().map(Oid::parse).collect::<Option<_>>();
                bases.map(Self).ok_or(GitError::Strange { what })
            }
            1 => Ok(Self(Vec::new())),
            _ => Err(GitError::Failed { what, complaint: answer.complaint }),
        }
    }

    /// What a merge comes to where one of the two has the other whole; `None` where both have something of their own.
    pub(super) fn outcome(&self, ours: &Oid, theirs: &Oid) -> Option<Outcome> {
        // A commit that the other one reaches is the only best one that they have in common.
        match &self.0[..] {
            [base] if base == theirs => Some(Outcome::Already),
            [base] if base == ours => Some(Outcome::Forward),
            _ => None,
        }
    }
}

/// What two commits come to. Writes the merged tree into the mirror, or where `scratch` says.
///
/// # Errors
/// They have no common history, or git fails.
pub(crate) async fn try_merge(mirror: &Mirror, ours: &Oid, theirs: &Oid, scratch: Option<&Scratch>) -> Result<Outcome, GitError> {
    let call = |what| scratch.map_or_else(|| mirror.call(what), |scratch| scratch.call(mirror, what));
    match Kin::of(call("compare two commits"), ours, theirs).await?.outcome(ours, theirs) {
        Some(outcome) => Ok(outcome),
        None => merge_files(call("merge two branches"), ours, theirs).await,
    }
}

/// What the files of two commits come to, whoever has what already.
pub(crate) async fn merge_files(call: Call, ours: &Oid, theirs: &Oid) -> Result<Outcome, GitError> {
    let what = "merge two branches";
    let args = ["merge-tree", "--write-tree", "-z", "--name-only", "--messages", ours.as_str(), theirs.as_str()];
    // As a merge in a checked-out target would: by the attributes of the target.
    let merge = call.args(args).env("GIT_ATTR_SOURCE", ours.as_str()).time(MERGE_TIME).max(REPORT_BYTES_MAX);
    let answer = merge.answer().await?;
    let mut words = answer.out.split(|b| *b == 0);
    let tree = words.next().and_then(oid);
    match answer.status {
        0 => tree.map(Outcome::Clean).ok_or(GitError::Strange { what }),
        1 => Ok(Outcome::Conflict(conflicts(&mut words))),
        _ => Err(GitError::Failed { what, complaint: answer.complaint }),
    }
}

/// What the files of one commit come to with those of each of the others, by one call of git.
///
/// # Errors
/// One of them has no common history with it, or git fails.
pub(super) async fn merge_each(call: Call, ours: &Oid, others: &[&Oid]) -> Result<Vec<Outcome>, GitError> {
    let what = "merge branches";
    if others.is_empty() {
        return Ok(Vec::new());
    }
    let pairs: String = others.iter().map(|theirs| format!("{ours} {theirs}\n")).collect();
    let time = MERGE_TIME.saturating_mul(u32::try_from(others.len()).unwrap_or(u32::MAX));
    let call = call.args(["merge-tree", "--write-tree", "--stdin", "--name-only", "--messages"]).input(pairs);
    let out = call.env("GIT_ATTR_SOURCE", ours.as_str()).time(time).max(REPORTS_BYTES_MAX).run().await?;
    outcomes(&out, others.len()).ok_or(GitError::Strange { what })
}

/// The reports of so many merges, one after the other.
fn outcomes(out: &[u8], count: usize) -> Option<Vec<Outcome>> {
    let mut words = out.split(|b| *b == 0);
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let is_clean = match words.next()? {
            b"1" => true,
            b"0" => false,
            _ => return None,
        };
        let tree = words.next().and_then(oid)?;
        let files = conflicts(&mut words);
        all.push(if is_clean { Outcome::Clean(tree) } else { Outcome::Conflict(files) });
    }
    Some(all)
}

fn oid(word: &[u8]) -> Option<Oid> {
    std::str::from_utf8(word).ok().and_then(Oid::parse)
}

/// The files that git lists, each with what is said of it. Takes all words of the report, and none of the next.
fn conflicts<'a>(words: &mut impl Iterator<Item = &'a [u8]>) -> Vec<Conflict> {
    let text = |word: &[u8]| super::error::shown(word);
    let mut files: Vec<Conflict> = Vec::new();
    for path in words.by_ref().take_while(|word| !word.is_empty()) {
        if files.len() < FILES_MAX {
            files.push(Conflict { path: text(path), message: String::new() });
        }
    }
    // Then groups up to an empty word: how many paths, the paths, the kind, the text.
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
    let (before, after) = plan(&order).await?;
    if before == after {
        return Ok(Merged { before, after, updated: Vec::new() });
    }
    let updated = advance(order.repo, order.mirror, order.into, &before, &after).await?;
    Ok(Merged { before, after, updated })
}

/// Where the target of a merge is, and where it goes: the same where it has everything already. Nothing of the user's moves.
///
/// # Errors
/// [`GitError::Conflict`], or there is no such target.
pub(crate) async fn plan(order: &MergeOrder<'_>) -> Result<(Oid, Oid), GitError> {
    model::check_branch_name(order.into)?;
    let (repo, mirror) = (order.repo, order.mirror);
    let name = format!("refs/heads/{}", order.into);
    let before = repo.at(&name).await?.ok_or_else(|| GitError::NoCommit(order.into.to_owned()))?;
    let outcome = try_merge(mirror, &before, &order.branch.commit, None).await?;
    let after = match outcome {
        Outcome::Already => before.clone(),
        Outcome::Forward if !order.always_commit => order.branch.commit.clone(),
        Outcome::Forward => {
            let tree =
                mirror.call("find the files of a commit").args(["rev-parse", &format!("{}^{{tree}}", order.branch.commit)]).text().await?;
            let tree = Oid::parse(&tree).ok_or(GitError::Strange { what: "find the files of a commit" })?;
            merge_commit(order, &tree, &before).await?
        }
        Outcome::Clean(tree) => merge_commit(order, &tree, &before).await?,
        Outcome::Conflict(files) => {
            let files = files.into_iter().map(|file| file.path).collect();
            return Err(GitError::Conflict { branch: order.branch.name.clone(), into: order.into.to_owned(), files });
        }
    };
    Ok((before, after))
}

/// Whether a branch of the user's can move from one commit to another: the objects are given, and the files looked at where it is checked
/// out. Gives those places; nothing else of the user's changes.
///
/// # Errors
/// [`GitError::InTheWay`], or a repository of the user's cannot be used.
pub(crate) async fn ready(repo: &Repo, mirror: &Mirror, branch: &str, before: &Oid, after: &Oid) -> Result<Vec<Repo>, GitError> {
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
    Ok(places)
}

/// Moves a branch of the user's from one commit to another, and brings the files along where it is checked out.
///
/// # Errors
/// As [`merge`].
pub(crate) async fn advance(repo: &Repo, mirror: &Mirror, branch: &str, before: &Oid, after: &Oid) -> Result<Vec<PathBuf>, GitError> {
    let name = format!("refs/heads/{branch}");
    let places = ready(repo, mirror, branch, before, after).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_several_merges_are_told_apart() {
        let tree = "a".repeat(40);
        let clash = format!("0\0{tree}\0a\0b/c\0\x001\0a\0Auto-merging\0Auto-merging a\n\x002\0a\0b/c\0CONFLICT (contents)\0both\n\0\0");
        let clean = format!("1\0{tree}\0\0\0");
        let seen = outcomes(format!("{clash}{clean}{clash}").as_bytes(), 3).expect("reports");
        let conflict = |path: &str| Conflict { path: path.to_owned(), message: "both".to_owned() };
        let both = Outcome::Conflict(vec![conflict("a"), conflict("b/c")]);
        assert_eq!(seen, [both.clone(), Outcome::Clean(Oid::parse(&tree).expect("a name")), both]);
        for bad in [String::new(), clean.clone(), format!("2\0{tree}\0\0\0{clean}"), format!("{clean}1\0no tree\0\0\0")] {
            assert_eq!(outcomes(bad.as_bytes(), 2), None, "{bad:?}");
        }
    }
}
