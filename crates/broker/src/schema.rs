//! Schemas of arguments: closed at every level, so that nothing passes that nobody described.
//!
//! A place in a schema is *closed* when an object there can only have fields that the schema names, or fields whose values
//! are described in their turn. Whoever writes a schema closes it; for servers made by others [`close_schema`] does.

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value, json};

/// The longest schema, as JSON, in bytes.
pub(crate) const SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// The deepest nesting of a schema.
const SCHEMA_DEPTH_MAX: usize = 32;
/// Steps that a pattern may go back while it is matched; what needs more does not match.
const PATTERN_STEPS_MAX: usize = 100_000;
/// Bytes that a compiled pattern may take.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Why a schema is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// It is longer than a schema may be.
    #[error("the schema is longer than {SCHEMA_BYTES_MAX} bytes")]
    Long,
    /// It is nested too deep.
    #[error("the schema is nested deeper than {SCHEMA_DEPTH_MAX} levels")]
    Deep,
    /// Arguments are an object, and it does not say so.
    #[error("the schema's type must be \"object\"")]
    Root,
    /// A place takes fields or values that it does not describe.
    #[error("the schema is open at `{place}`: {why}")]
    Open {
        /// A JSON pointer into the schema.
        place: String,
        /// What is missing there.
        why: &'static str,
    },
    /// It points out of itself.
    #[error("the schema refers to something outside of it at `{0}`")]
    Remote(String),
    /// No JSON Schema.
    #[error("the schema is not valid: {0}")]
    Invalid(String),
}

/// Checks a schema and compiles it.
pub(crate) fn compile(schema: &Value) -> Result<Validator, SchemaError> {
    limits(schema)?;
    let patterns = PatternOptions::fancy_regex().backtrack_limit(PATTERN_STEPS_MAX).size_limit(PATTERN_BYTES_MAX);
    let options = jsonschema::options().offline().should_validate_formats(true).with_pattern_options(patterns);
    let options = if schema.get("$schema").is_none() { options.with_draft(Draft::Draft202012) } else { options };
    let validator = options.build(schema).map_err(|error| SchemaError::Invalid(error.to_string().chars().take(300).collect()))?;
    closed(schema)?;
    Ok(validator)
}

/// Checks that a schema of arguments is an object's, closed at every level, and within its limits.
///
/// # Errors
/// The first place that is not, and why.
pub fn check_schema(schema: &Value) -> Result<(), SchemaError> {
    compile(schema).map(|_| ())
}

/// Checks a schema of a result, which may be open and of any type, within the limits of every other.
///
/// # Errors
/// It is too long or too deep, points out of itself, or is no JSON Schema.
pub fn check_output_schema(schema: &Value) -> Result<(), SchemaError> {
    compile_output(schema).map(|_| ())
}

/// Whether a value fits a schema of a result.
///
/// # Errors
/// What does not fit, a line for each place, at most [`COMPLAINTS_MAX`]; or why the schema is not taken.
pub fn fits_schema(schema: &Value, value: &Value) -> Result<(), String> {
    let validator = compile_output(schema).map_err(|e| e.to_string())?;
    let complaint = |error: jsonschema::ValidationError<'_>| format!("at `{}`: {}", error.instance_path(), error.masked());
    let complaints: Vec<String> = validator.iter_errors(value).take(COMPLAINTS_MAX).map(complaint).collect();
    if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n")) }
}

/// Places of a value that are named when it does not fit.
const COMPLAINTS_MAX: usize = 20;

fn compile_output(schema: &Value) -> Result<Validator, SchemaError> {
    inside(schema)?;
    let patterns = PatternOptions::fancy_regex().backtrack_limit(PATTERN_STEPS_MAX).size_limit(PATTERN_BYTES_MAX);
    let options = jsonschema::options().offline().should_validate_formats(true).with_pattern_options(patterns);
    let options = if schema.get("$schema").is_none() { options.with_draft(Draft::Draft202012) } else { options };
    options.build(schema).map_err(|error| SchemaError::Invalid(error.to_string().chars().take(300).collect()))
}

