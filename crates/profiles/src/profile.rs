//! A profile: what a job runs with when its request does not say.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{CONTENT_CHARS_MAX, ConfigKind, ProfileError, Variables, check_name};

/// Tools, plugins or hosts that one profile may name, each.
const NAMED_MAX: usize = 100;
/// The longest of such names, in bytes.
const NAME_BYTES_MAX: usize = 200;
/// The most rounds with a model.
const TURNS_MAX: u32 = 100;
/// The most that a job may cost, in US dollars.
const BUDGET_USD_MAX: f64 = 50.0;
/// The longest time of a job, in seconds.
const TIMEOUT_S_MAX: u64 = 86_400;
/// The most sandboxes that are kept ready for one profile.
const POOL_SIZE_MAX: usize = 50;
/// The forms of a result.
const OUTPUT_FORMATS: &[&str] = &["json", "text", "stream-json"];

/// A profile.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Profile {
    /// What it calls itself; where it is kept under another name, that one counts.
    pub id: String,
    /// For people.
    pub description: String,
    /// The engine.
    pub engine: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// Rounds with the model: 1 to 100.
    pub max_turns: Option<u32>,
    /// The most that a job may cost, in US dollars: above 0, at most 50.
    pub max_budget_usd: Option<f64>,
    /// The form of the result: `json`, `text` or `stream-json`.
    pub output_format: Option<String>,
    /// What the engine is told before everything else.
    pub system_prompt: Option<String>,
    /// The engine's own tools that it may use.
    pub allowed_tools: Option<Vec<String>>,
    /// Plugins whose tools it may use.
    pub plugins: Vec<String>,
    /// Hosts that may be reached.
    pub egress: Vec<String>,
    /// The prompt.
    pub prompt: Option<Source>,
    /// Its variables.
    pub prompt_vars: Variables,
    /// The instructions.
    pub claude_md: Option<Source>,
    /// Their variables.
    pub claude_md_vars: Variables,
    /// After how many seconds a job fails: 1 to 86,400.
    pub timeout_s: Option<u64>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Processors, in thousandths.
    pub cpu_millis: Option<u32>,
    /// What runs before the engine.
    pub pre: Option<Hook>,
    /// What runs after it.
    pub post: Option<Hook>,
    /// How many sandboxes are kept ready for its jobs, on all daemons together: 0 to 50.
    pub pool_size: Option<usize>,
    /// What an undefined name in a template comes to.
    pub undefined: Undefined,
}

/// Where a text comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A template by name.
    Named(String),
    /// The template itself.
    Inline(String),
}

/// A script that runs inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hook {
    /// A hook by name.
    Named(String),
    /// The script itself.
    Inline(String),
}

/// What an undefined name in a template comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Undefined {
    /// An error that names it.
    #[default]
    Error,
    /// Nothing.
    Empty,
}

