//! The sandbox of a session: made when it is needed, and what it is given.

use model::{Code, Failure, SandboxId, TreeId};
use sandbox::{HostFile, Sandbox, Tree};
use store::{EnvRow, SessionRow};
use zeroize::Zeroizing;

use crate::ask::is_ask;
use crate::askers::Share;
use crate::live::Live;
use crate::pool::Member;
use crate::sandboxes::{ORPHAN, relays};
use crate::turn::{ENGINES_DIR, HOME};
use crate::{AgentForm, App, SelfPolicy};

/// A sandbox and the tree that it has.
pub(crate) struct Housed {
    pub(crate) sandbox: Sandbox,
    /// `None` for one that an earlier daemon made.
    pub(crate) tree: Option<TreeId>,
}

/// Where a session works now: it changes when it is saved as an env, joins none, or is undone.
pub(crate) struct Ground {
    pub(crate) row: SessionRow,
    pub(crate) env: Option<EnvRow>,
    pub(crate) tree: TreeId,
    pub(crate) agent: AgentForm,
    /// What it is told of its agent's memory.
    pub(crate) memory: String,
    /// Which skills it is told to read.
    pub(crate) skills: String,
    /// What the job that made it adds.
    pub(crate) job: String,
    /// How much of the agent its turn has.
    pub(crate) share: Share,
}

impl Ground {
    /// The same for a turn of somebody who has this share of the agent.
    pub(crate) fn for_share(mut self, share: Share) -> Self {
        self.share = share;
        if share == Share::Guest {
            self.memory.clear();
        }
        self
    }

    /// The secrets that its engine holds.
    pub(crate) fn exposed(&self, app: &App) -> Vec<(String, Zeroizing<String>)> {
        // A question about the install is answered without what its agent holds.
        let is_lent = self.agent.is_lent(&self.row.tenant);
        if self.share == Share::Guest || is_ask(&self.row) || !is_lent { Vec::new() } else { app.exposed_env(&self.agent.name) }
    }

    /// Standing instructions: the agent's, the env's core memory, what the session is told of the agent's memory, and where the
    /// skills are.
    pub(crate) fn instructions(&self) -> String {
        let core = self.env.as_ref().map_or("", |env| env.core_memory.trim());
        let core = if core.is_empty() { String::new() } else { format!("# Core memory\n\n{core}") };
        let parts = [self.agent.instructions.trim(), self.job.trim(), &core, self.memory.trim(), self.skills.trim()];
        let mut text = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n");
        if !text.is_empty() {
            text.push('\n');
        }
        text
    }
}

/// A sandbox that is ended when whoever moves into it goes away in the middle: its turn was cancelled.
struct Unused(Option<Sandbox>);

impl Drop for Unused {
    fn drop(&mut self) {
        if let Some(sandbox) = self.0.take() {
            sandbox.give_up();
        }
    }
}

impl App {
    /// Where a session works now.
    pub(crate) async fn ground(&self, id: &model::SessionId) -> Result<Ground, Failure> {
        let row = self.store().session(id).await.map_err(|e| e.failure())?;
        let env = match &row.env {
            Some(slug) => Some(self.store().env(slug).await.map_err(|error| {
                match error {
                    store::StoreError::NotFound { .. } => {
                        Failure::new(Code::Conflict, format!("the env {slug} of this session was deleted"))
                            .hint("its log is still there: lazaret session events")
                    }
                    error => error.failure(),
                }
            })?),
            None => None,
        };
        let tree = match &env {
            Some(env) => env.tree.clone(),
            None => row.tree.clone().ok_or_else(|| Failure::new(Code::StoreUnusable, "the session has no files"))?,
        };
        let mut agent = self.agents().show(&row.agent).await?;
        if is_ask(&row) {
            agent = crate::ask::bare(&agent);
        }
        let memory = if agent.memory_policy == SelfPolicy::Off { String::new() } else { self.brief_of(&row).await };
        let skills = self.skills_of(&agent).instructions();
        let job = row.spec.pointer("/job/instructions").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        Ok(Ground { row, env, tree, agent, memory, skills, job, share: Share::Whole })
    }

