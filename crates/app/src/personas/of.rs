//! Agents made from templates, and brought up to date with them.

use std::collections::BTreeMap;

use model::{Code, Failure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use store::OriginRow;

use super::plan::{TemplatePlan, merge};
use super::template::{Made, Template, TemplateView, shipped};
use crate::{AgentForm, App, Caller, TaskAction, TaskForm, TaskMessage};

/// A template and what it is told.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TemplateOrder {
    /// The template: one that ships, or what `files` are called. For an update, the one that the agent came of when left out.
    pub template: Option<String>,
    /// The files of a template that does not ship: `agent.toml` and `instructions.md`.
    pub files: Option<BTreeMap<String, String>>,
    /// What the template is told; for an update, what is said anew.
    pub variables: Map<String, Value>,
}

/// The same, to be done.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateApply {
    /// The template and what it is told.
    pub order: TemplateOrder,
    /// The hash of the plan that was looked at.
    pub hash: String,
}

/// The templates of agents of an [`App`].
pub struct TemplatesOf<'a> {
    app: &'a App,
    caller: Caller,
}

impl App {
    /// The templates of agents, for this caller: tasks that come of one are the caller's.
    #[must_use]
    pub fn agent_templates(&self, caller: &Caller) -> TemplatesOf<'_> {
        TemplatesOf { app: self, caller: caller.clone() }
    }
}

/// What is planned, with what it takes to do it.
struct Draft {
    plan: TemplatePlan,
    form: AgentForm,
    origin: OriginRow,
    before: Option<Value>,
}

impl TemplatesOf<'_> {
    /// Those that ship.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn list(&self) -> Result<Vec<TemplateView>, Failure> {
        shipped()
    }

    /// What would be made, or changed where the agent is there.
    ///
    /// # Errors
    /// The template, or what it is told, is wrong; the agent is there and came of no template.
    pub async fn plan(&self, agent: &str, order: &TemplateOrder) -> Result<TemplatePlan, Failure> {
        Ok(self.draft(agent, order, "").await?.plan)
    }

    /// Makes or changes exactly what was planned. What a kill leaves of its tasks is made when it is asked for again.
    ///
    /// # Errors
    /// It is another plan now (`CONFLICT`), or something that it needs is missing.
    pub async fn apply(&self, agent: &str, apply: &TemplateApply, actor: &str) -> Result<TemplatePlan, Failure> {
        let draft = self.draft(agent, &apply.order, actor).await?;
        if draft.plan.hash != apply.hash {
            return Err(Failure::new(Code::Conflict, "something changed since the plan was looked at").hint("look at it again"));
        }
        if let Some(missing) = draft.plan.needs.first() {
            return Err(Failure::new(Code::Conflict, format!("the agent cannot be made yet: {missing}")));
        }
        if self.caller.tenant.is_some() && !draft.form.secrets.is_empty() {
            return Err(Failure::new(Code::Forbidden, "only the owner gives bound secrets to an agent").field("secrets"));
        }
        let (_, body) = self.app.agents().checked(draft.form).await?;
        self.app.store().put_agent_of_template(body, draft.origin.clone(), draft.before).await.map_err(|e| e.failure())?;
        self.app.pool().changed();
        let mut made: Vec<String> = serde_json::from_value(draft.origin.tasks).unwrap_or_default();
        for task in draft.plan.tasks.iter().filter(|task| task.makes) {
            let message = TaskMessage { text: task.text.clone(), agent: Some(agent.to_owned()), ..TaskMessage::default() };
            let form = TaskForm {
                name: task.name.clone(),
                cron: task.cron.clone(),
                zone: Some(task.zone.clone()),
                misfire: crate::Misfire::default(),
                overlap: crate::Overlap::default(),
                failures_max: None,
                action: TaskAction::Message(message),
            };
            let tasks = self.app.tasks_of(&self.caller);
            // It waits for its owner's word: it costs, and where its answers go is not said yet.
            let view = tasks.create(form).await?;
            tasks.pause(view.id.as_str()).await?;
            made.push(task.name.clone());
            self.app.store().note_origin_tasks(agent, json!(made)).await.map_err(|e| e.failure())?;
        }
        Ok(draft.plan)
    }

    async fn draft(&self, agent: &str, order: &TemplateOrder, actor: &str) -> Result<Draft, Failure> {
        if !model::is_name(agent) {
            return Err(Failure::new(Code::Usage, "an agent's name has small letters, digits and `-`").field("name"));
        }
        let row = match self.app.store().agent(agent).await {
            Ok(row) => Some(row),
            Err(store::StoreError::NotFound { .. }) => None,
            Err(error) => return Err(error.failure()),
        };
        let origin = match &row {
            None => None,
            Some(_) => Some(self.app.store().agent_origin(agent).await.map_err(|e| e.failure())?.ok_or_else(|| {
                Failure::new(Code::Conflict, format!("the agent {agent} is there, and came of no template"))
                    .hint("choose another name, or change it with `lazaret agent set`")
            })?),
        };
        let template = match (&order.template, &order.files, &origin) {
            (Some(name), Some(files), _) => Template::read(name, files)?,
            (Some(name), None, _) => Template::shipped(name)?,
            (None, _, Some(origin)) => Template::shipped(&origin.template)?,
            (None, _, None) => return Err(Failure::new(Code::Usage, "which template?").field("template")),
        };
        let mut variables = origin.as_ref().and_then(|origin| origin.variables.as_object().cloned()).unwrap_or_default();
        variables.extend(order.variables.clone());
        let made = template.fill(agent, &variables)?;
        let theirs = serde_json::to_value(&made.agent).map_err(|e| Failure::new(Code::Internal, e.to_string()))?;
        let (base, mine) = match (&origin, &row) {
            (Some(origin), Some(row)) => (origin.made.clone(), row.body.clone()),
            _ => (Value::Null, Value::Null),
        };
        let (then, fields) = merge(&base, &mine, &theirs)?;
        let form: AgentForm =
            serde_json::from_value(then).map_err(|e| Failure::new(Code::Internal, format!("the fields do not fit: {e}")))?;
        let done: Vec<String> = origin.as_ref().and_then(|o| serde_json::from_value(o.tasks.clone()).ok()).unwrap_or_default();
        let Made { tasks, hints, .. } = made;
        let mut plan = TemplatePlan {
            agent: agent.to_owned(),
            template: template.name.clone(),
            updates: row.is_some(),
            fields,
            tasks: tasks.into_iter().map(|task| super::TemplateTask { makes: !done.contains(&task.name), ..task }).collect(),
            needs: self.needs(&form),
            hints,
            hash: String::new(),
        };
        plan.seal();
        let origin = OriginRow {
            agent: agent.to_owned(),
            template: template.name,
            hash: template.hash,
            made: theirs,
            variables: Value::Object(variables),
            tasks: json!(done),
            actor: actor.to_owned(),
            made_at: crate::now(),
        };
        Ok(Draft { plan, form, origin, before: row.map(|row| row.body) })
    }

    /// What an agent of this form would miss.
    fn needs(&self, form: &AgentForm) -> Vec<String> {
        let checks = [self.app.check_skills(&form.skills), self.app.check_bound(&form.secrets)];
        let text = |failure: Failure| match failure.hint {
            Some(hint) => format!("{}; {hint}", failure.message),
            None => failure.message,
        };
        checks.into_iter().filter_map(Result::err).map(text).collect()
    }
}
