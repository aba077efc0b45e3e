//! How profiles, engines, templates and hooks are asked for and shown.

use std::collections::BTreeMap;

use model::Timestamp;
use profiles::{ConfigKind, Profile, VarType, Variable};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A text to keep.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigForm {
    /// Its name; needed for a new one only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The text: at most 100,000 characters.
    pub content: String,
    /// For people; as it was when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The version that it replaces: with another one there, nothing changes. Any when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// A text that might be kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckForm {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The text.
    pub content: String,
    /// Values of a profile's variables: with them its prompt is rendered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_vars: Option<Map<String, Value>>,
    /// Values of the variables of its instructions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claude_md_vars: Option<Map<String, Value>>,
}

/// What a check found; what is wrong is a failure.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Checked {
    /// What would be passed over, or is not there.
    pub warnings: Vec<String>,
    /// The prompt, where it was rendered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The instructions, where they were rendered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
}

/// A profile, engine, template or hook. Lists leave out `content`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ConfigView {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: ConfigKind,
    /// Its version; a change is a new one.
    pub version: u64,
    /// The text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// For people.
    pub description: String,
    /// Whether it is as the program ships it.
    pub shipped: bool,
    /// Whether this version says that it was removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
    /// What of the text is passed over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// When its first version was made; 0 for what the program ships with.
    pub created: Timestamp,
    /// When this version was made.
    pub updated: Timestamp,
}

/// A profile, as who makes a job wants to know it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ProfileView {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: String,
    /// Its version.
    pub version: u64,
    /// Whether it is as the program ships it.
    pub shipped: bool,
    /// The engine; empty for the configured one.
    pub engine: String,
    /// The model; empty for the engine's choice.
    pub model: String,
    /// The variables of its prompt.
    pub prompt_vars: BTreeMap<String, ProfileVariable>,
    /// The variables of its instructions.
    pub claude_md_vars: BTreeMap<String, ProfileVariable>,
}

/// A variable of a profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ProfileVariable {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: VarType,
    /// What it is when a job does not say.
    pub default: Option<Value>,
    /// Whether a job must say it.
    pub required: bool,
    /// The values that it may have; any when empty.
    #[serde(rename = "enum")]
    pub one_of: Vec<Value>,
    /// For people.
    pub description: String,
}

/// An engine, as who makes a job wants to know it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct EngineView {
    /// Its name.
    pub id: String,
    /// For people.
    pub name: String,
    /// For people.
    pub description: String,
    /// Whether it is built in.
    pub built_in: bool,
    /// Whether it is installed; a described one is looked for when it is started.
    pub available: bool,
}

impl From<&Variable> for ProfileVariable {
    fn from(variable: &Variable) -> Self {
        Self {
            kind: variable.kind,
            default: variable.default.clone(),
            required: variable.required,
            one_of: variable.one_of.clone(),
            description: variable.description.clone(),
        }
    }
}

impl ProfileView {
    /// The view of a profile's text; `None` for one that an older version kept and this one cannot read.
    pub(super) fn of(name: String, version: u64, shipped: bool, content: &str) -> Option<Self> {
        let profile = Profile::parse(content).ok()?.profile;
        let vars = |variables: &profiles::Variables| variables.0.iter().map(|(name, variable)| (name.clone(), variable.into())).collect();
        Some(Self {
            name,
            version,
            shipped,
            engine: profile.engine.clone().unwrap_or_default(),
            model: profile.model.clone().unwrap_or_default(),
            prompt_vars: vars(&profile.prompt_vars),
            claude_md_vars: vars(&profile.claude_md_vars),
            description: profile.description,
        })
    }
}

impl EngineView {
    pub(super) fn of(id: String, content: &str, installed: Option<bool>) -> Self {
        let (name, description) = about_engine(content);
        Self {
            name: if name.is_empty() { id.clone() } else { name },
            description,
            built_in: installed.is_some(),
            available: installed.unwrap_or(true),
            id,
        }
    }
}

/// What an engine's text calls itself and says of itself.
pub(super) fn about_engine(content: &str) -> (String, String) {
    engines::described(content).unwrap_or_default()
}
