//! What the program ships with. It stands beside what is stored, as the version before the first one, so a new program
//! brings new ones to whoever has not changed them.

use profiles::ConfigKind;

/// The version that a shipped text is.
pub(super) const SHIPPED_VERSION: u64 = 1;

macro_rules! shipped {
    ($($kind:ident $name:literal = $path:literal;)*) => {
        /// Every shipped text: its kind, its name and itself.
        const ALL: &[(ConfigKind, &str, &str)] =
            &[$((ConfigKind::$kind, $name, include_str!(concat!("../../../../share/", $path)))),*];
    };
}

shipped! {
    Profile "default" = "profiles/default.toml";
    Profile "researcher" = "profiles/researcher.toml";
    Profile "code-review" = "profiles/code-review.toml";
    Template "prompts/default.md.j2" = "templates/prompts/default.md.j2";
    Template "prompts/researcher.md.j2" = "templates/prompts/researcher.md.j2";
    Template "prompts/code-review.md.j2" = "templates/prompts/code-review.md.j2";
    Template "claude-md/worker.md.j2" = "templates/claude-md/worker.md.j2";
    Engine "claude-code" = "engines/claude-code.toml";
    Engine "codex" = "engines/codex.toml";
    Engine "opencode" = "engines/opencode.toml";
    Engine "gemini" = "engines/gemini.toml";
    Engine "mini" = "engines/mini.toml";
    Engine "gemini-acp" = "engines/gemini-acp.toml";
    Engine "opencode-acp" = "engines/opencode-acp.toml";
    Engine "aider" = "engines/aider.toml";
    Hook "clean-git.sh" = "hooks/clean-git.sh";
    Hook "report.sh" = "hooks/report.sh";
}

/// The shipped text of this name.
pub(super) fn text(kind: ConfigKind, name: &str) -> Option<&'static str> {
    ALL.iter().find(|(k, n, _)| *k == kind && *n == name).map(|(_, _, text)| *text)
}

/// The names of a kind.
pub(super) fn names(kind: ConfigKind) -> impl Iterator<Item = &'static str> {
    ALL.iter().filter(move |(k, _, _)| *k == kind).map(|(_, name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shipped_can_be_used() {
        for (kind, name, text) in ALL {
            profiles::check_name(*kind, name).expect(name);
            let warnings = super::super::check::check(*kind, name, text).expect(name);
            assert!(warnings.is_empty(), "{name}: {warnings:?}");
        }
    }
}
