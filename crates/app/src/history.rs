//! Going back, going another way, and taking a session along.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use model::{Code, Failure, Outcome, SessionId, Timestamp, TreeId, TurnId, TurnState};
use serde::{Deserialize, Serialize};

use crate::house::Ground;
use crate::sessions::SessionsOf;
use crate::trees::Growing;
use crate::turn::Running;
use crate::{App, MessageForm, SessionView};

/// A turn as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TurnView {
    /// Its identity.
    pub id: TurnId,
    /// Its place in the session, from 1.
    pub n: u64,
    /// The turn whose state it went on from; 0 is the beginning.
    pub parent: u64,
    /// Where it stands.
    pub state: TurnState,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// What was asked, cut to 200 characters.
    pub prompt: String,
    /// Whether it leads to the present state: one that was undone does not.
    pub in_history: bool,
    /// Whether there is a checkpoint of it to go back to.
    pub checkpoint: bool,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// How to undo.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UndoForm {
    /// The turn whose end is the state to go back to; the one before the last when left out, 0 for the beginning.
    pub to: Option<u64>,
    /// In an env that others changed since: go on in a private copy.
    pub private: bool,
    /// In an env that others changed since: take their changes back too.
    pub force: bool,
}

/// How to fork.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ForkForm {
    /// The turn at whose end the new sessions begin; the last when left out.
    pub at: Option<u64>,
    /// How many.
    pub n: usize,
    /// What to ask each of them at once.
    pub text: Option<String>,
}

/// Sessions that one request may fork.
pub const FORKS_MAX: usize = 16;

impl Default for ForkForm {
    fn default() -> Self {
        Self { at: None, n: 1, text: None }
    }
}

/// How full a tree may be, in percent of its limit, before checkpoints go that still hold its old files.
const FULL_PERCENT: u64 = 75;
/// How long a turn that is over may take until the next thing can be done.
const PUT_AWAY: Duration = Duration::from_secs(60);
/// How long cancelled turns of other sessions may take to end.
const OTHERS_END: Duration = Duration::from_secs(60);
/// How much of a prompt is shown.
const PROMPT_CHARS_SHOWN: usize = 200;

