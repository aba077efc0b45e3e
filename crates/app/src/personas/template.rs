//! What stands in a template of an agent, and what comes of it.

use std::collections::BTreeMap;

use model::{Code, Failure};
use profiles::{Templates, Undefined, Variable, Variables};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::plan::TemplateTask;
use crate::AgentForm;
use crate::plugins::folder::hex;

/// The file that a template is read from.
const FILE: &str = "agent.toml";
/// Its standing instructions.
const INSTRUCTIONS: &str = "instructions.md";
/// Files of a template, and bytes of all of them.
const FILES_MAX: usize = 8;
const BYTES_MAX: usize = 256 << 10;
/// Tasks and hints of a template, each.
const TASKS_MAX: usize = 16;
/// The longest name of a task.
const TASK_NAME_MAX: usize = 40;

macro_rules! shipped {
    ($($name:literal;)*) => {
        /// The templates that ship: their names, and their files.
        const SHIPPED: &[(&str, &str, &str)] = &[$((
            $name,
            include_str!(concat!("../../../../share/agents/", $name, "/agent.toml")),
            include_str!(concat!("../../../../share/agents/", $name, "/instructions.md")),
        )),*];
    };
}

shipped! {
    "assistant";
    "repo-keeper";
    "researcher";
}

/// A template that ships.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TemplateView {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its own version.
    pub version: String,
    /// What it wants to be told.
    pub variables: BTreeMap<String, Variable>,
    /// Skills that its agents have.
    pub skills: Vec<String>,
    /// Its tasks, by name.
    pub tasks: Vec<String>,
}

/// A template as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    description: String,
    version: String,
    agent: RawAgent,
    variables: BTreeMap<String, Variable>,
    tasks: Vec<RawTask>,
    hints: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawAgent {
    group: String,
    engine: String,
    model: String,
    trigger: String,
    fallback: Vec<String>,
    tools: Vec<String>,
    skills: Vec<String>,
    egress: Vec<String>,
    secrets: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTask {
    name: String,
    cron: String,
    #[serde(default)]
    zone: String,
    text: String,
}

/// A template, read.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) name: String,
    pub(super) hash: String,
    raw: Raw,
    instructions: String,
}

/// What comes of a template.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) agent: AgentForm,
    pub(super) tasks: Vec<TemplateTask>,
    pub(super) hints: Vec<String>,
}

fn wrong(why: impl Into<String>) -> Failure {
    Failure::new(Code::Usage, why).field("template")
}

/// The templates that ship.
pub(super) fn shipped() -> Result<Vec<TemplateView>, Failure> {
    SHIPPED.iter().map(|(name, ..)| Ok(Template::shipped(name)?.view())).collect()
}

impl Template {
    /// One that ships.
    pub(super) fn shipped(name: &str) -> Result<Self, Failure> {
        let Some((name, text, instructions)) = SHIPPED.iter().find(|(own, ..)| *own == name) else {
            let shown: String = name.escape_debug().take(80).collect();
            let names: Vec<&str> = SHIPPED.iter().map(|(name, ..)| *name).collect();
            return Err(Failure::new(Code::NotFound, format!("there is no template {shown}"))
                .hint(format!("those that ship are {}; a folder is named by its path, like ./mine", names.join(", ")))
                .field("template"));
        };
        let files = [(FILE.to_owned(), (*text).to_owned()), (INSTRUCTIONS.to_owned(), (*instructions).to_owned())];
        Self::read(name, &files.into())
    }

