//! The description of an engine in sections: `[engine]`, `[command]`, `[output]`, `[env]`.
//!
//! ```toml
//! [engine]
//! id = "helper"
//! [command]
//! binary = "helper"
//! prompt_flag = "-p"                # "" for the last argument
//! static_args = ["--quiet"]
//! [command.map]                     # which flag a job's field becomes
//! model = "--model"
//! [command.list_join]
//! allowed_tools = ","
//! [output]
//! mode = "stdout"                   # or "file", with path
//! format = "json"
//! [env]
//! auth = ["OPENAI_API_KEY"]         # which keys it looks for: it gets a placeholder, and the gateway's address
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::custom::{Custom, CustomError, Output, PromptBy};
use crate::{PLACEHOLDER_KEY, Wire};

#[derive(Deserialize)]
struct Form {
    engine: About,
    command: Command,
    #[serde(default)]
    output: Written,
    #[serde(default)]
    env: Env,
}

#[derive(Deserialize)]
struct About {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    description: String,
}

#[derive(Deserialize)]
struct Command {
    binary: String,
    #[serde(default)]
    prompt_flag: String,
    #[serde(default)]
    static_args: Vec<String>,
    #[serde(default)]
    map: BTreeMap<String, String>,
    #[serde(default)]
    list_join: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct Written {
    #[serde(default)]
    mode: String,
    #[serde(default)]
    format: String,
    #[serde(default)]
    path: String,
}

#[derive(Default, Deserialize)]
struct Env {
    #[serde(default)]
    auth: Vec<String>,
}

/// Names of keys, and the form of the provider that they are for.
const KEYS: &[(&str, Wire)] = &[
    ("ANTHROPIC_API_KEY", Wire::Anthropic),
    ("ANTHROPIC_AUTH_TOKEN", Wire::Anthropic),
    ("CLAUDE_CODE_OAUTH_TOKEN", Wire::Anthropic),
    ("OPENAI_API_KEY", Wire::OpenAiChat),
    ("OPENROUTER_API_KEY", Wire::OpenAiChat),
    ("GEMINI_API_KEY", Wire::Gemini),
    ("GOOGLE_API_KEY", Wire::Gemini),
];

/// Whether a description is in sections.
pub(crate) fn is_one(text: &str) -> bool {
    text.lines().any(|line| line.trim_start().starts_with("[engine]"))
}

/// The name that a description in sections gives itself; `None` when it cannot be read.
#[must_use]
pub fn described_name(text: &str) -> Option<String> {
    toml::from_str::<Form>(text).ok().map(|form| form.engine.id)
}

/// The title that a description gives an engine, and what it says of it; `None` when it cannot be read.
#[must_use]
pub fn described(text: &str) -> Option<(String, String)> {
    if is_one(text) {
        return toml::from_str::<Form>(text).ok().map(|form| (form.engine.name, form.engine.description));
    }
    Custom::parse(text).ok().map(|custom| (custom.title, custom.description))
}

/// Reads a description in sections.
pub(crate) fn parse(text: &str) -> Result<Custom, CustomError> {
    let form: Form = toml::from_str(text).map_err(|error| CustomError::Form(error.message().to_owned()))?;
    let wrong = |why| CustomError::Value { name: form.engine.id.escape_debug().take(64).collect(), why };
    let binary = &form.command.binary;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if binary.is_empty() || binary.starts_with('-') || !binary.chars().all(plain) {
        return Err(wrong("the binary is not the plain name or path of a program"));
    }
    let flag = |field: &str, value: &str| form.command.map.get(field).map(|flag| vec![flag.clone(), value.to_owned()]).unwrap_or_default();
    let mut custom = Custom::empty();
    custom.name.clone_from(&form.engine.id);
    custom.title.clone_from(&form.engine.name);
    custom.description.clone_from(&form.engine.description);
    // A name alone is looked for where programs lie inside.
    custom.command = if binary.starts_with('/') { vec![binary.clone()] } else { vec!["/usr/bin/env".to_owned(), binary.clone()] };
    custom.command.extend(form.command.static_args.iter().cloned());
    if let Some(format) = form.command.map.get("output_format") {
        custom.command.extend([format.clone(), if form.output.format.is_empty() { "text" } else { &form.output.format }.to_owned()]);
    }
    custom.model = flag("model", "{model}");
    custom.max_turns = flag("max_turns", "{max_turns}");
    custom.system_prompt = flag("system_prompt", "{system_prompt}");
    custom.allowed_tools = flag("allowed_tools", "{allowed_tools}");
    custom.mcp_config = flag("mcp_config", "{mcp_config_file}");
    if let Some(between) = form.command.list_join.get("allowed_tools") {
        custom.joined_by.clone_from(between);
    }
    custom.prompt = match form.command.prompt_flag.as_str() {
        "" => PromptBy::Last,
        flag => PromptBy::Flag(flag.to_owned()),
    };
    custom.output = Output::Text;
    custom.result_file = match form.output.mode.as_str() {
        "" | "stdout" => None,
        "file" if form.output.path.starts_with('/') => Some(form.output.path.clone()),
        "file" => return Err(wrong("the path of its output is not absolute")),
        "acp" => return Err(wrong("a program that speaks a protocol is described without sections")),
        _ => return Err(wrong("the mode of its output is not stdout or file")),
    };
    for key in &form.env.auth {
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if key.is_empty() || !key.chars().all(is_name) {
            return Err(wrong("a name in `env.auth` is no name of a variable"));
        }
        custom.env.insert(key.clone(), PLACEHOLDER_KEY.to_owned());
        if let Some((_, wire)) = KEYS.iter().find(|(name, _)| name == key)
            && !custom.wires_read.contains(wire)
        {
            custom.wires_read.push(*wire);
        }
    }
    Ok(custom)
}