impl SessionsOf<'_> {
    /// A session's turns, those after place `after`.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn turns(&self, id: &str, after: u64, limit: usize) -> Result<Vec<TurnView>, Failure> {
        let row = self.row(id).await?;
        let store = self.app.store();
        let all = store.turns(&row.id, after, limit.clamp(1, store::LIST_MAX)).await.map_err(|e| e.failure())?;
        let kept: HashSet<u64> =
            store.checkpoints(&row.id).await.map_err(|e| e.failure())?.into_iter().map(|c| c.turn).chain(row.left).collect();
        let history = self.chain(&row.id, row.head).await?;
        let mut views = Vec::with_capacity(all.len());
        for turn in all {
            let prompt = store.prompt(&turn.id).await.map_err(|e| e.failure())?;
            views.push(TurnView {
                in_history: history.contains(&turn.n) || !turn.state.is_final(),
                checkpoint: kept.contains(&turn.n),
                prompt: prompt.chars().take(PROMPT_CHARS_SHOWN).collect(),
                id: turn.id,
                n: turn.n,
                parent: turn.parent,
                state: turn.state,
                outcome: turn.outcome,
                accepted: turn.accepted,
                ended: turn.ended,
            });
        }
        Ok(views)
    }

    /// The whole of what was asked in a turn.
    ///
    /// # Errors
    /// There is no such session or turn.
    pub async fn prompt(&self, id: &str, turn: &TurnId) -> Result<String, Failure> {
        let row = self.row(id).await?;
        let found = self.app.store().turn(turn).await.map_err(|e| e.failure())?;
        if found.session != row.id {
            return Err(Failure::new(Code::NotFound, "there is no such turn in this session"));
        }
        self.app.store().prompt(turn).await.map_err(|e| e.failure())
    }

    /// The turns that lead to `head`.
    async fn chain(&self, id: &SessionId, head: u64) -> Result<HashSet<u64>, Failure> {
        let (mut parents, mut after) = (HashMap::new(), 0);
        loop {
            let page = self.app.store().turns(id, after, store::LIST_MAX).await.map_err(|e| e.failure())?;
            let Some(last) = page.last() else { break };
            after = last.n;
            parents.extend(page.into_iter().map(|turn| (turn.n, turn.parent)));
        }
        let (mut chain, mut at) = (HashSet::new(), head);
        while at > 0 && chain.insert(at) {
            at = parents.get(&at).copied().unwrap_or(0);
        }
        Ok(chain)
    }

    /// Goes back to the end of an earlier turn: files, transcript, place in the inbox. Nothing is deleted: a later undo
    /// can go forward again.
    ///
    /// # Errors
    /// A turn is not over (`CONFLICT`), there is no such checkpoint, or others changed the env since (`ENV_SHARED`).
    pub async fn undo(&self, id: &str, form: UndoForm) -> Result<SessionView, Failure> {
        let row = self.row(id).await?;
        let app = self.app;
        let live = app.hold(&row.id).await?;
        if !app.store().open_turns(&row.id).await.map_err(|e| e.failure())?.is_empty() {
            return Err(at_work());
        }
        // A turn whose result was just seen is put away within moments.
        let _gate = tokio::time::timeout(PUT_AWAY, live.gate.lock()).await.map_err(|_| at_work())?;
        // Read again now that no turn can begin. The env may be gone: then a private copy is the only way on.
        let row = app.store().session(&row.id).await.map_err(|e| e.failure())?;
        let ground = if form.private { None } else { Some(app.ground(&row.id).await?) };
        let to = match form.to {
            Some(to) => to,
            None => self.before(&row).await?,
        };
        // The present files go: a later undo comes back to them.
        app.keep_left(&row).await?;
        let checkpoint = app.checkpoint_of(&row, to).await?;
        let mut others = Vec::new();
        if let Some(env) = ground.as_ref().and_then(|ground| ground.env.as_ref()) {
            let changed = app.store().env_changed_since(&env.slug, &row.id, to).await.map_err(|e| e.failure())?;
            if !changed.is_empty() && !form.force {
                let names: Vec<&str> = changed.iter().map(SessionId::as_str).collect();
                return Err(Failure::new(
                    Code::EnvShared,
                    format!("other sessions changed the env {} since: {}", env.slug, names.join(", ")),
                )
                .hint("undo with --private to go on in a copy of your own, or with --force to take their changes back too"));
            }
            others = app.store().env_sessions(&env.slug).await.map_err(|e| e.failure())?;
        }
        let growing = app.copy_of(&checkpoint.tree, live.spec.limits.disk_bytes).await?;
        let tree = growing.id().clone();
        model::crash::point("undo:copied");
        app.close_sandbox(&live).await;
        for other in others.iter().filter(|other| **other != row.id) {
            app.cancel_session(other).await?;
            if let Some(other) = app.live(other) {
                // Bounded: it may itself be undone just now, and wait for this one.
                let _gate = tokio::time::timeout(OTHERS_END, other.gate.lock()).await.map_err(|_| at_work())?;
                app.close_sandbox(&other).await;
            }
        }
        let env = row.env.clone();
        let undo = store::Undo { session: row.id.clone(), to, tree: tree.clone(), env, leave_env: form.private, now: crate::now() };
        match app.store().undo(undo).await {
            Ok(_) => {}
            Err(error) => {
                app.drop_trees(vec![tree]);
                return Err(error.failure());
            }
        }
        model::crash::point("undo:done");
        // Nothing names it any more.
        app.drop_trees(ground.map(|ground| ground.tree).or(row.tree).into_iter().collect());
        self.view(&row.id, false).await
    }

    /// The turn before the present state.
    async fn before(&self, row: &store::SessionRow) -> Result<u64, Failure> {
        if row.head == 0 {
            return Err(Failure::new(Code::CheckpointMissing, "nothing has happened in this session yet"));
        }
        let head = self.app.store().turns(&row.id, row.head - 1, 1).await.map_err(|e| e.failure())?;
        Ok(head.first().map_or(0, |turn| turn.parent))
    }

    /// Makes sessions that begin where this one stood. They are private, also when it is in an env.
    ///
    /// # Errors
    /// There is no such checkpoint, or too many are asked for.
    pub async fn fork(&self, id: &str, form: ForkForm) -> Result<Vec<SessionView>, Failure> {
        if form.n == 0 || form.n > FORKS_MAX {
            return Err(Failure::new(Code::Usage, format!("from 1 to {FORKS_MAX} sessions are forked at once")).field("n"));
        }
        let row = self.row(id).await?;
        let app = self.app;
        let at = form.at.unwrap_or(row.head);
        let checkpoint = app.checkpoint_of(&row, at).await?;
        let mut spec = app.whole(&row.id, crate::sessions::read_spec(&row)?)?;
        // Descriptors of the owner's directories are not handed on.
        if !spec.mounts.is_empty() {
            return Err(Failure::new(Code::Conflict, "a session with host directories of its owner cannot be forked")
                .hint("its files can: lazaret session export"));
        }
        spec.foreground = false;
        spec.exclusive = false;
        let mut forks = Vec::with_capacity(form.n);
        for _ in 0..form.n {
            let growing = app.copy_of(&checkpoint.tree, spec.limits.disk_bytes).await?;
            let tree = growing.id().clone();
            model::crash::point("fork:copied");
            let fork = SessionId::from_bits(crate::clock::fresh_bits());
            let new = store::NewSession {
                agent: row.agent.clone(),
                tenant: row.tenant.clone(),
                tree: Some(tree.clone()),
                title: row.title.clone(),
                labels: row.labels.clone(),
                priority: row.priority,
                ..app.row_of(&fork, &spec)?
            };
            if let Err(error) = app.store().fork_session(new, (row.id.clone(), at)).await {
                app.drop_trees(vec![tree]);
                return Err(error.failure());
            }
            model::crash::point("fork:done");
            if let Some(text) = form.text.clone() {
                self.message(fork.as_str(), MessageForm { text, ..MessageForm::default() }, None).await?;
            }
            forks.push(self.view(&fork, false).await?);
        }
        Ok(forks)
    }
}