    /// The session's sandbox, started when there is none, or when it has another tree than the session now.
    pub(crate) async fn sandbox_of(&self, live: &Live) -> Result<Sandbox, Failure> {
        let ground = self.ground(&live.id).await?;
        self.sandbox_on(live, &ground).await
    }

    pub(crate) async fn sandbox_on(&self, live: &Live, ground: &Ground) -> Result<Sandbox, Failure> {
        self.keep_left(&ground.row).await?;
        let mut held = live.sandbox.lock().await;
        if let Some(housed) = held.as_ref() {
            let same = housed.tree.as_ref().is_none_or(|tree| *tree == ground.tree);
            if same && housed.sandbox.summary().alive {
                return Ok(housed.sandbox.clone());
            }
            self.end(live, held.take()).await;
        }
        if let Some(member) = self.pool().take_given(&live.id)
            && let Some(sandbox) = self.move_in(live, ground, member).await?
        {
            *held = Some(Housed { sandbox: sandbox.clone(), tree: Some(ground.tree.clone()) });
            return Ok(sandbox);
        }
        let id = SandboxId::from_bits(crate::clock::fresh_bits());
        let mut request = sandbox::Request::new(id, live.id.as_str());
        request.image = live.spec.image.clone().into();
        request.limits = live.spec.limits;
        request.mounts = live.take_mounts();
        if request.mounts.len() != live.spec.mounts.len() {
            return Err(Failure::new(Code::PathUnusable, "the session's host directories must be opened again by their owner")
                .hint(format!("run: lazaret run --resume {} ...", live.id)));
        }
        request.mounts.extend(self.open_mounts(&live.spec.named_mounts)?);
        if let Some(env) = &ground.env {
            let forms: Vec<crate::MountForm> = serde_json::from_value(env.mounts.clone())
                .map_err(|e| Failure::new(Code::StoreUnusable, format!("the mounts of env {} cannot be read: {e}", env.slug)))?;
            request.mounts.extend(self.open_mounts(&forms)?);
        }
        if ground.share != Share::Guest && !is_ask(&ground.row) {
            request.mounts.extend(self.vault_for(&ground.agent, &ground.row.tenant)?);
        }
        request.mounts.extend(self.repo_of_job(&live.spec)?);
        request.tree = Tree::Kept { id: ground.tree.clone() };
        request.extra_ro = self.installs().mounts_of(&live.spec, ENGINES_DIR)?;
        request.extra_ro.extend(self.binds_of_branch(&live.spec)?);
        let is_bare = is_ask(&ground.row);
        request.extra_ro.extend(if is_bare { self.tools_mounts()? } else { self.tools_mounts_of(&ground.agent.name).await? });
        let skills = self.lay_out_skills(&ground.agent, &request.id).await?;
        request.extra_ro.extend(skills.set.mounts(&live.spec.engine, HOME));
        let instructions = ground.instructions();
        // An env's core memory may come later: its place is kept ready.
        if let Some(path) = self.instructions_path(live)?.filter(|_| ground.env.is_some() || !instructions.is_empty()) {
            request.files.push(HostFile { target: path.into(), bytes: instructions.into_bytes() });
            live.has_instructions.store(true, std::sync::atomic::Ordering::SeqCst);
        } else {
            live.has_instructions.store(false, std::sync::atomic::Ordering::SeqCst);
        }
        let spec = &live.spec;
        request.files.extend(self.trust_files(&spec.image, &spec.egress, &spec.secrets).await?);
        request.relays = relays();
        request.orphan = ORPHAN;
        let sandbox = self.sandboxes().start(request).await.map_err(|e| e.failure())?;
        drop(skills);
        live.is_used.store(false, std::sync::atomic::Ordering::SeqCst);
        model::crash::point("turn:sandbox-started");
        *held = Some(Housed { sandbox: sandbox.clone(), tree: Some(ground.tree.clone()) });
        Ok(sandbox)
    }

