//! What the owner configured for a plugin, held against what its manifest takes.

use serde_json::{Map, Value};

/// Faults of one configuration that are named.
const FAULTS_MAX: usize = 5;
/// The longest fault, in characters.
const FAULT_CHARS_MAX: usize = 200;

/// What is wrong with a plugin's configuration; empty when nothing is. Without a schema every key is wrong.
#[must_use]
pub fn config_faults(schema: Option<&Value>, config: &Map<String, Value>) -> Vec<String> {
    let Some(schema) = schema else {
        return config.keys().map(|key| format!("`{}` is not known: the plugin takes no configuration", key.escape_debug())).collect();
    };
    let validator = match jsonschema::validator_for(schema) {
        Ok(validator) => validator,
        Err(error) => return vec![format!("its schema cannot be used: {}", short(&error.to_string()))],
    };
    let config = Value::Object(config.clone());
    let fault = |error: jsonschema::ValidationError<'_>| {
        let at = error.instance_path().to_string();
        // A value may be one that the owner did not want to show; its place is enough, with the rule that it breaks.
        format!("{}: {}", if at.is_empty() { "/" } else { &at }, short(&error.masked().to_string()))
    };
    validator.iter_errors(&config).take(FAULTS_MAX).map(fault).collect()
}

fn short(text: &str) -> String {
    text.escape_debug().take(FAULT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_configuration_is_held_against_its_schema() {
        let schema =
            json!({ "type": "object", "additionalProperties": false, "required": ["url"], "properties": { "url": { "type": "string" } } });
        let faults = |schema: Option<&Value>, config: Value| config_faults(schema, config.as_object().unwrap()).len();
        assert_eq!(faults(Some(&schema), json!({ "url": "x" })), 0);
        assert_eq!(faults(None, json!({})), 0);
        for bad in [json!({}), json!({ "url": 7 }), json!({ "url": "x", "other": 1 })] {
            assert!(faults(Some(&schema), bad.clone()) > 0, "{bad}");
        }
        assert_eq!(faults(None, json!({ "url": "x" })), 1);
        let said = config_faults(Some(&schema), json!({ "url": ["hunter2"] }).as_object().unwrap()).join("\n");
        assert!(said.contains("/url") && !said.contains("hunter2"), "{said}");
    }
}