fn at_work() -> Failure {
    Failure::new(Code::Conflict, "a turn of this session is not over").hint("wait for it, or cancel it")
}

fn missing(error: store::StoreError, turn: u64) -> Failure {
    match error {
        store::StoreError::NotFound { .. } => Failure::new(Code::CheckpointMissing, format!("there is no checkpoint of turn {turn}"))
            .hint("`lazaret session turns` names those that can be gone back to"),
        error => error.failure(),
    }
}

impl App {
    /// A new tree with what a checkpoint holds; empty when nothing had been in it.
    async fn copy_of(&self, checkpoint: &TreeId, disk_bytes: u64) -> Result<Growing, Failure> {
        let growing = self.grow_tree();
        let tree = growing.id().clone();
        let made = if self.sandboxes().has_tree(checkpoint).await {
            match self.sandboxes().snapshot(checkpoint, &tree, false).await {
                Ok(()) => self.sandboxes().set_tree_limit(&tree, disk_bytes).await,
                failed => failed,
            }
        } else {
            self.sandboxes().make_tree(&tree, disk_bytes).await
        };
        made.map_err(|e| e.failure())?;
        Ok(growing)
    }

    /// The checkpoint after a turn; one that was put off is taken now.
    pub(crate) async fn checkpoint_of(&self, row: &store::SessionRow, turn: u64) -> Result<store::CheckpointRow, Failure> {
        if row.left == Some(turn) {
            self.keep_left(row).await?;
        }
        self.store().checkpoint(&row.id, turn).await.map_err(|error| missing(error, turn))
    }