/// Within the limits, and pointing at nothing outside.
fn inside(schema: &Value) -> Result<(), SchemaError> {
    if serde_json::to_vec(schema).map_or(true, |bytes| bytes.len() > SCHEMA_BYTES_MAX) {
        return Err(SchemaError::Long);
    }
    within(schema, 0)?;
    local(schema, "")
}

fn limits(schema: &Value) -> Result<(), SchemaError> {
    inside(schema)?;
    if schema.get("type") != Some(&json!("object")) {
        return Err(SchemaError::Root);
    }
    Ok(())
}

fn closed(schema: &Value) -> Result<(), SchemaError> {
    let knows_unevaluated = schema.get("$schema").and_then(Value::as_str).is_none_or(|draft| draft.contains("20"));
    Look { knows_unevaluated }.closed(schema, "")?;
    for (list, name) in [("$defs", "$defs"), ("definitions", "definitions")] {
        for (key, definition) in schema.get(list).and_then(Value::as_object).into_iter().flatten() {
            Look { knows_unevaluated }.closed(definition, &format!("/{name}/{key}"))?;
        }
    }
    Ok(())
}

fn within(value: &Value, depth: usize) -> Result<(), SchemaError> {
    if depth > SCHEMA_DEPTH_MAX {
        return Err(SchemaError::Deep);
    }
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| within(item, depth + 1)),
        Value::Object(fields) => fields.values().try_for_each(|field| within(field, depth + 1)),
        _ => Ok(()),
    }
}

/// References stay inside, and point at what [`closed`] looks at: the whole, or a definition at its top.
fn local(value: &Value, place: &str) -> Result<(), SchemaError> {
    let fields = match value {
        Value::Array(items) => return items.iter().enumerate().try_for_each(|(n, item)| local(item, &format!("{place}/{n}"))),
        Value::Object(fields) => fields,
        _ => return Ok(()),
    };
    for (key, field) in fields {
        let here = format!("{place}/{key}");
        let is_data = place.ends_with("/properties") || matches!(key.as_str(), "enum" | "const" | "default" | "examples");
        let is_fine = match (key.as_str(), field) {
            ("$ref", Value::String(to)) => {
                let mut steps = to.split('/');
                to == "#" || (steps.next() == Some("#") && matches!(steps.next(), Some("$defs" | "definitions")) && steps.count() == 1)
            }
            ("$ref" | "$dynamicRef" | "$recursiveRef" | "$dynamicAnchor" | "$recursiveAnchor" | "$anchor", _) => is_data,
            ("$id" | "id", Value::String(_)) => is_data || place.is_empty(),
            _ => true,
        };
        if !is_fine {
            return Err(SchemaError::Remote(here));
        }
        if !matches!(key.as_str(), "enum" | "const" | "default" | "examples") || place.ends_with("/properties") {
            local(field, &here)?;
        }
    }
    Ok(())
}

struct Look {
    knows_unevaluated: bool,
}

impl Look {
    fn closed(&self, schema: &Value, place: &str) -> Result<(), SchemaError> {
        let open = |why| Err(SchemaError::Open { place: place.to_owned(), why });
        let fields = match schema {
            Value::Bool(false) => return Ok(()),
            Value::Object(fields) => fields,
            _ => return open("it takes anything"),
        };
        if fields.contains_key("$ref") || fields.contains_key("enum") || fields.contains_key("const") {
            // What is referred to is looked at where it stands; what is listed is closed by being listed.
            return Ok(());
        }
        let types = types_of(fields);
        if types.is_empty() {
            return self.parts_closed(fields, place);
        }
        if types.contains(&"object") {
            self.object_closed(fields, place)?;
        }
        if types.contains(&"array") {
            self.array_closed(fields, place)?;
        }
        Ok(())
    }

