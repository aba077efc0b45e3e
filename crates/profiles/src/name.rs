//! What profiles, engines, templates and hooks may be called.

use serde::{Deserialize, Serialize};

use crate::ProfileError;

/// The longest name of a configuration, in characters; a template's has a directory and an ending besides.
pub const NAME_CHARS_MAX: usize = 64;
/// The directories that templates may lie in.
const DIRECTORIES: &[&str] = &["prompts", "claude-md"];
/// The ending of a template's file.
const ENDING: &str = ".md.j2";
/// How much of a wrong name is shown, in characters.
const SHOWN_CHARS: usize = 80;

/// What kind of configuration a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConfigKind {
    /// What a job runs with.
    Profile,
    /// How an agent program is driven.
    Engine,
    /// What a prompt or an instruction is rendered from.
    Template,
    /// What runs inside before or after an engine.
    Hook,
}

impl ConfigKind {
    /// Every kind.
    pub const ALL: &[ConfigKind] = &[ConfigKind::Profile, ConfigKind::Engine, ConfigKind::Template, ConfigKind::Hook];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ConfigKind::Profile => "profile",
            ConfigKind::Engine => "engine",
            ConfigKind::Template => "template",
            ConfigKind::Hook => "hook",
        }
    }

    /// The kind that this word means.
    #[must_use]
    pub fn of(word: &str) -> Option<ConfigKind> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }
}

/// Checks a name: 1 to 64 letters, digits, `_` and `-`; a template's may also be `prompts/NAME.md.j2` or
/// `claude-md/NAME.md.j2`, and a hook's may end with `.sh` or another ending of letters.
///
/// # Errors
/// [`ProfileError::Name`].
pub fn check_name(kind: ConfigKind, name: &str) -> Result<(), ProfileError> {
    let wrong = |why| Err(ProfileError::Name { name: name.escape_debug().take(SHOWN_CHARS).collect(), why });
    let fits = match kind {
        ConfigKind::Template => is_plain(name) || in_directory(name).is_some_and(is_plain),
        ConfigKind::Hook => match name.split_once('.') {
            Some((stem, ending)) => {
                is_plain(stem) && !ending.is_empty() && ending.len() <= 8 && ending.bytes().all(|b| b.is_ascii_alphanumeric())
            }
            None => is_plain(name),
        },
        ConfigKind::Profile | ConfigKind::Engine => is_plain(name),
    };
    match (fits, kind) {
        (true, _) => Ok(()),
        (false, ConfigKind::Template) => wrong("1 to 64 letters, digits, `_` and `-`, or prompts/NAME.md.j2, or claude-md/NAME.md.j2"),
        (false, _) => wrong("1 to 64 letters, digits, `_` and `-`"),
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_CHARS_MAX && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// What a template in a directory is called without it and without its ending.
fn in_directory(name: &str) -> Option<&str> {
    let (directory, file) = name.split_once('/')?;
    DIRECTORIES.contains(&directory).then(|| file.strip_suffix(ENDING))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_taken() {
        let check = |kind, name: &str, expect: bool| assert_eq!(check_name(kind, name).is_ok(), expect, "{name}");
        for kind in ConfigKind::ALL {
            check(*kind, "code-review_2", true);
            assert_eq!(ConfigKind::of(kind.as_str()), Some(*kind));
            for bad in ["", "../x", "a/b", "a b", "a\0", "é", ".x", "prompts/../x.md.j2", &"x".repeat(65)] {
                check(*kind, bad, false);
            }
        }
        check(ConfigKind::Template, "prompts/a.md.j2", true);
        check(ConfigKind::Template, "claude-md/agent-base.md.j2", true);
        check(ConfigKind::Template, "prompts/a.txt", false);
        check(ConfigKind::Template, "other/a.md.j2", false);
        check(ConfigKind::Template, "prompts/a/b.md.j2", false);
        check(ConfigKind::Profile, "prompts/a.md.j2", false);
        check(ConfigKind::Hook, "set-up.sh", true);
        check(ConfigKind::Hook, "a..sh", false);
    }
}
