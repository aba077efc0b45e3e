//! Variables of a prompt: what they are, and what comes of what a request brings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ProfileError;

/// Variables that one prompt may declare.
pub const VARIABLES_MAX: usize = 200;
/// What all values of one rendering may have together as JSON, in bytes.
pub const VARIABLES_BYTES_MAX: usize = 1 << 20;
/// The longest name of a variable, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// The type of a variable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VarType {
    /// A text.
    #[default]
    String,
    /// A whole number.
    Integer,
    /// A number.
    Float,
    /// True or false.
    Boolean,
}

/// A declared variable.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Its type.
    #[serde(default, rename = "type")]
    pub kind: VarType,
    /// What it is when a request does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Whether a request must say it. A default is then an example only.
    #[serde(default)]
    pub required: bool,
    /// The values that it may have; any of its type when empty.
    #[serde(default, rename = "enum", skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<Value>,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whether it was declared by its default alone: then it takes a value of any type.
    #[serde(skip)]
    pub is_legacy: bool,
}

/// The variables of a prompt, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Variables(pub BTreeMap<String, Variable>);

impl Variables {
    /// Reads declarations: each a table, or a default alone.
    pub(crate) fn read(section: &str, table: &Map<String, Value>) -> Result<Self, ProfileError> {
        if table.len() > VARIABLES_MAX {
            return Err(ProfileError::Value { key: format!("{section}.variables"), why: format!("has more than {VARIABLES_MAX} entries") });
        }
        let mut variables = BTreeMap::new();
        for (name, declared) in table {
            let key = || format!("{section}.variables.{}", name.escape_debug().take(NAME_BYTES_MAX).collect::<String>());
            check_name(name).map_err(|why| ProfileError::Value { key: key(), why })?;
            let variable = match declared {
                Value::Object(_) => serde_json::from_value::<Variable>(declared.clone())
                    .map_err(|error| ProfileError::Value { key: key(), why: format!("cannot be read: {error}") })?,
                default => Variable { default: Some(default.clone()), is_legacy: true, ..Variable::default() },
            };
            variable.check().map_err(|why| ProfileError::Value { key: key(), why })?;
            variables.insert(name.clone(), variable);
        }
        Ok(Self(variables))
    }

    /// What a template is rendered with: what is given, with the defaults of what is not. What is given and not declared
    /// passes through.
    ///
    /// # Errors
    /// [`ProfileError::Variable`] names the variable that is missing, of the wrong type or not one of its values;
    /// [`ProfileError::Long`] when all together are longer than [`VARIABLES_BYTES_MAX`].
    pub fn complete(&self, given: &Map<String, Value>) -> Result<Map<String, Value>, ProfileError> {
        let mut all = Map::new();
        let wrong = |name: &str, why: String| ProfileError::Variable { name: name.chars().take(NAME_BYTES_MAX).collect(), why };
        for (name, value) in given {
            check_name(name).map_err(|why| wrong(name, why))?;
            let value = match self.0.get(name) {
                Some(variable) => variable.take(value).map_err(|why| wrong(name, why))?,
                None => value.clone(),
            };
            all.insert(name.clone(), value);
        }
        for (name, variable) in &self.0 {
            if all.contains_key(name) {
                continue;
            }
            match &variable.default {
                _ if variable.required => return Err(wrong(name, missing(variable))),
                Some(default) => {
                    all.insert(name.clone(), default.clone());
                }
                None => {}
            }
        }
        let bytes = Value::Object(all.clone()).to_string().len();
        if bytes > VARIABLES_BYTES_MAX {
            return Err(ProfileError::Long { what: "the variables".to_owned(), max: VARIABLES_BYTES_MAX, unit: "bytes" });
        }
        Ok(all)
    }
}

fn missing(variable: &Variable) -> String {
    if variable.description.is_empty() { "it must be given".to_owned() } else { format!("it must be given ({})", variable.description) }
}

impl Variable {
    fn check(&self) -> Result<(), String> {
        if self.is_legacy {
            return Ok(());
        }
        for value in self.one_of.iter().chain(&self.default) {
            let fitting = self.cast(value).ok_or_else(|| format!("has a default or a value that is no {}", self.kind.word()))?;
            if !self.one_of.is_empty() && !self.one_of.iter().any(|one| self.cast(one).as_ref() == Some(&fitting)) {
                return Err("has a default that is not one of its values".to_owned());
            }
        }
        Ok(())
    }

