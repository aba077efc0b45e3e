//! A branch put on top of another commit: each of its own commits again, computed on objects.

use std::time::Duration;

use super::error::GitError;
use super::merge::{Conflict, Outcome, Person, Side, commit_tree, merge_files};
use super::mirror::Mirror;
use super::repo::Oid;
use super::run::Call;

/// Commits of one branch that are put on top of another.
pub(crate) const COMMITS_MAX: usize = 1000;
/// How long finding out which commits these are may take.
const LIST_TIME: Duration = Duration::from_secs(120);
/// The most bytes that are read of one commit's message and names.
const COMMIT_BYTES_MAX: u64 = 4 << 20;
/// Subjects that the message of a branch with merges of its own lists.
const SUBJECTS_MAX: usize = 50;
/// Who a commit is by that names nobody.
const NOBODY: &str = "unknown";

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rebased {
    /// There is nothing in it that is not there already.
    Already,
    /// Its work stands on the new ground.
    On {
        /// The last commit.
        tip: Oid,
        /// How many commits come.
        commits: usize,
    },
    /// It does not fit.
    Conflict {
        /// The commit of the branch that does not.
        commit: Oid,
        /// What that commit says of itself.
        subject: String,
        /// Where.
        files: Vec<Conflict>,
    },
}

/// A commit of the branch.
struct Own {
    commit: Oid,
    parents: Vec<Oid>,
}

/// What a commit says of itself.
struct Said {
    author: Person,
    date: String,
    message: String,
}

/// Puts what `branch` has beyond `onto` on top of it, in a line. Commits that are there already, by what they change, are left out. A
/// branch with merges of its own becomes one commit: how they were resolved is in its files and nowhere else. So does one whose commits
/// do not fit each by itself, and the whole does. Writes objects into the mirror and moves nothing.
///
/// # Errors
/// There are more than [`COMMITS_MAX`] commits, or git fails.
pub(crate) async fn rebase(mirror: &Mirror, onto: &Oid, branch: &Side, by: &Person) -> Result<Rebased, GitError> {
    let tip = &branch.commit;
    if mirror.is_ancestor(tip, onto).await? {
        return Ok(Rebased::Already);
    }
    let own = own_commits(mirror, onto, tip).await?;
    if own.is_empty() {
        return Ok(Rebased::Already);
    }
    if own.iter().any(|own| own.parents.len() > 1) {
        return as_one(mirror, onto, branch, &own, by).await;
    }
    let (mut at, mut commits) = (onto.clone(), 0);
    for one in &own {
        if one.parents.first() == Some(&at) {
            at = one.commit.clone();
            commits += 1;
            continue;
        }
        match replay(mirror, &at, one, by).await? {
            Replayed::Nothing => {}
            Replayed::Made(commit) => {
                at = commit;
                commits += 1;
            }
            Replayed::Conflict(files) => {
                // What one commit does may be undone by the next, and the whole fits.
                if let on @ Rebased::On { .. } = as_one(mirror, onto, branch, &own, by).await? {
                    return Ok(on);
                }
                let subject = said(mirror, &one.commit).await?.message.lines().next().unwrap_or_default().to_owned();
                return Ok(Rebased::Conflict { commit: one.commit.clone(), subject: super::error::shown(subject.as_bytes()), files });
            }
        }
    }
    Ok(if at == *onto { Rebased::Already } else { Rebased::On { tip: at, commits } })
}

/// The commits that `tip` has and `onto` has not, the oldest first; without those whose change `onto` has too.
async fn own_commits(mirror: &Mirror, onto: &Oid, tip: &Oid) -> Result<Vec<Own>, GitError> {
    let what = "list the commits of the branch";
    let count = format!("--max-count={}", COMMITS_MAX + 1);
    let range = format!("{onto}...{tip}");
    let args = ["rev-list", "--topo-order", "--reverse", "--cherry-pick", "--right-only", "--parents", &count, &range, "--"];
    let out = mirror.call(what).args(args).time(LIST_TIME).text().await?;
    let mut own = Vec::new();
    for line in out.lines() {
        let mut oids = line.split(' ').map(|word| Oid::parse(word).ok_or(GitError::Strange { what }));
        let commit = oids.next().ok_or(GitError::Strange { what })??;
        own.push(Own { commit, parents: oids.collect::<Result<_, _>>()? });
    }
    if own.len() > COMMITS_MAX {
        let why = format!("the branch has more than {COMMITS_MAX} commits of its own; merge it without the queue");
        return Err(GitError::Repo { path: mirror.dir().to_owned(), why });
    }
    Ok(own)
}

enum Replayed {
    /// Nothing of it is left: all of it is there.
    Nothing,
    Made(Oid),
    Conflict(Vec<Conflict>),
}

/// Makes the change of one commit again on other ground.
async fn replay(mirror: &Mirror, at: &Oid, own: &Own, by: &Person) -> Result<Replayed, GitError> {
    let (here, files) = (tree_of(mirror, at).await?, tree_of(mirror, &own.commit).await?);
    // A merge finds its base in what both sides come from. Here that has to be the commit before, whatever they come from: so both
    // sides are given it as their only parent.
    let before = match own.parents.first() {
        Some(parent) => parent.clone(),
        None => {
            let empty = mirror.call(MAKE).args(["mktree"]).text().await?;
            commit_tree(mirror.call(MAKE), &oid(&empty)?, &[], by, "ground").await?
        }
    };
    let ours = commit_tree(mirror.call(MAKE), &here, &[&before], by, "ground").await?;
    let theirs = commit_tree(mirror.call(MAKE), &files, &[&before], by, "change").await?;
    match merge_files(mirror.call("put a commit on other ground"), &ours, &theirs).await? {
        Outcome::Conflict(files) => Ok(Replayed::Conflict(files)),
        Outcome::Clean(tree) if tree != here => {
            let said = said(mirror, &own.commit).await?;
            made(mirror, &tree, at, &said, by).await.map(Replayed::Made)
        }
        _ => Ok(Replayed::Nothing),
    }
}

