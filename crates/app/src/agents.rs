//! Agents: who a session is with.

use model::{EgressRule, Failure, Limits};
use serde::{Deserialize, Serialize};

use crate::{App, unbuilt};

/// The agent of a session that names none. It always exists, if only with every field at its default.
pub const DEFAULT_AGENT: &str = "default";

/// A configured persona.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AgentForm {
    /// Its name; see `model::is_name`.
    pub name: String,
    /// Which skills and tools it may see.
    pub group: String,
    /// Standing instructions, written as the engine's own file.
    pub instructions: String,
    /// The engine; the configured one when left out.
    pub engine: Option<String>,
    /// The model; the engine's choice when left out.
    pub model: Option<String>,
    /// Tools that it may call.
    pub tools: Vec<String>,
    /// Skills that it sees.
    pub skills: Vec<String>,
    /// Hosts that may be reached, within `egress.max`.
    pub egress: Vec<EgressRule>,
    /// What its sandboxes may use; the configured limits when left out.
    pub limits: Option<Limits>,
}

/// The agents of an [`App`].
pub struct AgentsOf<'a> {
    pub(crate) app: &'a App,
}

impl AgentsOf<'_> {
    /// Makes an agent.
    ///
    /// # Errors
    /// The name is none or is taken, the engine is unknown, or a rule is not within `egress.max`.
    pub async fn add(&self, _form: AgentForm) -> Result<AgentForm, Failure> {
        Err(unbuilt())
    }

    /// Replaces an agent. Sessions that run keep what they began with until their next engine start.
    ///
    /// # Errors
    /// There is none of this name, or the form is wrong.
    pub async fn set(&self, _name: &str, _form: AgentForm) -> Result<AgentForm, Failure> {
        Err(unbuilt())
    }

    /// The agent of this name; [`DEFAULT_AGENT`] is there even when nobody made it.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn show(&self, name: &str) -> Result<AgentForm, Failure> {
        let _ = self.app;
        if name == DEFAULT_AGENT {
            return Ok(AgentForm { name: name.to_owned(), group: "default".to_owned(), ..AgentForm::default() });
        }
        Err(unbuilt())
    }

    /// All agents by name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self) -> Result<Vec<AgentForm>, Failure> {
        Err(unbuilt())
    }

    /// Removes an agent.
    ///
    /// # Errors
    /// There is none of this name, or a session that is not archived is with it.
    pub async fn remove(&self, _name: &str) -> Result<(), Failure> {
        Err(unbuilt())
    }
}