    /// Takes the checkpoint of a session's last turn, if it was put off: whoever is about to work in its tree does this first,
    /// or the files as the turn left them are lost. It needs no lock: where somebody else was quicker, theirs is the checkpoint.
    pub(crate) async fn keep_left(&self, row: &store::SessionRow) -> Result<(), Failure> {
        if row.left.is_none() {
            return Ok(());
        }
        let ground = self.ground(&row.id).await?;
        self.keep_beginning(&row.id, &ground).await
    }

    /// Keeps what a session has before its first turn, or before the first one here.
    pub(crate) async fn keep_beginning(&self, id: &SessionId, ground: &Ground) -> Result<(), Failure> {
        if !self.settings().sessions.checkpoints {
            return Ok(());
        }
        if self.store().checkpoint(id, ground.row.head).await.is_ok() {
            return Ok(());
        }
        let growing = self.grow_tree();
        let first = growing.id().clone();
        // A tree that was never used is kept by its name alone: what is not there is empty.
        let is_fresh = self.pool().has_given(id);
        if !is_fresh && self.sandboxes().has_tree(&ground.tree).await {
            if !self.sandboxes().live_checkpoints()
                && let Some(live) = self.live(id)
            {
                self.close_sandbox(&live).await;
            }
            if let Err(error) = self.sandboxes().snapshot(&ground.tree, &first, true).await {
                tracing::warn!(session = %id, error = model::chain(&error), "the beginning of a session cannot be kept");
                return Ok(());
            }
        }
        let is_kept = self.store().initial_checkpoint(id, first, crate::now()).await.map_err(|e| e.failure())?;
        if !is_kept {
            self.drop_trees(vec![growing.id().clone()]);
        }
        Ok(())
    }

    /// Gives up checkpoints beyond the number that is kept. Their files count against the limit of the tree that wrote
    /// them: when that is nearly reached, half of them go.
    pub(crate) async fn retire(&self, id: &SessionId, turn: u64, tree: &TreeId, disk_bytes: u64) {
        let mut keep = self.settings().sessions.checkpoints_keep;
        let is_full = self.sandboxes().tree_bytes(tree).await.is_some_and(|used| used > disk_bytes / 100 * FULL_PERCENT);
        if is_full {
            let kept = self.store().checkpoints(id).await.map_or(0, |all| all.len());
            keep = keep.min((kept / 2).max(1));
        } else if turn <= keep as u64 {
            return;
        }
        match self.store().retire_checkpoints(id, keep).await {
            Ok(trees) => self.drop_trees(trees),
            Err(error) => tracing::warn!(session = %id, error = model::chain(&error), "old checkpoints were not retired"),
        }
    }

    /// Removes trees that nothing names, in the background. What a crash leaves of them is swept at the next start.
    pub(crate) fn drop_trees(&self, trees: Vec<TreeId>) {
        if trees.is_empty() {
            return;
        }
        let app = self.clone();
        self.spawn(async move {
            for tree in trees {
                app.drop_tree(&tree).await;
            }
        });
    }
}

impl Running<'_> {
    /// Whether the files stay as the turn leaves them and its checkpoint is put off: the session of a job hardly ever goes on, and
    /// a snapshot costs more than the rest of the turn's end. Nothing works in the tree any more then.
    pub(crate) async fn leaves_files(&self) -> bool {
        let (app, spec) = (self.app, &self.live.spec);
        let is_own = spec.job.is_some() && spec.branch.is_none() && self.ground.env.is_none();
        if !is_own || !app.settings().sessions.checkpoints || !app.sandboxes().has_tree(&self.ground.tree).await {
            return false;
        }
        let held = self.live.sandbox.lock().await;
        match held.as_ref().filter(|housed| housed.sandbox.is_alive()) {
            // The engine, where it waits for another turn, and what it and the scripts left behind.
            Some(housed) => housed.sandbox.kill_commands().await.is_ok(),
            None => true,
        }
    }
}

/// Where a fork came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Parent {
    /// The session.
    pub session: SessionId,
    /// The turn at whose end it began.
    pub turn: u64,
}
