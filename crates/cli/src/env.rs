//! Every environment variable that the program reads, in one place.

#![expect(clippy::disallowed_methods, reason = "this is the one file that reads the environment")]

use std::path::PathBuf;

use model::{Code, Failure};

/// What the environment says, read once at start.
#[derive(Debug, Clone)]
pub(crate) struct Env {
    /// `LAZARET_HOME`, else `$HOME/.lazaret`. Absolute.
    pub(crate) home: PathBuf,
    /// `LAZARET_LOG`: what the daemon logs, for example `info` or `gateway=debug`.
    pub(crate) log: Option<String>,
    /// `LAZARET_CRASH_AT`: a named point at which the process kills itself, `POINT@N` at its N-th time there; for crash tests.
    pub(crate) crash_at: Option<String>,
    /// `LAZARET_PASSPHRASE_FILE`: a file with the passphrase of the secret store, when it has one instead of a key file.
    pub(crate) passphrase_file: Option<PathBuf>,
    /// `PATH`: where tools such as git are looked for.
    pub(crate) path: String,
    /// `NO_COLOR`: the board has no colours.
    pub(crate) no_color: bool,
}

/// The provider variables that `lazaret secret import-env` knows, with the secret that each becomes.
pub(crate) const PROVIDER_VARIABLES: &[(&str, &str)] = &[
    ("ANTHROPIC_API_KEY", "anthropic"),
    ("CLAUDE_CODE_OAUTH_TOKEN", "anthropic"),
    ("OPENAI_API_KEY", "openai"),
    ("GEMINI_API_KEY", "gemini"),
];

impl Env {
    /// Reads the environment.
    pub(crate) fn read() -> Result<Self, Failure> {
        let path = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let text = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let home = match path("LAZARET_HOME") {
            Some(home) => home,
            None => path("HOME").map(|home| home.join(".lazaret")).ok_or_else(|| {
                Failure::new(Code::Usage, "neither LAZARET_HOME nor HOME is set").hint("set LAZARET_HOME to a directory of your own")
            })?,
        };
        let home = std::path::absolute(&home).map_err(|e| Failure::new(Code::HomeUnsafe, format!("the home's path is unusable: {e}")))?;
        Ok(Self {
            home,
            log: text("LAZARET_LOG"),
            crash_at: text("LAZARET_CRASH_AT"),
            passphrase_file: path("LAZARET_PASSPHRASE_FILE"),
            path: text("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned()),
            no_color: text("NO_COLOR").is_some(),
        })
    }

    /// The provider keys of the caller's environment, as secret name and value, the first variable of a name winning.
    pub(crate) fn provider_keys() -> Vec<(&'static str, &'static str, String)> {
        let mut found: Vec<(&str, &str, String)> = Vec::new();
        for (variable, secret) in PROVIDER_VARIABLES {
            if let Ok(value) = std::env::var(variable)
                && !value.is_empty()
                && !found.iter().any(|(_, name, _)| name == secret)
            {
                found.push((variable, secret, value));
            }
        }
        found
    }

    /// A path in which a leading `~/` is the user's home.
    pub(crate) fn in_user_home(path: &str) -> PathBuf {
        let below = path.strip_prefix("~/").and_then(|rest| Some(PathBuf::from(std::env::var_os("HOME")?).join(rest)));
        below.unwrap_or_else(|| PathBuf::from(path))
    }

    /// The value of one variable that the user named with `--env NAME` (without `=`).
    pub(crate) fn named(name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}
