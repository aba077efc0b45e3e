//! What a turn changed: two checkpoints side by side in a sandbox that can only look.

use std::path::PathBuf;
use std::time::Duration;

use model::{Code, Failure, TreeId};
use serde::Deserialize;

use crate::App;
use crate::files::Change;
use crate::helper::Helper;
use crate::inside::{Inside, lines, strange};
use crate::sessions::SessionsOf;
use crate::trees::Look;

/// Where both trees are seen inside.
const ROOT: &str = "/mnt";
/// The tree before the turn, below [`ROOT`].
const OLD: &str = "old";
/// The tree after it.
const NEW: &str = "new";
/// The most bytes of a list of changes.
const CHANGES_BYTES_MAX: usize = 32 << 20;
/// The most bytes of the changes of one file.
const PATCH_BYTES_MAX: usize = 16 << 20;
/// How long a comparison may take.
const DIFF_TIME: Duration = Duration::from_secs(180);

/// A line of the guest's comparison.
#[derive(Debug, Deserialize)]
struct Line {
    path: Option<String>,
    change: Option<String>,
    size_before: Option<u64>,
    size_after: Option<u64>,
    #[serde(default)]
    truncated: bool,
}

impl SessionsOf<'_> {
    /// What a turn changed in the files.
    ///
    /// # Errors
    /// There is no checkpoint of it or of the turn before it.
    pub async fn diff(&self, id: &str, turn: u64) -> Result<Vec<Change>, Failure> {
        let (before, after) = self.both(id, turn).await?;
        let pair = Pair::open(self.app, &before, &after).await?;
        let changes = pair.changes().await;
        pair.helper.close().await;
        changes
    }

    /// What a turn changed in one text file, as a unified diff.
    ///
    /// # Errors
    /// As [`SessionsOf::diff`], or the file is no text.
    pub async fn patch(&self, id: &str, turn: u64, path: &str) -> Result<String, Failure> {
        let path = in_tree(path)?;
        let (before, after) = self.both(id, turn).await?;
        let pair = Pair::open(self.app, &before, &after).await?;
        let patch = pair.inside.run(&["patch", OLD, NEW, &path], PATCH_BYTES_MAX).await;
        pair.helper.close().await;
        String::from_utf8(patch?).map_err(|_| Failure::new(Code::Usage, "the file is no text").field("path"))
    }

    /// The checkpoints around a turn.
    async fn both(&self, id: &str, turn: u64) -> Result<(TreeId, TreeId), Failure> {
        let (store, session) = (self.app.store(), self.row(id).await?);
        let id = session.id.clone();
        let Some(at) = turn.checked_sub(1) else {
            return Err(Failure::new(Code::Usage, "turns are counted from 1").field("turn"));
        };
        let rows = store.turns(&id, at, 1).await.map_err(|e| e.failure())?;
        let row = rows.into_iter().find(|row| row.n == turn);
        let row = row.ok_or_else(|| Failure::new(Code::NotFound, format!("there is no turn {turn}")).field("turn"))?;
        if !row.state.is_final() {
            return Err(Failure::new(Code::Conflict, "the turn is not over").field("turn"));
        }
        self.app.keep_left(&session).await?;
        let tree = async |n: u64| match store.checkpoint(&id, n).await {
            Err(store::StoreError::NotFound { .. }) => {
                Err(Failure::new(Code::CheckpointMissing, format!("no checkpoint of turn {n} is kept"))
                    .hint("`sessions.checkpoints_keep` says how many are"))
            }
            row => row.map(|row| row.tree).map_err(|e| e.failure()),
        };
        Ok((tree(row.parent).await?, tree(turn).await?))
    }
}

/// A sandbox that sees two trees and can change neither.
struct Pair {
    inside: Inside,
    helper: Helper,
}

impl Pair {
    async fn open(app: &App, before: &TreeId, after: &TreeId) -> Result<Self, Failure> {
        let mut helper = app.helper();
        let mut trees = Vec::new();
        for (tree, at) in [(before, OLD), (after, NEW)] {
            let mut tree = tree.clone();
            if !app.sandboxes().has_tree(&tree).await {
                // One that was never used is not there: an empty one stands for it.
                tree = helper.tree();
                app.sandboxes().make_tree(&tree, 1 << 20).await.map_err(|e| e.failure())?;
            }
            trees.push((tree, PathBuf::from(ROOT).join(at)));
        }
        let mut request = helper.request(format!("{}{after}", crate::trees::LOOK_LABEL));
        request.trees = trees;
        let sandbox = helper.start(request).await?;
        Ok(Self { inside: Inside { look: Look::own(sandbox), root: ROOT.to_owned() }, helper })
    }

    async fn changes(&self) -> Result<Vec<Change>, Failure> {
        let run = self.inside.run(&["diff", OLD, NEW], CHANGES_BYTES_MAX);
        let out = tokio::time::timeout(DIFF_TIME, run).await.map_err(|_| Failure::new(Code::Timeout, "the comparison took too long"))??;
        let mut changes = Vec::new();
        for line in lines::<Line>(&out)? {
            match (line.path, line.change) {
                (Some(path), Some(change)) => {
                    let (size_before, size_after) = (line.size_before, line.size_after);
                    changes.push(Change { path: format!("/{}", path.trim_start_matches('/')), change, size_before, size_after });
                }
                _ if line.truncated => {
                    tracing::info!("more paths differ than one comparison lists");
                    changes.push(Change { path: "...".to_owned(), change: "truncated".to_owned(), size_before: None, size_after: None });
                }
                _ => return Err(strange("a line of a comparison names no path")),
            }
        }
        Ok(changes)
    }
}

/// A path as [`Change::path`] gives it, or relative to /home/sandbox, as the guest takes it: relative to a tree.
fn in_tree(path: &str) -> Result<String, Failure> {
    let within = match path.strip_prefix('/') {
        Some(rest) if rest.starts_with("home/") || rest.starts_with("workspace/") => rest.to_owned(),
        Some(_) => return Err(Failure::new(Code::Usage, "the path lies neither in /home nor in /workspace").field("path")),
        None => format!("home/sandbox/{path}"),
    };
    crate::files::relative(&within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_changes_lie_in_the_tree() {
        for (path, taken) in
            [("/home/sandbox/a", "./home/sandbox/a"), ("/workspace/b", "./workspace/b"), ("notes.md", "./home/sandbox/notes.md")]
        {
            assert_eq!(in_tree(path).as_deref(), Ok(taken));
        }
        for bad in ["/etc/passwd", "/home/../etc/passwd", "../x", "/workspace/a/../../x"] {
            assert!(in_tree(bad).is_err(), "{bad}");
        }
    }
}