/// Puts the whole of a branch on top as one commit.
async fn as_one(mirror: &Mirror, onto: &Oid, branch: &Side, own: &[Own], by: &Person) -> Result<Rebased, GitError> {
    let tip = &branch.commit;
    let tree = if mirror.is_ancestor(onto, tip).await? {
        tree_of(mirror, tip).await?
    } else {
        match merge_files(mirror.call("put a branch on other ground"), onto, tip).await? {
            Outcome::Clean(tree) => tree,
            Outcome::Conflict(files) => {
                return Ok(Rebased::Conflict { commit: tip.clone(), subject: format!("the whole of {}", branch.name), files });
            }
            Outcome::Already | Outcome::Forward => return Err(GitError::Strange { what: "put a branch on other ground" }),
        }
    };
    if tree == tree_of(mirror, onto).await? {
        return Ok(Rebased::Already);
    }
    let plain: Vec<&Own> = own.iter().filter(|own| own.parents.len() < 2).collect();
    let mut message = format!("Put {} on top\n\n", branch.name);
    for own in plain.iter().take(SUBJECTS_MAX) {
        let said = said(mirror, &own.commit).await?;
        message.push_str(&format!("- {}\n", said.message.lines().next().unwrap_or_default()));
    }
    if plain.len() > SUBJECTS_MAX {
        message.push_str(&format!("- and {} more\n", plain.len() - SUBJECTS_MAX));
    }
    let last = said(mirror, tip).await?;
    let tip = made(mirror, &tree, onto, &Said { message, ..last }, by).await?;
    Ok(Rebased::On { tip, commits: 1 })
}

const MAKE: &str = "make a commit";

/// A commit that says of itself what another one does, but for who put it there.
async fn made(mirror: &Mirror, tree: &Oid, on: &Oid, said: &Said, by: &Person) -> Result<Oid, GitError> {
    let author = (known(&said.author.0), known(&said.author.1));
    let call = mirror.call(MAKE).env("GIT_AUTHOR_DATE", &said.date);
    commit_by(call, tree, on, &author, by, &said.message).await
}

/// A name as a commit can hold it.
fn known(text: &str) -> String {
    let clean: String = text.chars().filter(|c| !c.is_control() && !matches!(c, '<' | '>')).collect();
    // Git takes such signs off both ends, and wants something to be left.
    let is_left = clean.chars().any(|c| !c.is_whitespace() && !".,:;\\\"'".contains(c));
    if is_left { clean } else { NOBODY.to_owned() }
}

async fn commit_by(call: Call, tree: &Oid, on: &Oid, author: &Person, by: &Person, message: &str) -> Result<Oid, GitError> {
    let call = call.args(["commit-tree", tree.as_str(), "-F", "-", "-p", on.as_str()]);
    let call = call.env("GIT_AUTHOR_NAME", &author.0).env("GIT_AUTHOR_EMAIL", &author.1);
    let call = call.env("GIT_COMMITTER_NAME", known(&by.0)).env("GIT_COMMITTER_EMAIL", known(&by.1));
    oid(&call.input(message).text().await?)
}

async fn said(mirror: &Mirror, commit: &Oid) -> Result<Said, GitError> {
    let what = "read a commit";
    let args = [
        "log", "-1", "--no-color", "--no-show-signature", "--no-notes", "--date=raw", "--format=%an%x00%ae%x00%ad%x00%B",
        "--end-of-options",
    ];
    let out = mirror.call(what).args(args).arg(commit).arg("--").max(COMMIT_BYTES_MAX).run().await?;
    let text = String::from_utf8_lossy(&out);
    let mut parts = text.splitn(4, '\0');
    let mut next = || parts.next().map(str::to_owned).ok_or(GitError::Strange { what });
    let (name, email, date, message) = (next()?, next()?, next()?, next()?);
    // Raw seconds with few digits would be taken for something else.
    let is_date = date.split(' ').next().is_some_and(|seconds| !seconds.is_empty() && seconds.bytes().all(|b| b.is_ascii_digit()));
    let date = if is_date { format!("@{date}") } else { "@0 +0000".to_owned() };
    let message = message.trim_end_matches('\n').replace('\0', "");
    Ok(Said { author: (name, email), date, message: format!("{message}\n") })
}

async fn tree_of(mirror: &Mirror, commit: &Oid) -> Result<Oid, GitError> {
    oid(&mirror.call("find the files of a commit").args(["rev-parse", "--verify", &format!("{commit}^{{tree}}")]).text().await?)
}

fn oid(text: &str) -> Result<Oid, GitError> {
    Oid::parse(text).ok_or(GitError::Strange { what: MAKE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_git_would_refuse_is_nobodys() {
        assert_eq!(known("Una <x>\n"), "Una x");
        for none in ["", "  ", "<>", ".,;", "\u{1b}"] {
            assert_eq!(known(none), NOBODY, "{none:?}");
        }
    }
}