    /// A place without a type is as closed as what it is composed of.
    fn parts_closed(&self, fields: &Map<String, Value>, place: &str) -> Result<(), SchemaError> {
        let mut is_composed = false;
        for word in ["anyOf", "oneOf"] {
            if let Some(Value::Array(parts)) = fields.get(word) {
                is_composed = true;
                for (n, part) in parts.iter().enumerate() {
                    self.closed(part, &format!("{place}/{word}/{n}"))?;
                }
            }
        }
        if let Some(Value::Array(parts)) = fields.get("allOf")
            && !is_composed
        {
            // All hold at once, so one that is closed closes the place.
            let mut tried = parts.iter().enumerate().map(|(n, part)| self.closed(part, &format!("{place}/allOf/{n}")));
            is_composed = tried.any(|one| one.is_ok());
        }
        if is_composed { Ok(()) } else { Err(SchemaError::Open { place: place.to_owned(), why: "it has no type" }) }
    }

    fn object_closed(&self, fields: &Map<String, Value>, place: &str) -> Result<(), SchemaError> {
        for word in ["properties", "patternProperties"] {
            for (name, part) in fields.get(word).and_then(Value::as_object).into_iter().flatten() {
                self.closed(part, &format!("{place}/{word}/{}", name.replace('~', "~0").replace('/', "~1")))?;
            }
        }
        match fields.get("additionalProperties") {
            // Every name is listed here, so what it is composed of can only narrow it.
            Some(Value::Bool(false)) => return Ok(()),
            Some(part @ Value::Object(_)) => return self.closed(part, &format!("{place}/additionalProperties")),
            Some(_) => return Err(SchemaError::Open { place: place.to_owned(), why: "additionalProperties is not false" }),
            None => (),
        }
        if !(self.knows_unevaluated && fields.get("unevaluatedProperties") == Some(&Value::Bool(false))) {
            return Err(SchemaError::Open { place: place.to_owned(), why: "additionalProperties must be false" });
        }
        // Names come from the parts as well, so what stands under them must be closed there.
        let listed = ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|word| Some((word, fields.get(word)?.as_array()?)));
        let parts = listed.flat_map(|(word, parts)| parts.iter().enumerate().map(move |(n, part)| (format!("{word}/{n}"), part)));
        let single = ["then", "else"].into_iter().filter_map(|word| Some((word.to_owned(), fields.get(word)?)));
        for (at, part) in parts.chain(single) {
            self.named_closed(part, &format!("{place}/{at}"))?;
        }
        if fields.contains_key("dependentSchemas") {
            return Err(SchemaError::Open { place: place.to_owned(), why: "dependentSchemas needs additionalProperties: false" });
        }
        Ok(())
    }

    /// Looks at the fields that a part adds to an object which is closed around it.
    fn named_closed(&self, part: &Value, place: &str) -> Result<(), SchemaError> {
        let Some(fields) = part.as_object() else { return Ok(()) };
        let nested = ["allOf", "anyOf", "oneOf", "then", "else", "if", "patternProperties", "dependentSchemas", "unevaluatedProperties"];
        let is_plain = !nested.iter().any(|word| fields.contains_key(*word)) && !fields.contains_key("additionalProperties");
        if fields.contains_key("$ref") || !is_plain {
            return self.closed(part, place);
        }
        for (name, field) in fields.get("properties").and_then(Value::as_object).into_iter().flatten() {
            self.closed(field, &format!("{place}/properties/{name}"))?;
        }
        Ok(())
    }

    fn array_closed(&self, fields: &Map<String, Value>, place: &str) -> Result<(), SchemaError> {
        for (n, part) in fields.get("prefixItems").and_then(Value::as_array).into_iter().flatten().enumerate() {
            self.closed(part, &format!("{place}/prefixItems/{n}"))?;
        }
        match fields.get("items") {
            Some(Value::Array(parts)) => {
                for (n, part) in parts.iter().enumerate() {
                    self.closed(part, &format!("{place}/items/{n}"))?;
                }
                self.closed(fields.get("additionalItems").unwrap_or(&Value::Null), &format!("{place}/additionalItems"))
            }
            Some(part) => self.closed(part, &format!("{place}/items")),
            None => Err(SchemaError::Open { place: place.to_owned(), why: "items is missing" }),
        }
    }
}

