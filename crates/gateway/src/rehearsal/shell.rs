//! How to run a command with whatever tool an engine offers for it.

use serde_json::{Map, Value, json};

use super::{Asked, Tool, ToolCall};

/// Names of tools that run a command, best first. Compared in small letters.
const SHELLS: &[&str] = &[
    "bash", "shell", "exec_command", "shell_command", "run_shell_command", "run_command", "execute_command", "terminal", "local_shell",
    "container.exec", "exec",
];
/// Arguments that hold the command, best first.
const COMMANDS: &[&str] = &["command", "cmd", "script", "code", "input"];

/// The call that runs `command`, or `None` when no tool for it is offered.
#[must_use]
pub fn shell_call(asked: &Asked, command: &str) -> Option<ToolCall> {
    let offered = |name: &&str| asked.tools.iter().find(|tool| tool.namespace.is_none() && tool.name.eq_ignore_ascii_case(name));
    let tool = SHELLS.iter().find_map(offered)?;
    Some(ToolCall { name: tool.name.clone(), namespace: tool.namespace.clone(), input: arguments(tool, command) })
}

fn arguments(tool: &Tool, command: &str) -> Value {
    let properties = tool.schema["properties"].as_object().cloned().unwrap_or_default();
    let name = COMMANDS.iter().find(|name| properties.contains_key(**name)).copied().unwrap_or("command");
    let mut input = Map::new();
    let value = if is_type(&properties, name, "array") { json!(["bash", "-lc", command]) } else { json!(command) };
    input.insert(name.to_owned(), value);
    for needed in tool.schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !input.contains_key(needed) {
            input.insert(needed.to_owned(), filler(&properties, needed));
        }
    }
    Value::Object(input)
}

fn is_type(properties: &Map<String, Value>, name: &str, kind: &str) -> bool {
    properties.get(name).and_then(|schema| schema["type"].as_str()).is_some_and(|t| t.eq_ignore_ascii_case(kind))
}

/// Something of the right type for an argument that must be given.
fn filler(properties: &Map<String, Value>, name: &str) -> Value {
    let schema = properties.get(name).unwrap_or(&Value::Null);
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    match schema["type"].as_str().unwrap_or_default().to_ascii_lowercase().as_str() {
        "boolean" => json!(false),
        "integer" | "number" => schema.get("minimum").cloned().unwrap_or_else(|| json!(1)),
        "array" => json!([]),
        "object" => json!({}),
        _ => json!("Look at the machine"),
    }
}
