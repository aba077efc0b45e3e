//! `cargo xtask clients`: the forms of the API for programs in Python and TypeScript, made from the API document.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use crate::run;

/// What the forms are made from.
const DOCUMENT: &str = "docs/reference/openapi.json";
/// What every file of forms says first.
const NOTE: &str = "Made by `cargo xtask clients` from docs/reference/openapi.json. Changes are made there.";

/// A file of forms and what writes it.
type Forms = (&'static str, fn(&Map<String, Value>) -> String);

const FILES: &[Forms] = &[("clients/python/src/lazaret/models.py", python), ("clients/typescript/src/models.ts", typescript)];

/// Writes the forms, or with `check` fails when one differs from what the document says.
pub(crate) fn run(check: bool) -> Result<()> {
    let text = run::read(&run::root().join(DOCUMENT)).with_context(|| format!("failed to read {DOCUMENT}"))?;
    let document: Value = serde_json::from_str(&text).with_context(|| format!("failed to parse {DOCUMENT}"))?;
    let schemas = document["components"]["schemas"].as_object().context("the document has no schemas")?;
    let mut stale = Vec::new();
    for (path, write) in FILES {
        let (file, text) = (run::root().join(path), write(schemas));
        if std::fs::read_to_string(&file).is_ok_and(|found| found == text) {
            continue;
        }
        if check {
            stale.push(*path);
        } else {
            std::fs::write(&file, text).with_context(|| format!("failed to write {path}"))?;
            println!("wrote {path}");
        }
    }
    if !stale.is_empty() {
        bail!("out of date: {}; run `cargo xtask clients`", stale.join(", "));
    }
    Ok(())
}

/// How a language writes types.
struct Tongue {
    any: &'static str,
    null: &'static str,
    boolean: &'static str,
    integer: &'static str,
    number: &'static str,
    text: &'static str,
    list: fn(&str) -> String,
    map: fn(&str) -> String,
    literal: fn(&str) -> String,
    named: fn(&str) -> String,
}

const PYTHON: Tongue = Tongue {
    any: "Any",
    null: "None",
    boolean: "bool",
    integer: "int",
    number: "float",
    text: "str",
    list: |item| format!("List[{item}]"),
    map: |item| format!("Dict[str, {item}]"),
    literal: |text| format!("Literal[{text:?}]"),
    named: |name| format!("{name:?}"),
};

const TYPESCRIPT: Tongue = Tongue {
    any: "unknown",
    null: "null",
    boolean: "boolean",
    integer: "number",
    number: "number",
    text: "string",
    list: |item| if item.contains('|') { format!("({item})[]") } else { format!("{item}[]") },
    map: |item| format!("{{ [key: string]: {item} }}"),
    literal: |text| format!("{text:?}"),
    named: str::to_owned,
};

impl Tongue {
    /// The alternatives that a schema stands for, without repetitions.
    fn alternatives(&self, schema: &Value) -> Vec<String> {
        let mut all = Vec::new();
        let mut add = |found: Vec<String>| {
            found.into_iter().for_each(|one| {
                if !all.contains(&one) {
                    all.push(one)
                }
            })
        };
        if let Some(at) = schema["$ref"].as_str() {
            add(vec![(self.named)(at.rsplit('/').next().unwrap_or("Value"))]);
        } else if let Some(word) = schema["const"].as_str() {
            add(vec![(self.literal)(word)]);
        } else if let Some(words) = schema["enum"].as_array() {
            add(words.iter().map(|word| word.as_str().map_or_else(|| self.null.to_owned(), self.literal)).collect());
        } else if let Some(some) = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array()) {
            some.iter().for_each(|one| add(self.alternatives(one)));
        } else {
            let names: Vec<&str> = match &schema["type"] {
                Value::String(one) => vec![one],
                Value::Array(some) => some.iter().filter_map(Value::as_str).collect(),
                _ => vec![""],
            };
            names.into_iter().for_each(|name| add(vec![self.plain(name, schema)]));
        }
        all
    }

    fn plain(&self, name: &str, schema: &Value) -> String {
        match name {
            "null" => self.null.to_owned(),
            "boolean" => self.boolean.to_owned(),
            "integer" => self.integer.to_owned(),
            "number" => self.number.to_owned(),
            "string" => self.text.to_owned(),
            "array" => (self.list)(&self.of(&schema["items"])),
            "object" => match &schema["additionalProperties"] {
                item @ Value::Object(_) => (self.map)(&self.of(item)),
                _ => (self.map)(self.any),
            },
            _ => self.any.to_owned(),
        }
    }

    fn of(&self, schema: &Value) -> String {
        let all = self.alternatives(schema);
        match all.as_slice() {
            [one] => one.clone(),
            all if self.any == PYTHON.any => format!("Union[{}]", all.join(", ")),
            all => all.join(" | "),
        }
    }
}

