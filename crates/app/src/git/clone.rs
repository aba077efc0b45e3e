//! A clone of an agent's own: its refs, configuration and index, over the files of a base tree.

use std::time::Duration;

use model::TreeId;

use super::base::{Beside, Shape};
use super::carry::Carried;
use super::error::GitError;
use super::mirror::Mirror;
use super::repo::{Oid, Repo};
use super::room::{Given, Room, Script, Seat, Taken};
use super::{History, Shop};

/// How long a clone may take once its files are there.
const CLONE_TIME: Duration = Duration::from_secs(120);
/// How long the files of a user that are carried in may take.
const CARRY_TIME: Duration = Duration::from_secs(600);

/// Gives the clone its branch, its name and the refs of the others. Everything comes as an argument or on the input: it is
/// data and never part of the script.
pub(super) const CLONE: &str = r#"
branch=$1 commit=$2 name=$3 email=$4 url=$5 upstream=$6 trailer=${7-}
cat >.git/packed-refs.new
mv .git/packed-refs.new .git/packed-refs
git config core.logAllRefUpdates true
git config user.name "$name"
git config user.email "$email"
if [ -n "$url" ]; then
    git config remote.origin.url "$url"
    git config remote.origin.fetch '+refs/heads/*:refs/remotes/origin/*'
    if [ -n "$upstream" ]; then
        git config "branch.$branch.remote" origin
        git config "branch.$branch.merge" "refs/heads/$upstream"
    fi
fi
if [ -n "$trailer" ]; then
    git config lazaret.trailer "$trailer"
    mkdir -p .git/hooks
    cat >.git/hooks/commit-msg <<'END'
#!/bin/sh
trailer=$(git config lazaret.trailer) || exit 0
git interpret-trailers --in-place --if-exists addIfDifferent --trailer "$trailer" "$1" || exit 0
END
    chmod 755 .git/hooks/commit-msg
fi
git update-ref "refs/heads/$branch" "$commit"
git symbolic-ref HEAD "refs/heads/$branch"
"#;

/// Removes what the user has removed; names come separated by NUL.
const REMOVE: &str = "xargs -0 -r rm -f --";

/// A clone to be made.
#[derive(Debug)]
pub(crate) struct CloneOrder<'a> {
    /// Whose.
    pub(crate) repo: &'a Repo,
    /// Its mirror, as [`Shop::mirror`] gave it a moment ago.
    pub(crate) mirror: &'a Mirror,
    /// The branch that the agent works on, without `refs/heads/`.
    pub(crate) branch: &'a str,
    /// Where it begins.
    pub(crate) commit: &'a Oid,
    /// The branch that it began from, where it was one.
    pub(crate) upstream: Option<&'a str>,
    /// The directories that are checked out; all where there is none.
    pub(crate) sparse: &'a [String],
    /// What of the history the agent sees.
    pub(crate) history: History,
    /// Who its commits are by.
    pub(crate) author: (&'a str, &'a str),
    /// What its commits say besides, as a trailer.
    pub(crate) trailer: Option<&'a str>,
    /// What the user has not committed, to be carried in.
    pub(crate) carried: Option<Carried>,
    /// What the tree may hold, in bytes.
    pub(crate) disk_bytes: u64,
    /// The repositories beside the first one.
    pub(crate) beside: Vec<BesideOrder<'a>>,
}

/// A clone beside the first one: on the same branch, by the same author, with as much of the history.
#[derive(Debug)]
pub(crate) struct BesideOrder<'a> {
    /// What is checked out, and what it is called.
    pub(crate) of: Beside<'a>,
    /// The branch that it began from, where it was one.
    pub(crate) upstream: Option<&'a str>,
    /// What the user has not committed, to be carried in.
    pub(crate) carried: Option<Carried>,
}

/// What one clone is given once its files are there.
struct Finish<'a> {
    seat: Seat<'a>,
    repo: &'a Repo,
    mirror: &'a Mirror,
    commit: &'a Oid,
    upstream: Option<&'a str>,
    carried: Option<&'a Carried>,
}

impl Shop {
    /// Makes `tree`, which does not exist, a clone: files, index, branch. The sandbox that uses it must show the mirror
    /// ([`Shop::show`]), unless the history is the branch's alone.
    ///
    /// Says what it lacks.
    ///
    /// # Errors
    /// Nothing is left of it then.
    pub(crate) async fn clone_into(&self, order: CloneOrder<'_>, tree: &TreeId) -> Result<Option<String>, GitError> {
        let made = self.try_clone(order, tree).await;
        if made.is_err() {
            self.drop_tree(tree).await;
        }
        made
    }

