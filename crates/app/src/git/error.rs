//! Why something with a repository could not be done.

use std::path::PathBuf;

use model::{BranchNameError, Code, Failure};
use sandbox::SandboxError;

/// The longest part of what git complains that is shown, in characters.
const COMPLAINT_CHARS_MAX: usize = 400;
/// Names of files that one refusal lists.
const LISTED_MAX: usize = 10;

/// Why something with a repository could not be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    /// There is no git on this machine.
    #[error("failed to find git on this machine")]
    Missing,
    /// It is too old.
    #[error("git {found} is too old: branch agents need {} or newer", super::run::OLDEST)]
    Old {
        /// What it says of itself.
        found: String,
    },
    /// It could not be started or spoken with.
    #[error("failed to {what}")]
    Io {
        /// What was tried, completing "failed to".
        what: String,
        /// The answer of the system.
        source: std::io::Error,
    },
    /// It ended with an error.
    #[error("git failed to {what}: {complaint}")]
    Failed {
        /// What it was to do.
        what: &'static str,
        /// What it says, without control characters.
        complaint: String,
    },
    /// It took too long.
    #[error("git did not {what} in time")]
    Late {
        /// What it was to do.
        what: &'static str,
    },
    /// It answered more than is taken.
    #[error("git gave more than {max} bytes when it was to {what}")]
    Long {
        /// What it was to do.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// It answered something that is not understood.
    #[error("git answered something else when it was to {what}")]
    Strange {
        /// What it was to do.
        what: &'static str,
    },
    /// There is no repository, or one that cannot be worked with.
    #[error("the repository {path} cannot be used: {why}", path = path.display())]
    Repo {
        /// Where.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// No commit has this name.
    #[error("there is no commit `{0}`")]
    NoCommit(String),
    /// No branch has this name.
    #[error(transparent)]
    Name(#[from] BranchNameError),
    /// What an agent made is not taken.
    #[error("the agent's branch was not taken over: {0}")]
    Refused(String),
    /// Somebody else has moved a branch meanwhile.
    #[error("the branch {0} was moved meanwhile")]
    Moved(String),
    /// Files in the way of a merge.
    #[error("the merge would touch files that are not committed: {}", listed(.0))]
    InTheWay(Vec<String>),
    /// Two branches change the same lines.
    #[error("{branch} does not merge into {into}: {}", listed(.files))]
    Conflict {
        /// What was merged.
        branch: String,
        /// Into what.
        into: String,
        /// Where they differ.
        files: Vec<String>,
    },
    /// A sandbox could not be had.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// What runs inside failed.
    #[error("failed to {what} inside: {complaint}")]
    Inside {
        /// What it was to do.
        what: &'static str,
        /// What was said there, without control characters.
        complaint: String,
    },
}

impl GitError {
    /// For `map_err`: the system refused this.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// What a user is told.
    #[must_use]
    pub(crate) fn failure(&self) -> Failure {
        let text = model::chain(self);
        match self {
            Self::Missing => Failure::new(Code::PathUnusable, text).hint(format!("install git {} or newer", super::run::OLDEST)),
            Self::Old { .. } => Failure::new(Code::PathUnusable, text).hint("install a newer git; distributions have it as a backport"),
            Self::Repo { .. } => Failure::new(Code::PathUnusable, text).field("repo"),
            Self::NoCommit(_) => Failure::new(Code::NotFound, text),
            Self::Name(_) => Failure::new(Code::Usage, text).field("branch"),
            Self::Refused(_) => Failure::new(Code::Forbidden, text).hint("nothing was changed; the work is still in the agent's clone"),
            Self::Moved(_) => Failure::new(Code::Conflict, text).hint("try again"),
            Self::InTheWay(_) => Failure::new(Code::Conflict, text).hint("commit or stash them first; nothing was changed"),
            Self::Conflict { .. } => {
                Failure::new(Code::MergeConflict, text).hint("nothing was changed; the agent can resolve it: agents merge --resolve")
            }
            Self::Late { .. } => Failure::new(Code::Timeout, text),
            Self::Long { .. } => Failure::new(Code::TooLarge, text),
            Self::Sandbox(error) => error.failure(),
            Self::Io { .. } => Failure::new(Code::PathUnusable, text),
            Self::Failed { .. } | Self::Strange { .. } | Self::Inside { .. } => Failure::new(Code::Conflict, text),
        }
    }
}

/// What a program says, as it may be shown: the last lines, without control characters.
pub(crate) fn shown(complaint: &[u8]) -> String {
    let text = String::from_utf8_lossy(complaint);
    let clean: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).filter(|c| !is_hidden(*c)).collect();
    let skip = clean.chars().count().saturating_sub(COMPLAINT_CHARS_MAX);
    clean.chars().skip(skip).collect()
}

/// Characters that change how others are shown, or are not seen at all.
pub(crate) fn is_hidden(c: char) -> bool {
    is_bidi(c) || is_invisible(c)
}

/// Characters that turn the direction of what follows.
pub(crate) fn is_bidi(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Characters that take no place and that nobody sees.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200d}'
        | '\u{2060}'..='\u{2064}' | '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

fn listed(files: &[String]) -> String {
    let mut text = files.iter().take(LISTED_MAX).map(|file| shown(file.as_bytes())).collect::<Vec<_>>().join(", ");
    if files.len() > LISTED_MAX {
        text.push_str(&format!(" and {} more", files.len() - LISTED_MAX));
    }
    text
}