    /// Gives a session the sandbox that was claimed for it, when that is what would be made for it now; else it ends and its
    /// tree stays, as the session's own.
    async fn move_in(&self, live: &Live, ground: &Ground, member: Member) -> Result<Option<Sandbox>, Failure> {
        let sandbox = member.sandbox.clone();
        let mut unused = Unused(Some(sandbox.clone()));
        let instructions = ground.instructions();
        let shape = self.shape(&live.spec, &ground.agent, &ground.row.tenant, !instructions.is_empty()).await?;
        let is_whole = ground.share != Share::Guest || shape.vault.is_none();
        let fits = is_whole && *member.tree() == ground.tree && ground.env.is_none() && self.is_plain(&live.spec) && member.fits(&shape);
        let moved = async {
            sandbox.claim(live.id.as_str(), live.spec.limits.time).await?;
            match &shape.instructions {
                Some(path) => sandbox.rewrite_file(path, instructions.as_bytes()).await,
                None => Ok(()),
            }
        };
        let moved = if fits { moved.await.map_err(|e| model::chain(&e)) } else { Err("it is not what would be made now".to_owned()) };
        if let Err(why) = moved {
            tracing::debug!(session = %live.id, why, "a sandbox that was made ahead is not used");
            unused.0 = None;
            if let Err(error) = member.sandbox.stop().await {
                tracing::warn!(session = %live.id, error = model::chain(&error), "a sandbox was not removed whole");
            }
            return Ok(None);
        }
        live.has_instructions.store(shape.instructions.is_some(), std::sync::atomic::Ordering::SeqCst);
        live.is_used.store(false, std::sync::atomic::Ordering::SeqCst);
        model::crash::point("pool:moved-in");
        unused.0 = None;
        Ok(Some(member.sandbox))
    }

    fn instructions_path(&self, live: &Live) -> Result<Option<String>, Failure> {
        Ok(live.spec.found_engine()?.instructions_path(HOME))
    }

    /// Shows a session's running sandbox its instructions as they are now.
    pub(crate) async fn refresh_instructions(&self, live: &Live) -> Result<(), Failure> {
        let ground = self.ground(&live.id).await?;
        let held = live.sandbox.lock().await;
        let (Some(housed), Some(path)) = (held.as_ref(), self.instructions_path(live)?) else { return Ok(()) };
        if live.has_instructions.load(std::sync::atomic::Ordering::SeqCst) {
            let text = ground.instructions();
            housed.sandbox.rewrite_file(std::path::Path::new(&path), text.as_bytes()).await.map_err(|e| e.failure())?;
        }
        Ok(())
    }

    /// Ends a sandbox in which a file or directory of the host is not seen any more: another sandbox of the env has removed
    /// its place. An engine would read what a neighbour wrote there instead.
    pub(crate) async fn leave_robbed(&self, live: &Live) {
        let mut held = live.sandbox.lock().await;
        let Some(housed) = held.as_ref() else { return };
        if !housed.sandbox.summary().alive || housed.sandbox.is_whole().await {
            return;
        }
        tracing::warn!(session = %live.id, "a neighbour took away what the host shows; the sandbox is made again");
        self.end(live, held.take()).await;
    }

    /// Ends the session's engine and sandbox, if there are any; its files stay.
    pub(crate) async fn close_sandbox(&self, live: &Live) {
        let mut held = live.sandbox.lock().await;
        self.end(live, held.take()).await;
    }

    async fn end(&self, live: &Live, housed: Option<Housed>) {
        *live.process.lock().await = None;
        let Some(Housed { sandbox, .. }) = housed else { return };
        self.doors().dismiss(sandbox.id());
        if let Err(error) = sandbox.stop().await {
            tracing::warn!(session = %live.id, error = model::chain(&error), "a sandbox was not removed whole");
        }
    }
}
