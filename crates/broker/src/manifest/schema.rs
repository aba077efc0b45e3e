//! Schemas that a manifest brings: within limits, and closed at every level.

use serde_json::Value;

use super::error::shown;

/// Levels of nesting that a schema may have.
pub const SCHEMA_DEPTH_MAX: usize = 8;
/// Properties that one object of a schema may have.
pub const SCHEMA_PROPERTIES_MAX: usize = 30;
/// Alternatives or fixed places at one place of a schema.
const PARTS_MAX: usize = 16;
/// The longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 256;

/// Words that say something of a value and hold no schema.
const PLAIN: &[&str] = &[
    "type", "title", "description", "default", "enum", "const", "examples", "format", "required", "deprecated", "readOnly", "writeOnly",
    "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems",
    "uniqueItems", "minProperties", "maxProperties", "$schema", "$comment",
];

/// Checks the schema of a tool's arguments, or of a configuration: an object, closed at every level.
///
/// # Errors
/// The key below the schema, and what is wrong with it.
pub(super) fn check(schema: &Value) -> Result<(), (String, String)> {
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        return Err((String::new(), "must have type = \"object\"".to_owned()));
    }
    level(schema, "", 1)
}

fn level(schema: &Value, at: &str, depth: usize) -> Result<(), (String, String)> {
    let wrong = |key: &str, why: &str| Err((join(at, key), why.to_owned()));
    let Some(words) = schema.as_object() else { return wrong("", "is not a schema: a table of words is needed") };
    if depth > SCHEMA_DEPTH_MAX {
        return wrong("", &format!("is nested deeper than {SCHEMA_DEPTH_MAX} levels"));
    }
    let types = schema.get("type");
    let is_object = match types {
        Some(Value::String(word)) => word == "object",
        Some(Value::Array(words)) => words.iter().any(|word| word == "object"),
        Some(_) => return wrong("type", "is neither a word nor a list of words"),
        None => ["properties", "required", "additionalProperties"].iter().any(|word| words.contains_key(*word)),
    };
    let says = ["enum", "const", "anyOf", "oneOf", "allOf"].iter().any(|word| words.contains_key(*word));
    if types.is_none() && !is_object && !says {
        return wrong("type", "is missing: a value of any form could be an object that is not closed");
    }
    if is_object && schema.get("additionalProperties") != Some(&Value::Bool(false)) {
        return wrong("additionalProperties", "must be false: an object that is not closed takes anything");
    }
    let is_list = match types {
        Some(Value::String(word)) => word == "array",
        Some(Value::Array(words)) => words.iter().any(|word| word == "array"),
        _ => false,
    };
    if is_list && !words.contains_key("items") {
        return wrong("items", "is missing: a list of anything could hold objects that are not closed");
    }
    for (word, value) in words {
        match word.as_str() {
            "properties" => properties(value, &join(at, word), depth)?,
            "additionalProperties" if value == &Value::Bool(false) => {}
            "items" if value == &Value::Bool(false) => {}
            "items" => level(value, &join(at, word), depth + 1)?,
            "anyOf" | "oneOf" | "allOf" | "prefixItems" => parts(value, &join(at, word), depth)?,
            "pattern" if value.as_str().is_some_and(|pattern| pattern.len() <= PATTERN_BYTES_MAX) => {}
            "pattern" => return wrong(word, &format!("is not a pattern of at most {PATTERN_BYTES_MAX} bytes")),
            word if PLAIN.contains(&word) => {}
            word => return wrong(&shown(word), "is a word that schemas here do not use"),
        }
    }
    Ok(())
}

fn properties(value: &Value, at: &str, depth: usize) -> Result<(), (String, String)> {
    let Some(all) = value.as_object() else { return Err((at.to_owned(), "is not a table".to_owned())) };
    if all.len() > SCHEMA_PROPERTIES_MAX {
        return Err((at.to_owned(), format!("has {} properties; at most {SCHEMA_PROPERTIES_MAX} are taken", all.len())));
    }
    for (name, schema) in all {
        if matches!(name.as_str(), "__proto__" | "constructor" | "prototype") || name.is_empty() || name.len() > 128 {
            return Err((join(at, &shown(name)), "is not a name for a property".to_owned()));
        }
        level(schema, &join(at, &shown(name)), depth + 1)?;
    }
    Ok(())
}

fn parts(value: &Value, at: &str, depth: usize) -> Result<(), (String, String)> {
    match value.as_array() {
        Some(all) if !all.is_empty() && all.len() <= PARTS_MAX => {
            all.iter().enumerate().try_for_each(|(n, part)| level(part, &format!("{at}[{n}]"), depth + 1))
        }
        _ => Err((at.to_owned(), format!("is not a list of 1 to {PARTS_MAX} schemas"))),
    }
}

/// A key below another.
pub(super) fn join(at: &str, key: &str) -> String {
    match (at.is_empty(), key.is_empty()) {
        (true, _) => key.to_owned(),
        (_, true) => at.to_owned(),
        (false, false) => format!("{at}.{key}"),
    }
}
