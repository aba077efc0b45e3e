//! Who asks.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use model::{SandboxId, SessionId, TurnId, UserId};

use crate::Tool;

/// Who asks, as the host knows it from the sandbox whose socket it is. No field of a request changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The session; `None` for the owner's own `plugin call`.
    pub session: Option<SessionId>,
    /// The turn that runs.
    pub turn: Option<TurnId>,
    /// The sandbox that the request came from.
    pub sandbox: Option<SandboxId>,
    /// The agent.
    pub agent: String,
    /// The agent's group: it decides which tools are seen.
    pub group: String,
    /// The tenant.
    pub tenant: String,
    /// Tools that the agent may call; `None` for all that its group may.
    pub tools: Option<BTreeSet<String>>,
    /// Scopes that the requesting user lacks take tools away: names of tools that must not be called for this user.
    pub denied: BTreeSet<String>,
    /// Whether it is trusted with what is the owner's own: tools that use the owner's accounts or vault.
    pub is_trusted: bool,
    /// Who asked for the turn, where that was somebody on a chat network: no call does more than they may. `None` where it was whoever
    /// holds the host's own rights: its owner, a token, a task of theirs.
    pub asker: Option<Asker>,
}

/// What somebody is to an agent. Each may what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nothing, or nothing any more: nothing is done for them.
    Nobody,
    /// Somebody unknown in a chat that hears everybody.
    Guest,
    /// A member.
    Member,
    /// Somebody who answers for the agent.
    Admin,
}

impl Standing {
    /// The printed form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Standing::Nobody => "nobody",
            Standing::Guest => "guest",
            Standing::Member => "member",
            Standing::Admin => "admin",
        }
    }
}

/// Who asked for a turn, as the host's own record has it, and what that leaves of the agent's tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The account that verified them.
    pub channel: String,
    /// The network's id of them.
    pub handle: String,
    /// Who it is, where that is known.
    pub user: Option<UserId>,
    /// What they are to the agent at this moment.
    pub standing: Standing,
    /// For a guest the tools of low risk that they may have called; for a member those of the agent's, all when `None`.
    pub tools: Option<BTreeSet<String>>,
    /// Tools that are not called for them, whatever else they may: those of who looks after the tenant.
    pub kept: BTreeSet<String>,
}

impl Asker {
    /// How the audit names them.
    #[must_use]
    pub fn actor(&self) -> String {
        match &self.user {
            Some(user) => format!("user:{user}"),
            None => format!("handle:{}:{}", self.channel, self.handle),
        }
    }

    /// Whether a tool may be called for them, of those that the agent may call.
    #[must_use]
    pub fn may(&self, tool: &Tool) -> bool {
        let is_named = |tools: &BTreeSet<String>| tools.contains(&tool.name);
        if self.kept.contains(&tool.name) {
            return false;
        }
        match self.standing {
            Standing::Nobody => false,
            Standing::Guest if tool.is_intrinsic() => tool.name != DIAGNOSTICS,
            Standing::Guest => tool.risk == model::Risk::Low && self.tools.as_ref().is_some_and(is_named),
            Standing::Member => tool.is_intrinsic() || self.tools.as_ref().is_none_or(is_named),
            Standing::Admin => true,
        }
    }
}

/// The tool that tells of calls that were made for others in the same session.
const DIAGNOSTICS: &str = "get_diagnostics";

/// Who is behind a connection. It is asked anew for each call: turns come and go while a connection stands, and what people may changes.
pub trait Who: Send + Sync {
    /// Who asks at this moment; `None` when nobody is there any more.
    fn who(&self) -> BoxFuture<'_, Option<Arc<Caller>>>;

    /// What its connections are counted by.
    fn line(&self) -> String;
}

impl Who for Caller {
    fn who(&self) -> BoxFuture<'_, Option<Arc<Caller>>> {
        std::future::ready(Some(Arc::new(self.clone()))).boxed()
    }

    fn line(&self) -> String {
        self.sandbox.as_ref().map_or_else(|| self.key(), ToString::to_string)
    }
}

impl Caller {
    /// The owner, at the command line.
    #[must_use]
    pub fn owner() -> Self {
        Self {
            session: None,
            turn: None,
            sandbox: None,
            agent: "owner".to_owned(),
            group: "owner".to_owned(),
            tenant: "default".to_owned(),
            tools: None,
            denied: BTreeSet::new(),
            is_trusted: true,
            asker: None,
        }
    }

    /// How the audit names it.
    #[must_use]
    pub fn actor(&self) -> String {
        if self.session.is_some() { format!("agent:{}", self.agent) } else { self.agent.clone() }
    }

    /// Whether it is the owner, who has no session and no sandbox.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.session.is_none() && self.sandbox.is_none()
    }

    /// What calls, rates and grants belong to: the session, the sandbox where there is none, or the owner.
    pub(crate) fn key(&self) -> String {
        match (&self.session, &self.sandbox) {
            (Some(session), _) => session.to_string(),
            (None, Some(sandbox)) => sandbox.to_string(),
            (None, None) => "owner".to_owned(),
        }
    }
}
