//! Values that only the host may read, encrypted in the database.
//!
//! Every value is sealed with AES-256-GCM under a data key, with its name and scope as associated data, so a row that
//! is moved to another name or changed does not open. The data key is itself sealed under a key that a file or a
//! passphrase gives, so either can be checked when the store is opened. What this does not protect against is somebody
//! who can put back an older row of the same name and scope.

mod error;
mod key;
mod loose;
mod seal;
mod table;

pub use error::SecretsError;
pub use key::KeySource;
pub use table::{SecretEntry, Secrets, VALUE_BYTES_MAX};
