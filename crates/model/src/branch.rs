//! Branch agents: where one stands, and which names branches may have.

use serde::{Deserialize, Serialize};

use crate::{Outcome, TurnState};

/// The longest name of a branch, in bytes. File systems take 255 for a part of it, and git adds an ending.
pub const BRANCH_NAME_BYTES_MAX: usize = 200;
/// The longest task of a branch agent that is kept with its row, in characters; the whole is the prompt of its turn.
pub const BRANCH_TASK_CHARS_MAX: usize = 500;

/// Where a branch agent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BranchState {
    /// Its turn waits for a place or prepares a sandbox.
    Starting,
    /// Its engine works.
    Working,
    /// A person must answer first.
    Waiting,
    /// Its last turn ended well.
    Done,
    /// Its last turn ended badly.
    Failed,
    /// Somebody stopped it, or it was never asked anything.
    Stopped,
}

impl BranchState {
    /// What the turn that counts says: the first that is not over, else the last.
    #[must_use]
    pub fn of(turn: Option<(TurnState, Option<Outcome>)>) -> Self {
        match turn {
            None | Some((TurnState::Cancelled, _)) => BranchState::Stopped,
            Some((TurnState::Queued | TurnState::Leased, _)) => BranchState::Starting,
            Some((TurnState::Running, _)) => BranchState::Working,
            Some((TurnState::Waiting, _)) => BranchState::Waiting,
            Some((TurnState::Done, _)) => BranchState::Done,
            Some((TurnState::Failed, _)) => BranchState::Failed,
        }
    }

    /// The printed word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            BranchState::Starting => "starting",
            BranchState::Working => "working",
            BranchState::Waiting => "waiting",
            BranchState::Done => "done",
            BranchState::Failed => "failed",
            BranchState::Stopped => "stopped",
        }
    }

    /// Whether nothing goes on any more unless somebody asks again.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, BranchState::Done | BranchState::Failed | BranchState::Stopped)
    }
}

/// Why a text is not the name of a branch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BranchNameError {
    /// It has no characters, or too many.
    #[error("a branch name has 1 to {BRANCH_NAME_BYTES_MAX} bytes")]
    Length,
    /// A character that git does not take, or that a terminal acts upon.
    #[error("a branch name does not hold {0:?}")]
    Character(char),
    /// A part between slashes that git does not take.
    #[error("a branch name has no part `{0}`")]
    Part(String),
    /// The whole is something else to git.
    #[error("`{0}` is not the name of a branch")]
    Reserved(String),
}

/// Checks a branch name by the rules of git, and those that keep it from being read as an option.
///
/// # Errors
/// What is wrong with it.
pub fn check_branch_name(name: &str) -> Result<(), BranchNameError> {
    if name.is_empty() || name.len() > BRANCH_NAME_BYTES_MAX {
        return Err(BranchNameError::Length);
    }
    let is_bad = |c: &char| c.is_control() || " ~^:?*[\\".contains(*c);
    if let Some(bad) = name.chars().find(is_bad) {
        return Err(BranchNameError::Character(bad));
    }
    let bad_part = |part: &&str| part.is_empty() || part.starts_with('.') || part.ends_with('.') || part.ends_with(".lock");
    if let Some(part) = name.split('/').find(bad_part) {
        return Err(BranchNameError::Part(part.to_owned()));
    }
    if let Some(bad) = ["..", "@{"].into_iter().find(|bad| name.contains(bad)) {
        return Err(BranchNameError::Part(bad.to_owned()));
    }
    if name == "@" || name == "HEAD" || name.starts_with('-') || name.starts_with("refs/") {
        return Err(BranchNameError::Reserved(name.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_names_are_taken_and_others_are_not() {
        for good in ["a", "feat/x", "feat/deep/er", "a.b", "ümlaut/ß", "x@y", "a-b_c", "fix-#12", "$(touch)", "a'b\"c", "release/1.0"] {
            assert_eq!(check_branch_name(good), Ok(()), "{good}");
        }
        let long = "x".repeat(BRANCH_NAME_BYTES_MAX + 1);
        for bad in [
            "", "-x", "--help", "a b", "a..b", "a//b", "/a", "a/", ".a", "a/.b", "a.", "a.lock", "a.lock/b", "a~1", "a^", "a:b", "a?",
            "a*", "[a", "a\\b", "a\nb", "a\x7f", "@", "a@{1}", "HEAD", "refs/heads/x", "\u{9b}a", &long,
        ] {
            assert!(check_branch_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_turn_says_where_an_agent_stands() {
        assert_eq!(BranchState::of(None), BranchState::Stopped);
        let of = |state| BranchState::of(Some((state, None)));
        let all: Vec<&str> = TurnState::ALL.into_iter().map(|state| of(state).as_str()).collect();
        assert_eq!(all, ["starting", "starting", "working", "waiting", "done", "failed", "stopped"]);
        assert!(of(TurnState::Done).is_over() && !of(TurnState::Waiting).is_over());
    }
}
