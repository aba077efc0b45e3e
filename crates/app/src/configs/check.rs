//! Whether a text can be kept.

use model::{Code, Failure};
use profiles::{CONTENT_CHARS_MAX, ConfigKind, Profile};

/// Checks a text: that it can be read, and what of it will be passed over.
///
/// # Errors
/// The name or the text cannot be used; the message names the key or the line.
pub(super) fn check(kind: ConfigKind, name: &str, content: &str) -> Result<Vec<String>, Failure> {
    profiles::check_name(kind, name).map_err(|e| e.failure().field("name"))?;
    let wrong = |why: String| Failure::new(Code::Usage, why).field("content");
    if content.chars().count() > CONTENT_CHARS_MAX {
        return Err(
            Failure::new(Code::TooLarge, format!("a {} has at most {CONTENT_CHARS_MAX} characters", kind.as_str())).field("content")
        );
    }
    if content.contains('\0') {
        return Err(wrong("the text holds a NUL".to_owned()));
    }
    match kind {
        ConfigKind::Profile => {
            let read = Profile::parse(content).map_err(|e| e.failure())?;
            let mut warnings: Vec<String> = read.unknown.iter().map(|key| format!("`{key}` means nothing here")).collect();
            for rule in &read.profile.egress {
                rule.parse::<model::EgressRule>().map_err(|e| wrong(format!("egress.allow: {e}")))?;
            }
            if let Some(engine) = &read.profile.engine
                && engine.starts_with("program:")
            {
                warnings.push("a profile names an engine by its name, not by a path".to_owned());
            }
            Ok(warnings)
        }
        ConfigKind::Template => profiles::check_template(name, content).map(|()| Vec::new()).map_err(|e| e.failure()),
        ConfigKind::Hook if content.trim().is_empty() => Err(wrong("the script is empty".to_owned())),
        ConfigKind::Hook => Ok(Vec::new()),
        ConfigKind::Engine => engine(name, content, wrong),
    }
}

/// A built-in engine's description is for people; any other drives a program.
fn engine(name: &str, content: &str, wrong: impl Fn(String) -> Failure) -> Result<Vec<String>, Failure> {
    if engines::by_name(name).is_some() {
        let named = engines::described_name(content).ok_or_else(|| wrong("the description of an engine cannot be read".to_owned()))?;
        return if named == name { Ok(Vec::new()) } else { Err(wrong(format!("it describes `{}`", named.escape_debug()))) };
    }
    let custom = engines::Custom::parse(content).map_err(|e| wrong(format!("failed to {e}")))?;
    let named = engines::Engine::name(&custom);
    if named == name { Ok(Vec::new()) } else { Err(wrong(format!("it describes the engine `{named}`, not `{name}`"))) }
}
