//! Going back, going another way, and taking a session along.

use model::{Failure, Outcome, SessionId, Timestamp, TurnId, TurnState};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;

use crate::files::{Change, FileStream};
use crate::sessions::SessionsOf;
use crate::{SessionView, unbuilt};

/// A turn as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TurnView {
    /// Its identity.
    pub id: TurnId,
    /// Its place in the session, from 1.
    pub n: u64,
    /// The turn whose state it went on from; 0 is the beginning.
    pub parent: u64,
    /// Where it stands.
    pub state: TurnState,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// What was asked, cut to 200 characters.
    pub prompt: String,
    /// Whether it leads to the present state: one that was undone does not.
    pub in_history: bool,
    /// Whether there is a checkpoint of it to go back to.
    pub checkpoint: bool,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// How to undo.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UndoForm {
    /// The turn whose end is the state to go back to; the one before the last when left out, 0 for the beginning.
    pub to: Option<u64>,
    /// In an env that others changed since: go on in a private copy.
    pub private: bool,
    /// In an env that others changed since: take their changes back too.
    pub force: bool,
}

/// How to fork.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ForkForm {
    /// The turn at whose end the new sessions begin; the last when left out.
    pub at: Option<u64>,
    /// How many.
    pub n: usize,
    /// What to ask each of them at once.
    pub text: Option<String>,
}

/// Sessions that one request may fork.
pub const FORKS_MAX: usize = 16;

impl Default for ForkForm {
    fn default() -> Self {
        Self { at: None, n: 1, text: None }
    }
}

impl SessionsOf<'_> {
    /// A session's turns, those after place `after`.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn turns(&self, _id: &str, _after: u64, _limit: usize) -> Result<Vec<TurnView>, Failure> {
        Err(unbuilt())
    }

    /// Goes back to the end of an earlier turn: files, transcript, place in the inbox.
    ///
    /// # Errors
    /// A turn is not over (`CONFLICT`), there is no such checkpoint, or others changed the env since (`ENV_SHARED`).
    pub async fn undo(&self, _id: &str, _form: UndoForm) -> Result<SessionView, Failure> {
        Err(unbuilt())
    }

    /// Makes sessions that begin where this one stood. They are private, also when it is in an env.
    ///
    /// # Errors
    /// There is no such checkpoint, or too many are asked for.
    pub async fn fork(&self, _id: &str, _form: ForkForm) -> Result<Vec<SessionView>, Failure> {
        Err(unbuilt())
    }

    /// What a turn changed in the files.
    ///
    /// # Errors
    /// There is no checkpoint of it or of the turn before it.
    pub async fn diff(&self, _id: &str, _turn: u64) -> Result<Vec<Change>, Failure> {
        Err(unbuilt())
    }

    /// What a turn changed in one text file, as a unified diff.
    ///
    /// # Errors
    /// As [`SessionsOf::diff`], or the file is no text.
    pub async fn patch(&self, _id: &str, _turn: u64, _path: &str) -> Result<String, Failure> {
        Err(unbuilt())
    }

    /// The session as one archive: its row, turns, events, files. It holds no secret value.
    ///
    /// # Errors
    /// A turn is not over, or the files cannot be read.
    pub async fn export(&self, _id: &str) -> Result<FileStream, Failure> {
        Err(unbuilt())
    }

    /// Makes a session of an archive, with identities of its own.
    ///
    /// # Errors
    /// It is none, was changed, or was made by a later version; nothing is made then.
    pub async fn import(&self, _archive: impl AsyncRead + Send + Unpin) -> Result<SessionView, Failure> {
        Err(unbuilt())
    }
}

/// Where a fork came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Parent {
    /// The session.
    pub session: SessionId,
    /// The turn at whose end it began.
    pub turn: u64,
}
