//! Who asks.

use std::collections::BTreeSet;

use model::{SandboxId, SessionId, TurnId};

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
