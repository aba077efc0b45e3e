//! What about a sandbox cannot be changed once it stands.

use std::path::PathBuf;
use std::time::Duration;

use model::{Failure, Limits, SandboxId};
use sandbox::HostFile;

use super::{Kept, Member};
use crate::plugins::LaidOut;
use crate::turn::{ENGINES_DIR, HOME};
use crate::{AgentForm, App, ImageRef, SelfPolicy, SessionSpec};

/// What a sandbox is made with, but for its names, its tree, the time of its turns, and what its instructions say. Two
/// sandboxes of one shape differ in nothing else.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shape {
    pub(crate) image: ImageRef,
    /// The time is not counted: it is set when a sandbox is claimed.
    pub(crate) limits: Limits,
    /// Host directories that the daemon chose: the engine, tools, the agent's own among them, skills.
    pub(crate) extra_ro: Vec<(PathBuf, PathBuf)>,
    /// Which directory its vault is, if it has one: its file system and its number there.
    pub(crate) vault: Option<(u64, u64)>,
    /// Files with the authorities that it trusts.
    pub(crate) files: Vec<HostFile>,
    /// Where its instructions are seen, if it has any.
    pub(crate) instructions: Option<PathBuf>,
}

/// What jobs of a profile that ask for nothing besides would be made with.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) shape: Shape,
    /// Whose skills it shows.
    pub(super) agent: AgentForm,
    pub(super) engine: String,
}

impl App {
    /// What would be made for a job of a profile now.
    pub(super) async fn pattern_of(&self, kept: &Kept) -> Result<Pattern, Failure> {
        let caller = kept.caller();
        let (spec, agent, may_have_instructions) = self.jobs_of(&caller).spec_of_profile(&kept.profile).await?;
        if !self.is_plain(&spec) {
            let why = "directories of the host are opened anew for each sandbox, so none is made ahead";
            return Err(Failure::new(model::Code::Conflict, why));
        }
        let agent = self.agents().show(&agent).await?;
        let told = may_have_instructions || self.is_told(&spec, &agent, &kept.tenant).await;
        let shape = self.shape(&spec, &agent, &kept.tenant, told).await?;
        Ok(Pattern { shape, agent, engine: spec.engine })
    }

    /// Whether a new session of this specification and agent is told anything when it begins.
    async fn is_told(&self, spec: &SessionSpec, agent: &AgentForm, tenant: &str) -> bool {
        let by_job = spec.job.as_ref().is_some_and(|job| !job.instructions.trim().is_empty());
        let by_agent = !agent.instructions.trim().is_empty() || !self.skills_of(agent).instructions().is_empty();
        by_job || by_agent || (agent.memory_policy != SelfPolicy::Off && self.has_memories(tenant, &agent.name).await)
    }

    /// Takes a sandbox that was made ahead for the first session of a job, if there is one that is what would be made
    /// for it now. The session's row is then to name its tree.
    pub(crate) async fn claim_member(&self, spec: &SessionSpec, agent: &str, tenant: &str) -> Option<Member> {
        if !self.pool().is_kept() || !self.is_plain(spec) {
            return None;
        }
        let agent = self.agents().show(agent).await.ok()?;
        let told = self.is_told(spec, &agent, tenant).await;
        let shape = self.shape(spec, &agent, tenant, told).await.ok()?;
        self.pool().claim(&shape, tenant)
    }

    /// Notes that a sandbox has the skills of a pattern; held until it was started. Fails when those are not the agent's any more.
    pub(super) async fn note_skills(&self, pattern: &Pattern, id: &SandboxId) -> Result<LaidOut, Failure> {
        let laid = self.lay_out_skills(&pattern.agent, id).await?;
        if laid.set.mounts(&pattern.engine, HOME).iter().all(|mount| pattern.shape.extra_ro.contains(mount)) {
            return Ok(laid);
        }
        self.pool().changed();
        Err(Failure::new(model::Code::Conflict, "the skills changed while a sandbox was made ahead"))
    }

    /// The shape of a sandbox for a tenant's sessions of this specification and agent.
    pub(crate) async fn shape(
        &self,
        spec: &SessionSpec,
        agent: &AgentForm,
        tenant: &str,
        has_instructions: bool,
    ) -> Result<Shape, Failure> {
        let mut extra_ro = self.installs().mounts_of(spec, ENGINES_DIR)?;
        extra_ro.extend(self.tools_mounts_of(&agent.name).await?);
        extra_ro.extend(self.binds_of_branch(spec)?);
        extra_ro.extend(self.skills_of(agent).mounts(&spec.engine, HOME));
        let place = if has_instructions { spec.found_engine()?.instructions_path(HOME) } else { None };
        Ok(Shape {
            image: spec.image.clone(),
            limits: Limits { time: Duration::ZERO, ..spec.limits },
            extra_ro,
            vault: crate::mounts::mark_of(&self.vault_for(agent, tenant)?)?,
            files: self.trust_files(&spec.image, &spec.egress, &spec.secrets).await?,
            instructions: place.map(PathBuf::from),
        })
    }

    /// Whether a session of this specification, with a tree of its own, sees no directory of the host's owner but the vault:
    /// such a one is opened anew for each sandbox.
    pub(crate) fn is_plain(&self, spec: &SessionSpec) -> bool {
        let own_repo = spec.job.as_ref().and_then(|job| job.repo.as_ref()).is_some_and(|repo| !crate::jobs::is_address(&repo.from));
        spec.mounts.is_empty() && spec.named_mounts.is_empty() && !own_repo
    }
}