/// A profile as it was read, and what was not understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The profile.
    pub profile: Profile,
    /// Keys that mean nothing here, such as `agent.colour`.
    pub unknown: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Form {
    agent: Agent,
    tools: Tools,
    prompt: Text,
    claude_md: Text,
    resources: Resources,
    plugins: Plugins,
    hooks: Hooks,
    egress: Egress,
    pool: Pool,
    undefined: Undefined,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Agent {
    id: String,
    description: String,
    engine: Option<String>,
    model: Option<String>,
    max_turns: Option<u32>,
    max_budget_usd: Option<f64>,
    output_format: Option<String>,
    system_prompt: Option<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tools {
    allowed: Option<Vec<String>>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Text {
    template: Option<String>,
    text: Option<String>,
    variables: Map<String, Value>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resources {
    timeout: Option<u64>,
    memory: Option<Value>,
    mem_limit: Option<Value>,
    cpus: Option<f64>,
    cpu_limit: Option<f64>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Plugins {
    enabled: Vec<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Hooks {
    pre: Option<String>,
    post: Option<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Egress {
    allow: Vec<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pool {
    size: Option<usize>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Form {
    fn unknown(&self) -> Vec<String> {
        let sections = [
            ("agent.", &self.agent.rest),
            ("tools.", &self.tools.rest),
            ("prompt.", &self.prompt.rest),
            ("claude_md.", &self.claude_md.rest),
            ("resources.", &self.resources.rest),
            ("plugins.", &self.plugins.rest),
            ("hooks.", &self.hooks.rest),
            ("egress.", &self.egress.rest),
            ("pool.", &self.pool.rest),
            ("", &self.rest),
        ];
        let cut = |key: &String| key.escape_debug().take(NAME_BYTES_MAX).collect::<String>();
        sections.iter().flat_map(|(section, rest)| rest.keys().map(move |key| format!("{section}{}", cut(key)))).collect()
    }
}

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    /// [`ProfileError`] names the key that cannot be used.
    pub fn parse(text: &str) -> Result<Read, ProfileError> {
        if text.chars().count() > CONTENT_CHARS_MAX {
            return Err(ProfileError::Long { what: "the profile".to_owned(), max: CONTENT_CHARS_MAX, unit: "characters" });
        }
        let form: Form = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            ProfileError::Form(if line == 0 { error.message().to_owned() } else { format!("line {line}: {}", error.message()) })
        })?;
        let unknown = form.unknown();
        let Form { agent, tools, prompt, claude_md, resources, plugins, hooks, egress, pool, undefined, .. } = form;
        let profile = Profile {
            prompt_vars: Variables::read("prompt", &prompt.variables)?,
            claude_md_vars: Variables::read("claude_md", &claude_md.variables)?,
            prompt: source("prompt", prompt)?,
            claude_md: source("claude_md", claude_md)?,
            id: agent.id,
            description: agent.description,
            engine: agent.engine,
            model: agent.model,
            max_turns: agent.max_turns,
            max_budget_usd: agent.max_budget_usd,
            output_format: agent.output_format,
            system_prompt: agent.system_prompt,
            allowed_tools: tools.allowed,
            plugins: plugins.enabled,
            egress: egress.allow,
            timeout_s: resources.timeout,
            memory_bytes: memory(resources.memory.or(resources.mem_limit))?,
            cpu_millis: cpus(resources.cpus.or(resources.cpu_limit))?,
            pre: hook("hooks.pre", hooks.pre)?,
            post: hook("hooks.post", hooks.post)?,
            pool_size: pool.size,
            undefined,
        };
        profile.check()?;
        Ok(Read { profile, unknown })
    }

    fn check(&self) -> Result<(), ProfileError> {
        let wrong = |key: &str, why: &str| Err(ProfileError::Value { key: key.to_owned(), why: why.to_owned() });
        let is_model = |c: char| c.is_ascii_alphanumeric() || "._/-:@".contains(c);
        if self.model.as_ref().is_some_and(|m| m.is_empty() || m.len() > 128 || m.starts_with('-') || !m.chars().all(is_model)) {
            return wrong("agent.model", "is no name of a model");
        }
        if self.max_turns.is_some_and(|n| !(1..=TURNS_MAX).contains(&n)) {
            return wrong("agent.max_turns", "is not from 1 to 100");
        }
        if self.max_budget_usd.is_some_and(|usd| !(usd > 0.0 && usd <= BUDGET_USD_MAX)) {
            return wrong("agent.max_budget_usd", "is not above 0 and at most 50");
        }
        if self.output_format.as_ref().is_some_and(|format| !OUTPUT_FORMATS.contains(&format.as_str())) {
            return wrong("agent.output_format", "is not json, text or stream-json");
        }
        if self.timeout_s.is_some_and(|s| !(1..=TIMEOUT_S_MAX).contains(&s)) {
            return wrong("resources.timeout", "is not from 1 to 86400 seconds");
        }
        if self.pool_size.is_some_and(|n| n > POOL_SIZE_MAX) {
            return wrong("pool.size", "is not from 0 to 50");
        }
        let bad = |names: &[String]| {
            let bad = |name: &String| name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control);
            names.len() > NAMED_MAX || names.iter().any(bad)
        };
        let lists = [
            ("tools.allowed", self.allowed_tools.as_deref().unwrap_or_default()),
            ("plugins.enabled", &self.plugins),
            ("egress.allow", &self.egress),
        ];
        match lists.iter().find(|(_, names)| bad(names)) {
            Some((key, _)) => wrong(key, "has more than 100 names, or one that is empty or too long"),
            None => Ok(()),
        }
    }
}

/// A template is named, or stands in the profile itself.
fn source(section: &str, text: Text) -> Result<Option<Source>, ProfileError> {
    let wrong = |key: &str, why: String| Err(ProfileError::Value { key: format!("{section}.{key}"), why });
    match (text.template, text.text) {
        (Some(_), Some(_)) => wrong("text", "stands beside `template`: one of the two is enough".to_owned()),
        (None, text) => Ok(text.map(Source::Inline)),
        (Some(name), None) if name.contains('\n') || name.contains("{{") || name.contains("{%") => Ok(Some(Source::Inline(name))),
        (Some(name), None) => match check_name(ConfigKind::Template, &name) {
            Ok(()) => Ok(Some(Source::Named(name))),
            Err(error) => wrong("template", format!("is no name of a template: {error}")),
        },
    }
}

/// A single word is the name of a hook; everything else is a script.
fn hook(key: &str, text: Option<String>) -> Result<Option<Hook>, ProfileError> {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    if text.contains('\0') {
        return Err(ProfileError::Value { key: key.to_owned(), why: "holds a NUL".to_owned() });
    }
    let named = check_name(ConfigKind::Hook, &text).is_ok();
    Ok(Some(if named { Hook::Named(text) } else { Hook::Inline(text) }))
}

fn memory(value: Option<Value>) -> Result<Option<u64>, ProfileError> {
    let Some(value) = value else { return Ok(None) };
    let bytes = value.as_u64().or_else(|| value.as_str().and_then(model::parse_bytes));
    let bytes = bytes.filter(|bytes| *bytes >= 1 << 20);
    let why = || "is not a size such as \"512m\" or \"2g\", at least 1m".to_owned();
    bytes.map(Some).ok_or_else(|| ProfileError::Value { key: "resources.memory".to_owned(), why: why() })
}

fn cpus(value: Option<f64>) -> Result<Option<u32>, ProfileError> {
    let Some(cpus) = value else { return Ok(None) };
    if !(0.1..=256.0).contains(&cpus) {
        let why = "is not from 0.1 to 256".to_owned();
        return Err(ProfileError::Value { key: "resources.cpus".to_owned(), why });
    }
    Ok(format!("{:.0}", cpus * 1000.0).parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
[agent]
id = "review"
description = "Reads code"
model = "claude-sonnet-4-6"
max_turns = 20
max_budget_usd = 2.5
output_format = "json"

[tools]
allowed = ["Read", "Bash"]

[prompt]
template = "prompts/review.md.j2"
[prompt.variables]
plain = "a default"
[prompt.variables.depth]
type = "integer"
default = 3
enum = [1, 3, 9]
description = "How deep"

[claude_md]
template = "claude-md/base.md.j2"
[claude_md.variables]
role = "A reader"

[resources]
timeout = 600

[plugins]
enabled = ["web"]

[hooks]
pre = "set-up.sh"
post = """
echo "$JOB_STATUS"
"""
"#;

    #[test]
    fn a_profile_is_read_whole() {
        let Read { profile, unknown } = Profile::parse(WHOLE).expect("a profile");
        assert!(unknown.is_empty(), "{unknown:?}");
        assert_eq!(profile.id, "review");
        assert_eq!(profile.max_turns, Some(20));
        assert_eq!(profile.allowed_tools.as_deref().map(<[String]>::len), Some(2));
        assert_eq!(profile.prompt, Some(Source::Named("prompts/review.md.j2".to_owned())));
        assert!(profile.prompt_vars.0["plain"].is_legacy && !profile.prompt_vars.0["depth"].is_legacy);
        assert_eq!(profile.timeout_s, Some(600));
        assert_eq!(profile.pre, Some(Hook::Named("set-up.sh".to_owned())));
        assert!(matches!(profile.post, Some(Hook::Inline(_))));
        assert_eq!(profile.undefined, Undefined::Error);
        let marked = Profile::parse(&format!("undefined = \"empty\"\n{WHOLE}")).expect("a profile");
        assert_eq!(marked.profile.undefined, Undefined::Empty);
        assert_eq!(Profile::parse("").expect("an empty one").profile, Profile::default());
    }

    #[test]
    fn what_cannot_work_is_named() {
        let check = |text: &str, part: &str| {
            let error = Profile::parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        };
        check("[agent]\nmax_turns = 0", "agent.max_turns");
        check("[agent]\nmax_turns = \"x\"", "line 2");
        check("[agent]\nmax_budget_usd = 51.0", "agent.max_budget_usd");
        check("[agent]\nmax_budget_usd = nan", "agent.max_budget_usd");
        check("[agent]\nmodel = \"--x\"", "agent.model");
        check("[agent]\noutput_format = \"xml\"", "agent.output_format");
        check("[resources]\ntimeout = 0", "resources.timeout");
        check("[resources]\nmemory = \"lots\"", "resources.memory");
        check("[resources]\ncpus = 0.0", "resources.cpus");
        check("[pool]\nsize = 51", "pool.size");
        check("[prompt]\ntemplate = \"../x\"", "prompt.template");
        check("[prompt]\ntemplate = \"x\"\ntext = \"y\"", "prompt.text");
        check("[tools]\nallowed = [\"\"]", "tools.allowed");
        check("[agent", "line 1");
        check(&"#".repeat(CONTENT_CHARS_MAX + 1), "more than");
        let read = Profile::parse("x = 1\n[agent]\ncolour = \"red\"").expect("a profile");
        assert_eq!(read.unknown, ["agent.colour", "x"]);
    }
}
