//! Agents: who a session is with.

use model::{Code, EgressRule, Failure, Limits};
use serde::{Deserialize, Serialize};
use store::AgentRow;

use crate::App;

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
    /// Bound secrets that its sessions may use, by name.
    pub secrets: Vec<String>,
    /// What its sandboxes may use; the configured limits when left out.
    pub limits: Option<Limits>,
}

/// The agents of an [`App`].
pub struct AgentsOf<'a> {
    pub(crate) app: &'a App,
}

/// The group of an agent that names none.
const DEFAULT_GROUP: &str = "default";
/// The longest standing instructions, in bytes.
const INSTRUCTIONS_BYTES_MAX: usize = 128 << 10;
/// Tools, skills or rules that one agent may name, each.
const NAMED_MAX: usize = 100;
/// The longest name of a tool, skill or model, in bytes.
const NAME_BYTES_MAX: usize = 200;

impl AgentsOf<'_> {
    /// Makes an agent.
    ///
    /// # Errors
    /// The name is none or is taken, the engine is unknown, or a rule is not within `egress.max`.
    pub async fn add(&self, form: AgentForm) -> Result<AgentForm, Failure> {
        self.put(form, true).await
    }

    /// Replaces an agent. Sessions that run keep what they began with until their next engine start.
    ///
    /// # Errors
    /// There is none of this name, or the form is wrong.
    pub async fn set(&self, name: &str, form: AgentForm) -> Result<AgentForm, Failure> {
        if !form.name.is_empty() && form.name != name {
            return Err(Failure::new(Code::Usage, "an agent keeps its name").hint("add another and remove this one").field("name"));
        }
        self.show(name).await?;
        self.put(AgentForm { name: name.to_owned(), ..form }, false).await
    }

    /// The agent of this name; [`DEFAULT_AGENT`] is there even when nobody made it.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn show(&self, name: &str) -> Result<AgentForm, Failure> {
        match self.app.store().agent(name).await {
            Ok(row) => read(row),
            Err(store::StoreError::NotFound { .. }) if name == DEFAULT_AGENT => Ok(usual()),
            Err(error) => Err(error.failure()),
        }
    }

    /// All agents by name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self) -> Result<Vec<AgentForm>, Failure> {
        let rows = self.app.store().list_agents().await.map_err(|e| e.failure())?;
        let mut agents = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        if let Err(at) = agents.binary_search_by(|agent| agent.name.as_str().cmp(DEFAULT_AGENT)) {
            agents.insert(at, usual());
        }
        Ok(agents)
    }

    /// Removes an agent.
    ///
    /// # Errors
    /// There is none of this name, or a session that is not archived is with it.
    pub async fn remove(&self, name: &str) -> Result<(), Failure> {
        self.app.store().remove_agent(name).await.map_err(|e| e.failure())
    }

    async fn put(&self, mut form: AgentForm, create_only: bool) -> Result<AgentForm, Failure> {
        if form.group.is_empty() {
            form.group = DEFAULT_GROUP.to_owned();
        }
        check(&form)?;
        if let Some(engine) = &form.engine {
            // Whether it is installed is asked when a session begins.
            self.app.described_engine(&crate::Caller::OWNER, engine).await?;
        }
        crate::sessions::check_egress(&form.egress, &self.app.settings().egress_max)?;
        self.app.check_bound(&form.secrets)?;
        let body = serde_json::to_value(&form).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        let row = self.app.store().put_agent(&form.name, body, crate::now(), create_only).await.map_err(|e| e.failure())?;
        read(row)
    }
}

/// The agent of those that made none.
fn usual() -> AgentForm {
    AgentForm { name: DEFAULT_AGENT.to_owned(), group: DEFAULT_GROUP.to_owned(), ..AgentForm::default() }
}

fn read(row: AgentRow) -> Result<AgentForm, Failure> {
    serde_json::from_value(row.body).map_err(|e| Failure::new(Code::StoreUnusable, format!("agent {} cannot be read: {e}", row.name)))
}

fn check(form: &AgentForm) -> Result<(), Failure> {
    let wrong = |why: &str, field: &str| Err(Failure::new(Code::Usage, why).field(field));
    let bad = |text: &String| text.is_empty() || text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control);
    if !model::is_name(&form.name) {
        return wrong("an agent's name has small letters, digits and `-`", "name");
    }
    if !model::is_name(&form.group) {
        return wrong("a group's name has small letters, digits and `-`", "group");
    }
    if form.instructions.len() > INSTRUCTIONS_BYTES_MAX || form.instructions.contains('\0') {
        return wrong(&format!("instructions are at most {INSTRUCTIONS_BYTES_MAX} bytes, without NUL"), "instructions");
    }
    if form.model.as_ref().is_some_and(bad) {
        return wrong(&format!("a model's name has 1 to {NAME_BYTES_MAX} bytes"), "model");
    }
    for (names, field) in [(&form.tools, "tools"), (&form.skills, "skills")] {
        if names.len() > NAMED_MAX || names.iter().any(bad) {
            return wrong(&format!("at most {NAMED_MAX} names of at most {NAME_BYTES_MAX} bytes"), field);
        }
    }
    if form.egress.len() > NAMED_MAX {
        return wrong(&format!("at most {NAMED_MAX} rules"), "egress");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sensible_agents_are_kept() {
        let wrong = |form: AgentForm, field: &str| assert_eq!(check(&form).expect_err(field).field.as_deref(), Some(field));
        assert!(check(&usual()).is_ok());
        wrong(AgentForm { name: "../x".to_owned(), ..usual() }, "name");
        wrong(AgentForm { group: "A".to_owned(), ..usual() }, "group");
        wrong(AgentForm { instructions: "a\0b".to_owned(), ..usual() }, "instructions");
        wrong(AgentForm { instructions: "x".repeat(INSTRUCTIONS_BYTES_MAX + 1), ..usual() }, "instructions");
        wrong(AgentForm { model: Some(String::new()), ..usual() }, "model");
        wrong(AgentForm { tools: vec!["x".to_owned(); NAMED_MAX + 1], ..usual() }, "tools");
        wrong(AgentForm { skills: vec!["\u{1b}".to_owned()], ..usual() }, "skills");
    }
}