    /// Reads the files of a template.
    pub(super) fn read(name: &str, files: &BTreeMap<String, String>) -> Result<Self, Failure> {
        let bytes: usize = files.values().map(String::len).sum();
        if files.len() > FILES_MAX || bytes > BYTES_MAX {
            return Err(wrong(format!("a template has at most {FILES_MAX} files and {} KiB", BYTES_MAX >> 10)));
        }
        if let Some(other) = files.keys().find(|name| !matches!(name.as_str(), FILE | INSTRUCTIONS)) {
            let other: String = other.escape_debug().take(80).collect();
            return Err(wrong(format!("a template has {FILE} and {INSTRUCTIONS}, and no {other}")));
        }
        let text = files.get(FILE).ok_or_else(|| wrong(format!("the template has no {FILE}")))?;
        let raw: Raw = toml::from_str(text).map_err(|e| wrong(format!("{FILE} is not understood: {}", e.message())))?;
        if raw.tasks.len() > TASKS_MAX || raw.hints.len() > TASKS_MAX {
            return Err(wrong(format!("a template has at most {TASKS_MAX} tasks and hints")));
        }
        for task in &raw.tasks {
            if !model::is_name(&task.name) || task.name.len() > TASK_NAME_MAX {
                return Err(wrong(format!("`{}` is not a task's name", task.name.escape_debug())));
            }
        }
        let mut hash = Sha256::new();
        for (name, text) in files {
            for part in [name, text] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        let instructions = files.get(INSTRUCTIONS).cloned().unwrap_or_default();
        Ok(Self { name: name.to_owned(), hash: format!("sha256:{}", hex(&hash.finalize())), raw, instructions })
    }

    fn view(&self) -> TemplateView {
        TemplateView {
            name: self.name.clone(),
            description: self.raw.description.clone(),
            version: self.raw.version.clone(),
            variables: self.raw.variables.clone(),
            skills: self.raw.agent.skills.clone(),
            tasks: self.raw.tasks.iter().map(|task| task.name.clone()).collect(),
        }
    }

    /// Fills the template in for an agent. A variable that is not declared is refused: it would be of no effect.
    pub(super) fn fill(&self, agent: &str, given: &Map<String, Value>) -> Result<Made, Failure> {
        if let Some(unknown) = given.keys().find(|name| !self.raw.variables.contains_key(*name)) {
            let names: Vec<&str> = self.raw.variables.keys().map(String::as_str).collect();
            let unknown: String = unknown.escape_debug().take(80).collect();
            return Err(Failure::new(Code::Usage, format!("the template {} has no variable {unknown}", self.name))
                .hint(format!("its variables are: {}", names.join(", ")))
                .field("variables"));
        }
        let mut values = Variables(self.raw.variables.clone()).complete(given).map_err(|e| e.failure())?;
        values.insert("agent".to_owned(), agent.into());
        let text = |text: &str| -> Result<String, Failure> {
            let text = Templates::default().render_text(&self.name, text, &values, Undefined::Error).map_err(|e| e.failure())?;
            Ok(text.trim().to_owned())
        };
        let all = |texts: &[String]| -> Result<Vec<String>, Failure> {
            let mut all = texts.iter().map(|one| text(one)).collect::<Result<Vec<_>, _>>()?;
            all.retain(|one| !one.is_empty());
            Ok(all)
        };
        let or_none = |one: &str| -> Result<Option<String>, Failure> { Ok(Some(text(one)?).filter(|one| !one.is_empty())) };
        let raw = &self.raw.agent;
        let egress = all(&raw.egress)?;
        let egress =
            egress.iter().map(|rule| rule.parse().map_err(|e: model::EgressRuleError| wrong(e.to_string()))).collect::<Result<_, _>>()?;
        let form = AgentForm {
            name: agent.to_owned(),
            group: or_none(&raw.group)?.unwrap_or_else(|| "default".to_owned()),
            instructions: text(&self.instructions)?,
            engine: or_none(&raw.engine)?,
            model: or_none(&raw.model)?,
            trigger: or_none(&raw.trigger)?,
            fallback: all(&raw.fallback)?,
            tools: all(&raw.tools)?,
            skills: all(&raw.skills)?,
            egress,
            secrets: all(&raw.secrets)?,
            ..AgentForm::default()
        };
        let task = |task: &RawTask| -> Result<TemplateTask, Failure> {
            let zone = or_none(&task.zone)?.unwrap_or_else(|| "UTC".to_owned());
            Ok(TemplateTask { name: format!("{agent}-{}", task.name), cron: text(&task.cron)?, zone, text: text(&task.text)?, makes: true })
        };
        let tasks = self.raw.tasks.iter().map(task).collect::<Result<_, _>>()?;
        Ok(Made { agent: form, tasks, hints: all(&self.raw.hints)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ships_can_be_filled_in() {
        for view in shipped().expect("templates") {
            let mut given = Map::new();
            for (name, variable) in &view.variables {
                if variable.required {
                    given.insert(name.clone(), variable.default.clone().unwrap_or_else(|| "x".into()));
                }
            }
            let made = Template::shipped(&view.name).expect("a template").fill("one", &given).expect(&view.name);
            assert!(!made.agent.instructions.is_empty() && !view.description.is_empty(), "{}", view.name);
            assert!(!made.agent.instructions.contains("{{"), "{}", made.agent.instructions);
        }
    }

    #[test]
    fn what_is_given_stays_text() {
        let files =
            |toml: &str, text: &str| BTreeMap::from([(FILE.to_owned(), toml.to_owned()), (INSTRUCTIONS.to_owned(), text.to_owned())]);
        let toml = "[agent]\nmodel = \"{{ m }}\"\n[variables.m]\ndefault = \"\"\n[variables.who]\nrequired = true\n";
        let template = Template::read("t", &files(toml, "You are {{ agent }} of {{ who }}.")).expect("a template");
        let given = |who: &str| Map::from_iter([("who".to_owned(), Value::from(who))]);
        let made = template.fill("a", &given("Ann \"{{ m }}\"\n[agent]")).expect("made");
        assert_eq!((made.agent.instructions.as_str(), made.agent.model), ("You are a of Ann \"{{ m }}\"\n[agent].", None));
        assert!(template.fill("a", &Map::new()).is_err(), "it must be given");
        assert!(template.fill("a", &Map::from_iter([("x".to_owned(), Value::from(1))])).is_err(), "nobody asked");
        assert!(Template::read("t", &files("[agent]\nlimits = 1\n", "")).is_err());
        assert!(Template::read("t", &BTreeMap::from([("../x".to_owned(), String::new())])).is_err());
    }
}
