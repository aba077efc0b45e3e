//! What a template would make or change: three states of each field are held against one another.

use model::Failure;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::plugins::folder::hex;

/// What becomes of a field of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TemplateField {
    /// The field.
    pub field: String,
    /// What it is now; null for a new agent.
    pub now: Value,
    /// What it will be.
    pub then: Value,
    /// `set`: the template's word, where nobody changed it; `kept`: the owner changed it, and it stays, though the template has another word.
    pub how: String,
}

/// A task of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TemplateTask {
    /// Its name: the agent's and its own.
    pub name: String,
    /// When it is due.
    pub cron: String,
    /// The zone that this is read in.
    pub zone: String,
    /// What is said to the agent.
    pub text: String,
    /// Whether it is made now, and paused; else it was before, and is the owner's.
    pub makes: bool,
}

/// What a template would make or change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TemplatePlan {
    /// The agent.
    pub agent: String,
    /// The template.
    pub template: String,
    /// Whether the agent is there already.
    pub updates: bool,
    /// The fields that change, and those that the owner's word keeps.
    pub fields: Vec<TemplateField>,
    /// Its tasks.
    pub tasks: Vec<TemplateTask>,
    /// What is still missing before it can be made.
    pub needs: Vec<String>,
    /// What to do next.
    pub hints: Vec<String>,
    /// What a yes is for.
    pub hash: String,
}

impl TemplatePlan {
    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.updates && !self.fields.iter().any(|field| field.how == "set") && !self.tasks.iter().any(|task| task.makes)
    }

    /// The hash over everything that would be done, and from what state.
    pub(super) fn seal(&mut self) {
        let text = json!([self.agent, self.template, self.updates, self.fields, self.tasks]).to_string();
        self.hash = format!("sha256:{}", hex(&Sha256::digest(text)));
    }
}

/// Brings a change of the template and a change of the owner together, field by field. `base` is what came of the template when
/// the agent was made; where both changed a list, what either took or added counts, else the owner's word stays.
pub(super) fn merge(base: &Value, mine: &Value, theirs: &Value) -> Result<(Value, Vec<TemplateField>), Failure> {
    let empty = Map::new();
    let of = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (base, mine, theirs) = (of(base), of(mine), of(theirs));
    let mut names: Vec<&String> = mine.keys().chain(theirs.keys()).collect();
    names.sort();
    names.dedup();
    let (mut out, mut fields) = (empty, Vec::new());
    for name in names {
        let get = |map: &Map<String, Value>| map.get(name).cloned().unwrap_or(Value::Null);
        let (was, now, word) = (get(&base), get(&mine), get(&theirs));
        let then = match (now == was, word == was) {
            _ if now == word => now.clone(),
            (true, _) => word.clone(),
            (false, true) => now.clone(),
            (false, false) => lists(&was, &now, &word).unwrap_or_else(|| now.clone()),
        };
        if then != now {
            fields.push(TemplateField { field: name.clone(), now, then: then.clone(), how: "set".to_owned() });
        } else if word != now && word != was {
            fields.push(TemplateField { field: name.clone(), now, then: then.clone(), how: "kept".to_owned() });
        }
        if !then.is_null() {
            out.insert(name.clone(), then);
        }
    }
    Ok((Value::Object(out), fields))
}

/// The owner's list with what the template added since, and without what it took away.
fn lists(was: &Value, now: &Value, word: &Value) -> Option<Value> {
    let none = Vec::new();
    let was = if was.is_null() { &none } else { was.as_array()? };
    let now = if now.is_null() { &none } else { now.as_array()? };
    let word = if word.is_null() { &none } else { word.as_array()? };
    let mut all: Vec<Value> = now.iter().filter(|one| word.contains(one) || !was.contains(one)).cloned().collect();
    let added = word.iter().filter(|one| !was.contains(one) && !now.contains(one)).cloned().collect::<Vec<_>>();
    all.extend(added);
    Some(Value::Array(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owners_word_stays() {
        let base = json!({ "model": "a", "instructions": "one", "tools": ["x", "y"], "group": "default" });
        let mine = json!({ "model": "mine", "instructions": "one", "tools": ["x", "z"], "group": "default" });
        let theirs = json!({ "model": "b", "instructions": "two", "tools": ["x", "y", "w"], "group": "default" });
        let (all, fields) = merge(&base, &mine, &theirs).expect("merged");
        assert_eq!(all, json!({ "model": "mine", "instructions": "two", "tools": ["x", "z", "w"], "group": "default" }));
        let shown: Vec<(&str, &str)> = fields.iter().map(|f| (f.field.as_str(), f.how.as_str())).collect();
        assert_eq!(shown, [("instructions", "set"), ("model", "kept"), ("tools", "set")]);
        // What only the owner changed is not worth a word.
        let (all, fields) = merge(&base, &mine, &base).expect("merged");
        assert_eq!((all, fields), (mine, Vec::new()));
    }

    #[test]
    fn what_the_template_takes_away_goes() {
        let (all, _) =
            merge(&json!({ "tools": ["x", "y"] }), &json!({ "tools": ["x", "y", "z"] }), &json!({ "tools": ["x"] })).expect("merged");
        assert_eq!(all, json!({ "tools": ["x", "z"] }));
        let (all, fields) = merge(&json!({ "engine": "a" }), &json!({ "engine": "a" }), &json!({})).expect("merged");
        assert_eq!((all, fields[0].then.clone()), (json!({}), Value::Null));
    }
}
