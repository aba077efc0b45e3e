//! Stage 3: the arguments fit the tool's schema.

use model::Code;
use serde_json::Value;

use crate::refusal::{Refusal, shown};
use crate::tool::Entry;

/// The stage's number.
pub(crate) const STAGE: u8 = 3;
/// Faults that are named; more are only counted.
const FAULTS_MAX: usize = 20;
/// Characters of one fault. What the client sent is not repeated in it.
const FAULT_CHARS_MAX: usize = 200;

/// Checks the arguments.
pub(crate) fn check(entry: &Entry, arguments: &Value) -> Result<(), Refusal> {
    if entry.validator.is_valid(arguments) {
        return Ok(());
    }
    let (mut faults, mut field, mut more) = (Vec::new(), None, 0usize);
    for error in entry.validator.iter_errors(arguments) {
        let path = error.instance_path().as_str();
        field.get_or_insert_with(|| named(path, &error));
        if faults.len() == FAULTS_MAX {
            more += 1;
            continue;
        }
        let place = if path.is_empty() { "arguments".to_owned() } else { shown(path, 64) };
        faults.push(format!("{place}: {}", shown(&error.masked_with("the value").to_string(), FAULT_CHARS_MAX)));
    }
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let message = format!("the arguments do not fit {}: {}{more}", entry.tool.name, faults.join("; "));
    let refusal = Refusal::new(STAGE, Code::ValidationFailed, message);
    Err(match field {
        Some(field) if !field.is_empty() => refusal.field(field),
        _ => refusal,
    })
}

/// The argument that an error is about: `to`, `items.0.name`; for one that is missing or unknown, its own name.
fn named(path: &str, error: &jsonschema::ValidationError<'_>) -> String {
    use jsonschema::error::ValidationErrorKind as Kind;
    let own = match error.kind() {
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => unexpected.first().cloned(),
        Kind::Required { property } => property.as_str().map(str::to_owned),
        _ => None,
    };
    let steps = path.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).chain(own);
    shown(&steps.collect::<Vec<_>>().join("."), 64)
}