    /// A value of this variable.
    fn take(&self, value: &Value) -> Result<Value, String> {
        if self.is_legacy {
            return Ok(value.clone());
        }
        let taken = self.cast(value).ok_or_else(|| format!("it must be {} {}", self.kind.article(), self.kind.word()))?;
        if self.one_of.is_empty() || self.one_of.iter().any(|one| self.cast(one).as_ref() == Some(&taken)) {
            return Ok(taken);
        }
        let words: Vec<String> = self.one_of.iter().map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned)).collect();
        Err(format!("it must be one of {}", words.join(", ")))
    }

    /// The value as this type, where it is one: numbers and words for them, since forms of web pages know only texts.
    fn cast(&self, value: &Value) -> Option<Value> {
        match (self.kind, value) {
            (VarType::String, Value::String(_)) | (VarType::Boolean, Value::Bool(_)) => Some(value.clone()),
            (VarType::String, Value::Number(number)) => Some(Value::String(number.to_string())),
            (VarType::Integer, Value::Number(number)) => whole(number),
            (VarType::Integer, Value::String(text)) => text.trim().parse::<i64>().ok().map(Value::from),
            (VarType::Float, Value::Number(number)) => number.as_f64().map(Value::from),
            (VarType::Float, Value::String(text)) => text.trim().parse::<f64>().ok().filter(|f| f.is_finite()).map(Value::from),
            (VarType::Boolean, Value::String(text)) => match text.trim() {
                "true" => Some(Value::Bool(true)),
                "false" => Some(Value::Bool(false)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A number without a fraction. JSON knows 5.0 too.
fn whole(number: &serde_json::Number) -> Option<Value> {
    if let Some(whole) = number.as_i64() {
        return Some(Value::from(whole));
    }
    let float = number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15)?;
    format!("{float:.0}").parse::<i64>().ok().map(Value::from)
}

impl VarType {
    fn word(self) -> &'static str {
        match self {
            VarType::String => "string",
            VarType::Integer => "integer",
            VarType::Float => "float",
            VarType::Boolean => "boolean",
        }
    }

    fn article(self) -> &'static str {
        if self == VarType::Integer { "an" } else { "a" }
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let begins = |c: char| c.is_alphabetic() || c == '_';
    if name.len() > NAME_BYTES_MAX || !name.starts_with(begins) || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return Err(format!("is no name of a variable: at most {NAME_BYTES_MAX} letters, digits and `_`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn variables(value: Value) -> Result<Variables, ProfileError> {
        Variables::read("prompt", value.as_object().expect("a table"))
    }

    fn complete(declared: Value, given: Value) -> Result<Value, String> {
        let declared = variables(declared).map_err(|e| e.to_string())?;
        declared.complete(given.as_object().expect("a map")).map(Value::Object).map_err(|e| e.to_string())
    }

    #[test]
    fn values_are_checked_and_completed() {
        let check = |declared: Value, given: Value, expect: Result<Value, &str>| {
            let got = complete(declared.clone(), given.clone());
            match expect {
                Ok(value) => assert_eq!(got, Ok(value), "{declared} {given}"),
                Err(part) => assert!(got.as_ref().is_err_and(|e| e.contains(part)), "{declared} {given}: {got:?}"),
            }
        };
        check(json!({ "a": { "default": "x" } }), json!({}), Ok(json!({ "a": "x" })));
        check(json!({ "a": "x" }), json!({ "a": [1], "b": 2 }), Ok(json!({ "a": [1], "b": 2 })));
        check(json!({ "a": { "default": "x", "required": true } }), json!({}), Err("`a`: it must be given"));
        check(json!({ "a": { "required": true, "description": "the question" } }), json!({}), Err("the question"));
        check(json!({ "a": { "type": "integer" } }), json!({ "a": "7" }), Ok(json!({ "a": 7 })));
        check(json!({ "a": { "type": "integer" } }), json!({ "a": 7.0 }), Ok(json!({ "a": 7 })));
        check(json!({ "a": { "type": "integer" } }), json!({ "a": 7.5 }), Err("an integer"));
        check(json!({ "a": { "type": "float" } }), json!({ "a": 7 }), Ok(json!({ "a": 7.0 })));
        check(json!({ "a": { "type": "boolean" } }), json!({ "a": "false" }), Ok(json!({ "a": false })));
        check(json!({ "a": { "type": "boolean" } }), json!({ "a": 1 }), Err("a boolean"));
        check(json!({ "a": { "type": "string" } }), json!({ "a": [] }), Err("a string"));
        check(json!({ "a": { "enum": ["x", "y"] } }), json!({ "a": "z" }), Err("one of x, y"));
        check(json!({ "a": { "enum": ["x"], "default": "y" } }), json!({}), Err("not one of its values"));
        check(json!({ "a": { "type": "text" } }), json!({}), Err("prompt.variables.a"));
        check(json!({ "a": { "kind": "string" } }), json!({}), Err("prompt.variables.a"));
        check(json!({ "a-b": "x" }), json!({}), Err("no name of a variable"));
        check(json!({}), json!({ "__class__.x": 1 }), Err("no name of a variable"));
        check(json!({}), json!({ "a": "x".repeat(VARIABLES_BYTES_MAX) }), Err("more than"));
    }
}
