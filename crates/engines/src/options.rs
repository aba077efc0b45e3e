//! What a turn is held to besides its prompt, and which engine can be held to what.

use model::{Code, Failure};
use serde_json::{Map, Value};

use crate::engine::TOOLS;
use crate::{Engine, Plan};

/// What an engine is asked besides the prompt. An engine that cannot be held to something says so before it starts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Options<'a> {
    /// How often it may ask its model. The host counts too, so this holds for every engine.
    pub max_turns: Option<u32>,
    /// Its own tools that it may use. Those of the broker are not meant: the broker decides about them.
    pub allowed_tools: Option<&'a [String]>,
    /// What it is told before everything else, in place of what it tells itself.
    pub system_prompt: Option<&'a str>,
    /// MCP servers that it starts: a map of names, or one below `mcpServers`.
    pub mcp_config: Option<&'a Value>,
}

/// The most MCP servers.
const SERVERS_MAX: usize = 20;
/// The longest name of an MCP server or a tool, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// The longest system prompt, in bytes.
const SYSTEM_BYTES_MAX: usize = 2 << 20;

/// Tools that many engines have. An engine without one of them is held to less, not to more, when it is named.
const COMMON: &[&str] = &[
    "AskUserQuestion", "Bash", "Edit", "Glob", "Grep", "LS", "MultiEdit", "NotebookEdit", "NotebookRead", "Read", "Task", "TodoRead",
    "TodoWrite", "WebFetch", "WebSearch", "Write",
];

/// One MCP server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Server {
    pub(crate) name: String,
    /// Program and arguments; empty for one that is reached by its address.
    pub(crate) command: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// As it was given.
    pub(crate) given: Value,
}

impl<'a> Plan<'a> {
    /// Refuses what this engine cannot be held to: it would be silently weaker than asked.
    pub(crate) fn cannot(&self, engine: &dyn Engine, fields: &[&str]) -> Result<(), Failure> {
        let set = [
            ("allowed_tools", self.options.allowed_tools.is_some()),
            ("system_prompt", self.options.system_prompt.is_some()),
            ("mcp_config", self.options.mcp_config.is_some()),
        ];
        match set.iter().find(|(name, is_set)| *is_set && fields.contains(name)) {
            Some((name, _)) => {
                let message = format!("the engine {} cannot be held to `{name}`", engine.name());
                Err(Failure::new(Code::Usage, message).hint("leave it out, or use the engine claude-code").field(*name))
            }
            None => Ok(()),
        }
    }

    /// The tools that it may use, by the names of this engine. `known` has, for each of them, the names that mean it.
    pub(crate) fn tools(&self, engine: &dyn Engine, known: &[(&str, &[&str])]) -> Result<Option<Vec<String>>, Failure> {
        let Some(asked) = self.options.allowed_tools else { return Ok(None) };
        let mut tools = Vec::new();
        // Tools of MCP servers are the broker's, or those that the job brought itself.
        for name in asked.iter().filter(|name| !name.starts_with("mcp__")) {
            let found = known.iter().filter(|(own, means)| own == name || means.iter().any(|m| m.eq_ignore_ascii_case(name)));
            let before = tools.len();
            tools.extend(found.map(|(own, _)| (*own).to_owned()));
            if tools.len() == before && !COMMON.contains(&name.as_str()) {
                let shown: String = name.escape_debug().take(NAME_BYTES_MAX).collect();
                let names: Vec<&str> = known.iter().map(|(own, _)| *own).collect();
                return Err(Failure::new(
                    Code::Usage,
                    format!("the engine {} has no tool `{shown}` that can be allowed alone", engine.name()),
                )
                .hint(format!("it has {}", names.join(", ")))
                .field("allowed_tools"));
            }
        }
        tools.sort();
        tools.dedup();
        Ok(Some(tools))
    }

    /// The system prompt, where it can be given.
    pub(crate) fn system(&self) -> Result<Option<&'a str>, Failure> {
        match self.options.system_prompt {
            Some(text) if text.contains('\0') || text.len() > SYSTEM_BYTES_MAX => {
                Err(Failure::new(Code::Usage, format!("the system prompt holds a NUL, or more than {SYSTEM_BYTES_MAX} bytes"))
                    .field("system_prompt"))
            }
            text => Ok(text.filter(|text| !text.trim().is_empty())),
        }
    }

    /// The MCP servers that a job brings.
    pub(crate) fn servers(&self) -> Result<Vec<Server>, Failure> {
        let Some(config) = self.options.mcp_config else { return Ok(Vec::new()) };
        let wrong = |why: String| Failure::new(Code::Usage, format!("the MCP servers cannot be used: {why}")).field("mcp_config");
        let servers = config.get("mcpServers").unwrap_or(config);
        let servers = servers.as_object().ok_or_else(|| wrong("they are no map of names".to_owned()))?;
        if servers.len() > SERVERS_MAX {
            return Err(wrong(format!("there are more than {SERVERS_MAX}")));
        }
        servers.iter().map(|(name, given)| server(name, given).map_err(wrong)).collect()
    }
}

fn server(name: &str, given: &Value) -> Result<Server, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(plain) {
        return Err("a name is not of letters, digits, `-` and `_`".to_owned());
    }
    if name == TOOLS {
        return Err(format!("the name `{TOOLS}` is taken"));
    }
    let fields = given.as_object().ok_or_else(|| format!("`{name}` is no map"))?;
    let text = |value: &Value| value.as_str().filter(|t| !t.contains('\0')).map(str::to_owned);
    let mut command = Vec::new();
    if let Some(program) = fields.get("command") {
        command.push(text(program).ok_or_else(|| format!("the command of `{name}` is no text"))?);
        for argument in fields.get("args").and_then(Value::as_array).into_iter().flatten() {
            command.push(text(argument).ok_or_else(|| format!("an argument of `{name}` is no text"))?);
        }
    } else if !fields.get("url").is_some_and(Value::is_string) {
        return Err(format!("`{name}` has neither `command` nor `url`"));
    }
    let empty = Map::new();
    let env = fields.get("env").map_or(Some(&empty), Value::as_object).ok_or_else(|| format!("the env of `{name}` is no map"))?;
    let env = env
        .iter()
        .map(|(key, value)| text(value).map(|value| (key.clone(), value)).ok_or_else(|| format!("a variable of `{name}` is no text")));
    Ok(Server { name: name.to_owned(), command, env: env.collect::<Result<_, _>>()?, given: given.clone() })
}
