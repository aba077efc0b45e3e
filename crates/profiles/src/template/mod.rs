//! Templates: a prompt from names and values.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use serde_json::Map;

use crate::meter::Meter;
use crate::{CONTENT_CHARS_MAX, ProfileError, Undefined, VARIABLES_BYTES_MAX, filters, guard, methods};

/// Steps that one rendering may take.
pub const STEPS_MAX: u64 = 200_000;
/// Steps that it may take when its variables are large: each step may then work on more.
const STEPS_OF_LARGE_MAX: u64 = 50_000;
/// From how many bytes on they are large.
const LARGE_BYTES: usize = 64 << 10;
/// The longest text that a template may make, in bytes.
pub const OUTPUT_BYTES_MAX: usize = 4 << 20;
/// Templates that one rendering may choose from.
pub const TEMPLATES_MAX: usize = 1000;
/// How deep templates may include each other.
const DEPTH_MAX: usize = 100;

/// Checks a template's name-independent form: that it can be read, and that its shape is allowed.
///
/// # Errors
/// [`ProfileError::Template`] names the line, [`ProfileError::Long`].
pub fn check_template(name: &str, text: &str) -> Result<(), ProfileError> {
    if text.chars().count() > CONTENT_CHARS_MAX {
        return Err(ProfileError::Long { what: format!("the template `{name}`"), max: CONTENT_CHARS_MAX, unit: "characters" });
    }
    guard::check(name, text)
}

/// The templates that one rendering can see, by their names. There is nowhere else to look.
#[derive(Debug, Clone, Default)]
pub struct Templates {
    texts: BTreeMap<String, String>,
}

impl Templates {
    /// Adds a template, unless there are [`TEMPLATES_MAX`].
    ///
    /// # Errors
    /// [`ProfileError::Long`].
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), ProfileError> {
        if self.texts.len() >= TEMPLATES_MAX {
            return Err(ProfileError::Long { what: "the templates".to_owned(), max: TEMPLATES_MAX, unit: "entries" });
        }
        self.texts.insert(name.to_owned(), text.to_owned());
        Ok(())
    }

    /// The name under which a template is there: as it stands, or in `directory` with its usual ending.
    #[must_use]
    pub fn find(&self, directory: &str, name: &str) -> Option<String> {
        let candidates = [name.to_owned(), format!("{directory}/{name}.md.j2"), format!("{directory}/{name}")];
        candidates.into_iter().find(|candidate| self.texts.contains_key(candidate))
    }

    /// Renders the template `name`.
    ///
    /// # Errors
    /// [`ProfileError::Missing`], [`ProfileError::Template`] when it or one that it includes may not be used, and
    /// [`ProfileError::Render`] when a name is not defined or a limit is reached.
    pub fn render(&self, name: &str, variables: &Map<String, serde_json::Value>, undefined: Undefined) -> Result<String, ProfileError> {
        let text = self.texts.get(name).ok_or_else(|| ProfileError::Missing(name.to_owned()))?;
        self.render_text(name, text, variables, undefined)
    }

    /// Renders a template that is not kept; it may include those that are.
    ///
    /// # Errors
    /// As [`Templates::render`].
    pub fn render_text(
        &self,
        name: &str,
        text: &str,
        variables: &Map<String, serde_json::Value>,
        undefined: Undefined,
    ) -> Result<String, ProfileError> {
        check_template(name, text)?;
        if !text.contains("{{") && !text.contains("{%") && !text.contains("{#") {
            return Ok(text.to_owned());
        }
        let bytes = serde_json::to_string(variables).map_or(usize::MAX, |text| text.len());
        if bytes > VARIABLES_BYTES_MAX {
            return Err(ProfileError::Long { what: "the variables".to_owned(), max: VARIABLES_BYTES_MAX, unit: "bytes" });
        }
        let meter = Arc::new(Meter::new(OUTPUT_BYTES_MAX, Instant::now()));
        let mut env = environment(&meter, undefined, if bytes > LARGE_BYTES { STEPS_OF_LARGE_MAX } else { STEPS_MAX });
        let texts = self.texts.clone();
        // Only what is asked for is compiled, and nothing is compiled that was not checked.
        env.set_loader(move |name| match texts.get(name) {
            None => Ok(None),
            Some(text) => match check_template(name, text) {
                Ok(()) => Ok(Some(text.clone())),
                Err(error) => Err(Error::new(ErrorKind::InvalidOperation, error.to_string())),
            },
        });
        let failed = |error: &Error| failure(name, error, variables);
        env.add_template_owned(name.to_owned(), text.to_owned()).map_err(|error| failed(&error))?;
        let template = env.get_template(name).map_err(|error| failed(&error))?;
        let mut out = Bounded { bytes: Vec::new() };
        template.render_captured_to(Value::from(Serde(variables)), &mut out).map(drop).map_err(|error| failed(&error))?;
        Ok(String::from_utf8_lossy(&out.bytes).into_owned())
    }
}

fn environment(meter: &Arc<Meter>, undefined: Undefined, steps: u64) -> Environment<'static> {
    let mut env = Environment::empty();
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_undefined_behavior(match undefined {
        Undefined::Error => UndefinedBehavior::SemiStrict,
        Undefined::Empty => UndefinedBehavior::Chainable,
    });
    env.set_fuel(Some(steps));
    env.set_recursion_limit(DEPTH_MAX);
    filters::install(&mut env, meter);
    let counting = Arc::clone(meter);
    env.set_unknown_method_callback(move |state, value, name, args| methods::call(&counting, state, value, name, args));
    let counting = Arc::clone(meter);
    env.set_formatter(move |out, state, value| {
        counting.write(value.as_str().map_or(0, str::len))?;
        minijinja::escape_formatter(out, state, value)
    });
    env
}

/// A text up to its limit.
struct Bounded {
    bytes: Vec<u8>,
}

impl Write for &mut Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + bytes.len() > OUTPUT_BYTES_MAX {
            return Err(std::io::Error::other(format!("it writes more than {OUTPUT_BYTES_MAX} bytes")));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What went wrong, without the values.
fn failure(name: &str, error: &Error, variables: &Map<String, serde_json::Value>) -> ProfileError {
    let mut innermost: &(dyn std::error::Error + 'static) = error;
    let mut named = error;
    while let Some(source) = innermost.source() {
        if let Some(source) = source.downcast_ref::<Error>() {
            named = source;
        }
        innermost = source;
    }
    let line = named.line().and_then(|line| u32::try_from(line).ok()).unwrap_or(0);
    let name = named.name().unwrap_or(name).to_owned();
    let why = match named.kind() {
        ErrorKind::OutOfFuel => format!("it takes more than {STEPS_MAX} steps"),
        ErrorKind::TemplateNotFound => "a template that it names does not exist".to_owned(),
        ErrorKind::UndefinedError => {
            let known: Vec<&str> = variables.keys().map(String::as_str).take(20).collect();
            let detail = named.detail().unwrap_or("a name is not defined");
            format!("{detail}; defined are {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") })
        }
        kind => named.detail().map_or_else(|| format!("{kind}: {innermost}"), str::to_owned),
    };
    let why: String = why.chars().take(WHY_CHARS_MAX).collect();
    ProfileError::Render { name, line, why }
}

/// How much of a complaint is shown, in characters.
const WHY_CHARS_MAX: usize = 500;

#[cfg(test)]
mod tests;
