//! A sandbox that does one thing for the daemon and ends with it, also when whoever asked for that goes away in the middle.

use std::time::Duration;

use model::{EgressRule, Failure, SandboxId, TreeId};
use sandbox::{Request, Sandbox, Tree};
use tokio_util::sync::CancellationToken;

use crate::App;
use crate::doors::Occupant;
use crate::sandboxes::relays;
use crate::trees::Growing;

/// How long a start that nobody waits for any more may take to come to its end.
const START_MAX: Duration = Duration::from_secs(60);
/// How often that is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The sandbox, once it is started, and what goes with it.
pub(crate) struct Helper {
    app: App,
    id: SandboxId,
    sandbox: Option<Sandbox>,
    trees: Vec<Growing>,
}

impl App {
    /// A helper that is not started yet.
    pub(crate) fn helper(&self) -> Helper {
        Helper { app: self.clone(), id: SandboxId::from_bits(crate::clock::fresh_bits()), sandbox: None, trees: Vec::new() }
    }
}

impl Helper {
    /// A sandbox without doors that ends with this daemon. What the label begins with says what it is for.
    pub(crate) fn request(&self, label: impl Into<String>) -> Request {
        let mut request = Request::new(self.id.clone(), label);
        request.orphan = Duration::ZERO;
        request
    }

    /// The name of a tree that is there for this alone.
    pub(crate) fn tree(&mut self) -> TreeId {
        let tree = self.app.grow_tree();
        let id = tree.id().clone();
        self.trees.push(tree);
        id
    }

    /// Lets it write to a tree of its own.
    pub(crate) fn writes(&mut self, request: &mut Request) {
        request.tree = Tree::Kept { id: self.tree() };
    }

    /// Lets it reach these hosts, and nothing else.
    pub(crate) fn reaches(&self, hosts: Vec<EgressRule>, request: &mut Request) {
        request.relays = relays();
        let egress = Some(self.app.policy(hosts, None));
        self.app.doors().admit(&self.id, Occupant { identity: None, tools: None, egress, cancel: CancellationToken::new() });
    }

    /// Starts it.
    ///
    /// # Errors
    /// What stops its start.
    pub(crate) async fn start(&mut self, request: Request) -> Result<Sandbox, Failure> {
        let sandbox = self.app.sandboxes().start(request).await.map_err(|e| e.failure())?;
        self.sandbox = Some(sandbox.clone());
        Ok(sandbox)
    }

    /// Ends it and waits until nothing of it is left.
    pub(crate) async fn close(mut self) {
        self.app.doors().dismiss(&self.id);
        let (sandbox, trees) = (self.sandbox.take(), std::mem::take(&mut self.trees));
        remove(self.app.clone(), sandbox, trees).await;
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.app.doors().dismiss(&self.id);
        let (app, sandbox, trees) = (self.app.clone(), self.sandbox.take(), std::mem::take(&mut self.trees));
        if sandbox.is_some() || !trees.is_empty() {
            self.app.spawn(remove(app, sandbox, trees));
        }
    }
}

async fn remove(app: App, sandbox: Option<Sandbox>, trees: Vec<Growing>) {
    if let Some(sandbox) = sandbox
        && let Err(error) = sandbox.stop().await
    {
        tracing::warn!(error = model::chain(&error), "a sandbox of the daemon's own was not removed whole");
    }
    for tree in trees {
        // Where it was left in the middle of its start, that ends first.
        let unused = async {
            while !app.sandboxes().tree_users(tree.id()).is_empty() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let _ = tokio::time::timeout(START_MAX, unused).await;
        app.drop_tree(tree.id()).await;
    }
}
