//! Collisions: two sessions of an env that write the same path while turns of both run.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Mutex;

use model::{EventKind, SessionId, TreeId};
use sandbox::{Sandbox, Writes, Written};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::App;
use crate::house::Ground;
use crate::live::{Live, lock};

/// Paths of one turn that are remembered; what it writes beyond them collides with nothing.
const PATHS_MAX: usize = 10_000;
/// Collisions that one turn is told of.
const NOTICES_MAX: usize = 20;

/// Who writes what just now.
#[derive(Default)]
pub(crate) struct Collisions {
    /// Turns that run, by the tree that they work in. Held for a few instructions, never across an await.
    boards: Mutex<HashMap<TreeId, HashMap<SessionId, Writer>>>,
}

/// A turn that runs.
struct Writer {
    /// What it has written.
    paths: HashSet<String>,
    /// What it was told of.
    told: HashSet<String>,
    /// Where it is told. What finds no room there is dropped: the files are what they are.
    calls: mpsc::Sender<EventKind>,
}

impl Writer {
    /// Says once that another session wrote the same path.
    fn tell(&mut self, path: &str, other: &SessionId) {
        if self.told.len() < NOTICES_MAX && self.told.insert(path.to_owned()) {
            let text = format!("{} was also written by session {other}, which works in this env at the same time", path.escape_debug());
            let _ = self.calls.try_send(EventKind::Notice { text });
        }
    }
}

impl Collisions {
    fn enter(&self, tree: &TreeId, session: &SessionId, calls: mpsc::Sender<EventKind>) {
        let writer = Writer { paths: HashSet::new(), told: HashSet::new(), calls };
        lock(&self.boards).entry(tree.clone()).or_default().insert(session.clone(), writer);
    }

    fn leave(&self, tree: &TreeId, session: &SessionId) {
        let mut boards = lock(&self.boards);
        if let Some(board) = boards.get_mut(tree) {
            board.remove(session);
            if board.is_empty() {
                boards.remove(tree);
            }
        }
    }

    /// A session wrote a path: whoever else did so in a turn that still runs is told, and so is it.
    fn wrote(&self, tree: &TreeId, session: &SessionId, path: &str) {
        let mut boards = lock(&self.boards);
        let Some(board) = boards.get_mut(tree) else { return };
        let Some(writer) = board.get_mut(session).filter(|w| w.paths.len() < PATHS_MAX) else { return };
        writer.paths.insert(path.to_owned());
        let others: Vec<SessionId> =
            board.iter().filter(|(id, w)| *id != session && w.paths.contains(path)).map(|(id, _)| id.clone()).collect();
        for other in others {
            if let Some(writer) = board.get_mut(&other) {
                writer.tell(path, session);
            }
            if let Some(writer) = board.get_mut(session) {
                writer.tell(path, &other);
            }
        }
    }
}

/// Whether two sessions that write a path get into each other's way: not what engines keep for themselves below the home,
/// where each has files of its own.
fn is_of_interest(path: &Path) -> bool {
    !path.strip_prefix("/home/sandbox").is_ok_and(|below| below.as_os_str().as_encoded_bytes().starts_with(b"."))
}

/// A turn whose writes are watched; dropping it ends that.
pub(crate) struct Watching {
    over: DropGuard,
    /// Closes when nothing is looked at any more.
    ended: oneshot::Receiver<()>,
}

impl Watching {
    /// Ends it once what was written until now is looked at.
    pub(crate) async fn end(self) {
        drop(self.over);
        let _ = self.ended.await;
    }
}

