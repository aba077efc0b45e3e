//! The tools that a manifest declares: the one place where their names, descriptions and schemas are written.

use serde_json::{Value, json};

/// The tools of a manifest in the form of MCP's `tools/list`.
///
/// # Panics
/// The text is part of this program; one that is no manifest is found by this crate's tests.
pub(crate) fn tools(manifest: &str) -> Vec<Value> {
    let table: toml::Table = manifest.parse().expect("a shipped manifest is TOML");
    let tools = table.get("provides").and_then(|p| p.get("tools")).or_else(|| table.get("tools"));
    let tools = tools.and_then(toml::Value::as_array).map(Vec::as_slice).unwrap_or_default();
    tools.iter().map(tool).collect()
}

fn tool(tool: &toml::Value) -> Value {
    let text = |key: &str| tool.get(key).and_then(toml::Value::as_str).unwrap_or_default();
    let schema = tool.get("arguments_schema").map_or_else(|| json!({"type": "object"}), |schema| json!(schema));
    json!({
        "name": text("name"),
        "description": text("description"),
        "inputSchema": schema,
        "annotations": {"readOnlyHint": text("risk_level") == "low"},
    })
}
