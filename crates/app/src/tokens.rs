//! Tokens of the HTTP API.

use model::{Failure, Timestamp, TokenId};
use serde::{Deserialize, Serialize};

use crate::{App, unbuilt};

/// What a token may do. Each allows what those before it allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Look.
    Read,
    /// Work: make sessions and envs, ask, undo, delete.
    Write,
    /// Configure: agents, tokens, secrets, engines, tools, the daemon itself.
    Admin,
}

/// A token to make.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenForm {
    /// For people.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// Whose sessions and envs it sees. An admin's token has none and sees all.
    #[serde(default)]
    pub tenant: Option<String>,
    /// Seconds until it ends; never when left out.
    #[serde(default)]
    pub expires_s: Option<u64>,
}

/// A token as it is shown: never its text, but once when it is made.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TokenView {
    /// Its public identity.
    pub id: TokenId,
    /// For people.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// Whose things it sees; all when left out.
    pub tenant: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// The token itself, only in the answer to its making.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// The tokens of an [`App`].
pub struct TokensOf<'a> {
    pub(crate) app: &'a App,
}

impl TokensOf<'_> {
    /// Makes a token: `lzt_` and 64 hexadecimal digits. Only its hash is kept.
    ///
    /// # Errors
    /// The form is wrong, or the store cannot be written.
    pub async fn create(&self, _form: TokenForm) -> Result<TokenView, Failure> {
        Err(unbuilt())
    }

    /// All tokens.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self) -> Result<Vec<TokenView>, Failure> {
        Err(unbuilt())
    }

    /// Ends a token at once.
    ///
    /// # Errors
    /// There is none of this identity.
    pub async fn revoke(&self, _id: &str) -> Result<(), Failure> {
        Err(unbuilt())
    }

    /// What a token may do, if it is good now.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn check(&self, _token: &str) -> Result<Option<TokenView>, Failure> {
        let _ = self.app;
        Ok(None)
    }
}