/// The fields of a schema: name, schema, whether it is always there. For one of several forms, the fields of all of them,
/// of which only those that all have are always there.
fn fields(schema: &Value) -> Option<Vec<(String, Value, bool)>> {
    let own = |schema: &Value| -> Vec<(String, Value, bool)> {
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let field = |(name, schema): (&String, &Value)| (name.clone(), schema.clone(), required.iter().any(|field| field == name.as_str()));
        schema["properties"].as_object().into_iter().flatten().map(field).collect()
    };
    let mut all = own(schema);
    if let Some(forms) = schema["oneOf"].as_array().filter(|_| schema["properties"].is_object()) {
        for (name, field, _) in forms.iter().flat_map(own) {
            match all.iter_mut().find(|(known, ..)| *known == name) {
                Some((_, known, _)) if *known != field => *known = serde_json::json!({ "anyOf": [known.clone(), field] }),
                Some(_) => {}
                None => all.push((name, field, false)),
            }
        }
        for (name, _, is_required) in &mut all {
            let has = |form: &Value| form["required"].as_array().is_some_and(|fields| fields.iter().any(|field| field == name.as_str()));
            *is_required = *is_required || forms.iter().all(has);
        }
    }
    (!all.is_empty()).then_some(all)
}

fn said(schema: &Value) -> Option<String> {
    schema["description"].as_str().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Forms as `TypedDict`s, written so that a word that Python keeps for itself can be a field.
fn python(schemas: &Map<String, Value>) -> String {
    let mut out = format!(
        "\"\"\"The forms of the API.\n\n{NOTE}\n\"\"\"\n\nfrom __future__ import annotations\n\nimport sys\nfrom typing import Any, Dict, List, Literal, TypedDict, Union\n\nif sys.version_info >= (3, 11):\n    from typing import NotRequired\nelse:\n    from typing import Generic, TypeVar\n\n    _T = TypeVar(\"_T\")\n\n    class NotRequired(Generic[_T]):\n        \"\"\"A field that may be left out, for interpreters that do not know the word.\"\"\"\n"
    );
    for (name, schema) in schemas {
        out.push('\n');
        match fields(schema) {
            Some(fields) => {
                let _ = writeln!(out, "{name} = TypedDict(\n    {name:?},\n    {{");
                for (field, schema, is_required) in fields {
                    if let Some(text) = said(&schema) {
                        let _ = writeln!(out, "        # {text}");
                    }
                    let kind = PYTHON.of(&schema);
                    let kind = if is_required { kind } else { format!("NotRequired[{kind}]") };
                    let _ = writeln!(out, "        {field:?}: {:?},", kind.replace('"', "'"));
                }
                out.push_str("    },\n)\n");
            }
            None => {
                let _ = writeln!(out, "{name} = {}", PYTHON.of(schema));
            }
        }
        if let Some(text) = said(schema) {
            let _ = writeln!(out, "# {name}: {text}");
        }
    }
    out
}

/// Forms as interfaces.
fn typescript(schemas: &Map<String, Value>) -> String {
    let mut out = format!("// The forms of the API.\n// {NOTE}\n");
    for (name, schema) in schemas {
        out.push('\n');
        if let Some(text) = said(schema) {
            let _ = writeln!(out, "/** {} */", text.replace("*/", "* /"));
        }
        match fields(schema) {
            Some(fields) => {
                let _ = writeln!(out, "export interface {name} {{");
                for (field, schema, is_required) in fields {
                    if let Some(text) = said(&schema) {
                        let _ = writeln!(out, "  /** {} */", text.replace("*/", "* /"));
                    }
                    let mark = if is_required { "" } else { "?" };
                    let _ = writeln!(out, "  {field:?}{mark}: {};", TYPESCRIPT.of(&schema));
                }
                out.push_str("}\n");
            }
            None => {
                let _ = writeln!(out, "export type {name} = {};", TYPESCRIPT.of(schema));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_become_types() {
        let check = |schema: Value, python: &str, typescript: &str| {
            assert_eq!((PYTHON.of(&schema).as_str(), TYPESCRIPT.of(&schema).as_str()), (python, typescript), "{schema}");
        };
        check(json!({ "type": "string" }), "str", "string");
        check(json!({ "type": ["integer", "null"] }), "Union[int, None]", "number | null");
        check(json!({ "type": "array", "items": { "type": ["string", "null"] } }), "List[Union[str, None]]", "(string | null)[]");
        check(json!({ "type": "object", "additionalProperties": { "type": "string" } }), "Dict[str, str]", "{ [key: string]: string }");
        check(json!({ "enum": ["a", "b"] }), "Union[Literal[\"a\"], Literal[\"b\"]]", "\"a\" | \"b\"");
        check(json!({ "$ref": "#/components/schemas/JobView" }), "\"JobView\"", "JobView");
        check(json!({}), "Any", "unknown");
        check(json!(true), "Any", "unknown");
    }

    #[test]
    fn one_of_several_forms_has_the_fields_of_all() {
        let schema = json!({
            "properties": { "seq": { "type": "integer" } }, "required": ["seq"],
            "oneOf": [
                { "properties": { "type": { "const": "a" }, "x": { "type": "string" } }, "required": ["type", "x"] },
                { "properties": { "type": { "const": "b" } }, "required": ["type"] },
            ],
        });
        let fields = fields(&schema).expect("fields");
        let names: Vec<(&str, bool)> = fields.iter().map(|(name, _, required)| (name.as_str(), *required)).collect();
        assert_eq!(names, [("seq", true), ("type", true), ("x", false)]);
    }
}
