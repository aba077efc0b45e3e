//! What would come of merging many branches, found out without anything of it being left.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::error::GitError;
use super::merge::{Conflict, Kin, Outcome, Scratch, Side, commit_tree, merge_each, merge_files, try_merge};
use super::mirror::Mirror;
use super::repo::Oid;

/// The most branches of one preview.
pub(crate) const BRANCHES_MAX: usize = 100;
/// The longest list of changed files that is compared, in bytes.
const NAMES_BYTES_MAX: u64 = 32 << 20;
/// Calls of git of one kind that a preview has at once: each is short, and waits for the disk about as long as it works.
const AT_ONCE: usize = 4;

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

/// Where a preview looks.
#[derive(Clone, Copy)]
struct View<'a> {
    mirror: &'a Mirror,
    scratch: &'a Scratch,
    into: &'a Side,
    branches: &'a [Side],
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
    let view = View { mirror, scratch: &scratch, into, branches };
    let kin: Vec<_> = branches.iter().map(|branch| Kin::of(mirror.call("compare two commits"), &into.commit, &branch.commit)).collect();
    let kin: Vec<Kin> = stream::iter(kin).buffered(AT_ONCE).try_collect().await?;
    let changed: Vec<_> = branches.iter().zip(&kin).map(|(branch, kin)| view.names(branch, kin)).collect();
    // Of the three only the last must take one branch after the other.
    let (alone, changed, in_order) =
        tokio::try_join!(view.alone(&kin), stream::iter(changed).buffered(AT_ONCE).try_collect::<Vec<_>>(), view.ordered(&kin))?;
    let met: Vec<_> = (0..branches.len()).map(|n| view.meet(n, &changed)).collect();
    let met: Vec<Vec<(String, String, Vec<Conflict>)>> = stream::iter(met).buffered(AT_ONCE).try_collect().await?;
    let named = |outcomes: Vec<Outcome>| branches.iter().map(|branch| branch.name.clone()).zip(outcomes).collect();
    Ok(Preview { alone: named(alone), in_order: named(in_order), pairs: met.into_iter().flatten().collect() })
}

impl View<'_> {
    /// Each by itself.
    async fn alone(&self, kin: &[Kin]) -> Result<Vec<Outcome>, GitError> {
        let ours = &self.into.commit;
        let known: Vec<Option<Outcome>> = self.branches.iter().zip(kin).map(|(branch, kin)| kin.outcome(ours, &branch.commit)).collect();
        let open: Vec<&Oid> =
            self.branches.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(branch, _)| &branch.commit).collect();
        let mut merged = merge_each(self.scratch.call(self.mirror, "merge branches"), ours, &open).await?.into_iter();
        let strange = || GitError::Strange { what: "merge branches" };
        known.into_iter().map(|known| known.or_else(|| merged.next()).ok_or_else(strange)).collect()
    }

    /// What becomes of each after those before it that fit.
    async fn ordered(&self, kin: &[Kin]) -> Result<Vec<Outcome>, GitError> {
        let nobody = ("lazaret".to_owned(), "lazaret@localhost".to_owned());
        let call = |what| self.scratch.call(self.mirror, what);
        let mut at = self.into.commit.clone();
        // The files of `at`, where that is a commit which was made here.
        let mut made: Option<Oid> = None;
        let mut seen = Vec::with_capacity(self.branches.len());
        for (branch, kin) in self.branches.iter().zip(kin) {
            let outcome = if at == self.into.commit {
                match kin.outcome(&at, &branch.commit) {
                    Some(outcome) => outcome,
                    None => merge_files(call("merge two branches"), &at, &branch.commit).await?,
                }
            } else if let Some(files) = &made {
                // No branch has a commit that was made here. One that changes nothing may be in it whole already.
                match merge_files(call("merge two branches"), &at, &branch.commit).await? {
                    Outcome::Clean(merged) if merged == *files => {
                        let kin = Kin::of(call("compare two commits"), &at, &branch.commit).await?;
                        kin.outcome(&at, &branch.commit).unwrap_or(Outcome::Clean(merged))
                    }
                    outcome => outcome,
                }
            } else {
                try_merge(self.mirror, &at, &branch.commit, Some(self.scratch)).await?
            };
            match &outcome {
                Outcome::Forward => at = branch.commit.clone(),
                Outcome::Clean(tree) => {
                    at = commit_tree(call("make a commit"), tree, &[&at, &branch.commit], &nobody, "preview").await?;
                    made = Some(tree.clone());
                }
                Outcome::Already | Outcome::Conflict(_) => {}
            }
            seen.push(outcome);
        }
        Ok(seen)
    }

    /// The branches after the `n`th that do not fit with it.
    async fn meet(&self, n: usize, changed: &[BTreeSet<Vec<u8>>]) -> Result<Vec<(String, String, Vec<Conflict>)>, GitError> {
        let (Some(one), Some(names)) = (self.branches.get(n), changed.get(n)) else { return Ok(Vec::new()) };
        let later = self.branches.iter().zip(changed).skip(n + 1);
        let others: Vec<&Side> = later.filter(|(_, other)| touch(names, other)).map(|(other, _)| other).collect();
        let commits: Vec<&Oid> = others.iter().map(|other| &other.commit).collect();
        let outcomes = merge_each(self.scratch.call(self.mirror, "merge branches"), &one.commit, &commits).await?;
        let pairs = others.into_iter().zip(outcomes).filter_map(|(other, outcome)| match outcome {
            Outcome::Conflict(files) => Some((one.name.clone(), other.name.clone(), files)),
            _ => None,
        });
        Ok(pairs.collect())
    }

    /// The files that a branch changes since it left the target.
    async fn names(&self, branch: &Side, kin: &Kin) -> Result<BTreeSet<Vec<u8>>, GitError> {
        let mut names = BTreeSet::new();
        for base in &kin.0 {
            let args = ["diff-tree", "-r", "-z", "--name-only", "--no-renames", base.as_str(), branch.commit.as_str(), "--"];
            let out = self.mirror.call("list what a branch changes").args(args).max(NAMES_BYTES_MAX).run().await?;
            names.extend(out.split(|b| *b == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec));
        }
        Ok(names)
    }
}

/// Whether two sets of changes can meet: in a file, or where one has a directory and the other a file.
fn touch(one: &BTreeSet<Vec<u8>>, other: &BTreeSet<Vec<u8>>) -> bool {
    let meets = |few: &BTreeSet<Vec<u8>>, many: &BTreeSet<Vec<u8>>| {
        few.iter().any(|path| many.contains(path) || path.iter().enumerate().any(|(at, byte)| *byte == b'/' && many.contains(&path[..at])))
    };
    meets(one, other) || meets(other, one)
}
