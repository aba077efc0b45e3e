//! Envs: named file trees that several sessions share.

use model::{Failure, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{App, Caller, MountForm, unbuilt};

/// The longest core memory, in characters.
pub const CORE_MEMORY_CHARS_MAX: usize = 4000;

/// An env to make.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EnvForm {
    /// For people.
    pub name: String,
    /// Part of its address; made of the name when left out.
    pub slug: Option<String>,
    /// The session whose files it gets; an empty one without.
    pub session_id: Option<String>,
    /// Host directories that each of its sessions sees.
    pub mounts: Vec<MountForm>,
}

/// What changes in an env.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EnvPatch {
    /// For people.
    pub name: Option<String>,
    /// In the instructions of each of its sessions; at most [`CORE_MEMORY_CHARS_MAX`] characters.
    pub core_memory: Option<String>,
    /// Host directories that each of its sessions sees from its next sandbox on.
    pub mounts: Option<Vec<MountForm>>,
}

/// An env as it is shown.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct EnvView {
    /// Part of its address.
    pub slug: String,
    /// For people.
    pub name: String,
    /// In the instructions of each of its sessions.
    pub core_memory: String,
    /// Host directories.
    pub mounts: Vec<MountForm>,
    /// Sessions in it that are not archived.
    pub sessions: u64,
    /// Bytes on the disk, where that is counted.
    pub bytes: Option<u64>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
}

/// The envs of an [`App`], as one caller sees them.
pub struct EnvsOf<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: Caller,
}

impl EnvsOf<'_> {
    /// Makes an env: empty, or of a live session's files, which goes on in it.
    ///
    /// # Errors
    /// The slug is taken (`CONFLICT`), the session is in an env already, or a mount is not allowed.
    pub async fn create(&self, _form: EnvForm) -> Result<EnvView, Failure> {
        let _ = (self.app, &self.caller);
        Err(unbuilt())
    }

    /// A page of envs by slug.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self, _after: Option<String>, _limit: usize) -> Result<store::Page<EnvView>, Failure> {
        Err(unbuilt())
    }

    /// One env.
    ///
    /// # Errors
    /// There is none of this slug.
    pub async fn show(&self, _slug: &str) -> Result<EnvView, Failure> {
        Err(unbuilt())
    }

    /// Renames it, or changes its core memory or mounts.
    ///
    /// # Errors
    /// There is none of this slug, or a value is too long or not allowed.
    pub async fn update(&self, _slug: &str, _patch: EnvPatch) -> Result<EnvView, Failure> {
        Err(unbuilt())
    }

    /// A copy of its files as a new env.
    ///
    /// # Errors
    /// There is none of this slug, or the new one is taken.
    pub async fn clone(&self, _slug: &str, _form: EnvForm) -> Result<EnvView, Failure> {
        Err(unbuilt())
    }

    /// Deletes it with its files. Refused while a session works in it, unless `force`, which cancels the work.
    ///
    /// # Errors
    /// There is none of this slug, or it is in use.
    pub async fn delete(&self, _slug: &str, _force: bool) -> Result<(), Failure> {
        Err(unbuilt())
    }
}
