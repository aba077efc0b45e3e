//! What can be wrong with a profile or a template.

/// Why a profile, a template or the variables for it cannot be used. Each message names the profile's key, the variable or
/// the template and its line; none repeats a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The name of a configuration has the wrong form.
    #[error("use the name `{name}`: {why}")]
    Name {
        /// The name, cut.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// It is longer than is kept.
    #[error("keep {what}: it has more than {max} {unit}")]
    Long {
        /// What is too long.
        what: String,
        /// How much there may be.
        max: usize,
        /// Of what.
        unit: &'static str,
    },
    /// It is no TOML, or a value has the wrong type.
    #[error("read the profile: {0}")]
    Form(String),
    /// A key of a profile has a value that cannot work.
    #[error("read the profile: `{key}` {why}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// A variable is missing, unknown or of the wrong type.
    #[error("use the variable `{name}`: {why}")]
    Variable {
        /// The variable.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// A template cannot be read, or has a shape that is not allowed.
    #[error("read the template `{name}`{}: {why}", at(*.line))]
    Template {
        /// The template.
        name: String,
        /// Its line; 0 when it is not known.
        line: u32,
        /// What is wrong.
        why: String,
    },
    /// A template failed while it was rendered.
    #[error("render the template `{name}`{}: {why}", at(*.line))]
    Render {
        /// The template.
        name: String,
        /// Its line; 0 when it is not known.
        line: u32,
        /// What is wrong.
        why: String,
    },
    /// There is no such template.
    #[error("find the template `{0}`")]
    Missing(String),
}

fn at(line: u32) -> String {
    if line == 0 { String::new() } else { format!(", line {line}") }
}

impl ProfileError {
    /// What was wrong, as a user sees it.
    #[must_use]
    pub fn failure(&self) -> model::Failure {
        let code = match self {
            ProfileError::Missing(_) => model::Code::NotFound,
            ProfileError::Long { .. } => model::Code::TooLarge,
            _ => model::Code::Usage,
        };
        let failure = model::Failure::new(code, format!("failed to {self}"));
        match self {
            ProfileError::Variable { name, .. } => failure.field(name.clone()),
            ProfileError::Value { key, .. } => failure.field(key.clone()),
            _ => failure,
        }
    }
}