    async fn try_clone(&self, order: CloneOrder<'_>, tree: &TreeId) -> Result<Option<String>, GitError> {
        model::check_branch_name(order.branch)?;
        let beside: Vec<Beside<'_>> = order.beside.iter().map(|one| one.of).collect();
        let shape = Shape { commit: order.commit, history: order.history, sparse: order.sparse, beside: &beside };
        let (base, lacks) = self.base(order.repo, order.mirror, shape).await?;
        {
            // Two cannot copy one tree at once.
            let lock = self.base_lock(&order.mirror.key);
            let _one = lock.lock().await;
            self.sandboxes().snapshot(&base, tree, false).await?;
        }
        self.sandboxes().set_tree_limit(tree, order.disk_bytes).await?;
        let shown = match order.history {
            History::All => std::iter::once(order.mirror).chain(beside.iter().map(|one| one.mirror)).map(|m| self.show(m)).collect(),
            History::Branch => Vec::new(),
        };
        let room = Room::writing(self.sandboxes(), tree, &shown, Vec::new()).await?;
        let done = finish_all(&room, &order).await;
        room.close().await;
        done.map(|()| lacks)
    }
}

async fn finish_all(room: &Room, order: &CloneOrder<'_>) -> Result<(), GitError> {
    let CloneOrder { repo, mirror, commit, upstream, .. } = *order;
    finish(room, order, Finish { seat: Seat::First, repo, mirror, commit, upstream, carried: order.carried.as_ref() }).await?;
    for one in &order.beside {
        let Beside { name, repo, mirror, commit } = one.of;
        let seat = Seat::Beside(name);
        finish(room, order, Finish { seat, repo, mirror, commit, upstream: one.upstream, carried: one.carried.as_ref() }).await?;
    }
    Ok(())
}

async fn finish(room: &Room, order: &CloneOrder<'_>, one: Finish<'_>) -> Result<(), GitError> {
    let (refs, url) = match order.history {
        History::All => (packed_refs(one.repo).await?, one.mirror.inside()),
        History::Branch => (String::from(PACKED_HEADER), ""),
    };
    let (name, email) = order.author;
    let args = [order.branch, one.commit.as_str(), name, email, url, one.upstream.unwrap_or_default(), order.trailer.unwrap_or_default()];
    let given = Given::Bytes(refs.into_bytes());
    let script = Script { what: "set up the clone", text: CLONE, args: &args, given, time: CLONE_TIME };
    room.run(one.seat, script, Taken::Bytes(&mut Vec::new(), 1 << 20)).await?;
    let Some(carried) = one.carried else { return Ok(()) };
    tracing::debug!(files = carried.files, removed = carried.removed.len(), "what is not committed is carried in");
    let removed = carried.removed.iter().flat_map(|path| [path.as_bytes(), b"\0"].concat()).collect();
    let script = Script { what: "carry in what is not committed", text: REMOVE, args: &[], given: Given::Bytes(removed), time: CARRY_TIME };
    room.run(one.seat, script, Taken::Bytes(&mut Vec::new(), 1 << 20)).await?;
    let tar = carried.open().map_err(GitError::io("read what is carried in"))?;
    let place = room.place(one.seat);
    let put = room.sandbox().put(&place, tokio::fs::File::from_std(tar));
    tokio::time::timeout(CARRY_TIME, put).await.map_err(|_| GitError::Late { what: "carry in what is not committed" })??;
    Ok(())
}

/// The first line of packed refs.
pub(super) const PACKED_HEADER: &str = "# pack-refs with: sorted \n";

/// The user's branches as those of a remote, and the tags.
async fn packed_refs(repo: &Repo) -> Result<String, GitError> {
    let refs = repo.refs(&["refs/heads/", "refs/tags/"]).await?;
    let mut renamed: Vec<(String, Oid)> = refs
        .into_iter()
        .map(|(name, oid)| match name.strip_prefix("refs/heads/") {
            Some(branch) => (format!("refs/remotes/origin/{branch}"), oid),
            None => (name, oid),
        })
        .collect();
    renamed.sort();
    Ok(std::iter::once(PACKED_HEADER.to_owned()).chain(renamed.into_iter().map(|(name, oid)| format!("{oid} {name}\n"))).collect())
}
