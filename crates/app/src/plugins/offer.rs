//! What a plugin offers: what its manifest names and its program lists, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use broker::manifest::{Manifest, TOOLS_MAX, ToolDef, Tools};
use broker::plugin::Listing;
use model::Risk;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A tool as agents see it. Two that are equal are the same tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Definition {
    /// What agents call it.
    pub name: String,
    /// What the program calls it.
    pub server_name: String,
    /// What it does.
    pub description: String,
    /// The schema of its arguments, closed.
    pub schema: Value,
    /// How much harm it can do.
    pub risk: Risk,
}

impl Definition {
    /// A hash over all of it, in hexadecimal: what the owner approves.
    #[must_use]
    pub fn hash(&self) -> String {
        let whole = json!({
            "name": self.name, "server_name": self.server_name, "description": self.description, "schema": self.schema, "risk": self.risk,
        });
        // Keys of objects are in order here, so equal values have equal texts.
        Sha256::digest(canonical(&whole)).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// JSON with the keys of objects in order.
pub(super) fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
            let inner: Vec<String> = sorted.iter().map(|(key, value)| format!("{}:{}", json!(key), canonical(value))).collect();
            format!("{{{}}}", inner.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        plain => plain.to_string(),
    }
}

/// What is offered.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    pub(crate) tools: Vec<Definition>,
    /// Tools that the manifest names and the program does not list, or that cannot be offered, with the reason.
    pub(crate) left_out: Vec<(String, String)>,
}

/// What a manifest alone says; `None` when the program must be asked, because a tool has no schema or the list decides.
pub(crate) fn from_manifest(manifest: &Manifest) -> Option<Vec<Definition>> {
    manifest.named_tools()?.iter().map(|tool| definition(tool, None, None)).collect()
}

/// What a plugin offers, by its manifest and its program's list.
pub(crate) fn offer(manifest: &Manifest, listing: &Listing) -> Offer {
    let mut offer = Offer::default();
    match &manifest.tools {
        Tools::Named(tools) => {
            for tool in tools {
                match listing.tools.iter().find(|listed| listed.name == tool.server_name) {
                    None => offer.left_out.push((tool.name.clone(), "its program does not list it".to_owned())),
                    Some(listed) => offer.take(tool, listed.description.as_deref(), &listed.input_schema),
                }
            }
        }
        Tools::All { .. } => {
            for listed in &listing.tools {
                let shown: String = listed.name.escape_debug().take(80).collect();
                if offer.tools.len() == TOOLS_MAX {
                    offer.left_out.push((shown, format!("a plugin offers {TOOLS_MAX} tools at most")));
                    continue;
                }
                match manifest.tool_for(&listed.name) {
                    None => offer.left_out.push((shown, "its name cannot be one of a tool".to_owned())),
                    Some(tool) => offer.take(&tool, listed.description.as_deref(), &listed.input_schema),
                }
            }
        }
    }
    offer
}

impl Offer {
    fn take(&mut self, tool: &ToolDef, description: Option<&str>, schema: &Value) {
        let names: BTreeSet<&str> = self.tools.iter().map(|t| t.name.as_str()).collect();
        if names.contains(tool.name.as_str()) {
            self.left_out.push((tool.name.clone(), "another tool of the plugin has this name".to_owned()));
            return;
        }
        match definition(tool, description, Some(schema)) {
            Some(definition) => self.tools.push(definition),
            None => self.left_out.push((tool.name.clone(), "it has no schema of its arguments".to_owned())),
        }
    }
}

/// The longest description, in characters, that is taken from a program.
const DESCRIPTION_CHARS_MAX: usize = 4_096;

fn definition(tool: &ToolDef, described: Option<&str>, listed: Option<&Value>) -> Option<Definition> {
    let mut schema = match &tool.schema {
        Some(schema) => schema.clone(),
        None => {
            let mut schema = listed.filter(|s| s.is_object())?.clone();
            broker::close_schema(&mut schema);
            schema
        }
    };
    show_words(&mut schema);
    let described = described.map(|text| text.chars().take(DESCRIPTION_CHARS_MAX).collect());
    let description = tool.description.clone().or(described).map(|text: String| visible(&text));
    Some(Definition {
        name: tool.name.clone(),
        server_name: tool.server_name.clone(),
        description: description.unwrap_or_default(),
        schema,
        risk: tool.risk,
    })
}

/// The same for every text of a schema that a model reads.
fn show_words(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if ["description", "title", "$comment"].contains(&key.as_str()) => *text = visible(text),
                    other => show_words(other),
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(show_words),
        _ => {}
    }
}

/// A program's text without what hides in it: a person who approves it must see what a model reads.
pub(crate) fn visible(text: &str) -> String {
    let hides = |c: char| matches!(u32::from(c), 0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0xfe00..=0xfe0f | 0xfeff | 0xfff9..=0xfffb | 0xe0000..=0xe0fff);
    text.chars().filter(|c| (!c.is_control() || matches!(c, '\n' | '\t')) && !hides(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> Manifest {
        Manifest::from_toml(text).unwrap()
    }

    fn listing(tools: Value) -> Listing {
        serde_json::from_value(json!({ "server": "s", "version": "1", "tools": tools })).unwrap()
    }

    #[test]
    fn only_what_both_name_is_offered_and_the_manifests_risk_counts() {
        let manifest = manifest(
            "description = \"x\"\nversion = \"1\"\ncommand = [\"x\"]\n[[tools]]\nname = \"good\"\nrisk = \"low\"\n[[tools]]\nname = \"gone\"\n",
        );
        let all = listing(json!([
            { "name": "good", "description": "does\u{200b} good\u{1b}[2J", "inputSchema": { "type": "object", "properties": { "a": { "type": "object", "properties": {} } } } },
            { "name": "extra", "inputSchema": { "type": "object" } },
        ]));
        let offer = offer(&manifest, &all);
        assert_eq!(offer.tools.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["good"]);
        let good = &offer.tools[0];
        assert_eq!((good.risk, good.description.as_str()), (Risk::Low, "does good[2J"));
        assert_eq!(
            (&good.schema["additionalProperties"], &good.schema["properties"]["a"]["additionalProperties"]),
            (&json!(false), &json!(false))
        );
        assert_eq!(offer.left_out[0].0, "gone");
        assert_eq!(from_manifest(&manifest), None, "a tool without a schema must be asked for");
    }

    #[test]
    fn a_definitions_hash_changes_with_every_part_and_with_nothing_else() {
        let usual = Definition {
            name: "a".to_owned(),
            server_name: "a".to_owned(),
            description: "d".to_owned(),
            schema: json!({ "type": "object", "properties": { "x": {}, "y": {} } }),
            risk: Risk::Low,
        };
        let same = Definition { schema: json!({ "properties": { "y": {}, "x": {} }, "type": "object" }), ..usual.clone() };
        assert_eq!(usual.hash(), same.hash());
        for other in [
            Definition { description: "e".to_owned(), ..usual.clone() },
            Definition { risk: Risk::High, ..usual.clone() },
            Definition { schema: json!({ "type": "object" }), ..usual.clone() },
            Definition { server_name: "b".to_owned(), ..usual.clone() },
        ] {
            assert_ne!(usual.hash(), other.hash());
        }
    }
}
