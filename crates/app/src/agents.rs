//! Agents: who a session is with.

use model::{Code, EgressRule, Failure, Limits};
use serde::{Deserialize, Serialize};
use store::AgentRow;

use crate::{App, OWN_TENANT, SelfPolicy};

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
    /// Who is asked in turn when its provider does not answer, or a budget does not cover the call: `PROVIDER` or `PROVIDER/MODEL`, of the
    /// same family of APIs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<String>,
    /// The word that addresses it in chats; `@Andy` when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger: Option<String>,
    /// Tools that it may call.
    pub tools: Vec<String>,
    /// Those of its tools that it calls for members; all of them when left out. Whoever answers for it can have all of them called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member_tools: Option<Vec<String>>,
    /// Those of its tools, of low risk, that it calls for people who are not known, in chats that hear everybody; none when left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub guest_tools: Vec<String>,
    /// Hosts that may be reached for them, within `egress`; none when left out. No bound secret is ever put in for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub guest_egress: Vec<EgressRule>,
    /// Skills that it sees.
    pub skills: Vec<String>,
    /// Hosts that may be reached, within `egress.max`.
    pub egress: Vec<EgressRule>,
    /// Bound secrets that its sessions may use, by name.
    pub secrets: Vec<String>,
    /// Tenants, besides the owner's, whose sessions have all of it; `*` for every tenant. Sessions of others work with it too, but without
    /// what is the owner's: the vault, secrets, and tools that use the owner's accounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// What becomes of a change that it makes to its own standing instructions, where it has the tool for it.
    #[serde(skip_serializing_if = "SelfPolicy::is_usual")]
    pub instructions_policy: SelfPolicy,
    /// What becomes of what it remembers and would act on in other sessions; `off` takes its memory away whole.
    #[serde(skip_serializing_if = "SelfPolicy::is_usual")]
    pub memory_policy: SelfPolicy,
    /// What its sandboxes may use; the configured limits when left out.
    pub limits: Option<Limits>,
}

impl AgentForm {
    /// Whether sessions of a tenant have all of it, the owner's own things among it.
    pub(crate) fn is_lent(&self, tenant: &str) -> bool {
        tenant == OWN_TENANT || self.tenants.iter().any(|name| name == tenant || name == EVERY_TENANT)
    }
}

/// The agents of an [`App`].
pub struct AgentsOf<'a> {
    pub(crate) app: &'a App,
}

/// What stands for every tenant.
const EVERY_TENANT: &str = "*";
/// The group of an agent that names none.
const DEFAULT_GROUP: &str = "default";
/// The longest standing instructions, in bytes.
const INSTRUCTIONS_BYTES_MAX: usize = 128 << 10;
/// Tools, skills or rules that one agent may name, each.
const NAMED_MAX: usize = 100;
/// The longest word that addresses an agent, in bytes.
const TRIGGER_BYTES_MAX: usize = 64;
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
        agent_in(self.app.store(), name).await
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

    /// Removes an agent, and the tools that it had for itself. Those of [`DEFAULT_AGENT`], which is still there, stay.
    ///
    /// # Errors
    /// There is none of this name, or a session that is not archived is with it.
    pub async fn remove(&self, name: &str) -> Result<(), Failure> {
        let row = self.app.store().agent(name).await.map_err(|e| e.failure())?;
        self.app.store().remove_agent(name).await.map_err(|e| e.failure())?;
        model::crash::point("agent:removed");
        self.app.pool().changed();
        self.app.drop_layer(&row).await;
        Ok(())
    }

    async fn put(&self, form: AgentForm, create_only: bool) -> Result<AgentForm, Failure> {
        let (form, body) = self.checked(form).await?;
        let row = self.app.store().put_agent(&form.name, body, crate::now(), create_only).await.map_err(|e| e.failure())?;
        self.app.pool().changed();
        read(row)
    }

    /// A form that can be kept, and its stored form.
    pub(crate) async fn checked(&self, mut form: AgentForm) -> Result<(AgentForm, serde_json::Value), Failure> {
        if form.group.is_empty() {
            form.group = DEFAULT_GROUP.to_owned();
        }
        check(&form)?;
        if let Some(engine) = &form.engine {
            // Whether it is installed is asked when a session begins.
            self.app.described_engine(&crate::Caller::OWNER, engine).await?;
        }
        crate::sessions::check_egress(&form.egress, &self.app.settings().egress_max)?;
        crate::sessions::check_egress(&form.guest_egress, &form.egress)
            .map_err(|failure| failure.hint("guests of an agent reach no more than the agent").field("guest_egress"))?;
        self.app.check_bound(&form.secrets)?;
        self.app.check_skills(&form.skills)?;
        crate::choose::check_fallback(&form.fallback, &self.app.providers())?;
        let body = serde_json::to_value(&form).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        Ok((form, body))
    }
}

/// The agent of this name; [`DEFAULT_AGENT`] is there even when nobody made it.
pub(crate) async fn agent_in(store: &store::Store, name: &str) -> Result<AgentForm, Failure> {
    match store.agent(name).await {
        Ok(row) => read(row),
        Err(store::StoreError::NotFound { .. }) if name == DEFAULT_AGENT => Ok(usual()),
        Err(error) => Err(error.failure()),
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
    let word =
        |text: &String| !text.is_empty() && text.len() <= TRIGGER_BYTES_MAX && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    if !form.trigger.as_ref().is_none_or(word) {
        return wrong(&format!("the word that addresses an agent has 1 to {TRIGGER_BYTES_MAX} bytes and no space"), "trigger");
    }
    let none = Vec::new();
    let members = form.member_tools.as_ref().unwrap_or(&none);
    let lists = [
        (&form.tools, "tools"),
        (members, "member_tools"),
        (&form.guest_tools, "guest_tools"),
        (&form.skills, "skills"),
        (&form.tenants, "tenants"),
    ];
    for (names, field) in lists {
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
        for bad in ["", "@two words", "@a\n", &"x".repeat(TRIGGER_BYTES_MAX + 1)] {
            wrong(AgentForm { trigger: Some(bad.to_owned()), ..usual() }, "trigger");
        }
        wrong(AgentForm { tools: vec!["x".to_owned(); NAMED_MAX + 1], ..usual() }, "tools");
        wrong(AgentForm { skills: vec!["\u{1b}".to_owned()], ..usual() }, "skills");
    }
}
