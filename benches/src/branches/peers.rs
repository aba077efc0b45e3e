//! What people do by hand: a shared clone or a worktree for each agent, nothing of them sealed.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::disk;
use super::repo::run;

/// One way to give many agents a tree each.
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) lacks: &'static str,
    make: fn(&Path, &Path, usize) -> Result<()>,
    remove: fn(&Path, &Path) -> Result<()>,
}

pub(super) const ALL: &[Peer] = &[
    Peer {
        name: "`git clone --shared`, one after the other",
        lacks: "no agent, no sandbox; a gc of the user's breaks the clones",
        make: |repo, at, n| {
            let (repo, at) = (repo.display().to_string(), at.join(n.to_string()).display().to_string());
            run(Path::new("/"), &["clone", "--quiet", "--shared", &repo, &at])
        },
        remove: |_, at| Ok(std::fs::remove_dir_all(at)?),
    },
    Peer {
        name: "`git worktree add`, one after the other",
        lacks: "no agent, no sandbox; the user's .git is shared",
        make: |repo, at, n| {
            let to = at.join(n.to_string()).display().to_string();
            run(repo, &["worktree", "add", "--quiet", "-b", &format!("peer-{n}"), &to])
        },
        remove: |repo, at| {
            std::fs::remove_dir_all(at)?;
            run(repo, &["worktree", "prune"])
        },
    },
];

impl Peer {
    /// Makes `n` trees and removes them: how long that took, and the bytes that each takes.
    pub(super) fn trees(&self, repo: &Path, at: &Path, n: usize) -> Result<(Duration, u64)> {
        std::fs::create_dir(at)?;
        let began = Instant::now();
        for tree in 0..n {
            (self.make)(repo, at, tree)?;
        }
        let took = began.elapsed();
        let bytes = disk(at)? / u64::try_from(n)?;
        (self.remove)(repo, at)?;
        Ok((took, bytes))
    }
}
