//! Why a manifest is not taken.

use model::{Code, Failure};

/// Why a manifest, or the folder that it describes, is not taken. Texts of the manifest in it are escaped.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// There is no manifest.
    #[error("find a manifest: there is neither manifest.toml nor manifest.json")]
    Missing,
    /// There are two.
    #[error("choose a manifest: there are both manifest.toml and manifest.json")]
    Two,
    /// A file cannot be read.
    #[error("read {file}")]
    Read {
        /// Which, relative to the folder.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not TOML or JSON, or a key is unknown or has a value of the wrong form.
    #[error("understand {file}, line {line}: {why}")]
    Syntax {
        /// Which file.
        file: &'static str,
        /// Where, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// A key has a value that is not taken.
    #[error("accept `{key}` in {file}: {why}")]
    Key {
        /// Which file.
        file: &'static str,
        /// Which key, as a path.
        key: String,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// A file of the folder is not taken.
    #[error("accept {file}: {why}")]
    File {
        /// Which, relative to the folder.
        file: String,
        /// What is wrong.
        why: String,
    },
}

impl ManifestError {
    /// The same for people and programs.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let what = match self {
            Self::Missing => "there is neither manifest.toml nor manifest.json".to_owned(),
            Self::Two => "there are both manifest.toml and manifest.json".to_owned(),
            Self::Read { file, source } => format!("{file} cannot be read: {source}"),
            Self::Syntax { file, line, why } => format!("{file}, line {line}: {why}"),
            Self::Key { file, key, why } => format!("{file}: `{key}` {why}"),
            Self::File { file, why } => format!("{file} {why}"),
        };
        let failure = Failure::new(Code::PluginInvalid, what);
        match self {
            Self::Missing => failure.hint("begin with: lazaret plugin new NAME"),
            Self::Two => failure.hint("remove one of them"),
            Self::Key { key, .. } => failure.field(key.clone()),
            Self::File { .. } | Self::Read { .. } | Self::Syntax { .. } => failure,
        }
    }
}

/// A text of somebody else, escaped and cut so that it can stand in a message.
pub(super) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let cut: String = text.chars().take(CHARS_MAX).collect();
    cut.escape_debug()
        .flat_map(|c| {
            if c.is_ascii() || c.is_alphanumeric() { c.to_string() } else { c.escape_unicode().to_string() }.chars().collect::<Vec<_>>()
        })
        .collect()
}