impl App {
    /// Watches what a turn writes in an env, from now on and as long as the answer lives, and says so in both logs when a turn of
    /// another session writes the same path.
    pub(crate) async fn watch_collisions(&self, live: &Live, ground: &Ground, sandbox: &Sandbox) -> Option<Watching> {
        // Nobody else writes where there is none.
        ground.env.as_ref()?;
        let writes = match self.sandboxes().watch_writes(sandbox.id()).await {
            Ok(writes) => writes,
            Err(error) => {
                // The files are shared all the same: only nobody is told.
                let text = format!("collisions with other sessions of this env are not reported: {error}");
                let _ = live.calls.try_send(EventKind::Notice { text });
                return None;
            }
        };
        let (app, tree, session) = (self.clone(), ground.tree.clone(), live.id.clone());
        self.collisions().enter(&tree, &session, live.calls.clone());
        let over = self.cancel().child_token();
        let (tell, ended) = oneshot::channel();
        let watching = Watching { over: over.clone().drop_guard(), ended };
        self.spawn(async move {
            app.look_at_writes(&tree, &session, writes, &over).await;
            drop(tell);
        });
        Some(watching)
    }

    async fn look_at_writes(&self, tree: &TreeId, session: &SessionId, mut writes: Writes, over: &CancellationToken) {
        let mut is_over = false;
        loop {
            let written = tokio::select! {
                () = over.cancelled(), if !is_over => {
                    is_over = true;
                    writes.end();
                    continue;
                }
                written = writes.next() => written,
            };
            match written {
                Some(Written::Path(path)) if is_of_interest(&path) => {
                    self.collisions().wrote(tree, session, &path.to_string_lossy());
                }
                Some(Written::Path(_)) => {}
                Some(Written::Lost) => tracing::info!(%session, "more was written than collisions are looked for in"),
                None => break,
            }
        }
        self.collisions().leave(tree, session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(calls: &mut mpsc::Receiver<EventKind>) -> Vec<String> {
        std::iter::from_fn(|| calls.try_recv().ok())
            .map(|event| match event {
                EventKind::Notice { text } => text,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn both_are_told_once_for_each_path() {
        let (all, tree) = (Collisions::default(), TreeId::from_bits(1));
        let (a, b) = (SessionId::from_bits(1), SessionId::from_bits(2));
        let ((to_a, mut of_a), (to_b, mut of_b)) = (mpsc::channel(8), mpsc::channel(8));
        all.enter(&tree, &a, to_a);
        all.wrote(&tree, &a, "/home/sandbox/x");
        all.enter(&tree, &b, to_b.clone());
        all.wrote(&tree, &b, "/home/sandbox/y");
        assert!(told(&mut of_a).is_empty() && told(&mut of_b).is_empty(), "different paths");
        all.wrote(&tree, &b, "/home/sandbox/x");
        all.wrote(&tree, &b, "/home/sandbox/x");
        all.wrote(&tree, &a, "/home/sandbox/x");
        let (first, second) = (told(&mut of_a), told(&mut of_b));
        assert!(first.len() == 1 && first[0].contains("/home/sandbox/x") && first[0].contains(b.as_str()), "{first:?}");
        assert!(second.len() == 1 && second[0].contains(a.as_str()), "{second:?}");
        all.leave(&tree, &a);
        all.leave(&tree, &b);
        all.enter(&tree, &b, to_b);
        all.wrote(&tree, &b, "/home/sandbox/x");
        assert!(told(&mut of_b).is_empty(), "the other turn is over");
        all.wrote(&TreeId::from_bits(2), &b, "/home/sandbox/x");
        assert_eq!(lock(&all.boards).len(), 1);
    }

    #[test]
    fn what_is_remembered_and_told_is_bounded() {
        let (all, tree) = (Collisions::default(), TreeId::from_bits(1));
        let (a, b) = (SessionId::from_bits(1), SessionId::from_bits(2));
        let ((to_a, mut of_a), (to_b, _of_b)) = (mpsc::channel(100), mpsc::channel(100));
        all.enter(&tree, &a, to_a);
        all.enter(&tree, &b, to_b);
        for n in 0..PATHS_MAX + 5 {
            all.wrote(&tree, &a, &n.to_string());
        }
        for n in 0..100 {
            all.wrote(&tree, &b, &n.to_string());
        }
        assert_eq!(told(&mut of_a).len(), NOTICES_MAX);
        assert_eq!(lock(&all.boards)[&tree][&a].paths.len(), PATHS_MAX);
    }
}
