//! How secrets fail. No variant ever holds a value.

use std::path::PathBuf;

use model::{Code, Failure};

use crate::StoreError;

/// Why a secret could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The store failed, or a file of the home is not safe.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key file is gone although there are values that need it.
    #[error("the key file `{}` is missing", path.display())]
    KeyFileMissing {
        /// The file.
        path: PathBuf,
    },
    /// The key file is not one.
    #[error("the key file `{}` does not have 32 bytes", path.display())]
    KeyFileInvalid {
        /// The file.
        path: PathBuf,
    },
    /// The store was set up with the other kind of key.
    #[error("the secrets are kept under a {expected}, not under a {given}")]
    OtherSource {
        /// What the store was set up with.
        expected: &'static str,
        /// What was given.
        given: &'static str,
    },
    /// The key or passphrase does not open the store's own key.
    #[error("the {0} is not the one that the secrets were kept under, or the record of it was changed")]
    WrongKey(&'static str),
    /// A row does not open: it was changed, or moved from another name.
    #[error("the secret `{name}` was changed outside the program")]
    Tampered {
        /// The name under which it was found.
        name: String,
    },
    /// A name, scope, value or passphrase is out of bounds.
    #[error("{field} {why}")]
    Invalid {
        /// Which of them.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is no such secret.
    #[error("no secret `{name}`")]
    NotFound {
        /// What was asked for.
        name: String,
    },
    /// The system gave no random bytes, or the key could not be derived.
    #[error("failed to {0}")]
    System(&'static str),
}

impl SecretsError {
    /// The code that a user sees.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Store(error) => error.code(),
            Self::KeyFileMissing { .. }
            | Self::KeyFileInvalid { .. }
            | Self::OtherSource { .. }
            | Self::WrongKey(_)
            | Self::Tampered { .. } => Code::StoreUnusable,
            Self::Invalid { .. } => Code::Usage,
            Self::NotFound { .. } => Code::NotFound,
            Self::System(_) => Code::Internal,
        }
    }

    /// What a user is told.
    #[must_use]
    pub fn failure(&self) -> Failure {
        if let Self::Store(error) = self {
            return error.failure();
        }
        let failure = Failure::new(self.code(), self.to_string());
        match self {
            Self::KeyFileMissing { .. } => failure.hint("restore the file from a backup; without it the values cannot be read"),
            Self::WrongKey(_) => failure.hint("give the right one; the values were not touched"),
            Self::Tampered { .. } => failure.hint("set the secret again"),
            Self::Invalid { field, .. } => failure.field(*field),
            _ => failure,
        }
    }
}