fn types_of(fields: &Map<String, Value>) -> Vec<&str> {
    match fields.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Closes a schema that somebody else wrote, at every level: an object takes the fields that are named there and no others.
/// Where it took anything at all, it takes a single text, number or truth value from now on. Nothing is opened.
pub fn close_schema(schema: &mut Value) {
    if let Some(fields) = schema.as_object_mut() {
        // The protocol's schemas are of the newest draft whatever they call themselves; its words close more.
        fields.remove("$schema");
        fields.remove("$id");
        fields.remove("id").filter(|id| !id.is_string()).and_then(|id| fields.insert("id".to_owned(), id));
        fields.insert("type".to_owned(), json!("object"));
    }
    close(schema, 0, false);
}

/// Closes one place. `is_part`: what it is a part of is closed already, so only the values under its names are.
fn close(schema: &mut Value, depth: usize, is_part: bool) {
    if *schema == Value::Bool(true) || !(schema.is_object() || schema.is_boolean()) {
        *schema = json!({});
    }
    let Value::Object(fields) = schema else { return };
    if depth > SCHEMA_DEPTH_MAX {
        return;
    }
    for word in ["$defs", "definitions"] {
        for part in fields.get_mut(word).and_then(Value::as_object_mut).into_iter().flat_map(|parts| parts.values_mut()) {
            close(part, depth + 1, false);
        }
    }
    if fields.contains_key("$ref") || fields.contains_key("enum") || fields.contains_key("const") {
        return;
    }
    name_type(fields, is_part);
    let types: Vec<String> = types_of(fields).into_iter().map(str::to_owned).collect();
    let is_object = types.iter().any(|one| one == "object") || (is_part && fields.contains_key("properties"));
    for word in ["properties", "patternProperties"] {
        for part in fields.get_mut(word).and_then(Value::as_object_mut).into_iter().flat_map(|parts| parts.values_mut()) {
            close(part, depth + 1, false);
        }
    }
    let is_composed = ["allOf", "anyOf", "oneOf", "then", "else"].iter().any(|word| fields.contains_key(*word));
    for word in ["allOf", "anyOf", "oneOf"] {
        for part in fields.get_mut(word).and_then(Value::as_array_mut).into_iter().flatten() {
            close(part, depth + 1, is_part || is_object);
        }
    }
    for word in ["then", "else"] {
        if let Some(part) = fields.get_mut(word) {
            close(part, depth + 1, true);
        }
    }
    if is_object {
        close_object(fields, depth, is_part, is_composed);
    }
    if types.iter().any(|one| one == "array") {
        close_items(fields, depth);
    }
}

/// Gives a place its type where it has none.
fn name_type(fields: &mut Map<String, Value>, is_part: bool) {
    let is_composed = ["allOf", "anyOf", "oneOf"].iter().any(|word| fields.contains_key(*word));
    if is_part || fields.contains_key("type") || (is_composed && !fields.contains_key("properties")) {
        return;
    }
    let kind = if fields.contains_key("properties") || fields.contains_key("additionalProperties") {
        json!("object")
    } else if fields.contains_key("items") || fields.contains_key("prefixItems") {
        json!("array")
    } else {
        json!(["string", "number", "boolean", "null"])
    };
    fields.insert("type".to_owned(), kind);
}

fn close_object(fields: &mut Map<String, Value>, depth: usize, is_part: bool, is_composed: bool) {
    match fields.get_mut("additionalProperties") {
        // A map whose values are described stays one.
        Some(part) if part.as_object().is_some_and(|part| !part.is_empty()) => return close(part, depth + 1, false),
        Some(Value::Bool(false)) => return,
        _ => (),
    }
    fields.remove("additionalProperties");
    if is_part {
        return;
    }
    fields.remove("dependentSchemas");
    let word = if is_composed { "unevaluatedProperties" } else { "additionalProperties" };
    fields.insert(word.to_owned(), Value::Bool(false));
}

fn close_items(fields: &mut Map<String, Value>, depth: usize) {
    for part in fields.get_mut("prefixItems").and_then(Value::as_array_mut).into_iter().flatten() {
        close(part, depth + 1, false);
    }
    if let Some(Value::Array(parts)) = fields.get_mut("items") {
        // How older drafts describe the first items.
        let mut first = std::mem::take(parts);
        first.iter_mut().for_each(|part| close(part, depth + 1, false));
        let rest = fields.remove("additionalItems").unwrap_or(Value::Bool(false));
        fields.insert("prefixItems".to_owned(), Value::Array(first));
        fields.insert("items".to_owned(), rest);
    }
    let has_first = fields.contains_key("prefixItems");
    let items = fields.entry("items").or_insert_with(|| if has_first { Value::Bool(false) } else { json!({}) });
    close(items, depth + 1, false);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(inner: &Value) -> Value {
        json!({"type": "object", "additionalProperties": false, "properties": {"a": inner}})
    }

    #[test]
    fn what_is_open_anywhere_is_refused() {
        let open = json!({"type": "object", "properties": {"x": {"type": "string"}}});
        for inner in [
            json!({}),
            json!(true),
            open.clone(),
            json!({"type": "object"}),
            json!({"type": "object", "additionalProperties": true}),
            json!({"type": "object", "additionalProperties": {}}),
            json!({"type": "array"}),
            json!({"type": "array", "items": {}}),
            json!({"type": "array", "items": open}),
            json!({"type": "array", "prefixItems": [{"type": "string"}]}),
            json!({"anyOf": [{"type": "string"}, open]}),
            json!({"oneOf": [{"type": "string"}, {}]}),
            json!({"allOf": [open]}),
            json!({"type": ["string", "object"]}),
            json!({"properties": {}, "additionalProperties": false}),
            json!({"type": "object", "additionalProperties": {"type": "object"}}),
            json!({"type": "object", "unevaluatedProperties": false, "allOf": [{"properties": {"y": {}}}]}),
            json!({"not": {"type": "string"}}),
        ] {
            let result = check_schema(&object(&inner));
            assert!(matches!(result, Err(SchemaError::Open { .. })), "{inner}: {result:?}");
        }
        let mut with_defs = object(&json!({"$ref": "#/$defs/d"}));
        with_defs["$defs"] = json!({"d": {"type": "object"}});
        assert!(matches!(check_schema(&with_defs), Err(SchemaError::Open { .. })));
        assert_eq!(check_schema(&json!({"type": "string"})), Err(SchemaError::Root));
        assert_eq!(check_schema(&json!({"additionalProperties": false})), Err(SchemaError::Root));
        let old = json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "unevaluatedProperties": false});
        assert!(matches!(check_schema(&old), Err(SchemaError::Open { .. })), "an older draft does not know that word");
    }

    #[test]
    fn what_is_closed_everywhere_is_taken() {
        for inner in [
            json!({"type": "string", "pattern": "^(?!x)[a-z]+$"}),
            json!({"enum": [1, {"free": "form"}]}),
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            json!({"type": "array", "items": {"type": ["integer", "null"]}}),
            json!({"anyOf": [{"type": "null"}, {"type": "object", "additionalProperties": false}]}),
            json!({"type": "object", "properties": {"x": {"type": "string"}}, "unevaluatedProperties": false,
                "allOf": [{"properties": {"y": {"type": "number"}}}]}),
            json!({"type": "object", "additionalProperties": false, "properties": {"$ref": {"type": "string"}}}),
        ] {
            assert_eq!(check_schema(&object(&inner)), Ok(()), "{inner}");
        }
    }

    #[test]
    fn nothing_is_fetched_and_nothing_is_too_large() {
        for to in ["https://example.com/s.json", "file:///etc/passwd", "other.json", "#/properties/a", "#anchor"] {
            let result = check_schema(&object(&json!({"$ref": to})));
            assert!(matches!(result, Err(SchemaError::Remote(_))), "{to}: {result:?}");
        }
        let mut deep = json!({"type": "string"});
        for _ in 0..SCHEMA_DEPTH_MAX {
            deep = object(&deep);
        }
        assert_eq!(check_schema(&deep), Err(SchemaError::Deep));
        assert_eq!(check_schema(&object(&json!({"type": "string", "description": "x".repeat(SCHEMA_BYTES_MAX)}))), Err(SchemaError::Long));
        let pattern = json!({"type": "string", "pattern": "("});
        assert!(matches!(check_schema(&object(&pattern)), Err(SchemaError::Invalid(_))));
    }

    /// A pattern that takes exponential time elsewhere ends soon here.
    #[test]
    fn patterns_are_bounded() {
        let validator = compile(&object(&json!({"type": "string", "pattern": "^(a+)+(?!x)b$"}))).unwrap();
        let began = std::time::Instant::now();
        assert!(!validator.is_valid(&json!({"a": "a".repeat(50_000)})));
        assert!(began.elapsed() < std::time::Duration::from_secs(240));
    }

    #[test]
    fn a_foreign_schema_is_closed_at_every_level() {
        for mut foreign in [
            json!({}),
            json!({"type": "object"}),
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "properties": {
                "free": {}, "yes": true, "text": {"type": "string"}, "list": {"type": "array"}, "object": {"type": "object"},
                "deep": {"type": "object", "properties": {"more": {"properties": {"x": {"items": {}}}}}},
                "map": {"type": "object", "additionalProperties": {"type": "object"}},
                "any_map": {"type": "object", "additionalProperties": {}},
                "tuple": {"type": "array", "items": [{"type": "string"}, {}]},
                "maybe": {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"y": {"type": "number"}}}]},
                "all": {"type": "object", "properties": {"a": {"type": "string"}}, "allOf": [{"properties": {"b": {}}}]},
                "both": {"allOf": [{"type": "object", "properties": {"a": {"type": "string"}}}, {"required": ["a"]}]},
                "id": {"type": "string"}, "reference": {"$ref": "#/$defs/d"},
            }, "$defs": {"d": {"type": "object", "properties": {"z": {}}}}}),
        ] {
            close_schema(&mut foreign);
            assert_eq!(check_schema(&foreign), Ok(()), "{foreign:#}");
        }
    }

    #[test]
    fn what_was_meant_still_fits_and_nothing_else_does() {
        let mut foreign = json!({"type": "object", "properties": {
            "to": {"type": "object", "properties": {"name": {"type": "string"}}},
            "all": {"type": "object", "properties": {"a": {"type": "string"}}, "allOf": [{"properties": {"b": {"type": "integer"}}}]},
        }});
        close_schema(&mut foreign);
        let validator = compile(&foreign).unwrap();
        assert!(validator.is_valid(&json!({"to": {"name": "x"}, "all": {"a": "x", "b": 1}})));
        for bad in [
            json!({"to": {"name": "x", "bcc": "y"}}),
            json!({"cc": 1}),
            json!({"all": {"a": "x", "b": 1, "c": 2}}),
            json!({"all": {"b": "x"}}),
        ] {
            assert!(!validator.is_valid(&bad), "{bad}");
        }
    }
}
